"""Says for every instruction of a function how often it ran, what it cost, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinysim.core import Core, Pipeline
from tinysim.counts import Counts
from tinysim.isa import Trait
from tinysim.timing.causes import CAUSES, Cause
from tinysim.timing.columns import ADDRESS, CLASS, N_CAUSES, SIZE, TRAITS
from tinysim.timing.paths import Paths, ReadCode, lay_out
from tinysim.timing.pricing import price_paths

__all__ = ["ExplainedBlock", "ExplainedInstruction", "LostCycles", "explain", "to_dicts"]


@dataclass(frozen=True, slots=True)
class LostCycles:
    """Cycles an instruction spent for one cause, over all its executions."""

    cause: str
    cycles: float
    reason: str


@dataclass(frozen=True, slots=True)
class ExplainedInstruction:
    """One instruction of a block. ``cycles``: over all executions, 1 for each issue included; ``lost``: all else,
    dearest first.
    """

    address: int
    text: str
    executions: int
    executed_fraction: float
    cycles: float
    lost: tuple[LostCycles, ...]


@dataclass(frozen=True, slots=True)
class ExplainedBlock:
    """One block. ``cycles`` are those of its instructions and of the mispredicted branches into it."""

    address: int
    size: int
    executions: int
    cycles: float
    mispredictions: int
    misprediction_cycles: float
    instructions: tuple[ExplainedInstruction, ...]


def explain(
    counts: Counts, read_code: ReadCode, core: Core, ranges: Sequence[tuple[int, int]] | None = None
) -> list[ExplainedBlock]:
    """The blocks that begin inside ``ranges`` (start, end; all blocks when None) and were executed, dearest first.

    Their cycles add up to what :func:`tinysim.timing.price` gives for the same keys. Raises what it raises.
    """
    paths = lay_out(counts, read_code, core)
    prices = price_paths(paths, counts, core)
    executions = counts.executions_of_keys().astype(np.int64)
    blocks = len(counts.block_address)
    own = counts.keys[:, -1]
    of_block = np.bincount(own, executions, blocks).astype(np.int64)
    starts = paths.block_address
    wanted = of_block > 0
    if ranges is not None:
        wanted &= np.logical_or.reduce([(starts >= low) & (starts < high) for low, high in ranges])
    lengths = np.where(wanted, paths.program.last - paths.program.first, 0)
    places = np.where(wanted, np.cumsum(lengths) - lengths, -1)
    by_row, notes = _by_row(paths, counts, core, executions, places, int(lengths.sum()))
    missed: NDArray[Any] = np.zeros(blocks)
    missed_cycles: NDArray[Any] = np.zeros(blocks)
    if counts.mispredictions.size:
        misses = counts.mispredictions.sum(axis=0).astype(np.float64)
        missed = np.bincount(own, misses, blocks)
        missed_cycles = np.bincount(own, misses * prices.misprediction_cycles, blocks)
    reasons = _Reasons(paths, core)
    found = []
    for block in np.flatnonzero(wanted).tolist():
        place, count = int(places[block]), int(lengths[block])
        instructions = tuple(
            _instruction(
                int(paths.program.first[block]) + row, int(of_block[block]), by_row[place + row], notes[place + row],
                row == 0, paths, reasons,
            )
            for row in range(count)
        )  # fmt: skip
        found.append(
            ExplainedBlock(
                int(starts[block]), int(counts.block_size[block]), int(of_block[block]),
                float(by_row[place : place + count].sum() + missed_cycles[block]),
                int(missed[block]), float(missed_cycles[block]), instructions,
            )
        )  # fmt: skip
    return sorted(found, key=lambda block: -block.cycles)


def to_dicts(blocks: Sequence[ExplainedBlock]) -> list[dict[str, Any]]:
    """The same for JSON."""
    return [asdict(block) for block in blocks]


def _by_row(
    paths: Paths, counts: Counts, core: Core, executions: NDArray[np.int64], places: NDArray[np.int64], rows: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Cycles by instruction and cause, and notes (rule, row waited for; -1 for none) by instruction of the wanted
    blocks.
    """
    by_row = np.zeros((rows, N_CAUSES), np.float64)
    notes = np.full((rows, 2), -1, np.int64)
    if core.pipeline is Pipeline.SINGLE_ISSUE:
        from tinysim.timing import division, single_issue, single_paths

        compiled = single_issue.compile_core(core)
        single_paths.explain_paths(
            *paths.code, paths.fractions, paths.samples, paths.addresses, *compiled, executions, places, by_row
        )
        change = division.change_by_row(counts, paths.program, core)
        own = counts.keys[:, -1]
        of_block = np.bincount(own, executions, len(places))
        for block in np.flatnonzero(places >= 0).tolist():
            first, last = int(paths.program.first[block]), int(paths.program.last[block])
            place = int(places[block])
            by_row[place : place + last - first, CAUSES.index(Cause.DIVISION)] += of_block[block] * change[first:last]
    else:
        from tinysim.timing import dual_issue, dual_paths

        # the note of the key that ran most often stays
        order = np.argsort(executions, kind="stable")
        dual_paths.explain_paths(
            *paths.code[:-1], np.ascontiguousarray(paths.keys[order]), np.ascontiguousarray(paths.samples[order]),
            paths.addresses, *dual_issue.compile_core(core), executions[order], places, by_row, notes,
        )  # fmt: skip
    return by_row, notes


def _instruction(
    row: int, executions: int, cycles: NDArray[np.float64], notes: NDArray[np.int64], is_first: bool, paths: Paths,
    reasons: _Reasons,
) -> ExplainedInstruction:  # fmt: skip
    lost = [
        LostCycles(cause, float(cycles[number]), reasons.say(Cause(cause), row, notes, is_first))
        for number, cause in enumerate(CAUSES)
        if cycles[number] and cause != Cause.ISSUE
    ]
    lost.sort(key=lambda item: -item.cycles)
    return ExplainedInstruction(
        int(paths.program.table[row, ADDRESS]), paths.program.texts[row], executions, float(paths.fractions[row]),
        float(cycles.sum()), tuple(lost),
    )  # fmt: skip


class _Reasons:
    """Turns a cause at an instruction into words."""

    def __init__(self, paths: Paths, core: Core) -> None:
        self._table = paths.program.table
        self._texts = paths.program.texts
        self._core = core

    def _before(self, row: int, is_first: bool) -> str:
        if is_first:
            return "the instruction before this block"
        return repr(self._texts[row - 1])

    def _producer(self, row: int, notes: NDArray[np.int64], is_first: bool) -> str:
        waited = int(notes[1])
        if waited >= 0:
            return f"{self._texts[waited]!r} at {int(self._table[waited, ADDRESS]):#x}"
        return self._before(row, is_first)

    def say(self, cause: Cause, row: int, notes: NDArray[np.int64], is_first: bool) -> str:
        """Why an instruction of a row lost cycles for a cause."""
        wide = int(self._table[row, SIZE]) == 4
        odd = bool(int(self._table[row, ADDRESS]) & 2)
        if cause is Cause.BRANCH_REFILL:
            return "refill after the taken branch into this block"
        if cause is Cause.FETCH:
            return "a 32-bit instruction at an odd halfword needs two words" if wide and odd else "not fetched yet"
        if cause is Cause.LOAD:
            name = self._core.isa.classes[int(self._table[row, CLASS])]
            return "its own data cycle" if name == "table_branch" else f"data cycle of {self._before(row, is_first)}"
        if cause in (Cause.LOAD_USE, Cause.ADDRESS_USE, Cause.OPERAND_USE, Cause.MULTIPLY_USE):
            return f"waits for {self._producer(row, notes, is_first)}"
        if cause is Cause.FPU:
            waited = int(notes[1])
            if waited >= 0:
                return f"waits for {self._producer(row, notes, is_first)}"
            return "a floating-point operation takes longer, or waits for the one before"
        if cause in (Cause.PAIRING, Cause.BANK_CONFLICT) and int(notes[0]) >= 0:
            return f"cannot issue with {self._before(row, is_first)}: {self._core.forbidden[int(notes[0])].reason}"
        if cause is Cause.STORE and int(self._table[row, TRAITS]) & Trait.REGISTER_OFFSET:
            return "a store with a register offset needs a second cycle"
        return _PLAIN.get(cause, cause.value)


_PLAIN = {
    Cause.STORE: "a load close behind a store, or the store queue is full",
    Cause.MULTIPLE_TRANSFER: "one transfer after the other",
    Cause.UNALIGNED: "an address that is not aligned takes further accesses",
    Cause.DIVISION: "a division takes longer",
    Cause.SYSTEM: "barriers and system registers take longer",
    Cause.PAIRING: "cannot issue with the instruction before it",
    Cause.BANK_CONFLICT: "both loads use one memory bank",
    Cause.FLASH_INSTRUCTION: "its code comes from flash late",
    Cause.FLASH_DATA: "its data come from flash late",
    Cause.INSTRUCTION_CACHE: "its code is not in the cache",
    Cause.DATA_CACHE: "its data are not in the cache",
    Cause.EVICTION: "a changed line is written back first",
    Cause.BUS: "waits for the bus",
}
