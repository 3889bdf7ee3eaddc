"""Runs small Thumb programs in Unicorn and gives their Counts, with plain Python hooks: slow, simple, independent of
the engine.
"""

from __future__ import annotations

import struct
import subprocess
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from unicorn import (
    UC_ARCH_ARM,
    UC_HOOK_BLOCK,
    UC_HOOK_CODE,
    UC_HOOK_MEM_READ,
    UC_HOOK_MEM_WRITE,
    UC_MODE_THUMB,
    Uc,
    UcError,
)
from unicorn import arm_const as arm

from tinysim.counts import NO_BLOCK, Counts
from tinysim.isa import Branch, Instruction, Trait, instructions

CODE, DATA, STOP = 0x08000000, 0x20000000, 0x0F000000
MODELS = {"cortex-m4": arm.UC_CPU_ARM_CORTEX_M4, "cortex-m7": arm.UC_CPU_ARM_CORTEX_M7}
FPUS = {"cortex-m4": "fpv4-sp-d16", "cortex-m7": "fpv5-d16"}


@dataclass
class Recording:
    """Blocks in the order they ran: address, size, and for each access the instruction and its (first) data address."""

    blocks: list[tuple[int, int, tuple[tuple[int, int], ...]]]
    code: bytes
    executed: Counter[int]
    result: int

    def read_code(self, address: int, size: int) -> bytes:
        return self.code[address - CODE : address - CODE + size]


def build(source: Path, folder: Path, core: str, *flags: str) -> bytes:
    """The ELF file of a freestanding program for one core: code at CODE, data at DATA."""
    elf = folder / f"{source.stem}-{core}-{'_'.join(flag.strip('-') for flag in flags)}.elf"
    made = subprocess.run(
        ["arm-none-eabi-gcc", f"-mcpu={core}", "-mthumb", f"-mfpu={FPUS[core]}", "-mfloat-abi=hard", "-nostdlib",
         "-ffreestanding", "-fno-tree-loop-distribute-patterns",
         f"-Wl,-Ttext={CODE:#x},-Tbss={DATA:#x},-Tdata={DATA + 0x8000:#x}",
         "-Wl,--no-warn-rwx-segments", *flags, str(source), "-o", str(elf)],
        capture_output=True, text=True,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    return elf.read_bytes()


def _load(elf: bytes) -> tuple[list[tuple[int, bytes]], dict[str, int]]:
    import io

    from elftools.elf.elffile import ELFFile

    file = ELFFile(io.BytesIO(elf))
    segments = [(s["p_vaddr"], s.data()) for s in file.iter_segments() if s["p_type"] == "PT_LOAD" and s["p_filesz"]]
    return segments, {s.name: s["st_value"] for s in file.get_section_by_name(".symtab").iter_symbols()}


def record(elf: bytes, function: str, core: str, arguments: tuple[int, ...] = ()) -> Recording:
    """Runs one function to its return. r0 to r3 hold the arguments; data memory is zero but for what the program
    sets.
    """
    uc = Uc(UC_ARCH_ARM, UC_MODE_THUMB)
    uc.ctl_set_cpu_model(MODELS[core])
    for base, size in ((CODE, 0x40000), (DATA, 0x40000), (STOP, 0x1000), (0xE0000000, 0x100000)):
        uc.mem_map(base, size)
    segments, symbols = _load(elf)
    for address, data in segments:
        uc.mem_write(address, data)
    uc.mem_write(0xE000ED88, struct.pack("<I", 0xF << 20))
    for number, value in enumerate(arguments):
        uc.reg_write(arm.UC_ARM_REG_R0 + number, value)
    uc.reg_write(arm.UC_ARM_REG_SP, DATA + 0x20000)
    uc.reg_write(arm.UC_ARM_REG_LR, STOP | 1)
    blocks: list[tuple[int, int, list[tuple[int, int]]]] = []
    executed: Counter[int] = Counter()

    def on_block(_uc: Uc, address: int, size: int, _data: object) -> None:
        blocks.append((address, size, []))

    def on_code(_uc: Uc, address: int, _size: int, _data: object) -> None:
        executed[address] += 1

    def on_access(uc: Uc, _kind: int, address: int, _size: int, _value: int, _data: object) -> None:
        at = uc.reg_read(arm.UC_ARM_REG_PC)
        accesses = blocks[-1][2]
        if not accesses or accesses[-1][0] != at:
            accesses.append((at, address))
        xpsr = uc.reg_read(arm.UC_ARM_REG_XPSR)
        if xpsr & 0x0600FC00:  # a hooked access inside an IT block leaves stale IT bits behind
            uc.reg_write(arm.UC_ARM_REG_XPSR, xpsr & ~0x0600FC00)

    uc.hook_add(UC_HOOK_BLOCK, on_block)
    uc.hook_add(UC_HOOK_CODE, on_code)
    uc.hook_add(UC_HOOK_MEM_READ | UC_HOOK_MEM_WRITE, on_access)
    try:
        uc.emu_start(symbols[function] | 1, STOP)
    except UcError as error:
        raise AssertionError(f"{error} at {uc.reg_read(arm.UC_ARM_REG_PC):#x}") from error
    assert uc.reg_read(arm.UC_ARM_REG_PC) == STOP
    return Recording(
        [(a, s, tuple(accesses)) for a, s, accesses in blocks], bytes(uc.mem_read(CODE, 0x40000)), executed,
        uc.reg_read(arm.UC_ARM_REG_R0),
    )  # fmt: skip


class Predictor:
    """Two-bit counters by address, without history; a return stack; the last target for other indirect branches."""

    def __init__(self) -> None:
        self._counters: dict[int, int] = {}
        self._targets: dict[int, int] = {}
        self._returns: list[int] = []

    def misses(self, branch: Instruction, to: int) -> bool:
        after = branch.address + branch.size
        wrong = False
        if branch.traits & Trait.DECIDES:
            taken, backward = to != after, to < branch.address
            counter = self._counters.get(branch.address)
            wrong = taken != (counter >= 2 if counter is not None else taken and backward)
            if counter is None:
                counter = 3 if taken and backward else 1
            self._counters[branch.address] = min(3, counter + 1) if taken else max(0, counter - 1)
        elif branch.branch > Branch.DIRECT:
            if branch.traits & Trait.RETURNS and self._returns:
                wrong = self._returns.pop() != to
            else:
                wrong = self._targets.get(branch.address) != to
                self._targets[branch.address] = to
        if branch.traits & Trait.LINKS:
            self._returns = [*self._returns[-7:], after]
        return wrong


def counts(recording: Recording, depth: int) -> Counts:
    """Counts of a recording, one phase; data addresses of the first execution of each key."""
    numbers: dict[tuple[int, int], int] = {}
    keys: dict[tuple[int, ...], int] = {}
    executions: list[int] = []
    missed: list[int] = []
    samples: list[tuple[int, ...]] = []
    context = [NO_BLOCK] * depth
    last: dict[tuple[int, int], Instruction] = {}
    predictor = Predictor()
    before: tuple[int, int] | None = None
    for address, size, accesses in recording.blocks:
        block = numbers.setdefault((address, size), len(numbers))
        key = (*context, block)
        if key not in keys:
            keys[key] = len(keys)
            executions.append(0)
            missed.append(0)
            samples.append(tuple(data for _, data in accesses))
        executions[keys[key]] += 1
        if before is not None:
            if before not in last:
                last[before] = list(instructions(before[0], recording.read_code(*before)))[-1]
            missed[keys[key]] += predictor.misses(last[before], address)
        context = [*context, block][1:]
        before = (address, size)
    starts = np.zeros(len(samples) + 1, np.int64)
    starts[1:] = np.cumsum([len(sample) for sample in samples])
    shape = np.array(list(numbers), np.uint32)
    return Counts(
        shape[:, 0].copy(), shape[:, 1].copy(), np.array(list(keys), np.int32),
        np.array([executions], np.uint64), np.array([missed], np.uint64), predication=predication(recording, numbers),
        sample_start=starts, sample_address=np.array([x for sample in samples for x in sample], np.uint32),
    )  # fmt: skip


def predication(recording: Recording, blocks: dict[tuple[int, int], int]) -> dict[int, float]:
    """How often the condition of each predicated instruction held: the code hook is silent where it did not."""
    entered = Counter((address, size) for address, size, _ in recording.blocks)
    reached: Counter[int] = Counter()
    predicated: set[int] = set()
    for address, size in blocks:
        for instruction in instructions(address, recording.read_code(address, size)):
            reached[instruction.address] += entered[(address, size)]
            if instruction.traits & Trait.PREDICATED:
                predicated.add(instruction.address)
    return {address: recording.executed[address] / reached[address] for address in predicated}


def trace(recording: Recording, counted: Counts) -> np.ndarray:
    """The block numbers of a recording in the order they ran."""
    numbers = {
        (int(address), int(size)): number
        for number, (address, size) in enumerate(zip(counted.block_address, counted.block_size, strict=True))
    }
    return np.array([numbers[(address, size)] for address, size, _ in recording.blocks], np.int64)
