"""Every microbenchmark as evidence, as `tinysim accuracy` measures it."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from tinysim.timing.evidence import Evidence
from tinysim.timing.microbenchmarks import load_microbenchmarks, measure_effects

CORES = ("cortex-m4", "cortex-m7")


@cache
def effects() -> tuple[Evidence, ...]:
    """Each microbenchmark beside what its source states."""
    return measure_effects(load_microbenchmarks(Path(__file__).with_name("microbenchmarks.toml")))
