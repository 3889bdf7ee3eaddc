"""Compilation units: which compiler and flags made which code, from the DWARF producer of each unit."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePath
from typing import Any

from tinysim.image import Image, Symbol

__all__ = ["Unit", "Units"]

_LEVEL = re.compile(r"(?:^| )-O([0-3sgz]|fast)?(?= |$)")
_FRAME_POINTER = 0xAF00
"""ADD r7, SP, #n: GCC keeps a frame pointer in r7 when it does not optimise (Armv7-M ARM, A7.7.5, encoding T1; low
byte: n / 4).
"""


@dataclass(frozen=True, slots=True)
class Unit:
    """One source file as it was compiled. ``level``: the optimisation, such as O2; None where the compiler did not
    write its flags down.
    """

    name: str
    producer: str
    level: str | None


class Units:
    """The units of an ELF file, by address. A file without (or with damaged) debug information has none."""

    def __init__(self, image: Image) -> None:
        self._image = image

    def of(self, function: Symbol) -> Unit | None:
        """The unit a function was compiled in."""
        return self._found.get(function.address)

    def keeps_frame_pointer(self, function: Symbol) -> bool:
        """Whether a function sets up r7 as frame pointer among its first instructions, as GCC does without
        optimisation.
        """
        from tinysim.errors import ImageError

        try:
            code = self._image.read(function.address, min(max(function.bytes, 2), 12) & ~1)
        except ImageError:
            return False
        return any(int.from_bytes(code[k : k + 2], "little") & 0xFF00 == _FRAME_POINTER for k in range(0, len(code), 2))

    @cached_property
    def _found(self) -> dict[int, Unit]:
        from elftools.common.exceptions import ELFError
        from elftools.elf.elffile import ELFFile

        found: dict[int, Unit] = {}
        try:
            with self._image.path.open("rb") as stream:
                elf = ELFFile(stream)
                if not elf.has_dwarf_info():
                    return found
                dwarf = elf.get_dwarf_info()
                aranges = dwarf.get_aranges()
                if aranges is None:
                    return found
                units: dict[int, Unit] = {}
                for function in self._image.functions:
                    offset = aranges.cu_offset_at_addr(function.address)
                    if offset is None:
                        continue
                    if offset not in units:
                        units[offset] = _unit(dwarf.get_CU_at(offset).get_top_DIE())
                    found[function.address] = units[offset]
        except (ELFError, KeyError, ValueError, IndexError, OSError, AttributeError, TypeError, AssertionError):
            return found  # debug information is a courtesy: what could be read of it is used
        return found


def _unit(die: Any) -> Unit:
    def text(attribute: str) -> str:
        value = die.attributes.get(attribute)
        return (
            ""
            if value is None
            else value.value.decode(errors="replace")
            if isinstance(value.value, bytes)
            else str(value.value)
        )

    producer = text("DW_AT_producer")
    level = None
    if producer.startswith("GNU C"):  # GCC writes its flags down; without -O it does not optimise
        levels = _LEVEL.findall(producer)
        level = "O" + (levels[-1] or "1") if levels else "O0"
    return Unit(PurePath(text("DW_AT_name")).name, producer, level)
