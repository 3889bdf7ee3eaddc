"""Where the data files that come with tinysim are: in the wheel below the package, in a checkout beside it."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["cache_folder", "firmware_folder", "models_folder", "platforms_folder"]

_PACKAGE = Path(__file__).resolve().parent


def _folder(name: str, checkout: str = "") -> Path:
    packed = _PACKAGE / "_data" / name
    return packed if packed.is_dir() else _PACKAGE.parent / (checkout or name)


def platforms_folder() -> Path:
    """The folder of the parts, cores and the instruction set."""
    return _folder("platforms")


def firmware_folder() -> Path:
    """The folder of the firmware's sources and build description."""
    return _folder("firmware")


def models_folder() -> Path:
    """The folder of the models that come with tinysim."""
    return _folder("models", "examples/models")


def cache_folder() -> Path:
    """The per-user cache, ``$XDG_CACHE_HOME/tinysim``; made when missing."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    folder = Path(base) / "tinysim"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
