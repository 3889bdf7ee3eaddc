"""Baselines, comparisons and budgets."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from arm_programs import PART, build, command
from hypothesis import given
from hypothesis import strategies as st

from tinysim import baseline
from tinysim.baseline import Change, Metric, Scope
from tinysim.budget import Budget, Kind, Quantity, check, parse_budget, read_budgets
from tinysim.errors import BudgetError, InputError
from tinysim.result import (
    CallStatistics,
    ErrorBound,
    FirmwareInfo,
    FunctionCost,
    LayerCost,
    MemoryUse,
    Outputs,
    RegionCost,
    Result,
)
from tinysim.views.comparison import comparison_record, to_comparison_markdown
from tinysim.views.junit import to_junit


def memory(flash: int = 40_000, ram: int = 9000, stack: int | None = 512) -> MemoryUse:
    return MemoryUse(flash, ram, stack, 30_000, 0, 10_000, 0, None, None)


def region(
    cycles: int = 1000, name: str = "classify", calls: int = 1, stack: int | None = 200, **functions: int
) -> RegionCost:
    costs = tuple(FunctionCost(n, c // 2, c) for n, c in functions.items())
    return RegionCost(name, calls, cycles // 2, cycles, cycles / 80e6, {"issue": cycles}, costs, stack_peak_bytes=stack)


def result(
    *regions: RegionCost,
    model: str | None = None,
    part: str = "stm32l4r5zi",
    clock_hz: int = 80_000_000,
    **more: object,
) -> Result:
    regions = regions or (region(),)
    first = regions[0]
    made = Result(
        part=part,
        core="cortex-m4",
        clock_hz=clock_hz,
        engine="unicorn",
        firmware=FirmwareInfo("build/app.elf", "0" * 64),
        regions=regions,
        instructions=first.instructions,
        cycles=first.cycles,
        latency_s=first.cycles / clock_hz,
        memory=memory(),
        error=ErrorBound(2.5, "test"),
        model=model,
    )
    return dataclasses.replace(made, **more)  # type: ignore[arg-type]


def layer(index: int, op: str, cycles: int) -> LayerCost:
    return LayerCost(index, f"{op.lower()}_{index}", op, cycles // 2, cycles, 0, None)


# -- files -----------------------------------------------------------------------------------------------------------


def test_a_saved_baseline_reads_back_and_is_readable_json(tmp_path: Path) -> None:
    kept = [result(region(1000, fir=600, iir=400)), result(model="kws")]
    path = baseline.save("main", kept, tmp_path / "deep" / "er")
    assert baseline.load("main", tmp_path / "deep" / "er") == kept
    assert baseline.names(tmp_path / "deep" / "er") == ["main"]
    assert '\n   "part": "stm32l4r5zi",\n' in path.read_text()


def test_a_baseline_is_not_replaced_by_accident(tmp_path: Path) -> None:
    baseline.save("main", [result()], tmp_path)
    with pytest.raises(InputError, match="already") as error:
        baseline.save("main", [result(region(5))], tmp_path)
    assert "--force" in error.value.hint
    assert baseline.load("main", tmp_path)[0].cycles == 1000
    baseline.save("main", [result(region(5))], tmp_path, force=True)
    assert baseline.load("main", tmp_path)[0].cycles == 5


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "a b", "x" * 101])
def test_a_name_cannot_leave_the_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError):
        baseline.save(name, [result()], tmp_path)


def test_an_unknown_baseline_lists_those_there_are(tmp_path: Path) -> None:
    baseline.save("main", [result()], tmp_path)
    with pytest.raises(InputError) as error:
        baseline.load("mian", tmp_path)
    assert "main" in error.value.hint


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"schema": "tinysim.baseline/1"}', '{"schema": "tinysim.baseline/1", "results": [{}]}']
)
def test_a_damaged_baseline_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "main.json").write_text(text)
    with pytest.raises(InputError):
        baseline.load("main", tmp_path)


# -- comparing -------------------------------------------------------------------------------------------------------


def test_what_grew_is_named_with_the_functions_it_comes_from() -> None:
    before = result(region(1000, fir=600, iir=400))
    after = result(region(1250, fir=900, iir=300, helper=50))
    [pair] = baseline.compare("main", [before], [after]).pairs
    [worse] = pair.regressions(1.0)
    assert (worse.name, worse.metric, worse.delta, worse.percent) == ("classify", Metric.CYCLES, 250, 25.0)
    assert [(c.name, c.delta) for c in pair.culprits("classify")] == [("fir", 300), ("helper", 50)]
    assert pair.regressions(25.0) == [] and pair.regressions(24.9) == [worse]


def test_memory_and_stack_count_as_well() -> None:
    after = dataclasses.replace(result(region(stack=264)), memory=memory(40_004, 9100, 640))
    [pair] = baseline.compare("main", [result()], [after]).pairs
    assert {c.name: c.delta for c in pair.regressions(0.0)} == {"flash": 4, "RAM": 100, "stack": 128, "classify": 64}
    assert {c.name for c in pair.regressions(1.5)} == {"stack", "classify"}


def test_identical_results_have_no_regression_and_no_remark() -> None:
    one = result(region(1000, fir=600, iir=400), model="kws", layers=(layer(0, "CONV_2D", 900),))
    [pair] = baseline.compare("main", [one], [one]).pairs
    assert not pair.regressions(0.0) and not pair.remarks and all(c.delta == 0 for c in pair.changes)


def test_results_find_their_part_and_clock() -> None:
    before = [
        result(region(n), model="kws", part=p, clock_hz=c)
        for n, (p, c) in enumerate([("a", 80_000_000), ("a", 120_000_000), ("b", 80_000_000)], start=100)
    ]
    comparison = baseline.compare("main", before, list(reversed(before)))
    assert [(p.before.part, p.before.clock_hz) for p in comparison.pairs] == [
        (p.after.part, p.after.clock_hz) for p in comparison.pairs
    ]
    assert all(not pair.remarks for pair in comparison.pairs)


@given(
    st.lists(
        st.tuples(st.sampled_from("xyz"), st.sampled_from("ab"), st.integers(1, 3), st.integers(1, 10**6)),
        min_size=1,
        max_size=6,
    ),
    st.randoms(),
)
def test_comparing_with_itself_never_finds_a_change(what: list[tuple[str, str, int, int]], random: object) -> None:
    unique = {(m, p, c): n for m, p, c, n in what}
    results = [result(region(n, f=n), model=m, part=p, clock_hz=c * 10**6) for (m, p, c), n in unique.items()]
    shuffled = list(results)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    comparison = baseline.compare("main", results, shuffled)
    assert len(comparison.pairs) == len(results) and not comparison.missing and not comparison.added
    assert all(pair.before == pair.after and not pair.regressions(0.0) for pair in comparison.pairs)


@given(st.integers(0, 10**9), st.integers(0, 10**9), st.floats(0, 1000))
def test_a_regression_is_what_grew_by_more_than_the_threshold(before: int, after: int, percent: float) -> None:
    change = Change(Scope.REGION, Metric.CYCLES, "f", before, after)
    assert change.worse_than(percent) == (after - before > before * percent / 100)
    assert not (
        change.worse_than(percent) and Change(Scope.REGION, Metric.CYCLES, "f", after, before).worse_than(percent)
    )


def test_another_compiler_part_or_clock_is_said() -> None:
    firmware = FirmwareInfo("build/app.elf", "0" * 64, kernels="reference", compiler="GCC 14")
    after = dataclasses.replace(result(part="stm32f767zi", clock_hz=216_000_000), firmware=firmware)
    [pair] = baseline.compare("main", [result()], [after]).pairs
    assert len(pair.remarks) == 4
    assert any("another part: stm32l4r5zi in the baseline, stm32f767zi here" in r for r in pair.remarks)


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(InputError, match="nothing to compare"):
        baseline.compare("main", [result(model="kws")], [result(model="vww")])
    with pytest.raises(InputError, match="nothing to compare"):
        baseline.compare("main", [result(region(name="f"))], [result(region(name="g"))])
    with pytest.raises(InputError, match="nothing"):
        baseline.compare("main", [], [result()])


def test_missing_and_added_measurements_are_listed() -> None:
    comparison = baseline.compare(
        "main", [result(model="kws"), result(model="vww")], [result(model="kws"), result(model="ic")]
    )
    assert len(comparison.pairs) == 1
    assert comparison.missing[0].startswith("vww") and comparison.added[0].startswith("ic")


def test_layers_are_compared_by_place_and_operator() -> None:
    before = result(model="kws", layers=(layer(0, "CONV_2D", 900), layer(1, "SOFTMAX", 50)))
    after = result(model="kws", layers=(layer(0, "CONV_2D", 950), layer(1, "LOGISTIC", 40)))
    [pair] = baseline.compare("main", [before], [after]).pairs
    changes = {c.name: (c.before, c.after) for c in pair.changes if c.scope is Scope.LAYER}
    assert changes == {"0 conv_2d_0": (900, 950), "1 logistic_1": (None, 40), "1 softmax_1": (50, None)}
    assert any("plan" in remark for remark in pair.remarks)


def test_answers_that_became_wrong_fail_whatever_the_cycles() -> None:
    right, wrong = (Outputs(match, "host", 0.0, 0.0, "seed 0") for match in (True, False))
    [pair] = baseline.compare("main", [result(model="k", outputs=right)], [result(model="k", outputs=wrong)]).pairs
    assert pair.answers_broke
    assert ET.fromstring(to_junit(baseline.compare("m", [pair.before], [pair.after]), 0.0)).get("failures") == "1"


# -- budgets ---------------------------------------------------------------------------------------------------------


def test_a_budget_is_read_as_it_is_written() -> None:
    assert parse_budget("latency <= 20 ms on stm32l4r5zi") == Budget(Quantity.LATENCY, 0.02, part="stm32l4r5zi")
    assert parse_budget("flash<256K") == Budget(Quantity.FLASH, 262144, strict=True)
    assert parse_budget('cycles of function "operator new(unsigned int)" <= 1.5M at 80MHz') == Budget(
        Quantity.CYCLES, 1_500_000, of="operator new(unsigned int)", kind=Kind.FUNCTION, clock_hz=80_000_000
    )
    assert parse_budget("energy <= 2 mJ for kws") == Budget(Quantity.ENERGY, 2000.0, model="kws")
    assert parse_budget("stack of region classify <= 2 KiB") == Budget(
        Quantity.STACK, 2048, of="classify", kind=Kind.REGION
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "empty"),
        ("latancy <= 1 ms", "did you mean latency"),
        ("latency 20 ms", "expected <="),
        ("latency <= 20", "not a time"),
        ("latency <=", "limit is missing"),
        ("flash of main <= 1K", "whole program"),
        ("cycles of <= 5", "name is missing"),
        ("cycles <= many", "not a number"),
        ("cycles <= 5 on", "not expected"),
        ("cycles <= 5 on a on b", "not expected"),
        ('cycles of "f <= 5', "quotation mark"),
        ("energy <= 5", "not an energy"),
        ("cycles >= 5", "expected <="),
    ],
)
def test_a_wrong_budget_says_what_is_wrong(text: str, says: str) -> None:
    with pytest.raises(InputError) as error:
        parse_budget(text)
    assert says in error.value.message


_names = st.text(st.characters(codec="ascii", min_codepoint=32, max_codepoint=126), min_size=1, max_size=12).filter(
    str.strip
)


@st.composite
def _budgets(draw: st.DrawFn) -> Budget:
    quantity = draw(st.sampled_from(list(Quantity)))
    whole = quantity not in (Quantity.LATENCY, Quantity.ENERGY)
    limit = float(draw(st.integers(0, 10**9))) if whole else draw(st.floats(1e-3, 1e6))
    named = quantity in (Quantity.LATENCY, Quantity.CYCLES, Quantity.INSTRUCTIONS, Quantity.STACK) and draw(
        st.booleans()
    )
    return Budget(
        quantity,
        limit,
        draw(st.booleans()),
        draw(_names) if named else None,
        draw(st.none() | st.sampled_from(Kind)) if named else None,
        draw(st.none() | _names),
        draw(st.none() | st.integers(1, 10**9)),
        draw(st.none() | _names),
    )


@given(_budgets())
def test_a_budget_in_words_reads_back(budget: Budget) -> None:
    again = parse_budget(str(budget))
    assert dataclasses.replace(again, limit=0) == dataclasses.replace(budget, limit=0)
    assert again.limit == pytest.approx(budget.limit, rel=1e-12)


@given(st.text(max_size=40))
def test_any_text_is_a_budget_or_refused(text: str) -> None:
    with contextlib.suppress(InputError):
        assert isinstance(parse_budget(text), Budget)


def test_budgets_are_checked_against_what_they_are_for() -> None:
    results = [result(region(1_600_000, calls=2, fir=400_000)), result(part="b")]
    rules = [
        "latency of classify <= 10 ms on STM32L4R5ZI",
        "cycles of fir <= 399999 on stm32l4r5zi",
        "flash <= 40000 B",
        "ram <= 1K on c",
    ]
    verdicts, unused = check([parse_budget(rule) for rule in rules], results)
    assert [(v.value, v.kept) for v in verdicts] == [(0.01, True), (400_000, False), (40_000, True), (40_000, True)]
    assert [str(b) for b in unused] == ["ram <= 1024 B on c"]


def test_a_budget_for_a_region_is_for_one_call() -> None:
    calls = CallStatistics(3, 1, 3, 10, 20.0, 30, None, None, None)
    recursive = dataclasses.replace(region(600, calls=3), per_call=calls)
    assert check([parse_budget("cycles of classify <= 1000")], [result(recursive)])[0][0].value == 600
    assert check([parse_budget("cycles of classify <= 1000")], [result(region(600, calls=3))])[0][0].value == 200


@pytest.mark.parametrize(
    "rule", ["cycles of clasify <= 5", "cycles of layer classify <= 5", "energy <= 5 uJ", "cycles <= 5 on b"]
)
def test_a_budget_that_cannot_be_checked_is_refused(rule: str) -> None:
    with pytest.raises(InputError) as error:
        check([parse_budget(rule)], [result()])
    assert error.value.hint


@pytest.mark.parametrize(
    "text", ["x = 1", "budgets = []", "budgets = [1]", "budgets = ", 'budgets = ["flash <= 1K"]\nmore = 2']
)
def test_a_budget_file_is_read_strictly(tmp_path: Path, text: str) -> None:
    path = tmp_path / "budgets.toml"
    path.write_text(text)
    with pytest.raises(InputError):
        read_budgets(path)
    path.write_text('budgets = [\n  "flash <= 1K",  # small\n]')
    assert read_budgets(path) == [Budget(Quantity.FLASH, 1024)]


# -- views -----------------------------------------------------------------------------------------------------------


def test_views_say_the_same() -> None:
    before, after = result(region(1000, fir=600, iir=400)), result(region(1100, fir=700, iir=400))
    comparison = baseline.compare("main", [before], [after])
    verdicts, unused = check([parse_budget("cycles <= 1050"), parse_budget("cycles <= 5 on elsewhere")], [after])
    markdown = to_comparison_markdown(comparison, 1.0, verdicts, unused)
    assert "❌ app.elf on stm32l4r5zi against `main`" in markdown
    assert "| cycles of `classify` | 1,000 | 1,100 | **+10.00 %** |" in markdown
    assert "| function | `fir` | 600 | 700 | +100 |" in markdown and "iir" not in markdown
    assert "| `cycles <= 1050` on app.elf on stm32l4r5zi | ❌ | 1,100 |" in markdown
    record = comparison_record(comparison, 1.0, verdicts, unused)
    assert record["ok"] is False and json.loads(json.dumps(record)) == record
    assert [r["name"] for r in record["pairs"][0]["regressions"]] == ["classify"]
    assert comparison_record(comparison, 11.0)["ok"] is True
    root = ET.fromstring(to_junit(comparison, 1.0, verdicts))
    failed = {
        case.get("name"): case.find("failure") for case in root.iter("testcase") if case.find("failure") is not None
    }
    assert set(failed) == {"cycles of classify", "cycles <= 1050"} and root.get("failures") == "2"
    assert "fir: +100 cycles" in (failed["cycles of classify"].text or "")  # type: ignore[union-attr]


def test_junit_survives_names_that_xml_does_not_allow() -> None:
    odd = result(region(name="f\x00<&\x1b"))
    assert ET.fromstring(to_junit(baseline.compare("main", [odd], [odd]), 0.0)).get("failures") == "0"


# -- as a user does it -----------------------------------------------------------------------------------------------

SOURCE = """
    volatile int total;
    __attribute__((noinline)) void halt(void) { for (;;) __asm volatile(""); }
    __attribute__((noinline)) int fir(int n) { int sum = 0; for (int i = 0; i < n; i++) sum += i * total; return sum; }
    __attribute__((noinline)) int iir(int n) { return n * 3 + total; }
    __attribute__((noinline)) void classify(void) { total = fir(ROUNDS) + iir(2); }
    void start(void) { classify(); halt(); }
"""


def tinysim(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Exit code, standard output, standard error of the command."""
    code = command(*arguments)
    out = capsys.readouterr()
    return code, out.out, out.err


def test_a_slowed_down_program_fails_and_the_function_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, rounds in (("fast", 50), ("slow", 60)):
        elf = build(tmp_path, SOURCE, "-O1", "-g", f"-DROUNDS={rounds}", name=name)
        code, _, _ = tinysim(
            capsys, "run", elf, "--part", PART, "--function", "classify", "--until", "halt", "--json", f"{name}.json"
        )
        assert code == 0
    tinysim(
        capsys, "run", "fast.elf", "--part", PART, "--function", "classify", "--until", "halt", "--json", "again.json"
    )
    assert Path("again.json").read_text() == Path("fast.json").read_text().replace(
        str(tmp_path / "fast.elf"), "fast.elf"
    ), "to the cycle"
    assert tinysim(capsys, "baseline", "save", "main", "fast.json")[0] == 0
    assert Path(".tinysim/baselines/main.json").exists()
    assert tinysim(capsys, "baseline", "save", "main", "slow.json")[0] == 2
    assert tinysim(capsys, "baseline", "list")[1].startswith("main: fast.elf on ")
    assert tinysim(capsys, "baseline", "compare", "main", "again.json")[0] == 0
    code, _, error = tinysim(capsys, "baseline", "compare", "main", "slow.json", "--max-regression", "1%")
    assert code == BudgetError.exit_code == 3
    assert "classify" in error and "fir: +" in error and "iir" not in error
    assert tinysim(capsys, "baseline", "compare", "main", "slow.json", "--max-regression", "50%")[0] == 0
    code, out, _ = tinysim(capsys, "baseline", "compare", "main", "slow.json", "--json", "-")
    assert code == 3 and json.loads(out)["ok"] is False
    Path("budgets.toml").write_text('budgets = ["cycles of classify <= 10", "flash <= 64K"]')
    code, out, error = tinysim(
        capsys, "baseline", "check", "fast.json", "--budget", "budgets.toml", "--junit", "report.xml"
    )
    assert code == 3 and "cycles of classify" in error and ET.parse("report.xml").getroot().get("failures") == "1"


def test_wrong_input_is_exit_code_two(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.json").write_text(json.dumps(result().to_dict()))
    assert tinysim(capsys, "baseline", "compare", "none", tmp_path / "x.json", "--dir", tmp_path)[0] == 2
    assert tinysim(capsys, "baseline", "save", "a", tmp_path / "nothing.json", "--dir", tmp_path)[0] == 2
    assert tinysim(capsys, "baseline", "save", "a", tmp_path / "x.json", "--dir", tmp_path)[0] == 0
    assert (
        tinysim(capsys, "baseline", "compare", "a", tmp_path / "x.json", "--dir", tmp_path, "--max-regression", "lots")[
            0
        ]
        == 2
    )
