"""An ELF file as the simulator sees it: what is loaded where, what it is called, and which source line it came from."""

from __future__ import annotations

import bisect
import difflib
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tinysim.demangle import demangle, same_name, without_parameters
from tinysim.errors import ImageError, InputError

__all__ = ["Image", "Section", "Segment", "Symbol", "load_image"]

_LIMIT_BYTES = 512 * 1024 * 1024
_EM_ARM = "EM_ARM"
_NESTED = 8


@dataclass(frozen=True, slots=True)
class Segment:
    """A loadable stretch. ``load_address`` is where its bytes are stored, ``address`` where the program has them."""

    address: int
    load_address: int
    data: bytes
    memory_bytes: int
    executable: bool


@dataclass(frozen=True, slots=True)
class Section:
    """An allocated section; ``stored`` when it has bytes in the file (so it takes flash)."""

    name: str
    address: int
    load_address: int
    bytes: int
    stored: bool
    writable: bool
    executable: bool


@dataclass(frozen=True, slots=True)
class Symbol:
    """A named place. ``address`` has the Thumb bit cleared; ``bytes`` is 0 where the file does not say."""

    name: str
    address: int
    bytes: int
    function: bool
    is_global: bool

    @property
    def shown(self) -> str:
        """The name for people: C++ names demangled."""
        return demangle(self.name)


@dataclass(frozen=True)
class Image:
    """A loaded ELF file. All addresses of functions have the Thumb bit cleared."""

    path: Path
    sha256: str
    entry: int
    segments: tuple[Segment, ...]
    sections: tuple[Section, ...]
    symbols: tuple[Symbol, ...]

    @cached_property
    def _by_name(self) -> dict[str, list[Symbol]]:
        table: dict[str, list[Symbol]] = {}
        for symbol in self.symbols:
            table.setdefault(symbol.name, []).append(symbol)
        return table

    @cached_property
    def functions(self) -> tuple[Symbol, ...]:
        """Functions by address, one for each address (the global name where a function has several)."""
        best: dict[int, Symbol] = {}
        for symbol in self.symbols:
            if not symbol.function:
                continue
            known = best.get(symbol.address)
            if known is None or (symbol.is_global, symbol.bytes) > (known.is_global, known.bytes):
                best[symbol.address] = symbol
        return tuple(best[address] for address in sorted(best))

    @cached_property
    def _function_addresses(self) -> list[int]:
        return [symbol.address for symbol in self.functions]

    def function_at(self, address: int) -> Symbol | None:
        """The function that holds ``address``, or None. A function without a size reaches to the next one."""
        last = bisect.bisect_right(self._function_addresses, address & ~1) - 1
        for index in range(last, max(last - _NESTED, -1), -1):  # assembly has functions inside functions
            symbol = self.functions[index]
            if address < symbol.address + symbol.bytes or (index == last and not symbol.bytes):
                return symbol
        return None

    def find(self, name: str) -> Symbol | None:
        """The symbol of exactly this linker name, or None."""
        candidates = self._by_name.get(name)
        return max(candidates, key=lambda s: (s.is_global, s.bytes)) if candidates else None

    def symbol(self, name: str) -> Symbol:
        """The symbol a user means by ``name``: a linker name, a demangled C++ name with or without its parameters, or
        an address.

        Raises ImageError when there is none (with the nearest names), when the file is stripped, or when several match.
        """
        try:
            address = int(name, 0)
        except ValueError:
            pass
        else:
            at = self.function_at(address)
            return at if at and at.address == address & ~1 else Symbol(name, address & ~1, 0, True, False)
        exact = self._by_name.get(name, [])
        if exact:
            return self._only(name, exact)
        if not self.symbols:
            raise ImageError(
                f"{self.path.name} has no symbols, so {name!r} cannot be found",
                hint="link without -s / do not strip, or give an address such as 0x08000400",
            )
        matches = [s for s in self.symbols if s.name.startswith("_Z") and same_name(name, s.shown)]
        if matches:
            return self._only(name, matches)
        names = {without_parameters(s.shown) for s in self.symbols if s.function} | {s.name for s in self.symbols}
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
        hint = f"nearest: {', '.join(near)}" if near else "`arm-none-eabi-nm -C` lists what there is"
        raise ImageError(f"{self.path.name} has no symbol {name!r}", hint=hint)

    def _only(self, name: str, matches: Sequence[Symbol]) -> Symbol:
        """The one function among symbols of a name; the global one of a linker name.

        Raises ImageError when several are left.
        """
        bound = [s for s in matches if s.is_global and s.name == name] or list(matches)
        addresses = {s.address for s in bound}
        if len(addresses) > 1:
            listing = sorted(f"{s.address:#010x} {s.shown} ({s.name})" for s in bound)
            raise ImageError(
                f"{name!r} names {len(addresses)} functions of {self.path.name}",
                hint="give one by its address",
                details="\n".join(listing),
            )
        return max(bound, key=lambda s: s.bytes)

    def read(self, address: int, size: int) -> bytes:
        """``size`` stored bytes from ``address``. Raises ImageError when the file has none there."""
        for segment in self.segments:
            for base in (segment.address, segment.load_address):
                if base <= address and address + size <= base + len(segment.data):
                    return segment.data[address - base : address - base + size]
        raise ImageError(f"{self.path.name} stores nothing at {address:#010x}", hint="check the address")

    def where(self, address: int) -> str:
        """An address for people: ``function+0x12 (file.c:34)`` as far as known."""
        function = self.function_at(address)
        text = f"{address:#010x}"
        if function is not None:
            offset = (address & ~1) - function.address
            text += f" in {function.shown}" + (f"+{offset:#x}" if offset else "")
        line = self.line_at(address)
        return text + (f" ({line[0]}:{line[1]})" if line else "")

    @cached_property
    def _lines(self) -> tuple[list[int], list[tuple[str, int] | None]]:
        rows = sorted(_line_rows(self.path), key=lambda row: row[0])
        return [row[0] for row in rows], [row[1] for row in rows]

    def line_at(self, address: int) -> tuple[str, int] | None:
        """Source file and line of an instruction, where DWARF has it."""
        addresses, lines = self._lines
        index = bisect.bisect_right(addresses, address & ~1) - 1
        return lines[index] if index >= 0 else None


def _line_rows(path: Path) -> Iterator[tuple[int, tuple[str, int] | None]]:
    from elftools.common.exceptions import ELFError
    from elftools.elf.elffile import ELFFile

    try:
        with path.open("rb") as stream:
            elf = ELFFile(stream)
            if not elf.has_dwarf_info():
                return
            dwarf = elf.get_dwarf_info()
            for unit in dwarf.iter_CUs():
                program = dwarf.line_program_for_CU(unit)
                if program is None:
                    continue
                version = program["version"]
                entries = program["file_entry"]
                for entry in program.get_entries():
                    state = entry.state
                    if state is None:
                        continue
                    if state.end_sequence:
                        yield state.address, None
                        continue
                    index = state.file - (1 if version < 5 else 0)
                    if 0 <= index < len(entries):
                        name = entries[index].name
                        yield (
                            state.address,
                            (name.decode(errors="replace") if isinstance(name, bytes) else name, state.line),
                        )
    except (ELFError, KeyError, ValueError, IndexError, OSError, AttributeError, TypeError):
        return  # source lines are a courtesy: damaged debug information must not stop a measurement


def load_image(path: Path | str) -> Image:
    """Read an ELF file.

    Raises ImageError when it is not a 32-bit little-endian Arm executable, InputError when it cannot be read.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        content = path.read_bytes() if size <= _LIMIT_BYTES else b""
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}", hint="check the path") from error
    if size > _LIMIT_BYTES:
        raise ImageError(
            f"{path} has {size} bytes, more than any microcontroller holds", hint="pass the firmware's ELF file"
        )
    return parse_image(content, path)


def parse_image(content: bytes, path: Path) -> Image:
    """An Image from the bytes of an ELF file; ``path`` is what it is called in messages. Raises ImageError."""
    if content[:4] != b"\x7fELF":
        raise ImageError(
            f"{path} is not an ELF file", hint="pass the linker's output (.elf, .axf, .out), not a .bin or .hex"
        )
    if len(content) > 5 and content[4] != 1:
        raise ImageError(
            f"{path} is a 64-bit ELF file, not firmware for a Cortex-M", hint="build with an arm-none-eabi compiler"
        )
    if len(content) > 5 and content[5] != 1:
        raise ImageError(f"{path} is big-endian; Cortex-M parts are little-endian", hint="build without -mbig-endian")
    import io
    import struct

    from elftools.common.exceptions import ELFError
    from elftools.construct import ConstructError
    from elftools.elf.elffile import ELFFile

    try:
        elf = ELFFile(io.BytesIO(content))
        if elf["e_machine"] != _EM_ARM:
            raise ImageError(
                f"{path} is for {str(elf['e_machine']).removeprefix('EM_')}, not for Arm",
                hint="build with an arm-none-eabi compiler",
            )
        if elf["e_type"] != "ET_EXEC":
            raise ImageError(
                f"{path} is not a linked executable ({elf['e_type']})",
                hint="pass the linked .elf, not an object or library",
            )
        segments = tuple(_segments(elf, content, path))
        image = Image(
            path=path,
            sha256=hashlib.sha256(content).hexdigest(),
            entry=elf["e_entry"],
            segments=segments,
            sections=tuple(_sections(elf, segments)),
            symbols=tuple(_symbols(elf)),
        )
    except ImageError:
        raise
    except (
        ELFError,
        ConstructError,
        struct.error,
        ValueError,
        KeyError,
        IndexError,
        TypeError,
        AttributeError,
        OverflowError,
        MemoryError,
        UnicodeError,
        RecursionError,
        AssertionError,
        OSError,
        ZeroDivisionError,
    ) as error:
        raise ImageError(
            f"{path} is a damaged ELF file ({type(error).__name__}: {error})", hint="build it again"
        ) from error
    if not segments:
        raise ImageError(f"{path} has nothing to load", hint="pass the linked firmware")
    return image


def _segments(elf: Any, content: bytes, path: Path) -> Iterator[Segment]:
    count = elf.num_segments()
    if count > 1024:
        raise ImageError(f"{path} is a damaged ELF file ({count} segments)", hint="build it again")
    for segment in elf.iter_segments():
        if segment["p_type"] != "PT_LOAD" or not segment["p_memsz"]:
            continue
        offset, stored = segment["p_offset"], segment["p_filesz"]
        if offset + stored > len(content):
            raise ImageError(f"{path} is truncated: a segment ends after the end of the file", hint="build it again")
        if (
            segment["p_vaddr"] + segment["p_memsz"] > 1 << 32
            or segment["p_paddr"] + stored > 1 << 32
            or stored > segment["p_memsz"]
        ):
            raise ImageError(f"{path} is a damaged ELF file (a segment's size makes no sense)", hint="build it again")
        yield Segment(
            segment["p_vaddr"],
            segment["p_paddr"],
            content[offset : offset + stored],
            segment["p_memsz"],
            bool(segment["p_flags"] & 1),
        )


def _sections(elf: Any, segments: tuple[Segment, ...]) -> Iterator[Section]:
    for section in elf.iter_sections():
        flags = section["sh_flags"]
        if not flags & 2 or not section["sh_size"]:  # SHF_ALLOC
            continue
        address, size = section["sh_addr"], section["sh_size"]
        stored = section["sh_type"] != "SHT_NOBITS"
        load = address
        for segment in segments:
            if segment.address <= address < segment.address + segment.memory_bytes:
                load = address - segment.address + segment.load_address
        yield Section(section.name, address, load, size, stored, bool(flags & 1), bool(flags & 4))


def _symbols(elf: Any) -> Iterator[Symbol]:
    table = elf.get_section_by_name(".symtab")
    if table is None or not hasattr(table, "iter_symbols"):
        return
    for symbol in table.iter_symbols():
        kind = symbol["st_info"]["type"]
        if (
            not symbol.name
            or symbol.name.startswith("$")
            or symbol["st_shndx"] == "SHN_UNDEF"
            or kind in ("STT_SECTION", "STT_FILE")
        ):
            continue
        function = kind == "STT_FUNC"
        value = symbol["st_value"]
        yield Symbol(
            symbol.name,
            value & ~1 if function else value,
            symbol["st_size"],
            function,
            symbol["st_info"]["bind"] != "STB_LOCAL",
        )
