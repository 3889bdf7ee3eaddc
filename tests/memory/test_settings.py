"""What register writes switch on: control registers, the MPU, and what they do to the memory system."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shapes import part_of

from tinysim.errors import PartError
from tinysim.memory import layout as at
from tinysim.memory.access import read, window, write
from tinysim.memory.config import configure
from tinysim.memory.protection import Attributes, read_protection
from tinysim.memory.settings import Settings, read_settings, startup_writes
from tinysim.part import load_part

CACHES = """
[cache.data]
size = "4K"
ways = 4
line_bytes = 32
replacement = "lru"
line_fill_buffers = 2
[[path]]
memories = ["ram"]
slave = 2
cacheable = true
array_bus_cycles = 5
transport_core_cycles = 5
row_bytes = 8
[[control]]
name = "CCR"
address = 0xE000ED14
reset = 0
startup = 0x10000
fields = { data_cache = "16" }
"""
BACK_ALLOCATE = Attributes(True, True, True)
BACK = Attributes(True, True, False)
THROUGH = Attributes(True, False, False)
UNCACHED = Attributes(False, False, False)


def test_flash_acr() -> None:
    """The settings published firmware uses, read from its own writes."""
    memory = load_part("stm32l4r5zi").memory
    acr = 0x40022000
    reset = read_settings(memory, ())
    assert (reset.wait_states, reset.prefetch, reset.instruction_lines, reset.data_lines) == (None, False, True, True)
    vendor = read_settings(memory, [(acr, 0x604), (acr, 0x705)])
    assert (vendor.wait_states, vendor.prefetch, vendor.instruction_lines, vendor.data_lines) == (5, True, True, True)
    off = read_settings(memory, [(acr, 0x5), (0x40000000, 0xFFFFFFFF)])
    assert (off.wait_states, off.prefetch, off.instruction_lines, off.data_lines) == (5, False, False, False)


def test_caches_and_accelerator() -> None:
    memory = load_part("stm32f746ng").memory
    reset = read_settings(memory, ())
    assert not (reset.instruction_cache or reset.data_cache or reset.instruction_lines or reset.prefetch)
    vendor = read_settings(memory, [(0x40023C00, 0x307), (0xE000ED14, 0x20200), (0xE000ED14, 0x30200)])
    assert vendor.wait_states == 7
    assert vendor.instruction_cache and vendor.data_cache and vendor.instruction_lines and vendor.prefetch
    nordic = load_part("nrf52840").memory
    assert not read_settings(nordic, ()).instruction_lines
    assert read_settings(nordic, [(0x4001E540, 1)]).instruction_lines


def test_wait_states_and_warnings() -> None:
    part = load_part("stm32l4r5zi")
    acr = 0x40022000
    assert startup_writes(part, 120_000_000) == ((acr, 0x605),)
    assert startup_writes(part, 20_000_000) == ((acr, 0x600),)
    unset = configure(part, (), 80_000_000)
    assert unset.wait_states == 3 and unset.warnings == ()
    slow = configure(part, [(acr, 0x605)], 80_000_000)
    assert slow.wait_states == 5 and "where 3 would do" in slow.warnings[0]
    wrong = configure(part, [(acr, 0x602)], 80_000_000)
    assert wrong.wait_states == 2 and "would not run" in wrong.warnings[0]
    bare = configure(load_part("stm32f746ng"), [(0x40023C00, 0x307)], 216_000_000)
    assert [warning.split(" of ")[0] for warning in bare.warnings] == [
        "the firmware leaves the instruction cache",
        "the firmware leaves the data cache",
    ]
    with pytest.raises(PartError, match="maximum"):
        configure(part, (), 121_000_000)
    with pytest.raises(PartError, match="no wait-state table"):
        configure(load_part("apollo3-blue"), (), 48_000_000)


def test_default_map() -> None:
    default = read_protection(())
    assert default.attributes(0x08000000) == THROUGH
    assert default.attributes(0x24000000) == BACK_ALLOCATE
    assert default.attributes(0x40000000) == UNCACHED
    assert default.attributes(0x60000000) == BACK_ALLOCATE
    assert default.attributes(0x80000000) == THROUGH
    assert default.attributes(0xA0000000) == UNCACHED


def test_mpu_regions() -> None:
    """Two regions, the second over the first; a disabled eighth falls through to what is below."""
    normal_through = 1 << 17                                  # TEX 0, C 1, B 0
    normal_allocate = 1 << 19 | 1 << 17 | 1 << 16             # TEX 1, C 1, B 1
    size_1k, size_4k = 9 << 1, 11 << 1
    writes = [
        (0xE000ED98, 0),
        (0xE000ED9C, 0x24000000),
        (0xE000EDA0, normal_through | size_4k | 1),
        (0xE000ED9C, 0x24000400 | 0x10 | 3),                  # VALID: region 3
        (0xE000EDA0, 1 << 19 | size_1k | 0x01 << 8 | 1),      # TEX 1, C 0, B 0: not cacheable; first eighth disabled
        (0xE000EDA4, 0x30000000 | 0x10 | 4),                  # alias registers
        (0xE000EDA8, normal_allocate | 1 << 18 | size_1k | 1),  # shareable
    ]
    assert read_protection(writes).regions == ()              # the MPU is not switched on
    protection = read_protection([*writes, (0xE000ED94, 5)])
    assert [region.number for region in protection.regions] == [0, 3, 4]
    assert protection.attributes(0x24000000) == THROUGH
    assert protection.attributes(0x24000400) == THROUGH       # disabled eighth of region 3
    assert protection.attributes(0x24000480) == UNCACHED
    assert protection.attributes(0x24000800) == THROUGH
    assert protection.attributes(0x24001000) == BACK_ALLOCATE  # default map
    assert protection.attributes(0x30000000) == UNCACHED
    assert 0x24000480 in protection.boundaries()


@pytest.mark.parametrize(
    ("bits", "attributes"),
    [
        (0, UNCACHED),
        (1 << 16, UNCACHED),
        (1 << 17, THROUGH),
        (3 << 16, BACK),
        (1 << 19, UNCACHED),
        (1 << 19 | 3 << 16, BACK_ALLOCATE),
        (2 << 19, UNCACHED),
        (4 << 19, UNCACHED),
        (5 << 19 | 1 << 16, BACK_ALLOCATE),
        (6 << 19 | 2 << 16, THROUGH),
        (7 << 19 | 3 << 16, BACK),
        (7 << 19 | 3 << 16 | 1 << 18, UNCACHED),
    ],
)
def test_attribute_encoding(bits: int, attributes: Attributes) -> None:
    """ARMv7-M, table B3-13 and B3-14; shareable memory is not cached."""
    protection = read_protection([(0xE000ED9C, 0x20000000), (0xE000EDA0, bits | 15 << 1 | 1), (0xE000ED94, 1)])
    assert protection.attributes(0x20000000) == attributes


def test_mpu_splits_a_memory(tmp_path: Path) -> None:
    """Half of a memory not cacheable: its reads pay each time, the other half's once a line."""
    part = part_of(tmp_path, CACHES, core="cortex-m7")
    writes = [
        (0xE000ED14, 0x10000),
        (0xE000ED9C, 0x20008000 | 0x10),
        (0xE000EDA0, 1 << 19 | 14 << 1 | 1),
        (0xE000ED94, 5),
    ]
    config = configure(part, writes, 20_000_000)
    words = config.fresh()

    def late(address: int) -> int:
        return int(read(words, window(words, address), address, 1000))

    assert [late(0x20000000), late(0x20000004)] == [10, 10]
    words = config.fresh()
    assert [late(0x20008000), late(0x20008004)] == [10, 10]
    assert config.counters(words).blocks["data cache"].accesses == 0
    off = configure(part, (), 20_000_000).fresh()
    assert read(off, window(off, 0x20000000), 0x20000000, 0) == 10


def test_write_through_keeps_nothing_dirty(tmp_path: Path) -> None:
    part = part_of(tmp_path, CACHES, core="cortex-m7")
    through = [(0xE000ED9C, 0x20000010), (0xE000EDA0, 1 << 17 | 15 << 1 | 1), (0xE000ED94, 5)]
    for writes, evictions in (([(0xE000ED14, 0x10000)], 4), ([(0xE000ED14, 0x10000), *through], 0)):
        config = configure(part, writes, 20_000_000)
        words = config.fresh()
        for number in range(8):
            address = 0x20000000 + 1024 * number
            read(words, window(words, address), address, 100 * number)
            write(words, window(words, address), address, 100 * number + 50)
        assert config.counters(words).blocks["data cache"].evictions == evictions


@given(st.integers(0, 2**32 - 1))
def test_windows_cover_every_address(address: int) -> None:
    """Each address is in exactly one window, and in that of its memory."""
    part = load_part("stm32h723zg")
    config = configure(part, startup_writes(part, 550_000_000), 550_000_000)
    w = window(config.words, address)
    assert config.words[w + at.W_BASE] <= address < config.words[w + at.W_END]
    region = part.region_at(address)
    if region is None:
        assert config.words[w + at.W_SLAVE] == at.SLAVE_OTHER
    else:
        assert region.base <= config.words[w + at.W_BASE] and config.words[w + at.W_END] <= region.end


def test_settings_of_a_part_without_registers() -> None:
    assert read_settings(None, [(0x40022000, 0)]) == Settings()
