"""Runs a recorded stream through the single-issue pipeline."""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

import numpy as np

from tinysim.timing.columns import END, INSIDE, MEMORY, N_CAUSES, UNKNOWN
from tinysim.timing.events import NUMBER, block_end, match_accesses, next_block
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
from tinysim.timing.single_issue import STATE_SIZE, settle, start, step

__all__ = ["BEGUN", "PHASE", "STATE", "STATE_SIZE", "run_single"]

# the driver's own state, kept between pieces
PHASE, BEGUN, STATE = range(3)


@native
def run_single(
    events, final, table, first, last, access_rows, access_first, block_address, classes, parameters, driver, config,
    memory, memo, by_cause, by_block,
):  # fmt: skip
    """Runs events through the pipeline. Returns how many were used: the last block waits for what comes after it.

    ``access_rows``, ``access_first``: the rows of each block that access memory. ``by_cause``: shape (phases, causes);
    ``by_block``: shape (phases, blocks); cycles are added to both.
    """
    state = np.zeros(STATE_SIZE, np.int64)
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
        if not driver[BEGUN]:
            start(state, block_address[block])
            config[ORIGIN] += settle(state)
            driver[STATE] = state_number(memo, state)
            driver[BEGUN] = 1
        rows = access_rows[access_first[block] :]
        count = access_first[block + 1] - access_first[block]
        shape = match_accesses(rows, count, table, events, at + 1, end, addresses, executed, made, config, memory)
        key = mix(mix(mix(shape, driver[STATE]), block), after) | 1
        edge, key = follow(memo, key, made, config, memory)
        if edge >= 0:
            use(memo, edge)
            config[ORIGIN] += edges[edge, E_CYCLES]
            driver[STATE] = edges[edge, E_NEXT]
        else:
            state[:] = states[driver[STATE]]
            lost[:] = 0
            begin(config)
            access = 0
            for row in range(first[block], last[block]):
                address = np.int64(UNKNOWN)
                carried_out = True
                if table[row, MEMORY] != 0:
                    address = addresses[access]
                    carried_out = executed[access] != 0
                    access += 1
                step(
                    row,
                    table,
                    classes,
                    parameters,
                    state,
                    carried_out,
                    after if row == last[block] - 1 else np.int64(INSIDE),
                    address,
                    config,
                    memory,
                    lost,
                )
            went = settle(state)
            config[ORIGIN] += went
            by_block[driver[PHASE], block] += went
            for cause in range(N_CAUSES):
                by_cause[driver[PHASE], cause] += lost[cause]
            if not has_room(memo):
                book(memo, by_cause[driver[PHASE]], by_block[driver[PHASE]])
                forget(memo)
                edge = np.int64(0)  # its state is gone: nothing to remember this block by
            driver[STATE] = state_number(memo, state)
            if edge < 0:
                add_edge(memo, key, driver[STATE], went, block, lost, config)
        for k in range(end, following):
            phase = np.int64(events[k] & NUMBER)
            if phase != driver[PHASE]:
                book(memo, by_cause[driver[PHASE]], by_block[driver[PHASE]])
                driver[PHASE] = phase
        at = following
    book(memo, by_cause[driver[PHASE]], by_block[driver[PHASE]])
    return at
