"""Where a program starts, and how its run can end: shared by every engine."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from tinysim.errors import ImageError
from tinysim.image import Image
from tinysim.part import Part

__all__ = ["DEFAULT_BUDGET", "Ending", "Stop", "starting_point", "vector_table"]

DEFAULT_BUDGET = 4_000_000_000
"""Instructions (counted as halfwords of code) after which a run is taken for a run-away."""


class Ending(Enum):
    """Why a run came to rest."""

    ADDRESS = "reached an address that was asked for"
    IDLE = "waits for ever: a branch to itself or a wait for an interrupt that cannot come"
    EXIT = "ended itself by semihosting"
    BUDGET = "used up its instruction budget"


@dataclass(frozen=True, slots=True)
class Stop:
    """Where a run came to rest."""

    address: int
    halfwords: int


def vector_table(image: Image, part: Part) -> int | None:
    """The address of the program's vector table, or None where it has none (a bare program)."""
    first = min(image.segments, key=lambda s: s.load_address)
    tables = [s.address for s in image.sections if "vector" in s.name.lower()] + [first.load_address]
    for name in ("__Vectors", "g_pfnVectors", "__isr_vector", "_vector_table", "__vector_table"):
        symbol = image.find(name)
        if symbol is not None:
            tables.insert(0, symbol.address)
    code = [s for s in image.segments if s.executable]
    for table in tables:
        try:
            words = image.read(table, 8)
        except ImageError:
            continue
        sp, pc = int.from_bytes(words[:4], "little"), int.from_bytes(words[4:], "little")
        in_ram = any(r.kind.writable and r.base < sp <= r.end for r in part.regions)
        in_code = any(s.address <= pc - 1 < s.address + len(s.data) for s in code)
        if in_ram and pc & 1 and in_code and sp % 4 == 0:
            return table
    return None


def starting_point(image: Image, part: Part) -> tuple[int, int]:
    """The initial stack pointer and program counter: the vector table's where the file has one, else a bare
    program's.

    A bare program (a hand-written assembly file, say) starts at the ELF entry with the stack at the top of the part's
    stack memory.
    """
    table = vector_table(image, part)
    if table is not None:
        words = image.read(table, 8)
        return int.from_bytes(words[:4], "little"), int.from_bytes(words[4:], "little") & ~1
    base, size = part.span(part.placement["stack"][0])
    return base + size, image.entry & ~1
