"""Every operator, alone in a model, in both kernel flavours: the same bits as the host's runtime."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import pytest
import tflite
from firmware_runner import Board, host_outputs, m4, operators_of, random_inputs, write_model
from tflite_builder import File, Operator, Tensor

from tinysim.firmware import Kernels, build

FLOAT_TOLERANCE = 2e-5
RELU6 = tflite.ActivationFunctionType.RELU6
RELU = tflite.ActivationFunctionType.RELU
SAME, VALID = tflite.Padding.SAME, tflite.Padding.VALID
rng = np.random.default_rng(7)


def options(kind: str, **values: Any) -> tuple[int, Callable[[flatbuffers.Builder], int]]:
    """The options table ``kind`` with fields named as in the schema."""

    def write(b: flatbuffers.Builder) -> int:
        getattr(tflite, f"{kind}Start")(b)
        for name, value in values.items():
            getattr(tflite, f"{kind}Add{name}")(b, value)
        return int(getattr(tflite, f"{kind}End")(b))

    return getattr(tflite.BuiltinOptions, kind), write


def int8(*shape: int, scale: float = 0.05, zero: int = 3) -> Tensor:
    """An activation of int8."""
    return Tensor(shape, "int8", scales=[scale], zero_points=[zero])


def weights(*shape: int, axis: int | None = 0, scale: float = 0.02) -> Tensor:
    """Weights of int8, with a scale for each index of ``axis`` or one for all."""
    count = 1 if axis is None else shape[axis]
    data = rng.integers(-127, 128, shape).astype(np.int8).tobytes()
    scales = (scale * rng.uniform(0.5, 1.5, count)).astype(np.float32)
    return Tensor(shape, "int8", data, scales=[float(s) for s in scales], zero_points=[0] * count, axis=axis or 0)


def bias(of: Tensor, count: int, input_scale: float = 0.05) -> Tensor:
    """A bias of int32 on the scale of input times weights."""
    scales = [input_scale * s for s in of.scales]
    data = rng.integers(-2000, 2000, count).astype(np.int32).tobytes()
    return Tensor((count,), "int32", data, scales=scales, zero_points=[0] * len(scales))


def constant(values: Sequence[Any], shape: Sequence[int] | None = None, dtype: str = "int32") -> Tensor:
    """A constant tensor."""
    array = np.asarray(values, dtype)
    return Tensor(shape if shape is not None else array.shape, dtype, array.tobytes())


def one(name: str, tensors: Sequence[Tensor], *, version: int = 1, opts: Any = None) -> bytes:
    """A model of one operator: all tensors but the last are its inputs, those without data the model's."""
    code = getattr(tflite.BuiltinOperator, name)
    last = len(tensors) - 1
    inputs = [i for i, tensor in enumerate(tensors[:-1]) if tensor.data is None]
    return File(tensors, [Operator(code, range(last), [last], version, opts)], inputs, [last]).write()


def conv(
    height: int,
    width: int,
    inputs: int,
    outputs: int,
    kernel: tuple[int, int],
    *,
    stride: int = 1,
    padding: int = SAME,
    dilation: int = 1,
    out: tuple[int, int],
    axis: int | None = 0,
    with_bias: bool = True,
) -> bytes:
    w = weights(outputs, *kernel, inputs, axis=axis)
    opts = options(
        "Conv2DOptions",
        Padding=padding,
        StrideW=stride,
        StrideH=stride,
        FusedActivationFunction=RELU6,
        DilationWFactor=dilation,
        DilationHFactor=dilation,
    )
    extra = [bias(w, outputs)] if with_bias else []
    return one(
        "CONV_2D",
        [int8(1, height, width, inputs), w, *extra, int8(1, *out, outputs, scale=0.4, zero=-128)],
        version=3,
        opts=opts,
    )


def depthwise(
    height: int,
    width: int,
    inputs: int,
    multiplier: int,
    kernel: tuple[int, int],
    *,
    stride: int = 1,
    padding: int = SAME,
    dilation: int = 1,
    out: tuple[int, int],
) -> bytes:
    channels = inputs * multiplier
    w = weights(1, *kernel, channels, axis=3)
    opts = options(
        "DepthwiseConv2DOptions",
        Padding=padding,
        StrideW=stride,
        StrideH=stride,
        DepthMultiplier=multiplier,
        FusedActivationFunction=RELU,
        DilationWFactor=dilation,
        DilationHFactor=dilation,
    )
    return one(
        "DEPTHWISE_CONV_2D",
        [int8(1, height, width, inputs), w, bias(w, channels), int8(1, *out, channels, scale=0.2)],
        version=3,
        opts=opts,
    )


def dense(rows: int, depth: int, outputs: int, *, axis: int | None, with_bias: bool = True, version: int = 4) -> bytes:
    w = weights(outputs, depth, axis=axis)
    extra = [bias(w, outputs)] if with_bias else []
    opts = options("FullyConnectedOptions", FusedActivationFunction=RELU)
    return one(
        "FULLY_CONNECTED",
        [int8(rows, depth), w, *extra, int8(rows, outputs, scale=0.3, zero=-10)],
        version=version,
        opts=opts,
    )


def pool(
    name: str,
    size: tuple[int, int, int],
    kernel: int,
    stride: int,
    padding: int,
    out: tuple[int, int],
    dtype: str = "int8",
) -> bytes:
    opts = options(
        "Pool2DOptions", Padding=padding, StrideW=stride, StrideH=stride, FilterWidth=kernel, FilterHeight=kernel
    )
    if dtype == "float32":
        return one(name, [Tensor((1, *size)), Tensor((1, *out, size[2]))], opts=opts)
    return one(name, [int8(1, *size), int8(1, *out, size[2])], version=2, opts=opts)


def mean(
    name: str,
    shape: tuple[int, ...],
    axes: Sequence[int],
    out: tuple[int, ...],
    keep: bool,
    scale: float = 0.05,
    zero: int = 3,
    dtype: str = "int8",
) -> bytes:
    opts = options("ReducerOptions", KeepDims=keep)
    pair = [int8(*shape), int8(*out, scale=scale, zero=zero)] if dtype == "int8" else [Tensor(shape), Tensor(out)]
    return one(name, [pair[0], constant(axes), pair[1]], version=2 if dtype == "int8" else 1, opts=opts)


def unary(name: str, before: Tensor, after: Tensor, version: int = 2, opts: Any = None) -> bytes:
    return one(name, [before, after], version=version, opts=opts)


def pair(name: str, first: Tensor, second: Tensor, after: Tensor) -> bytes:
    if name in ("MAXIMUM", "MINIMUM"):
        return one(name, [first, second, after], version=2, opts=options("MaximumMinimumOptions"))
    kind = {"ADD": "AddOptions", "MUL": "MulOptions", "SUB": "SubOptions"}[name]
    return one(name, [first, second, after], version=2, opts=options(kind, FusedActivationFunction=RELU))


def split() -> bytes:
    tensors = [constant([2], ()), int8(1, 3, 6), int8(1, 3, 3), int8(1, 3, 3)]
    operator = Operator(tflite.BuiltinOperator.SPLIT, [0, 1], [2, 3], 2, options("SplitOptions", NumSplits=2))
    return File(tensors, [operator], [1], [2, 3]).write()


def unpack() -> bytes:
    tensors = [int8(3, 2, 5), int8(3, 5), int8(3, 5)]
    operator = Operator(tflite.BuiltinOperator.UNPACK, [0], [1, 2], 2, options("UnpackOptions", Num=2, Axis=1))
    return File(tensors, [operator], [0], [1, 2]).write()


def floats(*shape: int) -> Tensor:
    """Constant weights of float32."""
    return Tensor(shape, "float32", rng.normal(size=shape).astype(np.float32).tobytes())


def float_dense() -> bytes:
    opts = options("FullyConnectedOptions", FusedActivationFunction=RELU)
    return one("FULLY_CONNECTED", [Tensor((2, 9)), floats(5, 9), floats(5), Tensor((2, 5))], opts=opts)


def float_conv() -> bytes:
    opts = options(
        "Conv2DOptions",
        Padding=SAME,
        StrideW=2,
        StrideH=2,
        DilationWFactor=1,
        DilationHFactor=1,
        FusedActivationFunction=RELU6,
    )
    return one("CONV_2D", [Tensor((1, 7, 7, 3)), floats(4, 3, 3, 3), floats(4), Tensor((1, 4, 4, 4))], opts=opts)


def flatten() -> bytes:
    """Flatten as TensorFlow 2.21 writes it: SHAPE, STRIDED_SLICE, PACK, RESHAPE."""
    op = tflite.BuiltinOperator
    tensors = [
        int8(1, 3, 4, 2),
        Tensor((4,), "int32"),
        constant([0]),
        constant([1]),
        constant([1]),
        Tensor((), "int32"),
        constant(24, ()),
        Tensor((2,), "int32"),
        int8(1, 24),
    ]
    operators = [
        Operator(op.SHAPE, [0], [1], 1, options("ShapeOptions", OutType=tflite.TensorType.INT32)),
        Operator(op.STRIDED_SLICE, [1, 2, 3, 4], [5], 1, options("StridedSliceOptions", ShrinkAxisMask=1)),
        Operator(op.PACK, [5, 6], [7], 1, options("PackOptions", ValuesCount=2, Axis=0)),
        Operator(op.RESHAPE, [0, 7], [8], 1),
    ]
    return File(tensors, operators, [0], [8]).write()


def squeeze_and_excite() -> bytes:
    """Operators with scratch and persistent buffers in turns, which this runtime allows in one order only."""
    op = tflite.BuiltinOperator
    w1, w2 = weights(4, 3, 3, 4), weights(4, 1, 1, 4)
    conv_options = partial(
        options, "Conv2DOptions", Padding=SAME, StrideW=1, StrideH=1, DilationWFactor=1, DilationHFactor=1
    )
    pooled = options("Pool2DOptions", Padding=VALID, StrideW=6, StrideH=6, FilterWidth=6, FilterHeight=6)
    tensors = [
        int8(1, 6, 6, 4),
        w1,
        bias(w1, 4),
        int8(1, 6, 6, 4, scale=0.2),
        int8(1, 1, 1, 4, scale=0.2),
        w2,
        bias(w2, 4, 0.2),
        int8(1, 1, 1, 4, scale=0.3),
        int8(1, 6, 6, 4, scale=0.5),
    ]
    operators = [
        Operator(op.CONV_2D, [0, 1, 2], [3], 3, conv_options()),
        Operator(op.AVERAGE_POOL_2D, [3], [4], 2, pooled),
        Operator(op.CONV_2D, [4, 5, 6], [7], 3, conv_options()),
        Operator(op.MUL, [3, 7], [8], 2, options("MulOptions")),
    ]
    return File(tensors, operators, [0], [8]).write()


SOFTMAX_OUT = {"scale": 1 / 256, "zero": -128}
CASES: dict[str, Callable[[], bytes]] = {
    "conv 3x3": lambda: conv(9, 8, 5, 7, (3, 3), out=(9, 8)),
    "conv 3x3 stride 2": lambda: conv(9, 9, 3, 8, (3, 3), stride=2, out=(5, 5)),
    "conv 5x3 valid": lambda: conv(10, 10, 4, 4, (5, 3), padding=VALID, out=(6, 8)),
    "conv 3x3 dilated": lambda: conv(9, 9, 4, 6, (3, 3), dilation=2, out=(9, 9)),
    "conv 1x1": lambda: conv(5, 5, 16, 9, (1, 1), out=(5, 5)),
    "conv 1x1 stride 2": lambda: conv(6, 6, 8, 4, (1, 1), stride=2, out=(3, 3)),
    "conv 1x5": lambda: conv(1, 20, 4, 6, (1, 5), out=(1, 20)),
    "conv one scale": lambda: conv(5, 5, 3, 4, (3, 3), axis=None, out=(5, 5)),
    "conv no bias": lambda: conv(5, 5, 3, 4, (3, 3), with_bias=False, out=(5, 5)),
    "depthwise 3x3": lambda: depthwise(8, 8, 6, 1, (3, 3), out=(8, 8)),
    "depthwise 3x3 stride 2": lambda: depthwise(9, 9, 8, 1, (3, 3), stride=2, out=(5, 5)),
    "depthwise 5x2 valid": lambda: depthwise(9, 9, 5, 1, (5, 2), padding=VALID, out=(5, 8)),
    "depthwise multiplier": lambda: depthwise(6, 6, 2, 4, (3, 3), out=(6, 6)),
    "depthwise dilated": lambda: depthwise(9, 9, 4, 1, (3, 3), dilation=2, out=(9, 9)),
    "dense": lambda: dense(1, 33, 7, axis=None),
    "dense batch": lambda: dense(3, 20, 5, axis=None),
    "dense per channel": lambda: dense(1, 33, 7, axis=0),
    "dense per channel batch": lambda: dense(3, 21, 6, axis=0),
    "dense per channel, no bias": lambda: dense(1, 16, 4, axis=0, with_bias=False, version=6),
    "dense no bias": lambda: dense(2, 16, 4, axis=None, with_bias=False, version=6),
    "average pool": lambda: pool("AVERAGE_POOL_2D", (7, 7, 5), 3, 2, SAME, (4, 4)),
    "average pool all": lambda: pool("AVERAGE_POOL_2D", (6, 6, 9), 6, 1, VALID, (1, 1)),
    "max pool": lambda: pool("MAX_POOL_2D", (7, 7, 5), 2, 2, SAME, (4, 4)),
    "average pool float": lambda: pool("AVERAGE_POOL_2D", (6, 6, 3), 3, 3, VALID, (2, 2), "float32"),
    "max pool float": lambda: pool("MAX_POOL_2D", (6, 6, 3), 2, 2, VALID, (3, 3), "float32"),
    "softmax": lambda: unary(
        "SOFTMAX", int8(2, 11), int8(2, 11, **SOFTMAX_OUT), opts=options("SoftmaxOptions", Beta=1.0)
    ),
    "softmax float": lambda: unary("SOFTMAX", Tensor((2, 11)), Tensor((2, 11)), 1, options("SoftmaxOptions", Beta=1.0)),
    "add": lambda: pair("ADD", int8(1, 4, 4, 3), int8(1, 4, 4, 3, scale=0.11, zero=-7), int8(1, 4, 4, 3, scale=0.13)),
    "add broadcast": lambda: pair("ADD", int8(1, 4, 4, 3), int8(1, 1, 1, 3, scale=0.11), int8(1, 4, 4, 3, scale=0.13)),
    "sub": lambda: pair("SUB", int8(1, 4, 4, 3), int8(1, 4, 4, 3, scale=0.11, zero=-7), int8(1, 4, 4, 3, scale=0.13)),
    "mul": lambda: pair("MUL", int8(1, 4, 4, 3), int8(1, 4, 4, 3, scale=0.11, zero=-7), int8(1, 4, 4, 3, scale=0.2)),
    "mul broadcast": lambda: pair("MUL", int8(1, 4, 4, 3), int8(1, 1, 1, 3, scale=0.11), int8(1, 4, 4, 3, scale=0.2)),
    "mean keeps dimensions": lambda: mean("MEAN", (1, 5, 6, 7), [1, 2], (1, 1, 1, 7), True),
    "mean rescaled": lambda: mean("MEAN", (1, 7, 7, 8), [1, 2], (1, 8), False, 0.021, -11),
    "mean last axis": lambda: mean("MEAN", (2, 5, 6), [-1], (2, 5), False, 0.04, 1),
    "mean float": lambda: mean("MEAN", (1, 5, 6, 7), [1, 2], (1, 7), False, dtype="float32"),
    "maximum over an area": lambda: mean("REDUCE_MAX", (1, 5, 6, 7), [1, 2], (1, 7), False),
    "flatten": flatten,
    "expand dimensions": lambda: one("EXPAND_DIMS", [int8(1, 6, 4), constant(1, ()), int8(1, 1, 6, 4)]),
    "squeeze": lambda: one("SQUEEZE", [int8(1, 1, 6, 4), int8(6, 4)], opts=options("SqueezeOptions")),
    "transpose": lambda: one("TRANSPOSE", [int8(1, 3, 4, 5), constant([0, 3, 1, 2]), int8(1, 5, 3, 4)], version=2),
    "transpose float": lambda: one("TRANSPOSE", [Tensor((3, 4, 5)), constant([2, 0, 1]), Tensor((5, 3, 4))]),
    "requantise": lambda: unary("QUANTIZE", int8(1, 40), int8(1, 40, scale=0.07, zero=-20), 1),
    "quantise": lambda: unary("QUANTIZE", Tensor((1, 40)), int8(1, 40, scale=0.02, zero=5), 1),
    "dequantise": lambda: unary("DEQUANTIZE", int8(1, 40), Tensor((1, 40))),
    "leaky": lambda: unary(
        "LEAKY_RELU", int8(1, 50), int8(1, 50, scale=0.04), 1, options("LeakyReluOptions", Alpha=0.3)
    ),
    "leaky float": lambda: unary(
        "LEAKY_RELU", Tensor((1, 50)), Tensor((1, 50)), 1, options("LeakyReluOptions", Alpha=0.3)
    ),
    "hard swish": lambda: unary("HARD_SWISH", int8(1, 256, zero=-5), int8(1, 256, scale=0.04, zero=-110), 1),
    "hard swish coarse": lambda: unary("HARD_SWISH", int8(1, 256, scale=0.9), int8(1, 256, scale=0.9), 1),
    "hard swish float": lambda: unary("HARD_SWISH", Tensor((1, 50)), Tensor((1, 50)), 1),
    "sigmoid": lambda: unary("LOGISTIC", int8(1, 64), int8(1, 64, **SOFTMAX_OUT)),
    "sigmoid float": lambda: unary("LOGISTIC", Tensor((1, 64)), Tensor((1, 64)), 1),
    "tanh": lambda: unary("TANH", int8(1, 64), int8(1, 64, scale=1 / 128, zero=0)),
    "tanh float": lambda: unary("TANH", Tensor((1, 64)), Tensor((1, 64)), 1),
    "relu": lambda: unary("RELU", int8(1, 64), int8(1, 64)),
    "relu rescaled": lambda: unary("RELU", int8(1, 64), int8(1, 64, scale=0.03, zero=-128)),
    "relu6": lambda: unary("RELU6", int8(1, 64), int8(1, 64)),
    "pad": lambda: one(
        "PAD", [int8(1, 4, 5, 3), constant([[0, 0], [1, 2], [3, 0], [0, 0]]), int8(1, 7, 8, 3)], version=2
    ),
    "concatenation": lambda: one(
        "CONCATENATION",
        [int8(1, 4, 3), int8(1, 4, 2), int8(1, 4, 5)],
        version=2,
        opts=options("ConcatenationOptions", Axis=2),
    ),
    "maximum": lambda: pair("MAXIMUM", int8(1, 4, 4, 3), int8(1, 4, 4, 3), int8(1, 4, 4, 3)),
    "minimum broadcast": lambda: pair("MINIMUM", int8(1, 4, 4, 3), int8(1, 1, 1, 3), int8(1, 4, 4, 3)),
    "prelu": lambda: one(
        "PRELU", [int8(1, 4, 4, 3), weights(1, 1, 3, axis=None, scale=0.01), int8(1, 4, 4, 3, scale=0.06)]
    ),
    "prelu float": lambda: one(
        "PRELU", [Tensor((1, 4, 4, 3)), constant([[[0.1, 0.2, -0.3]]], dtype="float32"), Tensor((1, 4, 4, 3))]
    ),
    "unit length": lambda: unary("L2_NORMALIZATION", int8(1, 16, zero=0), int8(1, 16, scale=1 / 128, zero=0)),
    "unit length float": lambda: unary("L2_NORMALIZATION", Tensor((1, 16)), Tensor((1, 16)), 1),
    "nearest neighbour": lambda: one(
        "RESIZE_NEAREST_NEIGHBOR",
        [int8(1, 3, 4, 2), constant([6, 8]), int8(1, 6, 8, 2)],
        version=2,
        opts=options("ResizeNearestNeighborOptions"),
    ),
    "index of the largest": lambda: one(
        "ARG_MAX",
        [int8(3, 20), constant([1], ()), Tensor((3,), "int32")],
        version=2,
        opts=options("ArgMaxOptions", OutputType=tflite.TensorType.INT32),
    ),
    "pad with a value": lambda: one(
        "PADV2",
        [
            int8(1, 4, 5, 3),
            constant([[0, 0], [1, 2], [3, 0], [0, 0]]),
            Tensor((1,), "int8", b"\x09", scales=[0.05], zero_points=[3]),
            int8(1, 7, 8, 3),
        ],
        version=2,
    ),
    "sub float": lambda: one(
        "SUB",
        [Tensor((1, 9)), Tensor((1, 9)), Tensor((1, 9))],
        opts=options("SubOptions", FusedActivationFunction=RELU),
    ),
    "negative": lambda: unary("NEG", Tensor((1, 9)), Tensor((1, 9)), 1),
    "absolute": lambda: unary("ABS", Tensor((1, 9)), Tensor((1, 9)), 1),
    "round": lambda: unary("ROUND", Tensor((1, 9)), Tensor((1, 9)), 1),
    "floor": lambda: unary("FLOOR", Tensor((1, 9)), Tensor((1, 9)), 1),
    "ceiling": lambda: unary("CEIL", Tensor((1, 9)), Tensor((1, 9)), 1),
    "sine": lambda: unary("SIN", Tensor((1, 9)), Tensor((1, 9)), 1),
    "cosine": lambda: unary("COS", Tensor((1, 9)), Tensor((1, 9)), 1),
    "square": lambda: unary("SQUARE", Tensor((1, 9)), Tensor((1, 9)), 1),
    "split": lambda: split(),
    "unpack": lambda: unpack(),
    "strided slice": lambda: one(
        "STRIDED_SLICE",
        [int8(1, 6, 7, 3), constant([0, 1, 0, 0]), constant([1, 6, 7, 2]), constant([1, 2, 3, 1]), int8(1, 3, 3, 2)],
        version=2,
        opts=options("StridedSliceOptions"),
    ),
    "dense float": lambda: float_dense(),
    "conv float": lambda: float_conv(),
    "squeeze and excite": squeeze_and_excite,
}


@pytest.mark.parametrize("kernels", list(Kernels))
@pytest.mark.parametrize("name", CASES)
def test_outputs_are_the_hosts(name: str, kernels: Kernels, tmp_path: Path) -> None:
    content = CASES[name]()
    inputs = random_inputs(content, seed=len(name))
    part = m4()
    firmware = build(write_model(tmp_path, content), part, operators=operators_of(content), kernels=kernels)
    found = Board(firmware, part).infer(inputs)
    wanted = host_outputs(content, inputs)
    assert len(found) == len(wanted)
    for ours, hosts in zip(found, wanted, strict=True):
        assert hosts.size == ours.size
        if hosts.dtype == np.float32:
            np.testing.assert_allclose(ours, hosts.ravel(), rtol=FLOAT_TOLERANCE, atol=FLOAT_TOLERANCE)
        else:
            np.testing.assert_array_equal(ours, hosts.ravel())
            assert np.unique(hosts).size > 1, "a constant output proves nothing"
