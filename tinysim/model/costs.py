"""How many multiply-accumulates an operator does and how many parameters it has.

MACs, by the usual definition (one multiplication and one addition; biases, activations and zero padding do not change
it: a window at the border counts in full):

==================== =======================================================================
CONV_2D, CONV_3D     output elements x filter window x filter input channels
DEPTHWISE_CONV_2D    output elements x filter window
TRANSPOSE_CONV       input elements x filter window x output channels
FULLY_CONNECTED      output elements x input features
BATCH_MATMUL         output elements x length of the contracted axis
SVDF, LSTM, RNN      elements of all weight matrices x batch x time steps
everything else      0
==================== =======================================================================
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from tinysim.model.plan import Kind, Operator, Tensor

__all__ = ["count_macs", "is_hybrid", "kind_of", "parameter_tensors"]

_CONVOLUTIONS = frozenset({"CONV_2D", "CONV_3D"})
_RECURRENT = frozenset({"LSTM", "RNN", "UNIDIRECTIONAL_SEQUENCE_LSTM", "UNIDIRECTIONAL_SEQUENCE_RNN"})
_WITH_BIAS = frozenset({"CONV_2D", "CONV_3D", "CONV_3D_TRANSPOSE", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "SVDF"}) | {
    "TRANSPOSE_CONV",
    *_RECURRENT,
}
_COMPUTE = _WITH_BIAS | {"BATCH_MATMUL"}
_REAL = frozenset({"float16", "bfloat16", "float32", "float64"})
_QUANTISED = frozenset({"int4", "int8", "uint8", "int16"})
_NO_PARAMETERS = frozenset({"PADV2", "FILL", "RANGE"})


def _matrices(inputs: Iterable[Tensor | None]) -> int:
    return sum(t.elements for t in inputs if t is not None and t.constant and len(t.shape) == 2)


def count_macs(
    name: str, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor], options: Mapping[str, object]
) -> int:
    """Multiply-accumulates of one call of an operator; see the module for the definition.

    Raises ValueError where the shapes do not fit the operator.
    """
    if name not in _COMPUTE or not outputs:
        return 0
    if name in _RECURRENT or name == "SVDF":
        data = _required(inputs, 0)
        if name == "SVDF":
            return _matrices(inputs) * (data.shape[0] if data.shape else 1)
        return _matrices(inputs) * (data.elements // data.shape[-1] if data.shape and data.shape[-1] else 0)
    if name == "BATCH_MATMUL":
        left = _required(inputs, 0)
        return outputs[0].elements * left.shape[-2 if options.get("adj_x") else -1] if len(left.shape) > 1 else 0
    weights = _required(inputs, 1)
    if name == "FULLY_CONNECTED":
        if len(weights.shape) != 2:
            raise ValueError(f"weights of {len(weights.shape)} dimensions")
        return outputs[0].elements * weights.shape[1]
    rank = 5 if "CONV_3D" in name else 4
    if len(weights.shape) != rank:
        raise ValueError(f"a filter of {len(weights.shape)} dimensions")
    if name == "CONV_2D":
        return outputs[0].elements * weights.elements // max(weights.shape[0], 1)
    if name == "DEPTHWISE_CONV_2D":
        return outputs[0].elements * weights.shape[1] * weights.shape[2]
    if name == "CONV_3D":
        return outputs[0].elements * weights.elements // max(weights.shape[-1], 1)
    data = _required(inputs, 2)
    return data.elements * (weights.elements // max(weights.shape[-1], 1))


def _required(inputs: Sequence[Tensor | None], position: int) -> Tensor:
    tensor = inputs[position] if position < len(inputs) else None
    if tensor is None:
        raise ValueError(f"no input {position}")
    return tensor


def parameter_tensors(name: str, inputs: Sequence[Tensor | None]) -> tuple[Tensor, ...]:
    """The constant inputs that hold trained values: weights, biases, scales; not shapes, axes or paddings.

    Real and quantised constants count for every operator; 32 and 64 bit integers only where they are a bias.
    """
    if name in _NO_PARAMETERS:
        return ()
    wide = frozenset({"int32", "int64"}) if name in _WITH_BIAS and name != "TRANSPOSE_CONV" else frozenset()
    chosen = [t for t in inputs if t is not None and t.constant and t.dtype in _REAL | _QUANTISED | wide]
    if name == "TRANSPOSE_CONV" and len(inputs) > 3:  # input 0 is the output's shape, input 3 the bias
        bias = inputs[3]
        if bias is not None and bias.constant and bias not in chosen:
            chosen.append(bias)
    return tuple(chosen)


def is_hybrid(name: str, inputs: Sequence[Tensor | None]) -> bool:
    """Integer weights with float data: what the converter's dynamic-range quantisation makes."""
    real_data = any(t is not None and not t.constant and t.dtype in _REAL for t in inputs)
    return name in _COMPUTE and real_data and any(t.dtype in _QUANTISED for t in parameter_tensors(name, inputs))


def kind_of(operators: Sequence[Operator], inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> Kind:
    """How the model computes, judged by every operator with a data input; conversions at the border do not count."""
    computed: set[str] = set()
    hybrid = False
    for operator in operators:
        data = [t for t in operator.inputs if t is not None and not t.constant]
        weights = parameter_tensors(operator.name, operator.inputs)
        if operator.name == "DEQUANTIZE" and weights:
            computed.update(t.dtype for t in weights)
            continue
        if operator.name in {"QUANTIZE", "DEQUANTIZE"}:
            continue
        hybrid = hybrid or is_hybrid(operator.name, operator.inputs)
        computed.update(t.dtype for t in (*data, *operator.outputs) if t.dtype in _REAL | _QUANTISED)
    if hybrid:
        return Kind.HYBRID
    if not computed:
        computed = {t.dtype for t in (*inputs, *outputs)}
    if "float16" in computed and computed <= {"float16", "float32"}:
        return Kind.FLOAT16
    if len(computed) == 1:
        only = computed.pop()
        if only == "int8":
            border = {t.dtype for t in (*inputs, *outputs)}
            return Kind.INT8 if not border & _REAL else Kind.INT8_INSIDE
        if only in set(Kind):
            return Kind(only)
    return Kind.MIXED
