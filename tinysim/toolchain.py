"""The arm GCC in use: found, identified, and how it is asked to compile for a core.

A GCC made for Linux on Arm compiles the same code for a core as one made for bare metal: it is taken with the C
library, the headers and the linker of a bare-metal one. Distributions keep several versions of it, so firmware can be
built by
the version somebody else used.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path

from tinysim.errors import PartError, ToolchainError

__all__ = ["FloatAbi", "Opt", "Toolchain", "find_toolchain", "machine_flags"]

DEFAULT_PREFIX = "arm-none-eabi-"
_HINT = "apt-get install gcc-arm-none-eabi libnewlib-arm-none-eabi libstdc++-arm-none-eabi-dev"

# GCC's names of the cores and FPUs a part may have (GCC manual, "ARM Options"; Armv7-M: FPv4-SP and FPv5 have 16
# double-word registers).
_CORES = {"cortex-m4": "cortex-m4", "cortex-m7": "cortex-m7"}
_FPUS = {"fpv4-sp": "fpv4-sp-d16", "fpv5-sp": "fpv5-sp-d16", "fpv5-dp": "fpv5-d16"}


class Opt(StrEnum):
    """A level of optimisation."""

    O0 = "O0"
    O1 = "O1"
    O2 = "O2"
    O3 = "O3"
    OS = "Os"


class FloatAbi(StrEnum):
    """How floating-point arguments are passed, and whether the FPU is used at all (not with ``soft``)."""

    HARD = "hard"
    SOFTFP = "softfp"
    SOFT = "soft"


# A GCC for Linux takes the bare-metal ABI (AAPCS: enumerations as small as they can be), position-dependent code, and
# forgets its system.
_HOSTED_FLAGS = ("-mabi=aapcs", "-fshort-enums", "-fno-pic", "-fno-pie", "-nostdinc")
_HOSTED_MACROS = ("linux", "__linux", "__linux__", "__gnu_linux__", "unix", "__unix", "__unix__")


@dataclass(frozen=True, slots=True)
class Toolchain:
    """An arm GCC with its binutils. ``version`` is the first line of ``--version``.

    ``linker`` is the driver that links, with the C library; ``own_flags`` are what this GCC needs to compile for bare
    metal.
    """

    gcc: str
    ar: str
    version: str
    linker: str
    own_flags: tuple[str, ...] = ()

    @property
    def number(self) -> str:
        """The version number alone, such as ``12.2.1``."""
        match = re.search(r"\d+\.\d+(?:\.\d+)?(?=[^)]*$)", self.version)
        return match[0] if match else self.version

    def run(self, arguments: Sequence[str], what: str, folder: Path | None = None) -> str:
        """Runs the compiler driver; returns what it wrote. ToolchainError holds its first error lines."""
        return run_tool([self.gcc, *self.own_flags, *arguments], what, folder)

    def link(self, arguments: Sequence[str], what: str, folder: Path | None = None) -> str:
        """Runs the driver that links; returns what it wrote. ToolchainError holds its first error lines."""
        return run_tool([self.linker, *arguments], what, folder)

    def archive(self, target: Path, objects: Sequence[Path]) -> None:
        """Makes a static library."""
        run_tool([self.ar, "rcsD", str(target), *map(str, objects)], f"making {target.name}")


def run_tool(command: Sequence[str], what: str, folder: Path | None = None) -> str:
    """Runs a tool of the toolchain and returns its output and messages."""
    try:
        result = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", check=False)
    except OSError as error:
        raise ToolchainError(f"{command[0]} cannot be run: {error.strerror}", hint=_HINT) from error
    if result.returncode:
        raise ToolchainError(
            f"{Path(command[0]).name} failed: {what}",
            hint="the compiler's first messages are below",
            details="\n".join(first_errors(result.stderr)),
        )
    return result.stdout + result.stderr


def first_errors(messages: str, count: int = 12) -> list[str]:
    """The first lines that say what is wrong; all first lines when none is marked as an error."""
    lines = messages.splitlines()
    marked = [line for line in lines if re.search(r"\b(error|undefined reference|overflowed|cannot find)\b", line)]
    return (marked or lines)[:count]


@cache
def find_toolchain(cc: str | None = None) -> Toolchain:
    """The arm GCC named by ``cc``: nothing (``arm-none-eabi-gcc`` on the path), a program, or a prefix of its name.

    A GCC for Linux (``arm-linux-gnueabihf-gcc-11``) compiles; ``arm-none-eabi-gcc`` then gives headers and links.
    Raises ToolchainError when there is none, when it cannot be run or when it does not compile for bare-metal Arm.
    """
    name = cc or DEFAULT_PREFIX
    candidates = [name] if name.endswith(("gcc", "gcc.exe")) else [f"{name}gcc", name]
    found = next((path for path in map(shutil.which, candidates) if path), None)
    if found is None:
        wanted = f"no arm GCC is named {cc!r}" if cc else "no arm GCC was found"
        raise ToolchainError(wanted, hint=_HINT if not cc else "give the path of a GCC or the prefix of its tools")
    target = run_tool([found, "-dumpmachine"], "asking for its target").strip()
    if not target.startswith("arm") or "eabi" not in target:
        raise ToolchainError(f"{found} compiles for {target}, not for bare-metal Arm", hint=_HINT)
    hosted = "linux" in target
    if hosted and cc is None:
        raise ToolchainError(f"{found} compiles for {target}, not for bare-metal Arm", hint=_HINT)
    version = run_tool([found, "--version"], "asking for its version").splitlines()[0].strip()
    ar = re.sub(r"gcc(-[\d.]+)?(\.exe)?$", r"gcc-ar\1\2", found)
    if ar == found or not Path(ar).exists():
        ar = run_tool([found, "-print-prog-name=ar"], "asking for ar").strip()
    if not hosted:
        return Toolchain(gcc=found, ar=ar, version=version, linker=found)
    bare = find_toolchain()
    return Toolchain(gcc=found, ar=ar, version=version, linker=bare.gcc, own_flags=_hosted_flags(found, bare))


def _hosted_flags(gcc: str, bare: Toolchain) -> tuple[str, ...]:
    """What a GCC for Linux needs to compile for bare metal: the other's headers, but its own for what is its own."""
    text = run_tool([bare.gcc, "-x", "c++", "-E", "-v", "/dev/null"], "asking for its header folders")
    listed = re.search(r"#include <\.\.\.> search starts here:\n(.*?)\nEnd of search list", text, re.DOTALL)
    if listed is None:
        raise ToolchainError(f"{bare.gcc} does not say where its headers are", hint=_HINT)
    folders = [str(Path(line.strip()).resolve()) for line in listed[1].splitlines()]
    own = run_tool([bare.gcc, "-print-file-name=include"], "asking for its own headers").strip()
    private = str(Path(own).resolve())
    theirs = run_tool([gcc, "-print-file-name=include"], "asking for its own headers").strip()
    kept = [theirs if folder == private else folder for folder in folders if folder != f"{private}-fixed"]
    macros = [f"-U{name}" for name in _HOSTED_MACROS]
    return (*_HOSTED_FLAGS, *macros, *(flag for folder in kept for flag in ("-isystem", folder)))


def machine_flags(core: str, fpu: str, float_abi: FloatAbi) -> tuple[str, ...]:
    """The flags that choose core, FPU and calling convention.

    Raises PartError for a core or FPU that GCC's names are not known of.
    """
    if core not in _CORES:
        raise PartError(f"no compiler flags are known for core {core!r}", hint=f"known: {', '.join(_CORES)}")
    flags = (f"-mcpu={_CORES[core]}", "-mthumb", f"-mfloat-abi={float_abi}")
    if float_abi is FloatAbi.SOFT:
        return flags
    if fpu not in _FPUS:
        raise PartError(f"no compiler flags are known for FPU {fpu!r}", hint=f"known: {', '.join(_FPUS)}")
    return (*flags, f"-mfpu={_FPUS[fpu]}")
