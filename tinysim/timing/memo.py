"""Remembers what a block did to the pipeline, so that doing it again costs a look-up.

The pipeline between two blocks is one of a few hundred *states* (:func:`settle` of each pipeline makes equal situations
equal). An *edge* leads from a state by a block, with what its data accesses look like to the core and where it goes, to
the next state: so many cycles, by cause, and these accesses to memory at these times. As long as no access stalls, the
edge says all. When one does, the block is run by the pipeline from its state, and the accesses made so far answer as
they did.
"""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tinysim.memory import access
from tinysim.memory.layout import H_CAUSE, H_FETCHES, H_READS, H_WRITES
from tinysim.timing.columns import N_CAUSES
from tinysim.timing.native import native
from tinysim.timing.port import (
    CURSOR,
    DATA,
    ENTRIES,
    ENTRY_WORDS,
    IDEAL,
    KIND,
    LOG,
    LOG_ROOM,
    MADE,
    ORIGIN,
    ROW_BASE,
    ROW_END,
    SKIPPED_FETCHES,
    SKIPPED_READS,
    SKIPPED_WRITES,
    STALL_LIST,
    STALL_WORDS,
    STALLS,
    TOO_LONG,
)

__all__ = ["EDGES", "MEMO_WORDS", "Memo", "new_memo"]

STATES, EDGES, OPERATIONS = 1 << 13, 1 << 16, 1 << 20
# header: how many states, edges, operations and used edges there are
N_STATES, N_EDGES, N_OPERATIONS, N_USED = range(4)
MEMO_WORDS = 4
# an edge: next state, cycles, first operation, how many, block, accesses that cannot stall: fetches, reads, writes
E_NEXT, E_CYCLES, E_FIRST, E_COUNT, E_BLOCK, E_FETCHES, E_READS, E_WRITES = range(8)
EDGE_WORDS = 8

Memo = tuple[
    NDArray[np.int64],
    NDArray[np.int64],
    NDArray[np.int64],
    NDArray[np.int64],
    NDArray[np.int64],
    NDArray[np.int64],
    NDArray[np.int64],
    NDArray[np.int64],
    NDArray[np.int64],
]
"""header, states, their hash table, edges, their hash table, cycles by cause of each edge, operations, executions of
each edge since they were last booked, and the edges executed since."""


def new_memo(state_words: int) -> Memo:
    """Empty tables for a pipeline whose state has so many words."""
    return (
        np.zeros(MEMO_WORDS, np.int64),
        np.zeros((STATES, state_words), np.int64),
        np.zeros((2 * STATES, 2), np.int64),
        np.zeros((EDGES, EDGE_WORDS), np.int64),
        np.zeros((2 * EDGES, 2), np.int64),
        np.zeros((EDGES, N_CAUSES), np.int64),
        np.zeros((OPERATIONS, ENTRY_WORDS), np.int64),
        np.zeros(EDGES, np.int64),
        np.zeros(EDGES, np.int64),
    )


@native
def mix(hashed, value):
    """One more value in a 63-bit hash."""
    product = (np.uint64(hashed) ^ np.uint64(value)) * np.uint64(0x9E3779B97F4A7C15)
    return np.int64((product ^ (product >> np.uint64(29))) & np.uint64(0x7FFFFFFFFFFFFFFF))


@native
def forget(memo):
    """Empties the tables. Executions must have been booked."""
    header, _, state_hash, _, edge_hash, _, _, _, _ = memo
    header[:] = 0
    state_hash[:, :] = 0
    edge_hash[:, :] = 0


@native
def has_room(memo):
    """Whether one more state and one more edge fit."""
    header = memo[0]
    return (
        header[N_STATES] < STATES - 1 and header[N_EDGES] < EDGES - 1 and header[N_OPERATIONS] < OPERATIONS - LOG_ROOM
    )


@native
def state_number(memo, words):
    """The number of a state, known or new."""
    header, states, state_hash, _, _, _, _, _, _ = memo
    hashed = np.int64(1)
    for word in words:
        hashed = mix(hashed, word)
    place = hashed & (2 * STATES - 1)
    while state_hash[place, 0]:
        number = state_hash[place, 1]
        if state_hash[place, 0] == hashed:
            same = True
            for k in range(len(words)):
                if states[number, k] != words[k]:
                    same = False
                    break
            if same:
                return number
        place = (place + 1) & (2 * STATES - 1)
    number = header[N_STATES]
    header[N_STATES] = number + 1
    state_hash[place, 0] = hashed
    state_hash[place, 1] = number
    states[number, :] = words
    return number


@native
def find_edge(memo, key):
    """The number of the edge of a key, or -1."""
    edge_hash = memo[4]
    place = key & (2 * EDGES - 1)
    while edge_hash[place, 0]:
        if edge_hash[place, 0] == key:
            return edge_hash[place, 1]
        place = (place + 1) & (2 * EDGES - 1)
    return np.int64(-1)


@native
def add_edge(memo, key, after, cycles, block, lost, config):
    """Remembers an edge with the operations logged in ``config``; none if there were too many to log."""
    header, _, _, edges, edge_hash, edge_lost, operations, _, _ = memo
    if config[TOO_LONG]:
        return
    count = config[ENTRIES]
    number = header[N_EDGES]
    header[N_EDGES] = number + 1
    place = key & (2 * EDGES - 1)
    while edge_hash[place, 0]:
        place = (place + 1) & (2 * EDGES - 1)
    edge_hash[place, 0] = key
    edge_hash[place, 1] = number
    first = header[N_OPERATIONS]
    header[N_OPERATIONS] = first + count
    edges[number, E_NEXT] = after
    edges[number, E_CYCLES] = cycles
    edges[number, E_FIRST] = first
    edges[number, E_COUNT] = count
    edges[number, E_BLOCK] = block
    edges[number, E_FETCHES] = config[SKIPPED_FETCHES]
    edges[number, E_READS] = config[SKIPPED_READS]
    edges[number, E_WRITES] = config[SKIPPED_WRITES]
    edge_lost[number, :] = lost
    for k in range(count):
        for word in range(ENTRY_WORDS):
            operations[first + k, word] = config[LOG + ENTRY_WORDS * k + word]


@native
def follow(memo, key, accesses, config, memory):
    """Follows the edge of a key: makes its accesses to memory, each of which has to stall as long as it did.

    Where one does not, the way goes on with the edge of the key that this stall leads to, if it is known. Returns the
    edge that came true, or -1, and its key; ``config`` then knows the accesses made so far, for the pipeline to go on
    from there.
    """
    edges, operations = memo[3], memo[6]
    config[MADE] = 0
    config[STALLS] = 0
    edge = find_edge(memo, key)
    if edge < 0 or config[KIND] == IDEAL:
        return edge, key
    origin = config[ORIGIN]
    made = np.int64(0)
    while edge >= 0:
        first = edges[edge, E_FIRST]
        last = first + edges[edge, E_COUNT]
        as_known = True
        for k in range(first, last):
            if operations[k, 3] < made:
                continue
            shape = operations[k, 2]
            if shape == 0:
                stall = np.int64(access.fetch(memory, operations[k, 0], operations[k, 1] + origin))
            else:
                stall = np.int64(
                    access.transfer(
                        memory,
                        accesses[operations[k, 0]],
                        shape >> 8,
                        shape >> 1 & 127,
                        shape & 1 != 0,
                        operations[k, 1] + origin,
                    )
                )
            made = operations[k, 3] + 1
            if stall:
                entry = STALL_LIST + STALL_WORDS * config[STALLS]
                config[STALLS] += 1
                config[entry] = made - 1
                config[entry + 1] = stall
                config[entry + 2] = memory[H_CAUSE]
            if stall != operations[k, 4]:
                key = mix(mix(key, made), stall) | 1
                edge = find_edge(memo, key)
                as_known = False
                break
        if as_known:
            memory[H_FETCHES] += edges[edge, E_FETCHES]
            memory[H_READS] += edges[edge, E_READS]
            memory[H_WRITES] += edges[edge, E_WRITES]
            return edge, key
    config[MADE] = made
    return edge, key


@native
def begin(config):
    """Starts a log."""
    for word in (CURSOR, ENTRIES, ROW_BASE, ROW_END, SKIPPED_FETCHES, SKIPPED_READS, SKIPPED_WRITES, TOO_LONG, DATA):
        config[word] = 0


@native
def use(memo, edge):
    """Counts one execution of an edge."""
    header, used, executions = memo[0], memo[8], memo[7]
    if executions[edge] == 0:
        used[header[N_USED]] = edge
        header[N_USED] += 1
    executions[edge] += 1


@native
def book(memo, by_cause, by_block):
    """Books the executions since the last time: ``by_cause``, ``by_block``: rows of the current phase."""
    header, _, _, edges, _, edge_lost, _, executions, used = memo
    for k in range(header[N_USED]):
        edge = used[k]
        times = executions[edge]
        executions[edge] = 0
        by_block[edges[edge, E_BLOCK]] += times * edges[edge, E_CYCLES]
        for cause in range(N_CAUSES):
            by_cause[cause] += times * edge_lost[edge, cause]
    header[N_USED] = 0
