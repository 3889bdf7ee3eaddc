"""Whole networks that others measured on silicon, measured here as they were there, with the memory model whole and in
parts.

What was measured is data with sources: ``platforms/silicon.csv``; how each collection is built and run:
``platforms/validation.toml``. The networks are files named after their rows;
``examples/models/make_validation_models.py`` makes them.
"""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType

from tinysim.bench import Inputs, Job
from tinysim.core import Core, load_core
from tinysim.data import platforms_folder
from tinysim.engine.unicorn_machine import DEFAULT_BUDGET
from tinysim.errors import InputError, PartError
from tinysim.estimate import Estimate
from tinysim.image import load_image
from tinysim.memory.config import MemoryConfig, configure, ideal
from tinysim.memory.description import MemoryDescription
from tinysim.memory.pricers import MemoryOptions, MemoryPricers
from tinysim.memory.settings import read_settings, startup_writes
from tinysim.model import Model, load_model
from tinysim.part import Part, load_part
from tinysim.reference import compare, reference_outputs, seeded_inputs
from tinysim.result import RegionCost
from tinysim.sizing import BuildOptions, Progress, build_fitting, silent
from tinysim.tomlfile import Table, read_toml
from tinysim.toolchain import Opt

__all__ = [
    "CORE_ALONE",
    "WHOLE",
    "Layers",
    "Network",
    "Prediction",
    "ValidationSet",
    "load_validation",
    "mean_error",
    "memory_systems",
    "predict",
]

SCHEMA = "tinysim.validation/1"
WHOLE = "whole model"
"""The memory system as the part's file describes it and its start-up code sets it."""
CORE_ALONE = "core alone"
"""Memory without wait states, lines or bus effects."""


class Layers(StrEnum):
    """What a network spends its time in."""

    DENSE = "dense"
    CONVOLUTION = "convolution"


@dataclass(frozen=True, slots=True)
class Network:
    """One network as measured on silicon: ``cycles`` for one inference.

    ``chose``: whether a parameter of the model was chosen by looking at it. ``project_instructions``: what the
    published project itself executes in the timed window; None where it was not run. ``architecture``: as its source
    describes it.
    """

    id: str
    cycles: int
    parameters: int
    macs: int
    layers: Layers
    chose: bool
    project_instructions: int | None
    architecture: str
    source: str


@dataclass(frozen=True, slots=True)
class ValidationSet:
    """Networks that were measured under the same conditions.

    ``placement`` replaces the part's own where it says something. ``inferences``: how many run; the last one is
    compared.
    ``differences``: what is known to be otherwise here; ``causes``: what the larger errors come from, as far as
    something was measured.
    ``copy_cycles`` and ``copy_instructions``: what the published window takes beside the inference, for each input and
    output element.
    """

    name: str
    title: str
    source: str
    measured: str
    part: str
    clock_hz: int
    opt: Opt
    compilers: tuple[str, ...]
    inferences: int
    placement: Mapping[str, tuple[str, ...]]
    copy_cycles: int
    copy_instructions: int
    copy_source: str
    project_source: str
    differences: tuple[str, ...]
    causes: tuple[str, ...]
    networks: tuple[Network, ...]

    def load_part(self) -> Part:
        """The part, with things placed as they were."""
        part = load_part(self.part)
        return dataclasses.replace(part, placement=MappingProxyType({**part.placement, **self.placement}))

    def network(self, name: str) -> Network:
        """The network of a name. Raises InputError."""
        for network in self.networks:
            if network.id == name:
                return network
        raise InputError(f"{self.title} has no network {name!r}", hint="platforms/silicon.csv lists them")


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a network costs here. ``cycles``: of the published window, by memory system (`memory_systems`).

    ``inference`` is the cost of the inference alone on the whole model; ``copied``: elements that the window copies.
    """

    network: Network
    compiler: str
    instructions: int
    cycles: Mapping[str, int]
    inference: RegionCost
    copied: int
    outputs_match: bool

    @property
    def instructions_percent(self) -> float | None:
        """How many more instructions run here than in the published project, in percent of its; None where that was
        not run."""
        there = self.network.project_instructions
        return None if there is None else 100 * (self.instructions / there - 1)

    def error_percent(self, system: str = WHOLE) -> float:
        """Signed error of a memory system, of the measured cycles."""
        return 100 * (self.cycles[system] / self.network.cycles - 1)


def mean_error(predictions: Sequence[Prediction], system: str = WHOLE) -> tuple[float, float]:
    """(mean absolute error, mean signed error) in percent. Raises ValueError for no predictions."""
    if not predictions:
        raise ValueError("no predictions to average")
    errors = [prediction.error_percent(system) for prediction in predictions]
    return sum(map(abs, errors)) / len(errors), sum(errors) / len(errors)


def _networks(path: Path) -> dict[str, list[Network]]:
    """The rows of the table, by set. Raises PartError for a row that cannot be read."""
    found: dict[str, list[Network]] = {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for number, row in enumerate(csv.DictReader(file), 2):
                try:
                    network = Network(
                        row["id"],
                        int(row["cycles"]),
                        int(row["params"]),
                        int(row["macs"]),
                        Layers(row["layers"]),
                        {"yes": True, "no": False}[row["chose"]],
                        int(row["project_instructions"] or 0) or None,
                        row["model"],
                        row["source"],
                    )
                except (KeyError, TypeError, ValueError) as error:
                    raise PartError(f"{path}:{number}: {error}", hint="correct the row") from error
                found.setdefault(row["set"], []).append(network)
    except OSError as error:
        raise PartError(f"cannot read {path}", hint=str(error)) from error
    return found


def _set(table: Table, networks: Mapping[str, Sequence[Network]]) -> ValidationSet:
    name = table.string("name")
    placement = table.need("placement")
    found = ValidationSet(
        name,
        table.string("title"),
        table.string("source"),
        table.string("measured"),
        table.string("part"),
        table.hz("clock"),
        table.choice("opt", Opt),
        table.strings("compilers"),
        table.integer("inferences", low=1),
        MappingProxyType({role: placement.strings(role) for role in placement}),
        table.integer("copy_cycles"),
        table.integer("copy_instructions"),
        table.string("copy_source"),
        table.string("project_source") if table.peek("project_source") else str(table.get("project_source")),
        table.strings("differences"),
        table.strings("causes"),
        tuple(networks.get(name, ())),
    )
    if not found.networks:
        raise table.error("the table of measurements has no row of this set", "name")
    table.close()
    return found


def load_validation(path: Path | None = None) -> tuple[ValidationSet, ...]:
    """All collections. Raises PartError, with file, line and field, for anything wrong in the files."""
    root = read_toml(path or platforms_folder() / "validation.toml")
    if root.string("schema") != SCHEMA:
        raise root.error(f"this is not a {SCHEMA} file", "schema")
    networks = _networks(root.path.parent / root.string("table"))
    sets = tuple(_set(table, networks) for table in root.tables("set"))
    root.close(ignore=["unmeasured"])
    return sets


def memory_systems(part: Part, clock_hz: int) -> dict[str, MemoryConfig]:
    """The part's memory system whole, with one part of the model left out at a time, each variant its file names, and
    none at all.

    Raises PartError when the part has no data for the clock.
    """
    described = part.memory
    settings = read_settings(described, startup_writes(part, clock_hz))
    systems = {WHOLE: configure(part, (), clock_hz, settings=settings)}

    def add(name: str, description: MemoryDescription | None = None, **changes: object) -> None:
        systems[name] = configure(part, (), clock_hz, settings=settings.replace(**changes), description=description)

    if described is not None:
        if any(path.first_load_cycles for path in described.paths):
            add(
                "without the first-load cycle",
                dataclasses.replace(
                    described, paths=tuple(dataclasses.replace(path, first_load_cycles=0) for path in described.paths)
                ),
            )
        if described.flash is not None:
            if described.flash.data is not None:
                add("without data lines", data_lines=False)
            if described.flash.instruction is not None:
                add("without instruction lines", instruction_lines=False)
        if described.data_cache is not None:
            add("without the data cache", data_cache=False)
        for variant in part.variants:
            add(variant.name, variant.memory)
    systems[CORE_ALONE] = ideal(part, clock_hz)
    return systems


def predict(
    collection: ValidationSet,
    network: Network,
    path: Path,
    *,
    compiler: str | None = None,
    systems: Sequence[str] | None = None,
    core: Core | None = None,
    progress: Progress = silent,
) -> Prediction:
    """Build a network as it was built, run it as it was run, and price it on each of the memory systems.

    ``path``: its .tflite file. ``compiler``: default: the collection's first. ``systems``: names of `memory_systems`;
    default: all. Raises InputError when there is no such file or it is a larger network, and what `tinysim.bench`
    raises otherwise.
    """
    if not path.is_file():
        raise InputError(f"there is no {path}", hint="examples/models/make_validation_models.py makes it")
    part = collection.load_part()
    used = core or load_core(part.core).with_fpu(part.fpu)
    model = load_model(path)
    if model.parameters > network.parameters:  # fewer where batch normalisation was counted and is folded in the file
        raise InputError(
            f"{path} has {model.parameters:,} parameters, {network.id} {network.parameters:,}",
            hint="make the file again",
        )
    options = BuildOptions(opt=collection.opt, cc=compiler or collection.compilers[0])
    firmware = build_fitting(model, part, options, progress)
    image = load_image(firmware.path)
    known = memory_systems(part, collection.clock_hz)
    names = list(systems or known)
    pricers = MemoryPricers.of_systems(part, used, [known[name] for name in names])
    given = Inputs(seeded_inputs(model, 0), "seed 0")
    job = Job(
        model=model,
        part=part,
        options=options,
        memory=MemoryOptions(),
        inputs=given,
        core_file=None,
        repeat=collection.inferences,
        max_instructions=DEFAULT_BUDGET,
    )
    progress(f"running {model.name} on {part.title}", 0, 0)
    measured = job.measure(image, used, pricers)
    last = measured.inferences[-1]
    regions = [
        Estimate.of_stream(last.run, image, stream).region(0, collection.clock_hz, name="invoke")
        for stream in last.streams
    ]
    copied = _elements(model)
    return Prediction(
        network,
        firmware.compiler,
        regions[0].instructions + copied * collection.copy_instructions,
        MappingProxyType(
            {name: region.cycles + copied * collection.copy_cycles for name, region in zip(names, regions, strict=True)}
        ),
        regions[names.index(WHOLE)] if WHOLE in names else regions[0],
        copied,
        compare(model, reference_outputs(model, given.tensors), measured.outputs).match,
    )


def _elements(model: Model) -> int:
    """How many elements all inputs and outputs have."""
    return sum(tensor.elements for tensor in (*model.inputs, *model.outputs))
