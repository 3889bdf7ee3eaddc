"""Make the models of this folder: ``python make_models.py [--out FOLDER] [NAME...]``.

Needs TensorFlow (``pip install tinysim[zoo]``). The weights are random numbers of a fixed seed: what a model costs does
not depend on what it has learned, and no data set is needed. The same versions give the same bytes.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import keras

SEED = 20240501
CALIBRATION_SAMPLES = 64


def cnn() -> keras.Model:
    """A small image classifier: convolution, depthwise and pointwise convolutions, pooling, a dense layer."""
    from keras import Input, Sequential, layers

    return Sequential(
        [
            Input((28, 28, 1)),
            layers.Conv2D(8, 3, strides=2, padding="same", activation="relu"),
            layers.DepthwiseConv2D(3, padding="same", activation="relu"),
            layers.Conv2D(16, 1, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dense(10, activation="softmax"),
        ],
        name="cnn",
    )


def dense() -> keras.Model:
    """A small dense classifier."""
    from keras import Input, Sequential, layers

    return Sequential(
        [
            Input((16,)),
            layers.Dense(32, activation="relu"),
            layers.Dense(16, activation="tanh"),
            layers.Dense(4, activation="softmax"),
        ],
        name="dense",
    )


def house_price() -> keras.Model:
    """House price regression of the founding benchmark: 6,534 parameters."""
    from keras import Input, Sequential, layers

    widths = (19, 19, 38, 38, 38, 19, 19, 19, 19, 8, 1)
    return Sequential([Input((19,)), *(layers.Dense(width, activation="relu") for width in widths)], name="house_price")


def human_activity() -> keras.Model:
    """Human activity recognition of the founding benchmark: 12,075 parameters."""
    from keras import Input, Sequential, layers

    return Sequential(
        [
            Input((26, 3)),
            layers.Conv1D(16, 3, activation="relu"),
            layers.Conv1D(8, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(64, activation="relu"),
            layers.Dense(3, activation="softmax"),
        ],
        name="human_activity",
    )


def image_classification() -> keras.Model:
    """Image classification of the founding benchmark, for images of Fashion-MNIST's size: 412,778 parameters."""
    from keras import Input, Sequential, layers

    return Sequential(
        [
            Input((28, 28, 1)),
            layers.Conv2D(64, 2, padding="same", activation="relu"),
            layers.MaxPooling2D(2),
            layers.Conv2D(32, 2, padding="same", activation="relu"),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dense(256, activation="relu"),
            layers.Dense(10, activation="softmax"),
        ],
        name="image_classification",
    )


FILES: dict[str, tuple[Callable[[], keras.Model], bool]] = {
    "cnn_int8": (cnn, True),
    "dense_float32": (dense, False),
    "house_price_float32": (house_price, False),
    "house_price_int8": (house_price, True),
    "human_activity_float32": (human_activity, False),
    "human_activity_int8": (human_activity, True),
    "image_classification_float32": (image_classification, False),
    "image_classification_int8": (image_classification, True),
}


def randomise(model: keras.Model, seed: int = SEED) -> None:
    """Give every weight a seeded random value.

    Kernels keep the variance of what passes (He et al. 2015, arXiv 1502.01852), so that activations neither vanish nor
    saturate; biases are small and not zero (the converter drops a bias of zeros); the statistics of a batch
    normalisation are near those of its input, its variance positive. A layer of one output has no negative weight:
    behind its ReLU the output would often be zero for every input.
    """
    generator = np.random.default_rng(seed)
    for layer in model.layers:
        values = []
        for variable in layer.weights:
            shape = tuple(variable.shape)
            role = variable.name
            if role in {"gamma", "moving_variance"}:
                value = generator.uniform(0.5, 1.5, shape)
            elif role in {"bias", "beta", "moving_mean"}:
                value = generator.normal(0.0, 0.1, shape)
            else:
                fan_in = int(np.prod(shape[:2])) if "depthwise" in layer.name else int(np.prod(shape[:-1]))
                value = generator.normal(0.0, np.sqrt(2.0 / fan_in), shape)
                value = np.abs(value) if shape[-1] == 1 and "depthwise" not in layer.name else value
            values.append(value.astype(np.float32))
        if values:
            layer.set_weights(values)


def convert(model: keras.Model, *, int8: bool, per_channel_dense: bool = True, seed: int = SEED) -> bytes:
    """The .tflite file of a Keras model: float32, or int8 throughout with int8 inputs and outputs.

    Dense layers have one scale per output (today's converter), or one per tensor where ``per_channel_dense`` is False.
    """
    import tensorflow as tf

    def calibration() -> Iterator[list[np.ndarray]]:
        generator = np.random.default_rng(seed + 1)
        for _ in range(CALIBRATION_SAMPLES):
            yield [generator.normal(0.0, 1.0, (1, *model.input_shape[1:])).astype(np.float32)]

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if int8:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = calibration
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = tf.int8
        converter.inference_output_type = tf.int8
        converter._experimental_disable_per_channel_quantization_for_dense_layers = not per_channel_dense
    return bytes(converter.convert())


def main() -> None:
    """Make the files named, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(FILES)}; all when none is given")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder to write into")
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(FILES)
    if unknown:
        parser.error(f"no model is called {sorted(unknown)[0]}; there are {', '.join(FILES)}")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    from keras import utils

    arguments.out.mkdir(parents=True, exist_ok=True)
    for name in arguments.names or FILES:
        build, int8 = FILES[name]
        utils.clear_session()  # layers are numbered from 1 in each file
        model = build()
        randomise(model)
        content = convert(model, int8=int8)
        (arguments.out / f"{name}.tflite").write_bytes(content)
        print(f"{name}.tflite  {len(content)} bytes  {model.count_params()} parameters")


if __name__ == "__main__":
    main()
