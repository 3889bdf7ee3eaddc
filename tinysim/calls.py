"""Calls, inputs and readings as users write them: ``classify(g_features, 640, &result)``, ``SYMBOL=FILE``,
``scores:f32[4]``.

Pure: text and symbols in, bytes and registers out. Arguments are what the procedure call standard passes in one word:
integers, addresses of symbols, floats (AAPCS, Arm IHI 0042, section 6; with the hard-float variant floats go to S0 to
S15).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tinysim.errors import InputError
from tinysim.image import Image, Symbol

__all__ = [
    "Call",
    "Passed",
    "Reading",
    "WrittenInput",
    "parse_call",
    "parse_input",
    "parse_reading",
    "parse_stubs",
    "pass_arguments",
]

_TYPES = {
    "u8": ("B", 1), "i8": ("b", 1), "u16": ("H", 2), "i16": ("h", 2), "u32": ("I", 4), "i32": ("i", 4),
    "u64": ("Q", 8), "i64": ("q", 8),
    "f32": ("f", 4), "f64": ("d", 8),
}  # fmt: skip
_CORE_REGISTERS, _FP_REGISTERS = 4, 16
_LONGEST = 1 << 20
_FLOAT = re.compile(r"[+-]?(\d+\.\d*|\.\d+|\d+)([eE][+-]?\d+)?[fF]?")


@dataclass(frozen=True, slots=True)
class Call:
    """A function and its arguments: int (an integer or an address) or float."""

    function: Symbol
    arguments: tuple[int | float, ...]


@dataclass(frozen=True, slots=True)
class Passed:
    """Where a call's arguments go: registers by name, and the words on the stack, lowest address first."""

    registers: dict[str, int]
    stack: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class WrittenInput:
    """Bytes to write to memory before the program goes on."""

    name: str
    address: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Reading:
    """Values to read from memory afterwards. ``kind``: one of u8 ... f64; ``count`` is None for a single value."""

    name: str
    address: int
    kind: str
    count: int | None

    @property
    def size(self) -> int:
        """Bytes to read."""
        return _TYPES[self.kind][1] * (1 if self.count is None else self.count)

    def values(self, data: bytes) -> int | float | list[int | float]:
        """The values in the bytes read."""
        found = list(struct.unpack(f"<{self.count or 1}{_TYPES[self.kind][0]}", data))
        return found[0] if self.count is None else found


def _number(text: str) -> int | float | None:
    try:
        return int(text, 0)
    except ValueError:
        pass
    return float(text.rstrip("fF")) if _FLOAT.fullmatch(text) else None


def parse_call(text: str, image: Image) -> Call:
    """Read ``function(arguments)``. Raises InputError for what cannot be passed in one word, ImageError for an
    unknown symbol.
    """
    match = re.fullmatch(r"\s*([^()]+?)\s*\((.*)\)\s*", text, re.DOTALL)
    if not match:
        raise InputError(f"{text!r} is not a call", hint="write it like --call 'classify(g_features, 640, &result)'")
    function = image.symbol(match[1])
    arguments: list[int | float] = []
    for written in (part.strip() for part in match[2].split(",")) if match[2].strip() else ():
        if not written or any(sign in written for sign in "(){}[]\"'"):
            raise InputError(f"{written!r} is not an argument", hint="integers, floats and symbols can be passed")
        number = _number(written)
        if number is None:
            arguments.append(image.symbol(written.removeprefix("&").strip()).address)
        elif isinstance(number, int) and not -(2**31) <= number < 2**32:
            raise InputError(
                f"{written} does not fit one 32-bit word", hint="write it to memory with --input and pass its address"
            )
        else:
            arguments.append(number)
    return Call(function, tuple(arguments))


def pass_arguments(arguments: Sequence[int | float], *, hard_float: bool) -> Passed:
    """Registers and stack of a call by the procedure call standard."""
    registers: dict[str, int] = {}
    stack: list[int] = []
    core = floating = 0
    for argument in arguments:
        if isinstance(argument, float):
            word = int.from_bytes(struct.pack("<f", argument), "little")
        else:
            word = argument & 0xFFFFFFFF
        if isinstance(argument, float) and hard_float:
            if floating < _FP_REGISTERS:
                registers[f"s{floating}"] = word
                floating += 1
                continue
        elif core < _CORE_REGISTERS:
            registers[f"r{core}"] = word
            core += 1
            continue
        stack.append(word)
    return Passed(registers, tuple(stack))


def _split(text: str, sign: str, example: str) -> tuple[str, str]:
    left, found, right = text.partition(sign)
    if not found or not left.strip() or not right.strip():
        raise InputError(f"{text!r} is not understood", hint=f"write it like {example}")
    return left.strip(), right.strip()


def parse_input(text: str, image: Image) -> WrittenInput:
    """Read ``SYMBOL=FILE``: raw bytes, or the elements of a .npy file. Raises InputError, ImageError."""
    name, file = _split(text, "=", "--input g_features=features.bin")
    symbol = image.symbol(name)
    path = Path(file)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}", hint="check the path") from error
    if path.suffix == ".npy":
        import io

        import numpy as np

        try:
            data = np.ascontiguousarray(np.load(io.BytesIO(data), allow_pickle=False)).tobytes()
        except ValueError as error:
            raise InputError(f"{path} is not a .npy file: {error}", hint="write it with numpy.save") from error
    if symbol.bytes and len(data) > symbol.bytes:
        raise InputError(
            f"{path} has {len(data)} bytes, {name} only {symbol.bytes}", hint="give no more than the buffer holds"
        )
    return WrittenInput(name, symbol.address, data)


def parse_reading(text: str, image: Image) -> Reading:
    """Read ``SYMBOL:TYPE`` or ``SYMBOL:TYPE[COUNT]``. Raises InputError, ImageError."""
    name, kind = _split(text, ":", "--read scores:f32[4]")
    match = re.fullmatch(r"(\w+)(?:\[(\d+)\])?", kind)
    if not match or match[1] not in _TYPES:
        raise InputError(f"{kind!r} is no type to read", hint=f"types are {', '.join(_TYPES)}, with [COUNT] for arrays")
    count = int(match[2]) if match[2] else None
    if count is not None and not 0 < count <= _LONGEST:
        raise InputError(f"cannot read {count} values", hint=f"1 to {_LONGEST}")
    symbol = image.symbol(name)
    reading = Reading(name, symbol.address, match[1], count)
    if symbol.bytes and reading.size > symbol.bytes:
        raise InputError(
            f"{kind} has {reading.size} bytes, {name} only {symbol.bytes}", hint="read no more than the symbol holds"
        )
    return reading


def parse_stubs(texts: Sequence[str]) -> dict[int, int]:
    """Read ``ADDRESS=VALUE`` several times. Raises InputError."""
    stubs = {}
    for text in texts:
        address, value = _split(text, "=", "--stub 0x40023800=0x2")
        try:
            stubs[int(address, 0)] = int(value, 0)
        except ValueError as error:
            raise InputError(f"{text!r} is not ADDRESS=VALUE", hint="write it like --stub 0x40023800=0x2") from error
        if int(address, 0) % 4 or not 0 <= int(address, 0) < 2**32 or not 0 <= int(value, 0) < 2**32:
            raise InputError(f"{text!r} is not a 32-bit register", hint="the address must be a multiple of 4")
    return stubs
