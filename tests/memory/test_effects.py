"""Each effect of a memory system by itself, on the parts whose data states it."""

from __future__ import annotations

import itertools
import random
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinysim.memory.access import fetch, first_load, read, slave_of, transfer, window, write
from tinysim.memory.config import MemoryConfig, configure, ideal
from tinysim.memory.settings import read_settings, startup_writes
from tinysim.part import load_part
from tinysim.units import parse_hz

EFFECTS = tomllib.loads((Path(__file__).parent / "effects.toml").read_text())["effect"]


def config_of(effect: dict[str, Any]) -> MemoryConfig:
    part = load_part(effect["part"])
    clock_hz = parse_hz(effect["clock"])
    description = part.memory
    if "variant" in effect:
        description = next(variant.memory for variant in part.variants if variant.name == effect["variant"])
    writes = startup_writes(part, clock_hz)
    settings = read_settings(description, writes).replace(**effect.get("settings", {}))
    if part.name == "stm32f407vg" and "settings" not in effect:
        assert settings.prefetch and settings.instruction_lines and settings.data_lines
    return configure(part, writes, clock_hz, settings=settings, description=description)


def drive(words: np.ndarray, accesses: dict[str, Any], time: int) -> tuple[int, int]:
    """Makes the accesses, as a core that waits for each; returns (their stalls in all, the time after)."""
    gaps = accesses["gap"] if isinstance(accesses["gap"], list) else [accesses["gap"]]
    total = 0
    address = accesses["at"]
    for _, gap in zip(range(accesses["count"]), itertools.cycle(gaps), strict=False):
        if accesses["to"] == "fetch":
            stall = fetch(words, address, time)
        elif accesses["to"] == "read":
            stall = read(words, window(words, address), address, time)
        else:
            stall = write(words, window(words, address), address, time)
        total += stall
        time += gap + stall
        address += accesses["step"]
    return total, time


@pytest.mark.parametrize("effect", EFFECTS, ids=[effect["name"] for effect in EFFECTS])
def test_effect(effect: dict[str, Any]) -> None:
    assert effect["source"]
    config = config_of(effect)
    words = config.fresh()
    total, time = 0, 1000
    for accesses in effect["run"]:
        total, time = drive(words, accesses, time)
    measured = effect["run"][-1]["count"]
    per = effect.get("per", measured)
    assert total * per / measured == pytest.approx(effect["expected"], abs=effect.get("tolerance", 0) + 1e-9)
    if "evictions" in effect:
        assert config.counters(words).blocks["data cache"].evictions == effect["evictions"]


def per_line(part: str, address: int, wait_states: int) -> float:
    """Stall cycles for each 32-byte line of an int8 dense layer's weights: a word read every third cycle."""
    chosen = load_part(part)
    clock_hz = chosen.max_clock_hz
    settings = read_settings(chosen.memory, startup_writes(chosen, clock_hz)).replace(wait_states=wait_states)
    config = configure(chosen, (), clock_hz, settings=settings)
    words = config.fresh()
    total, _ = drive(words, {"to": "read", "at": address, "count": 8000, "step": 4, "gap": 3}, 1000)
    return total / 1000


def test_moving_weights_to_axi_sram() -> None:
    """The cleanest measurement there is: the same instructions, weights in flash or AXI SRAM: 9.1 a line."""
    saved = per_line("stm32h7a3zi-q", 0x08010000, 7) - per_line("stm32h7a3zi-q", 0x24000000, 7)
    assert saved == pytest.approx(9.1, abs=0.5)


def test_evictions_that_cost(tmp_path: Path) -> None:
    """Where a part says so, a miss that evicts a dirty line and a store that misses wait."""
    from shapes import part_of

    part = part_of(
        tmp_path,
        '[cache.data]\nsize = "1K"\nways = 2\nline_bytes = 32\nreplacement = "lru"\nline_fill_buffers = 2\n'
        "eviction_cycles = 7\nstore_miss_cycles = 3\n"
        '[[path]]\nmemories = ["ram"]\nslave = 2\ncacheable = true\narray_bus_cycles = 2\ntransport_core_cycles = 4\n'
        "row_bytes = 8\n",
        core="cortex-m7",
    )
    config = configure(part, (), 20_000_000)
    words = config.fresh()
    assert drive(words, {"to": "write", "at": 0x20000000, "count": 2, "step": 512, "gap": 9}, 0)[0] == 2 * 3
    assert drive(words, {"to": "write", "at": 0x20000000, "count": 2, "step": 512, "gap": 9}, 100)[0] == 0
    assert drive(words, {"to": "read", "at": 0x20000400, "count": 1, "step": 4, "gap": 9}, 200)[0] == 6 + 7
    block = config.counters(words).blocks["data cache"]
    assert (block.store_misses, block.evictions, block.misses, block.accesses) == (2, 1, 1, 5)


def test_critical_word_first(tmp_path: Path) -> None:
    """The requested row first, then the others, wrapping; a hit on a row that is under way waits for it."""
    from shapes import part_of

    text = (
        '[cache.data]\nsize = "1K"\nways = 2\nline_bytes = 32\nreplacement = "lru"\nline_fill_buffers = BUFFERS\n'
        '[[path]]\nmemories = ["ram"]\nslave = 2\ncacheable = true\narray_bus_cycles = 10\ntransport_core_cycles = 4\n'
        "row_bytes = 8\n"
    )
    config = configure(part_of(tmp_path, text.replace("BUFFERS", "2"), core="cortex-m7"), (), 20_000_000)
    words = config.fresh()
    at = window(words, 0x20000010)

    def late(address: int, time: int) -> int:
        return int(read(words, at, address, time))

    assert late(0x20000010, 0) == 14                 # row 2: array 10, transport 4
    assert late(0x20000014, 14) == 0                 # same row
    assert late(0x20000018, 14) == 10                # row 3 is one array read later
    assert late(0x20000000, 14) == 20                # then row 0
    assert late(0x20000008, 14) == 30                # then row 1
    assert late(0x20000040, 14) == 40 - 15 + 1 + 14  # the port is busy with four rows from cycle 1 to 41
    # both buffers are taken: the first is free when its line is there, at 1 + 14 + 3 x 10 = 45
    assert late(0x20000080, 14) == 81 - 15 + 14
    buffers = configure(part_of(tmp_path, text.replace("BUFFERS", "1"), core="cortex-m7"), (), 20_000_000)
    words = buffers.fresh()
    late(0x20000010, 0)
    assert late(0x20000040, 0) == 44 + 14            # one buffer: waits until the line is there


def test_transfers() -> None:
    """A multiple transfer is one access a word; a word that crosses a boundary is two."""
    config = config_of({"part": "stm32l4r5zi", "clock": "120MHz"})
    words = config.fresh()
    assert transfer(words, 0x08010000, 4, 4, False, 100) == 5 + (6 - 2)   # two rows, 2 words and 2 cycles each
    assert config.counters(words).reads == 4
    words = config.fresh()
    assert transfer(words, 0x08010002, 1, 4, False, 100) == 5
    assert config.counters(words).reads == 2
    assert transfer(words, 0x08010006, 1, 4, False, 200) == 0
    assert transfer(words, 0x0801001E, 1, 4, False, 300) == 5             # into the next line
    assert transfer(words, 0x20000000, 8, 4, True, 300) == 0
    assert config.counters(words).writes == 8


@pytest.mark.parametrize("variant", [None, "caches replace the least recently used line"])
def test_short_cut_changes_nothing(variant: str | None) -> None:
    """What `transfer` knows of recent lines gives the stalls and events of the whole way through the cache."""
    generator = random.Random(5)
    effect = {"part": "stm32h7a3zi-q", "clock": "280MHz"} | ({"variant": variant} if variant else {})
    config = config_of(effect)
    quick, slow = config.fresh(), config.fresh()
    time = 0
    for _ in range(20_000):
        base = generator.choice([0x08000000, 0x08001000, 0x24000000, 0x24009000, 0x20000000, 0x40000000])
        address = base + 4 * generator.randrange(generator.choice([64, 2048]))
        writes = base >= 0x20000000 and generator.random() < 0.4
        time += generator.choice([1, 2, 20])
        found = transfer(quick, address, 1, 4, writes, time)
        at_window = window(slow, address)
        assert found == (write if writes else read)(slow, at_window, address, time)
    ours, theirs = config.counters(quick), config.counters(slow)
    assert ours == theirs
    assert ours.blocks["data cache"].evictions > 100 and ours.blocks["data cache"].misses > 1000


def test_slaves() -> None:
    words = config_of({"part": "stm32l4r5zi", "clock": "120MHz"}).fresh()
    flash, sram1, sram2, sram3 = (slave_of(words, at) for at in (0x08000000, 0x20000000, 0x10000000, 0x20040000))
    other = slave_of(words, 0x40000000)
    assert sram1 == sram2 and len({flash, sram1, sram3, other}) == 4
    assert [first_load(words, slave) for slave in (flash, sram1, sram3, other)] == [1, 1, 1, 0]


def test_ideal_memory_never_stalls() -> None:
    part = load_part("stm32h7a3zi-q")
    words = ideal(part).fresh()
    for region in part.regions:
        for base, size in region.windows:
            for address in (base, base + size - 4):
                assert fetch(words, address, 5) == 0
                assert transfer(words, address, 1, 4, False, 5) == 0
                assert transfer(words, address, 1, 4, True, 5) == 0
    assert slave_of(words, 0x08000000) != slave_of(words, 0x24000000)


def test_replay_is_deterministic() -> None:
    """Random replacement too: the same accesses cost the same."""
    config = config_of({"part": "stm32h7a3zi-q", "clock": "280MHz"})
    stream = {"to": "read", "at": 0x08000000, "count": 2000, "step": 4096 + 32, "gap": 1}
    first, second = config.fresh(), config.fresh()
    assert drive(first, stream, 0) == drive(second, stream, 0)
    assert np.array_equal(first, second)
    assert not np.array_equal(first, config.words)
