"""A core: instruction timing as data, every value with a source.

What the values mean is up to the pipeline of the core (``tinysim/timing/single_issue.py``, ``dual_issue.py``); the
fields a pipeline knows stand in :data:`CLASS_FIELDS` and :data:`PARAMETERS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

from tinysim.data import platforms_folder
from tinysim.errors import PartError
from tinysim.isa import InstructionSet, load_isa
from tinysim.timing.causes import CAUSES, Cause
from tinysim.tomlfile import Table, read_toml

__all__ = [
    "CONSUMERS", "Confidence", "Core", "Finding", "Parameter", "Pipeline", "check_core", "load_core", "read_core",
]  # fmt: skip

SCHEMA = "tinysim.core/1"


class Pipeline(StrEnum):
    """How a core issues instructions."""

    SINGLE_ISSUE = "single-issue"
    DUAL_ISSUE = "dual-issue"


class Confidence(StrEnum):
    """How far a value can be trusted, best first."""

    DOCUMENTED = "documented"
    MEASURED = "measured"
    FIT = "fit"
    INFERRED = "inferred"
    MEMORY = "memory"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One number of a core. ``open``: not settled by any source; calibration may choose it between ``low`` and
    ``high``.
    """

    name: str
    value: int
    low: int
    high: int
    unit: str
    source: str
    confidence: Confidence
    open: bool
    note: str = ""


@dataclass(frozen=True, slots=True)
class ClassTiming:
    """The timing of one instruction class: ``values`` hold the numbers of the pipeline's fields, absent ones 0."""

    name: str
    values: Mapping[str, int | str]
    traits: tuple[str, ...]
    latency: str
    cause: Cause
    needs: str
    source: str
    confidence: Confidence


@dataclass(frozen=True, slots=True)
class Latency:
    """Cycles from issue to the earliest issue of a consumer, by the use that it makes of the result."""

    name: str
    values: Mapping[str, int | str]
    cause: Cause
    source: str
    confidence: Confidence


@dataclass(frozen=True, slots=True)
class ForbiddenPair:
    """Two instructions that cannot issue in one cycle; ``same_bank``: only when their addresses fall into one bank."""

    older: str
    younger: str
    reason: str
    same_bank: bool
    source: str
    confidence: Confidence


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing wrong with a file."""

    file: str
    line: int
    field: str
    message: str


CONSUMERS = ("operand", "beside_shift", "early", "base", "index", "multiplicand", "accumulator", "data")
"""Uses of a result that a dual-issue core tells apart."""

CLASS_FIELDS: Mapping[Pipeline, tuple[str, ...]] = {
    Pipeline.SINGLE_ISSUE: (
        "cycles", "per_word", "data_phase", "joins", "address_late", "fp", "fp_late", "addend_late", "unit_busy",
        "register_offset", "stores", "after_store", "folds", "hides", "divides",
    ),
    Pipeline.DUAL_ISSUE: (
        "cycles", "words_per_cycle", "even_aligned", "placed_early", "fused", "accumulator_early", "after_fused",
    ),
}  # fmt: skip
"""Fields of a timing, by pipeline. Numbers may name a parameter; flags are true or false; the last rows below are
words.
"""

FIELD_WORDS: Mapping[str, tuple[str, ...]] = {
    "placed_early": ("no", "older", "either"),
    "after_fused": ("no", "older", "blocked", "transfer"),
}
"""Fields whose value is a word: its place in the list is the number a pipeline sees."""

PARAMETERS: Mapping[Pipeline, tuple[str, ...]] = {
    Pipeline.SINGLE_ISSUE: (
        "fifo_words", "fetch_latency", "direct_branch_request", "register_branch_request", "loaded_branch_request",
        "table_branch_request", "untaken_branch_steals", "it_folds", "address_use", "load_after_store", "nop_hides",
        "unaligned_halfword", "unaligned_odd", "fp_result_use", "fp_release_delay", "odd_wide_group",
        "division", "division_smaller", "division_base", "division_bits_per_cycle", "wrong_path_fetch",
        "slaves_pipeline",
    ),
    Pipeline.DUAL_ISSUE: (
        "fetch_bytes", "branch_pairs_with_target", "misprediction", "misprediction_settled", "flags_settled",
        "misprediction_indirect", "predictor_history", "return_stack", "bank_bit", "store_to_load", "unaligned_load",
        "unaligned_load_younger", "store_queue", "store_drain", "store_drain_alternating", "fused_block",
        "fused_block_transfer",
    ),
}  # fmt: skip
"""Parameters a pipeline needs; a file may define more and use them as values."""


@dataclass(frozen=True, slots=True)
class Core:
    """One core. ``context_blocks``: how many blocks before a block its price depends on."""

    name: str
    title: str
    isa: InstructionSet
    pipeline: Pipeline
    context_blocks: int
    fpu: str
    fpu_variants: Mapping[str, tuple[str, ...]]
    lacks: tuple[str, ...]
    parameters: Mapping[str, Parameter]
    timings: Mapping[str, ClassTiming]
    latencies: Mapping[str, Latency]
    forbidden: tuple[ForbiddenPair, ...]
    error_bound_percent: float
    error_basis: str
    path: Path

    def value(self, name: str) -> int:
        """A parameter's value. Raises PartError when the core has no such parameter."""
        try:
            return self.parameters[name].value
        except KeyError:
            raise PartError(f"{self.path.name}: no parameter {name!r}", hint=f"add [parameters.{name}]") from None

    def number(self, value: int | str) -> int:
        """A field's value: a number, or that of the parameter it names."""
        return value if isinstance(value, int) else self.value(value)

    def with_fpu(self, fpu: str) -> Core:
        """The same core with another floating-point unit. Raises PartError when the core cannot have it."""
        if fpu not in self.fpu_variants:
            choices = ", ".join(self.fpu_variants)
            raise PartError(f"{self.title} has no FPU {fpu!r}", hint=f"choose one of {choices}")
        return replace(self, fpu=fpu)

    def with_values(self, values: Mapping[str, int]) -> Core:
        """The same core with some parameters changed; within their ranges or not, names must exist."""
        changed = dict(self.parameters)
        for name, value in values.items():
            self.value(name)
            changed[name] = replace(changed[name], value=value)
        return replace(self, parameters=MappingProxyType(changed))

    def timing(self, class_name: str) -> ClassTiming | None:
        """The timing of a class; None when this core (with its FPU) does not have such instructions."""
        found = self.timings.get(class_name)
        if found is None or (found.needs and found.needs not in self.fpu_variants[self.fpu]):
            return None
        return found

    @property
    def open_parameters(self) -> tuple[Parameter, ...]:
        """Parameters no source settles, in the order of the file."""
        return tuple(parameter for parameter in self.parameters.values() if parameter.open)


def _parameter(name: str, table: Table) -> Parameter:
    value = table.integer("value", low=-100, high=1000)
    low = table.integer("low", low=-100, high=1000) if "low" in table else value
    high = table.integer("high", low=-100, high=1000) if "high" in table else value
    found = Parameter(
        name, value, low, high, table.string("unit"), table.string("source"), table.choice("confidence", Confidence),
        "open" in table and table.flag("open"), table.string("note") if "note" in table else "",
    )  # fmt: skip
    if not low <= value <= high:
        raise table.error(f"{value} is not between low {low} and high {high}", "value")
    if found.open and low == high:
        raise table.error("an open parameter needs a range", "open", hint="add low and high")
    table.close()
    return found


def _field(table: Table, key: str, parameters: Mapping[str, Parameter]) -> int | str:
    value = table.get(key)
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int):
        return value
    if isinstance(value, str):
        if key in FIELD_WORDS:
            if value not in FIELD_WORDS[key]:
                raise table.error(f"{value!r} is not one of {', '.join(FIELD_WORDS[key])}", key)
            return FIELD_WORDS[key].index(value)
        if value in parameters:
            return value
        raise table.error(f"no parameter {value!r}", key, hint=f"add [parameters.{value}]")
    raise table.error(f"{value!r} is neither a number nor a parameter", key)


def _cause(table: Table, default: Cause) -> Cause:
    if "cause" not in table:
        return default
    name = table.string("cause")
    if name not in CAUSES:
        raise table.error(f"{name!r} is not one of {', '.join(CAUSES)}", "cause")
    return Cause(name)


def _latencies(root: Table, parameters: Mapping[str, Parameter]) -> dict[str, Latency]:
    found: dict[str, Latency] = {}
    tables = root.table("latency")
    for name, table in tables.children() if tables is not None else ():
        for key in CONSUMERS:
            if key not in table:
                raise table.error(f"no latency for {key!r}", None, hint="add it, in cycles")
        values = {key: _field(table, key, parameters) for key in CONSUMERS}
        cause, confidence = _cause(table, Cause.OPERAND_USE), table.choice("confidence", Confidence)
        found[name] = Latency(name, values, cause, table.string("source"), confidence)
        table.close()
    return found


def _timings(root: Table, pipeline: Pipeline, isa: InstructionSet, parameters: Mapping[str, Parameter],
             latencies: Mapping[str, Latency]) -> dict[str, ClassTiming]:  # fmt: skip
    found: dict[str, ClassTiming] = {}
    for table in root.tables("timing"):
        latency = table.string("latency") if pipeline is Pipeline.DUAL_ISSUE else ""
        if latency and latency not in latencies:
            raise table.error(f"no latency {latency!r}", "latency", hint=f"known: {', '.join(latencies)}")
        values = {key: _field(table, key, parameters) for key in CLASS_FIELDS[pipeline] if key in table}
        values.setdefault("cycles", 1)
        traits = table.strings("traits") if "traits" in table else ()
        rest = (
            traits, latency, _cause(table, Cause.ISSUE), table.string("needs") if "needs" in table else "",
            table.string("source"), table.choice("confidence", Confidence),
        )  # fmt: skip
        for name in table.strings("classes"):
            if name not in isa.classes:
                raise table.error(f"{isa.name} has no instruction class {name!r}", "classes")
            if name in found:
                raise table.error(f"class {name!r} has a timing already", "classes")
            found[name] = ClassTiming(name, values, *rest)
        table.close()
    return found


def _forbidden(root: Table) -> tuple[ForbiddenPair, ...]:
    found = []
    for table in root.tables("forbidden_pair"):
        same_bank = "same_bank" in table and table.flag("same_bank")
        older, younger, reason = table.string("older"), table.string("younger"), table.string("reason")
        source, confidence = table.string("source"), table.choice("confidence", Confidence)
        found.append(ForbiddenPair(older, younger, reason, same_bank, source, confidence))
        table.close()
    return tuple(found)


def read_core(path: Path) -> Core:
    """A core from its file. Raises PartError, with file, line and field, for anything wrong in it."""
    root = read_toml(path)
    if root.string("schema") != SCHEMA:
        raise root.error(f"not a core file ({SCHEMA})", "schema")
    pipeline = root.choice("pipeline", Pipeline)
    isa_path = platforms_folder() / "isa" / f"{root.string('isa')}.toml"
    isa = load_isa() if isa_path == load_isa().path else load_isa(isa_path)
    parameters = {name: _parameter(name, table) for name, table in root.need("parameters").children()}
    for name in PARAMETERS[pipeline]:
        if name not in parameters:
            raise root.need("parameters").error(
                f"the {pipeline.value} pipeline needs {name!r}", hint=f"add [parameters.{name}]"
            )
    latencies = _latencies(root, parameters)
    fpu, error = root.need("fpu"), root.need("error")
    variants = {name: fpu.need("variants").strings(name) for name in fpu.need("variants")}
    core = Core(
        root.string("name"), root.string("title"), isa, pipeline, root.integer("context_blocks", low=1, high=4),
        fpu.string("default"), MappingProxyType(variants), fpu.strings("lacks") if "lacks" in fpu else (),
        MappingProxyType(parameters),
        MappingProxyType(_timings(root, pipeline, isa, parameters, latencies)),
        MappingProxyType(latencies), _forbidden(root), error.number("bound_percent"), error.string("basis"), path,
    )  # fmt: skip
    fpu.close()
    error.close()
    root.close()
    return core.with_fpu(core.fpu)


@lru_cache(maxsize=16)
def _cached(path: Path, modified_ns: int) -> Core:
    return read_core(path)


def load_core(name: str | Path) -> Core:
    """A core by name (``cortex-m4``) or by the path of its file. Raises PartError when there is none or it is wrong."""
    folder = platforms_folder() / "cores"
    path = Path(name) if str(name).endswith(".toml") else folder / f"{str(name).lower()}.toml"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in folder.glob("*.toml")))
        raise PartError(f"no core {str(name)!r}", hint=f"known: {known}")
    return _cached(path, path.stat().st_mtime_ns)


def check_core(path: Path) -> list[Finding]:
    """Everything wrong with a core file; empty when it is fine. An error that stops reading is the only finding then.
    """
    try:
        core = read_core(path)
    except PartError as error:
        place, _, message = error.message.partition(": ")
        file, _, line = place.rpartition(":")
        field, _, message = message.partition(": ")
        return [Finding(file or str(path), int(line) if line.isdigit() else 1, field, message or error.message)]
    findings = [
        Finding(str(path), 1, "timing", f"no timing for the instruction class {name!r}")
        for name in core.isa.classes
        if name not in core.timings and name not in core.lacks
    ]
    known = {trait for timing in core.timings.values() for trait in timing.traits} | {"any", "shifter"}
    findings += [
        Finding(str(path), 1, "forbidden_pair", f"no timing has the trait {trait!r}")
        for pair in core.forbidden
        for trait in (pair.older, pair.younger)
        if trait not in known
    ]
    groups = {group for names in core.fpu_variants.values() for group in names}
    findings += [
        Finding(str(path), 1, "timing", f"class {timing.name!r} needs {timing.needs!r}, which no FPU variant has")
        for timing in core.timings.values()
        if timing.needs and timing.needs not in groups
    ]
    return findings
