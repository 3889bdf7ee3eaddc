"""tinysim run: any ELF file on a part."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tinysim.cli.common import console, memory_options, names_of, progress_bar, write_json

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command(epilog="Example: tinysim run firmware.elf --part stm32l4r5zi --function classify")
    def run(
        firmware: Annotated[Path, typer.Argument(help="A linked ELF file.", metavar="FIRMWARE.elf")],
        part: Annotated[str, typer.Option("--part", "-p", help="A part by name or file.")],
        clock: Annotated[str | None, typer.Option(help="The core clock, such as 120MHz; default: the part's maximum.")] = None,
        function: Annotated[list[str] | None, typer.Option(help="Measure a function by name or address; may be repeated.")] = None,
        between: Annotated[list[str] | None, typer.Option(help="Measure from one symbol or address to another.", metavar="A..B")] = None,
        until: Annotated[str | None, typer.Option(help="Where the program counts as finished.", metavar="SYMBOL")] = None,
        max_instructions: Annotated[int, typer.Option(help="Give up after so much code (counted in halfwords).")] = 1_000_000_000,
        engine: Annotated[str, typer.Option(help="unicorn or renode.")] = "unicorn",
        ideal_memory: Annotated[bool, typer.Option("--ideal-memory", help="Leave flash wait states and caches out.")] = False,
        caches: Annotated[str | None, typer.Option(help="on or off, instead of what the firmware sets.")] = None,
        prefetch: Annotated[str | None, typer.Option(help="on or off, instead of what the firmware sets.")] = None,
        json: Annotated[str | None, typer.Option(help="Write the result as JSON to a file, or - for standard output.", metavar="FILE|-")] = None,
    ) -> None:
        """Run firmware on a part and say how many cycles its functions take, and why."""
        from tinysim.errors import InputError
        from tinysim.measure import measure
        from tinysim.views import show_region, show_results

        if engine not in ("unicorn", "renode"):
            raise InputError(f"no engine {engine!r}", hint="use --engine unicorn or --engine renode")
        with progress_bar() as progress:
            result, _ = measure(
                firmware, part, functions=names_of(function or []), between=names_of(between or []), until=until, clock=clock,
                memory=memory_options(ideal_memory, caches, prefetch),
                max_instructions=max_instructions, progress=progress,
            )
        if json:
            write_json(result.to_dict(), json)
        if json == "-":
            return
        out = console()
        show_results(out, [result])
        for region in result.regions:
            show_region(out, region)
