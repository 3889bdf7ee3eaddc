"""Which exceptions are pending, active and enabled, and which one the core takes next.

Numbers and rules: ARMv7-M Architecture Reference Manual (DDI 0403E.e), B1.5. The state only; what taking one does to
the registers is in `tinysim.engine.exceptions`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

__all__ = ["Exceptions", "Interrupts", "Masks", "exception_name"]

LOWEST = 256
"""An execution priority below every exception's: thread mode with nothing masked."""
FIRST_EXTERNAL = 16


class Exceptions(IntEnum):
    """The exceptions every Armv7-M core has; interrupt n is exception 16 + n."""

    RESET = 1
    NMI = 2
    HARD_FAULT = 3
    MEMORY_MANAGEMENT = 4
    BUS_FAULT = 5
    USAGE_FAULT = 6
    SVCALL = 11
    DEBUG_MONITOR = 12
    PENDSV = 14
    SYSTICK = 15


_NAMES = {
    1: "Reset",
    2: "NMI",
    3: "HardFault",
    4: "MemManage",
    5: "BusFault",
    6: "UsageFault",
    11: "SVCall",
    12: "DebugMonitor",
    14: "PendSV",
    15: "SysTick",
}
_FIXED = {1: -3, 2: -2, 3: -1}
_CONFIGURABLE_FAULTS = (4, 5, 6, 12)


def exception_name(number: int) -> str:
    """An exception for people: ``SysTick``, ``interrupt 37``."""
    if number >= FIRST_EXTERNAL:
        return f"interrupt {number - FIRST_EXTERNAL}"
    return _NAMES.get(number, f"exception {number}")


@dataclass(frozen=True, slots=True)
class Masks:
    """The core's mask registers."""

    primask: bool = False
    faultmask: bool = False
    basepri: int = 0


class Interrupts:
    """The state of a part's exceptions: ``count`` interrupts, priorities of ``priority_mask``'s bits."""

    def __init__(self, count: int, priority_mask: int = 0xFF) -> None:
        self.count = count
        self.priority_mask = priority_mask
        self.group_shift = 1  # AIRCR.PRIGROUP = 0: bit 0 alone is a sub-priority
        self.pending: set[int] = set()
        self.active: list[int] = []
        self.enabled: set[int] = set()
        self._priority = bytearray(FIRST_EXTERNAL + count)

    def set_priority(self, number: int, value: int) -> None:
        """Set a configurable exception's priority; bits the part does not have read as zero."""
        if FIRST_EXTERNAL + self.count > number > 3:
            self._priority[number] = value & self.priority_mask

    def priority(self, number: int) -> int:
        """The priority of an exception: lower goes first."""
        return _FIXED[number] if number in _FIXED else self._priority[number]

    def set_grouping(self, prigroup: int) -> None:
        """AIRCR.PRIGROUP: how many of the lower bits do not decide about preemption."""
        self.group_shift = (prigroup & 7) + 1

    def group(self, priority: int) -> int:
        """The part of a priority that decides about preemption."""
        return priority if priority < 0 else priority >> self.group_shift << self.group_shift

    def is_enabled(self, number: int) -> bool:
        """Whether a pending exception can be taken at all."""
        if number >= FIRST_EXTERNAL or number in _CONFIGURABLE_FAULTS:
            return number in self.enabled
        return True

    def execution_priority(self, masks: Masks) -> int:
        """The priority a new exception must beat (ARMv7-M ARM, B1.5.4 ExecutionPriority)."""
        active = min((self.group(self.priority(n)) for n in self.active), default=LOWEST)
        boosted = LOWEST
        base = masks.basepri & self.priority_mask
        if base:
            boosted = self.group(base)
        if masks.primask:
            boosted = 0
        if masks.faultmask:
            boosted = -1
        return min(active, boosted)

    def next(self, masks: Masks) -> int | None:
        """The pending exception that preempts what runs, or None. Of equal ones the lowest number goes first."""
        if not self.pending:
            return None
        best = self.best()
        if best is None or self.group(self.priority(best)) >= self.execution_priority(masks):
            return None
        return best

    def best(self) -> int | None:
        """The pending and enabled exception of the highest priority, masked or not."""
        ready = [n for n in self.pending if self.is_enabled(n)]
        return min(ready, key=lambda n: (self.priority(n), n), default=None)

    def wakes(self, masks: Masks) -> bool:
        """Whether a wait for an interrupt ends: something pending would be taken if PRIMASK were clear (B1.5.18)."""
        return self.next(Masks(False, masks.faultmask, masks.basepri)) is not None

    def enter(self, number: int) -> None:
        """An exception is taken."""
        self.pending.discard(number)
        self.active.append(number)

    def leave(self, number: int) -> None:
        """An exception's handler returns."""
        if number in self.active:
            self.active.remove(number)

    def can_take(self, number: int, masks: Masks) -> bool:
        """Whether a synchronous exception can be taken at once; if not it escalates to HardFault."""
        return self.is_enabled(number) and self.group(self.priority(number)) < self.execution_priority(masks)
