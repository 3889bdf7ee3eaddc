"""Division by operands: what SDIV and UDIV take longer or shorter than the core's flat value."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tinysim.core import Core
from tinysim.counts import Counts
from tinysim.isa import Program
from tinysim.timing.causes import Cause, cause_number
from tinysim.timing.columns import ADDRESS, CLASS

__all__ = ["change_by_row", "correct", "cycles_by_quotient_bits"]

BUCKETS = 34
"""Length of a histogram of Counts.divisions."""


def cycles_by_quotient_bits(core: Core) -> NDArray[np.float64]:
    """Cycles of one division, shape (34,): by quotient bits, 0 for |n| < |d|, last for a zero divisor."""
    bits = np.arange(BUCKETS, dtype=np.float64)
    cycles = core.value("division_base") + np.ceil(bits / core.value("division_bits_per_cycle"))
    cycles[[0, BUCKETS - 1]] = core.value("division_smaller")
    return cycles


def change_by_row(counts: Counts, program: Program, core: Core) -> NDArray[np.float64]:
    """By how much the mean division of each row differs from the flat value, shape (rows,); 0 without operands seen."""
    change = np.zeros(len(program.table), np.float64)
    if not counts.divisions:
        return change
    flat = float(core.value("division"))
    by_bits = cycles_by_quotient_bits(core)
    for row in np.flatnonzero(program.table[:, CLASS] == core.isa.classes.index("divide")).tolist():
        histogram = counts.divisions.get(int(program.table[row, ADDRESS]))
        if histogram is not None and histogram.sum():
            change[row] = float(histogram @ by_bits) / float(histogram.sum()) - flat
    return change


def correct(
    counts: Counts, program: Program, core: Core, cycles: NDArray[np.float64], by_cause: NDArray[np.float64]
) -> None:
    """Replaces the flat division by the mean over the operands seen, in the prices of each key's own block."""
    if not counts.divisions:
        return
    summed = np.concatenate([[0.0], np.cumsum(change_by_row(counts, program, core))])
    of_key = (summed[program.last] - summed[program.first])[counts.keys[:, -1]]
    cycles += of_key
    by_cause[:, cause_number(Cause.DIVISION)] += of_key
