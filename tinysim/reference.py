"""Right answers: what a runtime of the host gives for the same inputs, and whether the firmware agrees.

TensorFlow Lite Micro's own host build comes first: it is the same code on another machine. Where it cannot run a model,
LiteRT's reference kernels do.
"""

from __future__ import annotations

import importlib.util
import io
import math
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinysim.errors import InputError, MeasurementError
from tinysim.model import Model, Tensor

__all__ = [
    "Reference",
    "Verdict",
    "as_array",
    "compare",
    "load_inputs",
    "reference_outputs",
    "seeded_inputs",
]

Array = NDArray[Any]

RELATIVE_TOLERANCE = 1e-4
ABSOLUTE_TOLERANCE = 1e-6
_RUNTIMES = (("tflite_micro", "tflite-micro"), ("ai_edge_litert", "ai-edge-litert"))
_INSTALL = "pip install 'tinysim[reference]' (tflite-micro and ai-edge-litert)"
_TIME_LIMIT_S = 300


@dataclass(frozen=True)
class Reference:
    """The model's outputs on the host, one array each, and the runtime with its version."""

    outputs: tuple[Array, ...]
    runtime: str


@dataclass(frozen=True)
class Verdict:
    """Whether the firmware's outputs are right.

    ``max_abs_error`` is the largest difference of two elements, in the output's own units (steps for integers),
    infinite where only one of them is a number. ``tolerance`` is the largest difference allowed, 0 for integers.
    ``details`` says where outputs differ.
    """

    match: bool
    reference: str
    max_abs_error: float
    tolerance: float
    mismatches: int
    details: str = ""


# -- inputs -----------------------------------------------------------------------------------------------------------


def seeded_inputs(model: Model, seed: int = 0) -> tuple[Array, ...]:
    """Random inputs of the model's shapes and types, the same for the same seed.

    Integers of 8 and 16 bits are uniform over their whole range. Floats are uniform over the range that a following
    QUANTIZE represents, else standard normal, which is what most networks are trained on.
    Raises InputError for other types: what they mean (an index, a length) cannot be guessed.
    """
    return tuple(_seeded(model, tensor, np.random.default_rng([seed, i])) for i, tensor in enumerate(model.inputs))


def _seeded(model: Model, tensor: Tensor, generator: np.random.Generator) -> Array:
    if tensor.dtype in {"int8", "uint8", "int16"}:
        limits = np.iinfo(tensor.dtype)
        return generator.integers(limits.min, limits.max, tensor.shape, np.dtype(tensor.dtype), endpoint=True)
    if tensor.dtype == "bool":
        return generator.integers(0, 2, tensor.shape).astype(np.bool_)
    if tensor.dtype == "float32":
        span = _represented(model, tensor)
        if span is None:
            return generator.standard_normal(tensor.shape, dtype=np.float32)
        return generator.uniform(*span, tensor.shape).astype(np.float32)
    raise InputError(f"no inputs can be made up for {tensor.name!r} of type {tensor.dtype} of {model.path}",
                     hint="give the inputs as a .npy, .npz or raw file")  # fmt: skip


def _represented(model: Model, tensor: Tensor) -> tuple[float, float] | None:
    """The range of real values that the first QUANTIZE of ``tensor`` can represent."""
    for operator in model.operators:
        if operator.name == "QUANTIZE" and operator.inputs and operator.inputs[0] == tensor and operator.outputs:
            quantised = operator.outputs[0]
            if quantised.quantization is not None and quantised.dtype in {"int8", "uint8", "int16"}:
                limits = np.iinfo(quantised.dtype)
                scale, zero = quantised.quantization.scales[0], quantised.quantization.zero_points[0]
                return (int(limits.min) - zero) * scale, (int(limits.max) - zero) * scale
    return None


def load_inputs(model: Model, paths: Sequence[str | Path]) -> tuple[Array, ...]:
    """The model's inputs from files: one .npz with all, or one file per input: .npy, or raw little-endian bytes.

    An array fits when its type is the input's and its shape is, leading dimensions of 1 aside. An .npz is matched by
    the inputs' names where it has them all, else by the order in it.
    Raises InputError where a file cannot be read or does not fit.
    """
    files = [Path(path) for path in paths]
    if len(files) == 1 and files[0].suffix == ".npz":
        return _from_archive(model, files[0])
    if len(files) != len(model.inputs):
        names = ", ".join(f"{t.name} {list(t.shape)} {t.dtype}" for t in model.inputs)
        raise InputError(f"{model.path} has {len(model.inputs)} input(s) and {len(files)} file(s) were given",
                         hint=f"give one file for each of: {names}")  # fmt: skip
    return tuple(_from_file(tensor, path) for tensor, path in zip(model.inputs, files, strict=True))


def _read(path: Path) -> Any:
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise InputError(f"there is no file {path}", hint="give the path of the inputs") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}", hint="give the path of the inputs") from error
    try:
        return np.load(io.BytesIO(content), allow_pickle=False)  # in memory: an archive is read when its arrays are
    except (OSError, ValueError, EOFError, SyntaxError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} is not a NumPy file: {error}", hint="write it with numpy.save or savez") from error


def _from_archive(model: Model, path: Path) -> tuple[Array, ...]:
    archive = _read(path)
    if not isinstance(archive, np.lib.npyio.NpzFile):
        raise InputError(f"{path} is not an .npz archive", hint="write it with numpy.savez")
    with archive:
        names = [t.name for t in model.inputs]
        if len(archive.files) != len(names):
            raise InputError(f"{path} has {len(archive.files)} arrays and {model.path} has {len(names)} inputs",
                             hint=f"name the arrays {', '.join(names)}, or keep their order")  # fmt: skip
        keys = names if set(names) == set(archive.files) else archive.files
        try:
            return tuple(_fitted(t, archive[key], path) for t, key in zip(model.inputs, keys, strict=True))
        except (OSError, zipfile.BadZipFile, EOFError, KeyError) as error:
            raise InputError(f"{path} is damaged: {error}", hint="write it again with numpy.savez") from error
        except ValueError as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{path} holds objects, not numbers", hint="write it with numpy.savez") from error


def _from_file(tensor: Tensor, path: Path) -> Array:
    if path.suffix == ".npy":
        return _fitted(tensor, _read(path), path)
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}", hint="give the path of the inputs") from error
    if len(raw) != tensor.bytes:
        what = f"the input {tensor.name!r} {list(tensor.shape)} {tensor.dtype}"
        raise InputError(
            f"{path} has {len(raw)} bytes; {what} needs {tensor.bytes}",
            hint="give the elements in row-major order, little-endian, without a header, or an .npy file",
        )
    return as_array(tensor, raw)


def _fitted(tensor: Tensor, array: Any, path: Path) -> Array:
    if not isinstance(array, np.ndarray):
        raise InputError(f"{path} holds several arrays", hint="give one .npz for all inputs, or one .npy for each")
    what = f"the input {tensor.name!r}"
    if array.dtype != np.dtype(tensor.dtype):
        hint = f"convert it with .astype(numpy.{tensor.dtype})"
        if tensor.quantization is not None and array.dtype.kind == "f":
            scale, zero = tensor.quantization.scales[0], tensor.quantization.zero_points[0]
            hint = f"quantise it: round(x / {scale:.9g}) + {zero}, as {tensor.dtype}"
        raise InputError(f"{path} is {array.dtype}; {what} is {tensor.dtype}", hint=hint)
    if _squeezed(array.shape) != _squeezed(tensor.shape):
        raise InputError(f"{path} has the shape {list(array.shape)}; {what} has {list(tensor.shape)}",
                         hint="reshape it, one sample per file")  # fmt: skip
    return np.ascontiguousarray(array.reshape(tensor.shape))


def _squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    leading = next((i for i, size in enumerate(shape) if size != 1), len(shape))
    return shape[leading:]


def as_array(tensor: Tensor, raw: bytes) -> Array:
    """The elements of a tensor from its bytes in memory. Raises InputError where the size is not the tensor's."""
    if len(raw) != tensor.bytes:
        raise InputError(f"{tensor.name!r} needs {tensor.bytes} bytes, not {len(raw)}")
    dtype = np.dtype(tensor.dtype).newbyteorder("<")
    return np.frombuffer(raw, dtype).astype(tensor.dtype).reshape(tensor.shape)


# -- outputs ----------------------------------------------------------------------------------------------------------


def reference_outputs(model: Model, inputs: Sequence[Array]) -> Reference:
    """The outputs of ``model`` for ``inputs`` (as ``model.inputs``), from the first runtime of the host that runs it.

    Raises MeasurementError where no runtime is installed, or none runs the model.
    """
    given = [_checked(tensor, array) for tensor, array in zip(model.inputs, inputs, strict=True)]
    installed = [(module, name) for module, name in _RUNTIMES if importlib.util.find_spec(module) is not None]
    if not installed:
        raise MeasurementError("no runtime of the host is installed to compare the outputs with", hint=_INSTALL)
    reasons = []
    for module, name in installed:
        try:
            outputs = _run(module, model, given)
        except _HostRuntimeError as error:
            reasons.append(f"{_titled(name)}: {error}")
            continue
        return Reference(outputs, _titled(name))
    missing = len(installed) < len(_RUNTIMES)
    raise MeasurementError(f"no runtime of the host runs {model.path}: {reasons[0]}",
                           hint=_INSTALL if missing else "convert the model again, or skip the comparison",
                           details="\n".join(reasons))  # fmt: skip


class _HostRuntimeError(Exception):
    """A runtime of the host refused or crashed; the text is one line."""


def _titled(name: str) -> str:
    try:
        return f"{name} {version(name)}"
    except PackageNotFoundError:
        return name


def _checked(tensor: Tensor, array: Array) -> Array:
    if tuple(array.shape) != tensor.shape or array.dtype != np.dtype(tensor.dtype):
        given = f"{array.dtype} {list(array.shape)}"
        raise InputError(f"the input {tensor.name!r} is {tensor.dtype} {list(tensor.shape)}, not {given}",
                         hint="see tinysim.reference.load_inputs")  # fmt: skip
    return np.ascontiguousarray(array)


def _run(module: str, model: Model, inputs: Sequence[Array]) -> tuple[Array, ...]:
    script = Path(__file__).with_name("host_runtime.py")
    # TFLM's host build takes an arena of a fixed size; this is enough for all activations at once and its own records.
    arena_bytes = 10 * model.bytes + 4 * sum(t.bytes for t in model.tensors if not t.constant) + (1 << 20)
    with tempfile.TemporaryDirectory(prefix="tinysim-") as folder:
        given, wanted = Path(folder, "inputs.npz"), Path(folder, "outputs.npz")
        np.savez(given, *inputs)
        # -P: the folder of the script is not searched for modules.
        command = [sys.executable, "-P", str(script), module, str(model.path.resolve()), str(given), str(wanted)]
        try:
            done = subprocess.run(
                [*command, str(arena_bytes)], stdin=subprocess.DEVNULL, capture_output=True, timeout=_TIME_LIMIT_S,
                check=False, text=True, errors="replace",
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise _HostRuntimeError(f"no answer after {_TIME_LIMIT_S} s") from error
        if done.returncode != 0:
            raise _HostRuntimeError(_reason(done.returncode, done.stderr))
        with np.load(wanted, allow_pickle=False) as archive:
            outputs = tuple(archive[f"arr_{index}"] for index in range(len(archive.files)))
    for tensor, array in zip(model.outputs, outputs, strict=True):
        if tuple(array.shape) != tensor.shape:
            raise _HostRuntimeError(f"the output {tensor.name!r} has the shape {list(array.shape)}")
    return outputs


def _reason(status: int, stderr: str) -> str:
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    # What the runtime says stands before Python's traceback; the traceback's last line names the exception.
    start = next((i for i, line in enumerate(lines) if line.startswith("Traceback")), len(lines))
    said = [line for line in lines[:start] if not line.startswith(("INFO:", "WARNING:"))]
    text = said[-1] if said else (lines[-1] if lines else "no message")
    return f"stopped by signal {-status}: {text}" if status < 0 else text


# -- comparison -------------------------------------------------------------------------------------------------------


def compare(model: Model, expected: Reference, actual: Sequence[Array]) -> Verdict:
    """Compare the firmware's outputs with the reference.

    Integers must be equal: the kernels' integer arithmetic is defined to the bit. Floats may differ by
    ``ABSOLUTE_TOLERANCE + RELATIVE_TOLERANCE x the largest magnitude in that output``. The order of additions, fused
    multiply-add and the C library's exp and tanh differ between machines. A sum of n terms is uncertain by up to n x
    2^-24 of the sum of their magnitudes (Higham, Accuracy and Stability of Numerical Algorithms, section 4.2), 1e-4 for
    the 1,600 terms of a large layer; the same layer computed wrongly differs by orders of magnitude more. The scale is
    the output's, not the element's, because elements near zero are differences of large terms.
    A NaN or infinity must be the same in both.
    Raises MeasurementError where number, shapes or types of the outputs differ.
    """
    if len(actual) != len(expected.outputs):
        raise MeasurementError(f"the firmware gave {len(actual)} outputs, the reference {len(expected.outputs)}")
    worst, tolerance, mismatches, details = 0.0, 0.0, 0, []
    for tensor, right, given in zip(model.outputs, expected.outputs, actual, strict=True):
        if right.shape != given.shape or right.dtype != given.dtype:
            raise MeasurementError(f"the output {tensor.name!r} is {given.dtype} {list(given.shape)}, "
                                   f"the reference {right.dtype} {list(right.shape)}")  # fmt: skip
        difference, allowed = _difference(right, given)
        wrong = difference > allowed
        count = int(np.count_nonzero(wrong))
        worst = max(worst, float(difference.max(initial=0.0)))
        tolerance = max(tolerance, allowed)
        mismatches += count
        if count:
            place = tuple(int(i) for i in np.argwhere(wrong)[0])
            details.append(f"output {tensor.name!r}: {count} of {right.size} elements differ, first at {list(place)}: "
                           f"expected {right[place]}, got {given[place]}")  # fmt: skip
    return Verdict(mismatches == 0, expected.runtime, worst, tolerance, mismatches, "; ".join(details))


def _difference(right: Array, given: Array) -> tuple[Array, float]:
    """The absolute difference of each element, infinite where only one is finite, and the tolerance."""
    if right.dtype.kind != "f":
        return np.abs(right.astype(np.float64) - given.astype(np.float64)), 0.0
    wide, other = right.astype(np.float64), given.astype(np.float64)
    finite = np.isfinite(wide) & np.isfinite(other)
    same = (wide == other) | (np.isnan(wide) & np.isnan(other))
    difference = np.where(same, 0.0, math.inf)
    np.subtract(wide, other, out=difference, where=finite & ~same)
    magnitudes = np.abs(wide[np.isfinite(wide)])
    return np.abs(difference), ABSOLUTE_TOLERANCE + RELATIVE_TOLERANCE * float(magnitudes.max(initial=0.0))
