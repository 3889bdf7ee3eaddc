"""Read a part's two files into a Part, and refuse what is wrong with file, line and field."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from tinysim.energy import read_supplies
from tinysim.errors import PartError
from tinysim.memory.description import read_memory
from tinysim.part import (
    BusClock,
    Confidence,
    MeasuredError,
    Part,
    Peripheral,
    Price,
    Region,
    RegionKind,
    RegisterModel,
    Source,
    Variant,
    WaitStates,
)
from tinysim.repl import Entry, Platform, read_repl
from tinysim.tomlfile import Table, read_toml
from tinysim.units import format_hz

__all__ = ["MEMORY_MODELS", "SCHEMA", "read_part"]

SCHEMA = "tinysim.part/1"
MEMORY_MODELS = ("Memory.MappedMemory", "Memory.ArrayMemory")
REGISTERS = "registers"
"""The kind of a Renode memory that stands for a block of control registers: storage, but no memory of the part."""
_ROLES = ("code", "weights", "data", "arena", "stack")
_FPUS = ("fpv4-sp", "fpv5-sp", "fpv5-dp")


class Ledger:
    """Collects the sources of a file's tables: every table of facts must name one."""

    def __init__(self) -> None:
        self.sources: list[Source] = []

    def fact(self, table: Table) -> None:
        """Take a table's ``source``, ``confidence`` and optional ``note``. Raises PartError when one is missing."""
        if "source" not in table:
            raise table.error("values without a source", hint='add source = "..." and confidence = "documented"')
        source = table.string("source")
        confidence = table.choice("confidence", Confidence)
        note = table.string("note") if "note" in table else ""
        names = table.peek("memories") or [table.peek("name") or ""]
        field = " ".join([table.field(), ", ".join(str(name) for name in names)]).strip()
        self.sources.append(Source(field, source, confidence, table.line("source"), note))


def read_part(path: Path) -> Part:
    """The part described by a `.toml` file and its `.repl`. Raises PartError with file, line and field."""
    root = read_toml(path)
    ledger = Ledger()
    if root.string("schema") != SCHEMA:
        raise root.error(f"this is not a {SCHEMA} file", "schema", hint=f'the first line must be schema = "{SCHEMA}"')
    platform_path, kinds_source = _platform_file(root, ledger)
    platform = read_repl(platform_path)
    _refuse_commands(platform)
    regions = _regions(root, platform, ledger)
    clock = root.need("clock")
    ledger.fact(clock)
    maximum = clock.hz("max")
    clocks = tuple(_hz_of(clock, "only")) if "only" in clock else ()
    default = clock.hz("default") if "default" in clock else maximum
    if default > maximum:
        raise clock.error(f"{format_hz(default)} is above the maximum, {format_hz(maximum)}", "default")
    bus = _bus_clock(clock, ledger)
    clock.close()
    fpu = root.string("fpu")
    if fpu not in _FPUS:
        raise root.error(f"{fpu!r} is not one of {', '.join(_FPUS)}", "fpu")
    core = root.string("core")
    _check_core(root, platform, core)
    peripherals, interrupts = _peripherals(platform, {region.name for region in regions})
    names = frozenset(region.name for region in regions)
    memory = read_memory(root, names, ledger.fact)
    part = Part(
        name=root.string("name"),
        title=root.string("title"),
        vendor=root.string("vendor"),
        core=core,
        fpu=fpu,
        boards=root.strings("boards") if "boards" in root else (),
        regions=regions,
        placement=_placement(root, regions),
        max_clock_hz=maximum,
        default_clock_hz=default,
        fixed_clock=clocks == (maximum,),
        clocks_hz=clocks,
        bus_clock=bus,
        wait_table=_wait_states(root, ledger, regions, maximum, bus),
        peripherals=peripherals,
        registers=_registers(root, ledger),
        interrupt_count=interrupts,
        memory=memory,
        variants=_variants(root, ledger, names) if memory is not None else (),
        supplies=read_supplies(root, maximum, ledger.fact),
        price=_price(root, ledger),
        sources=(kinds_source, *ledger.sources),
        path=path,
        platform_path=platform_path,
        notes=root.strings("notes") if "notes" in root else (),
        models=_models(root, ledger, peripherals),
        systick_divider=_systick(root, ledger),
        error=_error(root, ledger),
    )
    root.close()
    return part


def _platform_file(root: Table, ledger: Ledger) -> tuple[Path, Source]:
    table = root.need("platform")
    ledger.fact(table)
    name = table.string("file") if "file" in table else root.path.with_suffix(".repl").name
    table.close()
    path = root.path.parent / name
    if not path.is_file():
        raise table.error(f"there is no platform description {path}", "file" if "file" in table else None)
    return path, ledger.sources.pop()


def _hz_of(clock: Table, key: str) -> list[int]:
    from tinysim.units import parse_hz

    return sorted(parse_hz(text) for text in clock.strings(key))


def _bus_clock(clock: Table, ledger: Ledger) -> BusClock | None:
    table = clock.table("bus")
    if table is None:
        return None
    ledger.fact(table)
    found = BusClock(table.hz("above"), table.integer("divider", low=2, high=8))
    table.close()
    return found


def _number(entry: Entry, key: str, path: str) -> int | None:
    value = entry.properties.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise PartError(f"{path}:{entry.property_lines.get(key, entry.line)}: {entry.name}.{key}: not a whole number")
    return value


def _regions(root: Table, platform: Platform, ledger: Ledger) -> tuple[Region, ...]:
    memories = root.need("memory")
    found: list[Region] = []
    for entry in platform.entries:
        if entry.type not in MEMORY_MODELS:
            continue
        size = _number(entry, "size", platform.path)
        bases = [place.address for place in entry.registrations if place.address is not None]
        if size is None or size <= 0 or not bases:
            raise PartError(f"{platform.path}:{entry.line}: {entry.name}: a memory needs an address and a size")
        table = memories.table(entry.name)
        if table is None:
            raise memories.error(
                f"the memory {entry.name!r} of {os.path.relpath(platform.path)}:{entry.line} is not described",
                hint=f'add [memory.{entry.name}] with its kind, such as kind = "sram"',
            )
        if "source" in table:
            ledger.fact(table)
        if table.get("kind") == REGISTERS:
            table.close()
            continue
        kind = table.choice("kind", RegionKind)
        executable = table.flag("executable") if "executable" in table else True
        table.close()
        found.append(Region(entry.name, bases[0], size, kind, executable, tuple(bases[1:])))
    try:
        memories.close()
    except PartError as error:
        raise PartError(error.message.replace("unknown key", "no such memory in the platform description")) from error
    if not found:
        raise memories.error("the platform description has no memory")
    _refuse_overlaps(found, platform)
    return tuple(found)


def _refuse_commands(platform: Platform) -> None:
    """ApplySVD only names registers; any other command of an init block would change what firmware sees."""
    for command in platform.commands:
        if command.text.split()[0] != "ApplySVD":
            raise PartError(
                f"{platform.path}:{command.line}: {command.entry}: the command {command.text!r} is not understood",
                hint="leave it out, or say it with a Tag",
            )


def _refuse_overlaps(regions: list[Region], platform: Platform) -> None:
    windows = sorted((base, base + size, region.name) for region in regions for base, size in region.windows)
    for (_, end, left), (base, _, right) in itertools.pairwise(windows):
        if base < end:
            entry = platform.entry(right)
            raise PartError(
                f"{platform.path}:{entry.line if entry else 1}: {right}: overlaps {left} at {base:#x}",
                hint="two memories cannot be at one address",
            )


def _placement(root: Table, regions: tuple[Region, ...]) -> Mapping[str, tuple[str, ...]]:
    table = root.need("placement")
    names = {region.name for region in regions}
    found = {}
    for role in _ROLES:
        choices = table.strings(role)
        if not choices:
            raise table.error("names no memory", role)
        for name in (name.strip() for choice in choices for name in choice.split("+")):
            if name not in names:
                raise table.error(f"no memory {name!r}", role, hint=f"there are {', '.join(sorted(names))}")
        found[role] = choices
    table.close()
    return MappingProxyType(found)


def _wait_states(
    root: Table, ledger: Ledger, regions: tuple[Region, ...], maximum_hz: int, bus: BusClock | None
) -> WaitStates | None:
    table = root.table("wait_states")
    if table is None:
        return None
    ledger.fact(table)
    of = table.string("of")
    if of not in {region.name for region in regions}:
        raise table.error(f"no memory {of!r}", "of")
    steps = []
    highest = 0
    for step in table.tables("table"):
        clock_hz = step.hz("max")
        if clock_hz <= highest:
            raise step.error("steps must rise", "max")
        highest = clock_hz
        steps.append((clock_hz, step.integer("wait_states", high=63)))
        step.close()
    if not steps:
        raise table.error("the table is empty", "table")
    needed = maximum_hz if bus is None or maximum_hz <= bus.above_hz else maximum_hz / bus.divider
    if highest < needed:
        raise table.error(f"ends at {format_hz(highest)}, below the part's {format_hz(needed)}", "table")
    table.close()
    return WaitStates(of, tuple(steps))


def _variants(root: Table, ledger: Ledger, names: frozenset[str]) -> tuple[Variant, ...]:
    """Each ``[[variant]]`` sets some values of the memory system anew: ``set = { "flash.data_lines.ways" = 4 }``."""
    found = []
    for table in root.tables("variant"):
        ledger.fact(table)
        changes = table.need("set")
        changed = root.changed({key: changes.get(key) for key in changes}, changes)
        memory = read_memory(changed, names, lambda table: Ledger().fact(table))
        assert memory is not None
        known = (
            table.string("confidence") == Confidence.DOCUMENTED
        )  # a setting that exists, such as an option byte's, is no doubt about another
        found.append(Variant(table.string("name"), memory, uncertain=not known))
        table.close()
    return tuple(found)


def _registers(root: Table, ledger: Ledger) -> tuple[RegisterModel, ...]:
    found = []
    for table in root.tables("register"):
        ledger.fact(table)
        follows = []
        for text in table.strings("follows") if "follows" in table else ():
            match = re.fullmatch(r"(\d+)(?::(\d+))?<(\d+)(?::(\d+))?", text)
            numbers = [int(number) if number else None for number in match.groups()] if match else []
            if not match or (numbers[1] is None) != (numbers[3] is None):
                raise table.error(
                    f"{text!r} does not say which bits repeat which",
                    "follows",
                    hint='write it like "25<24" or "3:2<1:0"',
                )
            high, low, from_high, from_low = numbers
            assert high is not None and from_high is not None
            status, control = high if low is None else low, from_high if from_low is None else from_low
            width = high - status + 1
            if width < 1 or width != from_high - control + 1 or high > 31 or from_high > 31:
                raise table.error(f"{text!r} joins fields of different width", "follows")
            follows.append((status, control, width))
        found.append(
            RegisterModel(
                table.string("name"),
                table.integer("address", high=2**32 - 1),
                table.integer("reset", high=2**32 - 1),
                tuple(follows),
                table.integer("ones", high=2**32 - 1) if "ones" in table else 0,
            )
        )
        table.close()
    return tuple(found)


def _models(root: Table, ledger: Ledger, peripherals: tuple[Peripheral, ...]) -> Mapping[str, str]:
    """``[models]``: a tag of the platform description -> the model of platforms/peripherals.toml that answers there."""
    table = root.table("models")
    if table is None:
        return MappingProxyType({})
    ledger.fact(table)
    tags = {peripheral.name for peripheral in peripherals if peripheral.model is None}
    found = {}
    for name in table:
        if name in ("source", "confidence", "note"):
            continue
        if name not in tags:
            raise table.error("the platform description has no tag of this name", name)
        found[name] = table.string(name)
    table.close()
    return MappingProxyType(found)


def _systick(root: Table, ledger: Ledger) -> int | None:
    table = root.table("systick")
    if table is None:
        return None
    ledger.fact(table)
    divider = table.integer("external_divider", low=1, high=1 << 16)
    table.close()
    return divider


def _error(root: Table, ledger: Ledger) -> MeasuredError | None:
    table = root.table("error")
    if table is None:
        return None
    ledger.fact(table)
    bound = table.number("bound_percent")
    if not 0 < bound <= 100:
        raise table.error(f"{bound:g} is not between 0 and 100", "bound_percent")
    found = MeasuredError(bound, table.string("basis"))
    table.close()
    return found


def _price(root: Table, ledger: Ledger) -> Price | None:
    table = root.table("price")
    if table is None:
        return None
    ledger.fact(table)
    found = Price(
        table.number("amount"), table.string("currency"), table.integer("quantity", low=1), table.string("date")
    )
    table.close()
    return found


def _check_core(root: Table, platform: Platform, core: str) -> None:
    for entry in platform.entries:
        cpu = entry.properties.get("cpuType")
        if cpu is not None and cpu != core:
            raise root.error(
                f"{core!r}, but {platform.path}:{entry.property_lines['cpuType']} says {cpu!r}",
                "core",
                hint="the two files must agree",
            )


def _peripherals(platform: Platform, memories: set[str]) -> tuple[tuple[Peripheral, ...], int]:
    nvics = {entry.name for entry in platform.entries if entry.type == "IRQControllers.NVIC"}
    found: list[Peripheral] = []
    highest = -1
    for entry in platform.entries:
        if entry.name in memories or entry.type is None:
            continue
        wires = tuple(wire.input for wire in entry.interrupts if wire.target in nvics)
        highest = max((highest, *wires))
        for place in entry.registrations:
            if place.address is None:
                continue
            size = place.size if place.size is not None else _number(entry, "size", platform.path)
            found.append(Peripheral(entry.name, place.address, size, entry.type, None, dict(entry.properties), wires))
    found += [Peripheral(tag.name, tag.address, tag.size, None, tag.value) for tag in platform.tags]
    return tuple(sorted(found, key=lambda peripheral: peripheral.base)), highest + 1
