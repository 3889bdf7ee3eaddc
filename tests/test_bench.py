"""Models on parts, from the .tflite file to a Result: right answers, sound numbers, refusals that say what to do."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest
from program_builder import PLAIN_M4

import tinysim
from tinysim.errors import CapacityError, InputError, ModelError, PartError, ToolchainError
from tinysim.firmware import FloatAbi, Kernels, Opt
from tinysim.memory.pricers import MemoryOptions
from tinysim.result import Result, read_results

PARTS = ("stm32l4r5zi", "stm32h723zg")
IDEAL = MemoryOptions(ideal=True)
INT8 = ("ad01_int8", "ic_resnet8_int8", "kws_dscnn_int8", "sww_int8", "vww_mobilenet_int8")
FLOAT = ("ad01_fp32", "ic_resnet8_fp32", "vww_mobilenet_fp32")


def assert_sound(result: Result) -> None:
    """What holds for every measurement of a model."""
    region = result.regions[0]
    assert result.outputs is not None
    assert result.outputs.match
    assert result.cycles == region.cycles == sum(region.breakdown.values())
    assert region.calls == 1
    assert result.latency_s == pytest.approx(result.cycles / result.clock_hz)
    layers = sum(layer.cycles for layer in result.layers)
    assert abs(layers - result.cycles) <= 0.01 * result.cycles + 200 * len(result.layers)
    memory = result.memory
    assert memory.arena_bytes is not None
    assert memory.arena_used_bytes is not None
    assert memory.stack_peak_bytes is not None
    assert memory.arena_used_bytes <= memory.arena_bytes <= memory.arena_used_bytes + 16384 + 16
    assert memory.flash_bytes > memory.weights_bytes > 0
    assert memory.ram_bytes > memory.arena_bytes + memory.stack_peak_bytes
    assert all(use.used_bytes <= use.size_bytes for use in memory.memories)
    assert Result.from_dict(json.loads(result.to_json())) == result


def test_the_models_of_the_project_are_sound_on_both_cores(cnn_results: tuple[Result, ...]) -> None:
    for result, part in zip(cnn_results, PARTS, strict=True):
        assert (result.model, result.part) == ("cnn_int8", part)
        assert_sound(result)
        assert result.outputs is not None
        assert (result.outputs.max_abs_error, result.outputs.tolerance) == (0, 0)
        assert result.outputs.inputs == "seed 0"
        assert sum(layer.cycles for layer in result.layers) == pytest.approx(result.cycles, rel=0.01)
        assert result.firmware.compiler is not None
        assert re.search(r"\d+\.\d+", result.firmware.compiler)
        assert set(result.firmware.sources) == {"tflm", "cmsis-nn"}
        assert len(result.firmware.sha256) == 64


def test_a_float_model_is_within_its_tolerance(models: Path) -> None:
    [result] = tinysim.bench(models / "dense_float32.tflite", "stm32l4r5zi")
    assert_sound(result)
    assert result.outputs is not None
    assert result.outputs.max_abs_error is not None
    assert 0 < result.outputs.tolerance < 0.01
    assert result.outputs.max_abs_error <= result.outputs.tolerance


def test_the_same_measurement_twice_is_the_same(one_result: Result, models: Path) -> None:
    [again] = tinysim.bench(models / "cnn_int8.tflite", "STM32L4R5ZI")
    assert again == one_result


def test_layers_are_those_of_the_model(one_result: Result, models: Path) -> None:
    model = tinysim.load_model(models / "cnn_int8.tflite")
    assert [(layer.index, layer.op, layer.macs) for layer in one_result.layers] == [
        (o.index, o.name, o.macs) for o in model.operators
    ]
    for layer in one_result.layers:
        assert layer.instructions > 0
        assert layer.cycles_per_mac == (round(layer.cycles / layer.macs, 3) if layer.macs else None)


def test_ideal_memory_is_faster_and_says_so(one_result: Result, models: Path) -> None:
    [ideal] = tinysim.bench(models / "cnn_int8.tflite", "stm32l4r5zi", memory=IDEAL)
    assert ideal.cycles < one_result.cycles
    assert ideal.instructions == one_result.instructions
    assert any("memory is ideal" in warning for warning in ideal.warnings)
    assert not any("memory is ideal" in warning for warning in one_result.warnings)


def test_ideal_memory_costs_the_same_cycles_at_every_clock(models: Path) -> None:
    results = tinysim.bench(
        models / "dense_float32.tflite", "stm32l4r5zi", clock=["20MHz", 80_000_000, "120MHz"], memory=IDEAL
    )
    assert [r.clock_hz for r in results] == [20_000_000, 80_000_000, 120_000_000]
    assert len({r.cycles for r in results}) == 1
    assert results[0].latency_s == pytest.approx(6 * results[2].latency_s)


def test_results_come_by_model_part_and_clock(models: Path) -> None:
    paths = [models / "dense_float32.tflite", models / "cnn_int8.tflite"]
    results = tinysim.bench(paths, PARTS, clock=["40MHz", "80MHz"], memory=IDEAL)
    expected = [(path.stem, part, clock) for path in paths for part in PARTS for clock in (40_000_000, 80_000_000)]
    assert [(r.model, r.part, r.clock_hz) for r in results] == expected


def test_other_inputs_change_the_outputs_and_not_the_verdict(models: Path, tmp_path: Path) -> None:
    given = tmp_path / "image.npy"
    np.save(given, np.full((1, 28, 28, 1), -128, np.int8))
    [seeded] = tinysim.bench(models / "cnn_int8.tflite", "stm32l4r5zi", seed=7, memory=IDEAL)
    [own] = tinysim.bench(models / "cnn_int8.tflite", "stm32l4r5zi", inputs=[given], memory=IDEAL)
    assert seeded.outputs is not None
    assert own.outputs is not None
    assert (seeded.outputs.match, own.outputs.match) == (True, True)
    assert (seeded.outputs.inputs, own.outputs.inputs) == ("seed 7", "given")
    assert seeded.firmware.sha256 == own.firmware.sha256


def test_optimisation_and_float_abi_make_other_firmware(models: Path) -> None:
    model = models / "dense_float32.tflite"
    options = [tinysim.BuildOptions(), tinysim.BuildOptions(opt=Opt.OS, float_abi=FloatAbi.SOFT)]
    results = [tinysim.bench(model, "stm32l4r5zi", options=o, memory=IDEAL)[0] for o in options]
    for result, option in zip(results, options, strict=True):
        assert_sound(result)
        info = result.firmware
        assert (info.kernels, info.opt, info.float_abi) == (option.kernels, option.opt, option.float_abi)
        assert f"-{option.opt}" in info.flags
    hard, soft = results
    assert hard.firmware.sha256 != soft.firmware.sha256
    assert soft.cycles > 3 * hard.cycles  # every float operation is a call


def test_optimised_kernels_are_faster_than_plain_ones(one_result: Result, models: Path) -> None:
    [plain] = tinysim.bench(
        models / "cnn_int8.tflite", "stm32l4r5zi", options=tinysim.BuildOptions(kernels=Kernels.REFERENCE)
    )
    assert_sound(plain)
    assert plain.cycles > 3 * one_result.cycles


def test_progress_is_told(models: Path) -> None:
    said: list[tuple[str, int, int]] = []
    tinysim.bench(
        models / "dense_float32.tflite", "stm32l4r5zi", memory=IDEAL, progress=lambda *step: said.append(step)
    )
    assert any("dense_float32" in what for what, _, _ in said)
    assert all(0 <= done <= total or total == 0 for _, done, total in said)


def test_many_results_are_one_frame_and_one_file(cnn_results: tuple[Result, ...], tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_text(json.dumps([r.to_dict() for r in cnn_results]))
    assert tuple(read_results(path)) == cnn_results
    frame = tinysim.to_dataframe(cnn_results)
    assert list(frame["part"]) == list(PARTS)
    assert list(frame["cycles"]) == [r.cycles for r in cnn_results]
    assert frame["outputs_match"].all()


# -- MLPerf Tiny --------


@pytest.mark.parametrize("name", [*INT8, *FLOAT])
def test_a_reference_model_gives_right_outputs(name: str, mlperf: Path) -> None:
    memory = None if name in INT8 else IDEAL  # float networks run long: their memory system is priced elsewhere
    [result] = tinysim.bench(mlperf / f"{name}.tflite", "stm32l4r5zi", memory=memory)
    assert_sound(result)
    assert result.outputs is not None
    assert result.outputs.max_abs_error is not None
    assert sum(layer.cycles for layer in result.layers) == pytest.approx(result.cycles, rel=0.01)
    if name in INT8:
        assert (result.outputs.max_abs_error, result.outputs.tolerance) == (0, 0)
    else:
        assert result.outputs.max_abs_error <= result.outputs.tolerance < 0.01


def test_optimised_kernels_are_three_times_faster_on_keyword_spotting(mlperf: Path) -> None:
    model = mlperf / "kws_dscnn_int8.tflite"
    for part in PARTS:
        fast, plain = (
            tinysim.bench(model, part, options=tinysim.BuildOptions(kernels=kernels), memory=IDEAL)[0]
            for kernels in Kernels
        )
        assert_sound(fast)
        assert_sound(plain)
        assert plain.cycles > 3 * fast.cycles


def test_a_hybrid_model_is_refused_as_such(mlperf: Path) -> None:
    with pytest.raises(ModelError, match="is a hybrid model") as caught:
        tinysim.bench(mlperf / "kws_dscnn_fp32.tflite", "stm32l4r5zi")
    assert "representative_dataset" in caught.value.hint
    assert "layers 0 conv2d" in caught.value.message


def test_a_model_above_the_flash_says_by_how_much_and_which_parts_hold_it(mlperf: Path) -> None:
    with pytest.raises(CapacityError) as caught:
        tinysim.bench(mlperf / "ad01_fp32.tflite", "stm32h723zg")
    found = re.search(r"missing ([\d,]+) bytes of flash \(needs ([\d,]+), has 1,048,576\)", caught.value.message)
    assert found
    missing, needed = (int(text.replace(",", "")) for text in found.groups())
    assert missing == needed - 1048576 > 0
    named = caught.value.hint.removeprefix("parts with room: ").split(", ")
    assert "stm32l4r5zi" in named
    assert "stm32h723zg" not in named


# -- refusals --------


def test_a_model_above_a_small_part_says_what_is_missing(models: Path) -> None:
    with pytest.raises(
        CapacityError,
        match=r"cnn_int8 does not fit Plain M4: missing [\d,]+ bytes of flash \(needs [\d,]+, has 65,536\)",
    ) as caught:
        tinysim.bench(models / "cnn_int8.tflite", PLAIN_M4)
    assert "stm32l4r5zi" in caught.value.hint


def test_a_model_above_the_ram_says_what_is_missing(models: Path) -> None:
    part = tinysim.load_part(PLAIN_M4)
    flash, ram = part.regions
    starved = dataclasses.replace(
        part, regions=(dataclasses.replace(flash, size=1 << 20), dataclasses.replace(ram, size=8192))
    )
    with pytest.raises(CapacityError, match=r"missing [\d,]+ bytes of ram \(needs [\d,]+, has 8,192\)"):
        tinysim.bench(models / "cnn_int8.tflite", starved)


def test_nothing_to_do_is_refused(models: Path) -> None:
    with pytest.raises(InputError, match="no model"):
        tinysim.bench([], "stm32l4r5zi")
    with pytest.raises(InputError, match="no part"):
        tinysim.bench(models / "cnn_int8.tflite", [])


@pytest.mark.parametrize("clock", ["121MHz", 0, -1, "fast", "120"])
def test_a_clock_the_part_does_not_have_is_refused_before_anything_is_built(models: Path, clock: str | int) -> None:
    with pytest.raises((PartError, InputError)) as caught:
        tinysim.bench(models / "cnn_int8.tflite", "stm32l4r5zi", clock=clock)
    assert caught.value.hint


def test_an_unknown_part_is_answered_with_the_nearest(models: Path) -> None:
    with pytest.raises(PartError, match="no part 'stm32l4r9'") as caught:
        tinysim.bench(models / "cnn_int8.tflite", "stm32l4r9")
    assert "stm32l4r5zi" in caught.value.hint


def test_an_unknown_compiler_is_named(models: Path) -> None:
    with pytest.raises(ToolchainError, match="no arm GCC is named '/nowhere/arm-'"):
        tinysim.bench(models / "cnn_int8.tflite", "stm32l4r5zi", options=tinysim.BuildOptions(cc="/nowhere/arm-"))


def test_one_model_that_cannot_be_measured_does_not_stop_the_others(tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.tflite"
    damaged.write_bytes(b"nothing")
    dense = Path(__file__).parent.parent / "examples" / "models" / "dense_float32.tflite"
    failures: list[tinysim.TinysimError] = []
    results = tinysim.bench([damaged, dense], "stm32l4r5zi", on_failure=failures.append)
    assert [result.model for result in results] == ["dense_float32"]
    assert [type(failure) for failure in failures] == [ModelError]
