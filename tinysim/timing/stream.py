"""Prices a recorded stream of blocks and data accesses on a memory system: every fetch and every access with its time.

Where flash has wait states or caches may miss, the price of a block depends on more than the blocks before it. The stream holds what
decides: the blocks in the order they ran and the address of every data access. An event is a 64-bit word (`tinysim.engine.counting`):

- bit 63: a block starts; the low bits are its number, bits 40 and 41 say whether the branch into it was mispredicted, by the predictor
  without and with history;
- bit 62: a phase starts; the low bits are its number;
- else: a data access of the block before it: the address, its size in bytes from bit 32 on, bit 40 for a write.

:class:`StreamPricer` takes the events in pieces while the program still runs.
"""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinysim.core import Core, Pipeline
from tinysim.isa import Memory, Trait, decode
from tinysim.timing.causes import CAUSES
from tinysim.timing.columns import BYTES, END, INSIDE, MEMORY, MISPREDICTION, N_CAUSES, TRAITS, UNKNOWN, WORDS
from tinysim.timing.dual_issue import READY_SHAPE
from tinysim.timing.dual_issue import STATE_SIZE as DUAL_STATE
from tinysim.timing.dual_issue import clock as dual_clock
from tinysim.timing.dual_issue import compile_core as compile_dual
from tinysim.timing.dual_issue import mispredict
from tinysim.timing.dual_issue import start as dual_start
from tinysim.timing.dual_issue import step as dual_step
from tinysim.timing.dual_paths import can_mispredict
from tinysim.timing.native import native
from tinysim.timing.port import memory_system
from tinysim.timing.pricing import ReadCode, refuse_unpriced
from tinysim.timing.single_issue import NEXT
from tinysim.timing.single_issue import STATE_SIZE as SINGLE_STATE
from tinysim.timing.single_issue import compile_core as compile_single
from tinysim.timing.single_issue import start as single_start
from tinysim.timing.single_issue import step as single_step

__all__ = ["StreamCosts", "StreamPricer"]

BLOCK_BIT, MARK_BIT = np.uint64(1) << np.uint64(63), np.uint64(1) << np.uint64(62)
NUMBER = np.uint64(0xFFFFFFFF)
SIZE_BIT, WRITE_BIT = np.uint64(32), np.uint64(40)
T_PREDICATED = int(Trait.PREDICATED)
M_STORE = int(Memory.STORE)
# the driver's own state, kept between pieces
PHASE, BEGUN, BEFORE = range(3)
# columns of the branches by phase
MISSED, MISSED_HISTORY, MISS_CYCLES = range(3)


@native
def _block_end(events, at):
    """The first event after the block event at ``at`` that is no access of its."""
    at += 1
    while at < len(events) and events[at] < MARK_BIT:
        at += 1
    return at


@native
def _next_block(events, at):
    """The first block event from ``at`` on, or the number of events."""
    while at < len(events) and events[at] < BLOCK_BIT:
        at += 1
    return at


@native
def _needed(first, last, table):
    """How many accesses the instructions of a block make that are not conditional, in bytes."""
    total = 0
    for row in range(first, last):
        if table[row, MEMORY] != 0 and table[row, TRAITS] & T_PREDICATED == 0:
            total += table[row, WORDS] * table[row, BYTES]
    return total


@native
def _left(events, at, end):
    """Bytes that the access events from ``at`` to ``end`` move."""
    total = 0
    for k in range(at, end):
        total += np.int64((events[k] >> SIZE_BIT) & np.uint64(0xFF))
    return total


@native
def _take(row, table, events, at, end, needed, left):
    """The address of an instruction's access and the events it takes; UNKNOWN and none where it makes none.

    A conditional instruction makes one when more bytes are left than the unconditional ones still need.
    """
    size = table[row, WORDS] * table[row, BYTES]
    if at >= end or (table[row, TRAITS] & T_PREDICATED and left - size < needed):
        return np.int64(UNKNOWN), at
    writes = (events[at] >> WRITE_BIT) & np.uint64(1) == 1
    if writes != (table[row, MEMORY] == M_STORE):
        return np.int64(UNKNOWN), at
    address = np.int64(events[at] & NUMBER)
    moved = 0
    while at < end and moved < size:
        moved += np.int64((events[at] >> SIZE_BIT) & np.uint64(0xFF))
        at += 1
    return address, at


@native
def run_single(
    events, final, table, first, last, block_address, classes, parameters, state, driver, config, memory, by_cause, by_block, branches
):  # fmt: skip
    """Runs events through the single-issue pipeline. Returns how many were used: the last block waits for what comes after it.

    ``by_cause``: shape (phases, causes); ``by_block``: shape (phases, blocks); cycles are added to both. ``branches``: shape
    (phases, 3), for cores that predict branches.
    """
    at = _next_block(events, 0)
    for k in range(at):
        if events[k] >= MARK_BIT:
            driver[PHASE] = np.int64(events[k] & NUMBER)
    while at < len(events):
        end = _block_end(events, at)
        following = _next_block(events, end)
        if following == len(events) and not final:
            return at
        block = np.int64(events[at] & NUMBER)
        after = np.int64(END)
        if following < len(events):
            after = block_address[np.int64(events[following] & NUMBER)]
        if not driver[BEGUN]:
            single_start(state, block_address[block])
            driver[BEGUN] = 1
        phase = driver[PHASE]
        lost = by_cause[phase]
        before = state[NEXT]
        access = at + 1
        needed = np.int64(-1)
        left = np.int64(0)
        for row in range(first[block], last[block]):
            address = np.int64(UNKNOWN)
            executed = True
            if table[row, MEMORY] != 0:
                if needed < 0:
                    needed = _needed(row, last[block], table)
                    left = _left(events, access, end)
                begun = access
                address, access = _take(row, table, events, access, end, needed, left)
                if table[row, TRAITS] & T_PREDICATED:
                    executed = access > begun
                else:
                    needed -= table[row, WORDS] * table[row, BYTES]
                left -= _left(events, begun, access)
            single_step(
                row, table, classes, parameters, state, executed, after if row == last[block] - 1 else np.int64(INSIDE), address, config,
                memory, lost,
            )
        by_block[phase, block] += state[NEXT] - before
        for k in range(end, following):
            driver[PHASE] = np.int64(events[k] & NUMBER)
        at = following
    return at


@native
def run_dual(
    events, final, table, first, last, block_address, classes, latencies, pairs, parameters, state, ready, driver, config, memory, by_cause,
    by_block, branches,
):  # fmt: skip
    """Runs events through the dual-issue pipeline; as :func:`run_single`."""
    at = _next_block(events, 0)
    for k in range(at):
        if events[k] >= MARK_BIT:
            driver[PHASE] = np.int64(events[k] & NUMBER)
    while at < len(events):
        end = _block_end(events, at)
        following = _next_block(events, end)
        if following == len(events) and not final:
            return at
        block = np.int64(events[at] & NUMBER)
        after = np.int64(END)
        if following < len(events):
            after = block_address[np.int64(events[following] & NUMBER)]
        phase = driver[PHASE]
        lost = by_cause[phase]
        before = dual_clock(state)
        if not driver[BEGUN]:
            dual_start(state, ready, block_address[block], parameters)
            driver[BEGUN] = 1
        elif can_mispredict(driver[BEFORE], table):
            branches[phase, MISSED] += np.int64((events[at] >> np.uint64(40)) & np.uint64(1))
            branches[phase, MISSED_HISTORY] += np.int64((events[at] >> np.uint64(41)) & np.uint64(1))
            if (events[at] >> np.uint64(40)) & np.uint64(1):
                begin = dual_clock(state)
                mispredict(driver[BEFORE], table, parameters, state, ready, block_address[block])
                lost[MISPREDICTION] += dual_clock(state) - begin
                branches[phase, MISS_CYCLES] += dual_clock(state) - begin
        access = at + 1
        needed = np.int64(-1)
        left = np.int64(0)
        for row in range(first[block], last[block]):
            address = np.int64(UNKNOWN)
            if table[row, MEMORY] != 0:
                if needed < 0:
                    needed = _needed(row, last[block], table)
                    left = _left(events, access, end)
                begun = access
                address, access = _take(row, table, events, access, end, needed, left)
                if table[row, TRAITS] & T_PREDICATED == 0:
                    needed -= table[row, WORDS] * table[row, BYTES]
                left -= _left(events, begun, access)
            dual_step(
                row, table, classes, latencies, pairs, parameters, state, ready, after if row == last[block] - 1 else np.int64(INSIDE),
                address, config, memory, lost,
            )
        driver[BEFORE] = last[block] - 1
        by_block[phase, block] += dual_clock(state) - before
        for k in range(end, following):
            driver[PHASE] = np.int64(events[k] & NUMBER)
        at = following
    return at


@dataclass(frozen=True, slots=True)
class StreamCosts:
    """What a stream cost. ``by_cause``: cycles, shape (phases, causes); ``by_block``: cycles, shape (phases, blocks).

    ``history_cycles``: shape (phases,), how many cycles more the mispredictions of a predictor with history would cost (less, when
    negative). ``block_instructions``: shape (blocks,).
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
            self.causes, difference(self.by_cause, earlier.by_cause), difference(self.by_block, earlier.by_block),
            difference(self.history_cycles, earlier.history_cycles), self.block_instructions,
        )


class StreamPricer:
    """Takes events while a program runs and prices them on a memory system.

    ``memory``: the flat array of a cold memory system (`tinysim.memory.MemoryConfig.fresh`); it is changed.
    ``blocks``: gives the addresses and sizes of all blocks known so far; ``read_code``: their bytes.
    """

    def __init__(
        self, core: Core, memory: NDArray[np.int64], blocks: Callable[[], tuple[NDArray[Any], NDArray[Any]]], read_code: ReadCode
    ) -> None:
        self._core = core
        self._known_blocks = blocks
        self._read_code = read_code
        self._config, self._memory = memory_system(memory)
        self._dual = core.pipeline is Pipeline.DUAL_ISSUE
        self._tables: tuple[Any, ...] = compile_dual(core) if self._dual else compile_single(core)
        self._state = np.zeros(DUAL_STATE if self._dual else SINGLE_STATE, np.int64)
        self._ready = np.zeros(READY_SHAPE, np.int64)
        self._driver = np.zeros(3, np.int64)
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
        common = (*self._program, *self._tables, self._state)
        rest = (self._driver, self._config, self._memory, self._by_cause, self._by_block, self._branches)
        if self._dual:
            used = run_dual(events, final, *common, self._ready, *rest)
        else:
            used = run_single(events, final, *common, *rest)
        self._tail = events[used:].copy()

    def so_far(self) -> StreamCosts:
        """What the stream cost up to the block that waits for what comes after it."""
        missed = self._branches[:, MISSED].astype(np.float64)
        each = np.divide(self._branches[:, MISS_CYCLES], missed, out=np.zeros(len(missed)), where=missed > 0)
        each[missed == 0] = self._branches[:, MISS_CYCLES].sum() / max(float(missed.sum()), 1.0)
        _, first, last, _ = self._program
        return StreamCosts(
            CAUSES, self._by_cause.copy(), self._by_block.copy(), (self._branches[:, MISSED_HISTORY] - missed) * each, last - first
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
            self._program = (program.table, program.first, program.last, addresses.astype(np.int64))
        rows = max(phases, len(self._by_cause))
        if rows > len(self._by_cause) or self._blocks > self._by_block.shape[1]:
            by_cause, by_block = np.zeros((rows, N_CAUSES), np.int64), np.zeros((rows, self._blocks), np.int64)
            branches = np.zeros((rows, 3), np.int64)
            branches[: len(self._branches)] = self._branches
            by_cause[: len(self._by_cause)] = self._by_cause
            by_block[: len(self._by_block), : self._by_block.shape[1]] = self._by_block
            self._by_cause, self._by_block, self._branches = by_cause, by_block, branches
