"""What a model is made of: tensors, operators in execution order, and totals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

__all__ = ["Kind", "Model", "Operator", "Quantization", "Tensor"]


class Kind(StrEnum):
    """How a model computes, from its weights and activations.

    ``HYBRID`` is the converter's dynamic-range quantisation: integer weights, float activations.
    ``INT8_INSIDE`` computes in int8 and has float inputs or outputs.
    """

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    INT8 = "int8"
    INT8_INSIDE = "int8-inside"
    INT16 = "int16"
    UINT8 = "uint8"
    HYBRID = "hybrid"
    MIXED = "mixed"


@dataclass(frozen=True, slots=True)
class Quantization:
    """real = scale * (quantised - zero_point); one scale, or one for each index along ``axis``."""

    scales: tuple[float, ...]
    zero_points: tuple[int, ...]
    axis: int

    @property
    def per_channel(self) -> bool:
        """More than one scale."""
        return len(self.scales) > 1


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor. ``bytes`` is the size of its elements; ``constant`` means its values are in the file.

    ``buffer`` identifies the constant's storage: tensors that share it share their values. ``dtype`` is a NumPy name,
    or one NumPy lacks (``int4``, ``bfloat16``, ``string``, ``resource``, ``variant``).
    """

    index: int
    name: str
    shape: tuple[int, ...]
    dtype: str
    bytes: int
    constant: bool
    quantization: Quantization | None
    buffer: int = 0
    variable: bool = False
    sparse: bool = False

    @property
    def elements(self) -> int:
        """The product of the shape; 1 for a scalar."""
        count = 1
        for size in self.shape:
            count *= size
        return count


@dataclass(frozen=True, slots=True)
class Operator:
    """One step of the plan. ``name`` is the schema's (``CONV_2D``), or ``CUSTOM:<code>``; ``label`` is for people.

    ``options`` are the schema's options of this operator in snake case, enumerations as names (``padding``: ``SAME``).
    A missing optional input is None.
    """

    index: int
    name: str
    version: int
    inputs: tuple[Tensor | None, ...]
    outputs: tuple[Tensor, ...]
    options: Mapping[str, object]
    macs: int
    parameters: int
    label: str


@dataclass(frozen=True, slots=True)
class Model:
    """A .tflite file as it will run. ``bytes`` is the size of the file, ``weights_bytes`` that of all constants in it.

    ``parameters`` counts weights and biases as Keras does, each once; ``macs`` is the sum over ``operators``.
    """

    path: Path
    name: str
    sha256: str
    bytes: int
    operators: tuple[Operator, ...]
    tensors: tuple[Tensor, ...]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    parameters: int
    macs: int
    weights_bytes: int
    kind: Kind
