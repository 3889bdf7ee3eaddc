"""The founding benchmark as data: its models, its targets as parts of the catalogue, its published figures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tinysim.data import platforms_folder
from tinysim.errors import InputError
from tinysim.part import Confidence
from tinysim.tomlfile import Table, read_toml
from tinysim.units import parse_seconds

__all__ = ["PublishedFigure", "SeedModel", "SeedTarget", "Seeds", "load_seeds"]

SCHEMA = "tinysim.seeds/1"


@dataclass(frozen=True, slots=True)
class SeedModel:
    """One model of the benchmark. ``name`` is the stem of our own builds of it in examples/models."""

    name: str
    title: str
    input: str
    architecture: str
    parameters: int
    macs: int
    weights_bytes: int
    activations_bytes: int
    differences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SeedTarget:
    """One microcontroller of the benchmark, and the part that stands for it: ``why`` says why this one."""

    name: str
    title: str
    part: str
    clock_hz: int
    published_as: str
    why: str
    source: str
    confidence: Confidence


@dataclass(frozen=True, slots=True)
class PublishedFigure:
    """What was published for a model on a target. ``rounding_s``: the step the latency was rounded to."""

    model: str
    target: str
    latency_s: float
    rounding_s: float
    flash_bytes: int
    ram_bytes: int


@dataclass(frozen=True, slots=True)
class Seeds:
    """The whole benchmark: ``figures`` has one for each model and target."""

    models: tuple[SeedModel, ...]
    targets: tuple[SeedTarget, ...]
    figures: tuple[PublishedFigure, ...]
    source: str
    runtime: str
    compiler: str
    conditions: str
    differences: tuple[str, ...]

    def figure(self, model: str, target: str) -> PublishedFigure:
        """The published figure of a model on a target. Raises KeyError."""
        for figure in self.figures:
            if (figure.model, figure.target) == (model, target):
                return figure
        raise KeyError((model, target))


def load_seeds(path: Path | None = None) -> Seeds:
    """Read the benchmark's file, the shipped one unless given. Raises PartError with file, line and field."""
    root = read_toml(path or platforms_folder() / "seeds.toml")
    if root.string("schema") != SCHEMA:
        raise root.error(f"this is not a {SCHEMA} file", "schema")
    models = tuple(_model(table) for table in root.tables("model"))
    targets = tuple(_target(table) for table in root.tables("target"))
    known = {model.name for model in models}, {target.name for target in targets}
    figures = tuple(_figure(table, *known) for table in root.tables("published"))
    pairs = [(figure.model, figure.target) for figure in figures]
    if len(pairs) != len(set(pairs)) or len(pairs) != len(models) * len(targets):
        raise root.error("there must be one published row for each model and target", "published")
    found = Seeds(
        models,
        targets,
        figures,
        root.string("source"),
        root.string("runtime"),
        root.string("compiler"),
        root.string("conditions"),
        root.strings("differences"),
    )
    root.close()
    return found


def _model(table: Table) -> SeedModel:
    table.string("source")
    table.choice("confidence", Confidence)
    found = SeedModel(
        table.string("name"),
        table.string("title"),
        table.string("input"),
        table.string("architecture"),
        table.integer("parameters", low=1),
        table.integer("macs", low=1),
        table.integer("weights_bytes", low=1),
        table.integer("activations_bytes", low=1),
        table.strings("differences") if "differences" in table else (),
    )
    table.close()
    return found


def _target(table: Table) -> SeedTarget:
    found = SeedTarget(
        table.string("name"),
        table.string("title"),
        table.string("part"),
        table.hz("clock"),
        table.string("published_as"),
        table.string("why"),
        table.string("source"),
        table.choice("confidence", Confidence),
    )
    table.close()
    return found


def _seconds(table: Table, key: str) -> float:
    try:
        return parse_seconds(table.string(key))
    except InputError as error:
        raise table.error(error.message, key, hint=error.hint) from error


def _figure(table: Table, models: set[str], targets: set[str]) -> PublishedFigure:
    for key, names in (("model", models), ("target", targets)):
        if table.string(key) not in names:
            raise table.error(f"no {key} {table.string(key)!r}", key, hint=f"there are {', '.join(sorted(names))}")
    found = PublishedFigure(
        table.string("model"),
        table.string("target"),
        _seconds(table, "latency"),
        _seconds(table, "rounded_to"),
        table.integer("flash_bytes", low=1),
        table.integer("ram_bytes", low=1),
    )
    table.close()
    return found
