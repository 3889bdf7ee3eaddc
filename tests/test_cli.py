"""The command line as people and programs call it: one line for what is wrong, exit codes, nothing beside JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import tflite
from elf_builder import Section, write
from program_builder import FOLDER, PLAIN_M4, build, run
from tflite_builder import File, Operator, Tensor, hybrid

from tinysim.cli import main
from tinysim.result import SCHEMA, Result, read_results

PART = "stm32l4r5zi"
CODE = [Section(".text", 0x08000000, 16, executable=True)]


@pytest.fixture
def tinysim(capsys: pytest.CaptureFixture[str]):
    """Run a command line in this process: exit code, standard output, standard error."""

    def call(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            main([str(a) for a in arguments])
        out, err = capsys.readouterr()
        return int(caught.value.code or 0), out, err

    return call


def assert_one_line(outcome: tuple[int, str, str], code: int, *parts: str) -> None:
    """Nothing on standard output, one line on standard error that ends in what to do."""
    got, out, err = outcome
    assert (got, out) == (code, "")
    assert err.count("\n") == 1, err
    assert err.startswith("tinysim: ")
    assert " - " in err
    for part in parts:
        assert part in err, err


def command(*arguments: object, path: str | None = None) -> subprocess.CompletedProcess[str]:
    """The same in a process of its own, as the installed command does it."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    if path is not None:
        environment["PATH"] = path
    return subprocess.run(
        [sys.executable, "-c", "from tinysim.cli import main; main()", *map(str, arguments)],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


# -- bad input: models --------


def test_a_file_that_is_no_model(tinysim, tmp_path: Path) -> None:
    path = tmp_path / "notes.tflite"
    path.write_text("not a model at all, but long enough to hold a header")
    assert_one_line(tinysim("bench", path, "--part", PART), 2, f"{path} is not a TFLite file", "TFLiteConverter")


def test_a_model_that_is_not_there(tinysim, tmp_path: Path) -> None:
    assert_one_line(tinysim("bench", tmp_path / "absent.tflite", "--part", PART), 2, "absent.tflite")


@pytest.mark.parametrize("kept", [0, 7, 100, 5000, 13_000])
def test_a_truncated_model(tinysim, models: Path, tmp_path: Path, kept: int) -> None:
    path = tmp_path / "short.tflite"
    path.write_bytes((models / "cnn_int8.tflite").read_bytes()[:kept])
    assert_one_line(tinysim("bench", path, "--part", PART), 2, str(path))


def one_operator(code: int, version: int = 3) -> File:
    """A model of one operator on four numbers."""
    return File([Tensor((1, 4)), Tensor((1, 4))], [Operator(code, (0,), (1,))], (0,), (1,), version=version)


def test_a_model_of_another_schema(tinysim, tmp_path: Path) -> None:
    path = tmp_path / "old.tflite"
    path.write_bytes(one_operator(tflite.BuiltinOperator.RELU, version=2).write())
    assert_one_line(tinysim("bench", path, "--part", PART), 2, "schema", "2")


def test_an_operator_the_runtime_lacks(tinysim, tmp_path: Path) -> None:
    path = tmp_path / "odd.tflite"
    path.write_bytes(one_operator(tflite.BuiltinOperator.ELU).write())
    assert_one_line(tinysim("bench", path, "--part", PART), 2, "needs ELU", "layer 0", "tinysim model")


def test_a_hybrid_model(tinysim, tmp_path: Path) -> None:
    path = tmp_path / "dynamic.tflite"
    path.write_bytes(hybrid().write())
    assert_one_line(tinysim("bench", path, "--part", PART), 2, "hybrid model", "representative_dataset")


def test_a_model_too_big_for_the_part(tinysim, models: Path) -> None:
    outcome = tinysim("bench", models / "cnn_int8.tflite", "--part", PLAIN_M4)
    assert_one_line(
        outcome,
        2,
        "does not fit Plain M4: missing ",
        " bytes of flash (needs ",
        "has 65,536)",
        "parts with room: ",
        PART,
    )


# -- bad input: parts, clocks, options --------


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("--part", "stm32l4r5"), ("no part 'stm32l4r5'", "nearest: stm32l4r5zi")),
        (("--part", "zzz"), ("no part 'zzz'", "`tinysim parts`")),
        (("--part", "missing/part.toml"), ("no part file missing/part.toml",)),
        (("--part", ","), ("no part was given",)),
        (("--part", PART, "--clock", "500MHz"), ("cannot run at 500 MHz", "its maximum is 120 MHz")),
        (("--part", PART, "--clock", "fast"), ("'fast' is not a clock frequency", "120MHz")),
        (("--part", PART, "--clock", "120"), ("'120' is not a clock frequency", "120MHz")),
        (("--part", PART, "--kernels", "fast"), ("'fast' is not one of 'cmsis-nn', 'reference'",)),
        (("--part", PART, "--opt", "O9"), ("'O9' is not one of",)),
        (("--part", PART, "--float-abi", "medium"), ("'medium' is not one of 'hard', 'softfp', 'soft'",)),
        (("--part", PART, "--runtime", "torch"), ("torch",)),
        (("--part", PART, "--seed", "x"), ("'--seed'",)),
        (("--part", PART, "--input", "absent.npy"), ("absent.npy",)),
        (("--part", PART, "--no-such-option"), ("no such option: --no-such-option", "`tinysim bench --help`")),
        ((), ("missing option '--part'", "`tinysim bench --help`")),
    ],
)  # fmt: skip
def test_a_wrong_option_of_bench(tinysim, models: Path, arguments: tuple[str, ...], parts: tuple[str, ...]) -> None:
    assert_one_line(tinysim("bench", models / "cnn_int8.tflite", *arguments), 2, *parts)


def test_an_unknown_command(tinysim) -> None:
    assert_one_line(tinysim("benhc"), 2, "no such command 'benhc'", "`tinysim --help`")


def test_no_command_shows_the_commands(tinysim) -> None:
    code, out, err = tinysim()
    assert (code, err) == (2, "")
    for name in ("bench", "run", "model", "parts", "doctor"):
        assert name in out


def test_a_place_that_cannot_be_written(tinysim, models: Path, tmp_path: Path) -> None:
    target = tmp_path / "no" / "such" / "folder.json"
    outcome = tinysim("bench", models / "dense_float32.tflite", "--part", PART, "--ideal-memory", "--json", target)
    assert_one_line(outcome, 2, f"cannot write {target}")


def test_an_unknown_compiler(tinysim, models: Path) -> None:
    outcome = tinysim("bench", models / "dense_float32.tflite", "--part", PART, "--cc", "/nowhere/arm-")
    assert_one_line(outcome, 1, "no arm GCC is named '/nowhere/arm-'")


def test_no_compiler_at_all(models: Path, tmp_path: Path) -> None:
    done = command("bench", models / "dense_float32.tflite", "--part", PART, path=str(tmp_path))
    assert_one_line(
        (done.returncode, done.stdout, done.stderr), 1, "no arm GCC was found",
        "apt-get install gcc-arm-none-eabi libnewlib-arm-none-eabi libstdc++-arm-none-eabi-dev",
    )  # fmt: skip


# -- bad input: programs --------

PROGRAMS = {
    "is not an ELF file": b"MZ, say",
    "is a 64-bit ELF file": write(CODE, bits=64),
    "is big-endian": write(CODE, big=True),
    "is for X86_64, not for Arm": write(CODE, machine=62),
    "is not a linked executable": write(CODE, kind=1),
}


@pytest.mark.parametrize("reason", PROGRAMS)
def test_a_program_that_cannot_run(tinysim, tmp_path: Path, reason: str) -> None:
    path = tmp_path / "program.elf"
    path.write_bytes(PROGRAMS[reason])
    assert_one_line(tinysim("run", path, "--part", PART), 2, str(path), reason)


@pytest.fixture(scope="module")
def elf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("cli") / "work.elf", FOLDER / "work.c", flags=("-O1", "-DFAULT=0"))


def test_a_function_that_is_not_there(tinysim, elf: Path) -> None:
    outcome = tinysim("run", elf, "--part", PLAIN_M4, "--ideal-memory", "--function", "summ")
    assert_one_line(outcome, 2, "work.elf has no symbol 'summ'", "nearest: sum")


def test_a_function_of_a_stripped_program(tinysim, elf: Path, tmp_path: Path) -> None:
    stripped = tmp_path / "stripped.elf"
    run("arm-none-eabi-strip", "-o", stripped, elf)
    outcome = tinysim("run", stripped, "--part", PLAIN_M4, "--ideal-memory", "--function", "sum")
    assert_one_line(outcome, 2, "stripped.elf has no symbols, so 'sum' cannot be found", "0x08000400")


def test_a_stretch_without_an_end(tinysim, elf: Path) -> None:
    assert_one_line(
        tinysim("run", elf, "--part", PLAIN_M4, "--ideal-memory", "--between", "sum"), 2, "'sum' is not a stretch"
    )


def test_a_program_that_faults_exits_with_1_and_shows_registers(tinysim, tmp_path: Path) -> None:
    broken = build(tmp_path / "broken.elf", FOLDER / "work.c", flags=("-O1", "-DFAULT=1"))
    code, out, err = tinysim("run", broken, "--part", PLAIN_M4, "--ideal-memory")
    assert (code, out) == (1, "")
    first, *details = err.splitlines()
    assert first.startswith("tinysim: ")
    assert "0x60000000" in first
    assert details
    assert all(line.startswith("  ") for line in details)


# -- what programs read --------


def test_bench_prints_nothing_but_an_array_of_results(models: Path, one_result: Result) -> None:
    done = command("bench", models / "cnn_int8.tflite", "--part", f"{PART},stm32h723zg", "--json", "-")
    assert (done.returncode, done.stderr) == (0, "")
    records = json.loads(done.stdout)
    assert [r["schema"] for r in records] == [SCHEMA] * 2
    first = Result.from_dict(records[0])
    assert first == one_result
    region = records[0]["regions"][0]
    assert sum(region["breakdown"].values()) == region["cycles"] == records[0]["cycles"]
    assert {
        "model",
        "part",
        "core",
        "clock_hz",
        "engine",
        "firmware",
        "regions",
        "layers",
        "cycles",
        "latency_s",
    } <= set(records[0])
    assert {"memory", "outputs",
            "error", "warnings"} <= set(records[0])  # fmt: skip
    assert {"name", "calls", "instructions", "cycles", "latency_s", "breakdown", "functions"} <= set(region)
    assert {"flash_bytes", "ram_bytes", "sections", "stack_peak_bytes", "arena_bytes", "weights_bytes"} <= set(
        records[0]["memory"]
    )
    assert {"name", "op", "instructions", "cycles", "macs"} <= set(records[0]["layers"][0])
    assert {"match", "reference", "max_abs_error"} <= set(records[0]["outputs"])
    assert {"path", "sha256", "runtime", "kernels", "opt"} <= set(records[0]["firmware"])
    assert {"bound_percent", "basis"} <= set(records[0]["error"])


def test_run_prints_nothing_but_one_result(tinysim, elf: Path) -> None:
    code, out, err = tinysim(
        "run", elf, "--part", PLAIN_M4, "--ideal-memory", "--function", "sum,factorial", "--json", "-"
    )
    assert (code, err) == (0, "")
    record = json.loads(out)
    assert [r["name"] for r in record["regions"]] == ["sum", "factorial"]
    assert Result.from_dict(record).part == "plain-m4"


def test_json_goes_to_a_file_beside_the_table(tinysim, models: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.json"
    code, out, _ = tinysim(
        "bench",
        models / "cnn_int8.tflite",
        "--part",
        PART,
        "--ideal-memory",
        "--json",
        target,
        "--layers",
        "--breakdown",
    )
    assert code == 0
    [result] = read_results(target)
    for text in ("cnn_int8", PART, "120 MHz", "match", "memory is ideal", "CONV_2D", "interpreter", "issue"):
        assert text in out
    assert f"{result.cycles:,}" in out
    assert result.firmware.compiler is not None
    assert result.firmware.compiler in " ".join(out.split())


@pytest.mark.parametrize(
    ("option", "first"), [("--csv", "model,part,core,clock_hz"), ("--markdown", "| model | part |")]
)
def test_tables_for_programs_stand_alone(tinysim, models: Path, option: str, first: str) -> None:
    code, out, err = tinysim("bench", models / "dense_float32.tflite", "--part", PART, "--ideal-memory", option, "-")
    assert (code, err) == (0, "")
    assert out.startswith(first)
    assert "dense_float32" in out


def test_version_and_help(tinysim) -> None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        installed = version("tinysim")
    except PackageNotFoundError:
        pytest.skip("tinysim runs from its checkout, not installed")
    assert tinysim("--version") == (0, f"tinysim {installed}\n", "")
    code, out, _ = tinysim("bench", "--help")
    assert code == 0
    assert "--kernels" in out
