"""Firmware of whole models: right outputs, right places, right sizes, right refusals."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from elftools.elf.elffile import ELFFile
from firmware_runner import (
    Board,
    FailedError,
    SmallPart,
    host_outputs,
    m4,
    m7,
    operators_of,
    random_inputs,
    write_model,
)
from tflite_builder import dense

from tinysim.errors import CapacityError, InputError, ModelError, PartError, ToolchainError
from tinysim.firmware import Firmware, FloatAbi, Kernels, OperatorUse, Opt, build
from tinysim.runtime import load_runtime

ROOT = Path(__file__).resolve().parent.parent
CNN = ROOT / "examples" / "models" / "cnn_int8.tflite"
MLPERF = ROOT.parent / "shared" / "models" / "mlperf-tiny"
FLOAT_TOLERANCE = 2e-5


def built(model: Path, part: SmallPart, **how: object) -> Firmware:
    """The firmware of a model file, with the operators the file names."""
    return build(model, part, operators=operators_of(model.read_bytes()), **how)  # type: ignore[arg-type]


def assert_right(model: Path, firmware: Firmware, part: SmallPart, seed: int = 1) -> Board:
    """The outputs of two inferences are the host's."""
    board = Board(firmware, part)
    content = model.read_bytes()
    for number in range(2):
        inputs = random_inputs(content, seed + number)
        for ours, hosts in zip(board.infer(inputs), host_outputs(content, inputs), strict=True):
            if hosts.dtype == np.float32:
                np.testing.assert_allclose(ours, hosts.ravel(), rtol=FLOAT_TOLERANCE, atol=FLOAT_TOLERANCE)
            else:
                np.testing.assert_array_equal(ours, hosts.ravel())
    return board


def mlperf(name: str) -> Path:
    path = MLPERF / f"{name}.tflite"
    if not path.exists():
        pytest.skip(f"{path.name} of MLPerf Tiny is not beside the checkout")
    return path


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A dense float model of a few bytes."""
    weights = np.random.default_rng(3).normal(size=(3, 8))
    return write_model(tmp_path, dense(weights, np.array([0.1, -0.2, 0.3])).write(), "small.tflite")


@pytest.mark.parametrize("kernels", list(Kernels))
@pytest.mark.parametrize("part", [m4(), m7()], ids=lambda part: part.core)
def test_our_cnn_is_right(part: SmallPart, kernels: Kernels) -> None:
    assert_right(CNN, built(CNN, part, kernels=kernels), part)


@pytest.mark.parametrize(
    "name", ["ad01_int8", "ic_resnet8_int8", "kws_dscnn_int8", "sww_int8", "vww_mobilenet_int8", "ad01_fp32"]
)
def test_mlperf_is_right(name: str) -> None:
    model, part = mlperf(name), m4()
    assert_right(model, built(model, part), part)


def test_mlperf_is_right_by_reference_kernels() -> None:
    model, part = mlperf("kws_dscnn_int8"), m4()
    assert_right(model, built(model, part, kernels=Kernels.REFERENCE), part)


def test_cmsis_nn_takes_a_third_at_most() -> None:
    """Bytes of instructions stand for instructions: both flavours are of the same compiler and flags."""
    model, part = mlperf("kws_dscnn_int8"), m4()
    inputs = random_inputs(model.read_bytes())
    executed = {}
    for kernels in Kernels:
        board = Board(built(model, part, kernels=kernels), part)
        board.infer(inputs, count=True)
        executed[kernels] = board.instruction_bytes
    assert executed[Kernels.REFERENCE] > 3 * executed[Kernels.CMSIS_NN] > 0


@pytest.mark.parametrize(("opt", "abi"), [(Opt.O0, FloatAbi.HARD), (Opt.OS, FloatAbi.SOFTFP), (Opt.O3, FloatAbi.SOFT)])
def test_any_optimisation_and_convention_is_right(opt: Opt, abi: FloatAbi, small: Path) -> None:
    part = m4()
    firmware = built(small, part, kernels=Kernels.REFERENCE, opt=opt, float_abi=abi)
    assert firmware.opt == opt
    assert f"-{opt}" in firmware.flags
    assert_right(small, firmware, part)


def test_identical_build_is_not_made_again(small: Path) -> None:
    first = built(small, m4())
    written = first.path.stat().st_mtime_ns
    steps: list[str] = []
    again = built(small, m4(), progress=lambda label, done, total: steps.append(label))
    assert again == first
    assert again.path.stat().st_mtime_ns == written
    assert steps == []


def test_another_model_compiles_no_library(small: Path, tmp_path: Path) -> None:
    built(small, m4())
    other = write_model(tmp_path, dense(np.eye(4), np.zeros(4)).write(), "other.tflite")
    steps: list[str] = []
    built(other, m4(), progress=lambda label, done, total: steps.append(label))
    assert steps == []


def test_model_is_in_flash_as_it_is(small: Path) -> None:
    firmware = built(small, m4())
    with firmware.path.open("rb") as stream:
        elf = ELFFile(stream)
        section = elf.get_section_by_name(".weights")
        (symbol,) = elf.get_section_by_name(".symtab").get_symbol_by_name("tinysim_model")
        content = small.read_bytes()
        assert section.data()[: len(content)] == content
        assert symbol["st_size"] == len(content)
        assert symbol["st_value"] == section["sh_addr"]
        assert section["sh_addr"] % 16 == 0
        assert section["sh_addr"] >= 0x08000000


def test_sizes_are_those_of_the_size_tool(small: Path) -> None:
    firmware = built(small, m4(), arena_bytes=4096)
    lines = subprocess.run(
        ["arm-none-eabi-size", "-A", firmware.path], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    sizes = {fields[0]: int(fields[1]) for line in lines if len(fields := line.split()) == 3 and fields[1].isdigit()}
    assert sizes[".arena"] == firmware.arena_bytes == 4096
    assert sizes[".stack"] == firmware.stack_bytes
    assert sizes[".isr_vector"] == 4 * 256


def test_unlimited_arena_takes_what_is_left(small: Path) -> None:
    ram = 0x10000
    firmware = built(small, m4(ram=ram))
    board = Board(firmware, m4(ram=ram))
    end = board.symbols["tinysim_arena"] + firmware.arena_bytes + firmware.stack_bytes
    assert 0x20000000 + ram - 32 < end <= 0x20000000 + ram
    assert board.symbols["__stack_top"] <= 0x20000000 + ram


def test_arena_of_the_size_reported_is_enough() -> None:
    part = m4()
    used = Board(built(CNN, part), part).arena_used_bytes
    firmware = built(CNN, part, arena_bytes=used)
    assert assert_right(CNN, firmware, part).arena_used_bytes == used
    assert used <= firmware.arena_bytes < used + 16


def test_arena_too_small_is_said_by_the_runtime() -> None:
    part = m4()
    with pytest.raises(FailedError, match=r"Arena size is too small|Failed to allocate|Too many buffers"):
        Board(built(CNN, part, arena_bytes=2048), part)


def test_marks_survive_the_highest_optimisation(small: Path) -> None:
    how = {"kernels": Kernels.REFERENCE, "opt": Opt.O3, "float_abi": FloatAbi.SOFT}
    board = Board(built(small, m4(), **how), m4())
    marks = ["tinysim_ready", "tinysim_invoke", "tinysim_done", "tinysim_failed", "tinysim_log"]
    assert len({board.symbols[name] for name in marks}) == len(marks)
    assert board.magic == 0x544E5953
    assert board.status == 0
    assert (board.inputs, board.outputs) == (1, 1)
    assert [size for _, size, _ in board.tensors] == [8 * 4, 3 * 4]


def test_arena_goes_to_the_first_memory_that_holds_it() -> None:
    """With a DTCM of 64 KiB the CNN's arena fits beside data and stack; with less it goes to the next choice."""
    roomy, tight = m7(dtcm=0x10000), m7(dtcm=0x4000)
    used = Board(built(CNN, roomy), roomy).arena_used_bytes
    assert built(CNN, roomy, arena_bytes=used).placement["arena"] == "dtcm"
    moved = built(CNN, tight, arena_bytes=used)
    assert moved.placement["arena"] == "axi"
    assert moved.placement["stack"] == "dtcm"
    assert_right(CNN, moved, tight)


def shortage(error: CapacityError) -> int:
    (number,) = [int(word.replace(",", "")) for word in error.message.split() if word.replace(",", "").isdigit()]
    return number


def test_flash_shortage_is_exact(small: Path) -> None:
    flash = 0x4000
    with pytest.raises(CapacityError, match=r"flash is [\d,]+ bytes too small") as caught:
        built(small, m4(flash=flash), arena_bytes=2048)
    enough = flash + shortage(caught.value)
    assert built(small, m4(flash=enough), arena_bytes=2048).placement["code"] == "flash"
    with pytest.raises(CapacityError):
        built(small, m4(flash=enough - 4), arena_bytes=2048)


def test_ram_shortage_is_exact(small: Path) -> None:
    ram = 0x3000
    with pytest.raises(CapacityError, match=r"ram is [\d,]+ bytes too small") as caught:
        built(small, m4(ram=ram), arena_bytes=8192)
    enough = ram + shortage(caught.value)
    assert built(small, m4(ram=enough), arena_bytes=8192).arena_bytes == 8192
    with pytest.raises(CapacityError):
        built(small, m4(ram=enough - 8), arena_bytes=8192)


def test_oversized_firmware_runs_where_the_part_ends(small: Path) -> None:
    part = m4(flash=0x4000, ram=0x3000)
    firmware = built(small, part, oversized=True)
    assert firmware.oversized
    board = assert_right(small, firmware, part)
    assert board.symbols["__stack_top"] > 0x20003000


def test_unknown_operator_is_named(small: Path) -> None:
    with pytest.raises(ModelError, match="has no WHERE, UNIDIRECTIONAL_SEQUENCE_LSTM"):
        build(small, m4(), operators=[OperatorUse("WHERE", 1), OperatorUse("UNIDIRECTIONAL_SEQUENCE_LSTM", 1)])


def test_newer_version_is_refused_by_name(small: Path) -> None:
    with pytest.raises(ModelError, match=r"STRIDED_SLICE version 8 \(known: up to 2\)"):
        build(small, m4(), operators=[OperatorUse("STRIDED_SLICE", 8)])


def test_firmware_without_an_operator_of_the_model_says_so(small: Path) -> None:
    part = m4()
    with pytest.raises(FailedError, match="Didn't find op for builtin opcode 'FULLY_CONNECTED'"):
        Board(build(small, part, operators=[OperatorUse("ADD", 1)]), part)


def test_absent_model_is_the_users_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing\.tflite cannot be read"):
        build(tmp_path / "nothing.tflite", m4(), operators=[OperatorUse("ADD", 1)])


def test_absent_compiler_is_named(small: Path) -> None:
    with pytest.raises(ToolchainError, match="no-such-"):
        built(small, m4(), cc="no-such-")


def test_part_without_a_place_is_refused(small: Path) -> None:
    part = m4()
    placement = {purpose: names for purpose, names in part.placement.items() if purpose != "arena"}
    with pytest.raises(PartError, match="where arena goes"):
        built(small, replace(part, placement=placement))


def test_runtime_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = load_runtime()
    root = shipped.library("tflm").root
    text = (shipped.folder / "tflm_2020.toml").read_text()
    mine = text.replace('package = "tflm"\nroot = "submodules/tensorflow"', f'path = "{root}"')
    assert mine != text
    (tmp_path / "mine.toml").write_text(mine)
    monkeypatch.setenv("TINYSIM_RUNTIME", str(tmp_path / "mine.toml"))
    library = load_runtime().library("tflm")
    assert library.sources == shipped.library("tflm").sources
    assert library.origin.startswith(f"{root} sha256:")


@pytest.mark.parametrize("text", ["schema = 3", "not toml ["])
def test_wrong_runtime_description_is_refused(text: str, tmp_path: Path) -> None:
    file = tmp_path / "wrong.toml"
    file.write_text(text)
    with pytest.raises(InputError, match=r"wrong\.toml"):
        load_runtime(file)
