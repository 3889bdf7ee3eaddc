"""Priced time: CYCCNT and SysTick show the estimate."""

from __future__ import annotations

import pytest

from tests.engine.conftest import Bench

PARTS = ("stm32l4r5zi", "stm32h743zi")
WORK = """
    #define NEW_START() R(0xE000EDFC) |= 1 << 24; CYCCNT = 0; R(0xE0001000) |= 1
    volatile uint32_t a[64], measured[4];
    __attribute__((noinline)) uint32_t work(uint32_t n) { uint32_t s = 1; for (uint32_t k = 0; k < n; ++k) { a[k & 63]
    += s; s = s * 7 + a[s & 63]; } return s; }
"""


@pytest.mark.parametrize("part", PARTS)
def test_cycles_the_firmware_measures_are_the_estimate(bench: Bench, part: str) -> None:
    ran = bench.run(
        WORK + "void program(void) { NEW_START(); uint32_t t = CYCCNT; work(500); measured[0] = CYCCNT - t; }",
        part=part,
        regions=["work"],
    )
    estimate = ran.estimate.region(0, 1_000_000).cycles
    assert estimate > 2000
    assert ran.word("measured") == pytest.approx(estimate, abs=20)  # the call, and the reading itself


@pytest.mark.parametrize("part", PARTS)
def test_reading_the_counter_thousands_of_times(bench: Bench, part: str) -> None:
    ran = bench.run(
        WORK
        + """
        void program(void) {
          NEW_START();
          uint32_t least = ~0u, most = 0, last = CYCCNT, first = last;
          for (int k = 0; k < 5000; ++k) { uint32_t t = CYCCNT, d = t - last; last = t; if (d < least) least = d; if (d
          > most) most = d; } measured[0] = least; measured[1] = most; measured[2] = last - first;
        }
        """,
        "-O2",
        part=part,
    )
    assert 1 <= ran.word("measured", 0) <= ran.word("measured", 1) <= 60
    assert ran.word("measured", 2) == pytest.approx(ran.cycles(), rel=0.01)


def test_ticks_come_at_the_priced_time(bench: Bench) -> None:
    ran = bench.run(
        WORK
        + """
        volatile uint32_t ticks, times[32];
        void systick(void) { if (ticks < 32) times[ticks] = CYCCNT; ++ticks; }
        void program(void) {
          NEW_START();
          R(0xE000E014) = 4999; R(0xE000E018) = 0; R(0xE000E010) = 7;
          while (ticks < 20) work(50);
          R(0xE000E010) = 0;
        }
        """
    )
    times = [ran.word("times", k) for k in range(20)]
    late = [time - times[0] - 5000 * k for k, time in enumerate(times)]
    assert all(-60 <= error <= 60 for error in late)  # within the block that was running, never adding up


def test_waiting_is_a_cause_of_its_own_and_takes_no_instructions(bench: Bench) -> None:
    ran = bench.run(
        """
        volatile uint32_t ticks;
        void systick(void) { ++ticks; }
        void program(void) {
          R(0xE000E014) = 99999; R(0xE000E018) = 0; R(0xE000E010) = 7;
          while (ticks < 5) __asm volatile("wfi");
          R(0xE000E010) = 0;
        }
        """
    )
    region = ran.estimate.region(None, 1_000_000)
    assert region.breakdown["waiting for an interrupt"] == pytest.approx(500_000, rel=0.01)
    assert region.cycles == pytest.approx(500_000, rel=0.001) and region.instructions < 300
    assert ran.machine.now() == pytest.approx(region.cycles, abs=20)


def test_two_runs_are_identical(bench: Bench) -> None:
    source = (
        WORK
        + "volatile uint32_t n; void systick(void) { ++n; } void program(void) { R(0xE000E014) = 777; R(0xE000E010) = 7; work(3000); }"
    )
    first, second = bench.run(source), bench.run(source)
    assert first.cycles() == second.cycles() and first.word("n") == second.word("n") > 10
    assert first.run.exceptions == second.run.exceptions
