"""How much counting and pricing cost, as ratios within one run. Usage: python benchmarks/speed.py [MODEL.tflite]
[--part PART]

Every figure is a median of several runs; the runs that are compared alternate, so that a busy computer slows both.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

from tinysim.core import Pipeline, load_core
from tinysim.engine.run import MeasuredRegion
from tinysim.engine.unicorn_machine import Machine
from tinysim.estimate import Estimate
from tinysim.firmware import Kernels
from tinysim.image import Image, load_image
from tinysim.layers import interpreter_loop
from tinysim.model import load_model
from tinysim.part import load_part
from tinysim.sizing import BuildOptions, build_fitting, set_up

ROUNDS = 5


def median_seconds(*jobs: Callable[[], float]) -> list[float]:
    """Median seconds of each job, the jobs taken in turn."""
    rounds = [[job() for job in jobs] for _ in range(ROUNDS + 1)][1:]
    return [statistics.median(column) for column in zip(*rounds, strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    models = Path(__file__).parent.parent / "examples" / "models"
    parser.add_argument("model", nargs="?", type=Path, default=models / "image_classification_int8.tflite")
    parser.add_argument("--part", default="stm32l4r5zi")
    parser.add_argument("--kernels", default="cmsis-nn")
    arguments = parser.parse_args()
    part = load_part(arguments.part)
    core = load_core(part.core).with_fpu(part.fpu)
    model = load_model(arguments.model)
    image = load_image(build_fitting(model, part, BuildOptions(Kernels(arguments.kernels))).path)
    done = image.symbol("tinysim_done").address

    def machine(image: Image, *, count: bool, predict: bool = False) -> Machine:
        loop = interpreter_loop(image)
        result = Machine(
            image,
            part,
            depth=core.context_blocks,
            predict=predict,
            count=count,
            regions=[MeasuredRegion("invoke", image.symbol("tinysim_invoke").address)],
            layers_in=loop.entry,
            layer_sites=loop.sites,
            layer_count=len(model.operators),
        )
        set_up(result, model)
        result.skip_call()
        if count:
            result.forget()
        return result

    def timed(**how: bool) -> Callable[[], float]:
        def job() -> float:
            ready = machine(image, **how)
            start = time.perf_counter()
            ready.run_to(done)
            return time.perf_counter() - start

        return job

    counted = machine(image, count=True, predict=core.pipeline is Pipeline.DUAL_ISSUE)
    counted.run_to(done)
    run = counted.take()

    def priced() -> float:
        start = time.perf_counter()
        Estimate.of(run, image, core)
        return time.perf_counter() - start

    bare, counting, predicting, pricing = median_seconds(
        timed(count=False), timed(count=True), timed(count=True, predict=True), priced
    )
    instructions = Estimate.of(run, image, core).region(0, part.default_clock_hz).instructions
    print(f"{model.name} on {part.title}, {arguments.kernels}: {instructions:,} instructions, {len(run.keys):,} keys")
    print(f"counting / bare emulation              {counting / bare:.2f}")
    print(f"counting and predicting / bare         {predicting / bare:.2f}")
    print(f"pricing / counted run                  {pricing / counting:.3f}")


if __name__ == "__main__":
    main()
