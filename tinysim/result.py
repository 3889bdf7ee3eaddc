"""Result: all that one measurement says, as one frozen record with one versioned JSON schema, ``tinysim.result/1``."""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from tinysim.errors import InputError

__all__ = [
    "SCHEMA",
    "CallStatistics",
    "EnergyInfo",
    "ErrorBound",
    "Finding",
    "FirmwareInfo",
    "FunctionCost",
    "FunctionProfile",
    "LayerCost",
    "MemoryUse",
    "Outputs",
    "Profile",
    "Published",
    "RegionCost",
    "Result",
    "SectionUse",
    "SpanUse",
    "StackCost",
    "read_results",
]

SCHEMA = "tinysim.result/1"


@dataclass(frozen=True, slots=True)
class FunctionCost:
    """What a function itself cost inside a region (without what it calls)."""

    name: str
    instructions: int
    cycles: int


@dataclass(frozen=True, slots=True)
class CallStatistics:
    """The single calls of a region. Cycles include what was called, those of ``self_...`` do not; None where it is not
    known.

    ``calls`` counts every entry, ``outermost_calls`` those that were not recursion; ``told_apart`` of them were
    measured one by one. All must be for a least and a greatest.
    """

    calls: int
    outermost_calls: int
    told_apart: int
    min_cycles: int | None
    mean_cycles: float | None
    max_cycles: int | None
    self_cycles: int | None
    self_min_cycles: int | None
    self_max_cycles: int | None


@dataclass(frozen=True, slots=True)
class FunctionProfile:
    """A function over all calls: without (``instructions``, ``cycles``) and with (``inclusive_...``) what it calls."""

    name: str
    calls: int
    instructions: int
    cycles: int
    inclusive_instructions: int
    inclusive_cycles: int


@dataclass(frozen=True, slots=True)
class StackCost:
    """What ran in the last function of a chain of calls, outermost first, without what it called. ``calls``: entries of
    it from there.
    """

    stack: tuple[str, ...]
    calls: int
    instructions: int
    cycles: int


@dataclass(frozen=True, slots=True)
class Profile:
    """A region by function (dearest first, with what they call) and by chain of calls; the stacks' cycles add up to the
    region's.
    """

    functions: tuple[FunctionProfile, ...]
    stacks: tuple[StackCost, ...]


@dataclass(frozen=True, slots=True)
class RegionCost:
    """One measured region. ``breakdown``: cycles by cause; sums to ``cycles``. ``cycles_low``/``cycles_high``: the band
    of the open parameters.

    ``calls`` times it was entered; ``instructions``, ``cycles`` and ``latency_s`` are of all its calls together.
    """

    name: str
    calls: int
    instructions: int
    cycles: int
    latency_s: float
    breakdown: Mapping[str, int]
    functions: tuple[FunctionCost, ...]
    cycles_low: int | None = None
    cycles_high: int | None = None
    stack_peak_bytes: int | None = None
    per_call: CallStatistics | None = None
    profile: Profile | None = None


@dataclass(frozen=True, slots=True)
class LayerCost:
    """One operator of the model's plan. ``cycles_per_mac`` is None for an operator without multiply-accumulates."""

    index: int
    name: str
    op: str
    instructions: int
    cycles: int
    macs: int
    cycles_per_mac: float | None
    inputs: tuple[tuple[int, ...], ...] = ()
    outputs: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class SectionUse:
    """One section of the ELF file."""

    name: str
    address: int
    bytes: int
    memory: str
    purpose: str
    in_flash: bool
    in_ram: bool


@dataclass(frozen=True, slots=True)
class SpanUse:
    """How full one memory of the part is."""

    memory: str
    used_bytes: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class MemoryUse:
    """Flash and RAM. ``flash_bytes`` counts all that is stored; ``ram_bytes`` all static data plus the stack's peak."""

    flash_bytes: int
    ram_bytes: int
    stack_peak_bytes: int | None
    code_bytes: int
    weights_bytes: int
    constants_bytes: int
    data_bytes: int
    arena_bytes: int | None
    arena_used_bytes: int | None
    sections: tuple[SectionUse, ...] = ()
    memories: tuple[SpanUse, ...] = ()


@dataclass(frozen=True, slots=True)
class FirmwareInfo:
    """The ELF file and how it was made, as far as known."""

    path: str
    sha256: str
    runtime: str | None = None
    kernels: str | None = None
    opt: str | None = None
    float_abi: str | None = None
    compiler: str | None = None
    flags: tuple[str, ...] = ()
    sources: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Outputs:
    """Whether the model's answers are right. ``match`` is the verdict against ``reference`` on inputs of ``inputs``.

    ``max_abs_error`` is the largest difference of two elements; None where only one of them is a number.
    """

    match: bool
    reference: str
    max_abs_error: float | None
    tolerance: float
    inputs: str


@dataclass(frozen=True, slots=True)
class ErrorBound:
    """How far the cycles may be from silicon, in percent, and what that rests on."""

    bound_percent: float
    basis: str


@dataclass(frozen=True, slots=True)
class EnergyInfo:
    """Energy of one call of the main region, in microjoules, with its range."""

    microjoules: float
    low: float
    high: float
    source: str


@dataclass(frozen=True, slots=True)
class Published:
    """What somebody measured and published for the same model."""

    latency_s: float
    source: str
    flash_bytes: int | None = None
    ram_bytes: int | None = None
    differences: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that makes a program slower or larger than it must be. ``rule``: a short fixed name.

    ``gain_cycles``: of the main region's cycles, the most that can be won, or where ``measured`` what was;
    ``gain_percent``: the same in percent of them; ``gain_bytes``: of flash. None where it cannot be said.
    """

    rule: str
    title: str
    evidence: str
    action: str
    gain_cycles: int | None = None
    gain_percent: float | None = None
    gain_bytes: int | None = None
    measured: bool = False


@dataclass(frozen=True, slots=True)
class Result:
    """One measurement: a program on a part at a clock.

    ``cycles`` and ``latency_s`` are those of the main region (the first), for one call.
    """

    part: str
    core: str
    clock_hz: int
    engine: str
    firmware: FirmwareInfo
    regions: tuple[RegionCost, ...]
    instructions: int
    cycles: int
    latency_s: float
    memory: MemoryUse
    error: ErrorBound
    model: str | None = None
    layers: tuple[LayerCost, ...] = ()
    outputs: Outputs | None = None
    cycles_low: int | None = None
    cycles_high: int | None = None
    wait_states: int | None = None
    energy: EnergyInfo | None = None
    published: Published | None = None
    findings: tuple[Finding, ...] = ()
    warnings: tuple[str, ...] = ()
    schema: str = SCHEMA

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionaries and lists, as in the JSON schema; ``schema`` first."""
        fields = _plain(self)
        return {"schema": fields.pop("schema"), "model": fields.pop("model"), **fields}

    def to_json(self) -> str:
        """The result as JSON text."""
        return json.dumps(self.to_dict(), indent=1, allow_nan=False)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Result:
        """The inverse of `to_dict`; unknown fields are ignored, so newer files can be read.

        Raises InputError for another schema.
        """
        if not isinstance(data, Mapping) or data.get("schema") != SCHEMA:
            found = data.get("schema") if isinstance(data, Mapping) else type(data).__name__
            raise InputError(f"not a {SCHEMA} record: {found!r}", hint="pass a file that tinysim wrote with --json")
        try:
            return typing.cast(Result, _structure(data, cls))
        except (TypeError, ValueError, AttributeError) as error:
            raise InputError(f"a damaged {SCHEMA} record: {error}", hint="measure again with --json") from error


def read_results(path: Path | str) -> list[Result]:
    """The results in a JSON file written by ``--json``: one object or an array. Raises InputError."""
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}", hint="check the path") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON: {error}", hint="pass a file that tinysim wrote with --json") from error
    return [Result.from_dict(item) for item in (data if isinstance(data, list) else [data])]


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value


_T = TypeVar("_T")


def _structure(value: Any, kind: Any) -> Any:
    """A value of a type annotation from plain data."""
    origin = typing.get_origin(kind)
    if origin in (types.UnionType, typing.Union):
        options = [a for a in typing.get_args(kind) if a is not type(None)]
        return None if value is None else _structure(value, options[0])
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise TypeError(f"{value!r} is not a list")
        return tuple(_structure(item, typing.get_args(kind)[0]) for item in value)
    if origin is not None and issubclass(origin, Mapping):
        return {key: _structure(item, typing.get_args(kind)[1]) for key, item in value.items()}
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        known = {f.name for f in dataclasses.fields(kind)}
        return typing.cast(Any, kind)(
            **{key: _structure(item, hints[key]) for key, item in value.items() if key in known}
        )
    accepted = (int, float) if kind is float else kind
    if not isinstance(value, accepted) or (isinstance(value, bool) and kind is not bool):
        raise TypeError(f"{value!r} is not {kind.__name__}")
    return float(value) if kind is float else value
