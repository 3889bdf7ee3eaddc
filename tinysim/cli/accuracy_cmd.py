"""tinysim accuracy: the accuracy document, written anew."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from tinysim.cli.common import console, progress_bar, write_text

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command(epilog="Example: tinysim accuracy --models networks --output docs/accuracy.md")
    def accuracy(
        output: Annotated[str, typer.Option(help="Where to write the document.", metavar="FILE|-")] = "-",
        models: Annotated[
            Path | None,
            typer.Option(help="A folder with the networks measured on silicon; default: made anew with TensorFlow."),
        ] = None,
        effects: Annotated[
            Path | None, typer.Option(help="The file of the microbenchmarks; default: the one in a checkout's tests.")
        ] = None,
    ) -> None:
        """Compare with every published measurement, network by network and effect by effect, and write what was
        found."""
        from tinysim.accuracy import accuracy_document
        from tinysim.errors import InputError

        if models is not None and not models.is_dir():
            raise InputError(
                f"there is no folder {models}", hint="examples/models/make_validation_models.py makes the networks"
            )
        with tempfile.TemporaryDirectory() as scratch, progress_bar() as progress:
            folder = models or _made(Path(scratch))
            found = effects or _beside_checkout()
            if folder is None:
                console(error=True).print(
                    "the networks are left out: give --models, or install TensorFlow (pip install 'tinysim[zoo]')"
                )
            if found is None:
                console(error=True).print("the single effects are left out: give --effects, or run from a checkout")
            write_text(accuracy_document(folder, found, progress), output)


def _beside_checkout() -> Path | None:
    """The microbenchmarks of the checkout that tinysim runs from; None where it was installed without one."""
    from tinysim.data import platforms_folder

    path = platforms_folder().parent / "tests" / "timing" / "microbenchmarks.toml"
    return path if path.is_file() else None


def _made(folder: Path) -> Path | None:
    """The networks, made in a folder; None where TensorFlow is not installed."""
    import importlib.util

    from tinysim.data import models_folder, platforms_folder
    from tinysim.errors import ToolchainError

    if importlib.util.find_spec("tensorflow") is None:
        return None
    command = [
        sys.executable,
        str(models_folder() / "make_validation_models.py"),
        str(platforms_folder() / "silicon.csv"),
        str(folder),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ToolchainError(
            "the networks could not be made", hint="give a folder of them with --models", details=done.stderr[-2000:]
        )
    return folder
