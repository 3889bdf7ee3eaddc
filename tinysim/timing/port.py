"""The memory interface of the pipelines: where every fetch and every data access goes, with its time.

``config`` says whether memory is ideal or a memory system of `tinysim.memory`, whose flat array is ``state``. Times are
in cycles from an origin that ``config[ORIGIN]`` places in the time of the memory system.

The accesses of a stretch of code can be logged, and played again: those that were made already answer as they did then.
"""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tinysim.memory import access
from tinysim.memory.layout import CAUSE_CACHE_MISS, CAUSE_EVICTION, CAUSE_FLASH, H_CAUSE, H_FETCH_BASE, H_FETCH_END
from tinysim.timing.columns import BUS, DATA_CACHE, EVICTION, FLASH_DATA, FLASH_INSTRUCTION, INSTRUCTION_CACHE
from tinysim.timing.native import native

__all__ = [
    "IDEAL",
    "SYSTEM",
    "data_cause",
    "data_stall",
    "fetch_cause",
    "fetch_stall",
    "first_load",
    "ideal_memory",
    "memory_system",
    "slave_of",
]

IDEAL = 0
"""Kind of memory that answers every access in its cycle."""
SYSTEM = 1
"""Kind of memory that is simulated."""

# words of the configuration: kind, origin of time, accesses since the log began, how many of them were made already,
# the stalls among those, the entries of the log, the row of flash or bus that the latest logged fetch brought, what was
# left out of the log, whether it was too short, and data accesses so far
(
    KIND,
    ORIGIN,
    CURSOR,
    MADE,
    STALLS,
    ENTRIES,
    ROW_BASE,
    ROW_END,
    SKIPPED_FETCHES,
    SKIPPED_READS,
    SKIPPED_WRITES,
    TOO_LONG,
    DATA,
    STALL_LIST,
) = range(14)
STALL_WORDS, ENTRY_WORDS, LOG_ROOM = 3, 5, 512
LOG = STALL_LIST + STALL_WORDS * LOG_ROOM
CONFIG_WORDS = LOG + ENTRY_WORDS * LOG_ROOM
# an entry of the log: address of a fetch or number of a data access, time, shape (0: a fetch), place among all
# accesses, stall


def ideal_memory() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Configuration and state of zero-wait memory."""
    return np.zeros(CONFIG_WORDS, np.int64), np.zeros(1, np.int64)


def memory_system(words: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Configuration and state of a memory system laid out by `tinysim.memory.configure`."""
    config = np.zeros(CONFIG_WORDS, np.int64)
    config[KIND] = SYSTEM
    return config, words


@native
def _made_before(config, state):
    """The stall of an access that was made already, when it was; what it waited for is the latest cause again."""
    for k in range(config[STALLS]):
        place = STALL_LIST + STALL_WORDS * k
        if config[place] == config[CURSOR]:
            state[H_CAUSE] = config[place + 2]
            return config[place + 1]
    return np.int64(0)


@native
def _log(config, what, time, shape, stall):
    place = config[ENTRIES]
    if place == LOG_ROOM:
        config[TOO_LONG] = 1
        return
    config[ENTRIES] = place + 1
    entry = LOG + ENTRY_WORDS * place
    config[entry] = what
    config[entry + 1] = time
    config[entry + 2] = shape
    config[entry + 3] = config[CURSOR]
    config[entry + 4] = stall


@native
def fetch_stall(address, time, config, state):
    """Cycles that the fetch of the word at ``address``, requested at ``time``, takes longer than at zero wait states.
    """
    if config[KIND] == IDEAL:
        return np.int64(0)
    again = config[CURSOR] < config[MADE]
    stall = _made_before(config, state) if again else np.int64(access.fetch(state, address, time + config[ORIGIN]))
    if stall == 0 and config[ROW_BASE] <= address < config[ROW_END]:
        config[SKIPPED_FETCHES] += 1  # the row is there: this fetch can neither stall nor change anything
    else:
        _log(config, address, time, 0, stall)
        config[ROW_BASE] = 0 if again else state[H_FETCH_BASE]
        config[ROW_END] = 0 if again else state[H_FETCH_END]
    config[CURSOR] += 1
    return stall


@native
def data_stall(address, words, size, write, time, config, state):
    """Cycles that a data access takes longer: ``words`` consecutive transfers of ``size`` bytes, the first at ``time``.
    """
    if config[KIND] == IDEAL:
        return np.int64(0)
    again = config[CURSOR] < config[MADE]
    stall = (
        _made_before(config, state)
        if again
        else np.int64(access.transfer(state, address, words, size, write, time + config[ORIGIN]))
    )
    if access.never_stalls(state, address):
        if write:
            config[SKIPPED_WRITES] += words
        else:
            config[SKIPPED_READS] += words
    else:
        _log(config, config[DATA], time, words << 8 | size << 1 | (1 if write else 0), stall)
    config[DATA] += 1
    config[CURSOR] += 1
    return stall


@native
def fetch_cause(state):
    """What the latest stall of a fetch is booked to."""
    cause = state[H_CAUSE]
    if cause == CAUSE_FLASH:
        return FLASH_INSTRUCTION
    if cause == CAUSE_CACHE_MISS:
        return INSTRUCTION_CACHE
    return EVICTION if cause == CAUSE_EVICTION else BUS


@native
def data_cause(state):
    """What the latest stall of a data access is booked to."""
    cause = state[H_CAUSE]
    if cause == CAUSE_FLASH:
        return FLASH_DATA
    if cause == CAUSE_CACHE_MISS:
        return DATA_CACHE
    return EVICTION if cause == CAUSE_EVICTION else BUS


@native
def slave_of(address, config, state):
    """Number of the bus slave an address belongs to; loads overlap only within one slave."""
    if config[KIND] == IDEAL:
        return 0
    return access.slave_of(state, address)


@native
def first_load(slave, config, state):
    """Cycles that the first load of a run pays on this slave's bus."""
    if config[KIND] == IDEAL:
        return 0
    return access.first_load(state, slave)
