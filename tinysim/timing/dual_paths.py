"""Runs the paths of keys through the dual-issue pipeline.

A conditional instruction that is skipped costs as much as one that is executed, so conditions do not matter here.
"""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

import numpy as np

from tinysim.isa import Branch, Trait
from tinysim.timing.columns import BRANCH, END, INSIDE, MISPREDICTION, N_CAUSES, TRAITS, UNKNOWN
from tinysim.timing.dual_issue import NOTE_ROW, NOTE_RULE, READY_SHAPE, STATE_SIZE, clock, mispredict, start, step
from tinysim.timing.native import native

__all__ = ["can_mispredict", "explain_paths", "price_paths", "run_trace"]

B_DIRECT, T_DECIDES = int(Branch.DIRECT), int(Trait.DECIDES)


@native
def can_mispredict(row, table):
    """Whether the instruction is a branch whose direction or target has to be predicted."""
    branch = table[row, BRANCH]
    return branch > B_DIRECT or (branch == B_DIRECT and table[row, TRAITS] & T_DECIDES != 0)


@native
def _run_path(
    key, keys, own, table, first, last, block_address, missed, samples, addresses, classes, latencies, pairs,
    parameters, state, ready, lost, detail, notes, config, memory,
):  # fmt: skip
    """Runs one path; ``lost`` gets the cycles of its blocks from place ``own`` on.

    ``missed``: the block at ``own`` is entered by a mispredicted branch. With rows, ``detail`` gets the cycles of that
    block by instruction instead, and ``notes`` for each the rule that kept it from pairing and the row it waited for.
    Returns whether the branch into that block can be mispredicted.
    """
    depth = keys.shape[1]
    begun = False
    possible = False
    for place in range(depth):
        block = keys[key, place]
        if block < 0:
            continue
        explained = place == own and detail.shape[0] > 0
        if place == own:
            lost[:] = 0
            branch = last[keys[key, place - 1]] - 1 if begun else -1
            possible = begun and can_mispredict(branch, table)
            if missed and possible:
                begin = clock(state)
                mispredict(branch, table, parameters, state, ready, block_address[block])
                lost[MISPREDICTION] = clock(state) - begin
        if not begun:
            start(state, ready, block_address[block], parameters)
            begun = True
        sample = samples[key, place]
        for row in range(first[block], last[block]):
            next_address = INSIDE
            if row == last[block] - 1:
                next_address = block_address[keys[key, place + 1]] if place < depth - 1 else END
            address = addresses[sample + row - first[block]] if sample >= 0 else UNKNOWN
            booked = lost
            if explained:
                booked = detail[row - first[block]]
            step(
                row, table, classes, latencies, pairs, parameters, state, ready, next_address, address, config, memory,
                booked,
            )  # fmt: skip
            if explained:
                if state[NOTE_RULE] >= 0:
                    notes[row - first[block], 0] = state[NOTE_RULE]
                if state[NOTE_ROW] >= 0:
                    notes[row - first[block], 1] = state[NOTE_ROW]
    return possible


@native
def price_paths(
    table, first, last, block_address, keys, samples, addresses, classes, latencies, pairs, parameters, cycles,
    by_cause, mispredicted,
):  # fmt: skip
    """Fills ``cycles``, ``by_cause`` and ``mispredicted`` for each key."""
    state = np.zeros(STATE_SIZE, np.int64)
    ready = np.zeros(READY_SHAPE, np.int64)
    lost = np.zeros(N_CAUSES, np.int64)
    detail = np.zeros((0, N_CAUSES), np.int64)
    notes = np.zeros((0, 2), np.int64)
    config = np.zeros(1, np.int64)
    memory = np.zeros(1, np.int64)
    own = keys.shape[1] - 1
    for key in range(keys.shape[0]):
        possible = _run_path(
            key, keys, own, table, first, last, block_address, False, samples, addresses, classes, latencies, pairs,
            parameters, state, ready, lost, detail, notes, config, memory,
        )  # fmt: skip
        for cause in range(N_CAUSES):
            by_cause[key, cause] = lost[cause]
            cycles[key] += lost[cause]
        if possible:
            _run_path(
                key, keys, own, table, first, last, block_address, True, samples, addresses, classes, latencies, pairs,
                parameters, state, ready, lost, detail, notes, config, memory,
            )  # fmt: skip
            mispredicted[key] = lost.sum() - cycles[key]


@native
def explain_paths(
    table, first, last, block_address, keys, samples, addresses, classes, latencies, pairs, parameters, executions,
    places, by_row, notes_of_row,
):  # fmt: skip
    """Adds the cycles of each instruction of the keys' own blocks, times ``executions``, to ``by_row``.

    ``by_row``: shape (instructions of blocks, causes); the first instruction of block b is row ``places[b]``, blocks
    with
    -1 are left out. ``notes_of_row``: shape (the same, 2), as of the last key that had something to note.
    """
    state = np.zeros(STATE_SIZE, np.int64)
    ready = np.zeros(READY_SHAPE, np.int64)
    lost = np.zeros(N_CAUSES, np.int64)
    config = np.zeros(1, np.int64)
    memory = np.zeros(1, np.int64)
    own = keys.shape[1] - 1
    for key in range(keys.shape[0]):
        block = keys[key, own]
        if places[block] < 0 or executions[key] == 0:
            continue
        count = last[block] - first[block]
        detail = np.zeros((count, N_CAUSES), np.int64)
        notes = notes_of_row[places[block] : places[block] + count]
        _run_path(
            key, keys, own, table, first, last, block_address, False, samples, addresses, classes, latencies, pairs,
            parameters, state, ready, lost, detail, notes, config, memory,
        )  # fmt: skip
        for row in range(count):
            for cause in range(N_CAUSES):
                by_row[places[block] + row, cause] += executions[key] * detail[row, cause]


@native
def run_trace(table, first, last, block_address, blocks, samples, addresses, classes, latencies, pairs, parameters):
    """Cycles by cause of one run through ``blocks``, shape (1, length), not cut into keys and without mispredictions.
    """
    state = np.zeros(STATE_SIZE, np.int64)
    ready = np.zeros(READY_SHAPE, np.int64)
    lost = np.zeros(N_CAUSES, np.int64)
    detail = np.zeros((0, N_CAUSES), np.int64)
    notes = np.zeros((0, 2), np.int64)
    config = np.zeros(1, np.int64)
    memory = np.zeros(1, np.int64)
    _run_path(
        0, blocks, 0, table, first, last, block_address, False, samples, addresses, classes, latencies, pairs,
        parameters, state, ready, lost, detail, notes, config, memory,
    )  # fmt: skip
    return lost
