"""Where a TFLM interpreter calls its operators: each indirect call of its invoke loop is one layer."""

from __future__ import annotations

from dataclasses import dataclass

from tinysim.errors import ImageError
from tinysim.image import Image, Symbol

__all__ = ["InterpreterLoop", "find_interpreter_loop", "interpreter_loop"]

_LOOPS = (
    "tflite::MicroInterpreterGraph::InvokeSubgraph(int)",
    "tflite::MicroGraph::InvokeSubgraph(int)",
    "tflite::MicroInterpreter::Invoke()",
)
"""The function that holds the loop, newest TFLM first: an older one has only the last."""


@dataclass(frozen=True, slots=True)
class InterpreterLoop:
    """The invoke loop: its entry, and the addresses its operators return to."""

    entry: int
    sites: tuple[int, ...]


def _indirect_calls(image: Image, function: Symbol) -> tuple[int, ...]:
    """Addresses after each ``BLX register`` of a function (Armv7-M ARM, encoding T1)."""
    code = image.read(function.address, function.bytes)
    sites = []
    at = 0
    while at + 2 <= len(code):
        halfword = int.from_bytes(code[at : at + 2], "little")
        wide = halfword >> 11 in (0b11101, 0b11110, 0b11111)
        if not wide and halfword & 0xFF87 == 0x4780:
            sites.append(function.address + at + 2)
        at += 4 if wide else 2
    return tuple(sites)


def find_interpreter_loop(image: Image) -> InterpreterLoop | None:
    """The invoke loop of a TFLM linked into a program, or None when there is none with symbols."""
    by_shown = {symbol.shown: symbol for symbol in image.functions if symbol.name.startswith("_ZN6tflite")}
    for name in _LOOPS:
        function = by_shown.get(name)
        if function is not None and (sites := _indirect_calls(image, function)):
            return InterpreterLoop(function.address, sites)
    return None


def interpreter_loop(image: Image) -> InterpreterLoop:
    """The invoke loop. Raises ImageError when there is none."""
    loop = find_interpreter_loop(image)
    if loop is None:
        raise ImageError(f"{image.path.name} has no TFLM interpreter with symbols", hint="link without stripping symbols")
    return loop
