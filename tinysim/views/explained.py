"""A function's instructions with their executions, cycles and what each lost cycle waited for, as a listing for the
terminal.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tinysim.image import Image
from tinysim.timing.explain import ExplainedBlock

__all__ = ["show_explained"]

_BLOCKS = 12
"""Blocks shown; colder ones are summed up."""


def show_explained(console: Console, name: str, blocks: Sequence[ExplainedBlock], image: Image) -> None:
    """The blocks of a function, dearest first."""
    total = sum(block.cycles for block in blocks)
    console.print(
        f"\n[bold]{escape(name)}[/]: {total:,.0f} cycles in {len(blocks)} blocks, dearest first; "
        "memory without wait states"
    )
    for block in blocks[:_BLOCKS]:
        line = image.line_at(block.address)
        place = f"  {escape(line[0])}:{line[1]}" if line else ""
        share = f"{100 * block.cycles / total:.1f} %" if total else "-"
        console.print(
            f"\n{block.address:#010x}  {block.executions:,} times, {block.cycles:,.0f} cycles ({share}){place}"
        )
        if block.mispredictions:
            console.print(
                f"[dim]entered by {block.mispredictions:,} mispredicted branches: "
                f"{block.misprediction_cycles:,.0f} cycles[/]"
            )
        table = Table(box=None, pad_edge=False, header_style="dim")
        table.add_column("address")
        table.add_column("instruction", no_wrap=True)
        table.add_column("cycles", justify="right")
        table.add_column("each", justify="right")
        table.add_column("lost to")
        for instruction in block.instructions:
            lost = "; ".join(
                f"{part.cycles:,.0f} {part.cause}: {part.reason}" for part in instruction.lost if part.cycles
            )
            fraction = instruction.executed_fraction
            condition = f" (condition held {100 * fraction:.0f} %)" if fraction < 1 else ""
            table.add_row(
                f"{instruction.address:#010x}",
                escape(instruction.text),
                f"{instruction.cycles:,.0f}",
                f"{instruction.cycles / max(instruction.executions, 1):.2f}",
                escape(lost + condition),
            )
        console.print(table)
    rest = blocks[_BLOCKS:]
    if rest:
        console.print(f"\n{len(rest)} colder blocks: {sum(block.cycles for block in rest):,.0f} cycles")
