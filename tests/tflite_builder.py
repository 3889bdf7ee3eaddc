"""Writes .tflite files from a few lines, for tests: right ones and wrong ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import flatbuffers
import numpy as np
import tflite

TYPES = {"float32": 0, "float16": 1, "int32": 2, "uint8": 3, "int64": 4, "string": 5, "bool": 6, "int16": 7, "int8": 9}


@dataclass
class Tensor:
    """A tensor to write; ``data`` makes it constant."""

    shape: Sequence[int]
    dtype: str = "float32"
    data: bytes | None = None
    name: str = ""
    scales: Sequence[float] = ()
    zero_points: Sequence[int] = ()
    axis: int = 0
    type_code: int | None = None
    buffer: int | None = None


@dataclass
class Operator:
    """An operator to write; ``options`` writes its options and gives their place, with their number in the union."""

    code: int
    inputs: Sequence[int]
    outputs: Sequence[int]
    version: int = 1
    options: tuple[int, Callable[[flatbuffers.Builder], int]] | None = None
    custom: str = ""
    code_index: int | None = None


@dataclass
class File:
    """A model to write; the fields that are not tensors and operators are for making it wrong."""

    tensors: Sequence[Tensor]
    operators: Sequence[Operator]
    inputs: Sequence[int]
    outputs: Sequence[int]
    version: int = 3
    identifier: bytes = b"TFL3"
    subgraphs: int = 1
    description: str = "made by a test"
    buffers: list[bytes] = field(default_factory=list)

    def write(self) -> bytes:
        """The bytes of the file."""
        b = flatbuffers.Builder(1024)
        blobs: list[bytes | None] = [None]
        places = []
        for tensor in self.tensors:
            places.append(len(blobs) if tensor.data is not None else 0)
            if tensor.data is not None:
                blobs.append(tensor.data)
        buffers = _vector(b, [_buffer(b, blob) for blob in blobs])
        graphs = _vector(b, [self._subgraph(b, places) for _ in range(self.subgraphs)])
        codes = _vector(b, [_code(b, operator) for operator in self.operators])
        description = b.CreateString(self.description)
        tflite.ModelStart(b)
        tflite.ModelAddVersion(b, self.version)
        tflite.ModelAddOperatorCodes(b, codes)
        tflite.ModelAddSubgraphs(b, graphs)
        tflite.ModelAddDescription(b, description)
        tflite.ModelAddBuffers(b, buffers)
        b.Finish(tflite.ModelEnd(b), file_identifier=self.identifier)
        return bytes(b.Output())

    def _subgraph(self, b: flatbuffers.Builder, places: Sequence[int]) -> int:
        tensors = _vector(b, [_tensor(b, t, place) for t, place in zip(self.tensors, places, strict=True)])
        operators = _vector(b, [_operator(b, o, i) for i, o in enumerate(self.operators)])
        inputs, outputs = _ints(b, self.inputs), _ints(b, self.outputs)
        tflite.SubGraphStart(b)
        tflite.SubGraphAddTensors(b, tensors)
        tflite.SubGraphAddInputs(b, inputs)
        tflite.SubGraphAddOutputs(b, outputs)
        tflite.SubGraphAddOperators(b, operators)
        return tflite.SubGraphEnd(b)


def _vector(b: flatbuffers.Builder, offsets: Sequence[int]) -> int:
    b.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        b.PrependUOffsetTRelative(offset)
    return b.EndVector()


def _ints(b: flatbuffers.Builder, values: Sequence[int]) -> int:
    return b.CreateNumpyVector(np.asarray(values, np.int32))


def _buffer(b: flatbuffers.Builder, blob: bytes | None) -> int:
    data = None if blob is None else b.CreateByteVector(blob)
    tflite.BufferStart(b)
    if data is not None:
        tflite.BufferAddData(b, data)
    return tflite.BufferEnd(b)


def _tensor(b: flatbuffers.Builder, tensor: Tensor, place: int) -> int:
    quantization = None
    if tensor.scales:
        scales = b.CreateNumpyVector(np.asarray(tensor.scales, np.float32))
        zeros = b.CreateNumpyVector(np.asarray(tensor.zero_points or [0] * len(tensor.scales), np.int64))
        tflite.QuantizationParametersStart(b)
        tflite.QuantizationParametersAddScale(b, scales)
        tflite.QuantizationParametersAddZeroPoint(b, zeros)
        tflite.QuantizationParametersAddQuantizedDimension(b, tensor.axis)
        quantization = tflite.QuantizationParametersEnd(b)
    shape, name = _ints(b, tensor.shape), b.CreateString(tensor.name)
    tflite.TensorStart(b)
    tflite.TensorAddShape(b, shape)
    tflite.TensorAddType(b, TYPES[tensor.dtype] if tensor.type_code is None else tensor.type_code)
    tflite.TensorAddBuffer(b, place if tensor.buffer is None else tensor.buffer)
    tflite.TensorAddName(b, name)
    if quantization is not None:
        tflite.TensorAddQuantization(b, quantization)
    return tflite.TensorEnd(b)


def _code(b: flatbuffers.Builder, operator: Operator) -> int:
    custom = b.CreateString(operator.custom) if operator.custom else None
    tflite.OperatorCodeStart(b)
    tflite.OperatorCodeAddDeprecatedBuiltinCode(b, min(operator.code, 127))
    tflite.OperatorCodeAddBuiltinCode(b, operator.code)
    tflite.OperatorCodeAddVersion(b, operator.version)
    if custom is not None:
        tflite.OperatorCodeAddCustomCode(b, custom)
    return tflite.OperatorCodeEnd(b)


def _operator(b: flatbuffers.Builder, operator: Operator, index: int) -> int:
    inputs, outputs = _ints(b, operator.inputs), _ints(b, operator.outputs)
    options = operator.options[1](b) if operator.options else None
    tflite.OperatorStart(b)
    tflite.OperatorAddOpcodeIndex(b, index if operator.code_index is None else operator.code_index)
    tflite.OperatorAddInputs(b, inputs)
    tflite.OperatorAddOutputs(b, outputs)
    if operator.options is not None and options is not None:
        tflite.OperatorAddBuiltinOptionsType(b, operator.options[0])
        tflite.OperatorAddBuiltinOptions(b, options)
    return tflite.OperatorEnd(b)


def fully_connected_options(b: flatbuffers.Builder) -> int:
    """FULLY_CONNECTED with a ReLU."""
    tflite.FullyConnectedOptionsStart(b)
    tflite.FullyConnectedOptionsAddFusedActivationFunction(b, tflite.ActivationFunctionType.RELU)
    return tflite.FullyConnectedOptionsEnd(b)


def dense(weights: np.ndarray, bias: np.ndarray, **changes: object) -> File:
    """A file with one FULLY_CONNECTED of the given float weights (outputs x inputs) and a ReLU."""
    outputs, inputs = weights.shape
    file = File(
        tensors=[
            Tensor((1, inputs), name="in"),
            Tensor(weights.shape, data=weights.astype(np.float32).tobytes(), name="weights"),
            Tensor(bias.shape, data=bias.astype(np.float32).tobytes(), name="bias"),
            Tensor((1, outputs), name="model/dense/Relu;model/dense/BiasAdd"),
        ],
        operators=[
            Operator(
                tflite.BuiltinOperator.FULLY_CONNECTED, [0, 1, 2], [3],
                options=(tflite.BuiltinOptions.FullyConnectedOptions, fully_connected_options),
            )
        ],
        inputs=[0],
        outputs=[3],
    )  # fmt: skip
    for name, value in changes.items():
        setattr(file, name, value)
    return file


def hybrid() -> File:
    """A dense layer with int8 weights and float data, as dynamic-range quantisation makes it."""
    file = dense(np.ones((2, 4)), np.zeros(2))
    weights = np.arange(-4, 4, dtype=np.int8)
    file.tensors[1] = Tensor((2, 4), "int8", weights.tobytes(), "weights", scales=[0.5], zero_points=[0])  # type: ignore[index]
    file.operators[0].version = 3
    return file
