"""Small programs for tests: assembled or compiled with the arm GCC, run from the ELF entry on a part of the
catalogue.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

PART = "stm32l4r5zi"
GCC = "arm-none-eabi-gcc"
SCRIPT = """
ENTRY(start)
MEMORY { FLASH (rx) : ORIGIN = 0x08000000, LENGTH = 512K
         RAM (rwx) : ORIGIN = 0x20000000, LENGTH = 160K }
SECTIONS {
  .text : { *(.vectors) *(.text*) *(.rodata*) } > FLASH
  .ARM.exidx : { *(.ARM.exidx*) } > FLASH
  .data : { *(.data*) } > RAM
  .bss (NOLOAD) : { *(.bss*) *(COMMON) } > RAM
  end = .;
}
"""
HEAD = """
    .syntax unified
    .cpu cortex-m4
    .thumb
    .text
"""


def need_gcc() -> None:
    """Skip the test where the compiler is missing."""
    if shutil.which(GCC) is None:
        pytest.skip(f"{GCC} is not installed")


def command(*arguments: object) -> int:
    """Run the tinysim command in this process; its exit code."""
    from tinysim.cli import main

    try:
        main([str(argument) for argument in arguments])
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def function(name: str, body: str) -> str:
    """An assembly function with its type and size."""
    head = f"    .global {name}\n    .type {name}, %function\n    .thumb_func\n{name}:\n"
    return f"{head}{body}\n    .size {name}, . - {name}\n"


def build(folder: Path, source: str, *options: str, suffix: str = ".c", name: str = "program") -> Path:
    """An ELF file from C (a function ``start`` that never returns) or, with suffix .s, from assembly."""
    need_gcc()
    folder.mkdir(parents=True, exist_ok=True)
    code, script, elf = folder / f"{name}{suffix}", folder / "program.ld", folder / f"{name}.elf"
    code.write_text((HEAD if suffix == ".s" else "") + source)
    script.write_text(SCRIPT)
    flags = ("-mcpu=cortex-m4", "-mthumb", "-nostartfiles", "-ffreestanding", f"-T{script}", "-Wl,--build-id=none")
    command = [GCC, *flags, *(options or ("-O1",)), str(code), "-o", str(elf)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return elf
