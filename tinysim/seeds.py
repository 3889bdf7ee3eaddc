"""The founding benchmark: three networks on four microcontrollers, measured here beside what was published.

What was published, and which part stands for which target, is data with sources: ``platforms/seeds.toml``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from tinysim.bench import bench
from tinysim.data import models_folder, platforms_folder
from tinysim.errors import CapacityError, InputError
from tinysim.parallel import each
from tinysim.result import Published, Result
from tinysim.sizing import BuildOptions, Progress, silent
from tinysim.tomlfile import Table, read_toml

__all__ = ["NumberType", "Seed", "SeedRow", "Seeds", "Target", "load_seeds", "measure_seeds"]

SCHEMA = "tinysim.seeds/1"


class NumberType(StrEnum):
    """What a network computes with."""

    FLOAT32 = "float32"
    INT8 = "int8"


@dataclass(frozen=True, slots=True)
class Target:
    """One of the benchmark's microcontrollers. ``part``: what stands for it here, and ``why``.

    ``larger``: a part of the same core to show what does not fit; empty where the catalogue has none that reaches the
    clock.
    """

    name: str
    published_part: str
    core: str
    clock_hz: int
    part: str
    larger: str
    why: str


@dataclass(frozen=True, slots=True)
class Seed:
    """One of the benchmark's networks. ``latency_s``: as published, one for each target; sizes in bytes as
    published."""

    name: str
    file: str
    parameters: int
    latency_s: tuple[float, ...]
    flash_bytes: int
    ram_bytes: int
    differences: tuple[str, ...]

    def path(self, kind: NumberType, folder: Path) -> Path:
        """The network's .tflite file. Raises InputError when the folder has none."""
        path = folder / f"{self.file}_{kind}.tflite"
        if not path.is_file():
            raise InputError(f"there is no {path}", hint="examples/models/make_models.py makes the benchmark's models")
        return path


@dataclass(frozen=True, slots=True)
class Seeds:
    """The whole benchmark as data. ``differences``: what sets every published figure apart; ``int8``: those networks
    besides."""

    source: str
    method: str
    differences: tuple[str, ...]
    int8: str
    targets: tuple[Target, ...]
    models: tuple[Seed, ...]

    def published(self, seed: Seed, kind: NumberType, target: Target, part: str = "") -> Published:
        """What was published for a network on a target, and how that differs from a measurement here, on ``part``."""
        differences = (*((self.int8,) if kind is NumberType.INT8 else ()), *seed.differences, *self.differences)
        used = part or target.part
        if target.published_part.lower() != used:
            differences = (*differences, f"part: {target.published_part} there, {used} here")
        latency_s = seed.latency_s[self.targets.index(target)]
        return Published(latency_s, self.source, seed.flash_bytes, seed.ram_bytes, differences)


@dataclass(frozen=True, slots=True)
class SeedRow:
    """One line of the benchmark. ``note`` says what is short where the network does not fit the target's part.

    ``result`` is then of the target's larger part, or None where there is no such part.
    """

    seed: Seed
    kind: NumberType
    target: Target
    published: Published
    result: Result | None
    note: str = ""

    @property
    def comparable(self) -> bool:
        """Whether the published network computes with the same numbers."""
        return self.kind is NumberType.FLOAT32

    @property
    def latency_ratio(self) -> float | None:
        """Ours over the published latency; None where there is none to compare."""
        if self.result is None or not self.comparable:
            return None
        return self.result.latency_s / self.published.latency_s


def _target(table: Table) -> Target:
    found = Target(
        table.string("name"),
        table.string("published_part"),
        table.string("core"),
        table.hz("clock"),
        table.string("part"),
        table.string("larger") if "larger" in table else "",
        table.string("why"),
    )
    table.close()
    return found


def _seed(table: Table, targets: int) -> Seed:
    latency_us = table.get("latency_us")
    if (
        not isinstance(latency_us, list)
        or len(latency_us) != targets
        or not all(isinstance(us, int) and us > 0 for us in latency_us)
    ):
        raise table.error(f"must be {targets} whole numbers of microseconds, one for each target", "latency_us")
    found = Seed(
        table.string("name"),
        table.string("file"),
        table.integer("parameters", low=1),
        tuple(us / 1e6 for us in latency_us),
        table.integer("flash_bytes", low=1),
        table.integer("ram_bytes", low=1),
        table.strings("differences"),
    )
    table.close()
    return found


def load_seeds(path: Path | None = None) -> Seeds:
    """The benchmark from its file. Raises PartError, with file, line and field, for anything wrong in it."""
    root = read_toml(path or platforms_folder() / "seeds.toml")
    if root.string("schema") != SCHEMA:
        raise root.error(f"this is not a {SCHEMA} file", "schema")
    targets = tuple(_target(table) for table in root.tables("target"))
    seeds = Seeds(
        root.string("source"),
        root.string("method"),
        root.strings("differences"),
        root.string("int8"),
        targets,
        tuple(_seed(table, len(targets)) for table in root.tables("model")),
    )
    root.close()
    return seeds


def measure_seeds(
    *,
    kinds: Sequence[NumberType] = tuple(NumberType),
    options: BuildOptions | None = None,
    folder: Path | None = None,
    seeds: Seeds | None = None,
    progress: Progress = silent,
) -> list[SeedRow]:
    """Build, run and price every network on every target. ``folder`` holds the networks; default: those that come with
    tinysim.

    A network that does not fit is a row that says so. Raises InputError when a network's file is missing, and what
    `tinysim.bench` raises otherwise.
    """
    benchmark, models = seeds or load_seeds(), folder or models_folder()
    by_part: dict[str, list[Target]] = {}
    for target in benchmark.targets:
        by_part.setdefault(f"{target.part} {target.larger}", []).append(target)
    jobs = [(seed, kind, targets) for seed in benchmark.models for kind in kinds for targets in by_part.values()]

    def measure(job: tuple[Seed, NumberType, list[Target]]) -> list[SeedRow]:
        seed, kind, targets = job
        results, note = _fitting(seed.path(kind, models), targets, options, progress)
        rows = []
        found: Sequence[Result | None] = results or [None] * len(targets)
        for target, result in zip(targets, found, strict=True):
            published = benchmark.published(seed, kind, target, result.part if result else "")
            placed = None if result is None else dataclasses.replace(result, published=published)
            rows.append(SeedRow(seed, kind, target, published, placed, note))
        return rows

    first = len(by_part)  # the first network compiles the libraries that all others use
    measured = [measure(job) for job in jobs[:first]] + each(measure, jobs[first:])
    return [row for rows in measured for row in rows]


def _fitting(
    path: Path, targets: Sequence[Target], options: BuildOptions | None, progress: Progress
) -> tuple[list[Result] | None, str]:
    """A network on the part of some targets, or else on their larger part with what the first lacks, or else nothing
    but that."""
    notes: list[str] = []
    for part in filter(None, (targets[0].part, targets[0].larger)):
        try:
            return bench(
                path, part, clock=[target.clock_hz for target in targets], options=options, progress=progress
            ), "; ".join(notes)
        except CapacityError as error:
            notes.append(error.message)
    return None, "; ".join(notes)
