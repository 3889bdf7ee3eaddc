"""Runs the paths of keys through the single-issue pipeline."""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

import numpy as np

from tinysim.timing.columns import END, INSIDE, N_CAUSES, UNKNOWN
from tinysim.timing.native import native
from tinysim.timing.single_issue import STATE_SIZE, start, step

__all__ = ["explain_paths", "price_paths", "run_trace"]

MOST_FRACTIONS = 64
"""Different fractions of conditions told apart on one path; further ones count as executed."""


@native
def _run_path(
    key, keys, own, table, first, last, block_address, fractions, threshold, samples, addresses, classes, parameters,
    state, lost, detail, config, memory,
):  # fmt: skip
    """Runs one path; ``lost`` gets the cycles of its blocks from place ``own`` on.

    A conditional instruction executes when its fraction is above ``threshold``. With rows, ``detail`` gets the cycles
    of the block at ``own`` by instruction instead.
    """
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
            booked = lost
            if place == own and detail.shape[0] > 0:
                booked = detail[row - first[block]]
            executed = fractions[row] > threshold
            step(row, table, classes, parameters, state, executed, next_address, address, config, memory, booked)


@native
def _thresholds(key, keys, first, last, fractions, steps):
    """Fills ``steps`` with 0, the fractions of the path's conditions that hold only sometimes, and 1, in order.

    Returns how many there are. Between two of them the same conditions hold: a path is run once for each interval, as
    if the likelier conditions held whenever the less likely did, and weighted with the interval's length.
    """
    used = 1
    steps[0] = 0.0
    for place in range(keys.shape[1]):
        block = keys[key, place]
        if block < 0:
            continue
        for row in range(first[block], last[block]):
            fraction = fractions[row]
            if 0.0 < fraction < 1.0 and used <= MOST_FRACTIONS:
                known = False
                for number in range(used):
                    known = known or steps[number] == fraction
                if not known:
                    steps[used] = fraction
                    used += 1
    steps[:used] = np.sort(steps[:used])
    steps[used] = 1.0
    return used + 1


@native
def price_paths(
    table, first, last, block_address, keys, fractions, samples, addresses, classes, parameters, cycles, by_cause
):  # fmt: skip
    """Fills ``cycles`` and ``by_cause`` for each key."""
    state = np.zeros(STATE_SIZE, np.int64)
    lost = np.zeros(N_CAUSES, np.int64)
    detail = np.zeros((0, N_CAUSES), np.int64)
    config = np.zeros(1, np.int64)
    memory = np.zeros(1, np.int64)
    steps = np.zeros(MOST_FRACTIONS + 2, np.float64)
    own = keys.shape[1] - 1
    for key in range(keys.shape[0]):
        used = _thresholds(key, keys, first, last, fractions, steps)
        for number in range(used - 1):
            weight = steps[number + 1] - steps[number]
            _run_path(
                key, keys, own, table, first, last, block_address, fractions, steps[number], samples, addresses,
                classes, parameters, state, lost, detail, config, memory,
            )  # fmt: skip
            for cause in range(N_CAUSES):
                by_cause[key, cause] += weight * lost[cause]
                cycles[key] += weight * lost[cause]


@native
def explain_paths(
    table, first, last, block_address, keys, fractions, samples, addresses, classes, parameters, executions, places,
    by_row,
):  # fmt: skip
    """Adds the cycles of each instruction of the keys' own blocks, times ``executions``, to ``by_row``.

    ``by_row``: shape (instructions of blocks, causes); the first instruction of block b is row ``places[b]``, blocks
    with
    -1 are left out.
    """
    state = np.zeros(STATE_SIZE, np.int64)
    lost = np.zeros(N_CAUSES, np.int64)
    config = np.zeros(1, np.int64)
    memory = np.zeros(1, np.int64)
    steps = np.zeros(MOST_FRACTIONS + 2, np.float64)
    own = keys.shape[1] - 1
    for key in range(keys.shape[0]):
        block = keys[key, own]
        if places[block] < 0 or executions[key] == 0:
            continue
        used = _thresholds(key, keys, first, last, fractions, steps)
        for number in range(used - 1):
            weight = (steps[number + 1] - steps[number]) * executions[key]
            detail = np.zeros((last[block] - first[block], N_CAUSES), np.int64)
            _run_path(
                key, keys, own, table, first, last, block_address, fractions, steps[number], samples, addresses,
                classes, parameters, state, lost, detail, config, memory,
            )  # fmt: skip
            for row in range(detail.shape[0]):
                for cause in range(N_CAUSES):
                    by_row[places[block] + row, cause] += weight * detail[row, cause]


@native
def run_trace(table, first, last, block_address, blocks, fractions, samples, addresses, classes, parameters):
    """Cycles by cause of one run through ``blocks``, shape (1, length), without cutting it into keys."""
    state = np.zeros(STATE_SIZE, np.int64)
    lost = np.zeros(N_CAUSES, np.int64)
    detail = np.zeros((0, N_CAUSES), np.int64)
    config = np.zeros(1, np.int64)
    memory = np.zeros(1, np.int64)
    _run_path(
        0, blocks, 0, table, first, last, block_address, fractions, 0.5, samples, addresses, classes, parameters, state,
        lost, detail, config, memory,
    )  # fmt: skip
    return lost
