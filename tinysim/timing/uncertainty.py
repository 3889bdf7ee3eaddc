"""What the parameters that no source settles mean for one result."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np

from tinysim.core import Core
from tinysim.counts import Counts
from tinysim.timing.paths import Paths, ReadCode, lay_out
from tinysim.timing.pricing import price_paths

__all__ = ["ErrorBound", "ParameterEffect", "error_bound", "parameter_effects", "region_cycles"]

SHOWN_PERCENT = 0.1
"""Effects from here on are named in the basis of a bound."""


@dataclass(frozen=True, slots=True)
class ParameterEffect:
    """Cycles of the region with one open parameter at either end of its range, all others as they are."""

    name: str
    cycles_low: float
    cycles_high: float

    def percent(self, cycles: float) -> float:
        """The larger deviation from ``cycles``, in percent of it."""
        return 100 * max(abs(self.cycles_low - cycles), abs(self.cycles_high - cycles)) / cycles if cycles else 0.0


@dataclass(frozen=True, slots=True)
class ErrorBound:
    """``bound_percent``: the core's own bound and the effects of open parameters, added as independent errors."""

    bound_percent: float
    basis: str


def region_cycles(paths: Paths, counts: Counts, core: Core) -> float:
    """Cycles of all keys of all phases, mispredictions included."""
    prices = price_paths(paths, counts, core)
    cycles = float(counts.executions_of_keys().astype(np.float64) @ prices.cycles)
    if counts.mispredictions.size:
        cycles += float(counts.mispredictions.sum(axis=0) @ prices.misprediction_cycles)
    return cycles


def parameter_effects(counts: Counts, read_code: ReadCode, core: Core) -> tuple[ParameterEffect, ...]:
    """What each open parameter is worth on these counts, largest first; those without effect are left out.

    Raises what :func:`tinysim.timing.price` raises.
    """
    paths = lay_out(counts, read_code, core)
    cycles = region_cycles(paths, counts, core)
    effects = []
    for parameter in core.open_parameters:
        low, high = (
            cycles if end == parameter.value else region_cycles(paths, counts, core.with_values({parameter.name: end}))
            for end in (parameter.low, parameter.high)
        )
        if low != cycles or high != cycles:
            effects.append(ParameterEffect(parameter.name, min(low, high, cycles), max(low, high, cycles)))
    return tuple(sorted(effects, key=lambda effect: -effect.percent(cycles)))


def error_bound(counts: Counts, read_code: ReadCode, core: Core) -> ErrorBound:
    """The error to state with the price of these counts on ideal memory, and what it rests on."""
    cycles = region_cycles(lay_out(counts, read_code, core), counts, core)
    effects = parameter_effects(counts, read_code, core)
    percents = [effect.percent(cycles) for effect in effects]
    bound = sqrt(core.error_bound_percent**2 + sum(percent**2 for percent in percents))
    shown = [
        f"{effect.name} {percent:.1f} %"
        for effect, percent in zip(effects, percents, strict=True)
        if percent >= SHOWN_PERCENT
    ]
    basis = core.error_basis + (f"; open parameters: {', '.join(shown)}" if shown else "")
    return ErrorBound(round(bound, 2), basis)
