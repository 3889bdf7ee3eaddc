"""Writes small ELF files byte by byte, for tests: right ones and wrong ones."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

HEADER_BYTES, SEGMENT_BYTES, SECTION_BYTES = 52, 32, 40
PROGBITS, SYMTAB, STRTAB, NOBITS = 1, 2, 3, 8
WRITE, ALLOC, EXECUTE = 1, 2, 4


@dataclass(frozen=True)
class Section:
    """A section and, when it is allocated, the segment that loads it. ``load_address`` None: where it lives."""

    name: str
    address: int
    size: int
    writable: bool = False
    executable: bool = False
    stored: bool = True
    allocated: bool = True
    load_address: int | None = None

    @property
    def flags(self) -> int:
        return WRITE * self.writable | ALLOC * self.allocated | EXECUTE * self.executable


@dataclass(frozen=True)
class Symbol:
    """A symbol. ``section`` is the number of its section among those given."""

    name: str
    value: int
    size: int = 0
    function: bool = True
    is_global: bool = True
    section: int = 0


@dataclass
class _Strings:
    data: bytes = b"\0"

    def add(self, text: str) -> int:
        at = len(self.data)
        self.data += text.encode() + b"\0"
        return at


def write(
    sections: Sequence[Section],
    symbols: Sequence[Symbol] = (),
    *,
    entry: int = 0,
    machine: int = 40,
    kind: int = 2,
    big: bool = False,
    bits: int = 32,
) -> bytes:
    """The bytes of an ELF file. Numbers in its header as asked for; the rest is right."""
    order = ">" if big else "<"
    loaded = [s for s in sections if s.allocated and s.size]
    offset = HEADER_BYTES + SEGMENT_BYTES * len(loaded)
    body, segments, headers, names = b"", b"", [bytes(SECTION_BYTES)], _Strings()
    for number, section in enumerate(sections):
        content = bytes((number + k) & 255 for k in range(section.size)) if section.stored else b""
        at = offset + len(body)
        body += content
        if section in loaded:
            load = section.address if section.load_address is None else section.load_address
            segments += struct.pack(
                order + "8I",
                1,
                at,
                section.address,
                load,
                len(content),
                section.size,
                4 | 2 * section.writable | section.executable,
                1,
            )
        headers.append(
            struct.pack(
                order + "10I",
                names.add(section.name),
                PROGBITS if section.stored else NOBITS,
                section.flags,
                section.address,
                at,
                section.size,
                0,
                0,
                1,
                0,
            )
        )
    if symbols:
        text = _Strings()
        table = bytes(16)
        for symbol in sorted(symbols, key=lambda s: s.is_global):
            info = (16 if symbol.is_global else 0) | (2 if symbol.function else 1)
            table += struct.pack(
                order + "3IBBH", text.add(symbol.name), symbol.value, symbol.size, info, 0, symbol.section + 1
            )
        local = 1 + sum(not s.is_global for s in symbols)
        at = offset + len(body)
        body += table + text.data
        strings = len(headers) + 1
        headers.append(
            struct.pack(order + "10I", names.add(".symtab"), SYMTAB, 0, 0, at, len(table), strings, local, 4, 16)
        )
        headers.append(
            struct.pack(order + "10I", names.add(".strtab"), STRTAB, 0, 0, at + len(table), len(text.data), 0, 0, 1, 0)
        )
    own = names.add(".shstrtab")
    at = offset + len(body)
    headers.append(struct.pack(order + "10I", own, STRTAB, 0, 0, at, len(names.data), 0, 0, 1, 0))
    body += names.data
    table_at = offset + len(body)
    identity = b"\x7fELF" + bytes([bits // 32, 2 if big else 1, 1]) + bytes(9)
    header = identity + struct.pack(
        order + "HHIIIIIHHHHHH",
        kind,
        machine,
        1,
        entry,
        HEADER_BYTES if loaded else 0,
        table_at,
        0x05000000,
        HEADER_BYTES,
        SEGMENT_BYTES,
        len(loaded),
        SECTION_BYTES,
        len(headers),
        len(headers) - 1,
    )
    return header + segments + body + b"".join(headers)
