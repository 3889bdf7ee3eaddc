"""Native hooks on single instructions whose cost depends on data: conditional transfers inside IT blocks, and
divisions.

The block hook says how often a block ran, not whether a conditional load in it was carried out, nor what a division was
given. Both are seldom, so they get a hook of their own at their address and cost nothing elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import carray, types
from numpy.typing import NDArray

from tinysim.engine.layout import read_register
from tinysim.image import Image
from tinysim.native import native, native_callback

__all__ = [
    "Conditional",
    "Division",
    "Probes",
    "divisions_of",
    "find_probes",
    "on_division",
    "on_execution",
    "predication_of",
]

QUOTIENT_BITS = 34
_FIRST_REGISTER = 66  # UC_ARM_REG_R0
_SP, _LR = 12, 10
_SIGNATURE = types.void(types.voidptr, types.uint64, types.uint32, types.voidptr)


@dataclass(frozen=True, slots=True)
class Conditional:
    """An IT block with transfers in it. Watching its first instruction says how often each of the others was carried
    out.

    ``address``: of that instruction, which runs when the condition holds. ``transfers``: (address, whether it runs when
    the first one does).
    """

    address: int
    transfers: tuple[tuple[int, bool], ...]


@dataclass(frozen=True, slots=True)
class Division:
    """A division: the numbers of its dividend's and divisor's registers."""

    address: int
    dividend: int
    divisor: int
    signed: bool


@dataclass(frozen=True, slots=True)
class Probes:
    """What to watch in a program."""

    conditional: tuple[Conditional, ...]
    divisions: tuple[Division, ...]


def _halfwords(image: Image) -> Iterator[tuple[int, NDArray[np.uint16]]]:
    """The code as (address, halfwords): of the sections that hold code, or of the executable segments of a file without
    sections.
    """
    spans = [(s.address, s.bytes) for s in image.sections if s.executable and s.stored]
    spans = spans or [(s.address, len(s.data)) for s in image.segments if s.executable]
    for address, size in spans:
        if size >= 4:
            yield address, np.frombuffer(image.read(address, size & ~1), "<u2")


def _transfers(first: int) -> bool:
    """Whether an instruction with this first halfword moves data to or from memory or takes several cycles in the FPU.
    """
    if _wide(first):
        return first & 0xFE00 in (0xE800, 0xF800) or first & 0xFC00 == 0xEC00
    return first & 0xF800 == 0x4800 or 0x5000 <= first < 0xA000 or first & 0xF600 == 0xB400 or first & 0xF000 == 0xC000


def _wide(first: int) -> bool:
    return first >> 11 in (0b11101, 0b11110, 0b11111)


def _conditional(base: int, words: NDArray[np.uint16], index: int) -> Conditional | None:
    """The IT block whose IT instruction is at ``index``, when it holds transfers."""
    mask = int(words[index]) & 15
    length = 4 - ((mask & -mask).bit_length() - 1)
    at = index + 1
    found = []
    for slot in range(length):
        if at >= len(words):
            return None
        first = int(words[at])
        if _transfers(first):
            # mask bit 4 - slot equals the condition's lowest bit in a "then" slot (Armv7-M ARM, A7.3.2)
            same = slot == 0 or (mask >> (4 - slot)) & 1 == (int(words[index]) >> 4) & 1
            found.append((base + 2 * at, same))
        at += 2 if _wide(first) else 1
    return Conditional(base + 2 * (index + 1), tuple(found)) if found else None


def find_probes(image: Image) -> Probes:
    """Every place in a program's code that looks like one of the two kinds.

    A hook on data that only looks so never fires.
    """
    conditional: list[Conditional] = []
    divisions: list[Division] = []
    for base, words in _halfwords(image):
        for index in np.flatnonzero((words & 0xFF00 == 0xBF00) & (words & 0xF != 0)):
            block = _conditional(base, words, int(index))
            if block is not None:
                conditional.append(block)
        firsts, seconds = words[:-1] & 0xFFF0, words[1:] & 0xF0F0
        for index in np.flatnonzero(((firsts == 0xFB90) | (firsts == 0xFBB0)) & (seconds == 0xF0F0)):
            first, second = int(words[index]), int(words[index + 1])
            divisions.append(Division(base + 2 * int(index), first & 15, second & 15, first & 0xFFF0 == 0xFB90))
    return Probes(tuple(conditional), tuple(divisions))


def register_number(number: int) -> int:
    """Unicorn's name of core register ``number``."""
    return {13: _SP, 14: _LR}.get(number, _FIRST_REGISTER + number)


@native_callback(_SIGNATURE)
def on_execution(_uc: Any, _address: int, _size: int, data: Any) -> None:
    """Count the executions of one instruction whose condition holds (the emulator does not call for the others)."""
    carray(data, (1,), np.int64)[0] += 1


@native
def _significant_bits(value: int) -> int:
    bits = 0
    while value > 0:
        bits += 1
        value >>= 1
    return bits


@native_callback(_SIGNATURE)
def on_division(uc: Any, _address: int, _size: int, data: Any) -> None:
    """Sort one division by the bits of its quotient: (dividend register, divisor register, signed, scratch, then 34
    counters).
    """
    words = carray(data, (4 + QUOTIENT_BITS,), np.int64)
    scratch = words[3:]
    scratch[0] = 0
    read_register(uc, np.int32(words[0]), scratch.ctypes)
    dividend = scratch[0] & 0xFFFFFFFF
    scratch[0] = 0
    read_register(uc, np.int32(words[1]), scratch.ctypes)
    divisor = scratch[0] & 0xFFFFFFFF
    if words[2]:
        if dividend & 0x80000000:
            dividend = 0x100000000 - dividend
        if divisor & 0x80000000:
            divisor = 0x100000000 - divisor
    if divisor == 0:
        index = 33
    elif dividend < divisor:
        index = 0
    else:
        index = _significant_bits(dividend) - _significant_bits(divisor) + 1
    words[4 + index] += 1


def predication_of(
    blocks: tuple[Conditional, ...], held: NDArray[np.int64], totals: Mapping[int, int]
) -> dict[int, float]:
    """Instruction address -> fraction of its executions in which its condition held.

    ``held``: how often each block's first instruction was carried out; ``totals``: how often it was reached, by
    address.
    """
    fractions = {}
    for block, times in zip(blocks, held, strict=True):
        total = totals.get(block.address)
        if total:
            fraction = min(1.0, int(times) / total)
            fractions.update({address: fraction if same else 1.0 - fraction for address, same in block.transfers})
    return fractions


def divisions_of(rows: NDArray[np.int64], divisions: tuple[Division, ...]) -> dict[int, NDArray[np.uint64]]:
    """Instruction address -> executions by quotient bits; only those that were reached."""
    return {d.address: row[4:].astype(np.uint64) for d, row in zip(divisions, rows, strict=True) if row[4:].any()}
