"""The page about CI can be pasted: its commands run, its budgets are read, its workflow is YAML of the right shape."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from arm_programs import build, command

from tinysim.budget import read_budgets

PAGE = Path(__file__).parent.parent / "docs" / "ci.md"
PROGRAM = """
volatile int total;
#define APART __attribute__((noinline, noclone))
APART void _exit(int status) { (void)status; for (;;) __asm volatile(""); }
APART int fir(int n) { int sum = 0; for (int i = 0; i < n; i++) sum += i * total; return sum; }
APART int fir_filter(int n) { int sum = 0; for (int i = 0; i < n; i++) sum += fir(i); return sum; }
APART void classify(void) { total = fir_filter(9) + fir(4); }
void start(void) { classify(); _exit(0); }
"""


def blocks(language: str) -> list[str]:
    found = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [text for name, text in found if name == language]


def test_every_command_of_the_page_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "build").mkdir()
    build(tmp_path, PROGRAM, "-O1", "-g").rename(tmp_path / "build" / "firmware.elf")
    (tmp_path / "budgets.toml").write_text(blocks("toml")[0])
    assert len(read_budgets(tmp_path / "budgets.toml")) == 4
    lines = [line for block in blocks("") for line in block.splitlines() if line.startswith("tinysim ")]
    assert len(lines) >= 12
    for line in lines:
        assert command(*shlex.split(line, comments=True)[1:]) == 0, f"{line}\n{capsys.readouterr().err}"
    assert (tmp_path / ".tinysim" / "baselines" / "main.json").exists()


def test_the_workflow_runs_what_the_page_explains() -> None:
    [workflow] = blocks("yaml")
    commands = re.findall(r"tinysim (?:run|baseline)[^\n]*(?:\n +--[^\n]*)*", workflow)
    assert [text.split()[1] for text in commands] == ["run", "baseline"]
    for option in re.findall(r"--[a-z-]+", " ".join(commands)):
        assert option in PAGE.read_text(encoding="utf-8").split("## A workflow to paste")[0] or option in (
            "--markdown",
            "--junit",
        )
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    steps = yaml.safe_load(workflow)["jobs"]["compare"]["steps"]
    assert any("tinysim baseline compare main results.json" in step.get("run", "") for step in steps)
