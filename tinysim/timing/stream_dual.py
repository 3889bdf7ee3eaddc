"""Runs a recorded stream through the dual-issue pipeline."""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

import numpy as np

from tinysim.timing.columns import END, INSIDE, MEMORY, MISPREDICTION, N_CAUSES, UNKNOWN
from tinysim.timing.dual_issue import READY_SHAPE, clock, mispredict, settle, start, step
from tinysim.timing.dual_issue import STATE_SIZE as CLOCKS
from tinysim.timing.dual_paths import can_mispredict
from tinysim.timing.events import MISSED_BIT, NUMBER, block_end, match_accesses, next_block
from tinysim.timing.memo import (
    E_CYCLES,
    E_NEXT,
    add_edge,
    begin,
    book,
    follow,
    forget,
    has_room,
    mix,
    state_number,
    use,
)
from tinysim.timing.native import native
from tinysim.timing.port import ORIGIN

__all__ = ["MISSED", "MISSED_HISTORY", "MISS_CYCLES", "STATE_SIZE", "run_dual"]

STATE_SIZE = CLOCKS + READY_SHAPE[0] * READY_SHAPE[1]
REGISTERS = READY_SHAPE[0]
# the driver's own state, kept between pieces
PHASE, BEGUN, STATE, BEFORE = range(4)
# columns of the branches by phase
MISSED, MISSED_HISTORY, MISS_CYCLES = range(3)


@native
def run_dual(
    events, final, table, first, last, access_rows, access_first, block_address, classes, latencies, pairs,
    parameters, driver, config, memory, memo, by_cause, by_block, branches,
):  # fmt: skip
    """Runs events through the pipeline; as `tinysim.timing.stream_single.run_single`. ``branches``: shape (phases, 3).
    """
    words = np.zeros(STATE_SIZE, np.int64)
    state = words[:CLOCKS]
    ready = words[CLOCKS:].reshape((REGISTERS, (STATE_SIZE - CLOCKS) // REGISTERS))
    addresses = np.zeros(1024, np.int64)
    executed = np.zeros(1024, np.int64)
    made = np.zeros(1024, np.int64)
    lost = np.zeros(N_CAUSES, np.int64)
    edges, states = memo[3], memo[1]
    at = next_block(events, 0)
    for k in range(at):
        driver[PHASE] = np.int64(events[k] & NUMBER)
    while at < len(events):
        end = block_end(events, at)
        following = next_block(events, end)
        if following == len(events) and not final:
            break
        block = np.int64(events[at] & NUMBER)
        after = np.int64(END)
        if following < len(events):
            after = block_address[np.int64(events[following] & NUMBER)]
        missed = np.int64(0)
        if not driver[BEGUN]:
            start(state, ready, block_address[block], parameters)
            config[ORIGIN] += settle(state, ready)
            driver[STATE] = state_number(memo, words)
            driver[BEGUN] = 1
        elif can_mispredict(driver[BEFORE], table):
            missed = np.int64((events[at] >> MISSED_BIT) & np.uint64(1))
            branches[driver[PHASE], MISSED] += missed
            branches[driver[PHASE], MISSED_HISTORY] += np.int64(
                (events[at] >> (MISSED_BIT + np.uint64(1))) & np.uint64(1)
            )
        rows = access_rows[access_first[block] :]
        count = access_first[block + 1] - access_first[block]
        shape = match_accesses(rows, count, table, events, at + 1, end, addresses, executed, made, config, memory)
        key = mix(mix(mix(mix(shape, driver[STATE]), block), after), missed) | 1
        edge, key = follow(memo, key, made, config, memory)
        if edge >= 0:
            use(memo, edge)
            config[ORIGIN] += edges[edge, E_CYCLES]
            driver[STATE] = edges[edge, E_NEXT]
        else:
            words[:] = states[driver[STATE]]
            lost[:] = 0
            begin(config)
            if missed:
                before = clock(state)
                mispredict(driver[BEFORE], table, parameters, state, ready, block_address[block])
                lost[MISPREDICTION] += clock(state) - before
            access = 0
            for row in range(first[block], last[block]):
                address = np.int64(UNKNOWN)
                if table[row, MEMORY] != 0:
                    address = addresses[access]
                    access += 1
                step(
                    row,
                    table,
                    classes,
                    latencies,
                    pairs,
                    parameters,
                    state,
                    ready,
                    after if row == last[block] - 1 else np.int64(INSIDE),
                    address,
                    config,
                    memory,
                    lost,
                )
            went = settle(state, ready)
            config[ORIGIN] += went
            by_block[driver[PHASE], block] += lost.sum()
            for cause in range(N_CAUSES):
                by_cause[driver[PHASE], cause] += lost[cause]
            if not has_room(memo):
                book(memo, by_cause[driver[PHASE]], by_block[driver[PHASE]])
                forget(memo)
                edge = np.int64(0)  # its state is gone: nothing to remember this block by
            driver[STATE] = state_number(memo, words)
            if edge < 0:
                add_edge(memo, key, driver[STATE], went, block, lost, config)
        driver[BEFORE] = last[block] - 1
        for k in range(end, following):
            phase = np.int64(events[k] & NUMBER)
            if phase != driver[PHASE]:
                book(memo, by_cause[driver[PHASE]], by_block[driver[PHASE]])
                driver[PHASE] = phase
        at = following
    book(memo, by_cause[driver[PHASE]], by_block[driver[PHASE]])
    return at
