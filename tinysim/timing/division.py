"""Division by operands: what SDIV and UDIV take longer or shorter than the core's flat value."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tinysim.core import Core
from tinysim.counts import Counts
from tinysim.isa import Program
from tinysim.timing.causes import Cause, cause_number
from tinysim.timing.columns import ADDRESS, CLASS

__all__ = ["correct", "cycles_by_quotient_bits"]

BUCKETS = 34
"""Length of a histogram of Counts.divisions."""


def cycles_by_quotient_bits(core: Core) -> NDArray[np.float64]:
    """Cycles of one division, shape (34,): by quotient bits, 0 for |n| < |d|, last for a zero divisor."""
    bits = np.arange(BUCKETS, dtype=np.float64)
    cycles = core.value("division_base") + np.ceil(bits / core.value("division_bits_per_cycle"))
    cycles[[0, BUCKETS - 1]] = core.value("division_smaller")
    return cycles


def correct(
    counts: Counts, program: Program, core: Core, cycles: NDArray[np.float64], by_cause: NDArray[np.float64]
) -> None:
    """Replaces the flat division by the mean over the operands seen, in ``cycles`` and ``by_cause`` of each key's own block."""
    if not counts.divisions:
        return
    divides = core.isa.classes.index("divide")
    flat = float(core.value("division"))
    by_bits = cycles_by_quotient_bits(core)
    change = np.zeros(len(program.table) + 1, np.float64)
    for row in np.flatnonzero(program.table[:, CLASS] == divides).tolist():
        histogram = counts.divisions.get(int(program.table[row, ADDRESS]))
        if histogram is not None and histogram.sum():
            change[row + 1] = float(histogram @ by_bits) / float(histogram.sum()) - flat
    summed = np.cumsum(change)
    own = counts.keys[:, -1]
    of_key = (summed[program.last] - summed[program.first])[own]
    cycles += of_key
    by_cause[:, cause_number(Cause.DIVISION)] += of_key
