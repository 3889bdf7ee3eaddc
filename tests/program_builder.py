"""Builds small programs for tests with the arm GCC: bare ELF files for the parts in tests/programs."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

FOLDER = Path(__file__).parent / "programs"
PLAIN_M4 = FOLDER / "plain-m4.toml"
PLAIN_M7 = FOLDER / "plain-m7.toml"
START = FOLDER / "start.S"
FLAGS = ("-mthumb", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16", "-nostdlib", "-g1")


def run(*command: str | Path) -> str:
    """What a tool prints. Its own messages are the error of a test that has a wrong program."""
    result = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


def build(target: Path, *sources: Path, core: str = "cortex-m4", flags: Sequence[str] = ()) -> Path:
    """Compile and link sources for a core with the tests' linker script."""
    script = () if any(flag == "-c" for flag in flags) else ("-T", FOLDER / "plain.ld", "-Wl,--build-id=none")
    run("arm-none-eabi-gcc", f"-mcpu={core}", *FLAGS, *flags, *script, *sources, "-o", target)
    return target


def function(folder: Path, body: str, core: str = "cortex-m4", flags: Sequence[str] = ()) -> Path:
    """A program that calls the function ``f`` of ``body`` once, in registers as start.S says."""
    source = folder / "f.S"
    source.write_text(
        f".syntax unified\n.thumb\n.text\n.balign 8\n.global f\n.type f, %function\n{body}\n.size f, . - f\n"
    )
    return build(folder / "f.elf", START, source, core=core, flags=flags)
