"""Doctor: what is found and missing on this computer."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

import pytest

from tinysim.cli import main
from tinysim.doctor import examine
from tinysim.toolchain import find_toolchain


def test_what_tests_need_is_found() -> None:
    findings = {f.name: f for f in examine()}
    assert findings["unicorn"].version == version("unicorn")
    assert findings["arm GCC"].version == find_toolchain().version
    assert all(f.found for f in findings.values() if f.needed)
    assert findings["cache"].version


def test_what_is_missing_comes_with_the_line_that_installs_it() -> None:
    findings = {f.name: f for f in examine(cc="/nowhere/arm-", renode="/nowhere/renode")}
    assert not findings["arm GCC"].found
    assert findings["arm GCC"].needed
    assert findings["arm GCC"].advice
    assert not findings["Renode"].found
    assert not findings["Renode"].needed
    assert findings["Renode"].advice


def test_cargo_may_be_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CARGO_HOME", str(tmp_path))
    findings = {f.name: f for f in examine()}
    assert not findings["cargo"].found
    assert findings["cargo"].advice == "apt-get install cargo"


@pytest.mark.parametrize(("cc", "code"), [((), 0), (("--cc", "/nowhere/arm-"), 1)])
def test_the_exit_code_says_whether_anything_needed_is_missing(
    cc: tuple[str, ...], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["doctor", *cc, "--json", "-"])
    assert (caught.value.code or 0) == code
    rows = json.loads(capsys.readouterr().out)
    assert any(row["needed"] and not row["found"] for row in rows) == (code == 1)
    assert all(row["advice"] for row in rows if not row["found"])


def test_the_table_names_every_finding(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["doctor"])
    shown = capsys.readouterr().out
    for finding in examine():
        assert finding.name in shown
