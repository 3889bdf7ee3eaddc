"""What tinysim needs and uses of this computer: found or missing, which version, how to get it."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from tinysim.data import cache_folder
from tinysim.errors import TinysimError

__all__ = ["Finding", "examine"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One tool or package. ``needed``: tinysim's main job does not work without it."""

    name: str
    found: bool
    version: str
    needed: bool
    advice: str = ""


def _package(name: str, *, needed: bool, advice: str) -> Finding:
    try:
        return Finding(name, True, version(name), needed)
    except PackageNotFoundError:
        return Finding(name, False, "", needed, advice)


def examine(cc: str | None = None, renode: str | None = None) -> list[Finding]:
    """All findings, what is needed first."""
    from tinysim.renode.find import find_renode
    from tinysim.sources import find_cargo
    from tinysim.toolchain import find_toolchain

    findings = [
        _package(name, needed=True, advice=f"pip install {name}")
        for name in ("unicorn", "capstone", "numba", "pyelftools", "tflite")
    ]
    try:
        toolchain = find_toolchain(cc)
        findings.append(Finding("arm GCC", True, toolchain.version, True))
    except TinysimError as error:
        findings.append(Finding("arm GCC", False, "", True, error.hint or error.message))
    try:
        findings.append(Finding("cargo", True, str(find_cargo()), True))
    except TinysimError as error:
        findings.append(Finding("cargo", False, "", True, error.hint or error.message))
    findings.append(_package("tflite-micro", needed=False, advice="pip install 'tinysim[reference]' to check outputs"))
    findings.append(
        _package("ai-edge-litert", needed=False, advice="pip install 'tinysim[reference]' to check outputs")
    )
    findings.append(
        _package("robotframework", needed=False, advice="pip install 'tinysim[robot]' for Robot Framework suites")
    )
    try:
        found = find_renode(renode)
        findings.append(Finding("Renode", True, f"{found.version} at {found.path} (by {found.found_by})", False))
    except TinysimError as error:
        findings.append(Finding("Renode", False, "", False, f"{error.message} - {error.hint}"))
    findings.append(Finding("cache", True, str(cache_folder()), False))
    return findings
