"""Parts: what a good file gives, what a bad one is told."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinysim.energy import energy
from tinysim.errors import PartError
from tinysim.memory.description import Fill, Replacement, Setting
from tinysim.part import Confidence, Part, RegionKind, load_part
from tinysim.tomlfile import line_of

PLATFORM = """\
flash: Memory.MappedMemory @ sysbus 0x08000000
    size: 0x10000
ram1: Memory.MappedMemory @ { sysbus 0x20000000; sysbus 0x10000000 }
    size: 0x4000
ram2: Memory.MappedMemory @ sysbus 0x20004000
    size: 0x2000
regs: Memory.ArrayMemory @ sysbus 0x40022000
    size: 0x400
uart: UART.STM32_UART @ sysbus 0x40011000
    IRQ -> nvic@37
nvic: IRQControllers.NVIC @ sysbus 0xE000E000
    IRQ -> cpu@0
cpu: CPU.CortexM @ sysbus
    cpuType: "cortex-m4"
    nvic: nvic
sysbus:
    init:
        Tag <0x40023800, 0x40023BFF> "RCC"
        Tag <0x40023800, 0x40023803> "RCC_CR" 0x83
"""
GOOD = """\
schema = "tinysim.part/1"
name = "toy"
title = "Toy"
vendor = "nobody"
core = "cortex-m4"
fpu = "fpv4-sp"

[platform]
source = "made up"
confidence = "inferred"

[clock]
max = "100MHz"
source = "made up"
confidence = "inferred"

[clock.bus]
above = "60MHz"
divider = 2
source = "made up"
confidence = "inferred"

[memory.flash]
kind = "flash"
[memory.ram1]
kind = "sram"
[memory.ram2]
kind = "ccm"
executable = false
[memory.regs]
kind = "registers"

[placement]
code = ["flash"]
weights = ["flash"]
data = ["ram1+ram2"]
arena = ["ram1", "ram2"]
stack = ["ram1"]

[wait_states]
of = "flash"
source = "made up"
confidence = "documented"
table = [
    { max = "20MHz", wait_states = 0 },
    { max = "60MHz", wait_states = 2 },
]

[flash]
memory = "flash"
row_bytes = 8
prefetch = true
source = "made up"
confidence = "fit"
[flash.instruction_lines]
line_bytes = 32
sets = 8
ways = 4
replacement = "lru"
fill = "row"
source = "made up"
confidence = "fit"

[[path]]
memories = ["ram1", "ram2"]
slave = 2
first_load_cycles = 1
source = "made up"
confidence = "measured"

[[control]]
name = "ACR"
address = 0x40022000
reset = 0x600
startup = 0x700
fields = { wait_states = "3:0", prefetch = "8" }
source = "made up"
confidence = "memory"

[[register]]
name = "CR"
address = 0x40021000
reset = 0x61
follows = ["25<24", "3:2<1:0"]
source = "made up"
confidence = "inferred"

[[variant]]
name = "more ways"
set = { "flash.instruction_lines.ways" = 8, "path.0.first_load_cycles" = 0 }
source = "made up"
confidence = "inferred"

[[supply]]
mode = "run"
volts = 3.0
microamps_per_mhz = [90, 100, 120]
max = "80MHz"
source = "made up"
confidence = "measured"

[price]
amount = 3.5
currency = "EUR"
quantity = 1000
date = "2026-01-01"
source = "made up"
confidence = "inferred"
"""


def write(folder: Path, toml: str = GOOD, platform: str = PLATFORM) -> Path:
    (folder / "toy.repl").write_text(platform)
    path = folder / "toy.toml"
    path.write_text(toml)
    return path


@pytest.fixture
def toy(tmp_path: Path) -> Part:
    return load_part(write(tmp_path))


def test_memories(toy: Part) -> None:
    assert [(region.name, region.kind, region.executable) for region in toy.regions] == [
        ("flash", RegionKind.FLASH, True),
        ("ram1", RegionKind.SRAM, True),
        ("ram2", RegionKind.CCM, False),
    ]
    assert toy.span("ram1+ram2") == (0x20000000, 0x6000)
    assert toy.span("flash") == (0x08000000, 0x10000)
    ram1 = toy.region("ram1")
    assert toy.region_at(0x10000004) is ram1 and toy.region_at(0x20003FFF) is ram1
    assert toy.region_at(0x10004000) is None
    assert ram1.windows == ((0x20000000, 0x4000), (0x10000000, 0x4000))
    with pytest.raises(PartError, match="flash ends at 0x8010000, ram1 starts at 0x20000000"):
        toy.span("flash+ram1")
    with pytest.raises(PartError, match=r"no memory 'ram3'.*flash, ram1, ram2"):
        toy.span("ram1+ram3")


def test_peripherals(toy: Part) -> None:
    rcc = toy.peripheral_at(0x40023804)
    register = toy.peripheral_at(0x40023802)
    storage = toy.peripheral_at(0x40022010)
    assert rcc is not None and (rcc.name, rcc.value, rcc.model) == ("RCC", None, None)
    assert register is not None and (register.name, register.value) == ("RCC_CR", 0x83)
    assert storage is not None and storage.model == "Memory.ArrayMemory"
    assert toy.peripheral_at(0x50000000) is None
    assert toy.interrupt_count == 38
    (register,) = toy.registers
    assert register.read(0x01000003) == 0x0300000F
    assert register.read(0x0200000C) == 0


def test_clocks(toy: Part) -> None:
    assert [toy.wait_states(mhz * 10**6) for mhz in (1, 20, 21, 60, 61, 100)] == [0, 0, 2, 2, 2, 2]
    assert [toy.bus_divider(mhz * 10**6) for mhz in (60, 61)] == [1, 2]
    with pytest.raises(PartError, match=r"cannot run at 120 MHz.*maximum is 100 MHz"):
        toy.wait_states(120_000_000)
    with pytest.raises(PartError, match="not above zero"):
        toy.wait_states(0)


def test_memory_description(toy: Part) -> None:
    assert toy.memory is not None and toy.memory.flash is not None and toy.memory.flash.instruction is not None
    lines = toy.memory.flash.instruction
    assert (lines.sets, lines.ways, lines.replacement, lines.fill) == (8, 4, Replacement.LRU, Fill.ROW)
    assert toy.memory.controls[0].fields == {Setting.WAIT_STATES: (0, 4), Setting.PREFETCH: (8, 1)}
    (variant,) = toy.variants
    assert variant.memory.flash is not None and variant.memory.flash.instruction is not None
    assert (variant.memory.flash.instruction.ways, variant.memory.paths[0].first_load_cycles) == (8, 0)
    assert lines.ways == 4


def test_sources(toy: Part) -> None:
    by_field = {source.field: source for source in toy.sources}
    assert by_field["platform"].confidence is Confidence.INFERRED
    assert by_field["wait_states"].confidence is Confidence.DOCUMENTED
    assert by_field["control[0] ACR"].confidence is Confidence.MEMORY
    assert GOOD.splitlines()[by_field["wait_states"].line - 1] == 'source = "made up"'
    assert by_field["path[0] ram1, ram2"].confidence is Confidence.MEASURED


def test_energy(toy: Part) -> None:
    """100 uA/MHz at 3 V is 300 uW/MHz: a million cycles take 300 uJ at any clock the source covers."""
    (found,) = energy(toy, 1_000_000, 40_000_000)
    assert (found.low_microjoules, found.microjoules, found.high_microjoules) == pytest.approx((270, 300, 360))
    by_power = 100e-6 * 40 * 3.0 * (1_000_000 / 40e6) * 1e6
    assert found.microjoules == pytest.approx(by_power)
    assert energy(toy, 1_000_000, 100_000_000) == ()


BAD = [
    ('max = "100MHz"', 'max = "100"', "clock.max", "not a clock frequency"),
    ('max = "100MHz"', "max = 100", "clock.max", "no unit"),
    ('max = "100MHz"', 'max = "0MHz"', "clock.max", "not above zero"),
    ('max = "100MHz"', 'max = "100MHz"\ndefault = "120MHz"', "clock.default", "above the maximum"),
    ('max = "100MHz"', 'max = "200MHz"', "wait_states.table", "ends at 60 MHz, below the part's 100 MHz"),
    ('vendor = "nobody"', "", "the file", "missing"),
    ('vendor = "nobody"', 'vendor = ""', "vendor", "empty"),
    ('vendor = "nobody"', 'vendor = "nobody"\ncolour = "red"', "colour", "unknown key"),
    ('[clock]\nmax = "100MHz"\nsource = "made up"', '[clock]\nmax = "100MHz"', "clock", "without a source"),
    ('confidence = "documented"', 'confidence = "sure"', "wait_states.confidence", "not one of"),
    ('confidence = "documented"', "", "wait_states", "missing"),
    ('kind = "ccm"', 'kind = "magic"', "memory.ram2.kind", "not one of"),
    ('[memory.ram2]\nkind = "ccm"\nexecutable = false', "", "memory", "'ram2' of"),
    ("[memory.regs]", '[memory.more]\nkind = "sram"\n[memory.regs]', "memory.more", "no such memory"),
    ('data = ["ram1+ram2"]', 'data = ["ram1+ram3"]', "placement.data", "no memory 'ram3'"),
    ("stack = [\"ram1\"]", "", "placement", "missing"),
    ('of = "flash"', 'of = "rom"', "wait_states.of", "no memory 'rom'"),
    ('{ max = "20MHz", wait', '{ max = "80MHz", wait', "wait_states.table[1].max", "must rise"),
    ("wait_states = 0 }", "wait_states = -1 }", "wait_states.table[0].wait_states", "between"),
    ("row_bytes = 8", "row_bytes = 12", "flash.row_bytes", "power of two"),
    ('replacement = "lru"', 'replacement = "best"', "flash.instruction_lines.replacement", "not one of"),
    ("slave = 2", "slave = 15", "path[0].slave", "between"),
    ('prefetch = "8"', 'prefetch = "0:8"', "control[0].fields.prefetch", "not a bit field"),
    ('prefetch = "8"', 'turbo = "8"', "control[0].fields.turbo", "no such setting"),
    ('"25<24"', '"25"', "register[0].follows", "which bits repeat"),
    ('"path.0.first', '"path.3.first', "variant[0].set.path.3", "nothing of that name"),
    ("microamps_per_mhz = [90, 100, 120]", "microamps_per_mhz = [90, 80, 120]", "supply[0].microamps_per_mhz", "rise"),
    ('core = "cortex-m4"', 'core = "cortex-m7"', "core", "says 'cortex-m4'"),
    ('fpu = "fpv4-sp"', 'fpu = "x87"', "fpu", "not one of"),
    ('schema = "tinysim.part/1"', 'schema = "tinysim.part/9"', "schema", "not a tinysim.part/1"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "field", "word"), BAD)
def test_bad_files_name_line_and_field(tmp_path: Path, old: str, new: str, field: str, word: str) -> None:
    assert GOOD.count(old) >= 1
    text = GOOD.replace(old, new, 1)
    with pytest.raises(PartError) as caught:
        load_part(write(tmp_path, text))
    message = str(caught.value)
    place, _, rest = message.partition(": ")
    file, line = place.rsplit(":", 1)
    assert file == str(tmp_path / "toy.toml")
    assert rest.startswith(field), message
    assert word in message
    last = field.rsplit(".", 1)[-1].split("[")[0]
    shown = text.splitlines()[int(line) - 1]
    assert last in shown or word in ("missing", "without a source") or "{" in shown or field == "the file", shown


def test_bad_platforms(tmp_path: Path) -> None:
    overlapping = PLATFORM.replace("0x20004000", "0x20003000")
    with pytest.raises(PartError, match=r"toy.repl:5: ram2: overlaps ram1 at 0x20003000"):
        load_part(write(tmp_path, platform=overlapping))
    with pytest.raises(PartError, match=r"toy.repl:1: flash: a memory needs an address and a size"):
        load_part(write(tmp_path, platform=PLATFORM.replace("    size: 0x10000\n", "", 1)))
    commands = PLATFORM.replace("    init:\n", "    init:\n        ApplySVD @x.svd\n        WriteWord 0x0 0x1\n")
    with pytest.raises(PartError, match=r"toy.repl:19: sysbus: the command 'WriteWord 0x0 0x1' is not understood"):
        load_part(write(tmp_path, platform=commands))
    path = write(tmp_path, "schema = ")
    with pytest.raises(PartError, match=r"toy.toml:1: not valid TOML"):
        load_part(path)
    (tmp_path / "toy.repl").unlink()
    path.write_text(GOOD)
    with pytest.raises(PartError, match="no platform description"):
        load_part(path)


def test_names() -> None:
    assert load_part("STM32L4R5-ZI").name == "stm32l4r5zi"
    with pytest.raises(PartError, match=r"nearest: stm32l4r5zi"):
        load_part("stm32l4r5")
    with pytest.raises(PartError, match="`tinysim parts` lists them"):
        load_part("z80")
    with pytest.raises(PartError, match="no part file"):
        load_part("./nowhere.toml")


def test_lines_of_keys() -> None:
    text = 'a = 1\n[b]\nc = [\n  1,\n  { d = 2 },\n]\n[[e]]\nf = 1\n[[e]]\nf = 2\n[e.g]\nh = 3\n"i.j" = 4\n'
    assert line_of(text, ("a",)) == 1
    assert line_of(text, ("b", "c")) == 3
    assert line_of(text, ("b", "c", 1, "d")) == 5
    assert line_of(text, ("e", 1, "f")) == 10
    assert line_of(text, ("e", 1, "g", "h")) == 12
    assert line_of(text, ("e", 1, "g", "i.j")) == 13
    assert line_of(text, ("nowhere",)) == 1


@given(st.integers(0, len(GOOD) - 1), st.integers(1, 40))
def test_damaged_files_are_refused_cleanly(tmp_path_factory: pytest.TempPathFactory, start: int, length: int) -> None:
    """A file with a hole in it loads or ends in a PartError, never in another exception."""
    folder = tmp_path_factory.mktemp("part")
    path = write(folder, GOOD[:start] + GOOD[start + length :])
    try:
        load_part(path)
    except PartError as error:
        assert str(folder) in error.message


def test_import_is_light() -> None:
    """Listing parts must not load the native simulators."""
    import subprocess

    code = "import sys; from tinysim.part import load_part; load_part('stm32h723zg'); print('numba' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
