"""Reading a .tflite file, safely: nothing in it is trusted.

FlatBuffers has no verifier for Python, so each table is checked to lie in the file before it is read, the elements read
are limited by the size of the file (no loop of a hostile length), and every index is checked before it is used.
"""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from tinysim.errors import ModelError
from tinysim.model.costs import count_macs, kind_of, parameter_tensors
from tinysim.model.plan import Model, Operator, Quantization, Tensor

__all__ = ["load_model"]

_IDENTIFIER = b"TFL3"
_SCHEMA_VERSION = 3
_LARGEST_FILE_BYTES = 1 << 28  # no microcontroller holds more; keeps the reading of a wrong file short
_LARGEST_TENSOR_ELEMENTS = 1 << 31
_DAMAGE = (struct.error, ValueError, TypeError, IndexError, OverflowError, AttributeError)  # what the accessors raise
_BITS = {
    "bool": 8, "int4": 4, "int8": 8, "uint8": 8, "int16": 16, "uint16": 16, "float16": 16, "bfloat16": 16, "int32": 32,
    "uint32": 32, "float32": 32, "int64": 64, "uint64": 64, "float64": 64, "complex64": 64, "complex128": 128,
}  # fmt: skip
_NO_SIZE = frozenset({"string", "resource", "variant"})
# The accessors of the package give enumerations as numbers: the schema's enumeration for each option that is one.
_ENUMERATIONS = {
    "Padding": "Padding",
    "FusedActivationFunction": "ActivationFunctionType",
    "WeightsFormat": "FullyConnectedOptionsWeightsFormat",
    "KernelType": "LSTMKernelType",
    "Mode": "MirrorPadMode",
    "InDataType": "TensorType",
    "OutDataType": "TensorType",
    "OutType": "TensorType",
    "OutputType": "TensorType",
    "IdxOutType": "TensorType",
    "QuantizedBiasType": "TensorType",
}


def load_model(path: str | Path) -> Model:
    """Read the .tflite file at ``path``.

    Raises ModelError where it cannot be read, is not a TFLite file, is damaged, or has not exactly one subgraph.
    """
    path = Path(path)
    content = _content(path)
    try:
        return _Reader(path, content).model()
    except ModelError:
        raise
    except _DAMAGE as error:
        raise _damaged(path, str(error)) from error


def _content(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size > _LARGEST_FILE_BYTES:
            raise ModelError(f"{path} has {size} bytes, more than any model for a microcontroller",
                             hint="give a .tflite file of at most 256 MiB")  # fmt: skip
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise ModelError(f"there is no file {path}", hint="give the path of a .tflite file") from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ModelError(f"{path} cannot be read: {reason}", hint="give the path of a .tflite file") from error
    if not content:
        raise ModelError(f"{path} is empty", hint="convert or download the model again")
    if content[4:8] != _IDENTIFIER:
        raise ModelError(f"{path} is not a TFLite file: {_looks_like(content)}",
                         hint="convert it with tf.lite.TFLiteConverter")  # fmt: skip
    return content


def _looks_like(content: bytes) -> str:
    for start, what in (
        (b"\x89HDF\r\n\x1a\n", "it is HDF5, as Keras's .h5"),
        (b"PK\x03\x04", "it is a zip archive, as Keras's .keras"),
        (b"\x7fELF", "it is an ELF file"),
        (b"\x08", "it may be ONNX or a TensorFlow graph"),
        (b"version https://git-lfs", "it is a Git LFS pointer, not the file itself"),
    ):
        if content.startswith(start):
            return what
    return "the identifier TFL3 is missing"


def _damaged(path: Path, what: str) -> ModelError:
    return ModelError(f"{path} is damaged or truncated: {what}", hint="convert or download the model again")


class _Reader:
    """Reads one file; every method raises ModelError, or one of ``_DAMAGE``, on bad content."""

    def __init__(self, path: Path, content: bytes) -> None:
        self._path = path
        self._content = content
        # Vectors of a well-formed file do not overlap, so it has fewer elements than bytes.
        self._elements_left = 4 * len(content)

    def _fail(self, what: str) -> NoReturn:
        raise _damaged(self._path, what)

    # -- checked access ---------------------------------------------------------------------------------------------

    def _checked(self, table: Any, what: str) -> Any:
        """``table``, once its field list and its fields are known to lie in the file."""
        if table is None:
            self._fail(f"{what} is missing")
        content, size, start = self._content, len(self._content), table._tab.Pos
        if not 4 <= start <= size - 4:
            self._fail(f"{what} is at byte {start} of {size}")
        fields = start - struct.unpack_from("<i", content, start)[0]
        if not 0 <= fields <= size - 4:
            self._fail(f"the field list of {what} is at byte {fields} of {size}")
        fields_bytes, table_bytes = struct.unpack_from("<HH", content, fields)
        if fields_bytes < 4 or fields_bytes % 2 or fields + fields_bytes > size or start + table_bytes > size:
            self._fail(f"{what} reaches beyond the end of the file")
        offsets = struct.unpack_from(f"<{fields_bytes // 2 - 2}H", content, fields + 4)
        if any(offset and not 4 <= offset < table_bytes for offset in offsets):
            self._fail(f"{what} has a field outside itself")
        return table

    def _count(self, table: Any, name: str) -> int:
        """The length of the vector ``name`` of a checked table."""
        count = int(getattr(table, f"{name}Length")())
        self._elements_left -= count
        if self._elements_left < 0:
            self._fail(f"{name} has {count} elements, more than the file can hold")
        return count

    def _tables(self, table: Any, name: str) -> Iterator[Any]:
        for index in range(self._count(table, name)):
            yield self._checked(getattr(table, name)(index), f"{name}[{index}]")

    def _numbers(self, table: Any, name: str) -> tuple[Any, ...]:
        if not self._count(table, name):
            return ()
        return tuple(getattr(table, f"{name}AsNumpy")().tolist())

    def _text(self, table: Any, name: str) -> str:
        raw = getattr(table, name)()
        return "" if raw is None else bytes(raw).decode("utf-8", errors="replace")

    # -- the model --------------------------------------------------------------------------------------------------

    def model(self) -> Model:
        import tflite

        root = self._checked(tflite.Model.GetRootAs(self._content), "the model")
        if root.Version() != _SCHEMA_VERSION:
            raise ModelError(f"{self._path} has TFLite schema version {root.Version()}; the runtimes read version 3",
                             hint="convert it again with a TensorFlow of version 2")  # fmt: skip
        codes = [self._code(code) for code in self._tables(root, "OperatorCodes")]
        buffers = [self._buffer(index, buffer) for index, buffer in enumerate(self._tables(root, "Buffers"))]
        subgraphs = list(self._tables(root, "Subgraphs"))
        for metadata in self._tables(root, "Metadata"):
            self._text(metadata, "Name")
        if len(subgraphs) != 1:
            raise ModelError(f"{self._path} has {len(subgraphs)} subgraphs; the runtime runs models with one",
                             hint="convert it without control flow (while, if) or keep one signature")  # fmt: skip
        graph = subgraphs[0]
        tensors = tuple(
            self._tensor(index, tensor, buffers) for index, tensor in enumerate(self._tables(graph, "Tensors"))
        )
        inputs = tuple(self._pick(tensors, i, "an input of the model") for i in self._numbers(graph, "Inputs"))
        outputs = tuple(self._pick(tensors, i, "an output of the model") for i in self._numbers(graph, "Outputs"))
        operators = tuple(
            self._operator(index, operator, codes, tensors)
            for index, operator in enumerate(self._tables(graph, "Operators"))
        )
        if not inputs or not outputs or not operators:
            missing = "inputs" if not inputs else "outputs" if not outputs else "operators"
            raise ModelError(f"{self._path} has no {missing}", hint="give a model that computes outputs from inputs")
        self._check_order(operators, inputs)
        unique = {t.buffer: t for o in operators for t in parameter_tensors(o.name, o.inputs)}
        return Model(
            path=self._path,
            name=self._path.stem,
            sha256=hashlib.sha256(self._content).hexdigest(),
            bytes=len(self._content),
            operators=operators,
            tensors=tensors,
            inputs=inputs,
            outputs=outputs,
            parameters=sum(t.elements for t in unique.values()),
            macs=sum(o.macs for o in operators),
            weights_bytes=sum(buffers[index] for index in {t.buffer for t in tensors if t.constant}),
            kind=kind_of(operators, inputs, outputs),
        )

    def _code(self, code: Any) -> tuple[str, int]:
        import tflite

        # Codes above 127 are in a second, wider field; an old file has only the first.
        number = max(code.DeprecatedBuiltinCode(), code.BuiltinCode())
        if number == tflite.BuiltinOperator.CUSTOM:
            return f"CUSTOM:{_printable(self._text(code, 'CustomCode'))}", code.Version()
        try:
            return tflite.opcode2name(number), code.Version()
        except ValueError:
            return f"BUILTIN_{number}", code.Version()

    def _buffer(self, index: int, buffer: Any) -> int:
        """The size of a buffer's data in bytes."""
        size = int(buffer.DataLength())
        if size and buffer.DataAsNumpy().size != size:
            self._fail(f"buffer {index} is incomplete")
        if buffer.Offset() > 1:
            raise ModelError(f"{self._path} keeps its weights outside the FlatBuffer",
                             hint="convert it without the option for models above 2 GiB")  # fmt: skip
        return size

    def _tensor(self, index: int, tensor: Any, buffers: list[int]) -> Tensor:
        import tflite

        name = self._text(tensor, "Name")
        what = f"tensor {index} ({_printable(name) or 'unnamed'})"
        dtype = _member("TensorType", tensor.Type())
        if dtype is None:
            raise ModelError(f"{self._path}: {what} has the unknown type {tensor.Type()}",
                             hint=f"the type is newer than the schema of tflite {_version(tflite)}")  # fmt: skip
        dtype = dtype.lower()
        shape = self._numbers(tensor, "Shape")
        if any(size < 0 for size in shape):
            self._fail(f"{what} has the shape {list(shape)}")
        elements = 1
        for size in shape:
            elements *= size
        if elements > _LARGEST_TENSOR_ELEMENTS:
            self._fail(f"{what} has {elements} elements")
        if tensor.Buffer() >= max(len(buffers), 1):
            self._fail(f"{what} refers to buffer {tensor.Buffer()} of {len(buffers)}")
        stored = buffers[tensor.Buffer()] if buffers else 0
        sparse = tensor.Sparsity() is not None
        size = stored if dtype in _NO_SIZE else (elements * _BITS[dtype] + 7) // 8
        if stored and not sparse and stored != size:
            self._fail(f"{what} of shape {list(shape)} needs {size} bytes and the file holds {stored}")
        return Tensor(
            index=index,
            name=name,
            shape=shape,
            dtype=dtype,
            bytes=size,
            constant=stored > 0,
            quantization=self._quantization(tensor, shape, what),
            buffer=tensor.Buffer(),
            variable=bool(tensor.IsVariable()),
            sparse=sparse,
        )

    def _quantization(self, tensor: Any, shape: tuple[int, ...], what: str) -> Quantization | None:
        parameters = tensor.Quantization()
        if parameters is None:
            return None
        self._checked(parameters, f"the quantisation of {what}")
        scales = self._numbers(parameters, "Scale")
        zero_points = self._numbers(parameters, "ZeroPoint")
        if not scales:
            return None
        axis = int(parameters.QuantizedDimension())
        if len(scales) > 1 and not (0 <= axis < len(shape) and len(scales) == shape[axis]):
            self._fail(f"{what} of shape {list(shape)} has {len(scales)} scales along axis {axis}")
        if len(zero_points) not in {0, 1, len(scales)}:
            self._fail(f"{what} has {len(scales)} scales and {len(zero_points)} zero points")
        if any(not 0.0 <= scale < float("inf") for scale in scales):
            self._fail(f"{what} has a scale that is negative or not finite")
        return Quantization(scales=scales, zero_points=zero_points or (0,) * len(scales), axis=axis)

    def _pick(self, tensors: tuple[Tensor, ...], index: int, what: str) -> Tensor:
        if not 0 <= index < len(tensors):
            self._fail(f"{what} refers to tensor {index} of {len(tensors)}")
        return tensors[index]

    def _operator(
        self, index: int, operator: Any, codes: list[tuple[str, int]], tensors: tuple[Tensor, ...]
    ) -> Operator:
        if operator.OpcodeIndex() >= len(codes):
            self._fail(f"operator {index} refers to operator code {operator.OpcodeIndex()} of {len(codes)}")
        name, version = codes[operator.OpcodeIndex()]
        what = f"operator {index} ({name})"
        inputs = tuple(None if i == -1 else self._pick(tensors, i, what) for i in self._numbers(operator, "Inputs"))
        outputs = tuple(self._pick(tensors, i, what) for i in self._numbers(operator, "Outputs"))
        options = self._options(operator, what)
        try:
            macs = count_macs(name, inputs, outputs, options)
        except ValueError as error:
            self._fail(f"{what} has {error}")
        return Operator(
            index=index,
            name=name,
            version=version,
            inputs=inputs,
            outputs=outputs,
            options=options,
            macs=macs,
            parameters=sum(t.elements for t in parameter_tensors(name, inputs)),
            label=_label(name, index, outputs),
        )

    def _options(self, operator: Any, what: str) -> Mapping[str, object]:
        union = operator.BuiltinOptions()
        kind = _member("BuiltinOptions", operator.BuiltinOptionsType())
        if union is None or kind in {None, "NONE"}:
            return {}
        accessor = getattr(import_module(f"tflite.{kind}"), str(kind))
        table = accessor()
        table.Init(self._content, union.Pos)
        self._checked(table, f"the options of {what}")
        names = [n for n in vars(accessor) if n[0].isupper() and not n.startswith("GetRootAs")]
        names = [n for n in names if n != "Init" and not n.endswith(("BufferHasIdentifier", "Length", "IsNone"))]
        vectors = {n.removesuffix("AsNumpy") for n in names if n.endswith("AsNumpy")}
        options: dict[str, object] = {}
        for field in (n for n in names if not n.endswith("AsNumpy")):
            key = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", field).lower()
            if field in vectors:
                options[key] = self._numbers(table, field)
            elif not hasattr(accessor, f"{field}Length"):  # vectors of strings and tables are not read
                options[key] = self._option(field, getattr(table, field)())
        return options

    def _option(self, field: str, value: object) -> object:
        if isinstance(value, bytes):
            return value.decode("utf-8", errors="replace")
        if isinstance(value, int) and not isinstance(value, bool) and field in _ENUMERATIONS:
            name = _member(_ENUMERATIONS[field], value)
            return value if name is None else name
        return value if isinstance(value, int | float) else None

    def _check_order(self, operators: tuple[Operator, ...], inputs: tuple[Tensor, ...]) -> None:
        """Every operator's input is the model's, constant, a variable, or computed by an earlier operator."""
        known = {t.index for t in inputs}
        for operator in operators:
            for tensor in operator.inputs:
                if tensor is not None and not (tensor.constant or tensor.variable or tensor.index in known):
                    if tensor.elements == 0:  # an empty constant has no bytes
                        continue
                    self._fail(f"operator {operator.index} ({operator.name}) reads tensor {tensor.index}, "
                               "which nothing computes before it")  # fmt: skip
            known.update(t.index for t in operator.outputs)


def _member(enumeration: str, value: int) -> str | None:
    """The name of a value of a schema enumeration; None where the schema has no such value."""
    members = vars(getattr(import_module(f"tflite.{enumeration}"), enumeration))
    return next((name for name, number in members.items() if number == value and not name.startswith("_")), None)


def _version(package: Any) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package.__name__)
    except PackageNotFoundError:
        return "installed"


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)[:80]


def _label(name: str, index: int, outputs: tuple[Tensor, ...]) -> str:
    """A layer's name for people, from the converter's name of its output.

    The converter joins the names of what it fused: ``model/act/Relu;model/conv2d/BiasAdd;model/conv2d/Conv2D``. The
    part that adds the bias names the layer; without one the last does. Names such as ``Identity`` say nothing.
    """
    parts = [p for p in (outputs[0].name if outputs else "").split(";") if p]
    chosen = next((p for p in parts if p.endswith("/BiasAdd")), parts[-1] if parts else "")
    scopes = chosen.split("/")
    text = _printable("/".join(scopes[1:-1] if len(scopes) > 2 else scopes[:1]))
    if not text or text.startswith(("Identity", "StatefulPartitionedCall", "PartitionedCall")):
        return f"{name.lower()}_{index}"
    return text
