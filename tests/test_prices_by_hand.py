"""Small programs whose price was added up by hand (tests/programs/by_hand.toml), run from an ELF file to a Result."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from program_builder import FOLDER, PLAIN_M4, PLAIN_M7, function

import tinysim
from tinysim.memory.pricers import MemoryOptions

PARTS = {"cortex-m4": PLAIN_M4, "cortex-m7": PLAIN_M7}
PROGRAMS = tomllib.loads((FOLDER / "by_hand.toml").read_text())["program"]


@pytest.mark.parametrize("program", PROGRAMS, ids=[f"{p['core']}: {p['name']}" for p in PROGRAMS])
def test_a_program_costs_what_the_hand_calculation_says(program: dict[str, Any], tmp_path: Path) -> None:
    elf = function(tmp_path, program["asm"], program["core"])
    result = tinysim.run(elf, PARTS[program["core"]], functions=["f"], memory=MemoryOptions(ideal=True))
    [region] = result.regions
    assert (region.calls, region.instructions, region.cycles) == (1, program["instructions"], program["cycles"]), (
        region.breakdown
    )
    assert sum(region.breakdown.values()) == region.cycles
    assert result.latency_s == pytest.approx(region.cycles / 100e6)


def test_every_core_has_a_page_of_programs() -> None:
    names = [(p["core"], p["name"]) for p in PROGRAMS]
    assert len(set(names)) == len(names)
    assert {core: sum(c == core for c, _ in names) >= 15 for core in PARTS} == dict.fromkeys(PARTS, True)
