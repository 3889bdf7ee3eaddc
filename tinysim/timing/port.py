"""The memory interface of the pipelines: where every fetch and every data access goes, with its time.

``config`` and ``state`` belong to the memory model; ``config[0]`` says which one. Times are in cycles from the start of the run.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tinysim.timing.native import native

__all__ = ["IDEAL", "data_stall", "fetch_stall", "first_load", "ideal_memory", "slave_of"]

IDEAL = 0
"""Kind of memory that answers every access in its cycle."""


def ideal_memory() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Configuration and state of zero-wait memory."""
    return np.zeros(1, np.int64), np.zeros(1, np.int64)


@native
def fetch_stall(address, time, config, state):  # type: ignore[no-untyped-def]
    """Cycles that the fetch of the word at ``address``, requested at ``time``, takes longer than at zero wait states."""
    return 0


@native
def data_stall(address, words, size, write, time, config, state):  # type: ignore[no-untyped-def]
    """Cycles that a data access takes longer: ``words`` consecutive transfers of ``size`` bytes, the first at ``time``."""
    return 0


@native
def slave_of(address, config):  # type: ignore[no-untyped-def]
    """Number of the bus slave an address belongs to; loads overlap only within one slave."""
    return 0


@native
def first_load(slave, config):  # type: ignore[no-untyped-def]
    """Cycles that the first load of a run pays on this slave's bus."""
    return 0
