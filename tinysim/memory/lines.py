"""Flash read in rows, with a few lines kept in front of it: the accelerators of Cortex-M4 parts, natively simulated.

One *block* is one set of lines (instruction, data, or both). Blocks in front of one flash share its port: a read waits
for the one that is running, background rows included. The row that was read last stays at the output, so accesses
inside it are free of any lookup. With the lines switched off only that row remains. The structure, and what its
alternatives cost against silicon, is that of STMicroelectronics' ART as published network latencies show it
(docs/accuracy.md).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinysim.memory.layout import (
    FILL_BLOCKING,
    FILL_FROM_START,
    FILL_ROW,
    FILL_TO_END,
    HINT_WORDS,
    LRU,
    NEVER,
    RANDOM,
    ROUND_ROBIN,
    S_ACCESSES,
    S_CLOCK,
    S_ENABLED,
    S_FILL,
    S_HINTS,
    S_LAST,
    S_LINE_MISSES,
    S_MISSES,
    S_NEXT_READY,
    S_NEXT_ROW,
    S_PORT,
    S_PORT_WAIT,
    S_PREFETCH,
    S_PREFETCH_HITS,
    S_PRESENT,
    S_RANDOM,
    S_READY,
    S_REPLACEMENT,
    S_ROW_CYCLES,
    S_ROW_SHIFT,
    S_ROWS,
    S_ROWS_READY,
    S_ROWS_SHIFT,
    S_SETS,
    S_STALL,
    S_STAMPS,
    S_TAGS,
    S_WAIT,
    S_WAYS,
)
from tinysim.native import native

__all__ = ["access_lines"]


@native
def _find(m: Any, block: int, line: int) -> int:
    """The slot of a line, or -1. A table of guesses makes the common case independent of the number of ways."""
    tags = block + m[block + S_TAGS]
    hint = block + m[block + S_HINTS] + (line & (HINT_WORDS - 1))
    slot = m[hint]
    if m[tags + slot] == line:
        return int(slot)
    if m[block + m[block + S_PRESENT] + (line & (HINT_WORDS - 1))] == 0:
        return -1
    first = (line & (m[block + S_SETS] - 1)) * m[block + S_WAYS]
    for slot in range(first, first + m[block + S_WAYS]):
        if m[tags + slot] == line:
            m[hint] = slot
            return int(slot)
    return -1


@native
def _allocate(m: Any, block: int, line: int, rows: int) -> int:
    """Choose a slot for a line, by the replacement rule, and take it over empty."""
    tags = block + m[block + S_TAGS]
    stamps = block + m[block + S_STAMPS]
    ways = m[block + S_WAYS]
    first = (line & (m[block + S_SETS] - 1)) * ways
    replacement = m[block + S_REPLACEMENT]
    slot = first
    if replacement == RANDOM:
        m[block + S_RANDOM] = (m[block + S_RANDOM] * 1103515245 + 12345) & 0x7FFFFFFF
        slot = first + (m[block + S_RANDOM] >> 16) % ways
        for candidate in range(first, first + ways):
            if m[tags + candidate] < 0:
                slot = candidate
                break
    elif replacement == ROUND_ROBIN:
        m[block + S_RANDOM] += 1
        slot = first + m[block + S_RANDOM] % ways
    else:                                              # LRU and FIFO differ in when the stamp is renewed
        for candidate in range(first + 1, first + ways):
            if m[stamps + candidate] < m[stamps + slot]:
                slot = candidate
    present = block + m[block + S_PRESENT]
    if m[tags + slot] >= 0:
        m[present + (m[tags + slot] & (HINT_WORDS - 1))] -= 1
    m[present + (line & (HINT_WORDS - 1))] += 1
    m[tags + slot] = line
    m[block + m[block + S_HINTS] + (line & (HINT_WORDS - 1))] = slot
    ready = block + m[block + S_ROWS_READY] + slot * rows
    for row in range(rows):
        m[ready + row] = NEVER
    return int(slot)


@native
def _start(m: Any, block: int, time: int) -> int:
    """When a read of the array can start."""
    free = m[m[block + S_PORT]]
    if free > time:
        m[block + S_PORT_WAIT] += free - time
        return int(free)
    return int(time)


@native
def _fill(m: Any, block: int, ready: int, rows: int, row: int, start: int) -> int:
    """Read what a miss of ``row`` brings in; returns when that row is there. ``ready``: offset of the line's row
    times.
    """
    mode = m[block + S_FILL]
    step = m[block + S_ROW_CYCLES]
    arrival = start + m[block + S_WAIT]
    end = arrival
    if mode == FILL_FROM_START:
        for other in range(rows):
            m[ready + other] = end
            if other == row:
                arrival = end
            if other < rows - 1:
                end += step
        m[block + S_ROWS] += rows
    else:
        m[ready + row] = arrival
        m[block + S_ROWS] += 1
        if mode != FILL_ROW:
            other = row
            for _ in range(rows - 1):
                other += 1
                if other == rows:
                    if mode == FILL_TO_END:
                        break
                    other = 0
                end += step
                m[ready + other] = end
                m[block + S_ROWS] += 1
            if mode == FILL_BLOCKING:
                arrival = end
                m[ready + row] = end
    m[m[block + S_PORT]] = end + 1
    return int(arrival)


@native
def _prefetch(m: Any, block: int, row: int, rows_shift: int, arrival: int) -> None:
    """Start reading the row after ``row`` into the prefetch buffer, unless the lines or the buffer have it."""
    following = row + 1
    if m[block + S_NEXT_ROW] == following:
        return
    if m[block + S_ENABLED]:
        slot = _find(m, block, following >> rows_shift)
        within = following & ((1 << rows_shift) - 1)
        if slot >= 0 and m[block + m[block + S_ROWS_READY] + (slot << rows_shift) + within] != NEVER:
            return
    start = max(arrival, m[m[block + S_PORT]])
    m[block + S_NEXT_ROW] = following
    m[block + S_NEXT_READY] = start + m[block + S_WAIT]
    m[m[block + S_PORT]] = start + m[block + S_WAIT] + 1
    m[block + S_ROWS] += 1


@native
def access_lines(m: Any, block: int, address: int, time: int) -> int:
    """Read at ``address`` with the address phase in cycle ``time``; returns the stall in cycles."""
    row = address >> m[block + S_ROW_SHIFT]
    m[block + S_ACCESSES] += 1
    wanted = np.int64(time + 1)
    if row == m[block + S_LAST]:
        stall = max(np.int64(0), m[block + S_READY] - wanted)
        m[block + S_STALL] += stall
        return int(stall)
    rows_shift = m[block + S_ROWS_SHIFT]
    rows = 1 << rows_shift
    within = row & (rows - 1)
    arrival = np.int64(NEVER)
    prefetched = m[block + S_PREFETCH] and row == m[block + S_NEXT_ROW]
    if m[block + S_ENABLED]:
        line = row >> rows_shift
        slot = _find(m, block, line)
        times = block + m[block + S_ROWS_READY]
        if slot >= 0:
            arrival = m[times + slot * rows + within]
        if arrival != NEVER:
            if m[block + S_REPLACEMENT] == LRU:
                m[block + S_CLOCK] += 1
                m[block + m[block + S_STAMPS] + slot] = m[block + S_CLOCK]
        else:
            if slot < 0:
                slot = _allocate(m, block, line, rows)
                m[block + S_LINE_MISSES] += 1
            m[block + S_CLOCK] += 1
            m[block + m[block + S_STAMPS] + slot] = m[block + S_CLOCK]
            if prefetched:
                m[block + S_PREFETCH_HITS] += 1
                arrival = m[block + S_NEXT_READY]
                m[times + slot * rows + within] = arrival
            else:
                m[block + S_MISSES] += 1
                arrival = _fill(m, block, times + slot * rows, rows, within, _start(m, block, wanted))
    elif prefetched:
        m[block + S_PREFETCH_HITS] += 1
        arrival = m[block + S_NEXT_READY]
    else:
        m[block + S_MISSES] += 1
        m[block + S_ROWS] += 1
        start = _start(m, block, wanted)
        arrival = start + m[block + S_WAIT]
        m[m[block + S_PORT]] = arrival + 1
    arrival = max(arrival, wanted)
    if m[block + S_PREFETCH]:
        _prefetch(m, block, row, rows_shift, arrival)
    m[block + S_LAST] = row
    m[block + S_READY] = arrival
    m[block + S_STALL] += arrival - wanted
    return int(arrival - wanted)
