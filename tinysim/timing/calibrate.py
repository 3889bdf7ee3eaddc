"""Fits a core's open parameters to cycles that someone measured on a board."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod

import numpy as np
from numpy.typing import NDArray

from tinysim.core import Core, Parameter
from tinysim.counts import Counts
from tinysim.errors import InputError
from tinysim.timing.paths import Paths, ReadCode, lay_out
from tinysim.timing.uncertainty import region_cycles

__all__ = ["Calibration", "Measurement", "calibrate", "write_core"]

MOST_COMBINATIONS = 20_000
"""Beyond this many combinations of values parameters are fitted one at a time, round after round."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """One program on the board: what ran (Counts, from the same binary) and the cycles it took, on zero-wait memory."""

    name: str
    counts: Counts
    read_code: ReadCode
    cycles: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """``values`` of the fitted parameters, the core with them, and relative errors in percent by measurement, before
    and after.
    """

    values: Mapping[str, int]
    core: Core
    before_percent: Mapping[str, float]
    after_percent: Mapping[str, float]

    @property
    def mean_error_percent(self) -> float:
        """Mean absolute error after fitting."""
        return float(np.mean([abs(error) for error in self.after_percent.values()]))


class _Fit:
    """Predicts all measurements for given parameter values; each combination is priced once."""

    def __init__(self, core: Core, measurements: Sequence[Measurement]) -> None:
        self._core = core
        self._measurements = measurements
        self._paths: list[Paths] = [lay_out(m.counts, m.read_code, core) for m in measurements]
        self._measured = np.array([m.cycles for m in measurements])
        self._known: dict[tuple[tuple[str, int], ...], NDArray[np.float64]] = {}

    def errors(self, values: Mapping[str, int]) -> NDArray[np.float64]:
        """Relative errors, shape (measurements,)."""
        key = tuple(sorted(values.items()))
        if key not in self._known:
            core = self._core.with_values(values)
            predicted = [
                region_cycles(paths, m.counts, core) for paths, m in zip(self._paths, self._measurements, strict=True)
            ]
            self._known[key] = np.array(predicted) / self._measured - 1
        return self._known[key]

    def loss(self, values: Mapping[str, int]) -> tuple[float, int]:
        """Sum of squares; at a tie the values nearest to the core's own win."""
        distance = sum(abs(value - self._core.value(name)) for name, value in values.items())
        return float(np.round((self.errors(values) ** 2).sum(), 12)), distance


def calibrate(core: Core, measurements: Sequence[Measurement], names: Sequence[str] | None = None) -> Calibration:
    """Chooses the open parameters (``names``, or all that matter) within their ranges by least squares of relative
    errors.

    Raises InputError when there are no measurements, when a name is no open parameter, when a parameter changes none
    of the measurements, or when they do not tell the parameters apart: more parameters than independent measurements.
    """
    if not measurements:
        raise InputError("no measurements to calibrate with", hint="give at least one (program, cycles) pair")
    for measurement in measurements:
        if not measurement.cycles > 0:
            raise InputError(f"{measurement.name}: {measurement.cycles} cycles", hint="give what was measured, above 0")
    open_names = [parameter.name for parameter in core.open_parameters]
    for name in names or ():
        if name not in open_names:
            raise InputError(f"{name!r} is no open parameter of {core.title}", hint=f"open: {', '.join(open_names)}")
    fit = _Fit(core, measurements)
    chosen = [core.parameters[name] for name in names or open_names]
    effects = {parameter.name: _effect(fit, parameter) for parameter in chosen}
    silent = [name for name, effect in effects.items() if not effect.any()]
    if names and silent:
        raise InputError(
            f"the measurements do not depend on {', '.join(silent)}", hint="leave it out, or measure code that uses it"
        )
    chosen = [parameter for parameter in chosen if parameter.name not in silent]
    if not chosen:
        raise InputError("the measurements depend on no open parameter", hint="measure other code")
    rank = int(np.linalg.matrix_rank(np.array([effects[p.name] for p in chosen]), tol=1e-6))
    if rank < len(chosen):
        raise InputError(
            f"{len(chosen)} parameters ({', '.join(p.name for p in chosen)}) but {rank} independent "
            f"measurement{'s' if rank != 1 else ''}",
            hint="name fewer parameters, or measure more programs that differ in them",
        )
    values = _search(fit, chosen)
    labels = [measurement.name for measurement in measurements]
    before = dict(zip(labels, (100 * fit.errors({})).tolist(), strict=True))
    after = dict(zip(labels, (100 * fit.errors(values)).tolist(), strict=True))
    return Calibration(values, core.with_values(values), before, after)


def _effect(fit: _Fit, parameter: Parameter) -> NDArray[np.float64]:
    """How the range of a parameter moves each measurement, shape (measurements,)."""
    low, high = fit.errors({parameter.name: parameter.low}), fit.errors({parameter.name: parameter.high})
    effect: NDArray[np.float64] = high - low
    return effect


def _search(fit: _Fit, chosen: Sequence[Parameter]) -> dict[str, int]:
    ranges = [range(parameter.low, parameter.high + 1) for parameter in chosen]
    names = [parameter.name for parameter in chosen]
    if prod(map(len, ranges)) <= MOST_COMBINATIONS:
        combinations = (dict(zip(names, values, strict=True)) for values in product(*ranges))
        return min(combinations, key=fit.loss)
    best = {parameter.name: parameter.value for parameter in chosen}
    while True:
        before = dict(best)
        for name, values in zip(names, ranges, strict=True):
            best = min(({**best, name: value} for value in values), key=fit.loss)
        if best == before:
            return best


def write_core(calibration: Calibration, name: str, measurements: Sequence[Measurement]) -> str:
    """The text of a core file with the fitted values, each with its new source; everything else as in the core's own
    file.
    """
    programs = ", ".join(measurement.name for measurement in measurements)
    source = f"calibrated against {programs}: {calibration.mean_error_percent:.2f} % mean error"
    lines = []
    table = ""
    for line in calibration.core.path.read_text(encoding="utf-8").splitlines():
        if header := re.match(r"\s*\[+\s*([^\]]+?)\s*\]+", line):
            table = header[1]
        parameter = table.removeprefix("parameters.")
        key = line.split("=")[0].strip()
        if not table and key == "name":
            line = f'name = "{name}"'
        elif table.startswith("parameters.") and parameter in calibration.values:
            if key == "value":
                line = f"value = {calibration.values[parameter]}"
            elif key == "source":
                line = f'source = "{source}"'
            elif key == "confidence":
                line = 'confidence = "fit"'
        lines.append(line)
    return "\n".join(lines) + "\n"
