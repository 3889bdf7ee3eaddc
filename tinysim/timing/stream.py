"""Prices a recorded stream of blocks and data accesses on a memory system: every fetch and every access with its time.

Where flash has wait states or caches may miss, the price of a block depends on more than the blocks before it. The
stream holds what decides: the blocks in the order they ran and the address of every data access
(`tinysim.timing.events`). :class:`StreamPricer` takes the events in pieces while the program still runs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinysim.core import Core, Pipeline
from tinysim.isa import decode
from tinysim.timing import stream_dual, stream_single
from tinysim.timing.causes import CAUSES
from tinysim.timing.columns import MEMORY, N_CAUSES
from tinysim.timing.dual_issue import compile_core as compile_dual
from tinysim.timing.events import BLOCK_BIT, MARK_BIT, NUMBER
from tinysim.timing.memo import forget, new_memo, state_number
from tinysim.timing.port import memory_system
from tinysim.timing.pricing import ReadCode, refuse_unpriced
from tinysim.timing.single_issue import compile_core as compile_single
from tinysim.timing.stream_dual import MISS_CYCLES, MISSED, MISSED_HISTORY
from tinysim.timing.stream_single import BEGUN, STATE

__all__ = ["StreamCosts", "StreamPricer"]


@dataclass(frozen=True, slots=True)
class StreamCosts:
    """What a stream cost. ``by_cause``: cycles, shape (phases, causes); ``by_block``: cycles, shape (phases, blocks).

    ``history_cycles``: shape (phases,), how many cycles more the mispredictions of a predictor with history would cost
    (less, when negative). ``block_instructions``: shape (blocks,).
    """

    causes: tuple[str, ...]
    by_cause: NDArray[np.int64]
    by_block: NDArray[np.int64]
    history_cycles: NDArray[np.float64]
    block_instructions: NDArray[np.int64]

    def since(self, earlier: StreamCosts) -> StreamCosts:
        """What was added since ``earlier``, whose phases and blocks are the first of these."""

        def difference(now: NDArray[Any], then: NDArray[Any]) -> NDArray[Any]:
            result = now.copy()
            result[tuple(slice(n) for n in then.shape)] -= then
            return result

        return StreamCosts(
            self.causes,
            difference(self.by_cause, earlier.by_cause),
            difference(self.by_block, earlier.by_block),
            difference(self.history_cycles, earlier.history_cycles),
            self.block_instructions,
        )


class StreamPricer:
    """Takes events while a program runs and prices them on a memory system.

    ``memory``: the flat array of a cold memory system (`tinysim.memory.MemoryConfig.fresh`); it is changed.
    ``blocks``: gives the addresses and sizes of all blocks known so far; ``read_code``: their bytes.
    """

    def __init__(
        self,
        core: Core,
        memory: NDArray[np.int64],
        blocks: Callable[[], tuple[NDArray[Any], NDArray[Any]]],
        read_code: ReadCode,
    ) -> None:
        self._core = core
        self._known_blocks = blocks
        self._read_code = read_code
        self._config, self._memory = memory_system(memory)
        self._dual = core.pipeline is Pipeline.DUAL_ISSUE
        self._tables: tuple[Any, ...] = compile_dual(core) if self._dual else compile_single(core)
        self._memo = new_memo(stream_dual.STATE_SIZE if self._dual else stream_single.STATE_SIZE)
        self._driver = np.zeros(4, np.int64)
        self._blocks = 0
        self._program: tuple[Any, ...] = ()
        self._by_cause = np.zeros((1, N_CAUSES), np.int64)
        self._by_block = np.zeros((1, 1), np.int64)
        self._branches = np.zeros((1, 3), np.int64)
        self._tail = np.zeros(0, np.uint64)

    def feed(self, events: NDArray[np.uint64], *, final: bool = False) -> None:
        """Price the next piece of the stream. Raises UnpricedError for an instruction without a price."""
        if len(self._tail):
            events = np.concatenate([self._tail, events])
        self._make_room(events)
        common = (events, final, *self._program, *self._tables, self._driver, self._config, self._memory, self._memo)
        if self._dual:
            used = stream_dual.run_dual(*common, self._by_cause, self._by_block, self._branches)
        else:
            used = stream_single.run_single(*common, self._by_cause, self._by_block)
        self._tail = events[used:].copy()

    @property
    def cycles_so_far(self) -> int:
        """Cycles up to the block that waits for what comes after it."""
        return int(self._by_cause.sum())

    def change_memory(self, words: NDArray[np.int64]) -> None:
        """Go on with another memory system, cold: firmware has set its registers."""
        self._memory = words
        if self._driver[BEGUN]:
            state = self._memo[1][self._driver[STATE]].copy()
            forget(self._memo)  # what is known of accesses that cannot stall held for the other memory system
            self._driver[STATE] = state_number(self._memo, state)

    def so_far(self) -> StreamCosts:
        """What the stream cost up to the block that waits for what comes after it."""
        missed = self._branches[:, MISSED].astype(np.float64)
        each = np.divide(self._branches[:, MISS_CYCLES], missed, out=np.zeros(len(missed)), where=missed > 0)
        each[missed == 0] = self._branches[:, MISS_CYCLES].sum() / max(float(missed.sum()), 1.0)
        _, first, last, *_ = self._program
        return StreamCosts(
            CAUSES,
            self._by_cause.copy(),
            self._by_block.copy(),
            (self._branches[:, MISSED_HISTORY] - missed) * each,
            last - first,
        )

    def finish(self) -> StreamCosts:
        """Price what is left; what all of it cost."""
        self.feed(np.zeros(0, np.uint64), final=True)
        return self.so_far()

    def _make_room(self, events: NDArray[np.uint64]) -> None:
        """Decode blocks that appear for the first time, and grow the tables for them and for new phases."""
        if not len(events):
            return
        is_block = events >= BLOCK_BIT
        blocks = int((events[is_block] & NUMBER).max()) + 1 if is_block.any() else 0
        marks = events[(events >= MARK_BIT) & ~is_block]
        phases = int((marks & NUMBER).max()) + 1 if len(marks) else 1
        if blocks > self._blocks:
            addresses, sizes = self._known_blocks()
            program = decode(addresses, sizes, self._read_code, self._core.isa)
            refuse_unpriced(program, self._core, self._read_code)
            self._blocks = len(addresses)
            spans = zip(program.first, program.last, strict=True)
            accessing = [np.flatnonzero(program.table[first:last, MEMORY]) + first for first, last in spans]
            starts = np.concatenate([[0], np.cumsum([len(found) for found in accessing])]).astype(np.int64)
            flat = np.concatenate([*accessing, np.zeros(1, np.int64)]).astype(np.int64)
            self._program = (program.table, program.first, program.last, flat, starts, addresses.astype(np.int64))
        rows = max(phases, len(self._by_cause))
        if rows > len(self._by_cause) or self._blocks > self._by_block.shape[1]:
            by_cause, by_block = np.zeros((rows, N_CAUSES), np.int64), np.zeros((rows, self._blocks), np.int64)
            branches = np.zeros((rows, 3), np.int64)
            branches[: len(self._branches)] = self._branches
            by_cause[: len(self._by_cause)] = self._by_cause
            by_block[: len(self._by_block), : self._by_block.shape[1]] = self._by_block
            self._by_cause, self._by_block, self._branches = by_cause, by_block, branches
