"""The accuracy document: averages, what it says of rows that chose a value, and that its figures are today's."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.timing.accuracy import CORES, effects
from tinysim.core import load_core
from tinysim.timing.coverage import coverage
from tinysim.timing.evidence import Evidence, mean_absolute_error_percent, render_accuracy

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "accuracy.md"


def row(measured: float, predicted: float, *, chosen: bool = False) -> Evidence:
    return Evidence("a", "cortex-m4", "all of it", measured, predicted, "someone", "measured", chosen)


def test_errors_are_of_the_measured_figure() -> None:
    assert row(200, 210).error_percent == pytest.approx(5)
    assert mean_absolute_error_percent([row(100, 90), row(100, 130)]) == pytest.approx(20)
    with pytest.raises(ValueError, match="no evidence"):
        mean_absolute_error_percent([])


def test_programs_that_chose_a_value_are_told_apart() -> None:
    text = render_accuracy([load_core("cortex-m4")], [], [row(100, 101), row(100, 103, chosen=True)])
    assert "2 programs, mean absolute error 2.0 %; 1 of them chose nothing: 1.0 %" in text
    assert "| a | all of it | 100 | 103 | +3.0 % | yes | someone (measured) |" in text


def test_every_class_of_the_instruction_set_is_in_the_coverage_table() -> None:
    cores = [load_core(name) for name in CORES]
    entries = coverage(cores)
    assert [entry.class_name for entry in entries] == cores[0].isa.classes
    by_name = {entry.class_name: entry for entry in entries}
    assert by_name["double_add"].timings[0] is None
    assert by_name["double_add"].timings[1] is not None
    assert sorted(name for entry in entries for name in entry.mnemonics if name == "udiv") == ["udiv"]


def test_every_microbenchmark_names_its_source() -> None:
    assert all(evidence.source and evidence.confidence for evidence in effects())
    for core in CORES:
        rows = [evidence for evidence in effects() if evidence.core == core]
        assert len(rows) > 40
        assert mean_absolute_error_percent(rows) < (0.1 if core == "cortex-m4" else 1)


def test_the_document_says_what_the_microbenchmarks_give() -> None:
    if not DOCUMENT.is_file():
        pytest.skip("docs/accuracy.md is not there")
    text = DOCUMENT.read_text()
    for evidence in effects():
        (line,) = re.findall(rf"^\| {re.escape(evidence.name)} \|.*$", text, re.M)
        assert f"| {evidence.measured_cycles:,.0f} | {evidence.predicted_cycles:,.0f} |" in line
