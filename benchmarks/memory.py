"""How fast streams are priced on a part's memory system, as a ratio to running the program with its accesses recorded.

    python benchmarks/memory.py [MODEL.tflite] [--part PART]

Records the stream of one inference, then prices it several times. The first piece is priced before the clock starts, so
that compiling does not count.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import numpy as np
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

ROUNDS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    models = Path(__file__).parent.parent / "examples" / "models"
    parser.add_argument("model", nargs="?", type=Path, default=models / "image_classification_int8.tflite")
    parser.add_argument("--part", default="stm32l4r5zi")
    arguments = parser.parse_args()
    part = load_part(arguments.part)
    core = load_core(part.core).with_fpu(part.fpu)
    model = load_model(arguments.model)
    image = load_image(build_fitting(model, part, BuildOptions()).path)
    pieces: list[NDArray[np.uint64]] = []

    def recorded() -> tuple[Machine, float]:
        pieces.clear()
        machine = Machine(
            image, part, depth=core.context_blocks, predict=True, record=lambda events: pieces.append(events.copy())
        )
        set_up(machine, model)
        machine.skip_call()
        machine.forget()
        pieces.clear()
        start = time.perf_counter()
        machine.run_to(image.symbol("tinysim_done").address)
        return machine, time.perf_counter() - start

    recording = statistics.median(recorded()[1] for _ in range(ROUNDS))
    machine, _ = recorded()
    events = np.concatenate(pieces)
    clock_hz = part.default_clock_hz
    systems = {
        "ideal memory": ideal(part, clock_hz),
        "the part's memory": configure(part, startup_writes(part, clock_hz), clock_hz),
    }
    print(f"{model.name} on {part.title}: {len(events):,} events")
    for name, system in systems.items():
        times = []
        for _ in range(ROUNDS):
            pricer = StreamPricer(core, system.fresh(), machine.known_blocks, machine.read)
            pricer.feed(events[:1000])
            start = time.perf_counter()
            pricer.feed(events[1000:])
            times.append(time.perf_counter() - start)
        costs = pricer.finish()
        blocks = (events[events >= np.uint64(1 << 63)] & np.uint64(0xFFFFFFFF)).astype(np.int64)
        instructions = int(costs.block_instructions[blocks].sum())
        took = statistics.median(times)
        rate = instructions / took / 1e6
        print(f"{name:<18} pricing / recording {took / recording:.2f}, {rate:.0f} million instructions a second here")


if __name__ == "__main__":
    main()
