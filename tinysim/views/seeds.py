"""The founding benchmark as a table and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tinysim.seeds import SeedRow
from tinysim.units import format_bytes, format_hz, format_seconds

__all__ = ["SEED_COLUMNS", "seed_record", "seeds_to_csv", "show_seeds"]

SEED_COLUMNS = (
    "model",
    "type",
    "target",
    "part",
    "core",
    "clock_hz",
    "wait_states",
    "cycles",
    "latency_s",
    "published_latency_s",
    "latency_ratio",
    "error_bound_percent",
    "flash_bytes",
    "published_flash_bytes",
    "ram_bytes",
    "published_ram_bytes",
    "weights_bytes",
    "arena_bytes",
    "outputs_match",
    "note",
    "differences",
    "source",
)


def seed_record(row: SeedRow) -> dict[str, Any]:
    """One flat record of a row, with the keys of SEED_COLUMNS; None where something is unknown."""
    result, published = row.result, row.published
    memory = result.memory if result else None
    return {
        "model": row.seed.name,
        "type": str(row.kind),
        "target": row.target.name,
        "part": result.part if result else row.target.part,
        "core": row.target.core,
        "clock_hz": row.target.clock_hz,
        "wait_states": result.wait_states if result else None,
        "cycles": result.cycles if result else None,
        "latency_s": result.latency_s if result else None,
        "published_latency_s": published.latency_s,
        "latency_ratio": None if row.latency_ratio is None else round(row.latency_ratio, 3),
        "error_bound_percent": result.error.bound_percent if result else None,
        "flash_bytes": memory.flash_bytes if memory else None,
        "published_flash_bytes": published.flash_bytes,
        "ram_bytes": memory.ram_bytes if memory else None,
        "published_ram_bytes": published.ram_bytes,
        "weights_bytes": memory.weights_bytes if memory else None,
        "arena_bytes": memory.arena_bytes if memory else None,
        "outputs_match": result.outputs.match if result and result.outputs else None,
        "note": row.note,
        "differences": "; ".join(published.differences),
        "source": published.source,
    }


def seeds_to_csv(rows: Sequence[SeedRow]) -> str:
    """CSV text with a header line."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, SEED_COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(seed_record(row) for row in rows)
    return stream.getvalue()


def show_seeds(console: Console, rows: Sequence[SeedRow]) -> None:
    """One line a network and target: ours, what was published, the ratio; below it what differs.

    What was published for float32 stands in brackets beside an int8 network, without a ratio.
    """
    table = Table(header_style="bold")
    for column, justify in (
        ("model", "left"),
        ("type", "left"),
        ("part", "left"),
        ("clock", "right"),
        ("latency", "right"),
        ("±", "right"),
        ("published", "right"),
        ("ratio", "right"),
        ("flash", "right"),
        ("published", "right"),
        ("RAM", "right"),
        ("published", "right"),
        ("outputs", "left"),
    ):
        table.add_column(column, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    before = None
    for row in rows:
        if before is not None and (before.seed, before.kind) != (row.seed, row.kind):
            table.add_section()
        table.add_row(*_cells(row, first=before is None or (before.seed, before.kind) != (row.seed, row.kind)))
        before = row
    console.print(table)
    _show_notes(console, rows)


def _cells(row: SeedRow, *, first: bool) -> list[str]:
    def theirs(text: str) -> str:
        return text if row.comparable else f"[dim]({text})[/]"

    result, published = row.result, row.published
    part = row.target.part if result is None else f"{result.part} *" if row.note else result.part
    head = [row.seed.name if first else "", str(row.kind) if first else "", part, format_hz(row.target.clock_hz)]
    flash, ram = (
        theirs(format_bytes(size)) if size is not None else "-" for size in (published.flash_bytes, published.ram_bytes)
    )
    latency = theirs(format_seconds(published.latency_s))
    if result is None:
        return [*head, "does not fit", "", latency, "", "-", flash, "-", ram, ""]
    ratio = row.latency_ratio
    verdict = "-" if result.outputs is None else "[green]match[/]" if result.outputs.match else "[red]differ[/]"
    return [
        *head,
        format_seconds(result.latency_s),
        f"{result.error.bound_percent:g} %",
        latency,
        f"{ratio:.2f}" if ratio is not None else "",
        format_bytes(result.memory.flash_bytes),
        flash,
        format_bytes(result.memory.ram_bytes),
        ram,
        verdict,
    ]


def _show_notes(console: Console, rows: Sequence[SeedRow]) -> None:
    for row in rows:
        if row.note:
            instead = f" *: shown on {row.result.part}, the same core at the same clock" if row.result else ""
            console.print(f"[yellow]does not fit[/] {escape(row.target.name)}: {escape(row.note)}{instead}")
    for difference in dict.fromkeys(text for row in rows for text in row.published.differences):
        console.print(f"[dim]differs:[/] {escape(difference)}")
    for target in dict.fromkeys(row.target for row in rows):
        console.print(f"[dim]{escape(target.part)} stands for {escape(target.name)}: {escape(target.why)}[/]")
    for warning in dict.fromkeys(text for row in rows if row.result for text in row.result.warnings):
        console.print(f"[yellow]warning[/] {escape(warning)}")
    for compiler in sorted(
        {row.result.firmware.compiler for row in rows if row.result and row.result.firmware.compiler}
    ):
        console.print(f"[dim]built with {escape(compiler)}[/]")
    for source in dict.fromkeys(row.published.source for row in rows):
        console.print(f"[dim]published: {escape(source)}[/]")
