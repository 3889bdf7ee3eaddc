"""Any program on a part: what is measured, and how programs that go wrong end."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from program_builder import FOLDER, PLAIN_M4, PLAIN_M7, build

import tinysim
from tinysim.errors import FaultError, ImageError, InputError, PartError
from tinysim.memory.pricers import MemoryOptions
from tinysim.result import Result

IDEAL = MemoryOptions(ideal=True)


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The program without a fault, then with each of its faults."""
    folder = tmp_path_factory.mktemp("work")
    double = ("-mfpu=fpv5-d16", "-mcpu=cortex-m7")
    return [
        build(
            folder / f"work{fault}.elf",
            FOLDER / "work.c",
            flags=("-O1", f"-DFAULT={fault}", *(double if fault == 7 else ())),
        )
        for fault in range(8)
    ]


def run(elf: Path, *functions: str, part: Path = PLAIN_M4, **more: object) -> Result:
    return tinysim.run(elf, part, functions=functions, memory=IDEAL, **more)  # type: ignore[arg-type]


def test_functions_are_measured_over_all_their_calls(programs: list[Path]) -> None:
    result = run(programs[0], "sum", "factorial")
    total, recursion = result.regions
    assert (total.name, total.calls) == ("sum", 2)
    assert (recursion.name, recursion.calls) == ("factorial", 5)
    assert result.cycles == round(total.cycles / 2)
    assert result.latency_s == pytest.approx(total.cycles / 2 / 100e6)
    assert result.clock_hz == 100_000_000
    assert result.outputs is None
    assert result.layers == ()


def test_each_iteration_of_a_loop_costs_the_same(programs: list[Path]) -> None:
    """sum takes 16 and 4 words: the longer call has twelve iterations more."""
    image = tinysim.run(programs[0], PLAIN_M4, functions=["sum"], memory=IDEAL)
    [region] = image.regions
    code = next(f for f in region.functions if f.name == "sum")
    assert code.cycles == region.cycles
    fixed, step = _line(region.instructions, 16 + 4, calls=2)
    assert step >= 3
    assert fixed >= 3


def _line(total: int, iterations: int, calls: int) -> tuple[int, int]:
    """Instructions before and after a loop, and in it, as the compiler's loops of 3 to 6 instructions allow."""
    found = [
        ((total - iterations * step) // calls, step) for step in range(3, 7) if (total - iterations * step) % calls == 0
    ]
    return next((fixed, step) for fixed, step in found if 2 <= fixed <= 12)


def test_a_stretch_is_measured_from_one_symbol_to_another(programs: list[Path]) -> None:
    stretch = tinysim.run(programs[0], PLAIN_M4, between=["mark_start..mark_stop"], memory=IDEAL)
    inner = run(programs[0], "deep")
    [region] = stretch.regions
    assert (region.name, region.calls) == ("mark_start..mark_stop", 1)
    assert region.cycles > inner.cycles
    assert {f.name for f in region.functions} == {"mark_start", "start", "deep"}


def test_the_whole_program_is_measured_where_nothing_is_asked_for(programs: list[Path]) -> None:
    result = run(programs[0])
    [region] = result.regions
    assert (region.name, region.calls) == ("program", 1)
    assert {"sum", "factorial", "deep", "start", "fault"} <= {f.name for f in region.functions}
    assert sum(f.instructions for f in region.functions) == result.instructions
    part_of_it = run(programs[0], "sum")
    assert result.cycles > part_of_it.regions[0].cycles


def test_until_ends_the_program_early(programs: list[Path]) -> None:
    early = run(programs[0], until="mark_start")
    assert "deep" not in {f.name for f in early.regions[0].functions}
    assert early.cycles < run(programs[0]).cycles


def test_the_stack_of_a_function_is_seen(programs: list[Path]) -> None:
    result = run(programs[0], "deep", "sum")
    deep, total = result.regions
    assert deep.stack_peak_bytes is not None
    assert total.stack_peak_bytes is not None
    assert 64 * 4 <= deep.stack_peak_bytes < 64 * 4 + 64
    assert total.stack_peak_bytes < 64
    assert result.memory.stack_peak_bytes == deep.stack_peak_bytes


def test_an_address_names_a_function_of_a_stripped_file(programs: list[Path], tmp_path: Path) -> None:
    from program_builder import run as tool

    from tinysim.image import load_image

    stripped = tmp_path / "stripped.elf"
    tool("arm-none-eabi-strip", "-o", stripped, programs[0])
    address = load_image(programs[0]).symbol("sum").address
    known, bare = run(programs[0], "sum"), run(stripped, hex(address))
    assert (bare.regions[0].calls, bare.regions[0].cycles) == (2, known.regions[0].cycles)
    with pytest.raises(ImageError, match="no symbols"):
        run(stripped, "sum")


def test_the_same_program_counts_the_same_on_both_cores(programs: list[Path]) -> None:
    m4, m7 = run(programs[0], "sum"), run(programs[0], "sum", part=PLAIN_M7)
    assert m4.instructions == m7.instructions
    assert m7.cycles < m4.cycles
    assert (m4.core, m7.core) == ("cortex-m4", "cortex-m7")


def test_a_lower_clock_takes_longer_and_as_many_cycles(programs: list[Path]) -> None:
    fast, slow = run(programs[0], "sum"), run(programs[0], "sum", clock="25MHz")
    assert slow.cycles == fast.cycles
    assert slow.latency_s == pytest.approx(4 * fast.latency_s)


# -- what goes wrong --------

FAULTS = {
    1: r"read of 4 bytes .*0x60000000 at 0x\w+ in fault.*\(work\.c:\d+\).*Plain M4 has nothing",
    2: r"jumped to 0x30000000, where Plain M4 has no memory",
    3: r"udf #1 at 0x\w+ in fault.*\(work\.c:\d+\).*Plain M4",
    4: r"(BKPT|bkpt).* at 0x\w+ in fault.*\(work\.c:\d+\)",
    7: r"vadd\.f64 d0, d1, d2 at 0x\w+ in fault.*\(work\.c:\d+\).*Plain M4 \(cortex-m4, fpv4-sp\)",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_names_instruction_function_and_line(programs: list[Path], fault: int) -> None:
    with pytest.raises(FaultError, match=FAULTS[fault]) as caught:
        run(programs[fault], "sum")
    assert "\n" not in str(caught.value)
    assert caught.value.hint
    assert caught.value.exit_code == 1
    assert re.search(r"\bpc [0-9a-f]{8}\b", caught.value.details)


def test_a_supervisor_call_without_a_handler_is_named(programs: list[Path]) -> None:
    with pytest.raises(FaultError, match="SVC"):
        run(programs[6])


def test_a_double_precision_instruction_runs_on_an_m7_that_has_it(programs: list[Path]) -> None:
    assert run(programs[7], "fault", part=PLAIN_M7).instructions >= 2


def test_a_program_without_end_is_stopped(programs: list[Path]) -> None:
    with pytest.raises(FaultError, match=r"without reaching its end; it was at 0x\w+ in fault") as caught:
        run(programs[5], max_instructions=100_000)
    assert "--max-instructions" in caught.value.hint


def test_a_function_that_ran_is_measured_though_the_program_never_ends(programs: list[Path]) -> None:
    result = run(programs[5], "sum", max_instructions=100_000)
    assert result.regions[0].cycles == run(programs[0], "sum").regions[0].cycles
    assert any("had not ended" in warning for warning in result.warnings)


def test_a_function_that_was_never_called_is_named(programs: list[Path]) -> None:
    with pytest.raises(FaultError, match="never_called was never entered"):
        run(programs[0], "sum", "never_called")


def test_until_that_is_never_reached_is_named(programs: list[Path]) -> None:
    with pytest.raises(FaultError, match="never_called was never reached"):
        run(programs[0], until="never_called")


@pytest.mark.parametrize("text", ["mark_start", "mark_start..", "..mark_stop", ""])
def test_a_stretch_needs_both_ends(programs: list[Path], text: str) -> None:
    with pytest.raises(InputError, match="not a stretch"):
        tinysim.run(programs[0], PLAIN_M4, between=[text], memory=IDEAL)


def test_a_program_for_another_part_is_told_so(programs: list[Path], tmp_path: Path) -> None:
    from elf_builder import Section, write

    path = tmp_path / "elsewhere.elf"
    path.write_bytes(write([Section(".text", 0x60000000, 64, executable=True)], entry=0x60000001))
    with pytest.raises(ImageError, match="loads 64 bytes at 0x60000000, where Plain M4 has no memory") as caught:
        run(path)
    assert "linked for" in caught.value.hint


@pytest.mark.parametrize("clock", ["200MHz", 0, -5, "20"])
def test_a_clock_the_part_does_not_have_is_refused(programs: list[Path], clock: str | int) -> None:
    with pytest.raises((PartError, InputError)):
        run(programs[0], "sum", clock=clock)
