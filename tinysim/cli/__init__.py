"""The command line: one file for each command."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import Any

import typer

from tinysim.errors import InputError, TinysimError

__all__ = ["build_app", "main"]

# Typer has the class in one place or another, by version, and exports it in none.
_UsageError: type[Exception] = typer.BadParameter.__mro__[1]

_COMMANDS = ("bench", "run", "seeds", "parts", "model", "price", "baseline", "calibrate", "accuracy", "doctor")


def build_app() -> typer.Typer:
    """The application with all its commands."""
    app = typer.Typer(
        name="tinysim",
        help="How long does a TinyML model take on a Cortex-M4 or M7, and what does it need? "
        "Answered before you buy a board.",
        epilog="Example: tinysim bench model.tflite --part stm32l4r5zi,stm32h723zg",
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
    )

    @app.callback(invoke_without_command=True)
    def base(
        context: typer.Context,
        version: bool = typer.Option(False, "--version", help="Show the version and stop.", is_eager=True),
    ) -> None:
        if version:
            from importlib.metadata import version as installed

            print(f"tinysim {installed('tinysim')}")
            raise typer.Exit
        if context.invoked_subcommand is None:
            print(context.get_help())
            raise typer.Exit(2)

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
    """Run the command line; always ends in SystemExit.

    Exit codes: 0 ok, 1 could not measure, 2 your input, 3 regression or budget exceeded.
    """
    from tinysim.cli.common import report

    try:
        code = build_app()(
            list(arguments) if arguments is not None else None, prog_name="tinysim", standalone_mode=False
        )
    except TinysimError as error:
        sys.exit(report(error))
    except _UsageError as error:
        sys.exit(report(_as_input_error(error)))
    except (KeyboardInterrupt, typer.Abort):
        print("tinysim: interrupted", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
    sys.exit(code or 0)


def _as_input_error(error: Any) -> InputError:
    """A wrong use of the command line, as the one line that every wrong input gets."""
    message = " ".join(error.format_message().split()).rstrip(".")
    command = error.ctx.command_path if error.ctx is not None else "tinysim"
    return InputError(message[:1].lower() + message[1:], hint=f"`{command} --help` shows what it takes")
