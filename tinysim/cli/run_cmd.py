"""tinysim run: any ELF file on a part."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tinysim.cli.common import console, memory_options, progress_bar, write_json, write_text

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command(epilog="Example: tinysim run firmware.elf --part stm32l4r5zi --function classify")
    def run(
        firmware: Annotated[Path, typer.Argument(help="A linked ELF file.", metavar="FIRMWARE.elf")],
        part: Annotated[str, typer.Option("--part", "-p", help="A part by name or file.")],
        clock: Annotated[
            str | None, typer.Option(help="The core clock, such as 120MHz; default: the part's maximum.")
        ] = None,
        function: Annotated[
            list[str] | None, typer.Option(help="Measure a function by name or address; may be repeated.")
        ] = None,
        between: Annotated[
            list[str] | None, typer.Option(help="Measure from one symbol or address to another.", metavar="A..B")
        ] = None,
        until: Annotated[
            str | None, typer.Option(help="Where the program counts as finished.", metavar="SYMBOL")
        ] = None,
        max_instructions: Annotated[
            int, typer.Option(help="Give up after so much code (counted in halfwords).")
        ] = 1_000_000_000,
        engine: Annotated[str, typer.Option(help="unicorn or renode.")] = "unicorn",
        renode: Annotated[
            str | None, typer.Option(help="Where Renode is, if not on PATH or in RENODE_PATH.", metavar="PATH")
        ] = None,
        ideal_memory: Annotated[
            bool, typer.Option("--ideal-memory", help="Leave flash wait states and caches out.")
        ] = False,
        caches: Annotated[str | None, typer.Option(help="on or off, instead of what the firmware sets.")] = None,
        prefetch: Annotated[str | None, typer.Option(help="on or off, instead of what the firmware sets.")] = None,
        core: Annotated[
            str | None, typer.Option(help="A core file of your own instead of the part's core.", metavar="FILE")
        ] = None,
        advice: Annotated[
            bool,
            typer.Option(
                "--advice", help="Say what makes it slower or larger than it must be, with the expected gain."
            ),
        ] = False,
        profile: Annotated[
            bool, typer.Option("--profile", help="Follow all calls: functions with what they call, and the call tree.")
        ] = False,
        calls: Annotated[
            int, typer.Option(help="Price so many calls one by one, for the least and the greatest.")
        ] = 256,
        flame: Annotated[
            str | None, typer.Option(help="Write folded stacks for flame-graph viewers.", metavar="FILE|-")
        ] = None,
        speedscope: Annotated[
            str | None, typer.Option(help="Write a profile for speedscope.app.", metavar="FILE|-")
        ] = None,
        callgrind: Annotated[
            str | None, typer.Option(help="Write a profile for KCachegrind.", metavar="FILE|-")
        ] = None,
        annotate: Annotated[
            list[str] | None, typer.Option(help="Show a function's source lines with their cycles.", metavar="FUNCTION")
        ] = None,
        source: Annotated[
            list[Path] | None, typer.Option(help="Where sources are, if not where the compiler found them.")
        ] = None,
        explain: Annotated[
            list[str] | None,
            typer.Option(help="Show why each instruction of a function takes its cycles.", metavar="FUNCTION"),
        ] = None,
        input: Annotated[
            list[str] | None, typer.Option(help="Write a file to a buffer when main is entered.", metavar="SYMBOL=FILE")
        ] = None,
        uart: Annotated[
            Path | None, typer.Option(help="Bytes that a UART receives, from a file.", metavar="FILE")
        ] = None,
        call: Annotated[
            str | None,
            typer.Option(help="Call a function instead of going on in main.", metavar="'F(1, 2.5, &SYMBOL)'"),
        ] = None,
        read: Annotated[
            list[str] | None,
            typer.Option(help="Show values at the end: u8 to i64, f32, f64.", metavar="SYMBOL:TYPE[COUNT]"),
        ] = None,
        stub: Annotated[
            list[str] | None,
            typer.Option(help="What a register that nothing describes reads as.", metavar="ADDRESS=VALUE"),
        ] = None,
        html: Annotated[str | None, typer.Option(help="Write a page with pictures.", metavar="FILE|-")] = None,
        json: Annotated[
            str | None,
            typer.Option(help="Write the result as JSON to a file, or - for standard output.", metavar="FILE|-"),
        ] = None,
    ) -> None:
        """Run firmware on a part and say how many cycles its functions take, and why."""
        from tinysim.cli.profiles import ProfileOutputs, split_names
        from tinysim.measure import explain_function, measure
        from tinysim.timing.explain import to_dicts
        from tinysim.views import show_layers, show_region, show_results, to_html
        from tinysim.views.advice import show_findings
        from tinysim.views.calls import show_calls
        from tinysim.views.explained import show_explained
        from tinysim.views.observed import show_observed, to_observed_dict

        outputs = ProfileOutputs(
            profile, flame, speedscope, callgrind, tuple(split_names(annotate or [])), tuple(source or [])
        )
        with progress_bar() as progress:
            result, measured = measure(
                firmware,
                part,
                functions=split_names(function or []),
                between=split_names(between or []),
                until=until,
                clock=clock,
                memory=memory_options(ideal_memory, caches, prefetch),
                core_file=core,
                max_instructions=max_instructions,
                profile=outputs.wanted,
                calls_apart=calls,
                advice=advice,
                engine=engine,
                renode=renode,
                inputs=input or (),
                uart=uart,
                call=call,
                reads=read or (),
                stubs=stub or (),
                progress=progress,
            )
        explained = {name: explain_function(measured, name) for name in split_names(explain or [])}
        if json:
            extra: dict[str, object] = (
                {"explained": {name: to_dicts(blocks) for name, blocks in explained.items()}} if explained else {}
            )
            write_json({**result.to_dict(), **extra, **to_observed_dict(measured.observed)}, json)
        if html:
            write_text(to_html([result]), html)
        outputs.write(result, measured)
        if "-" in (json, html) or outputs.standard_output:
            return
        out = console()
        show_observed(out, measured.observed)
        show_results(out, [result])
        for region in result.regions:
            show_region(out, region)
            show_calls(out, region)
        show_layers(out, result)
        outputs.print(out, result, measured)
        if advice:
            show_findings(out, result)
        for name, blocks in explained.items():
            show_explained(out, name, blocks, measured.image)
