"""Runs every microbenchmark and prints the accuracy document.

``python -m tests.timing.accuracy > docs/accuracy.md``
"""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

from tests.timing.test_microbenchmarks import BENCHMARKS, cycles_of_body
from tinysim.core import load_core
from tinysim.timing.evidence import Evidence, render_accuracy

CORES = ("cortex-m4", "cortex-m7")


@cache
def effects() -> tuple[Evidence, ...]:
    """Each microbenchmark as evidence."""
    with tempfile.TemporaryDirectory() as folder:
        return tuple(
            Evidence(
                b["name"], b["core"], " ; ".join(b["body"].strip().split("\n")[:4]), float(b["cycles"]),
                cycles_of_body(b, Path(folder)), b["source"], b["confidence"], chosen=True,
            )
            for b in BENCHMARKS
        )  # fmt: skip


def document() -> str:
    return render_accuracy([load_core(name) for name in CORES], effects())


if __name__ == "__main__":
    print(document(), end="")
