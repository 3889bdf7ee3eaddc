"""What the README says is so: its table, its commands, its links."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

import tinysim
from tinysim.cli import build_app
from tinysim.result import Result
from tinysim.units import format_bytes, format_hz, format_seconds, parse_bytes, parse_hz, parse_seconds

ROOT = Path(__file__).parents[1]
MODELS = ROOT / "examples" / "models"
PARTS = ("stm32l4r5zi", "stm32h723zg")
README = (ROOT / "README.md").read_text(encoding="utf-8")
DEMO = next(line for line in (ROOT / "Makefile").read_text().splitlines() if "tinysim bench" in line).split(
    "tinysim ", 1
)[1]


def table() -> list[dict[str, str]]:
    """The rows of the demo's table, by column."""
    text = re.search(r"<!-- demo -->\n(.*?)\n<!-- /demo -->", README, re.DOTALL)
    assert text
    head, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in text[1].splitlines())
    return [dict(zip(head, row, strict=True)) for row in rows]


def rendered(results: list[Result]) -> str:
    """The table as it should be: what to paste into the README when the numbers have changed."""
    rows = []
    for r in results:
        memory = r.memory
        sizes = (memory.flash_bytes, memory.ram_bytes, memory.arena_bytes or 0, memory.stack_peak_bytes or 0)
        times = (
            format_hz(r.clock_hz),
            format_seconds(r.latency_s),
            f"{r.error.bound_percent:g} %",
            format_hz(1 / r.latency_s),
        )
        rows.append(
            [r.model, r.part, *times, *map(format_bytes, sizes), "match" if r.outputs and r.outputs.match else "differ"]
        )
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in rows)


def test_the_table_is_that_of_the_demo() -> None:
    """Within 5 %: another compiler and finer timing data change the numbers a little."""
    results = tinysim.bench([MODELS / "cnn_int8.tflite", MODELS / "dense_float32.tflite"], PARTS)
    parse = {"clock": parse_hz, "latency": parse_seconds, "rate": parse_hz}
    parse |= dict.fromkeys(("flash", "RAM", "arena", "stack"), parse_bytes)
    text = rendered(results)
    for row, line in zip(table(), text.splitlines(), strict=True):
        for (column, written), value in zip(row.items(), map(str.strip, line.strip("|").split("|")), strict=True):
            same = written == value
            if column in parse:
                same = parse[column](written) == pytest.approx(parse[column](value), rel=0.05)
            assert same, f"{column} is {written} in the README; the table is\n{text}"


def test_the_demo_is_the_command_above_the_table() -> None:
    assert f"tinysim {DEMO}" in README


def commands() -> list[str]:
    """Every command line in the README."""
    quoted = re.findall(r"`(tinysim [^`]+)`", README)
    blocks = [
        line
        for block in re.findall(r"```\n(.*?)```", README, re.DOTALL)
        for line in block.splitlines()
        if line.startswith("tinysim ")
    ]
    return [*quoted, *blocks]


@pytest.mark.parametrize("line", commands())
def test_every_command_exists_with_its_options(line: str) -> None:
    import typer.main

    command = typer.main.get_command(build_app())
    words = shlex.split(line)[1:]
    while words and hasattr(command, "commands"):
        assert words[0] in command.commands, line
        command = command.commands[words.pop(0)]
    known = {option for parameter in command.params for option in parameter.opts}
    for word in words:
        if word.startswith("-"):
            assert word in known, f"{word} in {line}"


@pytest.mark.parametrize("document", ["README.md", "docs/hacking.md"])
def test_every_link_leads_somewhere(document: str) -> None:
    path = ROOT / document
    for target in re.findall(r"\]\(([^)#:]+)\)", path.read_text(encoding="utf-8")):
        assert (path.parent / target).exists(), f"{target} in {document}"


def test_every_command_is_in_the_readme() -> None:
    import typer.main

    names: list[str] = typer.main.get_command(build_app()).commands  # type: ignore[attr-defined]
    missing = [name for name in names if f"`tinysim {name}" not in README]
    assert missing == []


def test_exit_codes_are_those_of_the_errors() -> None:
    text = " ".join(README.split())
    for code, words in (
        (0, "ok"),
        (1, "could not measure"),
        (2, "your input was rejected"),
        (3, "a budget or baseline was exceeded"),
    ):
        assert f"{code} {words}" in text
