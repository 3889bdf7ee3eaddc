"""Baselines: results kept under a name, and what has grown or shrunk since.

A baseline is a JSON file of Results, ``.tinysim/baselines/NAME.json`` of the current folder. Runs are deterministic,
so any difference comes from the program, the part's data or tinysim itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePath
from typing import Any

from tinysim.errors import InputError
from tinysim.result import RegionCost, Result

__all__ = ["FOLDER", "Change", "Comparison", "Metric", "Pair", "Scope", "compare", "load", "names", "save"]

SCHEMA = "tinysim.baseline/1"
FOLDER = Path(".tinysim") / "baselines"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


# -- files -----------------------------------------------------------------------------------------------------------


def _path(name: str, folder: Path) -> Path:
    if not _NAME.fullmatch(name):
        raise InputError(
            f"{name!r} cannot name a baseline", hint="use letters, digits, dots, dashes and underscores, such as main"
        )
    return folder / f"{name}.json"


def save(name: str, results: Sequence[Result], folder: Path = FOLDER, *, force: bool = False) -> Path:
    """Keep results under a name. Raises InputError when there is a baseline of this name already and ``force`` is not
    set.
    """
    path = _path(name, folder)
    if not results:
        raise InputError("there is no result to keep", hint="pass a file that tinysim wrote with --json")
    if path.exists() and not force:
        raise InputError(
            f"there is a baseline {name!r} already ({path})", hint="replace it with --force, or choose another name"
        )
    document = {"schema": SCHEMA, "name": name, "results": [_kept(result) for result in results]}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        part.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise InputError(
            f"cannot write {path}: {error.strerror}", hint="check the folder, or choose one with --dir"
        ) from error
    return path


def _kept(result: Result) -> dict[str, Any]:
    """A result without its call trees: they are long, and compared by function."""
    record = result.to_dict()
    for region in record["regions"]:
        region["profile"] = None
    return record


def load(name: str, folder: Path = FOLDER) -> list[Result]:
    """The results of a baseline. Raises InputError when there is none of this name (the message lists those there
    are).
    """
    path = _path(name, folder)
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        known = ", ".join(names(folder))
        hint = f"there are: {known}" if known else f"make it: tinysim baseline save {name} RESULTS.json"
        raise InputError(f"no baseline {name!r} in {folder}", hint=hint) from error
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read the baseline {path}: {error}", hint="save it again with --force") from error
    if (
        not isinstance(document, dict)
        or document.get("schema") != SCHEMA
        or not isinstance(document.get("results"), list)
    ):
        raise InputError(f"{path} is not a {SCHEMA} file", hint="save it again with --force")
    return [Result.from_dict(item) for item in document["results"]]


def names(folder: Path = FOLDER) -> list[str]:
    """The baselines there are, by name."""
    return sorted(path.stem for path in folder.glob("*.json") if _NAME.fullmatch(path.stem))


# -- comparing -------------------------------------------------------------------------------------------------------


class Metric(StrEnum):
    """What is compared; all of them are better when smaller."""

    CYCLES = "cycles"
    FLASH = "flash"
    RAM = "RAM"
    STACK = "stack"
    ARENA = "arena"

    @property
    def unit(self) -> str:
        """The unit of its values."""
        return "cycles" if self is Metric.CYCLES else "bytes"


class Scope(StrEnum):
    """Where something changed. Regions and the program decide about a regression; functions and layers say where it
    comes from.
    """

    PROGRAM = "program"
    REGION = "region"
    FUNCTION = "function"
    LAYER = "layer"


@dataclass(frozen=True, slots=True)
class Change:
    """One value before and after; None where it was not there. ``region``: the region a function was measured in."""

    scope: Scope
    metric: Metric
    name: str
    before: int | None
    after: int | None
    region: str = ""

    @property
    def delta(self) -> int:
        """How much it grew; what is new has grown from nothing."""
        return (self.after or 0) - (self.before or 0)

    @property
    def percent(self) -> float | None:
        """How much it grew in percent of what it was, or None where it was nothing."""
        return 100 * self.delta / self.before if self.before and self.after is not None else None

    def worse_than(self, percent: float) -> bool:
        """Whether it grew by more than so many percent. What was nothing, and is now, did; what is not measured any
        more did not.
        """
        if self.before is None or self.after is None:
            return False
        return self.delta > self.before * percent / 100

    def __str__(self) -> str:
        share = f"{self.percent:+.2f} %" if self.percent is not None else f"{self.delta:+,}"
        before, after = (f"{value:,}" if value is not None else "none" for value in (self.before, self.after))
        return f"{self.name}: {self.metric} {share} ({before} -> {after})"


@dataclass(frozen=True, slots=True)
class Pair:
    """A result beside the one of the baseline. ``remarks``: how the two differ in what they were measured with."""

    before: Result
    after: Result
    changes: tuple[Change, ...]
    remarks: tuple[str, ...]
    answers_broke: bool

    @property
    def title(self) -> str:
        """What was measured, for people."""
        return f"{_subject(self.after)} on {self.after.part}"

    def regressions(self, percent: float) -> list[Change]:
        """What decides and grew by more than so many percent, worst first."""
        deciding = [c for c in self.changes if c.scope in (Scope.PROGRAM, Scope.REGION) and c.worse_than(percent)]
        return sorted(deciding, key=lambda c: (-(c.percent or 0.0), c.name))

    def culprits(self, region: str | None = None, most: int = 3) -> list[Change]:
        """The functions (of a region) whose own cycles grew most."""
        grown = [c for c in self.changes if c.scope is Scope.FUNCTION and c.delta > 0 and region in (None, c.region)]
        return sorted(grown, key=lambda c: (-c.delta, c.name))[:most]


@dataclass(frozen=True, slots=True)
class Comparison:
    """All results beside their baseline. ``missing``: in the baseline only; ``added``: measured only this time."""

    baseline: str
    pairs: tuple[Pair, ...]
    missing: tuple[str, ...]
    added: tuple[str, ...]


def compare(name: str, before: Sequence[Result], after: Sequence[Result]) -> Comparison:
    """Put results beside those of a baseline: same model (or same regions), and as far as possible same part, clock,
    kernels, file.

    Raises InputError when nothing of the two can be compared.
    """
    left, pairs = list(before), []
    added = []
    for result in sorted(after, key=lambda r: -max((_likeness(b, r) for b in before), default=0)):
        candidates = [b for b in left if _likeness(b, result) > 0]
        if not candidates:
            added.append(_described(result))
            continue
        best = max(candidates, key=lambda b: _likeness(b, result))
        left.remove(best)
        pairs.append(_pair(best, result))
    if not pairs:
        had, got = (
            ", ".join(dict.fromkeys(_described(r) for r in results)) or "nothing" for results in (before, after)
        )
        raise InputError(
            f"nothing to compare: the baseline {name!r} holds {had}; measured is {got}",
            hint="measure the same model or regions",
        )
    order = {id(result): number for number, result in enumerate(after)}
    pairs.sort(key=lambda pair: order[id(pair.after)])
    return Comparison(name, tuple(pairs), tuple(_described(b) for b in left), tuple(added))


def _subject(result: Result) -> str:
    return result.model or PurePath(result.firmware.path).name


def _described(result: Result) -> str:
    regions = "" if result.model else f" ({', '.join(region.name for region in result.regions)})"
    return f"{_subject(result)}{regions} on {result.part} at {result.clock_hz / 1e6:g} MHz"


def _likeness(before: Result, after: Result) -> int:
    """How alike two measurements are; 0: another model, or no region in common."""
    if before.model != after.model:
        return 0
    if not {r.name for r in before.regions} & {r.name for r in after.regions}:
        return 0
    score = 1
    for weight, (_, value) in zip((64, 32, 16, 8, 4, 2), _CONDITIONS.items(), strict=False):
        score += weight * (value(before) == value(after))
    return 2 * score + (_subject(before) == _subject(after))


_CONDITIONS: Mapping[str, Callable[[Result], object]] = {
    "part": lambda r: r.part,
    "clock": lambda r: f"{r.clock_hz / 1e6:g} MHz",
    "kernels": lambda r: r.firmware.kernels,
    "compiler": lambda r: r.firmware.compiler,
    "optimisation": lambda r: r.firmware.opt,
    "floating point": lambda r: r.firmware.float_abi,
    "runtime": lambda r: r.firmware.runtime,
    "engine": lambda r: r.engine,
    "wait states": lambda r: r.wait_states,
}


def _remarks(before: Result, after: Result) -> Iterator[str]:
    for what, value in _CONDITIONS.items():
        had, has = (None if (v := value(result)) is None else str(v) for result in (before, after))
        if had != has:
            yield f"another {what}: {had or 'unknown'} in the baseline, {has or 'unknown'} here"


def _pair(before: Result, after: Result) -> Pair:
    changes = [
        Change(Scope.PROGRAM, Metric.FLASH, "flash", before.memory.flash_bytes, after.memory.flash_bytes),
        Change(Scope.PROGRAM, Metric.RAM, "RAM", before.memory.ram_bytes, after.memory.ram_bytes),
        Change(Scope.PROGRAM, Metric.STACK, "stack", before.memory.stack_peak_bytes, after.memory.stack_peak_bytes),
        Change(Scope.PROGRAM, Metric.ARENA, "tensor arena", before.memory.arena_bytes, after.memory.arena_bytes),
    ]
    remarks = list(_remarks(before, after))
    old = {region.name: region for region in before.regions}
    for region in after.regions:
        was = old.pop(region.name, None)
        if was is None:
            remarks.append(f"{region.name} is not in the baseline")
            continue
        if was.calls != region.calls:
            remarks.append(f"{region.name} was entered {was.calls:,} times in the baseline, {region.calls:,} here")
        changes += _region_changes(was, region)
    remarks += [f"{name} was not measured this time" for name in old]
    layers = {(layer.index, layer.op): layer for layer in before.layers}
    if [(x.index, x.op) for x in before.layers] != [(x.index, x.op) for x in after.layers]:
        remarks.append("the plan of operators is another one")
    for layer in after.layers:
        known = layers.pop((layer.index, layer.op), None)
        changes.append(
            Change(
                Scope.LAYER, Metric.CYCLES, f"{layer.index} {layer.name}", known.cycles if known else None, layer.cycles
            )
        )
    changes += [Change(Scope.LAYER, Metric.CYCLES, f"{x.index} {x.name}", x.cycles, None) for x in layers.values()]
    broke = bool(before.outputs and before.outputs.match and after.outputs and not after.outputs.match)
    present = tuple(c for c in changes if c.before is not None or c.after is not None)
    return Pair(before, after, present, tuple(remarks), broke)


def _region_changes(before: RegionCost, after: RegionCost) -> Iterator[Change]:
    yield Change(Scope.REGION, Metric.CYCLES, after.name, before.cycles, after.cycles)
    yield Change(Scope.REGION, Metric.STACK, after.name, before.stack_peak_bytes, after.stack_peak_bytes)
    old = {function.name: function.cycles for function in before.functions}
    for function in after.functions:
        yield Change(
            Scope.FUNCTION, Metric.CYCLES, function.name, old.pop(function.name, None), function.cycles, after.name
        )
    for name, cycles in old.items():
        yield Change(Scope.FUNCTION, Metric.CYCLES, name, cycles, None, after.name)
