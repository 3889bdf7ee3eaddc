"""tinysim seeds: the founding benchmark beside its published figures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tinysim.cli.common import console, progress_bar, write_json, write_text
from tinysim.toolchain import Opt

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command(epilog="Example: tinysim seeds --json seeds.json")
    def seeds(
        opt: Annotated[Opt, typer.Option(help="The compiler's level of optimisation.")] = Opt.O2,
        cc: Annotated[
            str | None, typer.Option(help="An arm GCC, or its prefix such as /opt/arm/bin/arm-none-eabi-.")
        ] = None,
        models: Annotated[
            Path | None, typer.Option(help="A folder with the benchmark's models; default: those that come along.")
        ] = None,
        json: Annotated[
            str | None,
            typer.Option(help="Write the results as JSON to a file, or - for standard output.", metavar="FILE|-"),
        ] = None,
        csv: Annotated[str | None, typer.Option(help="Write one CSV line a row.", metavar="FILE|-")] = None,
    ) -> None:
        """Measure the three models of the founding benchmark on its four microcontrollers, beside the published
        figures."""
        from tinysim.errors import InputError
        from tinysim.seeds import measure_seeds
        from tinysim.sizing import BuildOptions
        from tinysim.views.seeds import seeds_to_csv, show_seeds

        if models is not None and not models.is_dir():
            raise InputError(
                f"there is no folder {models}", hint="examples/models/make_models.py makes the benchmark's models"
            )
        with progress_bar() as progress:
            rows = measure_seeds(options=BuildOptions(opt=opt, cc=cc), folder=models, progress=progress)
        if json:
            write_json([row.result.to_dict() for row in rows if row.result], json)
            for row in rows:
                if row.result is None:
                    console(error=True).print(f"{row.seed.name} {row.kind} is not among the results: {row.note}")
        if csv:
            write_text(seeds_to_csv(rows), csv)
        if "-" not in (json, csv):
            show_seeds(console(), rows)
