"""From what ran to what it costs: sums by region, cause, function and layer, whether keys were priced or a stream."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tinysim.core import Core, Pipeline
from tinysim.engine.run import Run
from tinysim.image import Image
from tinysim.model import Model
from tinysim.result import ErrorBound, FunctionCost, LayerCost, RegionCost
from tinysim.timing import Prices, division, price
from tinysim.timing.causes import Cause
from tinysim.timing.exceptions import ExceptionPrices
from tinysim.timing.stream import StreamCosts

if TYPE_CHECKING:
    from tinysim.memory.pricers import MemoryPricers

__all__ = ["Costs", "Estimate", "stated_error", "whole"]


def whole(parts: Mapping[str, float]) -> dict[str, int]:
    """Round the parts of a sum to whole numbers that still add up to the rounded sum (largest remainder)."""
    floors = {name: int(np.floor(value)) for name, value in parts.items()}
    missing = round(sum(parts.values())) - sum(floors.values())
    order = sorted(parts, key=lambda name: floors[name] - parts[name])
    for name in order[:missing]:
        floors[name] += 1
    return floors


def _sums(places: NDArray[np.int64], values: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """The sum of the values at each of ``count`` places."""
    return np.bincount(places, values, count).astype(np.float64)


def _executions(run: Run) -> NDArray[np.float64]:
    """How often each block ran in each phase, shape (phases, blocks)."""
    phases, blocks = len(run.phases), len(run.block_address)
    place = run.phase * blocks + run.keys[run.key, -1]
    return _sums(place, run.executions.astype(np.float64), phases * blocks).reshape(phases, blocks)


@dataclass(frozen=True, slots=True)
class Costs:
    """Cycles of a Run by phase. ``by_cause``: shape (phases, causes); ``by_block``: shape (phases, blocks); both sum to
    the same.

    ``history_cycles``: shape (phases,), what a branch predictor with history would add to (or, negative, take from)
    each phase.
    """

    causes: tuple[str, ...]
    by_cause: NDArray[np.float64]
    by_block: NDArray[np.float64]
    history_cycles: NDArray[np.float64]

    @classmethod
    def of_keys(cls, run: Run, prices: Prices) -> Costs:
        """From the price of each key and how often it ran in each phase."""
        phases, blocks = len(run.phases), len(run.block_address)
        causes = tuple(dict.fromkeys([*prices.causes, Cause.MISPREDICTION.value]))
        executions = run.executions.astype(np.float64)
        missed = run.mispredictions * prices.misprediction_cycles[run.key]
        history = run.mispredictions_history * prices.misprediction_cycles[run.key]
        by_cause = np.zeros((phases, len(causes)))
        for number in range(len(prices.causes)):
            by_cause[:, number] = np.bincount(run.phase, executions * prices.by_cause[run.key, number], phases)
        by_cause[:, causes.index(Cause.MISPREDICTION.value)] += np.bincount(run.phase, missed, phases)
        cycles = executions * prices.cycles[run.key] + missed
        place = run.phase * blocks + run.keys[run.key, -1]
        by_block = _sums(place, cycles, phases * blocks).reshape(phases, blocks)
        return cls(causes, by_cause, by_block, _sums(run.phase, history - missed, phases))

    @classmethod
    def of_stream(cls, run: Run, costs: StreamCosts) -> Costs:
        """From the price of a recorded stream."""

        def fitted(values: NDArray[Any], *shape: int) -> NDArray[np.float64]:
            result = np.zeros(shape)
            result[tuple(slice(n) for n in values.shape)] = values
            return result

        phases = len(run.phases)
        return cls(
            costs.causes,
            fitted(costs.by_cause, phases, len(costs.causes)),
            fitted(costs.by_block, phases, len(run.block_address)),
            fitted(costs.history_cycles, phases),
        )

    def with_events(self, run: Run, exceptions: ExceptionPrices) -> Costs:
        """The same with exceptions, on their handlers' first blocks, and waiting, on the blocks that waited."""
        causes = tuple(dict.fromkeys((*self.causes, Cause.EXCEPTION.value, Cause.WAITING.value)))
        by_cause = np.zeros((len(self.by_cause), len(causes)))
        by_cause[:, : len(self.causes)] = self.by_cause
        by_block = self.by_block.copy()
        for count in run.exceptions:
            cycles = exceptions.cycles(count)
            by_cause[count.phase, causes.index(Cause.EXCEPTION.value)] += cycles
            by_block[count.phase, int(np.argmax(run.block_address == count.handler))] += cycles
        for (phase, block), cycles in run.waits.items():
            by_cause[phase, causes.index(Cause.WAITING.value)] += cycles
            by_block[phase, block] += cycles
        return Costs(causes, by_cause, by_block, self.history_cycles)

    def with_divisions(self, run: Run, executions: NDArray[np.float64], core: Core) -> Costs:
        """The same with divisions by the operands seen in place of the core's flat value. ``executions``: shape
        (phases, blocks).
        """
        if core.pipeline is not Pipeline.SINGLE_ISSUE or not run.divisions:
            return self
        by_cause, by_block = self.by_cause.copy(), self.by_block.copy()
        change = division.cycles_by_quotient_bits(core) - core.value("division")
        ends = run.block_address.astype(np.int64) + run.block_size
        for address, histogram in run.divisions.items():
            each = float(histogram @ change) / float(histogram.sum())
            inside = (run.block_address <= address) & (address < ends)
            cycles = executions * inside * each
            by_block += cycles
            by_cause[:, self.causes.index(Cause.DIVISION.value)] += cycles.sum(axis=1)
        return Costs(self.causes, by_cause, by_block, self.history_cycles)


@dataclass(frozen=True)
class Estimate:
    """A Run with its costs: what every region, function and layer takes on a core, at any clock.

    ``block_instructions``: shape (blocks,).
    """

    run: Run
    costs: Costs
    block_instructions: NDArray[np.int64]
    image: Image

    @classmethod
    def of(cls, run: Run, image: Image, core: Core, read_code: Callable[[int, int], bytes] | None = None) -> Estimate:
        """Price a run on ideal memory, key by key.

        Raises UnpricedError for an instruction the core's data has no price for.
        """
        prices = price(run.counts(), read_code or image.read, core)
        instructions = np.zeros(len(run.block_address), np.int64)
        instructions[run.keys[:, -1]] = prices.instructions
        costs = Costs.of_keys(run, prices)
        if run.exceptions or run.waits:
            costs = costs.with_events(run, ExceptionPrices.of(core))
        return cls(run, costs, instructions, image)

    @classmethod
    def of_stream(cls, run: Run, image: Image, costs: StreamCosts, core: Core | None = None) -> Estimate:
        """A run whose stream was priced while it ran. ``core``: prices what the stream does not show, exceptions and
        the operands of divisions; without it divisions take the flat value and there must be no exceptions.
        """
        instructions = np.zeros(len(run.block_address), np.int64)
        instructions[: len(costs.block_instructions)] = costs.block_instructions
        total = Costs.of_stream(run, costs)
        if core is not None:
            total = total.with_divisions(run, _executions(run), core)
            if run.exceptions or run.waits:
                total = total.with_events(run, ExceptionPrices.of(core))
        return cls(run, total, instructions, image)

    @cached_property
    def block_executions(self) -> NDArray[np.float64]:
        """How often each block ran in each phase, shape (phases, blocks)."""
        return _executions(self.run)

    def _phases(self, number: int | None) -> list[int]:
        return self.run.phases_of(number)

    def region(
        self, number: int | None, clock_hz: int, *, name: str = "program", stack_top: int | None = None
    ) -> RegionCost:
        """The cost of a region (None: the whole run) at a clock."""
        phases = self._phases(number)
        by_cause = self.costs.by_cause[phases].sum(axis=0)
        breakdown = whole({cause: float(n) for cause, n in zip(self.costs.causes, by_cause, strict=True) if n})
        cycles = sum(breakdown.values())
        other = cycles + round(float(self.costs.history_cycles[phases].sum()))
        instructions = self.block_executions[phases].sum(axis=0) * self.block_instructions
        return RegionCost(
            name=name,
            calls=self.run.calls[number] if number is not None else 1,
            instructions=int(instructions.sum()),
            cycles=cycles,
            latency_s=cycles / clock_hz,
            breakdown=dict(sorted(breakdown.items(), key=lambda item: -item[1])),
            functions=self._functions(self.costs.by_block[phases].sum(axis=0), instructions),
            cycles_low=min(cycles, other),
            cycles_high=max(cycles, other),
            stack_peak_bytes=None if stack_top is None else self.run.stack_peak_bytes(number, stack_top),
        )

    def _functions(self, cycles: NDArray[np.float64], instructions: NDArray[np.float64]) -> tuple[FunctionCost, ...]:
        totals: dict[str, list[float]] = {}
        for block in np.flatnonzero(instructions):
            function = self.image.function_at(int(self.run.block_address[block]))
            name = function.shown if function else f"{int(self.run.block_address[block]):#010x}"
            total = totals.setdefault(name, [0.0, 0.0])
            total[0] += instructions[block]
            total[1] += cycles[block]
        ranked = sorted(totals.items(), key=lambda item: -item[1][1])
        return tuple(FunctionCost(name, round(values[0]), round(values[1])) for name, values in ranked)

    def layers(self, number: int, model: Model) -> tuple[LayerCost, ...]:
        """The cost of each operator of the plan inside a region."""
        layer_of = {p: self.run.layer_of(p) for p in self._phases(number)}
        instructions = self.block_executions @ self.block_instructions
        costs = []
        for operator in model.operators:
            phases = [p for p, layer in layer_of.items() if layer == operator.index]
            cycles = round(float(self.costs.by_cause[phases].sum()))
            costs.append(
                LayerCost(
                    index=operator.index,
                    name=operator.label,
                    op=operator.name,
                    instructions=round(float(instructions[phases].sum())),
                    cycles=cycles,
                    macs=operator.macs,
                    cycles_per_mac=round(cycles / operator.macs, 3) if operator.macs else None,
                    inputs=tuple(t.shape for t in operator.inputs if t is not None),
                    outputs=tuple(t.shape for t in operator.outputs),
                )
            )
        return tuple(costs)

    def blocks(self, number: int | None) -> Sequence[tuple[int, int, float]]:
        """(address, executions, cycles) of every block of a region, dearest first."""
        phases = self._phases(number)
        times, cycles = self.block_executions[phases].sum(axis=0), self.costs.by_block[phases].sum(axis=0)
        return [
            (int(self.run.block_address[b]), int(times[b]), float(cycles[b])) for b in np.argsort(-cycles) if times[b]
        ]


def stated_error(
    estimate: Estimate,
    pricers: MemoryPricers | None,
    core: Core,
    region: int | None,
    read_code: Callable[[int, int], bytes],
) -> ErrorBound:
    """The error to state beside an estimate of a region: what the part's memory was measured to be off by, or on ideal
    memory what the core's rules are, and what its open parameters are worth on this code.
    """
    if pricers is not None and not pricers.ideal:
        return ErrorBound(*pricers.error_bound(core))
    from tinysim.timing.uncertainty import error_bound

    bound = error_bound(estimate.run.counts(region), read_code, core)
    return ErrorBound(bound.bound_percent, bound.basis)
