"""Rebuild the networks that others measured on silicon: ``python make_validation_models.py SILICON.csv FOLDER``.

SILICON.csv is a table of published measurements with the columns ``id``, ``params`` and ``model``; one .tflite file is
written for each row whose ``model`` describes an architecture. Two descriptions are understood: EdgeMark's target
models (Black3rror/EdgeMark, target_models: ``convs_params`` of [channels, kernel, stride], [0, 0, 0] being global
average pooling; ``denses_params``; padding ``same``) and a list of fully connected layers with their output shapes.
Rows that point to a model file are skipped with a message.

Only architecture and types matter for time, so the weights are random with a fixed seed. The published parameter count
must come out, with batch normalisation counted or folded, else nothing is written. The files look as converters before
2024 made them, when the measurements were taken: a fixed batch of 1 (Flatten is one RESHAPE) and one scale per tensor
in dense layers.
"""

from __future__ import annotations

import argparse
import ast
import csv
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from make_models import convert, randomise

if TYPE_CHECKING:
    import keras

# Input shape, outputs and activation of the last layer of EdgeMark's data sets, from its documentation and the
# published parameter counts.
DATASETS: dict[str, tuple[tuple[int, ...], int, str]] = {
    "mnist": ((28, 28, 1), 10, "softmax"),
    "cifar10": ((32, 32, 3), 10, "softmax"),
    "boston": ((13,), 1, "linear"),
    "sinus": ((1,), 1, "sigmoid"),
}


class UnknownModelError(ValueError):
    """The text describes no architecture this script can build."""


def edgemark(text: str) -> keras.Model:
    """A network of EdgeMark's own description."""
    kind = _match(r'model_type: "(\w+)"', text)
    if kind == "TinyMLPerf_AE":
        return autoencoder()
    if kind == "TinyMLPerf_DS_CNN":
        return ds_cnn()
    if kind != "CNN":
        raise UnknownModelError(f"the model type {kind}")
    shape, outputs, last = _dataset(text)
    return _cnn(
        shape,
        ast.literal_eval(_match(r"convs_params: (\[.*?\]) denses_params", text)),
        ast.literal_eval(_match(r"denses_params: (\[.*?\])", text)),
        outputs,
        last,
        activation=_match(r'activation: "(\w+)"', text),
        normalise=_match(r"use_batch_norm: (\w+)", text) == "True",
    )


def _dataset(text: str) -> tuple[tuple[int, ...], int, str]:
    name = _match(r'dataset: name: "(\w+)"', text)
    if name == "randomset_classification":
        shape = tuple(ast.literal_eval(_match(r"feature_shape: (\[.*?\])", text)))
        return shape, int(_match(r"num_labels: (\d+)", text)), "softmax"
    if name not in DATASETS:
        raise UnknownModelError(f"the data set {name}")
    shape, outputs, last = DATASETS[name]
    flat = re.search(r"flat_features: true", text, re.IGNORECASE)
    size = 1
    for length in shape:
        size *= length
    return ((size,) if flat else shape), outputs, last


def _match(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    if found is None:
        raise UnknownModelError(f"no {pattern.partition(':')[0]} in {text[:60]!r}")
    return found[1]


def _cnn(
    shape: tuple[int, ...], convs: list[list[int]], denses: list[int], outputs: int, last: str, *, activation: str,
    normalise: bool,
) -> keras.Model:  # fmt: skip
    from keras import Input, Sequential, layers

    def block(layer: Any) -> list[Any]:
        return [layer, *([layers.BatchNormalization()] if normalise else []), layers.Activation(activation)]

    stack: list[Any] = [Input(shape, batch_size=1)]
    for channels, kernel, stride in convs:
        if channels:
            stack += block(layers.Conv2D(channels, kernel, strides=stride, padding="same"))
        elif kernel:
            stack.append(layers.MaxPooling2D(kernel, strides=stride))
        else:
            stack.append(layers.GlobalAveragePooling2D())
    if len(shape) > 1 and [0, 0, 0] not in convs:
        stack.append(layers.Flatten())
    for width in denses:
        stack += block(layers.Dense(width))
    return Sequential([*stack, layers.Dense(outputs, activation=last)], name="edgemark")


def dense_stack(text: str) -> keras.Model:
    """``input 1x30 f32; FULLY_CONNECTED[1, 10] ... SOFTMAX[1, 2]``: ReLU between dense layers, softmax at the end."""
    from keras import Input, Sequential, layers

    features = int(_match(r"input 1x(\d+) f32", text))
    widths = [int(width) for width in re.findall(r"FULLY_CONNECTED\[1, (\d+)\]", text)]
    if not widths or not text.strip().endswith(f"SOFTMAX[1, {widths[-1]}]"):
        raise UnknownModelError(f"no dense layers with a softmax in {text[:60]!r}")
    hidden = [layers.Dense(width, activation="relu") for width in widths[:-1]]
    return Sequential(
        [Input((features,), batch_size=1), *hidden, layers.Dense(widths[-1], activation="softmax")], name="dense_stack"
    )


def autoencoder() -> keras.Model:
    """MLPerf Tiny's anomaly detection network (mlcommons/tiny, training/anomaly_detection/keras_model.py)."""
    from keras import Input, Sequential, layers

    stack: list[Any] = [Input((640,), batch_size=1)]
    for width in (128, 128, 128, 128, 8, 128, 128, 128, 128):
        stack += [layers.Dense(width), layers.BatchNormalization(), layers.Activation("relu")]
    return Sequential([*stack, layers.Dense(640)], name="autoencoder")


def ds_cnn() -> keras.Model:
    """MLPerf Tiny's keyword spotting network (mlcommons/tiny, training/keyword_spotting/keras_model.py)."""
    from keras import Input, Sequential, layers

    def block(layer: Any) -> list[Any]:
        return [layer, layers.BatchNormalization(), layers.Activation("relu")]

    stack: list[Any] = [Input((49, 10, 1), batch_size=1)]
    stack += block(layers.Conv2D(64, (10, 4), strides=2, padding="same"))
    for _ in range(4):
        stack += block(layers.DepthwiseConv2D(3, padding="same"))
        stack += block(layers.Conv2D(64, 1, padding="same"))
    stack += [layers.AveragePooling2D((25, 5)), layers.Flatten(), layers.Dense(12, activation="softmax")]
    return Sequential(stack, name="ds_cnn")


def build(text: str) -> keras.Model:
    """The network a row's ``model`` describes. Raises UnknownModelError where it describes none."""
    if "model_type:" in text:
        return edgemark(text)
    if "FULLY_CONNECTED[" in text:
        return dense_stack(text)
    raise UnknownModelError(f"no architecture in {text[:60]!r}")


def check_parameters(model: keras.Model, published: str) -> None:
    """Exit where neither the full count nor that with batch normalisation folded is the published one."""
    normalisation = sum(layer.count_params() for layer in model.layers if "batch_normalization" in layer.name)
    counts = {model.count_params(), model.count_params() - normalisation}
    if int(float(published)) not in counts:
        raise SystemExit(f"{model.name} has {sorted(counts)} parameters, {published} were published")


def main() -> None:
    """Build every row of the table that describes an architecture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path, metavar="SILICON.csv")
    parser.add_argument("out", type=Path, metavar="FOLDER")
    arguments = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    from keras import utils

    arguments.out.mkdir(parents=True, exist_ok=True)
    with arguments.table.open(newline="", encoding="utf-8") as table:
        rows = list(csv.DictReader(table))
    for row in rows:
        utils.clear_session()
        try:
            model = build(row["model"])
        except UnknownModelError as error:
            print(f"{row['id']}: skipped, {error}")
            continue
        check_parameters(model, row["params"])
        randomise(model)
        content = convert(model, int8=row["id"].endswith("int8"), per_channel_dense=False)
        (arguments.out / f"{row['id']}.tflite").write_bytes(content)
        print(f"{row['id']}.tflite  {len(content)} bytes  {row['params']} parameters")


if __name__ == "__main__":
    main()
