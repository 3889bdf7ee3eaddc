"""What a pipeline calls for every instruction fetch and data access: find the memory, take its path, return the stall.

See the package's docstring for the convention. All functions are compiled and take the flat array of
`tinysim.memory.layout`.
"""

from __future__ import annotations

from typing import Any

from tinysim.memory.caches import read_cache, recent, write_cache
from tinysim.memory.layout import (
    CAUSE_BUS,
    CAUSE_FLASH,
    FIRST_LOADS,
    H_CAUSE,
    H_DATA_CACHE,
    H_FETCH_BASE,
    H_FETCH_END,
    H_FETCH_READY,
    H_FETCH_STALL,
    H_FETCHES,
    H_READ_STALL,
    H_READS,
    H_WRITE_STALL,
    H_WRITES,
    PAGE_SHIFT,
    PAGES,
    PATH_CACHE,
    PATH_DIRECT,
    PATH_LINES,
    S_ROW_SHIFT,
    W_DATA_BLOCK,
    W_DATA_PATH,
    W_END,
    W_FETCH_BLOCK,
    W_FETCH_EXTRA,
    W_FETCH_PATH,
    W_FETCH_ROW,
    W_READ_EXTRA,
    W_ROW,
    W_SLAVE,
    W_WRITE_EXTRA,
    WINDOW_WORDS,
)
from tinysim.memory.lines import access_lines
from tinysim.native import native

__all__ = ["fetch", "first_load", "read", "slave_of", "transfer", "window", "write"]


@native
def window(m: Any, address: int) -> int:
    """The window an address is in, as an offset into ``m``. Windows cover the whole address space."""
    w = m[PAGES + (address >> PAGE_SHIFT)]
    while address >= m[w + W_END]:
        w += WINDOW_WORDS
    return int(w)


@native
def _fetch_elsewhere(m: Any, address: int, time: int) -> int:
    """A fetch outside the current row: take the memory's path and remember the row."""
    w = window(m, address)
    path = m[w + W_FETCH_PATH]
    if path == PATH_LINES:
        block = m[w + W_FETCH_BLOCK]
        stall = access_lines(m, block, address, time)
        size = 1 << m[block + S_ROW_SHIFT]
        if stall:
            m[H_CAUSE] = CAUSE_FLASH
    elif path == PATH_CACHE:
        stall = read_cache(m, w, m[w + W_FETCH_BLOCK], address, time)
        size = m[w + W_ROW]
    else:
        stall = m[w + W_FETCH_EXTRA]
        size = m[w + W_FETCH_ROW]
        if stall:
            m[H_CAUSE] = CAUSE_BUS
    base = address & -size
    m[H_FETCH_BASE] = base
    m[H_FETCH_END] = base + size
    m[H_FETCH_READY] = time + 1 + stall
    m[H_FETCH_STALL] += stall
    return int(stall)


@native
def fetch(m: Any, address: int, time: int) -> int:
    """Fetch at ``address`` with the address phase in cycle ``time``; returns the stall in cycles."""
    m[H_FETCHES] += 1
    if m[H_FETCH_BASE] <= address < m[H_FETCH_END]:
        stall = m[H_FETCH_READY] - time - 1
        if stall <= 0:
            return 0
        m[H_FETCH_STALL] += stall
        return int(stall)
    return int(_fetch_elsewhere(m, address, time))


@native
def read(m: Any, w: int, address: int, time: int) -> int:
    """Read a word at ``address``, in window ``w``; returns how late its value is, in cycles."""
    m[H_READS] += 1
    path = m[w + W_DATA_PATH]
    if path == PATH_DIRECT:
        stall = m[w + W_READ_EXTRA]
        if stall:
            m[H_CAUSE] = CAUSE_BUS
    elif path == PATH_CACHE:
        stall = read_cache(m, w, m[w + W_DATA_BLOCK], address, time)
    else:
        stall = access_lines(m, m[w + W_DATA_BLOCK], address, time)
        if stall:
            m[H_CAUSE] = CAUSE_FLASH
    m[H_READ_STALL] += stall
    return int(stall)


@native
def write(m: Any, w: int, address: int, time: int) -> int:
    """Write a word at ``address``, in window ``w``; returns the stall in cycles."""
    m[H_WRITES] += 1
    if m[w + W_DATA_PATH] == PATH_CACHE:
        stall = write_cache(m, w, m[w + W_DATA_BLOCK], address, time)
    else:
        stall = m[w + W_WRITE_EXTRA]
        if stall:
            m[H_CAUSE] = CAUSE_BUS
    m[H_WRITE_STALL] += stall
    return int(stall)


@native
def transfer(m: Any, address: int, words: int, size: int, writes: bool, time: int) -> int:
    """A whole data access: ``words`` consecutive transfers of ``size`` bytes, the first with its address phase in
    ``time``.

    Each word follows the one before as soon as that has arrived. One transfer that crosses a word is two. Returns the
    sum of their stalls in cycles.
    """
    cache = m[H_DATA_CACHE]
    if cache and recent(m, cache, address, words * 4 if words > 1 else size, writes):
        m[H_WRITES if writes else H_READS] += words
        return 0
    w = window(m, address)
    if m[w + W_DATA_PATH] == PATH_DIRECT and m[w + W_READ_EXTRA] == 0 and m[w + W_WRITE_EXTRA] == 0:
        m[H_WRITES if writes else H_READS] += words
        return 0
    base = address & ~3
    total = 0
    count = words
    if words == 1 and (address & 3) + size > 4:
        count = 2
    for number in range(count):
        at = base + 4 * number
        if at >= m[w + W_END]:
            w = window(m, at)
        phase = time + total + min(number, words - 1)
        total += write(m, w, at, phase) if writes else read(m, w, at, phase)
    return int(total)


@native
def never_stalls(m: Any, address: int) -> bool:
    """Whether a data access at an address takes no longer than a cycle, whatever came before."""
    w = window(m, address)
    return bool(m[w + W_DATA_PATH] == PATH_DIRECT and m[w + W_READ_EXTRA] == 0 and m[w + W_WRITE_EXTRA] == 0)


@native
def slave_of(m: Any, address: int) -> int:
    """The bus slave of a data address."""
    return int(m[window(m, address) + W_SLAVE])


@native
def first_load(m: Any, slave: int) -> int:
    """Extra cycles of the first load of a run of loads from a slave."""
    return int(m[FIRST_LOADS + slave])
