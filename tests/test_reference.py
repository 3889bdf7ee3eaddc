"""Inputs, the host's outputs, and the comparison with them."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import tflite
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tflite_builder import File, Operator, Tensor, dense, hybrid

from tinysim import reference
from tinysim.errors import InputError, MeasurementError
from tinysim.model import Model, load_model
from tinysim.reference import Reference, as_array, compare, load_inputs, reference_outputs, seeded_inputs

MODELS = Path(__file__).parents[1] / "examples" / "models"
WEIGHTS = np.linspace(-1, 1, 12).reshape(3, 4)
BIAS = np.array([0.5, 0.0, -0.25])


def written(folder: Path, file: File) -> Model:
    path = folder / "model.tflite"
    path.write_bytes(file.write())
    return load_model(path)


@pytest.fixture
def model(tmp_path: Path) -> Model:
    """One dense layer of three outputs, with a ReLU."""
    return written(tmp_path, dense(WEIGHTS, BIAS))


@pytest.fixture(scope="module")
def cnn() -> Model:
    return load_model(MODELS / "cnn_int8.tflite")


# -- inputs -----------------------------------------------------------------------------------------------------------


def test_seeded_inputs_are_the_same_for_the_same_seed(cnn: Model) -> None:
    (first,), (again,), (other,) = seeded_inputs(cnn), seeded_inputs(cnn, 0), seeded_inputs(cnn, 1)
    assert first.shape == (1, 28, 28, 1)
    assert first.dtype == np.int8
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert (first.min(), first.max()) == (-128, 127)  # 784 draws of 256 values: both ends are in


def test_seeded_floats_are_near_standard_normal() -> None:
    (array,) = seeded_inputs(load_model(MODELS / "image_classification_float32.tflite"))
    assert array.dtype == np.float32
    assert abs(array.mean()) < 0.15
    assert 0.85 < array.std() < 1.15


def test_seeded_floats_fill_the_range_of_a_quantize(tmp_path: Path) -> None:
    file = File(
        tensors=[Tensor((1, 4000)), Tensor((1, 4000), "int8", scales=[0.5], zero_points=[-28])],
        operators=[Operator(tflite.BuiltinOperator.QUANTIZE, [0], [1])],
        inputs=[0],
        outputs=[1],
    )
    (array,) = seeded_inputs(written(tmp_path, file))
    low, high = (-128 + 28) * 0.5, (127 + 28) * 0.5
    assert low <= array.min() < low + 1
    assert high - 1 < array.max() <= high


def test_inputs_of_unknown_meaning_are_not_made_up(tmp_path: Path) -> None:
    file = dense(WEIGHTS, BIAS)
    file.tensors[0].dtype = "int32"
    with pytest.raises(InputError, match="int32"):
        seeded_inputs(written(tmp_path, file))


def test_inputs_from_files(model: Model, tmp_path: Path) -> None:
    values = np.array([[1, 2, 3, 4]], np.float32)
    np.save(tmp_path / "a.npy", values)
    np.save(tmp_path / "flat.npy", values[0])
    np.savez(tmp_path / "order.npz", values)
    np.savez(tmp_path / "named.npz", **{"in": values})
    (tmp_path / "raw.bin").write_bytes(values.tobytes())
    for name in ("a.npy", "flat.npy", "order.npz", "named.npz", "raw.bin"):
        (array,) = load_inputs(model, [tmp_path / name])
        np.testing.assert_array_equal(array, values)
        assert array.dtype == np.float32


def test_named_arrays_go_to_their_inputs(tmp_path: Path) -> None:
    file = File(
        tensors=[Tensor((1, 2), name="a"), Tensor((1, 2), name="b"), Tensor((1, 2))],
        operators=[Operator(tflite.BuiltinOperator.ADD, [0, 1], [2])],
        inputs=[0, 1],
        outputs=[2],
    )
    two = written(tmp_path, file)
    np.savez(tmp_path / "x.npz", b=np.full((1, 2), 2, np.float32), a=np.ones((1, 2), np.float32))
    assert [float(array[0, 0]) for array in load_inputs(two, [tmp_path / "x.npz"])] == [1.0, 2.0]
    np.savez(tmp_path / "x.npz", np.full((1, 2), 2, np.float32), np.ones((1, 2), np.float32))
    assert [float(array[0, 0]) for array in load_inputs(two, [tmp_path / "x.npz"])] == [2.0, 1.0]
    with pytest.raises(InputError, match=r"has 2 input\(s\) and 1 file"):
        load_inputs(two, [tmp_path / "x.npy"])


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        (np.ones((1, 4)), "x.npy", "is float64; the input 'in' is float32"),
        (np.ones((4, 1), np.float32), "x.npy", r"has the shape \[4, 1\]; the input 'in' has \[1, 4\]"),
        (np.ones((2, 4), np.float32), "x.npy", "has the shape"),
        (np.array([object()]), "x.npy", "is not a NumPy file"),
        (b"\x93NUMPY", "x.npy", "is not a NumPy file"),
        (b"PK\x03\x04", "x.npz", "is not a NumPy file"),
        (b"", "x.npz", "is not a NumPy file"),
        (bytes(15), "x.bin", r"has 15 bytes; the input 'in' \[1, 4\] float32 needs 16"),
        (None, "x.npy", "there is no file"),
        (None, "x.bin", "cannot be read"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(
    model: Model, tmp_path: Path, content: object, name: str, message: str
) -> None:
    path = tmp_path / name
    if isinstance(content, np.ndarray):
        np.save(path, content, allow_pickle=True)
    elif isinstance(content, bytes):
        path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        load_inputs(model, [path])
    assert caught.value.hint
    assert "\n" not in caught.value.message


def test_an_archive_of_the_wrong_number_of_arrays_is_refused(model: Model, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", np.ones(1), np.ones(1))
    with pytest.raises(InputError, match="has 2 arrays"):
        load_inputs(model, [tmp_path / "x.npz"])


def test_a_float_for_a_quantised_input_is_told_how(cnn: Model, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((28, 28, 1), np.float32))
    with pytest.raises(InputError, match="is float32") as caught:
        load_inputs(cnn, [tmp_path / "x.npy"])
    quantization = cnn.inputs[0].quantization
    assert quantization is not None
    assert f"{quantization.scales[0]:.9g}" in caught.value.hint


def test_bytes_become_arrays(model: Model) -> None:
    values = np.array([[1, 2, 3]], np.float32)
    np.testing.assert_array_equal(as_array(model.outputs[0], values.tobytes()), values)
    with pytest.raises(InputError, match="needs 12 bytes, not 8"):
        as_array(model.outputs[0], bytes(8))


# -- outputs ----------------------------------------------------------------------------------------------------------


def test_a_dense_layer_gives_what_numpy_gives(model: Model) -> None:
    inputs = seeded_inputs(model)
    found = reference_outputs(model, inputs)
    expected = np.maximum(inputs[0] @ WEIGHTS.T.astype(np.float32) + BIAS.astype(np.float32), 0)
    np.testing.assert_allclose(found.outputs[0], expected, rtol=1e-5, atol=1e-6)
    assert found.runtime.startswith("tflite-micro ")


def test_both_runtimes_agree_to_the_bit_on_int8(cnn: Model) -> None:
    inputs = seeded_inputs(cnn)
    (micro,) = reference._run("tflite_micro", cnn, inputs)
    (litert,) = reference._run("ai_edge_litert", cnn, inputs)
    np.testing.assert_array_equal(micro, litert)


def test_a_model_tflm_refuses_runs_on_litert_and_nothing_is_printed(tmp_path: Path, capfd) -> None:
    model = written(tmp_path, hybrid())
    found = reference_outputs(model, [np.array([[2, 0, 0, 0]], np.float32)])
    assert found.runtime.startswith("ai-edge-litert ")
    np.testing.assert_allclose(found.outputs[0], [[0.0, 0.0]])  # 2 x -4 x 0.5 and 2 x 0 x 0.5, then ReLU
    assert capfd.readouterr() == ("", "")


def test_a_model_nothing_runs_is_one_error(tmp_path: Path, capfd) -> None:
    file = dense(WEIGHTS, BIAS)
    file.operators = [Operator(tflite.BuiltinOperator.CUSTOM, [0], [3], custom="Mine")]
    model = written(tmp_path, file)
    with pytest.raises(MeasurementError, match="no runtime of the host runs") as caught:
        reference_outputs(model, seeded_inputs(model))
    assert "\n" not in caught.value.message
    assert "tflite-micro" in caught.value.details
    assert "ai-edge-litert" in caught.value.details
    assert capfd.readouterr() == ("", "")


def test_a_runtime_that_crashes_is_survived(model: Model, monkeypatch, tmp_path: Path) -> None:
    script = tmp_path / "host_runtime.py"
    script.write_text("import os, sys; print('it broke', file=sys.stderr, flush=True); os.abort()")
    monkeypatch.setattr(reference, "__file__", str(tmp_path / "reference.py"))
    with pytest.raises(MeasurementError, match=r"stopped by signal 6: it broke"):
        reference_outputs(model, seeded_inputs(model))


def test_without_a_runtime_the_error_says_what_to_install(model: Model, monkeypatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MeasurementError) as caught:
        reference_outputs(model, seeded_inputs(model))
    assert "pip install" in caught.value.hint
    assert caught.value.exit_code == 1


def test_inputs_of_another_shape_are_refused(model: Model) -> None:
    with pytest.raises(InputError, match=r"is float32 \[1, 4\], not float64 \[4\]"):
        reference_outputs(model, [np.ones(4)])


# -- comparison -------------------------------------------------------------------------------------------------------


def verdict(model: Model, expected: object, actual: object, dtype: str = "float32") -> reference.Verdict:
    return compare(model, Reference((np.asarray(expected, dtype),), "x 1"), [np.asarray(actual, dtype)])


def test_integers_must_be_equal(model: Model) -> None:
    same = verdict(model, [[1, 2, 3]], [[1, 2, 3]], "int8")
    assert (same.match, same.mismatches, same.max_abs_error, same.tolerance) == (True, 0, 0.0, 0.0)
    other = verdict(model, [[-128, 2, 3]], [[127, 3, 3]], "int8")
    assert (other.match, other.mismatches, other.max_abs_error) == (False, 2, 255.0)
    assert "first at [0, 0]: expected -128, got 127" in other.details
    assert other.reference == "x 1"


def test_floats_may_differ_by_rounding(model: Model) -> None:
    close = verdict(model, [[10.0, 0.0, -3.0]], [[10.0005, 0.0009, -3.0]])
    assert close.match
    assert close.tolerance == pytest.approx(1e-6 + 1e-4 * 10)
    assert close.max_abs_error == pytest.approx(0.0009, rel=1e-3)
    far = verdict(model, [[10.0, 0.0, -3.0]], [[10.0, 0.002, -3.0]])
    assert (far.match, far.mismatches) == (False, 1)


def test_a_nan_is_not_a_small_difference(model: Model) -> None:
    nan, inf = math.nan, math.inf
    assert verdict(model, [[nan, inf, 1.0]], [[nan, inf, 1.0]]).match
    for wrong in ([[1.0, inf, 1.0]], [[nan, -inf, 1.0]], [[nan, inf, nan]]):
        found = verdict(model, [[nan, inf, 1.0]], wrong)
        assert (found.match, found.mismatches, found.max_abs_error) == (False, 1, inf)


def test_other_shapes_types_and_numbers_are_errors(model: Model) -> None:
    expected = Reference((np.zeros((1, 3), np.float32),), "x 1")
    for wrong in ([], [np.zeros((1, 2), np.float32)], [np.zeros((1, 3), np.int8)]):
        with pytest.raises(MeasurementError):
            compare(model, expected, wrong)


FLOATS = hnp.arrays(np.float32, (1, 3), elements=st.floats(-1e6, 1e6, width=32))


@given(FLOATS, FLOATS)
def test_a_match_is_every_element_within_the_tolerance(expected: np.ndarray, actual: np.ndarray) -> None:
    two = dataclasses.replace(_DENSE, outputs=_DENSE.outputs[:1])
    found = compare(two, Reference((expected,), "x 1"), [actual])
    difference = np.abs(expected.astype(float) - actual.astype(float))
    assert found.max_abs_error == difference.max()
    assert found.match == (difference.max() <= found.tolerance)
    assert found.mismatches == int((difference > found.tolerance).sum())
    assert compare(two, Reference((expected,), "x 1"), [expected]).match


_DENSE = load_model(MODELS / "dense_float32.tflite")
