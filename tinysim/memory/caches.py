"""L1 caches of a Cortex-M7, natively simulated: line fills with the critical word first, line-fill buffers, evictions.

A line arrives in rows (what one read of the memory's array delivers), the requested one first, then the others,
wrapping. A hit on a line that is still arriving waits for its row. As many lines can be on their way as there are
line-fill buffers. A memory's port is busy until the last row of a line has been read. Stores wait for nothing but what
the part's data says: a store that misses fetches its line in the background where the memory is write-allocate.
"""

from __future__ import annotations

from typing import Any

from tinysim.memory.layout import (
    C_ACCESSES,
    C_BUFFER_FREE,
    C_BUFFER_WAIT,
    C_BUFFERS,
    C_CLOCK,
    C_CRITICAL,
    C_DIRTY,
    C_DONE,
    C_EVICTION,
    C_EVICTIONS,
    C_FIRST,
    C_LAST,
    C_LAST_SLOT,
    C_LINE_SHIFT,
    C_MISSES,
    C_PORT_WAIT,
    C_RANDOM,
    C_REPLACEMENT,
    C_ROW_SHIFT,
    C_SETS,
    C_STALL,
    C_STAMPS,
    C_STEP,
    C_STORE_MISS,
    C_STORE_MISSES,
    C_TAGS,
    C_WAYS,
    CAUSE_CACHE_MISS,
    CAUSE_EVICTION,
    H_CAUSE,
    H_DATA_CACHE,
    LRU,
    R_LINE,
    R_SLOT,
    R_WRITE_BACK,
    RANDOM,
    RECENT,
    RECENT_LINES,
    RECENT_WORDS,
    ROUND_ROBIN,
    W_ALLOCATE,
    W_ARRAY,
    W_PORT,
    W_ROW,
    W_TRANSPORT,
    W_WRITE_BACK,
)
from tinysim.native import native

__all__ = ["read_cache", "recent", "write_cache"]


@native
def recent(m: Any, block: int, address: int, size: int, writes: bool) -> bool:
    """Whether an access of ``size`` bytes is in a line known to be in the data cache as a whole; accounts for it then.
    """
    line = address >> m[block + C_LINE_SHIFT]
    entry = RECENT + (line & (RECENT_LINES - 1)) * RECENT_WORDS
    if m[entry + R_LINE] != line or (address + size - 1) >> m[block + C_LINE_SHIFT] != line:
        return False
    m[block + C_ACCESSES] += (size + 3) >> 2
    slot = m[entry + R_SLOT]
    if m[block + C_REPLACEMENT] == LRU:
        m[block + C_LAST] = line
        m[block + C_LAST_SLOT] = slot
        m[block + C_CLOCK] += 1
        m[block + m[block + C_STAMPS] + slot] = m[block + C_CLOCK]
    if writes and m[entry + R_WRITE_BACK]:
        m[block + m[block + C_DIRTY] + slot] = 1
    return True


@native
def _remember(m: Any, w: int, block: int, line: int, slot: int) -> None:
    """Note that a line of the data cache is there as a whole."""
    if block == m[H_DATA_CACHE]:
        entry = RECENT + (line & (RECENT_LINES - 1)) * RECENT_WORDS
        m[entry + R_LINE] = line
        m[entry + R_SLOT] = slot
        m[entry + R_WRITE_BACK] = m[w + W_WRITE_BACK]


@native
def _forget(m: Any, block: int, line: int) -> None:
    """Note that a line of the data cache is about to go."""
    if block == m[H_DATA_CACHE]:
        entry = RECENT + (line & (RECENT_LINES - 1)) * RECENT_WORDS
        if m[entry + R_LINE] == line:
            m[entry + R_LINE] = -1


@native
def _find(m: Any, block: int, line: int) -> int:
    """The slot of a line, or -1; renews its age."""
    if line == m[block + C_LAST]:
        return int(m[block + C_LAST_SLOT])
    tags = block + m[block + C_TAGS]
    ways = m[block + C_WAYS]
    first = (line & (m[block + C_SETS] - 1)) * ways
    for slot in range(first, first + ways):
        if m[tags + slot] == line:
            m[block + C_LAST] = line
            m[block + C_LAST_SLOT] = slot
            if m[block + C_REPLACEMENT] == LRU:
                m[block + C_CLOCK] += 1
                m[block + m[block + C_STAMPS] + slot] = m[block + C_CLOCK]
            return int(slot)
    return -1


@native
def _allocate(m: Any, block: int, line: int) -> int:
    """Choose a slot for a line and take it over; empty slots first. The victim's dirty bit stays for the caller to
    see.
    """
    tags = block + m[block + C_TAGS]
    stamps = block + m[block + C_STAMPS]
    ways = m[block + C_WAYS]
    first = (line & (m[block + C_SETS] - 1)) * ways
    replacement = m[block + C_REPLACEMENT]
    slot = -1
    for candidate in range(first, first + ways):
        if m[tags + candidate] < 0:
            slot = candidate
            break
    if slot < 0:
        if replacement == RANDOM:
            m[block + C_RANDOM] = (m[block + C_RANDOM] * 1103515245 + 12345) & 0x7FFFFFFF
            slot = first + (m[block + C_RANDOM] >> 16) % ways
        elif replacement == ROUND_ROBIN:
            m[block + C_RANDOM] += 1
            slot = first + m[block + C_RANDOM] % ways
        else:
            slot = first
            for candidate in range(first + 1, first + ways):
                if m[stamps + candidate] < m[stamps + slot]:
                    slot = candidate
    _forget(m, block, m[tags + slot])
    m[tags + slot] = line
    m[block + C_CLOCK] += 1
    m[stamps + slot] = m[block + C_CLOCK]
    m[block + C_LAST] = line
    m[block + C_LAST_SLOT] = slot
    return int(slot)


@native
def _evict(m: Any, block: int, slot: int) -> int:
    """Account for what the slot held; returns the cycles its write-back costs the miss."""
    dirty = block + m[block + C_DIRTY] + slot
    if m[dirty]:
        m[dirty] = 0
        m[block + C_EVICTIONS] += 1
        return int(m[block + C_EVICTION])
    return 0


@native
def _arrival(m: Any, block: int, slot: int, address: int) -> int:
    """When the row of an address is there, in a line that may still be arriving."""
    shift = m[block + m[block + C_ROW_SHIFT] + slot]
    rows = 1 << (m[block + C_LINE_SHIFT] - shift)
    behind = ((address >> shift) - m[block + m[block + C_CRITICAL] + slot]) & (rows - 1)
    return int(m[block + m[block + C_FIRST] + slot] + behind * m[block + m[block + C_STEP] + slot])


@native
def _shift(size: int) -> int:
    found = 0
    while (1 << found) < size:
        found += 1
    return found


@native
def _fill(m: Any, w: int, block: int, slot: int, address: int, wanted: int) -> int:
    """Fetch a line from the memory of window ``w``; returns when the row of ``address`` is there."""
    start = wanted
    buffers = block + C_BUFFER_FREE
    oldest = 0
    for number in range(1, m[block + C_BUFFERS]):
        if m[buffers + number] < m[buffers + oldest]:
            oldest = number
    if m[buffers + oldest] > start:
        m[block + C_BUFFER_WAIT] += m[buffers + oldest] - start
        start = m[buffers + oldest]
    port = m[w + W_PORT]
    if m[port] > start:
        m[block + C_PORT_WAIT] += m[port] - start
        start = m[port]
    array = m[w + W_ARRAY]
    shift = min(_shift(m[w + W_ROW]), m[block + C_LINE_SHIFT])
    rows = 1 << (m[block + C_LINE_SHIFT] - shift)
    first = start + array + m[w + W_TRANSPORT]
    done = first + (rows - 1) * array
    m[port] = start + rows * array
    m[buffers + oldest] = done
    m[block + m[block + C_FIRST] + slot] = first
    m[block + m[block + C_STEP] + slot] = array
    m[block + m[block + C_CRITICAL] + slot] = (address >> shift) & (rows - 1)
    m[block + m[block + C_ROW_SHIFT] + slot] = shift
    m[block + m[block + C_DONE] + slot] = done
    return int(first)


@native
def read_cache(m: Any, w: int, block: int, address: int, time: int) -> int:
    """Read through the cache ``block`` from the memory of window ``w``; returns how late the value is, in cycles."""
    m[block + C_ACCESSES] += 1
    line = address >> m[block + C_LINE_SHIFT]
    slot = _find(m, block, line)
    wanted = time + 1
    if slot >= 0:
        if m[block + m[block + C_DONE] + slot] <= wanted:
            _remember(m, w, block, line, slot)
            return 0
        late = _arrival(m, block, slot, address) - wanted
        if late <= 0:
            return 0
        m[block + C_STALL] += late
        m[H_CAUSE] = CAUSE_CACHE_MISS
        return int(late)
    m[block + C_MISSES] += 1
    slot = _allocate(m, block, line)
    eviction = _evict(m, block, slot)
    late = _fill(m, w, block, slot, address, wanted) - wanted + eviction
    m[block + C_STALL] += late
    m[H_CAUSE] = CAUSE_EVICTION if eviction else CAUSE_CACHE_MISS
    return int(late)


@native
def write_cache(m: Any, w: int, block: int, address: int, time: int) -> int:
    """Write through the cache ``block`` to the memory of window ``w``; returns the cycles the store buffer waits."""
    m[block + C_ACCESSES] += 1
    line = address >> m[block + C_LINE_SHIFT]
    slot = _find(m, block, line)
    if slot < 0:
        m[block + C_STORE_MISSES] += 1
        if not (m[w + W_ALLOCATE] and m[w + W_WRITE_BACK]):
            return 0
        slot = _allocate(m, block, line)
        stall = _evict(m, block, slot) + m[block + C_STORE_MISS]
        m[block + m[block + C_DONE] + slot] = time + 1 + stall
        m[block + m[block + C_FIRST] + slot] = time + 1 + stall
        m[block + m[block + C_STEP] + slot] = 0
        m[block + m[block + C_DIRTY] + slot] = 1
        if stall:
            m[block + C_STALL] += stall
            m[H_CAUSE] = CAUSE_CACHE_MISS
        return int(stall)
    if m[w + W_WRITE_BACK]:
        m[block + m[block + C_DIRTY] + slot] = 1
    return 0
