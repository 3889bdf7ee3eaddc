"""Which operators a runtime executes, and whether a model keeps to them.

The knowledge is in ``firmware/operators.toml``; this module reads and compares.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tinysim.data import firmware_folder
from tinysim.errors import MeasurementError, ModelError
from tinysim.model.costs import is_hybrid
from tinysim.model.plan import Model, Operator

__all__ = [
    "Gap",
    "Runtime",
    "RuntimeOperators",
    "SupportedOperator",
    "check_supported",
    "supported_operators",
    "unsupported",
]


class Runtime(StrEnum):
    """Who executes the operators in the firmware."""

    TFLM = "tflm"


@dataclass(frozen=True, slots=True)
class SupportedOperator:
    """What a runtime's kernel of one operator accepts; versions include both ends."""

    name: str
    versions: tuple[int, int]
    types: tuple[str, ...]
    outputs: tuple[str, ...]
    data: int
    cmsis_nn: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RuntimeOperators:
    """The operators of one runtime by their name in the schema."""

    runtime: Runtime
    title: str
    operators: Mapping[str, SupportedOperator]


@dataclass(frozen=True, slots=True)
class Gap:
    """One operator of a model that a runtime does not execute, and why."""

    operator: Operator
    reason: str


def supported_operators(runtime: Runtime = Runtime.TFLM, path: Path | None = None) -> RuntimeOperators:
    """The operators ``runtime`` executes, from ``path`` (``firmware/operators.toml`` where none is given).

    Raises MeasurementError where the file is missing or wrong: it is a part of tinysim.
    """
    return _read(path or firmware_folder() / "operators.toml", runtime)


@cache
def _read(path: Path, runtime: Runtime) -> RuntimeOperators:
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
        table = document[runtime.value]
        operators = {name: _entry(name, values) for name, values in table["operators"].items()}
        return RuntimeOperators(runtime, str(table["title"]), MappingProxyType(operators))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, KeyError, TypeError, ValueError) as error:
        raise MeasurementError(f"{path} is not a list of a runtime's operators: {error!r}",
                               hint="install tinysim again") from error  # fmt: skip


def _entry(name: str, values: Mapping[str, Any]) -> SupportedOperator:
    unknown = set(values) - {"versions", "types", "outputs", "data", "cmsis_nn", "project"}
    if unknown:
        raise ValueError(f"{name}: unknown key {sorted(unknown)[0]}")
    low, high = values["versions"]
    types = tuple(values["types"])
    kernels = tuple(values.get("cmsis_nn", ()))
    if not (isinstance(low, int) and isinstance(high, int) and 1 <= low <= high):
        raise ValueError(f"{name}: versions {[low, high]}")
    if not types or not set(kernels) <= set(types):
        raise ValueError(f"{name}: types {list(types)}, cmsis_nn {list(kernels)}")
    return SupportedOperator(
        name=name,
        versions=(low, high),
        types=types,
        outputs=tuple(values.get("outputs", types)),
        data=int(values.get("data", 0)),
        cmsis_nn=kernels,
    )


def unsupported(model: Model, runtime: Runtime = Runtime.TFLM, path: Path | None = None) -> tuple[Gap, ...]:
    """Every operator of ``model`` that ``runtime`` does not execute, in the order of the plan."""
    known = supported_operators(runtime, path).operators
    gaps = []
    for operator in model.operators:
        reason = _reason(operator, known.get(operator.name))
        if reason:
            gaps.append(Gap(operator, reason))
    return tuple(gaps)


def _reason(operator: Operator, entry: SupportedOperator | None) -> str:
    if is_hybrid(operator.name, operator.inputs):
        return "hybrid: integer weights with float activations"
    if entry is None:
        return "not in the runtime"
    if any(t is not None and t.sparse for t in operator.inputs):
        return "sparse weights"
    low, high = entry.versions
    if not low <= operator.version <= high:
        return f"version {operator.version}; the runtime has {low} to {high}"
    data = operator.inputs[entry.data] if entry.data < len(operator.inputs) else None
    if data is None:
        return f"input {entry.data} is missing"
    if data.dtype not in entry.types:
        return f"type {data.dtype}; the runtime has {', '.join(entry.types)}"
    if operator.outputs and operator.outputs[0].dtype not in entry.outputs:
        return f"output type {operator.outputs[0].dtype}; the runtime has {', '.join(entry.outputs)}"
    return ""


def check_supported(model: Model, runtime: Runtime = Runtime.TFLM, path: Path | None = None) -> None:
    """Raises ModelError when ``model`` has an operator that ``runtime`` does not execute.

    The message names the operator, why, and the layers that use it; a hybrid model is refused as such.
    """
    gaps = unsupported(model, runtime, path)
    if not gaps:
        return
    title = supported_operators(runtime, path).title
    hybrid = [gap for gap in gaps if is_hybrid(gap.operator.name, gap.operator.inputs)]
    if hybrid:
        raise ModelError(
            f"{model.path} is a hybrid model (dynamic-range quantised: int8 weights, float activations), which {title} "
            f"does not run: {_layers(hybrid)}",
            hint="convert it without optimizations for float32, or with a representative_dataset for int8",
        )
    first = gaps[0]
    same = [gap for gap in gaps if (gap.operator.name, gap.reason) == (first.operator.name, first.reason)]
    others = sorted({gap.operator.name for gap in gaps} - {first.operator.name})
    raise ModelError(
        f"{model.path} needs {first.operator.name} ({first.reason}), which {title} in tinysim does not run: "
        f"{_layers(same)}" + (f"; and {', '.join(others)}" if others else ""),
        hint="`tinysim model` shows what the runtime supports; change these layers and convert again",
    )


def _layers(gaps: list[Gap], shown: int = 4) -> str:
    names = [f"{gap.operator.index} {gap.operator.label}" for gap in gaps]
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return f"layer{'s' if len(names) > 1 else ''} {', '.join(names[:shown])}{more}"
