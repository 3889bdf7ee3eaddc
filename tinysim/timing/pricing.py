"""Prices every key of Counts once: the cycles of the path with the block, less those of the path before it.

A path is run through the core's pipeline block by block. The clock between two blocks belongs to neither side twice, so the
prices of successive keys add up to the price of the whole run. The refill after a taken branch lands on the block that is entered.
"""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinysim.core import Core, Pipeline
from tinysim.counts import NO_BLOCK, Counts
from tinysim.errors import EngineError, UnpricedError
from tinysim.isa import Program, decode, unknown
from tinysim.timing.causes import CAUSES, Cause
from tinysim.timing.columns import ADDRESS, CLASS, MEMORY, N_CAUSES, SIZE, TRAITS, UNKNOWN

__all__ = ["PhaseTotal", "Prices", "Totals", "price", "totals", "trace_cycles"]

ReadCode = Callable[[int, int], bytes]
T_PREDICATED = 64

WARM_UP = 2
"""Likely blocks run before a key's context."""


@dataclass(frozen=True, slots=True)
class Prices:
    """What each key costs.

    ``instructions``: shape (keys,), of the key's own block. ``cycles``: shape (keys,), of one execution without
    mispredictions. ``by_cause``: shape (keys, causes), rows sum to ``cycles``. ``misprediction_cycles``: shape (keys,), of
    one misprediction on entering the key's block.
    """

    instructions: NDArray[np.int64]
    cycles: NDArray[np.float64]
    causes: tuple[str, ...]
    by_cause: NDArray[np.float64]
    misprediction_cycles: NDArray[np.float64]


def prepare(counts: Counts, read_code: ReadCode, core: Core) -> Program:
    """Decodes the blocks of Counts and refuses what the core cannot execute.

    Raises UnpricedError, with address, bytes and disassembly, for an instruction without a price.
    """
    program = decode(counts.block_address, counts.block_size, read_code, core.isa)
    refuse_unpriced(program, core, read_code)
    return program


def refuse_unpriced(program: Program, core: Core, read_code: ReadCode) -> None:
    """Raises UnpricedError for the first instruction of a program that the core cannot execute."""
    priced = np.array([core.timing(name) is not None for name in core.isa.classes], dtype=np.bool_)
    missing = np.flatnonzero(~priced[program.table[:, CLASS]])
    if missing.size:
        row = int(missing[0])
        address, size = int(program.table[row, ADDRESS]), int(program.table[row, SIZE])
        error = unknown(address, read_code(address, size), program.texts[row])
        fpu = f" with FPU {core.fpu}" if core.fpu != "none" else " without an FPU"
        raise UnpricedError(
            f"{core.title}{fpu} does not execute {program.texts[row]!r} at {address:#010x}",
            hint="compile for this core and its FPU (-mcpu, -mfpu)", details=error.message,
        )  # fmt: skip


def _fractions(program: Program, counts: Counts) -> NDArray[np.float64]:
    """How often the condition of each row holds, shape (rows,); 1 where nothing is known."""
    fractions = np.ones(len(program.table), np.float64)
    if counts.predication:
        rows = np.flatnonzero(program.table[:, TRAITS] & T_PREDICATED)
        for row in rows.tolist():
            fractions[row] = counts.predication.get(int(program.table[row, ADDRESS]), 1.0)
    return fractions


def _addresses(program: Program, counts: Counts) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Sampled data addresses laid out by row: offset of each key's own block in the second array, -1 without samples.

    A sample with another number of accesses than the block's instructions make (some were skipped) is given to the
    instructions that always execute, when the numbers agree then; otherwise it is left out.
    """
    keys = len(counts.keys)
    offsets = np.full(keys, -1, np.int64)
    if counts.sample_start is None or counts.sample_address is None:
        return offsets, np.zeros(0, np.int64)
    table = program.table
    accessing = table[:, MEMORY] != 0
    always = accessing & (table[:, TRAITS] & T_PREDICATED == 0)
    flat: list[NDArray[np.int64]] = []
    used = 0
    own = counts.keys[:, -1]
    starts = counts.sample_start
    for key in range(keys):
        first, last = program.first[own[key]], program.last[own[key]]
        sample = counts.sample_address[starts[key] : starts[key + 1]]
        if not len(sample):
            continue
        which = accessing[first:last]
        if int(which.sum()) != len(sample):
            which = always[first:last]
            if int(which.sum()) != len(sample):
                continue
        addresses = np.full(last - first, UNKNOWN, np.int64)
        addresses[which] = sample
        flat.append(addresses)
        offsets[key] = used
        used += len(addresses)
    return offsets, np.concatenate(flat) if flat else np.zeros(0, np.int64)


def _of_block(counts: Counts, offsets: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each block the sample of any key that ends with it, shape (blocks + 1,); the last entry, NO_BLOCK's, is -1."""
    found = np.full(len(counts.block_address) + 1, -1, np.int64)
    known = np.flatnonzero(offsets >= 0)[::-1]
    found[counts.keys[known, -1]] = offsets[known]
    return found


def _warmed(counts: Counts) -> NDArray[np.int64]:
    """The keys with WARM_UP more blocks before them: each time the one that most often came before, NO_BLOCK if none did.

    The pipeline's state at the start of a context is not known; a likely past makes it matter less than an empty one.
    """
    keys = counts.keys.astype(np.int64)
    depth = counts.depth
    weights = (len(counts.block_address) + 1) ** np.arange(depth, dtype=np.int64)
    executions = counts.executions_of_keys()
    later = (keys[:, 1:] + 1) @ weights
    order = np.lexsort((executions, later))
    codes = later[order]
    for _ in range(WARM_UP):
        wanted = (keys[:, :depth] + 1) @ weights
        found = np.searchsorted(codes, wanted, side="right") - 1
        known = (found >= 0) & (codes[found] == wanted) & (keys[:, 0] >= 0)
        before = np.where(known, counts.keys[order[found], 0], NO_BLOCK)
        keys = np.column_stack([before, keys])
    return np.ascontiguousarray(keys)


def price(counts: Counts, read_code: ReadCode, core: Core) -> Prices:
    """Prices every key. Memory answers at once.

    Raises UnpricedError for an instruction without a price, EngineError when the keys have fewer context blocks than the
    core's timing needs.
    """
    if counts.depth < core.context_blocks:
        raise EngineError(
            f"{core.title} needs {core.context_blocks} context blocks in a key, the counts have {counts.depth}",
            hint="run the engine again for this core",
        )
    program = prepare(counts, read_code, core)
    keys = _warmed(counts)
    offsets, addresses = _addresses(program, counts)
    samples = _of_block(counts, offsets)[keys]
    samples[:, -1] = offsets
    cycles = np.zeros(len(keys), np.float64)
    by_cause = np.zeros((len(keys), N_CAUSES), np.float64)
    mispredicted = np.zeros(len(keys), np.float64)
    common = (
        program.table, program.first, program.last, counts.block_address.astype(np.int64), keys,
        _fractions(program, counts), samples, addresses,
    )  # fmt: skip
    if core.pipeline is Pipeline.SINGLE_ISSUE:
        from tinysim.timing import division, single_issue, single_paths

        classes, parameters = single_issue.compile_core(core)
        single_paths.price_paths(*common, classes, parameters, cycles, by_cause)
        division.correct(counts, program, core, cycles, by_cause)
    else:
        from tinysim.timing import dual_issue, dual_paths

        dual_paths.price_paths(*common, *dual_issue.compile_core(core), cycles, by_cause, mispredicted)
    own = counts.keys[:, -1]
    return Prices((program.last - program.first)[own], cycles, CAUSES, by_cause, mispredicted)


def trace_cycles(counts: Counts, blocks: NDArray[Any], read_code: ReadCode, core: Core) -> float:
    """Cycles of one run through ``blocks`` (block numbers, shape (length,)), not cut into keys and without mispredictions.

    What keys leave out is the difference to the sum of their prices. For tests and studies; pricing never needs a trace.
    """
    program = prepare(counts, read_code, core)
    offsets, addresses = _addresses(program, counts)
    path = np.ascontiguousarray(blocks, dtype=np.int64).reshape(1, -1)
    common = (
        program.table, program.first, program.last, counts.block_address.astype(np.int64), path,
        _fractions(program, counts), _of_block(counts, offsets)[path], addresses,
    )  # fmt: skip
    if core.pipeline is Pipeline.SINGLE_ISSUE:
        from tinysim.timing import single_issue, single_paths

        return float(single_paths.run_trace(*common, *single_issue.compile_core(core)).sum())
    from tinysim.timing import dual_issue, dual_paths

    return float(dual_paths.run_trace(*common, *dual_issue.compile_core(core)).sum())


@dataclass(frozen=True, slots=True)
class PhaseTotal:
    """One phase: ``breakdown`` sums to ``cycles``."""

    instructions: int
    cycles: float
    cycles_low: float
    cycles_high: float
    breakdown: dict[str, float]


@dataclass(frozen=True, slots=True)
class Totals:
    """All phases, and their sum: the region."""

    region: PhaseTotal
    phases: tuple[PhaseTotal, ...]


def _phase(counts: Counts, prices: Prices, phases: Any) -> PhaseTotal:
    executions = counts.executions[phases].sum(axis=0).astype(np.float64)
    by_cause = executions @ prices.by_cause
    missed = missed_history = 0.0
    if counts.mispredictions.size:
        missed = float(counts.mispredictions[phases].sum(axis=0) @ prices.misprediction_cycles)
        missed_history = missed
    if counts.mispredictions_history.size:
        missed_history = float(counts.mispredictions_history[phases].sum(axis=0) @ prices.misprediction_cycles)
    breakdown = {name: float(value) for name, value in zip(prices.causes, by_cause, strict=True) if value}
    if missed:
        breakdown[Cause.MISPREDICTION.value] = missed
    base = float(sum(by_cause))
    return PhaseTotal(
        int(executions @ prices.instructions), sum(breakdown.values()),
        base + min(missed, missed_history), base + max(missed, missed_history), breakdown,
    )  # fmt: skip


def totals(counts: Counts, prices: Prices) -> Totals:
    """Cycles, instructions and breakdown of each phase and of the whole region.

    ``cycles`` uses the predictor without history; the band spans both predictors.
    """
    phases = tuple(_phase(counts, prices, [number]) for number in range(len(counts.executions)))
    return Totals(_phase(counts, prices, slice(None)), phases)
