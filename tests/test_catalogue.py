"""The catalogue, its lint and its command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tinysim.catalogue import Bound, Wish, flash_bytes, load_parts, new_part, parse_bound, ram_bytes, select
from tinysim.cli import build_app
from tinysim.data import platforms_folder
from tinysim.errors import InputError, PartError
from tinysim.memory.config import configure, ideal
from tinysim.memory.settings import startup_writes
from tinysim.part import Confidence, Part, load_part, part_names
from tinysim.partlint import Severity, check_file, check_part
from tinysim.units import parse_bytes

FACTS = Path(__file__).resolve().parents[2] / "shared" / "facts"
PARTS = part_names()


@pytest.fixture(scope="module")
def everything() -> tuple[Part, ...]:
    return load_parts()


@pytest.mark.parametrize("name", PARTS)
def test_every_part_is_whole(name: str) -> None:
    """Loads, has no lint error, fits its placement, and lays out its memory system where it has wait states."""
    part = load_part(name)
    assert part.name == name
    errors = [finding for finding in check_part(part.path) if finding.severity is Severity.ERROR]
    assert errors == []
    for role, choices in part.placement.items():
        for choice in choices:
            base, size = part.span(choice)
            region = part.region_at(base)
            assert region is not None and size >= region.size
            assert region.kind.writable or role in ("code", "weights")
            assert region.executable or role != "code"
    assert {source.confidence for source in part.sources} <= set(Confidence)
    ideal(part)
    if part.wait_table is not None:
        for clock_hz in {part.max_clock_hz, part.default_clock_hz, *(hz for hz, _ in part.wait_table.steps)}:
            if clock_hz <= part.max_clock_hz and (not part.clocks_hz or clock_hz in part.clocks_hz):
                writes = startup_writes(part, clock_hz)
                config = configure(part, writes, clock_hz)
                assert config.wait_states == part.wait_states(clock_hz)
                assert config.warnings == ()


def test_all_known_parts_are_there() -> None:
    """One part for each row of the facts, with its clock, flash and core."""
    table = FACTS / "parts.csv"
    if not table.is_file():
        pytest.skip("the facts are not beside this checkout")
    import csv

    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    parts = {part.title.upper().replace("RE", "XE") if part.name == "stm32f401re" else part.title.upper(): part
             for part in load_parts()}  # fmt: skip
    assert len(rows) == len(parts) == len(PARTS) == 15
    for row in rows:
        name = row["mcu"].upper().replace("AMBIQ ", "")
        part = parts[name]
        words = row["max_mhz"].replace("(", " ").replace(",", " ").split()
        highest = max(int(word) for word in words if word.isdigit())
        assert part.max_clock_hz == highest * 10**6
        assert part.core == row["core"].split()[0].lower().rstrip("f")
        assert part.fpu == row["fpu"].lower()


def test_wait_states_are_those_of_the_facts() -> None:
    table = FACTS / "wait_states.csv"
    if not table.is_file():
        pytest.skip("the facts are not beside this checkout")
    import csv

    families = {
        "STM32F4 (F401/F407/F446)": ("stm32f407vg", "stm32f446re", "stm32f401re"),
        "STM32F7": ("stm32f746ng", "stm32f767zi"),
        "STM32L4+ (L4R5)": ("stm32l4r5zi",),
        "STM32L4 (L475/L476)": ("stm32l475vg",),
        "STM32WB": ("stm32wb55rg",),
        "STM32H723/730": ("stm32h723zg",),
        "STM32H7A3/7B3": ("stm32h7a3zi-q",),
        "STM32G4": ("stm32g474re",),
    }
    compared = 0
    with table.open(newline="") as file:
        for row in csv.DictReader(file):
            if "normal" in row["condition"] or "VOS1 (AXI" in row["condition"] or row["condition"] == "VOS1":
                continue
            for name in families.get(row["family"], ()):
                part = load_part(name)
                limit = row["max_hclk_mhz"]
                clock_hz = part.max_clock_hz if limit.startswith("device") else int(limit) * 10**6
                if limit.startswith("device") and part.max_clock_hz < 150_000_000:
                    continue
                bus = part.bus_clock
                if bus is not None and bus.above_hz < clock_hz * bus.divider <= part.max_clock_hz:
                    clock_hz *= bus.divider
                if clock_hz <= part.max_clock_hz:
                    assert part.wait_states(clock_hz) == int(row["wait_states"]), (name, row)
                    compared += 1
    assert compared > 40


def test_filters(everything: tuple[Part, ...]) -> None:
    big = select(everything, Wish(core="m7", ram=Bound(">=", 1024 * 1024)))
    assert {part.name for part in big} == {"imxrt1062", "stm32h743zi", "stm32h7a3zi-q"}
    assert all(part.core == "cortex-m7" and ram_bytes(part) >= 2**20 for part in big)
    small = select(everything, Wish(core="m4", flash=Bound("<=", 512 * 1024), clock=Bound(">", 100e6)))
    assert {part.name for part in small} == {"stm32f446re", "stm32g474re"}
    assert select(everything, Wish(price=Bound("<=", 1000.0))) == ()
    rt = next(part for part in everything if part.name == "imxrt1062")
    assert flash_bytes(rt) == 0
    assert parse_bound(">=512K", parse_bytes) == Bound(">=", 512 * 1024)
    assert parse_bound("1M", parse_bytes)(2**20) and not parse_bound("<1M", parse_bytes)(2**20)
    with pytest.raises(InputError, match="not a size"):
        parse_bound(">=lots", parse_bytes)


@pytest.mark.parametrize("name", PARTS)
def test_new_part_is_a_part(tmp_path: Path, name: str) -> None:
    like = load_part(name)
    target, description = new_part(like, tmp_path / "Mine.toml")
    mine = load_part(target)
    assert (mine.name, mine.title, mine.platform_path) == ("mine", "Mine", description)
    assert (mine.regions, mine.placement, mine.memory) == (like.regions, like.placement, like.memory)
    assert [finding for finding in check_file(target) if finding.severity is Severity.ERROR] == []
    with pytest.raises(PartError, match="is there already"):
        new_part(like, tmp_path / "Mine")
    with pytest.raises(PartError, match="no folder"):
        new_part(like, tmp_path / "gone" / "x.toml")
    with pytest.raises(PartError, match="no name for a part"):
        new_part(like, tmp_path / ".toml")


def test_lint_finds_all_missing_sources(tmp_path: Path) -> None:
    target, description = new_part(load_part("stm32l4r5zi"), tmp_path / "mine.toml")
    text = target.read_text()
    lines = text.splitlines()
    sources = [number for number, line in enumerate(lines, 1) if line.startswith("source = ")]
    assert len(sources) > 10
    target.write_text("\n".join(line for line in lines if not line.startswith("source = ")))
    found = [finding for finding in check_part(target) if "without a source" in finding.message]
    assert len(found) == len(sources)
    assert all(target.read_text().splitlines()[finding.line - 1].startswith("[") for finding in found)
    target.write_text(text)
    description.write_text(description.read_text().replace("PerformanceInMips: 125", "PerformanceInMips: 120"))
    (finding,) = [one for one in check_part(target) if one.severity is Severity.ERROR]
    assert finding.path == str(description) and "does not divide 1000" in finding.message


def run(*arguments: str) -> tuple[int, str, Exception | None]:
    result = CliRunner().invoke(build_app(), ["parts", *arguments])
    error = result.exception if isinstance(result.exception, Exception) else None
    return result.exit_code, result.output, error


def test_command_lists_and_shows() -> None:
    code, output, _ = run()
    assert code == 0 and "15 of 15 parts" in output and all(name in output for name in PARTS)
    code, output, _ = run("--core", "m7", "--ram", ">=1M", "--json", "-")
    assert code == 0
    data = json.loads(output)
    assert data["schema"] == "tinysim.parts/1"
    assert {part["name"] for part in data["parts"]} == {"imxrt1062", "stm32h743zi", "stm32h7a3zi-q"}
    code, output, _ = run("STM32F407-VG")
    assert code == 0 and "0x2001c000" in output and "documented" in output and "no code" in output
    _, output, _ = run("nrf52840", "--json", "-")
    (part,) = json.loads(output)["parts"]
    assert part["wait_states"] == [{"max_hz": 64_000_000, "wait_states": 2}]
    assert part["power"][0]["microwatts_per_mhz"][1] == pytest.approx(154.8)


def test_command_refuses() -> None:
    for arguments, word in (
        (["stm32l4r9"], "nearest"),
        (["a", "b"], "one part"),
        (["--max-price", "5"], "price"),
        (["--ram", "lots"], "not a size"),
        (["check"], "needs a file"),
        (["new"], "a part to start from"),
        (["check", "nowhere.toml"], "cannot read"),
    ):
        code, _, error = run(*arguments)
        assert code == 1 and isinstance(error, InputError) and error.exit_code == 2 and word in str(error), arguments


def test_command_checks(tmp_path: Path) -> None:
    new_part(load_part("stm32f407vg"), tmp_path / "mine.toml")
    target = tmp_path / "mine.toml"
    code, output, _ = run("check", str(target))
    assert code == 0 and "nothing wrong" in output
    target.write_text(target.read_text().replace('max = "168MHz"\n', 'max = "168"\n', 1))
    code, output, _ = run("check", str(target))
    line = next(n for n, text in enumerate(target.read_text().splitlines(), 1) if text == 'max = "168"')
    assert code == 2 and f"mine.toml:{line}: clock.max: " in output
    code, output, _ = run("check", str(target), "--json", "-")
    assert code == 2 and json.loads(output)["findings"][0]["field"] == "clock.max"
    code, output, _ = run("check", str(platforms_folder() / "cores" / "cortex-m4.toml"))
    assert code == 0, output
