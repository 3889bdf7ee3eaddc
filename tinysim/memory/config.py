"""Lay out a part's memory system for the native simulator: from its description, its settings and a clock to one flat
array.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tinysim.memory import layout as at
from tinysim.memory.counters import MemoryCounters, read_counters
from tinysim.memory.description import Cache, FlashLines, Lines, MemoryDescription, Path
from tinysim.memory.protection import Attributes
from tinysim.memory.settings import Settings, read_settings
from tinysim.part import Part, Region, RegionKind
from tinysim.units import format_hz

__all__ = ["MemoryConfig", "configure", "ideal"]

_REPLACEMENTS = {"lru": at.LRU, "fifo": at.FIFO, "random": at.RANDOM, "round-robin": at.ROUND_ROBIN}
_FILLS = {
    "row": at.FILL_ROW,
    "wrap": at.FILL_WRAP,
    "to-end": at.FILL_TO_END,
    "blocking": at.FILL_BLOCKING,
    "from-start": at.FILL_FROM_START,
}
_DEFAULT_PATH = Path((), None, 1, 0, 0, 4, 0, 0, False, False, 0, 0, 0, 8)


@dataclass(frozen=True, slots=True)
class MemoryConfig:
    """One memory system, cold. ``words`` is its flat array (`tinysim.memory.layout`); use a copy from :meth:`fresh`."""

    part: str
    clock_hz: int
    wait_states: int
    settings: Settings
    words: NDArray[np.int64]
    blocks: tuple[tuple[str, int], ...]
    warnings: tuple[str, ...] = ()

    def fresh(self) -> NDArray[np.int64]:
        """A cold memory system to run: an array that the access functions change."""
        return self.words.copy()

    def counters(self, words: NDArray[np.int64]) -> MemoryCounters:
        """What was counted in an array made by :meth:`fresh`."""
        return read_counters(words, self.blocks)


def ideal(part: Part, clock_hz: int | None = None) -> MemoryConfig:
    """The part's memories without wait states, caches or bus effects, on the slaves they are on: the core alone."""
    description = None
    if part.memory is not None:
        paths = tuple(
            dataclasses.replace(_DEFAULT_PATH, memories=path.memories, window=path.window, slave=path.slave)
            for path in part.memory.paths
        )
        description = MemoryDescription(None, None, None, paths, ())
    return _Builder(part, description, Settings(), clock_hz or part.default_clock_hz, 0).build(())


def configure(
    part: Part,
    register_writes: Iterable[tuple[int, int]],
    clock_hz: int,
    *,
    settings: Settings | None = None,
    description: MemoryDescription | None = None,
) -> MemoryConfig:
    """The memory system as a firmware's 32-bit register writes (address, value), in program order, set it up.

    ``settings`` replaces what the writes say (a user's wish); ``description`` the part's (one of its variants). Where
    no write sets wait states, the part's table gives them for the clock. Raises PartError when the clock is not
    allowed or has no data.
    """
    described = description or part.memory
    wanted = settings if settings is not None else read_settings(described, register_writes)
    needed = part.wait_states(clock_hz)
    used = needed if wanted.wait_states is None else wanted.wait_states
    warnings = []
    clock = format_hz(clock_hz)
    if used < needed:
        warnings.append(
            f"the firmware sets {used} wait states; {part.title} needs {needed} at {clock} and would not run"
        )
    elif used > needed:
        warnings.append(
            f"the firmware sets {used} wait states where {needed} would do for {part.title} at {clock}"
        )
    if settings is None and described is not None:
        warnings += [f"the firmware leaves the {what} of {part.title} switched off" for what in _off(described, wanted)]
    if described is None:
        warnings.append(f"{part.title} has no description of its memory system: memory is taken as ideal")
    return _Builder(part, described, wanted, clock_hz, used).build(tuple(warnings))


def _off(description: MemoryDescription, settings: Settings) -> list[str]:
    """Caches and flash lines that the part has and the settings leave off."""
    flash = description.flash
    have = {
        "flash instruction lines": (flash is not None and flash.instruction is not None, settings.instruction_lines),
        "flash data lines": (flash is not None and flash.data is not None, settings.data_lines),
        "instruction cache": (description.instruction_cache is not None, settings.instruction_cache),
        "data cache": (description.data_cache is not None, settings.data_cache),
    }
    return [name for name, (there, on) in have.items() if there and not on]


class _Builder:
    def __init__(
        self, part: Part, description: MemoryDescription | None, settings: Settings, clock_hz: int, wait_states: int
    ) -> None:
        self.part = part
        self.description = description
        self.settings = settings
        self.clock_hz = clock_hz
        self.wait_states = wait_states
        self.divider = part.bus_divider(clock_hz)
        self.words: list[int] = [0] * (at.PAGES + at.PAGE_WORDS)
        self.words[at.H_KIND] = at.KIND_SIMULATED
        for entry in range(at.RECENT_LINES):
            self.words[at.RECENT + entry * at.RECENT_WORDS + at.R_LINE] = -1
        self.blocks: list[tuple[str, int]] = []

    def build(self, warnings: tuple[str, ...]) -> MemoryConfig:
        edges = self._edges()
        first = len(self.words)
        self.words += [0] * (at.WINDOW_WORDS * len(edges))
        fetch_lines, data_lines = self._flash_blocks()
        caches = self._cache_blocks()
        for number, (base, end) in enumerate(zip(edges, [*edges[1:], 1 << 32], strict=True)):
            w = first + number * at.WINDOW_WORDS
            self.words[w + at.W_BASE], self.words[w + at.W_END] = base, end
            self._window(w, base, fetch_lines, data_lines, caches)
        for page in range(at.PAGE_WORDS):
            start = page << at.PAGE_SHIFT
            number = next(n for n in range(len(edges) - 1, -1, -1) if edges[n] <= start)
            self.words[at.PAGES + page] = first + number * at.WINDOW_WORDS
        self.words[at.H_WINDOWS], self.words[at.H_WINDOW_COUNT] = first, len(edges)
        return MemoryConfig(
            self.part.name,
            self.clock_hz,
            self.wait_states,
            self.settings,
            np.array(self.words, np.int64),
            tuple(self.blocks),
            warnings,
        )

    def _edges(self) -> list[int]:
        """Where windows begin: memories, and where the MPU changes attributes inside one."""
        edges = {0}
        for region in self.part.regions:
            for base, size in region.windows:
                edges |= {base, base + size}
        edges.update(
            edge for edge in self.settings.protection.boundaries() if self.part.region_at(edge) is not None
        )
        return sorted(edge for edge in edges if edge < 1 << 32)

    def _region(self, address: int) -> tuple[Region, int] | None:
        """The memory at an address, and the base of the window it is seen through there."""
        for region in self.part.regions:
            for base, size in region.windows:
                if base <= address < base + size:
                    return region, base
        return None

    def _path(self, region: Region, window: int) -> Path:
        if self.description is not None:
            matching = [path for path in self.description.paths if region.name in path.memories]
            for path in sorted(matching, key=lambda path: path.window is None):
                if path.window in (None, window):
                    return path
        return _DEFAULT_PATH

    def _window(self, w: int, base: int, fetch_lines: int, data_lines: int, caches: tuple[int, int]) -> None:
        words = self.words
        words[w + at.W_FETCH_ROW] = 4
        words[w + at.W_ROW] = 4
        words[w + at.W_SLAVE] = at.SLAVE_OTHER
        words[w + at.W_PORT] = at.PORTS + at.SLAVE_OTHER
        found = self._region(base)
        if found is None:
            return
        region, window = found
        path = self._path(region, window)
        attributes = self.settings.protection.attributes(base)
        slave = path.slave if path is not _DEFAULT_PATH or not region.kind.writable else 2
        words[w + at.W_SLAVE] = slave
        words[w + at.W_PORT] = at.PORTS + slave
        words[w + at.W_FIRST] = words[at.FIRST_LOADS + slave] = path.first_load_cycles
        array = path.array_bus_cycles + (self.wait_states if path.wait_states else 0)
        words[w + at.W_ARRAY] = array * self.divider
        words[w + at.W_TRANSPORT] = path.transport_core_cycles + path.transport_bus_cycles * self.divider
        words[w + at.W_ROW] = path.row_bytes
        uncached = words[w + at.W_ARRAY] + words[w + at.W_TRANSPORT]
        words[w + at.W_FETCH_EXTRA] = path.fetch_cycles + uncached
        words[w + at.W_READ_EXTRA] = path.read_cycles + uncached
        words[w + at.W_WRITE_EXTRA] = path.write_cycles
        words[w + at.W_FETCH_ROW] = path.fetch_row_bytes
        flash = self.description.flash if self.description else None
        if flash and flash.memory == region.name and flash.window in (None, window):
            words[w + at.W_FETCH_PATH] = words[w + at.W_DATA_PATH] = at.PATH_LINES
            words[w + at.W_FETCH_BLOCK], words[w + at.W_DATA_BLOCK] = fetch_lines, data_lines
        elif path.cacheable:
            self._cached(w, region, attributes, caches)

    def _cached(self, w: int, region: Region, attributes: Attributes, caches: tuple[int, int]) -> None:
        if not attributes.cacheable:
            return
        instruction, data = caches
        words = self.words
        if instruction and self.settings.instruction_cache:
            words[w + at.W_FETCH_PATH], words[w + at.W_FETCH_BLOCK] = at.PATH_CACHE, instruction
        if data and self.settings.data_cache:
            words[at.H_DATA_CACHE] = data
            words[w + at.W_DATA_PATH], words[w + at.W_DATA_BLOCK] = at.PATH_CACHE, data
        writable = region.kind not in (RegionKind.FLASH, RegionKind.EXTERNAL_FLASH)
        words[w + at.W_WRITE_BACK] = int(writable and attributes.write_back)
        words[w + at.W_ALLOCATE] = int(writable and attributes.write_allocate)

    def _flash_blocks(self) -> tuple[int, int]:
        flash = self.description.flash if self.description else None
        if flash is None:
            return 0, 0
        port = at.PORTS + self._path(self.part.region(flash.memory), flash.window or -1).slave
        settings = self.settings
        fetch = self._lines(
            "flash instruction lines", flash, flash.instruction, settings.instruction_lines, port,
            prefetch=flash.prefetch and settings.prefetch,
        )
        if flash.unified:
            return fetch, fetch
        return fetch, self._lines("flash data lines", flash, flash.data, settings.data_lines, port, prefetch=False)

    def _lines(
        self, name: str, flash: FlashLines, lines: Lines | None, enabled: bool, port: int, *, prefetch: bool
    ) -> int:
        """Append one block of flash lines; without lines only the current row is kept."""
        block = len(self.words)
        self.blocks.append((name, block))
        sets, ways = (lines.sets, lines.ways) if lines else (1, 1)
        line_bytes = lines.line_bytes if lines else flash.row_bytes
        slots, rows = sets * ways, line_bytes // flash.row_bytes
        head = [0] * at.LINES_WORDS
        head[at.S_SETS], head[at.S_WAYS] = sets, ways
        head[at.S_ROW_SHIFT] = flash.row_bytes.bit_length() - 1
        head[at.S_ROWS_SHIFT] = rows.bit_length() - 1
        head[at.S_REPLACEMENT] = _REPLACEMENTS[lines.replacement] if lines else at.LRU
        head[at.S_FILL] = _FILLS[lines.fill] if lines else at.FILL_ROW
        head[at.S_WAIT], head[at.S_ROW_CYCLES] = self.wait_states, self.wait_states + 1
        head[at.S_ENABLED] = int(lines is not None and enabled)
        head[at.S_PREFETCH] = int(prefetch)
        head[at.S_PORT] = port
        head[at.S_LAST] = head[at.S_NEXT_ROW] = -1
        head[at.S_RANDOM] = 1
        head[at.S_TAGS] = at.LINES_WORDS
        head[at.S_STAMPS] = head[at.S_TAGS] + slots
        head[at.S_ROWS_READY] = head[at.S_STAMPS] + slots
        head[at.S_HINTS] = head[at.S_ROWS_READY] + slots * rows
        head[at.S_PRESENT] = head[at.S_HINTS] + at.HINT_WORDS
        self.words += head + [-1] * slots + [0] * slots + [at.NEVER] * (slots * rows) + [0] * (2 * at.HINT_WORDS)
        return block

    def _cache_blocks(self) -> tuple[int, int]:
        if self.description is None:
            return 0, 0
        return (
            self._cache("instruction cache", self.description.instruction_cache),
            self._cache("data cache", self.description.data_cache),
        )

    def _cache(self, name: str, cache: Cache | None) -> int:
        if cache is None:
            return 0
        block = len(self.words)
        self.blocks.append((name, block))
        slots = cache.size_bytes // cache.line_bytes
        head = [0] * at.CACHE_WORDS
        head[at.C_SETS], head[at.C_WAYS] = slots // cache.ways, cache.ways
        head[at.C_LINE_SHIFT] = cache.line_bytes.bit_length() - 1
        head[at.C_REPLACEMENT] = _REPLACEMENTS[cache.replacement]
        head[at.C_BUFFERS] = cache.line_fill_buffers
        head[at.C_EVICTION], head[at.C_STORE_MISS] = cache.eviction_cycles, cache.store_miss_cycles
        head[at.C_LAST] = -1
        head[at.C_RANDOM] = 1
        offset = at.CACHE_WORDS
        for table in (
            at.C_TAGS, at.C_STAMPS, at.C_DIRTY, at.C_DONE, at.C_FIRST, at.C_CRITICAL, at.C_STEP, at.C_ROW_SHIFT
        ):
            head[table] = offset
            offset += slots
        self.words += head + [-1] * slots + [0] * (7 * slots)
        return block
