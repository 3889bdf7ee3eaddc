"""A Case: everything a rule may look at, and the questions rules ask most."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tinysim.advice.units import Units
from tinysim.core import Core
from tinysim.estimate import Estimate
from tinysim.image import Image, Symbol
from tinysim.lines import InstructionCost, instruction_costs
from tinysim.memory.pricers import MemoryOptions
from tinysim.part import Part
from tinysim.result import Finding, FunctionCost, LayerCost, RegionCost

__all__ = ["Case", "FunctionUse", "Remeasure"]

Remeasure = Callable[[MemoryOptions], int]
"""Runs the same program again with other memory settings; the cycles of the same region."""


@dataclass(frozen=True, slots=True)
class FunctionUse:
    """A function as it ran in the region. ``entries``: how often its first instruction ran."""

    symbol: Symbol
    entries: int
    instructions: int
    cycles: int


@dataclass(frozen=True)
class Case:
    """A region that was measured, and the program it is part of.

    ``number``: the region's number in the run, None for the whole run. ``read``: memory as the program left it, where
    it is still there.
    """

    estimate: Estimate
    region: RegionCost
    number: int | None
    image: Image
    part: Part
    core: Core
    clock_hz: int
    layers: tuple[LayerCost, ...] = ()
    calls: int = 1
    remeasure: Remeasure | None = None
    read: Callable[[int, int], bytes] | None = None

    @cached_property
    def units(self) -> Units:
        """What the compiler wrote down about itself."""
        return Units(self.image)

    @cached_property
    def functions(self) -> Sequence[FunctionUse]:
        """The functions that ran in the region, dearest first."""
        by_name: dict[str, FunctionCost] = {f.name: f for f in self.region.functions}
        executions = self.estimate.block_executions[self.estimate.run.phases_of(self.number)].sum(axis=0)
        starts: dict[int, int] = {}
        for block in np.flatnonzero(executions):
            address = int(self.estimate.run.block_address[block])
            starts[address] = starts.get(address, 0) + int(executions[block])
        found, seen = [], set()
        for block in np.flatnonzero(executions):
            symbol = self.image.function_at(int(self.estimate.run.block_address[block]))
            if symbol is None or symbol.address in seen or symbol.shown not in by_name:
                continue
            seen.add(symbol.address)
            cost = by_name[symbol.shown]
            found.append(FunctionUse(symbol, starts.get(symbol.address, 0), cost.instructions, cost.cycles))
        return sorted(found, key=lambda use: (-use.cycles, use.symbol.address))

    def instructions(self, uses: Iterable[FunctionUse]) -> Mapping[int, InstructionCost]:
        """The instructions of some functions."""
        costs: dict[int, InstructionCost] = {}
        for use in uses:
            costs.update(instruction_costs(self.estimate, self.core, self.number, use.symbol))
        return costs

    def share(self, cycles: float) -> float:
        """Cycles as a fraction of the region's."""
        return cycles / self.region.cycles if self.region.cycles else 0.0

    def finding(
        self,
        rule: str,
        title: str,
        evidence: str,
        action: str,
        *,
        cycles: float | None = None,
        size: int | None = None,
        measured: bool = False,
    ) -> Finding:
        """A Finding; ``cycles``: the most it can win in the region, ``size``: bytes of flash."""
        percent = round(100 * self.share(cycles), 2) if cycles is not None else None
        return Finding(
            rule, title, evidence, action, round(cycles) if cycles is not None else None, percent, size, measured
        )
