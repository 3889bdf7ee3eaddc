"""The system timer, counting priced cycles (ARMv7-M Architecture Reference Manual, B3.3)."""

from __future__ import annotations

from collections.abc import Callable

from tinysim.errors import EngineError

__all__ = ["SysTick"]

ENABLE, TICKINT, CLKSOURCE, COUNTFLAG = 1, 2, 4, 1 << 16
_BITS = 0xFFFFFF


class SysTick:
    """A 24-bit counter that runs down and starts again.

    ``now``: the priced cycle; ``expired``: called when it reached zero with its interrupt on; ``divider``: core
    cycles of one cycle of the external reference, None where the part's file does not say. It never looks ahead: who
    owns it asks for `next_expiry` and calls `update` when that time has come.
    """

    def __init__(self, now: Callable[[], int], expired: Callable[[], None], *, divider: int | None = None) -> None:
        self._now = now
        self._expired = expired
        self._divider = divider
        self.control = 0
        self.reload = 0
        self._value = 0  # where it stopped or started
        self._started = 0
        self._first_expiry = 0  # while it runs
        self._seen = 0  # expiries that `update` has reported
        self._flag = False

    @property
    def running(self) -> bool:
        """Whether it counts."""
        return bool(self.control & ENABLE) and self.reload > 0

    @property
    def interrupts(self) -> bool:
        """Whether it will pend its exception."""
        return self.running and bool(self.control & TICKINT)

    def _ticks(self) -> int:
        if self.control & CLKSOURCE:
            return 1
        if self._divider is None:
            raise EngineError(
                "the firmware runs SysTick from the external reference clock, whose rate the part's file does not give",
                hint="set CLKSOURCE, or add [systick] external_divider to the part's file",
            )
        return self._divider

    def _period(self) -> int:
        return (self.reload + 1) * self._ticks()

    def _start(self, value: int) -> None:
        self._seen = 0
        self._value, self._started = value, self._now()
        self._first_expiry = self._started + (value or self.reload + 1) * self._ticks()

    def _current(self) -> int:
        if not self.running:
            return self._value
        past_zero = (self._now() - self._started) // self._ticks() - self._value
        if past_zero <= 0:
            return -past_zero
        return self.reload - (past_zero - 1) % (self.reload + 1)  # the tick after zero loads the counter anew

    def next_expiry(self) -> int | None:
        """The cycle at which it reaches zero next, or None while it does not count."""
        return self._first_expiry + self._seen * self._period() if self.running else None

    def update(self) -> bool:
        """Take note of the time; whether it reached zero since the last call."""
        due = self.next_expiry()
        if due is None or self._now() < due:
            return False
        self._seen += 1 + (self._now() - due) // self._period()
        self._flag = True
        if self.control & TICKINT:
            self._expired()
        return True

    def read(self, offset: int) -> int:
        """CSR, RVR, CVR or CALIB by their offset (0, 4, 8, 12)."""
        if offset == 0:
            self.update()
            value = self.control | (COUNTFLAG if self._flag else 0)
            self._flag = False
            return value
        if offset == 4:
            return self.reload
        if offset == 8:
            return self._current()
        # CALIB: no calibration value (TENMS 0, which Arm defines as unknown); NOREF where there is no external
        # reference
        return 0x4000_0000 | (0x8000_0000 if self._divider is None else 0)

    def write(self, offset: int, value: int) -> None:
        """Write CSR, RVR or CVR; CALIB is read-only."""
        if offset == 0:
            was, here = self.running, self._current()
            self.control = value & (ENABLE | TICKINT | CLKSOURCE)
            if self.running and not was:
                self._start(here)
            elif was and not self.running:
                self._value = here
        elif offset == 4:
            was, here = self.running, self._current()
            self.reload = value & _BITS
            if self.running:
                self._start(here if was else self._value)
        elif offset == 8:
            self._value = 0
            self._flag = False
            if self.running:
                self._start(0)
