"""tinysim price: cycles for what was counted inside a Renode session."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tinysim.cli.common import console, write_json

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command(epilog="Example: tinysim price counts.json --part stm32l4r5zi --clock 80MHz")
    def price(
        counts: Annotated[
            Path, typer.Argument(help="What tinysim_dump or TinysimDump wrote inside Renode.", metavar="COUNTS.json")
        ],
        part: Annotated[str, typer.Option("--part", "-p", help="A part by name or file.")],
        clock: Annotated[
            str | None, typer.Option(help="The core clock, such as 80MHz; default: the part's maximum.")
        ] = None,
        firmware: Annotated[
            Path | None, typer.Option(help="The ELF file that ran, for function names.", metavar="FILE.elf")
        ] = None,
        json: Annotated[
            str | None, typer.Option(help="Write JSON to a file, or - for standard output.", metavar="FILE|-")
        ] = None,
    ) -> None:
        """Price block counts taken in your own Renode session (platforms/tinysim.py) on a part."""
        from tinysim.part import load_part
        from tinysim.renode.price import price_counts
        from tinysim.units import format_hz, parse_hz
        from tinysim.views import show_region

        target = load_part(part)
        priced = price_counts(counts, target, clock_hz=parse_hz(clock) if clock else None, firmware=firmware)
        if json:
            write_json(priced.to_dict(), json)
        if json == "-":
            return
        out = console()
        out.print(f"{counts.name} on {target.title} at {format_hz(priced.clock_hz)}")
        for region in priced.regions:
            show_region(out, region)
        for warning in priced.warnings:
            out.print(f"note: {warning}")
