"""Runs the paths of all keys through the single-issue pipeline."""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

import numpy as np

from tinysim.timing.columns import END, INSIDE, N_CAUSES, UNKNOWN
from tinysim.timing.native import native
from tinysim.timing.single_issue import STATE_SIZE, start, step

__all__ = ["price_paths", "run_trace"]


@native
def _run_path(
    key, keys, own, table, first, last, block_address, fractions, threshold, samples, addresses, classes, parameters, state, lost,
    config, memory,
):  # fmt: skip
    """Runs one path; ``lost`` gets the cycles of its blocks from place ``own`` on. An instruction executes when its fraction is above ``threshold``."""
    depth = keys.shape[1]
    begun = False
    for place in range(depth):
        block = keys[key, place]
        if block < 0:
            continue
        if not begun:
            start(state, block_address[block])
            begun = True
        if place == own:
            lost[:] = 0
        sample = samples[key, place]
        for row in range(first[block], last[block]):
            next_address = INSIDE
            if row == last[block] - 1:
                next_address = block_address[keys[key, place + 1]] if place < depth - 1 else END
            address = addresses[sample + row - first[block]] if sample >= 0 else UNKNOWN
            step(
                row, table, classes, parameters, state, fractions[row] > threshold, next_address, address, config, memory, lost
            )


@native
def price_paths(
    table, first, last, block_address, keys, fractions, samples, addresses, classes, parameters, cycles, by_cause
):  # fmt: skip
    """Fills ``cycles`` and ``by_cause`` for each key.

    Where conditions hold only sometimes, the path is run once for each subset of conditions as if the likelier ones held
    whenever the less likely did, and weighted.
    """
    state = np.zeros(STATE_SIZE, np.int64)
    lost = np.zeros(N_CAUSES, np.int64)
    config = np.zeros(1, np.int64)
    memory = np.zeros(1, np.int64)
    steps = np.zeros(66, np.float64)
    for key in range(keys.shape[0]):
        used = 1                                     # steps[0] = 0: from the least likely condition on
        for place in range(keys.shape[1]):
            block = keys[key, place]
            if block < 0:
                continue
            for row in range(first[block], last[block]):
                fraction = fractions[row]
                if fraction < 1.0 and used < 65:
                    known = False
                    for number in range(used):
                        known = known or steps[number] == fraction
                    if not known:
                        steps[used] = fraction
                        used += 1
        ordered = np.sort(steps[:used])
        for number in range(used):
            above = ordered[number + 1] if number + 1 < used else 1.0
            weight = above - ordered[number]
            if weight <= 0.0:
                continue
            _run_path(
                key, keys, keys.shape[1] - 1, table, first, last, block_address, fractions, ordered[number], samples, addresses, classes,
                parameters, state, lost, config, memory,
            )  # fmt: skip
            for cause in range(N_CAUSES):
                by_cause[key, cause] += weight * lost[cause]
                cycles[key] += weight * lost[cause]


@native
def run_trace(table, first, last, block_address, blocks, fractions, samples, addresses, classes, parameters):
    """Cycles by cause of one run through ``blocks``, shape (1, length), without cutting it into keys."""
    state = np.zeros(STATE_SIZE, np.int64)
    lost = np.zeros(N_CAUSES, np.int64)
    config = np.zeros(1, np.int64)
    memory = np.zeros(1, np.int64)
    _run_path(
        0, blocks, 0, table, first, last, block_address, fractions, 0.5, samples, addresses, classes, parameters, state, lost,
        config, memory,
    )  # fmt: skip
    return lost
