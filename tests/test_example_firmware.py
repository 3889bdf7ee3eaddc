"""The two example programs, built with their own Makefile, as a new user runs them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tinysim.measure import measure
from tinysim.memory.pricers import MemoryOptions

pytest_plugins = ["tests.engine.conftest"]
PART = "stm32l4r5zi"


@pytest.mark.parametrize("ideal", [True, False])
def test_the_sampler_prints_the_cycles_that_are_estimated(examples: Callable[[str], Path], ideal: bool) -> None:
    text = b"hello world, this is a test of the ring"
    result, measured = measure(
        examples("sampler"),
        PART,
        functions=["process", "filter"],
        until="finished",
        uart=text,
        memory=MemoryOptions(ideal=ideal),
    )
    lines = re.findall(r"bytes (\d+) cycles (\d+) level (\d+)", measured.observed.output["usart1"])
    assert len(lines) == 4 and sum(int(count) for count, _, _ in lines) == len(text) == result.regions[1].calls
    process = result.regions[0]
    assert process.calls == 4
    printed = sum(int(cycles) for _, cycles, _ in lines)
    assert printed == pytest.approx(process.cycles, rel=0.02, abs=4 * 20)
    level = sum(text[-32:]) / 32
    assert int(lines[-1][2]) == int(level)
    assert process.stack_peak_bytes is not None and process.stack_peak_bytes > 32
    (main,) = measured.observed.stacks
    assert {"SysTick", "interrupt 37"} <= dict(main.by).keys() and max(dict(main.by).values()) <= main.peak_bytes


def test_the_switcher_runs_two_tasks_on_stacks_of_their_own(examples: Callable[[str], Path]) -> None:
    result, measured = measure(examples("switcher"), PART, functions=["count_primes", "integrate"], until="finished")
    assert re.fullmatch(r"primes 46 integral x1000 3141 ticks \d+\r\n", measured.observed.output["usart1"])
    run = measured.estimate.run
    assert [stack.name for stack in measured.observed.stacks] == ["main stack", "prime_stack", "integral_stack"]
    assert all(0 < stack.peak_bytes <= 512 == stack.room_bytes for stack in measured.observed.stacks[1:])
    counts = {number: [c for c in run.exceptions if c.exception == number] for number in (11, 14, 15)}
    assert sum(c.entries for c in counts[11]) == 1
    assert sum(c.entries for c in run.exceptions) == sum(c.returns for c in run.exceptions)
    assert sum(c.entries + c.chained for c in counts[14]) > 20
    assert sum(c.stacked_fp for c in counts[14]) > 0 and sum(c.unstacked_fp for c in counts[14]) > 0
    whole = measured.estimate.region(None, 120_000_000)
    assert sum(whole.breakdown.values()) == whole.cycles and whole.breakdown["exception entry and exit"] > 0
    primes, integrate = result.regions
    assert primes.cycles + integrate.cycles < whole.cycles
    ticks = int(re.findall(r"ticks (\d+)", measured.observed.output["usart1"])[0])
    assert ticks == sum(c.entries + c.chained for c in counts[15])


def test_the_same_program_twice_is_identical_to_the_cycle(examples: Callable[[str], Path]) -> None:
    first, second = (measure(examples("switcher"), PART, until="finished")[0] for _ in range(2))
    assert first.to_dict() == second.to_dict()
