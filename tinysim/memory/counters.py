"""What a memory system counted while it ran."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tinysim.memory import layout as at

__all__ = ["BlockCounters", "MemoryCounters", "read_counters"]


@dataclass(frozen=True, slots=True)
class BlockCounters:
    """Events of one cache or one set of flash lines.

    ``misses``: accesses that had to read the memory behind; for flash lines one for each row waited for.
    ``line_misses``: of these, those that found their line absent. ``rows``: reads of the array, background fills
    included. ``port_wait_cycles``: cycles waited because the memory was busy. ``store_misses``, ``evictions``: of an
    L1 data cache.
    """

    accesses: int
    misses: int
    line_misses: int = 0
    rows: int = 0
    prefetch_hits: int = 0
    store_misses: int = 0
    evictions: int = 0
    stall_cycles: int = 0
    port_wait_cycles: int = 0


@dataclass(frozen=True, slots=True)
class MemoryCounters:
    """Totals of a run, and the events of each cache or set of lines by its name. Cycles are those each access waited;

    how many of them the core lost is the pipeline's account: it fetches ahead.
    """

    fetches: int
    reads: int
    writes: int
    fetch_stall_cycles: int
    read_stall_cycles: int
    write_stall_cycles: int
    blocks: Mapping[str, BlockCounters]


def _block(words: NDArray[np.int64], name: str, block: int) -> BlockCounters:
    def word(offset: int) -> int:
        return int(words[block + offset])

    if name.endswith("lines"):
        return BlockCounters(
            accesses=word(at.S_ACCESSES),
            misses=word(at.S_MISSES),
            line_misses=word(at.S_LINE_MISSES),
            rows=word(at.S_ROWS),
            prefetch_hits=word(at.S_PREFETCH_HITS),
            stall_cycles=word(at.S_STALL),
            port_wait_cycles=word(at.S_PORT_WAIT),
        )
    return BlockCounters(
        accesses=word(at.C_ACCESSES),
        misses=word(at.C_MISSES),
        line_misses=word(at.C_MISSES),
        store_misses=word(at.C_STORE_MISSES),
        evictions=word(at.C_EVICTIONS),
        stall_cycles=word(at.C_STALL),
        port_wait_cycles=word(at.C_PORT_WAIT) + word(at.C_BUFFER_WAIT),
    )


def read_counters(words: NDArray[np.int64], blocks: tuple[tuple[str, int], ...]) -> MemoryCounters:
    """The counters in a memory system's flat array; ``blocks``: (name, offset) of each cache or set of lines."""
    return MemoryCounters(
        int(words[at.H_FETCHES]),
        int(words[at.H_READS]),
        int(words[at.H_WRITES]),
        int(words[at.H_FETCH_STALL]),
        int(words[at.H_READ_STALL]),
        int(words[at.H_WRITE_STALL]),
        {name: _block(words, name, block) for name, block in blocks},
    )
