"""Streams: what is remembered of a block gives the same cycles as running every instruction again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tinysim.core import load_core
from tinysim.engine.unicorn_machine import Machine
from tinysim.image import load_image
from tinysim.memory.config import configure, ideal
from tinysim.memory.settings import startup_writes
from tinysim.model import load_model
from tinysim.part import load_part
from tinysim.sizing import BuildOptions, build_fitting, set_up
from tinysim.timing.stream import StreamPricer

MODEL = Path(__file__).parents[2] / "examples" / "models" / "cnn_int8.tflite"
BLOCKS = 2500
BLOCK_BIT = np.uint64(1 << 63)


def recorded(part_name: str) -> tuple[Machine, NDArray[np.uint64]]:
    """The first blocks of an inference, with their accesses."""
    part = load_part(part_name)
    core = load_core(part.core)
    model = load_model(MODEL)
    image = load_image(build_fitting(model, part, BuildOptions()).path)
    pieces: list[NDArray[np.uint64]] = []
    machine = Machine(
        image, part, depth=core.context_blocks, predict=True, record=lambda events: pieces.append(events.copy())
    )
    set_up(machine, model)
    machine.skip_call()
    machine.forget()
    pieces.clear()
    machine.run_to(image.symbol("tinysim_done").address)
    events = np.concatenate(pieces)
    starts = np.flatnonzero(events >= BLOCK_BIT)
    return machine, events[: starts[BLOCKS]]


@pytest.mark.parametrize("part_name", ["stm32l4r5zi", "stm32h723zg"])
@pytest.mark.parametrize("memory", ["ideal", "real", "caches off"])
def test_remembering_blocks_changes_no_cycle(part_name: str, memory: str) -> None:
    machine, events = recorded(part_name)
    part = load_part(part_name)
    core = load_core(part.core).with_fpu(part.fpu)
    clock_hz = part.default_clock_hz
    system = {
        "ideal": ideal(part, clock_hz),
        "real": configure(part, startup_writes(part, clock_hz), clock_hz),
        "caches off": configure(part, (), clock_hz),
    }[memory]
    whole = StreamPricer(core, system.fresh(), machine.known_blocks, machine.read)
    whole.feed(events)
    words = system.fresh()
    forgetful = StreamPricer(core, words, machine.known_blocks, machine.read)
    starts = [*np.flatnonzero(events >= BLOCK_BIT).tolist(), len(events)]
    for first, last in zip([0, *starts[1:-1]], starts[1:], strict=True):
        forgetful.feed(events[first:last])
        forgetful.change_memory(words)  # the same memory system: only what was remembered goes
    expected, got = forgetful.finish(), whole.finish()
    assert got.by_cause.sum() > 5 * BLOCKS / 2
    assert np.array_equal(got.by_cause, expected.by_cause)
    assert np.array_equal(got.by_block, expected.by_block)


def test_pieces_of_any_length_cost_the_same() -> None:
    machine, events = recorded("stm32l4r5zi")
    part = load_part("stm32l4r5zi")
    core = load_core(part.core).with_fpu(part.fpu)
    system = configure(part, startup_writes(part, part.default_clock_hz), part.default_clock_hz)
    totals = []
    for size in (len(events), 1000, 37):
        pricer = StreamPricer(core, system.fresh(), machine.known_blocks, machine.read)
        for at in range(0, len(events), size):
            pricer.feed(events[at : at + size])
        totals.append(pricer.finish().by_cause)
    assert all(np.array_equal(totals[0], other) for other in totals)
