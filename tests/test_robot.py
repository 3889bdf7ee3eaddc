"""The Robot Framework library: its keywords on results made up here, and its suites run by robot and pabot."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("robot")

from robot.api import ExecutionResult, Failure

from tinysim.result import (
    ErrorBound,
    FirmwareInfo,
    FunctionCost,
    LayerCost,
    MemoryUse,
    Outputs,
    RegionCost,
    Result,
)
from tinysim.robot import EngineName
from tinysim.robot import robot as Library  # noqa: N812
from tinysim.robot_log import bars, html_report, text_table

ROOT = Path(__file__).resolve().parents[1]
MEMORY = MemoryUse(
    flash_bytes=60_000,
    ram_bytes=9_000,
    stack_peak_bytes=700,
    code_bytes=50_000,
    weights_bytes=9_000,
    constants_bytes=1_000,
    data_bytes=300,
    arena_bytes=8_000,
    arena_used_bytes=7_900,
)
RESULT = Result(
    model="cnn",
    part="stm32l4r5zi",
    core="cortex-m4",
    clock_hz=100_000_000,
    engine="unicorn",
    firmware=FirmwareInfo("cnn.elf", "0" * 64),
    regions=(
        RegionCost(
            "invoke",
            1,
            800_000,
            1_000_000,
            0.01,
            {"execution": 1_000_000},
            (FunctionCost("conv(int)", 700_000, 900_000),),
        ),
        RegionCost("fft", 4, 8_000, 10_000, 0.0001, {"execution": 10_000}, ()),
    ),
    instructions=800_000,
    cycles=1_000_000,
    latency_s=0.01,
    memory=MEMORY,
    error=ErrorBound(2, "some measurements"),
    layers=(
        LayerCost(0, "conv_1", "CONV_2D", 500_000, 600_000, 100_000, 6.0),
        LayerCost(1, "conv_2", "CONV_2D", 100_000, 300_000, 50_000, 6.0),
        LayerCost(2, "softmax", "SOFTMAX", 1_000, 2_000, 0, None),
    ),
    outputs=Outputs(True, "tflite-micro", 0.0, 0.0, "seed 0"),
)


@pytest.fixture
def library() -> Library:
    made = Library()
    made._results.append(RESULT)
    made._part = "stm32l4r5zi"
    return made


def fails(message: str, call: object, *arguments: object, **named: object) -> None:
    with pytest.raises(Failure, match=message) as caught:
        call(*arguments, **named)  # type: ignore[operator]
    text = str(caught.value)
    if "(" not in text.splitlines()[0] or "\n" in text:
        assert "stm32l4r5zi" in text  # the table is there


def test_time(library: Library) -> None:
    library.latency_should_be_below("10.1 ms")
    fails("the latency is 10 ms, not below 10 ms", library.latency_should_be_below, "10ms")
    fails(r"the latency is 10 ms, not below 9\.9 ms", library.latency_should_be_below, "9900 us")
    library.latency_should_be_about("9.5 ms", within="6 %")
    fails(r"10 ms, \+5\.3 % from 9\.5 ms, not within 5 %", library.latency_should_be_about, "9.5 ms", "5%")
    fails(r"-9\.1 % from 11 ms", library.latency_should_be_about, "11 ms", "5%")
    library.cycles_should_be_below(1_000_001)
    fails("it takes 1,000,000 cycles, not below 1,000,000", library.cycles_should_be_below, 1_000_000)
    assert library.get_latency() == 0.01
    assert library.get_cycles() == 1_000_000
    assert library.get_result() is RESULT


@pytest.mark.parametrize("limit", ["20", "fast", "20 MHz", ""])
def test_times_need_units(library: Library, limit: str) -> None:
    with pytest.raises(Failure, match=r"is not a time \(write it like 20ms\)"):
        library.latency_should_be_below(limit)


def test_memory(library: Library) -> None:
    library.flash_should_fit()
    library.flash_should_fit("60000")
    fails(r"needs 58\.6 KiB of flash, more than 58\.0 KiB", library.flash_should_fit, "58K")
    library.ram_should_fit()
    fails(r"needs 8\.8 KiB of RAM, more than 8\.0 KiB", library.ram_should_fit, "8K")
    library.stack_peak_should_be_below("701")
    fails("the stack grew to 700 B, not below 700 B", library.stack_peak_should_be_below, "700")
    library._results.append(dataclasses.replace(RESULT, memory=dataclasses.replace(MEMORY, stack_peak_bytes=None)))
    fails("the peak of the stack is not known", library.stack_peak_should_be_below, "700")


def test_flash_that_the_part_does_not_have(library: Library) -> None:
    library._results.append(dataclasses.replace(RESULT, memory=dataclasses.replace(MEMORY, flash_bytes=3 << 20)))
    fails(r"needs 3\.00 MiB of flash, more than 2\.00 MiB", library.flash_should_fit)


def test_outputs(library: Library) -> None:
    library.outputs_should_match_reference()
    library._results.append(dataclasses.replace(RESULT, outputs=Outputs(False, "tflite-micro", 3.0, 1.0, "seed 0")))
    fails("differ from tflite-micro by up to 3, more than 1", library.outputs_should_match_reference)
    library._results.append(dataclasses.replace(RESULT, outputs=None, model=None))
    fails("this was firmware, not a model", library.outputs_should_match_reference)


def test_functions_and_layers(library: Library) -> None:
    library.function_should_take_fewer_cycles_than("fft", 2_501)  # four calls of 2,500 cycles
    fails("fft takes 2,500 cycles, not fewer than 2,500", library.function_should_take_fewer_cycles_than, "fft", 2_500)
    fails("conv takes 900,000 cycles", library.function_should_take_fewer_cycles_than, "conv", 5)
    fails("nothing did not run, or has another name", library.function_should_take_fewer_cycles_than, "nothing", 5)
    library.layer_should_take_fewer_cycles_than("softmax", 2_001)
    fails("CONV_2D takes 900,000 cycles", library.layer_should_take_fewer_cycles_than, "CONV_2D", 900_000)
    fails("1 takes 300,000 cycles", library.layer_should_take_fewer_cycles_than, "1", 300_000)
    fails("there is no layer 'POOL'", library.layer_should_take_fewer_cycles_than, "POOL", 1)


def test_regressions(library: Library, tmp_path: Path) -> None:
    path = tmp_path / "baseline.json"
    library.save_baseline(str(path))
    library.latency_should_not_regress_by_more_than("0 %", baseline=str(path))
    slower = dataclasses.replace(RESULT, latency_s=0.0102, cycles=1_020_000)
    library._results.append(slower)
    library.latency_should_not_regress_by_more_than("2.1 %", baseline=str(path))
    fails(
        r"the latency is 10\.2 ms, \+2\.00 % from 10 ms in .*baseline.json, more than 1 %",
        library.latency_should_not_regress_by_more_than,
        "1 %",
        baseline=str(path),
    )
    library._results.append(dataclasses.replace(RESULT, clock_hz=80_000_000))
    with pytest.raises(Failure, match="no result of cnn on stm32l4r5zi at 80000000 Hz"):
        library.latency_should_not_regress_by_more_than("1 %", baseline=str(path))
    with pytest.raises(Failure, match="Save baseline"):
        library.latency_should_not_regress_by_more_than("1 %", baseline=str(tmp_path / "none.json"))


def test_comparisons(library: Library) -> None:
    slow = dataclasses.replace(RESULT, latency_s=0.02)
    library.it_should_be_faster_than(slow)
    library.it_should_be_faster_than(slow, by="50 %")
    fails(r"is 50\.0 % faster than 20 ms, not 51 %", library.it_should_be_faster_than, slow, "51 %")
    fails(r"is 0\.0 % faster", library.it_should_be_faster_than, RESULT)


def test_steps_in_the_wrong_order() -> None:
    empty = Library()
    for call, message in (
        (lambda: empty.latency_should_be_below("1 s"), "nothing was measured yet"),
        (lambda: empty.model_runs_on_part("stm32l4r5zi"), "no model was given"),
        (lambda: empty.firmware_runs_on_part("stm32l4r5zi"), "no firmware was given"),
        (lambda: empty.model("nowhere.tflite"), "there is no file nowhere.tflite"),
    ):
        with pytest.raises(Failure, match=message):
            call()
    empty.model(str(ROOT / "examples/models/dense_float32.tflite"))
    with pytest.raises(Failure, match=r"no kernels 'fast' \(one of cmsis-nn, reference"):
        empty.model_runs_on_part("stm32l4r5zi", kernels="fast")
    with pytest.raises(ValueError, match="qemu"):
        Library(engine="qemu")  # type: ignore[arg-type]


def test_the_engine_is_chosen_by_one_variable() -> None:
    assert Library()._engine_arguments() == {}
    assert Library(engine=EngineName.RENODE, renode="/opt/renode")._engine_arguments() == {
        "engine": "renode",
        "renode": "/opt/renode",
    }


@given(st.lists(st.tuples(st.text(max_size=50), st.integers(0, 10**12)), max_size=60))
def test_pictures_are_well_formed(values: list[tuple[str, int]]) -> None:
    legal = [(re.sub(r"[^\x20-\ud7ff]", "?", name), value) for name, value in values]
    picture = ElementTree.fromstring(bars(legal))
    widths = [float(bar.get("width", "nan")) for bar in picture.iter("{http://www.w3.org/2000/svg}rect")]
    assert len(widths) == min(len(legal), 24)
    assert all(0 <= width <= 380 for width in widths)


def test_what_goes_into_the_log() -> None:
    html = html_report(dataclasses.replace(RESULT, warnings=("a < b",)))
    assert "a &lt; b" in html and "<svg" in html and "600,000" in html and "10 ms ± 2 %" in html
    assert "CONV_2D" in text_table([RESULT])
    assert "fft" in html_report(dataclasses.replace(RESULT, layers=()))
    assert "conv(int)" in html_report(dataclasses.replace(RESULT, layers=(), regions=RESULT.regions[:1]))


def run(*arguments: str, folder: Path) -> dict[str, tuple[str, str]]:
    """Run suites; name, status and message of each test."""
    scripts = str(Path(sys.executable).parent)  # pabot looks for robot on the path
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"}
    subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    result = ExecutionResult(folder / "output.xml")
    return {test.name: (test.status, test.message) for test in result.suite.all_tests}


def test_the_suites_pass_in_parallel(tmp_path: Path) -> None:
    pytest.importorskip("pabot")
    tests = run("pabot.pabot", "--processes", "2", "--outputdir", str(tmp_path), "robot/", folder=tmp_path)
    assert len(tests) >= 12
    assert {name: message for name, (status, message) in tests.items() if status != "PASS"} == {}
    log = (tmp_path / "output.xml").read_text(encoding="utf-8")
    assert "&lt;svg" in log


def test_failures_say_what_is_wrong(tmp_path: Path) -> None:
    from tinysim.bench import bench

    [result] = bench(ROOT / "examples/models/dense_float32.tflite", "stm32l4r5zi")
    before = dataclasses.replace(result, latency_s=result.latency_s / 1.05)
    (tmp_path / "baseline.json").write_text(before.to_json())
    tests = run(
        "robot",
        "--outputdir",
        str(tmp_path),
        "--variable",
        f"BASELINE:{tmp_path}/baseline.json",
        "tests/test_robot_failing.robot",
        folder=tmp_path,
    )
    expected = {
        "Too Slow": r"the latency is \d.* µs, not below 1 µs\n\n(.|\n)*dense_float32(.|\n)*FULLY_CONNECTED",
        "Too Large": r"it needs \d.* KiB of flash, more than 4\.0 KiB",
        "Regressed": r"\+5\.00 % from .* in .*baseline\.json, more than 1 %",
        "No Such Part": r"no part 'stm32z999' in the catalogue \(nearest: ",
        "A Limit Without A Unit": r"'20' is not a time \(write it like 20ms\)",
        "Nothing Measured": r"nothing was measured yet \(say first: Run model on part",
        "No Such Function": r"nonsense did not run, or has another name",
    }
    assert set(tests) == set(expected)
    for name, (status, message) in tests.items():
        assert status == "FAIL"
        assert re.search(expected[name], message), (name, message)


def test_the_documentation_is_that_of_the_library(tmp_path: Path) -> None:
    made = subprocess.run(
        [sys.executable, "-m", "robot.libdoc", "tinysim.robot", "list"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    page = (ROOT / "docs" / "robot.html").read_text(encoding="utf-8")
    for keyword in made.stdout.split("\n"):
        assert keyword in page
