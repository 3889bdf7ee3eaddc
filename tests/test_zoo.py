"""The models of examples/models: exactly the networks they are said to be, and usable as they are."""

from __future__ import annotations

import csv
import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from tinysim.model import Kind, Model, check_supported, load_model
from tinysim.reference import reference_outputs, seeded_inputs

ROOT = Path(__file__).parents[1]
MODELS = ROOT / "examples" / "models"
SHARED = ROOT.parent / "shared"
FILES = sorted(path.stem for path in MODELS.glob("*.tflite"))

# Output shape without the batch, parameters and MACs of each layer with weights, from the layer tables of the founding
# benchmark (Piorkos/tinyML-performance at d2407a9d, X-CUBE-AI reports; its MACC is MACs plus one for each bias).
FOUNDING = {
    "house_price": [
        ((19,), 380, 361), ((19,), 380, 361), ((38,), 760, 722), ((38,), 1482, 1444), ((38,), 1482, 1444),
        ((19,), 741, 722), ((19,), 380, 361), ((19,), 380, 361), ((19,), 380, 361), ((8,), 160, 152), ((1,), 9, 8),
    ],
    "human_activity": [((24, 16), 160, 3456), ((22, 8), 392, 8448), ((64,), 11328, 11264), ((3,), 195, 192)],
    "image_classification": [
        ((28, 28, 64), 320, 200704), ((14, 14, 32), 8224, 1605632), ((256,), 401664, 401408), ((10,), 2570, 2560),
    ],
}  # fmt: skip
TOTALS = {"house_price": (6534, 6297), "human_activity": (12075, 23360), "image_classification": (412778, 2210304)}
PUBLISHED = {
    "house_price": "house price regression",
    "human_activity": "human activity recognition",
    "image_classification": "image classification (Fashion-MNIST)",
}


def layers_with_weights(model: Model) -> list[tuple[tuple[int, ...], int, int]]:
    found = []
    for operator in model.operators:
        if operator.parameters:
            shape = operator.outputs[0].shape
            while len(shape) > 1 and shape[0] == 1:  # the batch, and the height of a Conv1D
                shape = shape[1:]
            found.append((shape, operator.parameters, operator.macs))
    return found


def script(name: str) -> ModuleType:
    """A script of examples/models as a module; TensorFlow is imported only when it builds."""
    spec = importlib.util.spec_from_file_location(name, MODELS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("kind", ["float32", "int8"])
@pytest.mark.parametrize("name", FOUNDING)
def test_the_founding_models_have_the_published_layers(name: str, kind: str) -> None:
    model = load_model(MODELS / f"{name}_{kind}.tflite")
    assert model.kind == Kind(kind)
    assert layers_with_weights(model) == FOUNDING[name]
    assert (model.parameters, model.macs) == TOTALS[name]


@pytest.mark.parametrize("name", FOUNDING)
def test_the_layers_above_are_those_of_the_published_table(name: str) -> None:
    table = SHARED / "facts" / "seed_model_layers.csv"
    if not table.is_file():
        pytest.skip("../shared/facts/seed_model_layers.csv is not here")
    published = []
    with table.open(newline="", encoding="utf-8") as rows:
        for row in csv.DictReader(rows):
            if row["model"] == PUBLISHED[name] and row["param_count_and_bytes"]:
                shape = tuple(int(size) for size in re.findall(r"[hwc]:(\d+)", row["shape"]))
                parameters = int(row["param_count_and_bytes"].split("/")[0].replace(",", ""))
                published.append((shape, parameters, int(row["macc"]) - shape[-1]))
    assert FOUNDING[name] == published


@pytest.mark.parametrize("name", FOUNDING)
def test_the_founding_models_end_in_the_published_activations(name: str) -> None:
    model = load_model(MODELS / f"{name}_float32.tflite")
    softmax = [o for o in model.operators if o.name == "SOFTMAX"]
    dense = [o for o in model.operators if o.name in {"FULLY_CONNECTED", "CONV_2D"}]
    activations = [o.options["fused_activation_function"] for o in dense]
    if name == "house_price":
        assert not softmax
        assert activations == ["RELU"] * len(dense)
    else:
        assert model.operators[-1] in softmax
        assert activations == ["RELU"] * (len(dense) - 1) + ["NONE"]


def test_the_small_models_are_small() -> None:
    cnn, dense = load_model(MODELS / "cnn_int8.tflite"), load_model(MODELS / "dense_float32.tflite")
    assert (cnn.kind, cnn.parameters, cnn.macs) == (Kind.INT8, 8154, 61152)
    assert (dense.kind, dense.parameters, dense.macs) == (Kind.FLOAT32, 1140, 1088)
    assert cnn.bytes < 20_000


def test_the_models_have_what_todays_converter_makes() -> None:
    """Dense layers with a scale for each output, Flatten and Conv1D as chains of shape operators."""
    cnn = load_model(MODELS / "cnn_int8.tflite")
    names = [operator.name for operator in cnn.operators]
    assert names[4:8] == ["SHAPE", "STRIDED_SLICE", "PACK", "RESHAPE"]
    dense = next(operator for operator in cnn.operators if operator.name == "FULLY_CONNECTED")
    weights = dense.inputs[1]
    assert weights is not None
    assert weights.quantization is not None
    assert weights.quantization.per_channel
    assert len(weights.quantization.scales) == 10
    activity = [operator.name for operator in load_model(MODELS / "human_activity_int8.tflite").operators]
    assert activity[:3] == ["EXPAND_DIMS", "CONV_2D", "RESHAPE"]


@pytest.mark.parametrize("name", FILES)
def test_every_model_is_supported_and_its_outputs_depend_on_its_inputs(name: str) -> None:
    pytest.importorskip("tflite_micro")
    model = load_model(MODELS / f"{name}.tflite")
    check_supported(model)
    first, second = (reference_outputs(model, seeded_inputs(model, seed)) for seed in (0, 1))
    assert first.runtime.startswith("tflite-micro")
    for tensor, one, other in zip(model.outputs, first.outputs, second.outputs, strict=True):
        assert (one.shape, str(one.dtype)) == (tensor.shape, tensor.dtype)
        assert np.isfinite(one).all()
        assert not np.array_equal(one, other)


def test_the_script_makes_the_files_that_are_here() -> None:
    assert sorted(script("make_models").FILES) == FILES


def test_the_readme_tells_each_models_size() -> None:
    readme = (MODELS / "README.md").read_text(encoding="utf-8")
    for name in FILES:
        (row,) = [line for line in readme.splitlines() if f"`{name}.tflite`" in line]
        model = load_model(MODELS / f"{name}.tflite")
        for number in (model.bytes, model.parameters, model.macs):
            assert f" {number:,}" in row


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('dataset: name: "mnist" args: flat_features: False', ((28, 28, 1), 10, "softmax")),
        ('dataset: name: "cifar10" args: flat_features: true', ((3072,), 10, "softmax")),
        ('dataset: name: "randomset_classification" args: feature_shape: [50] num_labels: 7', ((50,), 7, "softmax")),
    ],
)
def test_the_validation_script_reads_data_sets(monkeypatch, text: str, expected: tuple) -> None:
    monkeypatch.syspath_prepend(str(MODELS))
    assert script("make_validation_models")._dataset(text) == expected


def test_the_validation_script_refuses_what_it_does_not_know(monkeypatch) -> None:
    monkeypatch.syspath_prepend(str(MODELS))
    module = script("make_validation_models")
    for text in ("../models/mlperf-tiny (ad)", 'model_type: "RNN"', 'model_type: "CNN" dataset: name: "speech"'):
        with pytest.raises(module.UnknownModelError):
            module.build(text)
