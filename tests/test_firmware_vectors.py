"""CMSIS-NN's own unit-test vectors, through our operator registrations, where a model can express them.

Each vector is a folder of C headers in the fetched package. It becomes a model of one operator whose scales give the
vector's multipliers, so that what is tested is our registration: shapes, padding, offsets, requantisation, scratch.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import tflite
from firmware_runner import Board, m4, operators_of, write_model
from numpy.typing import NDArray
from tflite_builder import File, Operator, Tensor

from tinysim.firmware import build
from tinysim.sources import fetch, load_packages

FOLDER = "aidge_export_arm_cortexm/_CMSIS-NN/CMSIS-NN/Tests/UnitTest/TestCases/TestData"
KINDS = {
    r"basic|conv_(?!out_activation$).*|kernel1x1.*|stride2pad1": "conv",
    r"depthwise_.*": "depthwise",
    r"fully_connected.*": "dense",
    r"avgpooling.*": "average",
    r"maxpooling.*": "max",
    r"add|mul|softmax": "other",
}
OTHER_TYPES = re.compile(r"int4|int16|s16")


class UnfitError(Exception):
    """No model says what the vector says; the text is why."""


@dataclass(frozen=True)
class Vector:
    """One folder: its constants without the common prefix, and its arrays by the end of their names."""

    name: str
    values: dict[str, int]
    arrays: dict[str, NDArray[Any]]

    @classmethod
    def read(cls, folder: Path) -> Vector:
        text = "\n".join(path.read_text() for path in sorted(folder.glob("*_data.h")))
        prefix = folder.name.upper() + "_"
        values = {
            name.removeprefix(prefix): int(value) for name, value in re.findall(r"#define (\w+) \(?(-?\d+)\)?", text)
        }
        arrays = {}
        for kind, name, body in re.findall(r"const (\w+)_t (\w+)\[\d*\]\s*=\s*\{([^}]*)\}", text):
            numbers = [int(word) for word in body.replace("\n", " ").split(",") if word.strip()]
            arrays[name.removeprefix(folder.name + "_")] = np.array(numbers, kind)
        return cls(folder.name, values, arrays)

    def pair(self, name: str) -> tuple[int, int]:
        """Height and width of something."""
        short = self.values.get(f"{name}_H", self.values.get(f"{name}_Y"))
        wide = self.values.get(f"{name}_W", self.values.get(f"{name}_X"))
        return (1 if short is None else short), (1 if wide is None else wide)


def real(multiplier: Any, shift: Any) -> Any:
    """The factor that a fixed-point multiplier and a shift to the left stand for."""
    return np.asarray(multiplier, np.float64) / 2.0**31 * 2.0 ** np.asarray(shift, np.float64)


def activation(vector: Vector, zero: int) -> tuple[int, float]:
    """The fused activation, and the output's scale, whose limits are the vector's.

    Most limits are of no activation: then the model has none, and its outputs are clipped to them before they are
    compared, which is the same, as limits apply last.
    """
    low, high = vector.values["OUT_ACTIVATION_MIN"], vector.values["OUT_ACTIVATION_MAX"]
    kinds = tflite.ActivationFunctionType
    if (low, high) == (-128, 127):
        return kinds.NONE, 1.0
    if low == zero and high == 127:
        return kinds.RELU, 1.0
    if low == max(-128, zero) and high > zero:
        return kinds.RELU6, 6.0 / (high - zero)
    if high - zero == zero - low:
        return kinds.RELU_N1_TO_1, 1.0 / (high - zero)
    return kinds.NONE, 1.0


def padding(vector: Vector, kernel: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int]) -> int:
    """SAME or VALID, whichever pads as the vector does."""
    size, out, pad = vector.pair("INPUT"), vector.pair("OUTPUT"), vector.pair("PAD")
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    same_out = tuple(-(-n // s) for n, s in zip(size, stride, strict=True))
    needed = [max(0, (o - 1) * s + r - n) // 2 for o, s, r, n in zip(same_out, stride, reach, size, strict=True)]
    if (same_out, tuple(needed)) == (out, pad):
        return tflite.Padding.SAME
    if pad == (0, 0) and out == tuple((n - r) // s + 1 for n, r, s in zip(size, reach, stride, strict=True)):
        return tflite.Padding.VALID
    raise UnfitError("neither SAME nor VALID pads like that")


def options(kind: str, **values: Any) -> tuple[int, Callable[[flatbuffers.Builder], int]]:
    def write(b: flatbuffers.Builder) -> int:
        getattr(tflite, f"{kind}Start")(b)
        for name, value in values.items():
            getattr(tflite, f"{kind}Add{name}")(b, value)
        return int(getattr(tflite, f"{kind}End")(b))

    return getattr(tflite.BuiltinOptions, kind), write


def model(name: str, tensors: list[Tensor], version: int, opts: Any) -> bytes:
    last = len(tensors) - 1
    given = [i for i, tensor in enumerate(tensors[:-1]) if tensor.data is None]
    code = getattr(tflite.BuiltinOperator, name)
    return File(tensors, [Operator(code, range(last), [last], version, opts)], given, [last]).write()


def quantised(shape: tuple[int, ...], scale: float, zero: int) -> Tensor:
    return Tensor(shape, "int8", scales=[scale], zero_points=[zero])


def with_channels(vector: Vector, kind: str) -> bytes:
    """CONV_2D or DEPTHWISE_CONV_2D."""
    v = vector.values
    zero = v["OUTPUT_OFFSET"]
    fused, out_scale = activation(vector, zero)
    kernel, stride, dilation = vector.pair("FILTER"), vector.pair("STRIDE"), vector.pair("DILATION")
    shape = (v["OUT_CH"], *kernel, v["IN_CH"]) if kind == "conv" else (1, *kernel, v["OUT_CH"])
    scales = [float(s) for s in real(vector.arrays["output_mult"], vector.arrays["output_shift"]) * out_scale]
    zeros = [0] * len(scales)
    axis = 0 if kind == "conv" else 3
    fields = {
        "Padding": padding(vector, kernel, stride, dilation),
        "FusedActivationFunction": fused,
        "StrideH": stride[0],
        "StrideW": stride[1],
        "DilationHFactor": dilation[0],
        "DilationWFactor": dilation[1],
    }
    if kind == "depthwise":
        fields["DepthMultiplier"] = v["OUT_CH"] // v["IN_CH"]
    tensors = [
        quantised((v["INPUT_BATCHES"], *vector.pair("INPUT"), v["IN_CH"]), 1.0, -v["INPUT_OFFSET"]),
        Tensor(shape, "int8", vector.arrays["weights"].tobytes(), scales=scales, zero_points=zeros, axis=axis),
    ]
    if "biases" in vector.arrays:
        tensors.append(
            Tensor((v["OUT_CH"],), "int32", vector.arrays["biases"].tobytes(), scales=scales, zero_points=zeros)
        )
    tensors.append(quantised((v["INPUT_BATCHES"], *vector.pair("OUTPUT"), v["OUT_CH"]), out_scale, zero))
    name, table = ("CONV_2D", "Conv2DOptions") if kind == "conv" else ("DEPTHWISE_CONV_2D", "DepthwiseConv2DOptions")
    return model(name, tensors, 3, options(table, **fields))


def dense(vector: Vector) -> bytes:
    v = vector.values
    fused, out_scale = activation(vector, v["OUTPUT_OFFSET"])
    scale = float(real(v["OUTPUT_MULTIPLIER"], v["OUTPUT_SHIFT"]) * out_scale)
    depth, batches = v["ACCUMULATION_DEPTH"], v["INPUT_BATCHES"]
    tensors = [
        quantised((batches, depth), 1.0, -v["INPUT_OFFSET"]),
        Tensor((v["OUT_CH"], depth), "int8", vector.arrays["weights"].tobytes(), scales=[scale], zero_points=[0]),
    ]
    if "biases" in vector.arrays:
        tensors.append(
            Tensor((v["OUT_CH"],), "int32", vector.arrays["biases"].tobytes(), scales=[scale], zero_points=[0])
        )
    tensors.append(quantised((batches, v["OUT_CH"]), out_scale, v["OUTPUT_OFFSET"]))
    return model("FULLY_CONNECTED", tensors, 4, options("FullyConnectedOptions", FusedActivationFunction=fused))


def pool(vector: Vector, name: str) -> bytes:
    v = vector.values
    fused, scale = activation(vector, 0)
    kernel, stride = vector.pair("FILTER"), vector.pair("STRIDE")
    opts = options(
        "Pool2DOptions",
        Padding=padding(vector, kernel, stride, (1, 1)),
        FusedActivationFunction=fused,
        StrideH=stride[0],
        StrideW=stride[1],
        FilterHeight=kernel[0],
        FilterWidth=kernel[1],
    )
    shapes = [(v["INPUT_BATCHES"], *vector.pair(end), v["IN_CH"]) for end in ("INPUT", "OUTPUT")]
    return model(name, [quantised(shape, scale, 0) for shape in shapes], 2, opts)


def elementwise(vector: Vector) -> bytes:
    v = vector.values
    fused, _ = activation(vector, v["OUTPUT_OFFSET"])
    factor = real(v["OUTPUT_MULT"], v["OUTPUT_SHIFT"])
    first = second = 1.0
    out = first * second / factor
    if vector.name == "add":
        first = float(real(v["INPUT1_MULT"], v["INPUT1_SHIFT"]) * 2)
        second = float(real(v["INPUT2_MULT"], v["INPUT2_SHIFT"]) * 2)
        out = 2 * max(first, second) / (factor * 2.0 ** v["LEFT_SHIFT"])
    shape = (1, v["DST_SIZE"])
    tensors = [
        quantised(shape, first, -v["INPUT1_OFFSET"]),
        quantised(shape, second, -v["INPUT2_OFFSET"]),
        quantised(shape, float(out), v["OUTPUT_OFFSET"]),
    ]
    table = {"add": "AddOptions", "mul": "MulOptions"}[vector.name]
    return model(vector.name.upper(), tensors, 2, options(table, FusedActivationFunction=fused))


def softmax(vector: Vector) -> bytes:
    v = vector.values
    shape = (v["NUM_ROWS"], v["ROW_SIZE"])
    scale = float(real(v["INPUT_MULT"], v["INPUT_LEFT_SHIFT"]) / 2.0**26)  # 31 - 5 integer bits
    tensors = [quantised(shape, scale, 0), quantised(shape, 1 / 256, -128)]
    return model("SOFTMAX", tensors, 2, options("SoftmaxOptions", Beta=1.0))


def as_model(vector: Vector, kind: str) -> bytes:
    """The vector as a .tflite file. Raises UnfitError."""
    if kind in ("conv", "depthwise"):
        return with_channels(vector, kind)
    if kind == "dense":
        return dense(vector)
    if kind in ("average", "max"):
        return pool(vector, {"average": "AVERAGE_POOL_2D", "max": "MAX_POOL_2D"}[kind])
    return softmax(vector) if vector.name == "softmax" else elementwise(vector)


def inputs_of(vector: Vector) -> list[NDArray[Any]]:
    names = ["input1", "input2"] if "input1" in vector.arrays else ["input"]
    return [vector.arrays[name].astype(np.int8) for name in names]


def test_vectors(tmp_path: Path) -> None:
    """All at once: which vectors there are is known only when the package is fetched."""
    root = fetch(load_packages()["cmsis"]) / FOLDER
    part, passed, left_out, wrong = m4(), [], {}, {}
    for folder in sorted(root.iterdir()):
        kind = next((kind for pattern, kind in KINDS.items() if re.fullmatch(pattern, folder.name)), None)
        if kind is None or OTHER_TYPES.search(folder.name):
            continue
        vector = Vector.read(folder)
        try:
            content = as_model(vector, kind)
        except UnfitError as reason:
            left_out[folder.name] = str(reason)
            continue
        firmware = build(write_model(tmp_path, content), part, operators=operators_of(content))
        (found,) = Board(firmware, part).infer(inputs_of(vector))
        expected = vector.arrays["output_ref" if "output_ref" in vector.arrays else "output"]
        limits = vector.values.get("OUT_ACTIVATION_MIN", -128), vector.values.get("OUT_ACTIVATION_MAX", 127)
        found = np.clip(found, *limits)
        differing = int(np.count_nonzero(found != expected)) if found.shape == expected.shape else -1
        if differing:
            wrong[folder.name] = differing
        else:
            passed.append(folder.name)
    assert wrong == {}, f"left out: {left_out}"
    for kind in (
        "conv_",
        "conv_1_x_n",
        "kernel1x1",
        "depthwise_",
        "fully_connected",
        "avgpooling",
        "maxpooling",
        "add",
        "mul",
        "softmax",
    ):
        assert any(name.startswith(kind) for name in passed), f"no vector of {kind} fits: {left_out}"
    assert len(passed) >= 50, left_out
