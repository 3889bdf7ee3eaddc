"""Each effect that someone measured or documented, as a small program: executed in Unicorn, priced, compared."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from tests.timing.recording import build, counts, record
from tinysim.core import Pipeline, load_core
from tinysim.timing.pricing import price, totals

FILE = Path(__file__).with_name("microbenchmarks.toml")
BENCHMARKS = tomllib.loads(FILE.read_text())["benchmark"]
PADDING = "mov r9, r9\n" * 8
PROGRAM = """
.syntax unified
.thumb
.text
.macro setup
push {{r4-r11, lr}}
ldr r0, =0x20000100
str r0, [r0]
add r1, r0, #256
movs r2, #8
movs r3, #3
movs r4, #4
movs r5, #5
movs r6, #6
movs r7, #7
mov r8, r7
vmov.f32 s0, #1.0
.irp n, 1,2,3,4,5,6,7,8,9,10,11,12
vmov.f32 s\\n, s0
.endr
b 9f
.ltorg
.balign 8
9:
.endm
.global with_body, without_body
.thumb_func
with_body:
setup
{before}{body}{after}pop {{r4-r11, pc}}
.balign 8
.thumb_func
without_body:
setup
{before}{after}pop {{r4-r11, pc}}
"""


def cycles_of_body(benchmark: dict[str, object], folder: Path) -> float:
    """What the body adds to the padding."""
    core = load_core(str(benchmark["core"]))
    align = int(benchmark.get("align", 0))
    body = (str(benchmark["body"]).strip() + "\n") * int(benchmark.get("repeat", 1))
    # on the dual-issue core what comes before and after overlaps: compare twice the body with once
    before = body if core.pipeline is Pipeline.DUAL_ISSUE else ""
    source = folder / "program.s"
    source.write_text(PROGRAM.format(before=PADDING + "mov r9, r9\n" * align + before, body=body, after=PADDING))
    elf = build(source, folder, core.name)
    cycles = []
    for function in ("with_body", "without_body"):
        recording = record(elf, function, core.name)
        counted = counts(recording, core.context_blocks)
        cycles.append(totals(counted, price(counted, recording.read_code, core)).region.cycles)
    return cycles[0] - cycles[1]


@pytest.mark.parametrize("benchmark_", BENCHMARKS, ids=[f"{b['core']}: {b['name']}" for b in BENCHMARKS])
def test_costs_what_was_measured(benchmark_: dict[str, object], tmp_path: Path) -> None:
    expected = float(benchmark_["cycles"])  # type: ignore[arg-type]
    allowed = float(benchmark_.get("tolerance", 0 if benchmark_["core"] == "cortex-m4" else expected / 100))  # type: ignore[arg-type]
    assert cycles_of_body(benchmark_, tmp_path) == pytest.approx(expected, abs=allowed + 1e-9)
