"""Reading models: what is right against hand counts and another reader, what is wrong as one clear error."""

from __future__ import annotations

import dataclasses
import json
import pickle
import random
import struct
from pathlib import Path

import numpy as np
import pytest
import tflite
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tflite_builder import File, Operator, Tensor, dense, hybrid

from tinysim.errors import ModelError
from tinysim.model import Kind, Model, check_supported, load_model, supported_operators, unsupported
from tinysim.model.costs import count_macs, parameter_tensors
from tinysim.model.plan import Tensor as PlanTensor
from tinysim.runtime import Runtime, load_runtime

ROOT = Path(__file__).parents[1]
MODELS = ROOT / "examples" / "models"
MLPERF = ROOT.parent / "shared" / "models" / "mlperf-tiny"
OP = tflite.BuiltinOperator
ONE_DENSE = dense(np.arange(8).reshape(2, 4), np.array([1.0, -1.0]))

RUNTIME = """
schema = "tinysim.runtime/1"
name = "mine"
version = "7"
[library]
[glue]
sources = []
[operators]
cmsis-nn-types = ["float32"]
FULLY_CONNECTED = { version = 2, types = ["float32"], register = "A" }
SPLIT = { version = 1, types = ["int8"], data = 1, register = "B" }
QUANTIZE = { version = 1, types = ["float32"], outputs = ["int8"], register = "C", cmsis-nn = "D" }
NEG = { version = 1, register = "E" }
"""


@pytest.fixture
def write(tmp_path: Path):
    """Write bytes, or a file of the builder, and give the path."""

    def written(content: bytes | File, name: str = "model.tflite") -> Path:
        path = tmp_path / name
        path.write_bytes(content.write() if isinstance(content, File) else content)
        return path

    return written


def tensor(shape: tuple[int, ...], dtype: str = "float32", *, constant: bool = False, index: int = 0) -> PlanTensor:
    return PlanTensor(index, f"t{index}", shape, dtype, 0, constant, None)


# -- what is right ----------------------------------------------------------------------------------------------------


def test_a_dense_layer_is_read_as_written(write) -> None:
    path = write(ONE_DENSE)
    model = load_model(path)
    assert (model.name, model.bytes, model.kind) == ("model", path.stat().st_size, Kind.FLOAT32)
    assert (model.parameters, model.macs, model.weights_bytes) == (2 * 4 + 2, 2 * 4, 4 * (2 * 4 + 2))
    (operator,) = model.operators
    assert (operator.name, operator.version, operator.label) == ("FULLY_CONNECTED", 1, "dense")
    assert operator.options["fused_activation_function"] == "RELU"
    assert [t.shape for t in operator.inputs if t] == [(1, 4), (2, 4), (2,)]
    assert [t.constant for t in operator.inputs if t] == [False, True, True]
    assert model.inputs == (operator.inputs[0],)
    assert model.outputs == operator.outputs
    import hashlib

    assert model.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_model_survives_pickling(write) -> None:
    model = load_model(write(ONE_DENSE))
    assert pickle.loads(pickle.dumps(model)) == model


def test_a_missing_bias_is_none_and_shared_weights_count_once(write) -> None:
    file = dense(np.ones((4, 4)), np.ones(4))
    file.tensors = [*file.tensors, Tensor((1, 4), name="last")]
    file.operators = [file.operators[0], dataclasses.replace(file.operators[0], inputs=[3, 1, -1], outputs=[4])]
    file.outputs = [4]
    model = load_model(write(file))
    assert model.operators[1].inputs[2] is None
    assert [o.parameters for o in model.operators] == [20, 16]
    assert model.parameters == 20
    assert model.macs == 32


@pytest.mark.parametrize(
    ("name", "inputs", "output", "options", "macs"),
    [
        ("CONV_2D", [(1, 28, 28, 1), (64, 2, 2, 1), (64,)], (1, 28, 28, 64), {}, 28 * 28 * 64 * 4),
        ("CONV_2D", [(1, 8, 8, 4), (6, 3, 3, 2), (6,)], (1, 8, 8, 6), {}, 8 * 8 * 6 * 9 * 2),  # two groups
        ("DEPTHWISE_CONV_2D", [(1, 9, 9, 4), (1, 3, 5, 8), (8,)], (1, 5, 5, 8), {}, 5 * 5 * 8 * 15),
        ("TRANSPOSE_CONV", [(4,), (8, 3, 3, 2), (1, 4, 4, 2)], (1, 8, 8, 8), {}, 4 * 4 * 2 * 9 * 8),
        ("CONV_3D", [(1, 4, 4, 4, 2), (3, 3, 3, 2, 5)], (1, 2, 2, 2, 5), {}, 8 * 27 * 2 * 5),
        ("FULLY_CONNECTED", [(3, 16), (8, 16)], (3, 8), {}, 3 * 8 * 16),
        ("BATCH_MATMUL", [(2, 3, 4), (2, 4, 5)], (2, 3, 5), {}, 2 * 3 * 5 * 4),
        ("BATCH_MATMUL", [(2, 4, 3), (2, 4, 5)], (2, 3, 5), {"adj_x": True}, 2 * 3 * 5 * 4),
        ("SVDF", [(1, 10), (8, 10), (8, 6)], (1, 4), {}, 8 * 10 + 8 * 6),
        ("UNIDIRECTIONAL_SEQUENCE_LSTM", [(1, 7, 3), (5, 3), (5, 5)], (1, 7, 5), {}, 7 * (15 + 25)),
        ("ADD", [(1, 8), (1, 8)], (1, 8), {}, 0),
        ("MAX_POOL_2D", [(1, 8, 8, 4)], (1, 4, 4, 4), {}, 0),
    ],
)
def test_macs_by_hand(name: str, inputs: list, output: tuple, options: dict, macs: int) -> None:
    position = 2 if name == "TRANSPOSE_CONV" else 0
    given = [tensor(shape, constant=i != position, index=i) for i, shape in enumerate(inputs)]
    assert count_macs(name, given, [tensor(output)], options) == macs


def test_parameters_are_trained_values_only() -> None:
    data = tensor((1, 4))
    shape = tensor((2,), "int32", constant=True, index=1)
    assert parameter_tensors("RESHAPE", [data, shape]) == ()
    scale = tensor((4,), constant=True, index=2)
    assert parameter_tensors("MUL", [data, scale]) == (scale,)
    weights, bias = tensor((2, 4), "int8", constant=True, index=3), tensor((2,), "int32", constant=True, index=4)
    assert parameter_tensors("FULLY_CONNECTED", [tensor((1, 4), "int8"), weights, bias]) == (weights, bias)
    transposed = [shape, weights, data, bias]
    assert parameter_tensors("TRANSPOSE_CONV", transposed) == (weights, bias)


@pytest.mark.parametrize(
    ("name", "kind", "parameters", "macs"),
    [
        # Parameters of the reference models' summaries, batch normalisation folded; MACs counted from them by hand.
        ("ad01_fp32", Kind.FLOAT32, 265864, 264192),
        ("ad01_int8", Kind.INT8, 265864, 264192),
        ("ic_resnet8_int8", Kind.INT8, 77706, 12501632),
        ("kws_dscnn_fp32", Kind.HYBRID, 22604, 2656768),
        ("kws_dscnn_int8", Kind.INT8, 22604, 2656768),
        ("vww_mobilenet_int8", Kind.INT8, 210850, 7489664),
    ],
)
def test_mlperf_tiny(name: str, kind: Kind, parameters: int, macs: int) -> None:
    if not MLPERF.is_dir():
        pytest.skip("../shared/models/mlperf-tiny is not here")
    model = load_model(MLPERF / f"{name}.tflite")
    assert (model.kind, model.parameters, model.macs) == (kind, parameters, macs)
    assert sum(o.macs for o in model.operators) == macs


@pytest.mark.parametrize("name", ["cnn_int8", "human_activity_int8", "dense_float32"])
def test_tensors_are_those_another_reader_sees(name: str) -> None:
    litert = pytest.importorskip("ai_edge_litert.interpreter")
    model = load_model(MODELS / f"{name}.tflite")
    interpreter = litert.Interpreter(
        model_path=str(model.path), experimental_op_resolver_type=litert.OpResolverType.BUILTIN_REF
    )
    details = {d["index"]: d for d in interpreter.get_tensor_details() if d["index"] < len(model.tensors)}
    assert len(details) == len(model.tensors)
    for ours in model.tensors:
        theirs = details[ours.index]
        assert ours.name == theirs["name"]
        assert ours.shape == tuple(theirs["shape"])
        assert np.dtype(ours.dtype) == theirs["dtype"]
        parameters = theirs["quantization_parameters"]
        assert (ours.quantization.scales if ours.quantization else ()) == tuple(parameters["scales"].tolist())
        assert (ours.quantization.zero_points if ours.quantization else ()) == tuple(parameters["zero_points"])
    assert [t.index for t in model.inputs] == [d["index"] for d in interpreter.get_input_details()]
    assert [t.index for t in model.outputs] == [d["index"] for d in interpreter.get_output_details()]


# -- what is wrong ----------------------------------------------------------------------------------------------------


def refused(path: Path) -> str:
    """The message of the error that reading ``path`` ends with: one line, with a hint."""
    with pytest.raises(ModelError) as caught:
        load_model(path)
    assert caught.value.exit_code == 2
    assert caught.value.hint
    assert "\n" not in str(caught.value)
    return caught.value.message


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "is empty"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "HDF5"),
        (b"PK\x03\x04" + bytes(100), "zip archive"),
        (b"hello, this is a text", "TFL3 is missing"),
        (b"\x1c\x00\x00\x00TFL3", "damaged or truncated"),
        (b"\xff\xff\xff\xffTFL3" + bytes(64), "damaged or truncated"),
    ],
)
def test_other_files_are_refused(write, content: bytes, expected: str) -> None:
    assert expected in refused(write(content))


def test_missing_files_and_folders_are_refused(tmp_path: Path) -> None:
    assert "there is no file" in refused(tmp_path / "none.tflite")
    assert "cannot be read" in refused(tmp_path)
    assert "cannot be read" in refused(Path("a\0b"))


def changed(**changes: object) -> File:
    return dataclasses.replace(ONE_DENSE, **changes)


def with_tensor(index: int, **changes: object) -> File:
    tensors = list(ONE_DENSE.tensors)
    tensors[index] = dataclasses.replace(tensors[index], **changes)
    return changed(tensors=tensors)


def with_operator(**changes: object) -> File:
    return changed(operators=[dataclasses.replace(ONE_DENSE.operators[0], **changes)])


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        (changed(version=2), "schema version 2"),
        (changed(identifier=b"TFL2"), "TFL3 is missing"),
        (changed(subgraphs=2), "has 2 subgraphs"),
        (changed(subgraphs=0), "has 0 subgraphs"),
        (changed(inputs=[]), "has no inputs"),
        (changed(outputs=[]), "has no outputs"),
        (changed(operators=[]), "has no operators"),
        (changed(inputs=[9]), "an input of the model refers to tensor 9 of 4"),
        (changed(outputs=[-1]), "an output of the model refers to tensor -1"),
        (changed(inputs=[3]), "reads tensor 0, which nothing computes"),
        (with_operator(inputs=[0, 1, 99]), "operator 0 (FULLY_CONNECTED) refers to tensor 99"),
        (with_operator(inputs=[0, -2, 2]), "refers to tensor -2"),
        (with_operator(inputs=[0]), "no input 1"),
        (with_operator(inputs=[0, -1]), "no input 1"),
        (with_operator(inputs=[0, 2, 2]), "weights of 1 dimensions"),
        (with_operator(code=OP.CONV_2D), "a filter of 2 dimensions"),
        (with_operator(code_index=5), "operator code 5 of 1"),
        (with_tensor(0, shape=(1, -4)), "has the shape [1, -4]"),
        (with_tensor(0, shape=(2**30, 2**30)), "elements"),
        (with_tensor(1, shape=(2, 5)), "needs 40 bytes and the file holds 32"),
        (with_tensor(0, type_code=99), "unknown type 99"),
        (with_tensor(1, buffer=7), "refers to buffer 7 of 3"),
        (with_tensor(1, scales=[1.0, 2.0, 3.0]), "3 scales along axis 0"),
        (with_tensor(1, scales=[1.0, 2.0], axis=5), "scales along axis 5"),
        (with_tensor(1, scales=[float("nan")]), "not finite"),
        (with_tensor(1, scales=[1.0], zero_points=[0, 0, 0]), "1 scales and 3 zero points"),
    ],
)
def test_inconsistent_models_are_refused(write, file: File, expected: str) -> None:
    assert expected in refused(write(file))


def test_every_truncation_is_refused(write) -> None:
    content = ONE_DENSE.write()
    for length in range(len(content)):
        refused(write(content[:length]))


def test_a_long_vector_does_not_take_long(write) -> None:
    """A vector may say it has four thousand million elements, and a thousand operators may share one vector."""
    content = bytearray(ONE_DENSE.write())
    for place in range(8, len(content) - 4, 4):
        wrong = bytearray(content)
        struct.pack_into("<I", wrong, place, 0xFFFFFFFF)
        path = write(bytes(wrong))
        try:
            load_model(path)
        except ModelError as error:
            assert error.hint


def reading_is_safe(path: Path) -> Model | None:
    """Reading ends in a model or in a ModelError of one line."""
    try:
        model = load_model(path)
    except ModelError as error:
        assert error.hint
        assert "\n" not in error.message
        return None
    unsupported(model)
    return model


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["dense", "cnn_int8", "human_activity_int8"]),
    st.lists(
        st.tuples(st.floats(0, 1, exclude_max=True), st.sampled_from([1, 2, 4]), st.integers(0, 2**32 - 1)), max_size=6
    ),
    st.floats(0, 1),
    st.booleans(),
)
def test_mutated_files_never_crash(tmp_path: Path, name: str, edits: list, keep: float, truncate: bool) -> None:
    content = bytearray(ONE_DENSE.write() if name == "dense" else (MODELS / f"{name}.tflite").read_bytes())
    for where, width, value in edits:
        place = int(where * (len(content) - width))
        content[place : place + width] = (value & ((1 << 8 * width) - 1)).to_bytes(width, "little")
    if truncate:
        del content[int(keep * len(content)) :]
    path = tmp_path / "mutated.tflite"
    path.write_bytes(bytes(content))
    reading_is_safe(path)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=400))
def test_arbitrary_bytes_never_crash(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "any.tflite"
    path.write_bytes(content[:4] + b"TFL3" + content[4:])
    reading_is_safe(path)


def test_small_numbers_in_every_word_never_crash(write) -> None:
    """Counts and offsets are small numbers: the mutations most likely to lead to another place in the file."""
    content = ONE_DENSE.write()
    generator = random.Random(1)
    for _ in range(400):
        wrong = bytearray(content)
        for _ in range(generator.randint(1, 3)):
            wrong[generator.randrange(8, len(wrong))] = generator.choice([0, 1, 2, 4, 8, 16, 127, 128, 255])
        reading_is_safe(write(bytes(wrong)))


# -- what a runtime supports ------------------------------------------------------------------------------------------


@pytest.fixture
def runtime(tmp_path: Path) -> Runtime:
    path = tmp_path / "mine.toml"
    path.write_text(RUNTIME)
    return load_runtime(path)


def test_a_supported_model_passes(write, runtime: Runtime) -> None:
    model = load_model(write(ONE_DENSE))
    assert unsupported(model, runtime) == ()
    check_supported(model, runtime)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"version": 3}, "version 3; the runtime has up to 2"),
        ({"code": OP.ABS, "inputs": [0], "options": None}, "not in the runtime"),
        ({"code": OP.SPLIT, "inputs": [1, 0], "options": None}, "type float32; the runtime has int8"),
        ({"code": OP.SPLIT, "inputs": [1], "options": None}, "input 1 is missing"),
        ({"code": OP.QUANTIZE, "inputs": [0], "options": None}, "output type float32; the runtime has int8"),
    ],
)
def test_gaps_say_why(write, runtime: Runtime, changes: dict, reason: str) -> None:
    (gap,) = unsupported(load_model(write(with_operator(**changes))), runtime)
    assert gap.reason == reason


def test_a_description_without_types_leaves_them_to_the_kernels(write, runtime: Runtime) -> None:
    file = with_operator(code=OP.NEG, inputs=[0], options=None)
    assert unsupported(load_model(write(file)), runtime) == ()


def test_an_operator_the_runtime_lacks_is_named_with_its_layers(write, runtime: Runtime) -> None:
    model = load_model(write(with_operator(code=OP.CUSTOM, custom="Mine", inputs=[0], options=None)))
    expected = r"needs CUSTOM:Mine \(not in the runtime\), which mine 7 does not run: layer 0 dense"
    with pytest.raises(ModelError, match=expected) as caught:
        check_supported(model, runtime)
    assert caught.value.exit_code == 2


def test_operators_newer_than_the_schema_are_named_by_number(write) -> None:
    model = load_model(write(with_operator(code=5000, inputs=[0], options=None)))
    assert model.operators[0].name == "BUILTIN_5000"
    assert [g.reason for g in unsupported(model)] == ["not in the runtime"]


def test_a_hybrid_model_is_refused_as_such(write) -> None:
    model = load_model(write(hybrid()))
    assert model.kind is Kind.HYBRID
    with pytest.raises(ModelError, match=r"hybrid model .*layer 0 dense") as caught:
        check_supported(model)
    assert "representative_dataset" in caught.value.hint


def test_float_inside_int8_is_not_hybrid(write) -> None:
    """QUANTIZE and DEQUANTIZE at the borders of an int8 model."""
    scale = {"scales": [0.1], "zero_points": [0]}
    file = File(
        tensors=[
            Tensor((1, 4)), Tensor((1, 4), "int8", **scale), Tensor((2, 4), "int8", bytes(8), **scale),
            Tensor((1, 2), "int8", **scale), Tensor((1, 2)),
        ],
        operators=[
            Operator(OP.QUANTIZE, [0], [1]), Operator(OP.FULLY_CONNECTED, [1, 2, -1], [3], version=4),
            Operator(OP.DEQUANTIZE, [3], [4], version=2),
        ],
        inputs=[0],
        outputs=[4],
    )  # fmt: skip
    model = load_model(write(file))
    assert model.kind is Kind.INT8_INSIDE
    check_supported(model)


def test_the_runtime_supports_what_the_zoo_and_mlperf_need() -> None:
    paths = sorted(MODELS.glob("*.tflite")) + sorted(MLPERF.glob("*.tflite"))
    refused = {path.stem for path in paths if unsupported(load_model(path))}
    assert refused <= {"kws_dscnn_fp32"}  # hybrid


def test_the_runtime_that_comes_with_tinysim_says_its_types() -> None:
    operators = supported_operators()
    assert [name for name, operator in operators.items() if not operator.types] == []
    schema = set(vars(OP))
    assert [name for name in operators if name not in schema] == []
    assert operators["CONV_2D"].cmsis_nn_types == ("int8",)


# -- the command ------------------------------------------------------------------------------------------------------


@pytest.fixture
def run():
    import typer
    from typer.testing import CliRunner

    command = pytest.importorskip("tinysim.cli.model_cmd")
    app = typer.Typer()
    app.callback()(lambda: None)
    command.register(app)
    return lambda *arguments: CliRunner().invoke(app, ["model", *map(str, arguments)])


def test_the_command_prints_a_table(run) -> None:
    result = run(MODELS / "human_activity_int8.tflite")
    assert result.exit_code == 0
    for text in ("CONV_2D", "1x1x24x16 int8", "12,075", "23,360", "cmsis-nn"):
        assert text in result.stdout


def test_the_command_writes_json_alone(run) -> None:
    result = run(MODELS / "cnn_int8.tflite", "--json", "-")
    record = json.loads(result.stdout)
    assert record["schema"] == "tinysim.model/1"
    assert (record["kind"], record["macs"]) == ("int8", 61152)
    assert sum(o["macs"] for o in record["operators"]) == 61152
    assert record["runtimes"]["tflm"]["supported"] is True


def test_the_command_shows_gaps_and_names_without_markup(run, write) -> None:
    file = hybrid()
    file.tensors[3].name = "[red]x[/blue]"
    result = run(write(file))
    assert result.exit_code == 0
    assert "does not run 0 FULLY_CONNECTED" in result.stdout
    assert "[red]x[" in result.stdout


def test_the_command_refuses_a_wrong_file(run, write) -> None:
    result = run(write(b"nothing"))
    assert isinstance(result.exception, ModelError)
