"""Operands of an instruction as a disassembler spells them: registers, immediates, addresses, register lists."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

__all__ = ["FLAGS_BIT", "PC_BIT", "Operand", "parse_operands"]

PC_BIT = 1 << 15
FLAGS_BIT = 1 << 48
_FP = 16
"""Bit of s0 in a register mask."""

_ALIASES = {"sb": 9, "sl": 10, "fp": 11, "ip": 12, "sp": 13, "lr": 14, "pc": 15}
_SHIFTS = ("lsl", "lsr", "asr", "ror", "rrx")
_LISTS = {"list": "r", "slist": "s", "dlist": "d"}
_SPLIT = re.compile(r",\s*(?![^\[{]*[\]}])")
_WRITTEN = {"write": ("result",), "load": ("loaded",)}
_READ = {
    "read": ("operand",), "target": ("operand",), "extract": ("extract",), "multiplicand": ("multiplicand",),
    "addend": ("accumulator",), "store": ("data",), "base": ("base",),
    "modify": ("operand", "result"), "accumulate": ("accumulator", "result"),
}  # fmt: skip


@cache
def _register(name: str) -> tuple[str, int] | None:
    """Kind (r, s, d, x) and mask of a register; None when it is none."""
    if name in _ALIASES:
        return "r", 1 << _ALIASES[name]
    match = re.fullmatch(r"([rsd])(\d+)(\[[01]\])?", name)
    if not match:
        return None
    number = int(match[2])
    if match[1] == "r":
        return "r", 1 << number
    if match[1] == "s":
        return "s", 1 << _FP + number
    return ("x", 1 << _FP + 2 * number + int(match[3][1])) if match[3] else ("d", 3 << _FP + 2 * number)


@dataclass(slots=True)
class Operand:
    """One operand.

    ``kind``: r, s, d, x (registers), i (immediate), m (address), l, ls, ld (lists), n (any other name).
    """

    text: str
    kind: str
    mask: int = 0
    shift: str = ""
    value: int = 0
    base: int = 0
    index: int = 0
    offset: int = 0
    writeback: bool = False

    def fits(self, token: str) -> bool:
        """Whether this operand can stand for a token of the instruction set's data file."""
        if token == "op2":
            return self.kind in ("r", "i")
        if token in ("imm", "label"):
            return self.kind == "i"
        if token == "mem":
            return self.kind == "m"
        if token == "name":
            return self.kind in ("n", "i", "r")
        if token in _LISTS:
            return self.kind == "l" + _LISTS[token]
        return self.kind == token[0]

    def roles(self, token: str) -> tuple[str, ...]:
        """The masks of an instruction that this operand's registers belong to."""
        if token == "op2":
            return ("shifted" if self.shift else "operand",) if self.kind == "r" else ()
        _, dot, role = token.partition(".")
        return (_READ.get(role) or _WRITTEN[role]) if dot else ()

    def is_rotated(self, size: int, plain: int) -> bool:
        """Whether it is an immediate of a 32-bit encoding that is neither a plain number up to ``plain`` nor a
        repeated byte.
        """
        value = self.value & 0xFFFFFFFF
        if self.kind != "i" or size == 2 or value <= plain:
            return False
        low, high = value & 0xFF, value >> 8 & 0xFF
        return value not in (low * 0x01010101, low * 0x00010001, high * 0x01000100)


def _immediate(text: str) -> Operand:
    try:
        return Operand(text, "i", value=int(text[1:], 0))
    except ValueError:                      # a floating-point constant
        return Operand(text, "i")


def _address(text: str) -> Operand | None:
    inside, _, after = text[1:].partition("]")
    operand = Operand(text, "m", writeback=after == "!")
    for place, part in enumerate(inside.split(", ")):
        register = _register(part)
        if part.startswith("#"):
            operand.offset = int(part[1:], 0)
        elif part.split(" ")[0] in _SHIFTS:
            operand.shift = part.split(" ")[0]
        elif register is None:
            return None
        elif place == 0:
            operand.base = register[1]
        else:
            operand.index = register[1]
    return operand


def _list(text: str) -> Operand | None:
    kinds, mask = set(), 0
    for part in text.strip("{}").split(", "):
        register = _register(part)
        if register is None:
            return None
        kinds.add(register[0])
        mask |= register[1]
    return Operand(text, "l" + kinds.pop(), mask) if len(kinds) == 1 else None


def parse_operands(text: str) -> list[Operand] | None:
    """The operands of ``r0, [r1, #4]!`` and the like; None when something in it is not understood.

    A shift belongs to the register before it; an immediate after a plain address is a post-index and writes the base
    back.
    """
    operands: list[Operand] = []
    for part in _SPLIT.split(text) if text else ():
        operand: Operand | None
        register = _register(part[:-1] if part.endswith("!") else part)
        if part.split(" ")[0] in _SHIFTS and operands:
            operands[-1].shift = part.split(" ")[0]
            continue
        if register is not None:
            operand = Operand(part, *register, writeback=part.endswith("!"))
        elif part.startswith("#"):
            if operands and operands[-1].kind == "m":
                operands[-1].writeback, operands[-1].offset = True, 0
                continue
            operand = _immediate(part)
        elif part.startswith("["):
            operand = _address(part)
        elif part.startswith("{"):
            operand = _list(part)
        else:
            operand = Operand(part, "n")
        if operand is None:
            return None
        operands.append(operand)
    return operands
