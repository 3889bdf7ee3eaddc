"""Make a part of a Renode user's own platform description.

What is read: `tinysim.repl`'s subset of the language. What becomes of it: memories (``Memory.*`` models with an
address on
``sysbus``) with the kind their name and address tell, one Cortex-M4 or M7 core, and the clock of the SysTick. What a
description does not say (wait states, caches, prices, and on an M7 the FPU) is left out or asked for, never assumed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tinysim.errors import InputError, PartError
from tinysim.part import RegionKind
from tinysim.partfile import MEMORY_MODELS
from tinysim.repl import Entry, Platform, read_repl
from tinysim.units import format_bytes, format_hz

__all__ = ["ImportedPart", "import_part", "parse_kinds", "write_part"]

_CORES = {"cortex-m4": "cortex-m4", "cortex-m4f": "cortex-m4", "cortex-m7": "cortex-m7"}
_FPUS = ("fpv4-sp", "fpv5-sp", "fpv5-dp")
_NAMED = (
    ("itcm", RegionKind.ITCM),
    ("dtcm", RegionKind.DTCM),
    ("ccm", RegionKind.CCM),
    ("axi", RegionKind.AXI),
    ("backup", RegionKind.BACKUP),
    ("bkp", RegionKind.BACKUP),
    ("flash", RegionKind.FLASH),
    ("rom", RegionKind.FLASH),
    ("sram", RegionKind.SRAM),
    ("ram", RegionKind.SRAM),
)
_CODE_END, _SRAM_END = 0x20000000, 0x40000000  # Armv7-M system address map, B3.1
_EXTERNAL = range(0x60000000, 0xA0000000)
_LARGEST_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class ImportedPart:
    """The text of a part file for a description, and what to tell its user."""

    toml: str
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Memory:
    name: str
    base: int
    size: int
    kind: RegionKind


def import_part(
    path: Path | str,
    *,
    clock_hz: int | None = None,
    fpu: str | None = None,
    kinds: Mapping[str, RegionKind] | None = None,
    name: str | None = None,
    beside: Path | None = None,
) -> ImportedPart:
    """A part file for the platform description at ``path``, to be written beside it with the ending ``.toml``.

    ``clock_hz``: the maximum clock; default: what the description gives the SysTick. ``fpu``: ``fpv5-sp`` or
    ``fpv5-dp`` on an M7. ``kinds``: the kinds of memories whose name and address do not tell. ``name``: of the part;
    default: the file's. ``beside``: the folder the part file will be in, if not the description's. Raises PartError
    with file and line for what is not understood, or not enough to make a part.
    """
    path = Path(path)
    platform = read_repl(path)
    notes: list[str] = []
    core_entry = _core(platform)
    core = _core_name(platform, core_entry, notes)
    memories = _memories(platform, kinds or {})
    clock_text, clock_source = _clock(platform, clock_hz)
    fpu = _fpu(platform, core_entry, core, fpu)
    if not any(entry.type == "Miscellaneous.DWT" for entry in platform.entries):
        notes.append(
            "the description has no DWT: inside Renode the cycle counter reads 0 (add Miscellaneous.DWT at 0xE0001000)"
        )
    notes.append("no wait states or caches are known: use --ideal-memory, or add [wait_states] from the data sheet")
    return ImportedPart(
        _toml(path, name or path.stem, beside or path.parent, core, fpu, memories, clock_text, clock_source),
        tuple(notes),
    )


def parse_kinds(texts: Sequence[str]) -> dict[str, RegionKind]:
    """Kinds written ``NAME=KIND``. Raises InputError."""
    found = {}
    for text in texts:
        name, equals, kind = text.partition("=")
        if not equals or kind not in list(RegionKind):
            raise InputError(
                f"{text!r} is no kind of a memory", hint=f"write it like sram=axi; kinds: {', '.join(RegionKind)}"
            )
        found[name] = RegionKind(kind)
    return found


def write_part(
    source: Path,
    target: Path,
    *,
    clock_hz: int | None = None,
    fpu: str | None = None,
    kinds: Mapping[str, RegionKind] | None = None,
) -> tuple[str, ...]:
    """Write the part file of the description ``source`` to ``target``, which names it; what to tell the user.

    Raises what `import_part` raises, and InputError when there is a file already or it cannot be written.
    """
    imported = import_part(source, clock_hz=clock_hz, fpu=fpu, kinds=kinds, name=target.stem, beside=target.parent)
    try:
        with target.open("x", encoding="utf-8") as stream:
            stream.write(imported.toml)
    except FileExistsError:
        raise InputError(f"{target} is there already", hint="remove it, or give another path") from None
    except OSError as error:
        raise InputError(f"cannot write {target}: {error.strerror}", hint="check the folder") from error
    return imported.notes


def _fail(platform: Platform, line: int, message: str, hint: str) -> PartError:
    return PartError(f"{platform.path}:{line}: {message}", hint=hint)


def _core(platform: Platform) -> Entry:
    cores = [entry for entry in platform.entries if entry.type is not None and entry.type.startswith("CPU.")]
    if len(cores) != 1:
        line = cores[1].line if len(cores) > 1 else 1
        raise _fail(platform, line, f"{len(cores)} cores; a part has one", "keep the Cortex-M4 or M7 core")
    if cores[0].type != "CPU.CortexM":
        raise _fail(platform, cores[0].line, f"a core of type {cores[0].type}", "tinysim has Cortex-M4 and M7 cores")
    return cores[0]


def _core_name(platform: Platform, entry: Entry, notes: list[str]) -> str:
    kind = entry.properties.get("cpuType")
    line = entry.property_lines.get("cpuType", entry.line)
    if not isinstance(kind, str) or kind not in _CORES:
        raise _fail(platform, line, f"a core of type {kind!r}", "tinysim has Cortex-M4 and M7 cores")
    if kind == "cortex-m4f":
        notes.append('Renode\'s "cortex-m4f" has the M7\'s CPU id; "cortex-m4" has the FPU of an M4F')
    return _CORES[kind]


def _fpu(platform: Platform, entry: Entry, core: str, fpu: str | None) -> str:
    if core == "cortex-m4":
        return fpu or "fpv4-sp"
    if fpu is None:
        raise _fail(
            platform,
            entry.line,
            "the description does not say which FPU this Cortex-M7 has",
            "give --fpu fpv5-sp or fpv5-dp",
        )
    if fpu not in _FPUS:
        raise PartError(f"no FPU {fpu!r}", hint=f"one of {', '.join(_FPUS)}")
    return fpu


def _clock(platform: Platform, clock_hz: int | None) -> tuple[str, str]:
    """The maximum clock as text, and where it is from."""
    if clock_hz is not None:
        return format_hz(clock_hz).replace(" ", ""), "given at the import"
    for entry in platform.entries:
        frequency = entry.properties.get("systickFrequency")
        if entry.type == "IRQControllers.NVIC" and isinstance(frequency, int) and frequency > 0:
            return (
                f"{frequency}Hz",
                f"systickFrequency in line {entry.property_lines['systickFrequency']} of {Path(platform.path).name}",
            )
    raise _fail(platform, 1, "the description names no clock", "give the maximum, as in --clock 120MHz")


def _memories(platform: Platform, kinds: Mapping[str, RegionKind]) -> list[_Memory]:
    found = []
    for entry in platform.entries:
        if entry.type not in MEMORY_MODELS:
            continue
        size = entry.properties.get("size")
        places = [
            place.address for place in entry.registrations if place.parent == "sysbus" and place.address is not None
        ]
        if not isinstance(size, int) or isinstance(size, bool) or size <= 0 or not places:
            raise _fail(
                platform, entry.line, f"{entry.name}: a memory needs an address on sysbus and a size", "add them"
            )
        if size > _LARGEST_BYTES:
            raise _fail(
                platform,
                entry.line,
                f"{entry.name} has {format_bytes(size)}, more than any microcontroller",
                "write its true size",
            )
        found.append(_Memory(entry.name, places[0], size, kinds.get(entry.name) or _kind(platform, entry, places[0])))
    if unknown := set(kinds) - {memory.name for memory in found}:
        raise PartError(
            f"{platform.path} has no memory {sorted(unknown)[0]!r}", hint=f"it has {', '.join(m.name for m in found)}"
        )
    for needed, what in ((False, "flash"), (True, "RAM")):
        if not any(memory.kind.writable is needed for memory in found):
            raise _fail(platform, 1, f"the description has no {what}", "add it, or give a memory's kind")
    return found


def _kind(platform: Platform, entry: Entry, base: int) -> RegionKind:
    name = re.sub(r"[^a-z]", "", entry.name.lower())
    for part, kind in _NAMED:
        if part in name:
            return RegionKind.EXTERNAL_FLASH if kind is RegionKind.FLASH and base in _EXTERNAL else kind
    if _CODE_END <= base < _SRAM_END:
        return RegionKind.SRAM
    raise _fail(
        platform,
        entry.line,
        f"{entry.name} at {base:#010x}: neither its name nor its address tells what kind of memory it is",
        f"give --kind {entry.name}=flash, or one of {', '.join(kind.value for kind in RegionKind)}",
    )


def _toml(
    path: Path, name: str, folder: Path, core: str, fpu: str, memories: list[_Memory], clock: str, clock_source: str
) -> str:
    title = name.upper()
    file = os.path.relpath(path, folder)
    code = [m.name for m in memories if m.kind is RegionKind.FLASH] or [m.name for m in memories if not m.kind.writable]
    ram = sorted(
        (m for m in memories if m.kind.writable and m.kind not in (RegionKind.ITCM, RegionKind.BACKUP)),
        key=lambda m: -m.size,
    )
    fast = [m.name for m in ram if m.kind is RegionKind.DTCM] or [m.name for m in ram]
    lines = [
        f"# {title}, imported from {path.name}.",
        'schema = "tinysim.part/1"',
        f'name = "{name.lower()}"',
        f'title = "{title}"',
        'vendor = "unknown"',
        f'core = "{core}"',
        f'fpu = "{fpu}"',
        "",
        "[platform]",
        f'file = "{file}"',
        f'source = "imported from {path.name}"',
        'confidence = "inferred"',
        "",
        "[clock]",
        f'max = "{clock}"',
        f'source = "{clock_source}"',
        'confidence = "inferred"',
        "",
    ]
    for memory in memories:
        lines += [f"[memory.{memory.name}]", f'kind = "{memory.kind.value}"']
    lines += ["", "[placement]", f"code = {_names(code)}", f"weights = {_names(code)}"]
    lines += [f"data = {_names(fast)}", f"arena = {_names([m.name for m in ram])}", f"stack = {_names(fast)}", ""]
    return "\n".join(lines)


def _names(names: list[str]) -> str:
    return "[" + ", ".join(f'"{name}"' for name in names) + "]"
