"""From what ran to what it costs: prices every key once and sums by region, cause, function and layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tinysim.core import Core
from tinysim.counts import Counts
from tinysim.engine.run import Run
from tinysim.image import Image
from tinysim.model import Model
from tinysim.result import FunctionCost, LayerCost, RegionCost
from tinysim.timing import Prices, price

__all__ = ["MISPREDICTION", "Estimate", "whole"]

MISPREDICTION = "branch misprediction"


def whole(parts: Mapping[str, float]) -> dict[str, int]:
    """Round the parts of a sum to whole numbers that still add up to the rounded sum (largest remainder)."""
    floors = {name: int(np.floor(value)) for name, value in parts.items()}
    missing = round(sum(parts.values())) - sum(floors.values())
    order = sorted(parts, key=lambda name: floors[name] - parts[name])
    for name in order[:missing]:
        floors[name] += 1
    return floors


@dataclass(frozen=True)
class Estimate:
    """A Run with its prices: what every region, function and layer costs on a core, at any clock."""

    run: Run
    prices: Prices
    image: Image

    @classmethod
    def of(cls, run: Run, image: Image, core: Core, read_code: object = None) -> Estimate:
        """Price a run. Raises UnpricedError for an instruction the core's data has no price for."""
        reader = read_code if callable(read_code) else image.read
        return cls(run, price(run.counts(), reader, core), image)

    def _cycles(self, counts: Counts, *, history: bool = False) -> NDArray[np.float64]:
        """Cycles by phase and key, shape (phases, keys), mispredictions included."""
        table = counts.executions.astype(np.float64) * self.prices.cycles
        misses = counts.mispredictions_history if history else counts.mispredictions
        return table + misses.astype(np.float64) * self.prices.misprediction_cycles

    def region(self, number: int | None, clock_hz: int, *, name: str = "program", stack_top: int | None = None) -> RegionCost:
        """The cost of a region (None: the whole run) at a clock."""
        counts = self.run.counts(number)
        executions = counts.executions_of_keys().astype(np.float64)
        misses = counts.mispredictions.sum(axis=0).astype(np.float64)
        by_cause = executions @ self.prices.by_cause
        causes = {cause: float(cycles) for cause, cycles in zip(self.prices.causes, by_cause, strict=True) if cycles}
        lost = float(misses @ self.prices.misprediction_cycles)
        if lost:
            causes[MISPREDICTION] = causes.get(MISPREDICTION, 0.0) + lost
        breakdown = whole(causes)
        cycles = sum(breakdown.values())
        other = round(float(self._cycles(counts, history=True).sum()))
        lowest = self.run.lowest_sp(number)
        return RegionCost(
            name=name,
            calls=self.run.calls[number] if number is not None else 1,
            instructions=int(executions @ self.prices.instructions),
            cycles=cycles,
            latency_s=cycles / clock_hz,
            breakdown=dict(sorted(breakdown.items(), key=lambda item: -item[1])),
            functions=self._functions(counts),
            cycles_low=min(cycles, other),
            cycles_high=max(cycles, other),
            stack_peak_bytes=stack_top - lowest if stack_top is not None and lowest is not None else None,
        )

    def _functions(self, counts: Counts) -> tuple[FunctionCost, ...]:
        cycles = self._cycles(counts).sum(axis=0)
        instructions = counts.executions_of_keys().astype(np.float64) * self.prices.instructions
        blocks = counts.keys[:, -1]
        by_block_cycles = np.bincount(blocks, cycles, len(counts.block_address))
        by_block_instructions = np.bincount(blocks, instructions, len(counts.block_address))
        totals: dict[str, list[float]] = {}
        for block in np.flatnonzero(by_block_instructions):
            function = self.image.function_at(int(counts.block_address[block]))
            name = function.shown if function else f"{int(counts.block_address[block]):#010x}"
            total = totals.setdefault(name, [0.0, 0.0])
            total[0] += by_block_instructions[block]
            total[1] += by_block_cycles[block]
        ranked = sorted(totals.items(), key=lambda item: -item[1][1])
        return tuple(FunctionCost(name, round(values[0]), round(values[1])) for name, values in ranked)

    def layers(self, number: int, model: Model, times: int = 1) -> tuple[LayerCost, ...]:
        """The cost of each operator of the plan inside a region that ran ``times`` times, for one time."""
        counts = self.run.counts(number, layers=len(model.operators))
        cycles = self._cycles(counts).sum(axis=1)
        instructions = counts.executions.astype(np.float64) @ self.prices.instructions.astype(np.float64)
        costs = []
        for operator in model.operators:
            mine = round(float(cycles[operator.index + 1]) / times)
            costs.append(
                LayerCost(
                    index=operator.index,
                    name=operator.label,
                    op=operator.name,
                    instructions=round(float(instructions[operator.index + 1]) / times),
                    cycles=mine,
                    macs=operator.macs,
                    cycles_per_mac=round(mine / operator.macs, 3) if operator.macs else None,
                    inputs=tuple(t.shape for t in operator.inputs if t is not None),
                    outputs=tuple(t.shape for t in operator.outputs),
                )
            )
        return tuple(costs)

    def blocks(self, number: int | None) -> Sequence[tuple[int, int, float]]:
        """(address, executions, cycles) of every block of a region, dearest first."""
        counts = self.run.counts(number)
        cycles = self._cycles(counts).sum(axis=0)
        executions = counts.executions_of_keys()
        blocks = counts.keys[:, -1]
        size = len(counts.block_address)
        total, times = np.bincount(blocks, cycles, size), np.bincount(blocks, executions, size)
        return [(int(counts.block_address[b]), int(times[b]), float(total[b])) for b in np.argsort(-total) if times[b]]
