"""Stacks and heap: how far down each may go, what lies below, and whether it was hit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tinysim.engine.cpu import UnicornCpu
from tinysim.engine.interrupts import exception_name
from tinysim.engine.run import EXCEPTION_MARKER, TASK_MARKER, Run
from tinysim.errors import FaultError
from tinysim.image import Image
from tinysim.part import Part

__all__ = ["Floor", "HeapWatch", "StackUse", "check", "floor_of", "uses"]

_SBRK = ("_sbrk", "sbrk", "_sbrk_r")
_SIGN = 1 << 31


@dataclass(frozen=True, slots=True)
class Floor:
    """The lowest address a stack may use, the stack's name, and what lies below."""

    address: int
    stack: str
    below: str


def floor_of(image: Image, part: Part, top: int) -> Floor:
    """How far down the stack that starts at ``top`` may go.

    A symbol with a size that holds the stack bounds it, then a section that does (when named after a stack or heap),
    then the end of the highest section below, then the start of the memory.
    """
    inside = top - 4
    held = [s for s in image.symbols if s.bytes and not s.function and s.address <= inside < s.address + s.bytes]
    if held:
        symbol = min(held, key=lambda s: s.bytes)
        return Floor(symbol.address, symbol.shown, _what_lies_below(image, symbol.address))
    for section in image.sections:
        named = "stack" in section.name.lower() or "heap" in section.name.lower()
        if named and section.address <= inside < section.address + section.bytes:
            return Floor(section.address, section.name, _what_lies_below(image, section.address))
    region = part.region_at(inside)
    base = region.base if region else 0
    below = [s for s in image.sections if s.writable and base <= s.address and s.address + s.bytes <= top]
    if not below:
        return Floor(base, "main stack", "the memory's start")
    highest = max(below, key=lambda s: s.address + s.bytes)
    return Floor(highest.address + highest.bytes, "main stack", highest.name)


@dataclass(frozen=True, slots=True)
class StackUse:
    """How deep a stack went, from its top. ``room_bytes``: how deep it may go. ``by``: the same while a handler ran,
    by exception.

    A handler runs on the main stack, so its figure includes what it interrupted there.
    """

    name: str
    top: int
    peak_bytes: int
    room_bytes: int
    by: tuple[tuple[str, int], ...] = ()


def uses(run: Run, image: Image, part: Part, main_top: int) -> tuple[StackUse, ...]:
    """The main stack's use, then that of each task's stack in the order the tasks started."""
    found = []
    for number, top in enumerate((main_top, *run.tasks)):
        lowest = run.lowest_sp(None, stack=number)
        floor = floor_of(image, part, top)
        handlers: dict[int, int] = {}
        for phase in run.phases if number == 0 else ():
            exception = phase.marker - EXCEPTION_MARKER
            if 0 <= exception < TASK_MARKER - EXCEPTION_MARKER and phase.lowest_sp < 1 << 32:
                handlers[exception] = max(handlers.get(exception, 0), main_top - phase.lowest_sp)
        by = tuple((exception_name(exception), peak) for exception, peak in sorted(handlers.items()))
        found.append(StackUse(floor.stack, top, 0 if lowest is None else top - lowest, top - floor.address, by))
    return tuple(found)


def _what_lies_below(image: Image, address: int) -> str:
    for symbol in image.symbols:
        if symbol.bytes and not symbol.function and symbol.address <= address - 1 < symbol.address + symbol.bytes:
            return symbol.shown
    for section in image.sections:
        if section.address <= address - 1 < section.address + section.bytes:
            return section.name
    return "nothing the file names"


def check(run: Run, image: Image, part: Part, main_top: int) -> None:
    """Raise FaultError when a stack ran into what lies below it."""
    for number, top in enumerate((main_top, *run.tasks)):
        lowest = run.lowest_sp(None, stack=number)
        if lowest is None or not part.region_at(top - 4):
            continue
        floor = floor_of(image, part, top)
        if lowest < floor.address:
            raise FaultError(
                f"stack overflow: {floor.stack} went {floor.address - lowest} bytes below {floor.address:#010x}, "
                f"into {floor.below}",
                hint="give the stack more room",
            )


class HeapWatch:
    """How much memory newlib's ``sbrk`` handed out at the most, and FreeRTOS's heap where one is linked."""

    def __init__(self, image: Image, cpu: UnicornCpu) -> None:
        self._image, self._cpu = image, cpu
        self._used = 0
        self.peak_bytes: int | None = None
        symbol = next((s for name in _SBRK if (s := image.find(name)) is not None and s.function), None)
        if symbol is None:
            return
        argument = "r1" if symbol.name.endswith("_r") else "r0"

        def on_sbrk(_uc: Any, _address: int, _size: int, _data: Any) -> None:
            increment = cpu.get(argument)
            self._used += increment - ((increment & _SIGN) << 1)
            self.peak_bytes = max(self.peak_bytes or 0, self._used)

        cpu.uc.hook_add(cpu.unicorn.UC_HOOK_CODE, on_sbrk, begin=symbol.address, end=symbol.address)

    def high_water_bytes(self) -> int | None:
        """The most heap in use so far; None where no allocator is known or none was called."""
        heap, least = self._image.find("ucHeap"), self._image.find("xMinimumEverFreeBytesRemaining")
        if heap is not None and least is not None and heap.bytes:
            return heap.bytes - int.from_bytes(self._cpu.load(least.address, 4), "little")
        return self.peak_bytes
