"""tinysim calibrate: fit a core's open parameters to cycles measured on a board."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tinysim.cli.common import console, names_of, progress_bar, write_json

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command(epilog="Example: tinysim calibrate measured.toml --part stm32l4r5zi --output my-core.toml")
    def calibrate(
        measurements: Annotated[
            Path,
            typer.Argument(
                help="A TOML file with a table array named measurement: firmware, function or "
                "between (else the whole program), cycles of one call.",
                metavar="MEASURED.toml",
            ),
        ],
        part: Annotated[str, typer.Option("--part", "-p", help="The part it was measured on.")],
        output: Annotated[Path, typer.Option("--output", "-o", help="Where to write the core file; must not exist.")],
        parameter: Annotated[list[str] | None, typer.Option(help="Fit only these open parameters.")] = None,
        json: Annotated[str | None, typer.Option(help="Write what was fitted as JSON.", metavar="FILE|-")] = None,
    ) -> None:
        """Choose the parameters that no document settles so that they meet your own measurements on zero-wait memory.

        Use the result with --core FILE.
        """
        from tinysim.calibration import calibrate_from

        with progress_bar() as progress:
            fitted = calibrate_from(measurements, part, output, names_of(parameter or []) or None, progress)
        if json:
            write_json(
                {
                    "core": str(output),
                    "values": dict(fitted.values),
                    "before_percent": dict(fitted.before_percent),
                    "after_percent": dict(fitted.after_percent),
                    "mean_error_percent": fitted.mean_error_percent,
                },
                json,
            )
        if json == "-":
            return
        out = console()
        for name, value in fitted.values.items():
            out.print(f"{name} = {value}")
        for name, before in fitted.before_percent.items():
            out.print(f"{name}: {before:+.2f} % before, {fitted.after_percent[name]:+.2f} % after")
        out.print(f"mean error {fitted.mean_error_percent:.2f} %; wrote {output}: use it with --core {output}")
