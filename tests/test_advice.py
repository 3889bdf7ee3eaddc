"""Each rule of advice on a program that has what it looks for, and on one that has not."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from arm_programs import PART, build, command

from tinysim.advice import Case, advise
from tinysim.advice.units import Units
from tinysim.image import load_image
from tinysim.measure import Measured, measure
from tinysim.memory.pricers import MemoryOptions
from tinysim.part import load_part
from tinysim.result import Finding, LayerCost, Result

HARD = ("-mfpu=fpv4-sp-d16", "-mfloat-abi=hard")
FPU_ON = '    *(volatile unsigned *)0xE000ED88 |= 0xF00000; __asm volatile("dsb\\nisb");\n'
PROGRAM = """
#define APART __attribute__((noinline, noclone))
volatile float x = 1.5f; volatile double wide = 1.5; volatile int n = 1000, d = 7, out;
APART void halt(void) { for (;;) __asm volatile(""); }
APART void work(void) { %s }
void start(void) { %s work(); halt(); }
"""


def findings(tmp_path: Path, body: str, *options: str, start: str = "", part: str = PART) -> dict[str, Finding]:
    elf = build(tmp_path, PROGRAM % (body, start), *(options or ("-O2",)), "-lgcc")
    result, _ = measure(elf, part, functions=["work"], until="halt", advice=True)
    assert len({f.rule for f in result.findings}) == len(result.findings)
    assert all(
        any(f.title in warning and f.evidence in warning for warning in result.warnings) for f in result.findings
    )
    return {f.rule: f for f in result.findings}


def test_soft_float_on_a_core_with_an_fpu(tmp_path: Path) -> None:
    body = "for (int i = 0; i < n; i++) x = x * 1.01f + 0.5f;"
    soft = findings(tmp_path, body, "-O2", "-mfloat-abi=soft")["soft-float"]
    assert "1,000 times" in soft.evidence and "mul" in soft.evidence
    assert soft.gain_percent is not None and 60 < soft.gain_percent < 95
    hard = findings(tmp_path, body, "-O2", *HARD, start=FPU_ON)
    assert "soft-float" not in hard and "double" not in hard


def test_the_gain_of_soft_float_is_not_less_than_what_the_fpu_wins(tmp_path: Path) -> None:
    body = "for (int i = 0; i < n; i++) x = x * 1.01f + 0.5f;"
    elf = build(tmp_path, PROGRAM % (body, ""), "-O2", "-mfloat-abi=soft", "-lgcc", name="soft")
    soft, _ = measure(elf, PART, functions=["work"], until="halt", advice=True)
    elf = build(tmp_path, PROGRAM % (body, FPU_ON), "-O2", *HARD, "-lgcc", name="hard")
    hard, _ = measure(elf, PART, functions=["work"], until="halt")
    gain = next(f.gain_cycles for f in soft.findings if f.rule == "soft-float")
    assert gain is not None and gain == pytest.approx(soft.cycles - hard.cycles, rel=0.3)


def test_double_arithmetic(tmp_path: Path) -> None:
    found = findings(tmp_path, "for (int i = 0; i < n; i++) x = x * 1.01;", "-O2", *HARD, start=FPU_ON)
    assert "double" in found and "-Wdouble-promotion" in found["double"].action
    assert "muldf3" in found["double"].evidence or "dmul" in found["double"].evidence
    assert (found["double"].gain_percent or 0) > 50


def test_divisions_in_hot_code(tmp_path: Path) -> None:
    found = findings(tmp_path, "for (int i = 1; i < n; i++) out += (0x7fffffff - i) / d;")
    assert "work" in found["division"].evidence and "999 times" in found["division"].evidence
    assert "division" not in findings(tmp_path, "for (int i = 1; i < n; i++) out += i / 7;"), (
        "a constant needs no division"
    )


def test_unaligned_data(tmp_path: Path) -> None:
    body = "static char room[4100]; for (int i = 0; i < n; i++) out += *(volatile int *)(room + {} + 4 * (i & 1023));"
    found = findings(tmp_path, body.replace("{}", "1"))
    assert (found["unaligned"].gain_cycles or 0) >= 1000
    assert "unaligned" not in findings(
        tmp_path,
        "static int words[1025];"
        + body.replace("{}", "0").replace("static char room[4100];", "char *room = (char *)words;"),
    )


SUM = "int s = 0; for (int i = 0; i < n; i++) s += i ^ d; out = s;"


@pytest.mark.parametrize(
    ("options", "level"), [(("-O0", "-g"), "-O0"), (("-g",), "-O0"), (("-Og", "-g"), "-Og"), (("-O0", "-g0"), "")]
)
def test_code_built_for_debugging(tmp_path: Path, options: tuple[str, ...], level: str) -> None:
    found = findings(tmp_path, SUM, *options)["unoptimised"]
    assert level in found.title and "work" in found.evidence
    if "0" in level or not level:
        assert found.gain_percent is not None and found.gain_percent > 20


@pytest.mark.parametrize("options", [("-O1", "-g"), ("-O2", "-g"), ("-Os", "-g"), ("-O2", "-g0"), ("-O0", "-O2", "-g")])
def test_optimised_code_is_left_alone(tmp_path: Path, options: tuple[str, ...]) -> None:
    assert "unoptimised" not in findings(tmp_path, SUM, *options)


def test_flags_are_read_from_the_producer(tmp_path: Path) -> None:
    image = load_image(build(tmp_path, PROGRAM % (SUM, ""), "-O3", "-g"))
    unit = Units(image).of(image.symbol("work"))
    assert unit is not None and unit.level == "O3" and unit.name == "program.c" and unit.producer.startswith("GNU C")
    assert Units(load_image(build(tmp_path, PROGRAM % (SUM, ""), "-O3", "-g0"))).of(image.symbol("work")) is None


def test_printf_of_floats(tmp_path: Path) -> None:
    formatter = "__attribute__((noinline, used)) void _dtoa_r(void) { for (int i = 0; i < 500; i++) out += i; }"
    source = PROGRAM.replace("APART void work", formatter + "\nAPART void work")
    elf = build(tmp_path, source % ("_dtoa_r();", ""), "-O1")
    result, measured = measure(elf, PART, functions=["work"], until="halt", advice=True)
    [found] = [f for f in result.findings if f.rule == "printf-float"]
    assert found.gain_bytes == measured.image.symbol("_dtoa_r").bytes
    assert (found.gain_percent or 0) > 90
    unused = build(tmp_path, source % ("out = 1;", ""), "-O1")
    [found] = [
        f
        for f in measure(unused, PART, functions=["work"], until="halt", advice=True)[0].findings
        if f.rule == "printf-float"
    ]
    assert found.gain_cycles is None and "did not run" in found.evidence


def test_the_clock_the_firmware_believes_in(tmp_path: Path) -> None:
    source = PROGRAM.replace("volatile float", "unsigned SystemCoreClock = 4000000;\nvolatile float")
    elf = build(tmp_path, source % (SUM, ""), "-O2", "-g")
    found = {f.rule: f for f in measure(elf, PART, until="halt", clock="80MHz", advice=True)[0].findings}
    # the bare test program never copies .data, so what it holds at the end is what the loader put there
    assert "4 MHz" in found["clock"].evidence and "20.0 times" in found["clock"].action
    raised = build(tmp_path, source % (SUM, "SystemCoreClock = 80000000;"), "-O2", "-g")
    assert "clock" not in {f.rule for f in measure(raised, PART, until="halt", clock="80MHz", advice=True)[0].findings}


# -- rules that need no program of their own -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, Measured]:
    elf = build(tmp_path_factory.mktemp("plain"), PROGRAM % (SUM, ""), "-O2")
    return measure(elf, PART, functions=["work"], until="halt")


def case(plain: tuple[Result, Measured], **changes: object) -> Case:
    result, measured = plain
    made = Case(measured.estimate, result.regions[0], 0, measured.image, measured.part, measured.core, result.clock_hz)
    return dataclasses.replace(made, **changes)  # type: ignore[arg-type]


def test_what_was_never_switched_on_is_measured_both_ways(plain: tuple[Result, Measured]) -> None:
    asked: list[MemoryOptions] = []

    def remeasure(options: MemoryOptions) -> int:
        asked.append(options)
        return 1000 if options.prefetch else 1400

    part = load_part("stm32f767zi")
    found = {f.rule: f for f in advise(case(plain, part=part, clock_hz=part.default_clock_hz, remeasure=remeasure))}
    assert "instruction cache" in found["memory-features"].evidence + found["memory-features"].title
    assert asked and (asked[0].caches, asked[0].prefetch) == (True, True)
    assert found["memory-features"].gain_cycles == 400 and found["memory-features"].measured


def test_slow_memory_needs_a_share(plain: tuple[Result, Measured]) -> None:
    region = plain[0].regions[0]

    def with_waits(cycles: int, waits: int) -> dict[str, Finding]:
        changed = dataclasses.replace(
            region,
            cycles=cycles,
            breakdown={"issue": cycles - 2 * waits, "flash data": waits, "flash instruction": waits},
        )
        return {f.rule: f for f in advise(case(plain, region=changed))}

    slow = with_waits(10_000, 1000)
    assert slow["slow-data"].gain_cycles == 1000 and slow["slow-data"].gain_percent == 10.0
    assert "work" in slow["slow-code"].evidence
    assert not {"slow-data", "slow-code"} & set(with_waits(10_000, 499))


KERNELS = r"""
#define APART __attribute__((noinline))
extern "C" { volatile int n = 4000, out; APART void halt() { for (;;) __asm volatile(""); } CMSIS }
namespace tflite {
namespace reference_integer_ops { APART void ConvPerChannel(int k) { for (int i = 0; i < k; i++) out += i; } }
struct MicroInterpreter { APART int Invoke(); };
APART int MicroInterpreter::Invoke() {
    for (int i = 0; i < OVERHEAD; i++) out += i;
    reference_integer_ops::ConvPerChannel(n);
    return 0;
}
}
extern "C" void start() { tflite::MicroInterpreter m; m.Invoke(); halt(); }
"""


def kernels(tmp_path: Path, cmsis: str, overhead: int) -> Case:
    source = KERNELS.replace("CMSIS", cmsis).replace("OVERHEAD", str(overhead))
    elf = build(tmp_path, source, "-O1", "-fno-exceptions", "-fno-rtti", suffix=".cc")
    result, measured = measure(elf, PART, until="halt")
    return case((result, measured), number=None, layers=(LayerCost(0, "conv", "CONV_2D", 1, 1, 0, None),))


def test_reference_kernels(tmp_path: Path) -> None:
    found = {f.rule: f for f in advise(kernels(tmp_path, "", 1))}
    assert "CMSIS-NN is not linked" in found["reference-kernels"].evidence
    assert found["reference-kernels"].gain_percent == pytest.approx(100 * (1 - 1 / 4.6), abs=2)
    linked = {
        f.rule: f for f in advise(kernels(tmp_path, "__attribute__((used)) void arm_convolve_s8() { out = 1; }", 1))
    }
    assert "arm_convolve_s8" in linked["reference-kernels"].evidence


def test_interpreter_overhead(tmp_path: Path) -> None:
    assert "interpreter" not in {f.rule for f in advise(kernels(tmp_path, "", 1))}
    found = {f.rule: f for f in advise(kernels(tmp_path, "", 1000))}
    assert 15 < (found["interpreter"].gain_percent or 0) < 30
    assert "1 operators" in found["interpreter"].evidence


def test_findings_come_dearest_first_and_in_the_result(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    elf = build(
        tmp_path,
        PROGRAM % ("for (int i = 1; i < n; i++) { x = x * 1.5f; out += 100000 / d; }", ""),
        "-O0",
        "-g",
        "-mfloat-abi=soft",
        "-lgcc",
    )
    path = tmp_path / "result.json"
    assert command("run", elf, "--part", PART, "--function", "work", "--until", "halt", "--advice", "--json", path) == 0
    out = capsys.readouterr().out
    assert "Advice" in out and "floating point in software" in out and "what to do" in out
    record = json.loads(path.read_text())
    gains = [f["gain_cycles"] or 0 for f in record["findings"]]
    assert gains == sorted(gains, reverse=True) and len(gains) >= 3
    assert Result.from_dict(record).findings[0].rule == record["findings"][0]["rule"]
