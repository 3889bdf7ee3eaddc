"""A function's source (or its instructions, where there is none) with the cycles of each line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tinysim.image import Symbol
from tinysim.lines import InstructionCost, LineCost, SourceLines, line_costs
from tinysim.views.table import short_name

__all__ = ["show_annotated"]


def show_annotated(
    console: Console,
    function: Symbol,
    costs: Mapping[int, InstructionCost],
    lines: SourceLines,
    folders: Sequence[Path] = (),
) -> None:
    """Print ``function`` line by line; ``folders``: where sources are looked for when they are not where the compiler
    found them.
    """
    total = sum(cost.cycles for cost in costs.values())
    console.print(f"\n[bold]{escape(short_name(function.shown))}[/]: {total:,.0f} cycles of its own")
    by_line = line_costs(costs, lines)
    if not by_line:
        console.print("[dim]no source lines in the ELF file (build with -g); its instructions:[/]")
        console.print(_instructions(costs, total))
        return
    for file in dict.fromkeys(cost.file for cost in by_line):
        mine = [cost for cost in by_line if cost.file == file]
        text = lines.text(file, tuple(folders))
        console.print(f"[dim]{escape(file)}{'' if text else ': not found here (see --source)'}[/]")
        console.print(_source(mine, text, total))


def _table(*columns: str) -> Table:
    table = Table(header_style="bold", box=None, pad_edge=False)
    for column in columns[:-1]:
        table.add_column(column, justify="right")
    table.add_column(columns[-1], no_wrap=True)
    return table


def _share(cycles: float, total: float) -> str:
    return f"{100 * cycles / total:.1f} %" if total else "-"


def _source(costs: Sequence[LineCost], text: list[str] | None, total: float) -> Table:
    table = _table("cycles", "share", "times", "line", "source")
    known = {cost.line: cost for cost in costs}
    shown = range(min(known), max(known) + 1) if text and max(known) - min(known) < 400 else sorted(known)
    for line in shown:
        source = escape(text[line - 1].expandtabs(4)) if text and line <= len(text) else ""
        cost = known.get(line)
        if cost is None:
            table.add_row("", "", "", str(line), f"[dim]{source}[/]")
        else:
            table.add_row(f"{cost.cycles:,}", _share(cost.cycles, total), f"{cost.executions:,}", str(line), source)
    return table


def _instructions(costs: Mapping[int, InstructionCost], total: float) -> Table:
    table = _table("cycles", "share", "times", "address", "instruction")
    for address, cost in costs.items():
        table.add_row(
            f"{cost.cycles:,.0f}",
            _share(cost.cycles, total),
            f"{cost.executions:,}",
            f"{address:#010x}",
            escape(cost.text),
        )
    return table
