"""How long does a TinyML model take on a Cortex-M4 or M7, and what does it need?

    >>> import tinysim
    >>> [result] = tinysim.bench("model.tflite", "stm32l4r5zi", clock="120MHz")   # doctest: +SKIP
    >>> result.latency_s, result.memory.ram_bytes, result.outputs.match           # doctest: +SKIP
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from tinysim.errors import (
    BudgetError,
    CapacityError,
    EngineError,
    FaultError,
    ImageError,
    InputError,
    MeasurementError,
    ModelError,
    PartError,
    TinysimError,
    ToolchainError,
    UnpricedError,
)

if TYPE_CHECKING:
    from tinysim.bench import BuildOptions, bench
    from tinysim.measure import run
    from tinysim.model import Model, load_model
    from tinysim.part import Part, load_part, part_names
    from tinysim.result import Result, read_results
    from tinysim.views import to_dataframe

__all__ = [
    "BudgetError",
    "BuildOptions",
    "CapacityError",
    "EngineError",
    "FaultError",
    "ImageError",
    "InputError",
    "MeasurementError",
    "Model",
    "ModelError",
    "Part",
    "PartError",
    "Result",
    "TinysimError",
    "ToolchainError",
    "UnpricedError",
    "bench",
    "load_model",
    "load_part",
    "part_names",
    "read_results",
    "run",
    "to_dataframe",
]

_HOMES = {
    "BuildOptions": "bench",
    "Model": "model",
    "Part": "part",
    "Result": "result",
    "bench": "bench",
    "load_model": "model",
    "load_part": "part",
    "part_names": "part",
    "read_results": "result",
    "run": "measure",
    "to_dataframe": "views",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: the engine and its compiled hooks take a moment to load."""
    if name not in _HOMES:
        raise AttributeError(f"module 'tinysim' has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(f"tinysim.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


class _Package(ModuleType):
    """Keeps `tinysim.bench` the function: importing the module of that name would put the module in its place."""

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
