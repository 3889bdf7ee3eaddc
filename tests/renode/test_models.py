"""Platform descriptions: those of the catalogue against the table of Renode's models, and a user's own made into
parts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tinysim.data import platforms_folder
from tinysim.errors import PartError
from tinysim.part import RegionKind
from tinysim.partfile import read_part
from tinysim.renode.import_part import import_part
from tinysim.renode.models import check_platform, model_table

BOARD = Path(__file__).with_name("board.repl")
PLATFORMS = sorted(platforms_folder().glob("*.repl"))


def test_there_are_platforms() -> None:
    assert len(PLATFORMS) >= 2


@pytest.mark.parametrize("path", PLATFORMS, ids=lambda path: path.stem)
def test_every_platform_is_one_that_renode_loads(path: Path) -> None:
    assert check_platform(path) == []


def test_every_model_has_a_source() -> None:
    table = model_table()
    for name, model in table["model"].items():
        assert model["source"], name
        assert set(model["needed"]) <= set(model["properties"]), name


@pytest.mark.parametrize(
    ("change", "line", "finding"),
    [
        (("size: 0x40000", "sise: 0x40000"), 3, "Memory.MappedMemory has no property sise"),
        (("size: 0x40000", 'size: "big"'), 3, "size is not a number"),
        (("size: 0x40000", "size: 0x40010"), 2, "multiples of 1024"),
        (("0x20000000", "0x08000000"), 5, "sram: overlaps flash at 0x8000000"),
        (("Memory.MappedMemory @ sysbus 0x2", "Memory.NoSuch @ sysbus 0x2"), 5, "Memory.NoSuch is not in the table"),
        (("    nvic: nvic\n", ""), 13, "CPU.CortexM needs nvic"),
        (("nvic: nvic", 'nvic: "nvic"'), 15, "nvic is not a reference"),
        (('"cortex-m4"', '"cortex-m4f"'), 14, "cpuType 'cortex-m4f'"),
        (("PerformanceInMips: 100", "PerformanceInMips: 120"), 16, "120 does not divide 1000"),
        (("PerformanceInMips: 100", "PerformanceInMips: 0"), 16, "0 does not divide 1000"),
        (("frequency: 100000000\n", "frequency: 80000000\n"), 18, "does not count instructions"),
        (("0xE0001000", "0xE0002000"), 1, "no cycle counter"),
        (("IRQ -> cpu@0", "IRQ -> cpu@1"), 11, "cpu has no input 1"),
        (("IRQ -> cpu@0", "IRQ -> gpu@0"), 11, "nothing is called gpu"),
        (("IRQ -> cpu@0", "FIQ -> cpu@0"), 11, "has no output FIQ"),
        (("nvic: IRQ", "sysbus:\n    init:\n        ApplySVD @x.svd\n\nnvic: IRQ"), 10, "download"),
    ],
)
def test_findings(tmp_path: Path, change: tuple[str, str], line: int, finding: str) -> None:
    text = BOARD.read_text()
    assert change[0] in text
    path = tmp_path / "board.repl"
    # the DWT's frequency is the last of two
    path.write_text(change[1].join(text.rsplit(change[0], 1)) if "frequency" in change[0] else text.replace(*change, 1))
    findings = check_platform(path)
    assert any(re.match(rf"{path}:{line}: .*{re.escape(finding)}", found) for found in findings), findings


def test_import_makes_a_part(tmp_path: Path) -> None:
    (tmp_path / "board.repl").write_text(BOARD.read_text())
    imported = import_part(tmp_path / "board.repl")
    (tmp_path / "board.toml").write_text(imported.toml)
    part = read_part(tmp_path / "board.toml")
    assert (part.core, part.fpu, part.max_clock_hz) == ("cortex-m4", "fpv4-sp", 100_000_000)
    assert [(r.name, r.kind, r.base, r.size) for r in part.regions] == [
        ("flash", RegionKind.FLASH, 0x08000000, 0x40000),
        ("sram", RegionKind.SRAM, 0x20000000, 0x10000),
    ]
    assert "systickFrequency in line 10" in imported.toml
    assert any("wait states" in note for note in imported.notes)


def test_import_with_what_a_description_does_not_say(tmp_path: Path) -> None:
    text = BOARD.read_text().replace("cortex-m4", "cortex-m7").replace("    systickFrequency: 100000000\n", "")
    text = text.replace("sram:", "dtcm:").replace("dwt: Misc", "// dwt: Misc").replace("    frequency: 100000000\n", "")
    text += "\nscratch: Memory.MappedMemory @ sysbus 0x30000000\n    size: 0x8000\n"
    path = tmp_path / "my.repl"
    path.write_text(text)
    with pytest.raises(
        PartError, match=r"my.repl:1: the description names no clock .give the maximum, as in --clock 120MHz"
    ):
        import_part(path)
    with pytest.raises(PartError, match="does not say which FPU"):
        import_part(path, clock_hz=200_000_000)
    imported = import_part(path, clock_hz=200_000_000, fpu="fpv5-sp", kinds={"scratch": RegionKind.AXI})
    (tmp_path / "my.toml").write_text(imported.toml)
    part = read_part(tmp_path / "my.toml")
    assert part.max_clock_hz == 200_000_000
    assert part.region("scratch").kind is RegionKind.AXI
    assert part.placement["stack"] == ("dtcm",)
    assert any("cycle counter reads 0" in note for note in imported.notes)


@pytest.mark.parametrize(
    ("change", "line", "message"),
    [
        (("CPU.CortexM", "CPU.RiscV32"), 13, "a core of type CPU.RiscV32"),
        (('"cortex-m4"', '"cortex-m0"'), 14, "a core of type 'cortex-m0'"),
        (("flash:", "thing:"), 2, "neither its name nor its address tells"),
        (("size: 0x40000", "size: 0x20000000"), 2, "more than any microcontroller"),
        (("size: 0x40000", "other: 1"), 2, "needs an address on sysbus and a size"),
        (("flash: Memory.MappedMemory @ sysbus 0x08000000", "flash Memory.MappedMemory"), 2, "cannot read"),
        (("sram:", "flash2:"), 1, "has no RAM"),
    ],
)
def test_import_refuses_with_the_line(tmp_path: Path, change: tuple[str, str], line: int, message: str) -> None:
    path = tmp_path / "board.repl"
    path.write_text(BOARD.read_text().replace(*change, 1))
    with pytest.raises(PartError) as caught:
        import_part(path)
    assert str(caught.value).startswith(f"{path}:{line}: ")
    assert message in str(caught.value)


def test_import_of_two_cores_or_of_unknown_memories(tmp_path: Path) -> None:
    path = tmp_path / "two.repl"
    path.write_text(BOARD.read_text() + '\ncpu2: CPU.CortexM @ sysbus\n    cpuType: "cortex-m4"\n    nvic: nvic\n')
    with pytest.raises(PartError, match="2 cores; a part has one"):
        import_part(path)
    path.write_text(BOARD.read_text())
    with pytest.raises(PartError, match="has no memory 'dram'"):
        import_part(path, kinds={"dram": RegionKind.SRAM})


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tinysim.cli import main

    description = tmp_path / "descriptions" / "board.repl"
    description.parent.mkdir()
    description.write_text(BOARD.read_text().replace("sram:", "scratch:").replace("0x20000000", "0x60000000"))
    wanted = ["parts", "import", str(description), str(tmp_path / "mine.toml"), "--max-clock", "80MHz"]
    with pytest.raises(SystemExit) as ended:
        main(wanted)
    assert ended.value.code == 2
    assert "board.repl:5: scratch at 0x60000000: neither its name nor its address" in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        main([*wanted, "--kind", "scratch=sram"])
    assert ended.value.code == 0
    assert "wait states" in capsys.readouterr().out
    part = read_part(tmp_path / "mine.toml")
    assert (part.name, part.max_clock_hz, part.platform_path.resolve()) == ("mine", 80_000_000, description)
    with pytest.raises(SystemExit) as ended:
        main([*wanted, "--kind", "scratch=sram"])
    assert ended.value.code == 2
    assert "is there already" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([*wanted, "--kind", "scratch=tape"])
    assert "is no kind of a memory" in capsys.readouterr().err
