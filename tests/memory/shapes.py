"""Small memory systems of the tests' own, as part files in a folder: one for each mechanism."""

from __future__ import annotations

from pathlib import Path

from tinysim.part import Part, load_part

PLATFORM = """
flash: Memory.MappedMemory @ sysbus 0x08000000
    size: 0x100000
ram: Memory.MappedMemory @ sysbus 0x20000000
    size: 0x10000
fast: Memory.MappedMemory @ sysbus 0x10000000
    size: 0x10000
nvic: IRQControllers.NVIC @ sysbus 0xE000E000
    IRQ -> cpu@0
cpu: CPU.CortexM @ sysbus
    cpuType: "cortex-m4"
    nvic: nvic
    PerformanceInMips: 100
dwt: Miscellaneous.DWT @ sysbus 0xE0001000
    frequency: 100000000
"""

HEAD = """
schema = "tinysim.part/1"
name = "toy"
title = "Toy"
vendor = "nobody"
core = "cortex-m4"
fpu = "fpv4-sp"
[platform]
source = "made up"
confidence = "inferred"
[clock]
max = "100MHz"
source = "made up"
confidence = "inferred"
[memory.flash]
kind = "flash"
[memory.ram]
kind = "sram"
[memory.fast]
kind = "ccm"
[placement]
code = ["flash"]
weights = ["flash"]
data = ["ram"]
arena = ["ram"]
stack = ["ram"]
[wait_states]
of = "flash"
source = "made up"
confidence = "inferred"
table = [
    { max = "20MHz", wait_states = 0 },
    { max = "80MHz", wait_states = 3 },
    { max = "100MHz", wait_states = 5 },
]
"""


def part_of(folder: Path, memory: str, *, core: str = "cortex-m4", head: str = HEAD) -> Part:
    """A part whose memory system is the given TOML text; every table in it gets a source."""
    (folder / "toy.repl").write_text(PLATFORM.replace("cortex-m4", core))
    sourced = []
    for line in memory.splitlines():
        sourced.append(line)
        header = line.strip()
        if header.endswith("]") and (header.startswith(("[flash", "[cache.", "[[path", "[[control"))):
            sourced += ['source = "made up"', 'confidence = "inferred"']
    (folder / "toy.toml").write_text(head.replace("cortex-m4", core) + "\n".join(sourced))
    return load_part(folder / "toy.toml")
