"""The command line: one file for each command."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

import typer

from tinysim.errors import TinysimError

__all__ = ["build_app", "main"]

_COMMANDS = ("bench", "run", "seeds", "parts", "model", "price", "baseline", "calibrate", "accuracy", "doctor")


def build_app() -> typer.Typer:
    """The application with all its commands."""
    app = typer.Typer(
        name="tinysim",
        help="How long does a TinyML model take on a Cortex-M4 or M7, and what does it need? Answered before you buy a board.",
        epilog="Example: tinysim bench model.tflite --part stm32l4r5zi,stm32h723zg",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
    )

    @app.callback(invoke_without_command=True)
    def base(version: bool = typer.Option(False, "--version", help="Show the version and stop.", is_eager=True)) -> None:
        if version:
            from importlib.metadata import version as installed

            print(f"tinysim {installed('tinysim')}")
            raise typer.Exit

    for name in _COMMANDS:
        try:
            module = importlib.import_module(f"tinysim.cli.{name}_cmd")
        except ModuleNotFoundError as error:
            if error.name != f"tinysim.cli.{name}_cmd":
                raise
            continue
        module.register(app)
    return app


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line. Exit codes: 0 ok, 1 could not measure, 2 your input, 3 regression or budget exceeded."""
    try:
        build_app()(list(arguments) if arguments is not None else None, standalone_mode=True)
    except TinysimError as error:
        from tinysim.cli.common import report

        sys.exit(report(error))
    except KeyboardInterrupt:
        print("tinysim: interrupted", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
