"""What the commands share: output places, progress, the report of an error."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from tinysim.errors import InputError, TinysimError
from tinysim.units import parse_hz

if TYPE_CHECKING:
    from tinysim.memory.pricers import MemoryOptions
    from tinysim.sizing import Progress as ProgressCallback

__all__ = ["clocks_of", "console", "memory_options", "names_of", "progress_bar", "report", "write_json", "write_text"]


def console(*, error: bool = False) -> Console:
    """A console: colour only on a terminal, wide enough for a table when piped."""
    stream = sys.stderr if error else sys.stdout
    return Console(
        stderr=error, width=None if stream.isatty() else 200, highlight=False, soft_wrap=not stream.isatty() and error
    )


def report(error: TinysimError) -> int:
    """Print an error as one line on standard error, its details below; the exit code."""
    hint = f" - {error.hint}" if error.hint else ""
    print(f"tinysim: {error.message}{hint}", file=sys.stderr)
    if error.details:
        print("\n".join("  " + line for line in error.details.splitlines()), file=sys.stderr)
    return error.exit_code


def write_text(text: str, target: str) -> None:
    """Write to a file, or to standard output for ``-``. Raises InputError."""
    if target == "-":
        sys.stdout.write(text if text.endswith("\n") else text + "\n")
        return
    try:
        Path(target).write_text(text if text.endswith("\n") else text + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot write {target}: {error.strerror}", hint="check the folder") from error


def write_json(data: Any, target: str) -> None:
    """Write JSON to a file, or to standard output for ``-``."""
    write_text(json.dumps(data, indent=1, allow_nan=False), target)


def names_of(values: Sequence[str]) -> list[str]:
    """Values given several times or separated by commas."""
    return [name.strip() for value in values for name in value.split(",") if name.strip()]


def clocks_of(values: Sequence[str]) -> list[int]:
    """Clocks in hertz from text such as ``20MHz,80MHz``."""
    return [parse_hz(value) for value in names_of(values)]


def _switch(name: str, value: str | None) -> bool | None:
    if value not in (None, "on", "off"):
        raise InputError(f"--{name} {value} is neither on nor off", hint=f"write --{name} on or --{name} off")
    return None if value is None else value == "on"


def memory_options(
    ideal: bool,
    caches: str | None,
    prefetch: str | None,
    weights: str | None = None,
    data: str | None = None,
    band: bool = False,
) -> MemoryOptions:
    """What a user wants of memory, from the options' texts. Raises InputError."""
    from tinysim.memory.pricers import MemoryOptions, Place

    try:
        weights_place = None if weights is None else Place(weights)
        data_place = None if data is None else Place(data)
    except ValueError as error:
        raise InputError(str(error), hint=f"choose one of {', '.join(Place)}") from error
    return MemoryOptions(
        ideal, _switch("caches", caches), _switch("prefetch", prefetch), weights_place, data_place, band
    )


@contextmanager
def progress_bar(enabled: bool = True) -> Iterator[ProgressCallback]:
    """A progress bar on standard error, only where that is a terminal."""
    if not enabled or not sys.stderr.isatty():
        yield lambda _what, _done, _total: None
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[count]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console(error=True), transient=True) as bar:
        task = bar.add_task("starting", total=None, count="")

        def update(what: str, done: int, total: int) -> None:
            count = f"{done}/{total}" if total else ""
            bar.update(task, description=what, completed=done, total=total or None, count=count)

        yield update
