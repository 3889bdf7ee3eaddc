"""What an engine saw: how often each stretch of straight-line code ran, and after which.

A *block* is straight-line code that was entered at ``address`` and left after ``size`` bytes. A *key* is a block
together with the blocks that ran before it (its context, as many as the core's timing needs); the price of a key
depends on nothing else but the events listed here. An engine fills this in and knows no prices; timing prices it and
knows no engine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["NO_BLOCK", "Counts"]

NO_BLOCK = -1
"""Stands in a key's context where no block ran before (the start of the measurement)."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Executions by key and phase.

    ``block_address``, ``block_size``: shape (blocks,), bytes; one row for each block.
    ``keys``: shape (keys, depth + 1), block numbers, oldest context first, the block itself last; NO_BLOCK for none.
    ``executions``: shape (phases, keys). Phase 0 is what runs inside the measured region but in no layer;
    phase n is the n-th layer. Times in region = sum over phases.
    ``mispredictions``: shape (phases, keys): of these executions, how many were entered through a branch (the last
    instruction of the context) that a branch predictor without history had predicted wrongly. Empty (0, 0) if no
    predictor was run. ``mispredictions_history``: the same for a predictor with 8 bits of global history.
    ``predication``: instruction address -> fraction of its executions in which its condition held (only conditional
    instructions inside IT blocks whose cost depends on it; others are absent).
    ``divisions``: instruction address -> shape (34,) executions of an SDIV/UDIV by quotient bits: index 0 for |n| <
    |d|, index k for k = significant bits of n - significant bits of d + 1, index 33 for a zero divisor.
    ``sample_start``, ``sample_address``: data addresses of one execution of each key's own block: key k's are
    ``sample_address[sample_start[k]:sample_start[k + 1]]``, one for each access in program order (a multiple transfer
    appears as its first address). None when no addresses were sampled.
    """

    block_address: NDArray[np.uint32]
    block_size: NDArray[np.uint32]
    keys: NDArray[np.int32]
    executions: NDArray[np.uint64]
    mispredictions: NDArray[np.uint64] = field(default_factory=lambda: np.zeros((0, 0), np.uint64))
    mispredictions_history: NDArray[np.uint64] = field(default_factory=lambda: np.zeros((0, 0), np.uint64))
    predication: Mapping[int, float] = field(default_factory=dict)
    divisions: Mapping[int, NDArray[np.uint64]] = field(default_factory=dict)
    sample_start: NDArray[np.int64] | None = None
    sample_address: NDArray[np.uint32] | None = None

    @property
    def depth(self) -> int:
        """How many context blocks a key has."""
        return int(self.keys.shape[1]) - 1

    def executions_of_keys(self) -> NDArray[Any]:
        """Executions of each key over all phases, shape (keys,)."""
        return np.asarray(self.executions.sum(axis=0))
