"""The memory interface of the pipelines: where every fetch and every data access goes, with its time.

``config[0]`` says whether memory is ideal or a memory system of `tinysim.memory`, whose flat array is ``state``. Times are in
cycles from the start of the run.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tinysim.memory import access
from tinysim.memory.layout import CAUSE_CACHE_MISS, CAUSE_EVICTION, CAUSE_FLASH, H_CAUSE
from tinysim.timing.columns import BUS, DATA_CACHE, EVICTION, FLASH_DATA, FLASH_INSTRUCTION, INSTRUCTION_CACHE
from tinysim.timing.native import native

__all__ = ["IDEAL", "SYSTEM", "data_cause", "data_stall", "fetch_cause", "fetch_stall", "first_load", "ideal_memory", "memory_system", "slave_of"]

IDEAL = 0
"""Kind of memory that answers every access in its cycle."""
SYSTEM = 1
"""Kind of memory that is simulated."""


def ideal_memory() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Configuration and state of zero-wait memory."""
    return np.zeros(1, np.int64), np.zeros(1, np.int64)


def memory_system(words: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Configuration and state of a memory system laid out by `tinysim.memory.configure`."""
    return np.full(1, SYSTEM, np.int64), words


@native
def fetch_stall(address, time, config, state):  # type: ignore[no-untyped-def]
    """Cycles that the fetch of the word at ``address``, requested at ``time``, takes longer than at zero wait states."""
    if config[0] == IDEAL:
        return 0
    return access.fetch(state, address, time)


@native
def data_stall(address, words, size, write, time, config, state):  # type: ignore[no-untyped-def]
    """Cycles that a data access takes longer: ``words`` consecutive transfers of ``size`` bytes, the first at ``time``."""
    if config[0] == IDEAL:
        return 0
    return access.transfer(state, address, words, size, write, time)


@native
def fetch_cause(state):  # type: ignore[no-untyped-def]
    """What the latest stall of a fetch is booked to."""
    cause = state[H_CAUSE]
    if cause == CAUSE_FLASH:
        return FLASH_INSTRUCTION
    if cause == CAUSE_CACHE_MISS:
        return INSTRUCTION_CACHE
    return EVICTION if cause == CAUSE_EVICTION else BUS


@native
def data_cause(state):  # type: ignore[no-untyped-def]
    """What the latest stall of a data access is booked to."""
    cause = state[H_CAUSE]
    if cause == CAUSE_FLASH:
        return FLASH_DATA
    if cause == CAUSE_CACHE_MISS:
        return DATA_CACHE
    return EVICTION if cause == CAUSE_EVICTION else BUS


@native
def slave_of(address, config, state):  # type: ignore[no-untyped-def]
    """Number of the bus slave an address belongs to; loads overlap only within one slave."""
    if config[0] == IDEAL:
        return 0
    return access.slave_of(state, address)


@native
def first_load(slave, config, state):  # type: ignore[no-untyped-def]
    """Cycles that the first load of a run pays on this slave's bus."""
    if config[0] == IDEAL:
        return 0
    return access.first_load(state, slave)
