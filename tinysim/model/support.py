"""Whether a runtime executes a model: each operator, in its version, for its types.

What a runtime has is in its description (``tinysim.runtime``); this module compares.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tinysim.errors import ModelError
from tinysim.model.costs import is_hybrid
from tinysim.model.plan import Model, Operator

if TYPE_CHECKING:
    from tinysim.runtime import Operator as RuntimeOperator
    from tinysim.runtime import Runtime

__all__ = ["Gap", "check_supported", "supported_operators", "unsupported"]


@dataclass(frozen=True, slots=True)
class Gap:
    """One operator of a model that a runtime does not execute, and why."""

    operator: Operator
    reason: str


def supported_operators(runtime: Runtime | None = None) -> Mapping[str, RuntimeOperator]:
    """What ``runtime`` executes (the one in use where none is given), by the operator's name in the schema."""
    return _chosen(runtime).operators


def _chosen(runtime: Runtime | None) -> Runtime:
    from tinysim.runtime import load_runtime

    return runtime or load_runtime()


def unsupported(model: Model, runtime: Runtime | None = None) -> tuple[Gap, ...]:
    """Every operator of ``model`` that ``runtime`` does not execute, in the order of the plan."""
    known = supported_operators(runtime)
    reasons = ((operator, _reason(operator, known.get(operator.name))) for operator in model.operators)
    return tuple(Gap(operator, reason) for operator, reason in reasons if reason)


def _reason(operator: Operator, entry: RuntimeOperator | None) -> str:
    """Why an operator is not executed; empty when it is."""
    if is_hybrid(operator.name, operator.inputs):
        return "hybrid: integer weights with float activations"
    if entry is None:
        return "not in the runtime"
    if any(t is not None and t.sparse for t in operator.inputs):
        return "sparse weights"
    if operator.version > entry.version:
        return f"version {operator.version}; the runtime has up to {entry.version}"
    if not entry.types:
        return ""
    data = operator.inputs[entry.data] if entry.data < len(operator.inputs) else None
    if data is None:
        return f"input {entry.data} is missing"
    if data.dtype not in entry.types:
        return f"type {data.dtype}; the runtime has {', '.join(entry.types)}"
    if operator.outputs and operator.outputs[0].dtype not in entry.outputs:
        return f"output type {operator.outputs[0].dtype}; the runtime has {', '.join(entry.outputs)}"
    return ""


def check_supported(model: Model, runtime: Runtime | None = None) -> None:
    """Raises ModelError when ``model`` has an operator that ``runtime`` (the one in use) does not execute.

    The message names the operator, why, and the layers that use it; a hybrid model is refused as such.
    """
    runtime = _chosen(runtime)
    gaps = unsupported(model, runtime)
    if not gaps:
        return
    title = f"{runtime.name} {runtime.version}"
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
        f"{model.path} needs {first.operator.name} ({first.reason}), which {title} does not run: {_layers(same)}"
        + (f"; nor {', '.join(others)}" if others else ""),
        hint="`tinysim model` shows what the runtime supports; change these layers and convert again",
    )


def _layers(gaps: list[Gap], shown: int = 4) -> str:
    names = [f"{gap.operator.index} {gap.operator.label}" for gap in gaps]
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return f"layer{'s' if len(names) > 1 else ''} {', '.join(names[:shown])}{more}"
