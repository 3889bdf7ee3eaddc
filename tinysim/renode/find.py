"""Where Renode is installed, and whether tinysim can use that version."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from tinysim.errors import EngineError

__all__ = ["HOW_TO_GET", "MINIMUM_VERSION", "FoundBy", "Renode", "check_version", "find_renode", "installed_version"]

MINIMUM_VERSION = (1, 16)
HOW_TO_GET = (
    "get a portable package of version 1.16 or later from https://renode.io and set RENODE_PATH to it, "
    "or install renode-run, or conda-forge's renode-cli"
)
_WHY_MINIMUM = "before 1.16 a read of the cycle counter does not synchronise with the instructions executed"
_VERSION = re.compile(r"(\d+)\.(\d+)(?:\.(\d+))?")


class FoundBy(StrEnum):
    """What led to an installation."""

    OPTION = "--renode"
    ENVIRONMENT = "RENODE_PATH"
    PATH = "PATH"
    RENODE_RUN = "renode-run"


@dataclass(frozen=True, slots=True)
class Renode:
    """An installation: the executable, and how it was found."""

    path: Path
    found_by: FoundBy

    @property
    def version(self) -> str:
        """What it calls itself, such as ``1.16.1``. Raises EngineError when tinysim cannot use that version."""
        return ".".join(map(str, check_version(installed_version(self))))


def find_renode(explicit: Path | str | None = None, environment: Mapping[str, str] = os.environ) -> Renode:
    """The Renode to use: ``explicit`` (executable or folder), RENODE_PATH, PATH, then what renode-run downloaded.

    Raises EngineError when a place that was named holds none, or when there is none anywhere.
    """
    for named, found_by in ((explicit, FoundBy.OPTION), (environment.get("RENODE_PATH"), FoundBy.ENVIRONMENT)):
        if named:
            executable = _executable_at(Path(named))
            if executable is None:
                raise EngineError(f"{found_by.value} names {named}, which is no Renode", hint=HOW_TO_GET)
            return Renode(executable, found_by)
    on_path = shutil.which("renode", path=environment.get("PATH"))
    if on_path:
        return Renode(Path(on_path), FoundBy.PATH)
    home = environment.get("HOME")
    downloaded = _downloaded_by_renode_run(Path(home)) if home else None
    if downloaded is not None:
        return Renode(downloaded, FoundBy.RENODE_RUN)
    raise EngineError("Renode is not installed", hint=HOW_TO_GET)


def installed_version(renode: Renode, timeout_s: float = 30.0) -> str:
    """What ``renode --version`` prints. Raises EngineError when it prints nothing."""
    try:
        answer = subprocess.run(
            [str(renode.path), "--version"],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EngineError(f"{renode.path} --version did not answer ({error})", hint=HOW_TO_GET) from error
    if not answer.stdout.strip():
        raise EngineError(f"{renode.path} --version printed nothing", hint=HOW_TO_GET, details=answer.stderr.strip())
    return answer.stdout


def check_version(text: str) -> tuple[int, ...]:
    """The version in Renode's own words (``Renode, version 1.16.1 (...)``). Raises EngineError below the minimum."""
    match = _VERSION.search(text)
    if match is None:
        raise EngineError(f"Renode names no version: {text.strip()!r}", hint=HOW_TO_GET)
    version = tuple(int(part) for part in match.groups() if part is not None)
    if version[:2] < MINIMUM_VERSION:
        shown = ".".join(map(str, version))
        raise EngineError(f"this is Renode {shown}; tinysim needs 1.16 or later: {_WHY_MINIMUM}", hint=HOW_TO_GET)
    return version


def _executable_at(path: Path) -> Path | None:
    candidates = (path / "renode", path / "bin" / "renode") if path.is_dir() else (path,)
    return next((c for c in candidates if c.is_file() and os.access(c, os.X_OK)), None)


def _downloaded_by_renode_run(home: Path) -> Path | None:
    """renode-run keeps packages in ~/.config/renode and notes them in renode-run.json: its default one, else any."""
    folder = home / ".config" / "renode"
    places: list[Path] = []
    try:
        noted = json.loads((folder / "renode-run.json").read_text())
        default = noted.get("default")
        # one path, or (before configuration version 2.1) one for each kind of package
        named = list(default.values()) if isinstance(default, dict) else [default]
        places += [Path(place) for place in [*named, *noted.get("installations", {})] if isinstance(place, str)]
    except (OSError, ValueError, AttributeError):
        pass  # no such file, or not in a form known here: look at the folder itself
    places += sorted((folder / "renode-run.download").glob("*/*"), reverse=True)
    places.append(folder / "renode-run.download")
    return next((found for place in places if (found := _executable_at(place)) is not None), None)
