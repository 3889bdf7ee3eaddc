"""What must hold for any sequence of accesses."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from shapes import part_of

from tinysim.memory.access import fetch, read, transfer, window
from tinysim.memory.config import MemoryConfig, configure
from tinysim.memory.settings import Settings
from tinysim.part import Part

FLASH, RAM = 0x08000000, 0x20000000
LINES = (
    '[flash]\nmemory = "flash"\nrow_bytes = 16\nprefetch = PREFETCH\n'
    '[flash.instruction_lines]\nline_bytes = 16\nsets = 1\nways = WAYS\nreplacement = "lru"\nfill = "row"\n'
    '[flash.data_lines]\nline_bytes = 16\nsets = 1\nways = WAYS\nreplacement = "lru"\nfill = "row"\n'
)
CACHE = (
    '[cache.data]\nsize = "SIZE"\nways = WAYS\nline_bytes = 32\nreplacement = "lru"\nline_fill_buffers = 2\n'
    '[[path]]\nmemories = ["ram"]\nslave = 2\ncacheable = true\narray_bus_cycles = 3\ntransport_core_cycles = 2\n'
    "row_bytes = 8\n"
)
words_of_code = st.lists(st.tuples(st.integers(0, 60), st.integers(1, 4)), min_size=1, max_size=150)
accesses = st.lists(
    st.tuples(st.integers(0, 600), st.sampled_from([1, 2, 4]), st.booleans(), st.integers(1, 20)),
    min_size=1,
    max_size=150,
)
quick = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[int, bool], Part]:
    found = {}
    for ways in (2, 3, 8):
        for prefetch in (False, True):
            folder: Path = tmp_path_factory.mktemp("lines")
            text = LINES.replace("WAYS", str(ways)).replace("PREFETCH", str(prefetch).lower())
            found[ways, prefetch] = part_of(folder, text)
    return found


@pytest.fixture(scope="module")
def caches(tmp_path_factory: pytest.TempPathFactory) -> dict[int, MemoryConfig]:
    """Eight sets each, of 1, 2 and 4 ways."""
    found = {}
    for ways in (1, 2, 4):
        folder: Path = tmp_path_factory.mktemp("cache")
        text = CACHE.replace("SIZE", str(8 * ways * 32)).replace("WAYS", str(ways))
        found[ways] = configure(part_of(folder, text, core="cortex-m7"), (), 20_000_000)
    return found


def run(part: Part, wait_states: int, code: list[tuple[int, int]]) -> tuple[int, int]:
    """(stall cycles, misses) of fetches at rows, with gaps."""
    config = configure(part, (), 20_000_000, settings=Settings(wait_states=wait_states))
    words = config.fresh()
    time = total = 0
    for row, gap in code:
        time += gap
        stall = fetch(words, FLASH + 16 * row, time)
        assert stall >= 0
        total += stall
        time += stall
    return total, config.counters(words).blocks["flash instruction lines"].misses


@quick
@given(words_of_code)
def test_more_lines_never_miss_more(lines: dict[tuple[int, bool], Part], code: list[tuple[int, int]]) -> None:
    """The inclusion property of least recently used."""
    few, more, many = (run(lines[ways, False], 5, code) for ways in (2, 3, 8))
    assert few[1] >= more[1] >= many[1] >= len({row for row, _ in code})
    assert few[0] >= more[0] >= many[0]


@quick
@given(words_of_code, st.booleans())
def test_wait_states_cost(lines: dict[tuple[int, bool], Part], code: list[tuple[int, int]], prefetch: bool) -> None:
    """Nothing without wait states but the port's turn; never more than each access waiting for two whole reads."""
    none, _ = run(lines[3, prefetch], 0, code)
    assert none == 0 or prefetch
    cost, _ = run(lines[3, prefetch], 5, code)
    assert cost <= len(code) * 2 * 6
    if not prefetch:
        repeated = [(row, 9) for row, _ in code]
        cost, misses = run(lines[3, False], 5, repeated)
        assert cost == 5 * misses


@quick
@given(accesses)
def test_caches_include_smaller_ones(
    caches: dict[int, MemoryConfig], stream: list[tuple[int, int, bool, int]]
) -> None:
    """The same sets with more ways: what the smaller cache has, the larger has; every line fill is accounted for."""
    misses = []
    for config in caches.values():
        words = config.fresh()
        time = 0
        for word, size, writes, gap in stream:
            time += gap
            stall = transfer(words, RAM + 4 * word, 1, size, writes, time)
            assert 0 <= stall <= 200
            assert not (writes and stall)
        block = config.counters(words).blocks["data cache"]
        assert block.accesses == len(stream)
        assert block.evictions <= sum(writes for _, _, writes, _ in stream)
        misses.append(block.misses + block.store_misses)
    assert misses == sorted(misses, reverse=True)
    assert misses[-1] >= len({word // 8 for word, _, _, _ in stream})


@quick
@given(st.integers(0, 8000), st.integers(1, 8))
def test_transfer_is_its_words(lines: dict[tuple[int, bool], Part], word: int, count: int) -> None:
    """A multiple transfer waits for the sum of its words' waits, each asked for when the one before has come."""
    config = configure(lines[8, False], (), 100_000_000)
    whole, single = config.fresh(), config.fresh()
    address, time, total = FLASH + 4 * word, 50, 0
    for number in range(count):
        at = address + 4 * number
        stall = read(single, window(single, at), at, time)
        total += stall
        time += 1 + stall
    assert transfer(whole, address, count, 4, False, 50) == total
