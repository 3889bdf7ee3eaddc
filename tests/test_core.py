"""Core files: what is read, what is refused and where it says the fault is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tinysim.core import Pipeline, check_core, load_core
from tinysim.data import platforms_folder
from tinysim.errors import PartError

CORES = sorted((platforms_folder() / "cores").glob("*.toml"))


@pytest.mark.parametrize("path", CORES, ids=[path.stem for path in CORES])
def test_the_cores_of_the_project_are_clean(path: Path) -> None:
    assert check_core(path) == []


@pytest.mark.parametrize("path", CORES, ids=[path.stem for path in CORES])
def test_every_open_parameter_has_a_range_around_its_value(path: Path) -> None:
    core = load_core(path)
    assert core.open_parameters
    for parameter in core.open_parameters:
        assert parameter.low <= parameter.value <= parameter.high
        assert parameter.low < parameter.high


def test_cores_by_name() -> None:
    assert load_core("cortex-m4").pipeline is Pipeline.SINGLE_ISSUE
    assert load_core("Cortex-M7").context_blocks == 2


def test_an_unknown_core_names_the_known_ones() -> None:
    with pytest.raises(PartError, match=r"no core 'cortex-m85'.*cortex-m4, cortex-m7"):
        load_core("cortex-m85")


def test_an_fpu_the_core_cannot_have_is_refused() -> None:
    with pytest.raises(PartError, match="Arm Cortex-M4 has no FPU 'fpv5-dp'"):
        load_core("cortex-m4").with_fpu("fpv5-dp")


def test_classes_of_an_absent_fpu_have_no_timing() -> None:
    core = load_core("cortex-m7")
    assert core.timing("double_add") is not None
    assert core.with_fpu("fpv5-sp").timing("double_add") is None
    assert core.with_fpu("fpv5-sp").timing("fp_round") is not None
    assert core.with_fpu("none").timing("fp_add") is None


def test_values_can_be_changed_by_name_only() -> None:
    core = load_core("cortex-m4")
    assert core.with_values({"load_after_store": 2}).value("load_after_store") == 2
    assert core.value("load_after_store") == 1
    with pytest.raises(PartError, match="no parameter 'typo'"):
        core.with_values({"typo": 1})


MISTAKES = {
    "a source is missing": ('source = "COMP: VMOV', 'sauce = "COMP: VMOV'),
    "a range excludes the value": ("value = 6\nlow = 2\nhigh = 12", "value = 6\nlow = 8\nhigh = 12"),
    "an open parameter has no range": ("low = 1\nhigh = 2\nopen = true", "open = true"),
    "a class does not exist": ('classes = ["nop"]', 'classes = ["noop"]'),
    "a class is timed twice": ('classes = ["nop"]', 'classes = ["divide"]'),
    "a parameter does not exist": ('cycles = "core_fp_move"', 'cycles = "core_move"'),
    "a cause does not exist": ('cause = "division"', 'cause = "bad luck"'),
    "a needed parameter is missing": ("[parameters.fifo_words]", "[parameters.fifo_wards]"),
    "a confidence does not exist": ('confidence = "documented"', 'confidence = "certain"'),
    "a key is unknown": ("per_word = 1", "per_wird = 1"),
    "it is no core file": ('schema = "tinysim.core/1"', 'schema = "tinysim.part/1"'),
}


@pytest.mark.parametrize(("before", "after"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_found_with_file_and_line(before: str, after: str, tmp_path: Path) -> None:
    text = (platforms_folder() / "cores" / "cortex-m4.toml").read_text()
    assert before in text
    path = tmp_path / "mistaken.toml"
    path.write_text(text.replace(before, after, 1))
    (finding,) = check_core(path)
    assert finding.file.endswith("mistaken.toml")
    assert 1 <= finding.line <= len(text.splitlines())
    assert finding.message


def test_a_class_without_timing_is_found(tmp_path: Path) -> None:
    text = (platforms_folder() / "cores" / "cortex-m4.toml").read_text()
    path = tmp_path / "short.toml"
    path.write_text(re.sub(r'\[\[timing\]\]\nclasses = \["divide"\].*?\n\n', "", text, flags=re.S))
    assert [finding.message for finding in check_core(path)] == ["no timing for the instruction class 'divide'"]


def test_a_pair_rule_with_an_unknown_trait_is_found(tmp_path: Path) -> None:
    text = (platforms_folder() / "cores" / "cortex-m7.toml").read_text()
    path = tmp_path / "odd.toml"
    path.write_text(text.replace('older = "plain_shift"', 'older = "plane_shift"'))
    assert [finding.message for finding in check_core(path)] == ["no timing has the trait 'plane_shift'"]
