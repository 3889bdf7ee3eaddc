"""The time that firmware reads while it runs: what has been counted so far, priced at once.

The engine knows no prices and asks one of these (`tinysim.engine.unicorn_machine.Clock`). The cycle counter and
SysTick then show the estimate itself, so cycles that firmware prints are the estimate; a key priced before its
surroundings are known can differ from its final price by a cycle or two.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tinysim.core import Core, Pipeline
from tinysim.counts import NO_BLOCK, Counts
from tinysim.timing import division, price
from tinysim.timing.exceptions import ExceptionPrices

if TYPE_CHECKING:
    from tinysim.engine.unicorn_machine import Machine

__all__ = ["KeysClock", "StreamClock"]

_GROWTH = 1.2
"""Keys by which the counters must grow before all of them are priced anew."""


class _Keys:
    """Prices keys once. ``price_of``: cycles of paths of blocks given by (address, size); missing ones (size 0) are
    NO_BLOCK.
    """

    def __init__(self, core: Core) -> None:
        self._core = core
        self._paths: dict[tuple[tuple[int, int], ...], float] = {}

    def price_all(
        self, machine: Machine, keys: NDArray[np.int32], executions: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Cycles of keys (shape (n, depth + 1), the machine's block numbers) and of a misprediction on entering them,
        shape (n, 2).
        """
        different, where = np.unique(keys, axis=0, return_inverse=True)
        where = where.reshape(-1)
        used = np.unique(different[different >= 0])
        blocks = np.array([machine.tables.block(int(number)) for number in used], np.uint32).reshape(-1, 2)
        numbers = np.where(different >= 0, np.searchsorted(used, different), NO_BLOCK).astype(np.int32)
        times = np.bincount(where, np.maximum(executions, 1), len(different)).astype(np.uint64).reshape(1, -1)
        counts = Counts(
            blocks[:, 0].copy(),
            blocks[:, 1].copy(),
            numbers,
            times,
            predication=machine.counters.predication() if machine.counters else {},
        )
        prices = price(counts, machine.read, self._core)
        return np.column_stack([prices.cycles[where], prices.misprediction_cycles[where]])

    def of_path(self, machine: Machine, path: Sequence[int], done_bytes: int) -> float:
        """Cycles of the first ``done_bytes`` of a path's last block."""
        if done_bytes <= 0:
            return 0.0
        shapes = [machine.tables.block(number) if number >= 0 else (0, 0) for number in path]
        shapes[-1] = (shapes[-1][0], done_bytes)
        key = tuple(shapes)
        if key not in self._paths:
            known = [shape for shape in shapes if shape[1]]
            numbers = [NO_BLOCK] * (self._core.context_blocks + 1 - len(known)) + list(range(len(known)))
            blocks = np.array(known, np.uint32)
            counts = Counts(
                blocks[:, 0].copy(), blocks[:, 1].copy(), np.array([numbers], np.int32), np.ones((1, 1), np.uint64)
            )
            self._paths[key] = float(price(counts, machine.read, self._core).cycles[0])
        return self._paths[key]


class KeysClock:
    """Time on ideal memory: every key counted so far at its price. A reading costs one pass over the counters."""

    def __init__(self, core: Core) -> None:
        self._keys = _Keys(core)
        self._exceptions = ExceptionPrices.of(core)
        self._before = 0.0
        self._prices = np.zeros((1, 2))
        self._priced_together = 0
        single = core.pipeline is Pipeline.SINGLE_ISSUE
        self._division = division.cycles_by_quotient_bits(core) - core.value("division") if single else None

    def cycles(self, machine: Machine, done_bytes: int | None) -> float:
        """Cycles since the start; the block entered last is done, or has done its first ``done_bytes``."""
        rows = machine.tables.transitions
        if len(rows) > len(self._prices):
            if len(rows) > _GROWTH * self._priced_together:  # what most often came before decides about a price too
                self._prices, self._priced_together = self._prices[:1], len(rows)
            fresh = rows[len(self._prices) :]
            keys = machine.tables.keys_of(fresh, machine.depth)
            priced = self._keys.price_all(machine, keys, fresh[:, 0])
            self._prices = np.vstack([self._prices, priced])
        total = self._before + machine.tables.priced(self._prices) + self._exceptions.total(machine.exception_counts())
        if self._division is not None and machine.counters:
            total += float(machine.counters.division_histogram() @ self._division)
        if done_bytes is not None:
            path = machine.tables.path(machine.depth)
            _, size = machine.tables.block(path[-1])
            total -= self._keys.of_path(machine, path, size) - self._keys.of_path(machine, path, done_bytes)
        return total

    def forget(self, machine: Machine) -> None:
        """The machine is about to drop its counts."""
        self._before = self.cycles(machine, None)


class StreamClock:
    """Time on a part's memory system: the recorded stream, priced while it comes. ``so_far``: its cycles up to the
    last block.
    """

    def __init__(self, core: Core, so_far: Callable[[], float]) -> None:
        self._keys = _Keys(core)
        self._exceptions = ExceptionPrices.of(core)
        self._so_far = so_far
        self._before = 0

    def cycles(self, machine: Machine, done_bytes: int | None) -> float:
        """Cycles since the start; the block entered last is done, or has done its first ``done_bytes``."""
        machine.flush()
        path = machine.tables.path(machine.depth)
        if path[-1] < 0:
            last = 0.0
        else:
            _, size = machine.tables.block(path[-1])
            last = self._keys.of_path(machine, path, size if done_bytes is None else done_bytes)
        return self._so_far() + last + self._before + self._exceptions.total(machine.exception_counts())

    def forget(self, machine: Machine) -> None:
        """The machine is about to drop its counts."""
        self._before += self._exceptions.total(machine.exception_counts())
