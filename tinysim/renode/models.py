"""Whether a platform description is one that Renode can load: its models, their properties, the rules of
`models.toml`."""

from __future__ import annotations

import itertools
import tomllib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from tinysim.data import platforms_folder
from tinysim.repl import Entry, Platform, Reference, Value, read_repl

__all__ = ["check_platform", "model_table"]

_KINDS: dict[str, tuple[type, ...]] = {"number": (int,), "text": (str,), "flag": (bool,), "reference": (Reference,)}


@lru_cache(maxsize=4)
def model_table(path: Path | None = None) -> dict[str, Any]:
    """The table of Renode's models: the shipped one, or that of a file."""
    return tomllib.loads((path or platforms_folder() / "renode" / "models.toml").read_text(encoding="utf-8"))


def check_platform(path: Path, table: dict[str, Any] | None = None) -> list[str]:
    """What Renode would not take, or what would make it count wrongly: one ``file:line: text`` for each; empty when
    all is well.

    Raises PartError when the description cannot be read.
    """
    table = table or model_table()
    platform = read_repl(path)
    return [f"{path}:{line}: {text}" for line, text in sorted(_findings(platform, table))]


def _findings(platform: Platform, table: dict[str, Any]) -> Iterator[tuple[int, str]]:
    models, rules = table["model"], table["rules"]
    names = {entry.name: entry for entry in platform.entries}
    for entry in platform.entries:
        if entry.type is None:
            continue
        model = models.get(entry.type)
        if model is None:
            yield entry.line, f"{entry.name}: Renode's model {entry.type} is not in the table"
            continue
        yield from _properties(entry, model)
        yield from _places(entry, model)
        yield from _wires(entry, model, names, models)
    for command in platform.commands:
        word = command.text.split()[0]
        if word in rules["forbidden_commands"]:
            yield command.line, f"{word} makes Renode download a file"
    yield from _overlaps(platform)
    yield from _core(platform, table)


def _properties(entry: Entry, model: dict[str, Any]) -> Iterator[tuple[int, str]]:
    known = model["properties"]
    for name, value in entry.properties.items():
        line = entry.property_lines.get(name, entry.line)
        if name not in known:
            yield line, f"{entry.name}: {entry.type} has no property {name}"
        elif not _is(value, known[name]):
            yield line, f"{entry.name}: {name} is not a {known[name]}"
    for name in model["needed"]:
        if name not in entry.properties:
            yield entry.line, f"{entry.name}: {entry.type} needs {name}"


def _is(value: Value, kind: str) -> bool:
    return isinstance(value, _KINDS[kind]) and (kind == "flag" or not isinstance(value, bool))


def _places(entry: Entry, model: dict[str, Any]) -> Iterator[tuple[int, str]]:
    page = model.get("page_bytes", 1)
    size = entry.properties.get("size")
    for place in entry.registrations:
        if (place.address is not None) != model["bus"]:
            yield place.line, f"{entry.name}: {entry.type} {'needs' if model['bus'] else 'has no'} address"
        elif place.address is not None and (place.address % page or (isinstance(size, int) and size % page)):
            yield place.line, f"{entry.name}: address and size must be multiples of {page}"


def _overlaps(platform: Platform) -> Iterator[tuple[int, str]]:
    windows = []
    for entry in platform.entries:
        for place in entry.registrations:
            size = place.size if place.size is not None else entry.properties.get("size")
            if place.address is not None and isinstance(size, int):
                windows.append((place.address, place.address + size, entry.name, place.line))
    for left, right in itertools.pairwise(sorted(windows)):
        if right[0] < left[1]:
            first, second = sorted((left, right), key=lambda window: window[3])
            yield second[3], f"{second[2]}: overlaps {first[2]} at {right[0]:#x}"


def _wires(
    entry: Entry, model: dict[str, Any], names: dict[str, Entry], models: dict[str, Any]
) -> Iterator[tuple[int, str]]:
    for wire in entry.interrupts:
        if wire.source not in (*model.get("outputs", ()), ""):
            yield wire.line, f"{entry.name}: {entry.type} has no output {wire.source}"
        target = names.get(wire.target)
        inputs = models.get(target.type or "", {}).get("inputs", 0) if target is not None else 0
        if target is None:
            yield wire.line, f"{entry.name}: nothing is called {wire.target}"
        elif wire.input is None or wire.input >= inputs:
            yield wire.line, f"{entry.name}: {wire.target} has no input {wire.input}"


def _core(platform: Platform, table: dict[str, Any]) -> Iterator[tuple[int, str]]:
    cores = [entry for entry in platform.entries if entry.type == "CPU.CortexM"]
    counters = [entry for entry in platform.entries if entry.type == "Miscellaneous.DWT"]
    if len(cores) != 1:
        yield 1, f"{len(cores)} cores, not one"
    if len(counters) != 1 or [p.address for p in counters[0].registrations] != [0xE0001000]:
        yield 1, "no cycle counter: Renode adds no Miscellaneous.DWT at 0xE0001000 by itself"
    for core in cores:
        mips, kind = core.properties.get("PerformanceInMips"), core.properties.get("cpuType")
        line = core.property_lines.get("PerformanceInMips", core.line)
        if kind not in table["cpu_types"]["names"]:
            yield core.property_lines.get("cpuType", core.line), f"{core.name}: cpuType {kind!r} is not in the table"
        if not isinstance(mips, int) or mips <= 0 or table["rules"]["mips_divides"] % mips:
            yield line, f"{core.name}: PerformanceInMips {mips!r} does not divide {table['rules']['mips_divides']}"
            continue
        for counter in counters:
            if counter.properties.get("frequency") != mips * 1_000_000:
                yield (
                    counter.line,
                    f"{counter.name}: at another frequency than {mips} MHz it does not count instructions",
                )
