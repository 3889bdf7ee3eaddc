"""The Model: a .tflite file as operators, tensors, parameters and MACs.

``load_model`` reads a file, ``check_supported`` says whether a runtime can execute it.
"""

from __future__ import annotations

from tinysim.model.flatbuffer import load_model
from tinysim.model.plan import Kind, Model, Operator, Quantization, Tensor
from tinysim.model.support import Gap, check_supported, supported_operators, unsupported

__all__ = [
    "Gap",
    "Kind",
    "Model",
    "Operator",
    "Quantization",
    "Tensor",
    "check_supported",
    "load_model",
    "supported_operators",
    "unsupported",
]
