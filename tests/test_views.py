"""Views show what a Result says, and compute nothing."""

from __future__ import annotations

import csv
import dataclasses
import io
import sys

import pytest
from rich.console import Console

from tinysim.errors import ToolchainError
from tinysim.result import Outputs, Published, Result
from tinysim.units import format_bytes, format_seconds
from tinysim.views import show_layers, show_region, show_results, to_csv, to_dataframe, to_markdown
from tinysim.views.frame import COLUMNS, row
from tinysim.views.table import short_name


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), width=200, highlight=False)


def shown(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_table_shows_each_result(console: Console, cnn_results: tuple[Result, ...]) -> None:
    show_results(console, cnn_results)
    text = shown(console)
    for result in cnn_results:
        for value in (
            result.part,
            format_seconds(result.latency_s),
            f"{result.cycles:,}",
            format_bytes(result.memory.flash_bytes),
        ):
            assert value in text
    assert text.count("match") == 2


def test_the_table_says_that_answers_are_wrong(console: Console, one_result: Result) -> None:
    show_results(console, [dataclasses.replace(one_result, outputs=Outputs(False, "host", 3.0, 0.0, "seed 0"))])
    assert "differ" in shown(console)
    assert "match" not in shown(console)


def test_a_warning_is_shown_once(console: Console, one_result: Result) -> None:
    warned = dataclasses.replace(one_result, warnings=("beware of [brackets]",))
    show_results(console, [warned, warned])
    assert shown(console).count("beware of [brackets]") == 1


def test_names_with_brackets_are_not_taken_for_markup(console: Console, one_result: Result) -> None:
    show_results(console, [dataclasses.replace(one_result, model="[red]model[/]")])
    assert "[red]model[/]" in shown(console)


def test_layers_and_the_rest_add_up(console: Console, one_result: Result) -> None:
    show_layers(console, one_result)
    text = shown(console)
    for layer in one_result.layers:
        assert f"{layer.cycles:,}" in text
    assert f"{one_result.cycles - sum(layer.cycles for layer in one_result.layers):,}" in text


def test_a_region_is_shown_by_cause_and_function(console: Console, one_result: Result) -> None:
    region = one_result.regions[0]
    show_region(console, region, functions=3)
    text = shown(console)
    for cause, cycles in region.breakdown.items():
        assert cause in text
        assert f"{cycles:,}" in text
    assert f"{len(region.functions) - 3} more" in text


def test_csv_holds_the_numbers(cnn_results: tuple[Result, ...]) -> None:
    rows = list(csv.DictReader(io.StringIO(to_csv(cnn_results))))
    assert [tuple(r) for r in rows] == [COLUMNS] * 2
    assert [int(r["cycles"]) for r in rows] == [r.cycles for r in cnn_results]
    assert [float(r["latency_s"]) for r in rows] == [r.latency_s for r in cnn_results]
    assert [r["outputs_match"] for r in rows] == ["True", "True"]


def test_every_column_is_filled_or_unknown(one_result: Result) -> None:
    flat = row(dataclasses.replace(one_result, published=Published(0.01, "somewhere")))
    assert tuple(flat) == COLUMNS
    assert flat["published_latency_s"] == 0.01
    assert flat["inferences_per_s"] == 1 / one_result.latency_s
    assert flat["arena_bytes"] == one_result.memory.arena_bytes


def test_a_frame_has_a_row_for_each_result(cnn_results: tuple[Result, ...]) -> None:
    frame = to_dataframe(cnn_results)
    assert list(frame.columns) == list(COLUMNS)
    assert frame["cycles"].tolist() == [r.cycles for r in cnn_results]
    assert to_dataframe([]).empty


def test_without_pandas_the_way_to_get_it_is_said(monkeypatch: pytest.MonkeyPatch, one_result: Result) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ToolchainError, match="pandas is not installed") as caught:
        to_dataframe([one_result])
    assert "tinysim[pandas]" in caught.value.hint


def test_markdown_is_a_table(cnn_results: tuple[Result, ...]) -> None:
    lines = to_markdown(cnn_results).splitlines()
    assert len(lines) == 4
    assert len({line.count("|") for line in lines}) == 1
    assert all(f"{r.cycles:,}" in line for r, line in zip(cnn_results, lines[2:], strict=True))


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("memcpy", "memcpy"),
        ("tflite::Eval(TfLiteContext*, TfLiteNode*)", "tflite::Eval"),
        ("a::(anonymous namespace)::f(int)", "a::(anonymous namespace)::f"),
        ("f<int (*)(int)>(char)", "f<int (*)(int)>"),
        ("operator<(A, B)", "operator<"),
        ("A::operator()(int)", "A::operator()"),
        ("A::operator->() const", "A::operator->"),
    ],
)
def test_names_lose_their_parameters(name: str, short: str) -> None:
    assert short_name(name) == short


def test_a_long_name_is_cut_in_the_middle() -> None:
    assert len(short_name("x" * 300)) == 72
    assert "..." in short_name("x" * 300)
