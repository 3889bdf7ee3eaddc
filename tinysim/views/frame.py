"""Results as rows: CSV, Markdown, and a pandas DataFrame."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tinysim.errors import ToolchainError
from tinysim.result import Result
from tinysim.units import format_bytes, format_hz, format_seconds

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["COLUMNS", "row", "to_csv", "to_dataframe", "to_markdown"]

COLUMNS = (
    "model",
    "part",
    "core",
    "clock_hz",
    "wait_states",
    "kernels",
    "opt",
    "compiler",
    "instructions",
    "cycles",
    "cycles_low",
    "cycles_high",
    "error_bound_percent",
    "latency_s",
    "inferences_per_s",
    "flash_bytes",
    "ram_bytes",
    "arena_bytes",
    "stack_peak_bytes",
    "weights_bytes",
    "outputs_match",
    "energy_uj",
    "published_latency_s",
)


def row(result: Result) -> dict[str, Any]:
    """One flat record of a result, with the keys of COLUMNS; None where something is unknown."""
    memory, firmware = result.memory, result.firmware
    return {
        "model": result.model,
        "part": result.part,
        "core": result.core,
        "clock_hz": result.clock_hz,
        "wait_states": result.wait_states,
        "kernels": firmware.kernels,
        "opt": firmware.opt,
        "compiler": firmware.compiler,
        "instructions": result.instructions,
        "cycles": result.cycles,
        "cycles_low": result.cycles_low,
        "cycles_high": result.cycles_high,
        "error_bound_percent": result.error.bound_percent,
        "latency_s": result.latency_s,
        "inferences_per_s": 1 / result.latency_s if result.latency_s else None,
        "flash_bytes": memory.flash_bytes,
        "ram_bytes": memory.ram_bytes,
        "arena_bytes": memory.arena_bytes,
        "stack_peak_bytes": memory.stack_peak_bytes,
        "weights_bytes": memory.weights_bytes,
        "outputs_match": result.outputs.match if result.outputs else None,
        "energy_uj": result.energy.microjoules if result.energy else None,
        "published_latency_s": result.published.latency_s if result.published else None,
    }


def to_csv(results: Sequence[Result]) -> str:
    """CSV text with a header line."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(row(result) for result in results)
    return stream.getvalue()


def to_dataframe(results: Sequence[Result]) -> pd.DataFrame:
    """A pandas DataFrame, one row a result. Raises ToolchainError when pandas is not installed."""
    try:
        import pandas as pd
    except ImportError as error:
        raise ToolchainError("pandas is not installed", hint="pip install 'tinysim[pandas]'") from error
    return pd.DataFrame([row(result) for result in results], columns=list(COLUMNS))


def to_markdown(results: Sequence[Result]) -> str:
    """A GitHub-flavoured Markdown table."""
    lines = [
        "| model | part | clock | latency | cycles | flash | RAM | outputs |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for result in results:
        verdict = "-" if result.outputs is None else "match" if result.outputs.match else "**differ**"
        lines.append(
            f"| {result.model or result.firmware.path} | {result.part} | {format_hz(result.clock_hz)} "
            f"| {format_seconds(result.latency_s)} ± {result.error.bound_percent:g} % | {result.cycles:,} "
            f"| {format_bytes(result.memory.flash_bytes)} | {format_bytes(result.memory.ram_bytes)} | {verdict} |"
        )
    return "\n".join(lines) + "\n"
