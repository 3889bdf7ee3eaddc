"""Prices every key of Counts once: the cycles of the path with the block, less those of the path before it.

A path is run through the core's pipeline block by block. The clock between two blocks belongs to neither side twice,
so the prices of successive keys add up to the price of the whole run. The refill after a taken branch lands on the
block that is entered.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinysim.core import Core, Pipeline
from tinysim.counts import Counts
from tinysim.timing.causes import CAUSES, Cause
from tinysim.timing.columns import N_CAUSES
from tinysim.timing.paths import Paths, ReadCode, lay_out, refuse_unpriced

__all__ = [
    "PhaseTotal", "Prices", "ReadCode", "Totals", "price", "price_paths", "refuse_unpriced", "totals", "trace_cycles",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Prices:
    """What each key costs.

    ``instructions``: shape (keys,), of the key's own block. ``cycles``: shape (keys,), of one execution without
    mispredictions. ``by_cause``: shape (keys, causes), rows sum to ``cycles``. ``misprediction_cycles``: shape
    (keys,), of one misprediction on entering the key's block.
    """

    instructions: NDArray[np.int64]
    cycles: NDArray[np.float64]
    causes: tuple[str, ...]
    by_cause: NDArray[np.float64]
    misprediction_cycles: NDArray[np.float64]


def price(counts: Counts, read_code: ReadCode, core: Core) -> Prices:
    """Prices every key. Memory answers at once.

    Raises UnpricedError for an instruction without a price, EngineError when the keys have fewer context blocks than
    the core's timing needs.
    """
    return price_paths(lay_out(counts, read_code, core), counts, core)


def price_paths(paths: Paths, counts: Counts, core: Core) -> Prices:
    """As :func:`price`, for paths laid out before: a second price of the same code with other parameters is cheaper."""
    cycles = np.zeros(len(paths.keys), np.float64)
    by_cause = np.zeros((len(paths.keys), N_CAUSES), np.float64)
    mispredicted = np.zeros(len(paths.keys), np.float64)
    if core.pipeline is Pipeline.SINGLE_ISSUE:
        from tinysim.timing import division, single_issue, single_paths

        compiled = single_issue.compile_core(core)
        single_paths.price_paths(
            *paths.code, paths.fractions, paths.samples, paths.addresses, *compiled, cycles, by_cause
        )
        division.correct(counts, paths.program, core, cycles, by_cause)
    else:
        from tinysim.timing import dual_issue, dual_paths

        dual_paths.price_paths(
            *paths.code, paths.samples, paths.addresses, *dual_issue.compile_core(core), cycles, by_cause, mispredicted
        )
    own = counts.keys[:, -1]
    instructions = (paths.program.last - paths.program.first)[own]
    return Prices(instructions, cycles, CAUSES, by_cause, mispredicted)


def trace_cycles(counts: Counts, blocks: NDArray[Any], read_code: ReadCode, core: Core) -> float:
    """Cycles of one run through ``blocks`` (block numbers, shape (length,)), not cut into keys and without
    mispredictions.

    What keys leave out is the difference to the sum of their prices. For tests and studies; pricing never needs a
    trace.
    """
    paths = lay_out(counts, read_code, core).through(blocks)
    if core.pipeline is Pipeline.SINGLE_ISSUE:
        from tinysim.timing import single_issue, single_paths

        compiled = single_issue.compile_core(core)
        lost = single_paths.run_trace(*paths.code, paths.fractions, paths.samples, paths.addresses, *compiled)
    else:
        from tinysim.timing import dual_issue, dual_paths

        lost = dual_paths.run_trace(*paths.code, paths.samples, paths.addresses, *dual_issue.compile_core(core))
    return float(lost.sum())


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
