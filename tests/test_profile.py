"""Profiles: call trees, single calls, source lines, and the files viewers read."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
from arm_programs import PART, build, command

from tinysim.cli.profiles import split_names
from tinysim.errors import InputError
from tinysim.lines import SourceLines, instruction_costs, line_costs
from tinysim.measure import Measured, measure
from tinysim.profile import called_from, profile_of
from tinysim.result import Profile, Result
from tinysim.views.callgrind import to_callgrind
from tinysim.views.flame import to_folded, to_speedscope

SOURCE = """
volatile int total;
#define APART __attribute__((noinline, noclone))
APART void halt(void) { for (;;) __asm volatile(""); }
APART int fir(int n) {
    int sum = 0;
    for (int i = 0; i < n; i++)
        sum += i * total;
    return sum;
}
APART int fib(int n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }
APART int filter(int n) { return fir(n) + fir(2 * n) + 1; }
APART void classify(int n) { total += filter(n); total += fib(5); }
void start(void) { for (int k = 1; k <= 4; k++) classify(10 * k); halt(); }
"""


@pytest.fixture(scope="module")
def elf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # self-recursion must stay a call: fib(5) makes 15 of them
    return build(tmp_path_factory.mktemp("profile"), SOURCE, "-O1", "-g", "-fno-optimize-sibling-calls")


@pytest.fixture(scope="module")
def profiled(elf: Path) -> tuple[Result, Measured]:
    return measure(elf, PART, functions=["classify", "fir", "fib"], until="halt", profile=True)


def flat(profile: Profile) -> dict[str, tuple[int, int, int]]:
    return {f.name: (f.calls, f.cycles, f.inclusive_cycles) for f in profile.functions}


def test_stacks_add_up_to_the_region_and_selfs_to_its_functions(profiled: tuple[Result, Measured]) -> None:
    for region in profiled[0].regions:
        assert region.profile is not None
        assert sum(cost.cycles for cost in region.profile.stacks) == region.cycles
        assert sum(cost.instructions for cost in region.profile.stacks) == region.instructions
        for function in region.functions:
            assert flat(region.profile)[function.name][1] == pytest.approx(
                function.cycles, abs=1 + len(region.profile.stacks)
            )


def test_calls_of_a_tree_are_those_of_the_program(profiled: tuple[Result, Measured]) -> None:
    profile = profiled[0].regions[0].profile
    assert profile is not None
    calls = {name: counted for name, (counted, _, _) in flat(profile).items()}
    assert calls == {"classify": 4, "filter": 4, "fir": 8, "fib": 60}
    edges = {(caller, callee): times for caller, callee, times, _, _ in called_from(profile)}
    assert edges == {("classify", "filter"): 4, ("filter", "fir"): 8, ("classify", "fib"): 4, ("fib", "fib"): 56} or (
        ("fib", "fib") not in edges and calls["fib"] == 60  # direct recursion folds into one stack
    )


def test_inclusive_cycles_are_those_of_the_function_measured_alone(
    profiled: tuple[Result, Measured], elf: Path
) -> None:
    profile = profiled[0].regions[0].profile
    assert profile is not None
    for name in ("filter", "fir", "fib"):
        alone, _ = measure(elf, PART, functions=[name], until="halt")
        assert flat(profile)[name][2] == pytest.approx(alone.regions[0].cycles, rel=1e-3)


def test_following_calls_changes_no_cycle(profiled: tuple[Result, Measured], elf: Path) -> None:
    plain, _ = measure(elf, PART, functions=["classify", "fir", "fib"], until="halt", calls_apart=0)
    assert [r.cycles for r in plain.regions] == [r.cycles for r in profiled[0].regions]
    assert [r.instructions for r in plain.regions] == [r.instructions for r in profiled[0].regions]


def test_single_calls_have_a_least_and_a_greatest(profiled: tuple[Result, Measured]) -> None:
    classify, fir, fib = (region.per_call for region in profiled[0].regions)
    assert classify is not None and fir is not None and fib is not None
    assert (classify.calls, fir.calls, fib.calls, fib.outermost_calls) == (4, 8, 60, 4)
    total = profiled[0].regions[1].cycles
    assert fir.mean_cycles == pytest.approx(total / 8, abs=0.1)
    assert fir.min_cycles is not None and fir.max_cycles is not None
    # rounds of 10 to 80: the longest call does eight times the work of the shortest
    assert fir.min_cycles * 5 < fir.max_cycles < fir.min_cycles * 8
    assert fir.self_cycles == total and fir.self_max_cycles == fir.max_cycles
    assert classify.self_max_cycles is not None and classify.max_cycles is not None
    assert classify.self_max_cycles < classify.max_cycles / 10
    # fib(5) holds fib(4) holds fib(3) ...: the greatest is a whole fib(5), the least one of the 32 that return at once
    assert fib.max_cycles == pytest.approx(profiled[0].regions[2].cycles / 4, rel=0.05), (
        "the first one fills the flash lines"
    )
    assert fib.min_cycles is not None and fib.min_cycles < 20


def test_calls_beyond_the_limit_have_a_mean_only(elf: Path) -> None:
    result, _ = measure(elf, PART, functions=["fir", "fib"], until="halt", calls_apart=5)
    fir, fib = (region.per_call for region in result.regions)
    assert fir is not None and fib is not None
    assert fir.told_apart + fib.told_apart == 5
    assert fir.min_cycles is None and fir.max_cycles is None and fir.self_max_cycles is None
    assert fir.mean_cycles == pytest.approx(result.regions[0].cycles / 8, abs=0.1)
    assert fib.mean_cycles is None, "calls of a recursive function hold each other: their mean is not total / calls"


def test_a_result_with_a_profile_reads_back(profiled: tuple[Result, Measured]) -> None:
    assert Result.from_dict(json.loads(profiled[0].to_json())) == profiled[0]


def test_without_following_calls_there_is_no_profile(elf: Path) -> None:
    result, measured = measure(elf, PART, until="halt")
    assert result.regions[0].profile is None
    with pytest.raises(InputError, match="did not follow calls"):
        profile_of(measured.estimate)


def test_the_whole_program_has_a_tree_from_its_entry(elf: Path) -> None:
    result, _ = measure(elf, PART, until="halt", profile=True)
    profile = result.regions[0].profile
    assert profile is not None
    assert {cost.stack[0] for cost in profile.stacks} == {"start"}
    assert flat(profile)["start"][2] == result.regions[0].cycles


# -- files -----------------------------------------------------------------------------------------------------------


def test_folded_stacks_add_up(profiled: tuple[Result, Measured]) -> None:
    region = profiled[0].regions[0]
    assert region.profile is not None
    lines = to_folded(region.profile).splitlines()
    parsed = [re.fullmatch(r"([^;\n]+(?:;[^;\n]+)*) (\d+)", line) for line in lines]
    assert all(parsed)
    assert sum(int(match[2]) for match in parsed if match) == region.cycles
    assert any(match and match[1] == "classify;filter;fir" for match in parsed)


def test_speedscope_json_has_the_shape_of_its_schema(profiled: tuple[Result, Measured]) -> None:
    document = json.loads(to_speedscope(profiled[0]))
    assert document["$schema"] == "https://www.speedscope.app/file-format-schema.json"
    frames = document["shared"]["frames"]
    assert all(isinstance(frame["name"], str) for frame in frames)
    assert len({frame["name"] for frame in frames}) == len(frames)
    assert [p["name"] for p in document["profiles"]] == ["classify (cycles)", "fir (cycles)", "fib (cycles)"]
    for profile, region in zip(document["profiles"], profiled[0].regions, strict=True):
        # sampled profiles: type, name, unit, startValue, endValue, samples (frame indices, outermost first), weights
        assert profile["type"] == "sampled" and profile["unit"] in (
            "none",
            "nanoseconds",
            "microseconds",
            "milliseconds",
            "seconds",
            "bytes",
        )
        assert len(profile["samples"]) == len(profile["weights"])
        assert all(0 <= index < len(frames) for sample in profile["samples"] for index in sample)
        assert profile["endValue"] - profile["startValue"] == sum(profile["weights"]) == region.cycles
        assert frames[profile["samples"][0][0]]["name"] == region.name


def read_callgrind(text: str) -> Iterator[tuple[str, str | None, int, int, int]]:
    """(function, callee or None, calls, cycles, instructions) of every cost line, by the format's manual."""
    function, callee, calls = "", None, 0
    for line in text.splitlines():
        if line.startswith("fn="):
            function = line[3:]
        elif line.startswith("cfn="):
            callee = line[4:]
        elif line.startswith("calls="):
            calls = int(line[6:].split()[0])
        elif re.match(r"\d", line):
            _, cycles, instructions = (int(word) for word in line.split())
            yield function, callee, calls, cycles, instructions
            callee, calls = None, 0


@pytest.mark.parametrize("with_lines", [False, True])
def test_callgrind_adds_up(profiled: tuple[Result, Measured], with_lines: bool) -> None:
    result, measured = profiled
    region = result.regions[0]
    assert region.profile is not None
    lines = {}
    if with_lines:
        for name in ("classify", "filter", "fir", "fib"):
            costs = instruction_costs(measured.estimate, measured.core, 0, measured.image.symbol(name))
            lines[name] = line_costs(costs, SourceLines(measured.image))
    text = to_callgrind(region.profile, "program", lines, (region.cycles, region.instructions))
    selfs: dict[str, int] = defaultdict(int)
    calls = {}
    for function, callee, times, cycles, _ in read_callgrind(text):
        if callee is None:
            selfs[function] += cycles
        else:
            calls[function, callee] = (times, cycles)
    assert selfs == {f.name: f.cycles for f in region.profile.functions}
    assert calls["classify", "filter"] == (4, flat(region.profile)["filter"][2])
    assert text.startswith("# callgrind format\n") and f"\ntotals: {region.cycles} {region.instructions}\n" in text
    assert ("fl=???" in text) != with_lines


# -- source lines ----------------------------------------------------------------------------------------------------


def test_a_functions_lines_cost_what_it_costs(profiled: tuple[Result, Measured]) -> None:
    _, measured = profiled
    function = measured.image.symbol("fir")
    costs = instruction_costs(measured.estimate, measured.core, 1, function)
    own = profiled[0].regions[1].functions[0]
    assert own.name == "fir"
    assert sum(cost.cycles for cost in costs.values()) == pytest.approx(own.cycles, abs=1)
    assert sum(cost.executions for cost in costs.values()) == own.instructions
    lines = line_costs(costs, SourceLines(measured.image))
    assert sum(line.cycles for line in lines) == own.cycles
    source = SOURCE.splitlines()
    hottest = max(lines, key=lambda line: line.cycles)
    assert "sum += i * total" in source[hottest.line - 1] or "i < n" in source[hottest.line - 1]
    body = next(line for line in lines if "sum += i" in source[line.line - 1])
    assert body.executions == sum(n * (1 + 2) for n in (10, 20, 30, 40))


def test_source_is_found_where_the_compiler_was_or_under_a_folder(
    profiled: tuple[Result, Measured], tmp_path: Path
) -> None:
    lines = SourceLines(profiled[1].image)
    place = lines.at(profiled[1].image.symbol("fir").address)
    assert place is not None
    assert lines.text(place[0]) == SOURCE.splitlines()
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "moved.c").write_text("one\ntwo\n")
    assert lines.text("/nowhere/at/all/src/moved.c", (tmp_path,)) == ["one", "two"]
    assert lines.text("/nowhere/else.c", (tmp_path,)) is None


def test_a_program_without_lines_is_annotated_by_instruction(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = build(tmp_path, SOURCE, "-O1", "-g0")
    assert command("run", bare, "--part", PART, "--function", "fir", "--until", "halt", "--annotate", "fir") == 0
    out = capsys.readouterr().out
    assert "no source lines" in out and re.search(r"0x0800[0-9a-f]{4}\s+mla", out)


def test_the_command_writes_what_viewers_read(elf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = {option: tmp_path / option for option in ("flame", "speedscope", "callgrind", "json")}
    options = [word for option, path in files.items() for word in (f"--{option}", str(path))]
    assert (
        command(
            "run",
            elf,
            "--part",
            PART,
            "--function",
            "classify",
            "--until",
            "halt",
            "--profile",
            "--annotate",
            "fir",
            *options,
        )
        == 0
    )
    out = capsys.readouterr().out
    assert "4 calls: min" in out and "sum += i * total" in out and "inclusive cycles" in out
    cycles = json.loads(files["json"].read_text())["regions"][0]["cycles"]
    assert sum(int(line.rsplit(" ", 1)[1]) for line in files["flame"].read_text().splitlines()) == cycles
    assert json.loads(files["speedscope"].read_text())["profiles"][0]["endValue"] == cycles
    assert f"totals: {cycles} " in files["callgrind"].read_text()
    assert command("run", elf, "--part", PART, "--function", "classify", "--until", "halt", "--flame", "-") == 0
    assert capsys.readouterr().out == files["flame"].read_text(), "nothing else on standard output"


def test_commas_inside_brackets_belong_to_a_name() -> None:
    assert split_names(["a,b", "f(int, std::pair<int, int>), c"]) == ["a", "b", "f(int, std::pair<int, int>)", "c"]


# -- interrupts -------------------------------------------------------------------------------------------------------

TICKING = """
#define APART __attribute__((noinline, noclone))
volatile int ticks, total;
APART void halt(void) { for (;;) __asm volatile(""); }
APART void count(void) { ticks++; }
void tick(void) { count(); }
APART void work(void) { while (ticks < 5) total++; }
void start(void) {
    *(volatile unsigned *)0xE000E014 = 399; *(volatile unsigned *)0xE000E018 = 0; *(volatile unsigned *)0xE000E010 = 7;
    work(); halt();
}
__attribute__((section(".vectors"), used)) void (*const vectors[16])(void) = {
    (void (*)(void))0x20010000, start, [15] = tick };
"""


def test_handlers_are_in_the_tree_below_what_they_interrupt(tmp_path: Path) -> None:
    elf = build(tmp_path, TICKING, "-O1", "-g")
    result, _ = measure(elf, PART, functions=["work", "count"], until="halt", profile=True)
    work, count = result.regions
    assert work.profile is not None and work.per_call is not None
    assert (work.calls, count.calls) == (1, 5)
    assert sum(cost.cycles for cost in work.profile.stacks) == work.cycles
    calls = {cost.stack: cost.calls for cost in work.profile.stacks}
    assert calls["work", "[SysTick]", "tick", "count"] == 5
    assert 5 * 400 - 100 < work.cycles < 5 * 400 + 200, "five periods of the timer"
    assert flat(work.profile)["count"][2] == count.cycles
