"""SysTick against a counter that runs tick by tick."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinysim.engine.systick import COUNTFLAG, SysTick
from tinysim.errors import EngineError


class Time:
    """A clock to wind by hand."""

    def __init__(self) -> None:
        self.cycle = 0
        self.fired = 0

    def fire(self) -> None:
        self.fired += 1


def timer(divider: int | None = None) -> tuple[Time, SysTick]:
    time = Time()
    return time, SysTick(lambda: time.cycle, time.fire, divider=divider)


@given(st.integers(1, 50), st.lists(st.integers(1, 120), max_size=8), st.sampled_from([1, 8]))
def test_value_and_expiries_are_those_of_a_counter(reload: int, steps: list[int], divider: int) -> None:
    time, systick = timer(8)
    systick.write(4, reload)
    systick.write(8, 0)
    systick.write(0, 7 if divider == 1 else 3)
    value, expired, ticks = 0, 0, 0
    for step in steps:
        time.cycle += step
        while (ticks + 1) * divider <= time.cycle:
            ticks += 1
            value = value - 1 if value else reload   # the counter reloads on the tick after zero
            expired += value == 0
        before = time.fired
        systick.update()
        assert (time.fired > before) == (expired > 0)
        expired = 0
        assert systick.read(8) == value


def test_reading_control_clears_the_flag() -> None:
    time, systick = timer()
    systick.write(4, 9)
    systick.write(0, 5)
    assert systick.next_expiry() == 10
    time.cycle = 10
    assert systick.read(0) & COUNTFLAG and not systick.read(0) & COUNTFLAG
    assert time.fired == 0                                    # TICKINT is off
    assert systick.next_expiry() == 20


def test_stopping_keeps_the_value() -> None:
    time, systick = timer()
    systick.write(4, 99)
    systick.write(0, 5)
    time.cycle = 31
    systick.write(0, 4)
    time.cycle = 500
    assert systick.read(8) == 100 - 31 and systick.next_expiry() is None
    systick.write(0, 5)
    assert systick.next_expiry() == 500 + 69


def test_an_external_clock_of_unknown_rate_is_refused() -> None:
    _, systick = timer()
    systick.write(4, 99)
    with pytest.raises(EngineError, match="external reference"):
        systick.write(0, 1)
    assert timer(8)[1].read(12) >> 31 == 0 and timer()[1].read(12) >> 31 == 1
