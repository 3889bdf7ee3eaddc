"""Runs the paths of all keys through the dual-issue pipeline."""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

import numpy as np

from tinysim.isa import Branch, Trait
from tinysim.timing.columns import BRANCH, END, INSIDE, MISPREDICTION, N_CAUSES, TRAITS, UNKNOWN
from tinysim.timing.dual_issue import READY_SHAPE, STATE_SIZE, clock, mispredict, start, step
from tinysim.timing.native import native

__all__ = ["price_paths", "run_trace"]

B_DIRECT, T_DECIDES = int(Branch.DIRECT), int(Trait.DECIDES)


@native
def can_mispredict(row, table):
    """Whether the instruction is a branch whose direction or target has to be predicted."""
    branch = table[row, BRANCH]
    return branch > B_DIRECT or (branch == B_DIRECT and table[row, TRAITS] & T_DECIDES != 0)


@native
def _run_path(
    key, keys, own, table, first, last, block_address, missed, samples, addresses, classes, latencies, pairs, parameters, state,
    ready, lost, config, memory,
):  # fmt: skip
    """Runs one path; ``lost`` gets the cycles of its blocks from place ``own`` on, entered by a mispredicted branch when ``missed``.

    Returns whether the path's last branch can be mispredicted.
    """
    depth = keys.shape[1]
    begun = False
    possible = False
    for place in range(depth):
        block = keys[key, place]
        if block < 0:
            continue
        if not begun:
            start(state, ready, block_address[block], parameters)
            begun = True
        elif place == own:
            branch = last[keys[key, place - 1]] - 1
            possible = can_mispredict(branch, table)
        if place == own:
            lost[:] = 0
            if missed and possible:
                begin = clock(state)
                mispredict(last[keys[key, place - 1]] - 1, table, parameters, state, ready, block_address[block])
                lost[MISPREDICTION] = clock(state) - begin
        sample = samples[key, place]
        for row in range(first[block], last[block]):
            next_address = INSIDE
            if row == last[block] - 1:
                next_address = block_address[keys[key, place + 1]] if place < depth - 1 else END
            address = addresses[sample + row - first[block]] if sample >= 0 else UNKNOWN
            step(
                row, table, classes, latencies, pairs, parameters, state, ready, next_address, address, config, memory, lost
            )
    return possible


@native
def price_paths(
    table, first, last, block_address, keys, fractions, samples, addresses, classes, latencies, pairs, parameters,
    cycles, by_cause, mispredicted,
):  # fmt: skip
    """Fills ``cycles``, ``by_cause`` and ``mispredicted`` for each key. A skipped conditional instruction costs as much as an executed one."""
    state = np.zeros(STATE_SIZE, np.int64)
    ready = np.zeros(READY_SHAPE, np.int64)
    lost = np.zeros(N_CAUSES, np.int64)
    config = np.zeros(1, np.int64)
    memory = np.zeros(1, np.int64)
    for key in range(keys.shape[0]):
        possible = _run_path(
            key, keys, keys.shape[1] - 1, table, first, last, block_address, False, samples, addresses, classes, latencies, pairs, parameters,
            state, ready, lost, config, memory,
        )  # fmt: skip
        for cause in range(N_CAUSES):
            by_cause[key, cause] = lost[cause]
            cycles[key] += lost[cause]
        if possible:
            _run_path(
                key, keys, keys.shape[1] - 1, table, first, last, block_address, True, samples, addresses, classes, latencies, pairs, parameters,
                state, ready, lost, config, memory,
            )  # fmt: skip
            mispredicted[key] = lost.sum() - cycles[key]


@native
def run_trace(table, first, last, block_address, blocks, fractions, samples, addresses, classes, latencies, pairs, parameters):
    """Cycles by cause of one run through ``blocks``, shape (1, length), without cutting it into keys and without mispredictions."""
    state = np.zeros(STATE_SIZE, np.int64)
    ready = np.zeros(READY_SHAPE, np.int64)
    lost = np.zeros(N_CAUSES, np.int64)
    config = np.zeros(1, np.int64)
    memory = np.zeros(1, np.int64)
    _run_path(
        0, blocks, 0, table, first, last, block_address, False, samples, addresses, classes, latencies, pairs, parameters,
        state, ready, lost, config, memory,
    )  # fmt: skip
    return lost
