"""Runs a model with a runtime of the host, in a process of its own.

``python host_runtime.py RUNTIME MODEL INPUTS.npz OUTPUTS.npz ARENA_BYTES`` with RUNTIME ``tflite_micro`` or
``ai_edge_litert``. The runtimes print from C and abort on models they dislike: in a process of its own neither reaches
the caller. Started by path, it imports nothing of tinysim.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["main"]


def _tflite_micro(content: bytes, inputs: Sequence[NDArray[Any]], arena_bytes: int) -> list[NDArray[Any]]:
    from tflite_micro.python.tflite_micro import runtime

    interpreter = runtime.Interpreter.from_bytes(content, arena_size=arena_bytes)
    for index, array in enumerate(inputs):
        interpreter.set_input(array, index)
    interpreter.invoke()
    return [interpreter.get_output(index) for index in range(_output_count(content))]


def _output_count(content: bytes) -> int:
    import tflite

    return int(tflite.Model.GetRootAs(content).Subgraphs(0).OutputsLength())


def _ai_edge_litert(content: bytes, inputs: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    # The reference kernels, without a delegate: the arithmetic the microcontroller's kernels are defined by.
    interpreter = Interpreter(model_content=content, experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
    interpreter.allocate_tensors()
    for detail, array in zip(interpreter.get_input_details(), inputs, strict=True):
        interpreter.set_tensor(detail["index"], array)
    interpreter.invoke()
    return [interpreter.get_tensor(detail["index"]) for detail in interpreter.get_output_details()]


def main(arguments: Sequence[str]) -> int:
    """Run as the module says; 0 when the outputs are written."""
    runtime, model, given, wanted, arena_bytes = arguments
    content = Path(model).read_bytes()
    with np.load(given, allow_pickle=False) as archive:
        inputs = [archive[f"arr_{index}"] for index in range(len(archive.files))]
    outputs = (
        _tflite_micro(content, inputs, int(arena_bytes))
        if runtime == "tflite_micro"
        else _ai_edge_litert(content, inputs)
    )
    np.savez(wanted, *outputs)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
