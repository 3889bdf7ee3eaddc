"""tinysim bench: models on parts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tinysim.cli.common import (
    clocks_of,
    console,
    memory_options,
    names_of,
    progress_bar,
    report,
    write_json,
    write_text,
)
from tinysim.runtime import Kernels
from tinysim.toolchain import FloatAbi, Opt

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command(epilog="Example: tinysim bench model.tflite --part stm32l4r5zi,stm32h723zg --layers")
    def bench(
        models: Annotated[list[Path], typer.Argument(help="One or more .tflite files.", metavar="MODEL...")],
        part: Annotated[list[str], typer.Option("--part", "-p", help="Parts by name or file, separated by commas.")],
        clock: Annotated[
            list[str] | None, typer.Option(help="Clocks such as 80MHz,120MHz; default: the part's maximum.")
        ] = None,
        runtime: Annotated[str, typer.Option(help="The runtime: tflm.")] = "tflm",
        kernels: Annotated[
            Kernels, typer.Option(help="Arm's optimised kernels or TFLM's plain ones.")
        ] = Kernels.CMSIS_NN,
        opt: Annotated[Opt, typer.Option(help="The compiler's level of optimisation.")] = Opt.O2,
        float_abi: Annotated[
            FloatAbi, typer.Option(help="How floats are passed; soft does without the FPU.")
        ] = FloatAbi.HARD,
        cc: Annotated[
            str | None, typer.Option(help="An arm GCC, or its prefix such as /opt/arm/bin/arm-none-eabi-.")
        ] = None,
        inputs: Annotated[
            list[Path] | None, typer.Option("--input", help="Inputs: .npy, .npz or raw files, one for each.")
        ] = None,
        seed: Annotated[int, typer.Option(help="Seed of the random inputs used without --input.")] = 0,
        engine: Annotated[str, typer.Option(help="unicorn or renode.")] = "unicorn",
        renode: Annotated[
            str | None, typer.Option(help="Where Renode is, if not on PATH or in RENODE_PATH.", metavar="PATH")
        ] = None,
        repeat: Annotated[
            int, typer.Option(help="Inferences to run; the last counts, the first (cold caches) is shown beside it.")
        ] = 1,
        ideal_memory: Annotated[
            bool, typer.Option("--ideal-memory", help="Leave flash wait states and caches out.")
        ] = False,
        caches: Annotated[str | None, typer.Option(help="on or off, instead of what start-up code sets.")] = None,
        prefetch: Annotated[str | None, typer.Option(help="on or off, instead of what start-up code sets.")] = None,
        core: Annotated[
            str | None, typer.Option(help="A core file of your own instead of the part's core.", metavar="FILE")
        ] = None,
        band: Annotated[
            bool,
            typer.Option(
                "--band", help="Price every memory system that the evidence allows, for the least and most cycles."
            ),
        ] = False,
        weights: Annotated[
            str | None, typer.Option(help="Where weights go: flash, ram, itcm, dtcm, sram or axi.")
        ] = None,
        data: Annotated[str | None, typer.Option(help="Where arena, data and stack go: dtcm, sram or axi.")] = None,
        layers: Annotated[bool, typer.Option("--layers", help="Show the layers of each model.")] = False,
        breakdown: Annotated[bool, typer.Option("--breakdown", help="Show cycles by cause and function.")] = False,
        json: Annotated[
            str | None,
            typer.Option(help="Write the results as JSON to a file, or - for standard output.", metavar="FILE|-"),
        ] = None,
        csv: Annotated[str | None, typer.Option(help="Write one CSV line a result.", metavar="FILE|-")] = None,
        html: Annotated[str | None, typer.Option(help="Write a page with pictures.", metavar="FILE|-")] = None,
        markdown: Annotated[str | None, typer.Option(help="Write a Markdown table.", metavar="FILE|-")] = None,
    ) -> None:
        """Build firmware for each model, run it on each part, and say how long an inference takes and what it needs."""
        from tinysim.bench import BuildOptions
        from tinysim.bench import bench as measure
        from tinysim.errors import InputError, TinysimError
        from tinysim.views import show_layers, show_region, show_results, to_csv, to_html, to_markdown

        if runtime != "tflm":
            raise InputError(f"no runtime {runtime!r}", hint="use --runtime tflm")
        options = BuildOptions(kernels, opt, float_abi, cc)
        targets = names_of(part)
        failures: list[TinysimError] = []
        with progress_bar() as progress:
            results = measure(
                models,
                targets,
                clock=clocks_of(clock or []),
                options=options,
                memory=memory_options(ideal_memory, caches, prefetch, weights, data, band),
                core=core,
                engine=engine,
                renode=renode,
                repeat=repeat,
                inputs=inputs or (),
                seed=seed,
                on_failure=failures.append if len(models) * len(targets) > 1 else None,
                progress=progress,
            )
        if json:
            write_json([result.to_dict() for result in results], json)
        if csv:
            write_text(to_csv(results), csv)
        if markdown:
            write_text(to_markdown(results), markdown)
        if html:
            write_text(to_html(results), html)
        if "-" not in (json, csv, markdown, html) and results:
            out = console()
            show_results(out, results)
            for result in results:
                if layers:
                    show_layers(out, result)
                if breakdown:
                    show_region(out, result.regions[0])
        if failures:
            raise typer.Exit(max(report(failure) for failure in failures))
