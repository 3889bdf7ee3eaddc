"""What a part file says about its memory system: flash rows and lines, caches, buses, control registers.

All cycles are whole; a *core* cycle is one of the core's clock, a *bus* cycle one of the clock in front of flash (the
same but on fast Cortex-M7 parts). Every table of the file carries its source, which the part keeps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from tinysim.tomlfile import Table

__all__ = [
    "Cache",
    "Control",
    "Fill",
    "FlashLines",
    "Lines",
    "MemoryDescription",
    "Path",
    "Replacement",
    "Setting",
    "read_memory",
]


class Replacement(StrEnum):
    """Which line makes room."""

    LRU = "lru"
    FIFO = "fifo"
    RANDOM = "random"
    ROUND_ROBIN = "round-robin"


class Fill(StrEnum):
    """What a miss of a flash line reads."""

    ROW = "row"
    """Only the requested row."""
    WRAP = "wrap"
    """The requested row first, then the rest of the line, wrapping, in the background."""
    TO_END = "to-end"
    """The requested row first, then the rows up to the line's end, in the background."""
    BLOCKING = "blocking"
    """The whole line, and the core waits for all of it."""
    FROM_START = "from-start"
    """The line from its start; the core waits for its row only."""


class Setting(StrEnum):
    """What a field of a control register switches or sets."""

    WAIT_STATES = "wait_states"
    PREFETCH = "prefetch"
    INSTRUCTION_LINES = "instruction_lines"
    DATA_LINES = "data_lines"
    LINES = "lines"
    """Both kinds of flash lines at once."""
    INSTRUCTION_CACHE = "instruction_cache"
    DATA_CACHE = "data_cache"


@dataclass(frozen=True, slots=True)
class Lines:
    """One set of flash lines: ``sets`` x ``ways`` lines of ``line_bytes``."""

    line_bytes: int
    sets: int
    ways: int
    replacement: Replacement
    fill: Fill


@dataclass(frozen=True, slots=True)
class FlashLines:
    """A flash accelerator: what stands between flash and the core on the window that starts at ``window``.

    ``row_bytes``: what one read delivers. ``unified``: ``instruction`` serves data too (``data`` is then None).
    """

    memory: str
    window: int | None
    row_bytes: int
    prefetch: bool
    instruction: Lines | None
    data: Lines | None
    unified: bool


@dataclass(frozen=True, slots=True)
class Cache:
    """One L1 cache.

    ``eviction_cycles``: added to a miss that evicts a dirty line; ``store_miss_cycles``: what a store that misses
    waits.
    """

    size_bytes: int
    ways: int
    line_bytes: int
    replacement: Replacement
    line_fill_buffers: int
    eviction_cycles: int
    store_miss_cycles: int


@dataclass(frozen=True, slots=True)
class Path:
    """How the core reaches some memories.

    ``slave``: number of the bus slave (1 to 14), the same for memories behind one port. ``first_load_cycles``: extra
    for the first load of a run. ``fetch_cycles``, ``read_cycles``, ``write_cycles``: extra on every access that no
    cache answers. A line fill takes the array's cycles (``array_bus_cycles``, plus the wait states where
    ``wait_states``) and ``transport`` (core plus bus cycles); the array delivers ``row_bytes`` at a time.
    ``cacheable``: L1 caches keep it.
    """

    memories: tuple[str, ...]
    window: int | None
    slave: int
    first_load_cycles: int
    fetch_cycles: int
    fetch_row_bytes: int
    read_cycles: int
    write_cycles: int
    cacheable: bool
    wait_states: bool
    array_bus_cycles: int
    transport_core_cycles: int
    transport_bus_cycles: int
    row_bytes: int


@dataclass(frozen=True, slots=True)
class Control:
    """A control register that sets up the memory system: fields as (lowest bit, width), value at reset, value to start
    with.

    ``startup`` is what a vendor's start-up code writes, without the wait states, which go with the clock; None: it
    writes nothing.
    """

    name: str
    address: int
    reset: int
    startup: int | None
    fields: Mapping[Setting, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class MemoryDescription:
    """Everything a part file says about its memory system."""

    flash: FlashLines | None
    instruction_cache: Cache | None
    data_cache: Cache | None
    paths: tuple[Path, ...]
    controls: tuple[Control, ...]


def read_memory(root: Table, names: frozenset[str], fact: Callable[[Table], None]) -> MemoryDescription | None:
    """Read the tables ``flash``, ``cache``, ``path`` and ``control`` of a part file; None when there is none of them.

    ``names``: the part's memories. ``fact`` is called with each table to take its source. Raises PartError.
    """
    flash, caches = root.table("flash"), root.table("cache")
    paths, controls = root.tables("path"), root.tables("control")
    if flash is None and caches is None and not paths and not controls:
        return None
    instruction = caches.table("instruction") if caches else None
    data = caches.table("data") if caches else None
    if caches:
        caches.close()
    return MemoryDescription(
        _flash(flash, names, fact) if flash else None,
        _cache(instruction, fact) if instruction else None,
        _cache(data, fact) if data else None,
        tuple(_path(table, names, fact) for table in paths),
        tuple(_control(table, fact) for table in controls),
    )


def _power_of_two(table: Table, key: str, low: int, high: int) -> int:
    value = table.integer(key, low=low, high=high)
    if value & (value - 1):
        raise table.error(f"{value} is not a power of two", key)
    return value


def _flash(table: Table, names: frozenset[str], fact: Callable[[Table], None]) -> FlashLines:
    fact(table)
    memory = table.string("memory")
    if memory not in names:
        raise table.error(f"no memory {memory!r}", "memory", hint=f"there are {', '.join(sorted(names))}")
    row = _power_of_two(table, "row_bytes", 4, 64)
    window = table.integer("window", high=2**32 - 1) if "window" in table else None
    prefetch = table.flag("prefetch")
    unified = table.table("lines")
    instruction, data = table.table("instruction_lines"), table.table("data_lines")
    if unified is not None and (instruction is not None or data is not None):
        raise table.error("gives both common lines and lines for one side", "lines")
    table.close()
    return FlashLines(
        memory,
        window,
        row,
        prefetch,
        _lines(unified, row, fact) if unified else _lines(instruction, row, fact) if instruction else None,
        _lines(data, row, fact) if data else None,
        unified is not None,
    )


def _lines(table: Table, row_bytes: int, fact: Callable[[Table], None]) -> Lines:
    fact(table)
    line = _power_of_two(table, "line_bytes", row_bytes, 256)
    found = Lines(
        line,
        _power_of_two(table, "sets", 1, 4096),
        table.integer("ways", low=1, high=1024),
        table.choice("replacement", Replacement),
        table.choice("fill", Fill),
    )
    table.close()
    return found


def _cache(table: Table, fact: Callable[[Table], None]) -> Cache:
    fact(table)
    size, ways = table.size("size"), table.integer("ways", low=1, high=64)
    line = _power_of_two(table, "line_bytes", 16, 128)
    sets = size // (ways * line)
    if sets < 1 or sets * ways * line != size or sets & (sets - 1):
        raise table.error(f"{size} bytes are not a power of two of sets of {ways} lines of {line} bytes", "size")
    found = Cache(
        size,
        ways,
        line,
        table.choice("replacement", Replacement),
        table.integer("line_fill_buffers", low=1, high=4),
        table.integer("eviction_cycles", high=1000) if "eviction_cycles" in table else 0,
        table.integer("store_miss_cycles", high=1000) if "store_miss_cycles" in table else 0,
    )
    table.close()
    return found


def _path(table: Table, names: frozenset[str], fact: Callable[[Table], None]) -> Path:
    fact(table)
    memories = table.strings("memories")
    for name in memories:
        if name not in names:
            raise table.error(f"no memory {name!r}", "memories", hint=f"there are {', '.join(sorted(names))}")

    def cycles(key: str) -> int:
        return table.integer(key, high=10_000) if key in table else 0

    cacheable = table.flag("cacheable") if "cacheable" in table else False
    found = Path(
        memories,
        table.integer("window", high=2**32 - 1) if "window" in table else None,
        table.integer("slave", low=1, high=14),
        cycles("first_load_cycles"),
        cycles("fetch_cycles"),
        _power_of_two(table, "fetch_row_bytes", 2, 64) if "fetch_row_bytes" in table else 4,
        cycles("read_cycles"),
        cycles("write_cycles"),
        cacheable,
        table.flag("wait_states") if "wait_states" in table else False,
        cycles("array_bus_cycles"),
        cycles("transport_core_cycles"),
        cycles("transport_bus_cycles"),
        _power_of_two(table, "row_bytes", 4, 256) if "row_bytes" in table else 8,
    )
    if cacheable and not found.array_bus_cycles:
        raise table.error("cacheable, but without array_bus_cycles", "cacheable", hint="say what a line fill takes")
    table.close()
    return found


def _control(table: Table, fact: Callable[[Table], None]) -> Control:
    fact(table)
    fields: dict[Setting, tuple[int, int]] = {}
    listed = table.need("fields")
    for key in listed:
        try:
            setting = Setting(key)
        except ValueError:
            known = ", ".join(member.value for member in Setting)
            raise listed.error("no such setting", key, hint=f"there are {known}") from None
        fields[setting] = _bits(listed, key)
    listed.close()
    found = Control(
        table.string("name"),
        table.integer("address", high=2**32 - 1),
        table.integer("reset", high=2**32 - 1),
        table.integer("startup", high=2**32 - 1) if "startup" in table else None,
        fields,
    )
    table.close()
    return found


def _bits(table: Table, key: str) -> tuple[int, int]:
    """``"3:0"`` or ``"9"`` as (lowest bit, width)."""
    text = table.string(key)
    high, _, low = text.partition(":")
    try:
        first, last = int(low or high), int(high)
    except ValueError:
        raise table.error(f"{text!r} is not a bit field", key, hint='write it like "3:0" or "9"') from None
    if not 0 <= first <= last <= 31:
        raise table.error(f"{text!r} is not a bit field of a 32-bit register", key)
    return first, last - first + 1
