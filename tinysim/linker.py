"""The linker script of the measured firmware: what goes into which memory of the part, and what does not fit."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from tinysim.errors import PartError

__all__ = ["Layout", "PlacedPart", "Purpose", "Span", "layouts", "overflows", "script"]

_OVERSIZED_BYTES = 32 * 1024 * 1024
_OVERFLOW = re.compile(r"region [`']?(\w+)'? overflowed by (\d+) bytes?")


class Purpose(StrEnum):
    """What a part of the firmware is for; a part's ``[placement]`` says where each goes."""

    CODE = "code"
    WEIGHTS = "weights"
    DATA = "data"
    ARENA = "arena"
    STACK = "stack"


class PlacedPart(Protocol):
    """What the linker script needs to know of a part."""

    @property
    def name(self) -> str: ...
    @property
    def core(self) -> str: ...
    @property
    def fpu(self) -> str: ...
    @property
    def placement(self) -> Mapping[str, tuple[str, ...]]: ...
    def span(self, name: str) -> tuple[int, int]:
        """Base and size in bytes of a memory, or of adjacent ones named ``a+b``."""


@dataclass(frozen=True, slots=True)
class Span:
    """One memory, or adjacent memories used as one."""

    name: str
    base: int
    size: int

    @property
    def symbol(self) -> str:
        """Its name in the linker script."""
        return re.sub(r"\W", "_", self.name).upper()


@dataclass(frozen=True, slots=True)
class Layout:
    """One choice of a span for each purpose."""

    spans: Mapping[Purpose, Span]

    @property
    def names(self) -> dict[str, str]:
        """Purpose to the part's name of the memory."""
        return {str(purpose): span.name for purpose, span in self.spans.items()}


def layouts(part: PlacedPart, *, oversized: bool, largest_arena: bool) -> Iterator[Layout]:
    """The part's placements, first choice first.

    With ``largest_arena`` the largest memory for the arena comes first. With ``oversized`` there is one layout, of
    first choices, in which every memory reaches up to the next one or 32 MiB: what does not fit can still be linked and
    measured.
    """
    choices: list[list[Span]] = []
    for purpose in Purpose:
        names = part.placement.get(purpose, ())
        if not names:
            raise PartError(f"part {part.name} does not say where {purpose} goes", hint="add it to [placement]")
        spans = [Span(name, *part.span(name)) for name in names]
        if purpose is Purpose.ARENA and largest_arena:
            spans.sort(key=lambda span: -span.size)
        choices.append(spans[:1] if oversized else spans)
    for chosen in itertools.product(*choices):
        spans_by_purpose = dict(zip(Purpose, chosen, strict=True))
        if oversized:
            spans_by_purpose = _enlarge(spans_by_purpose)
        _check_disjoint(part.name, spans_by_purpose)
        yield Layout(spans_by_purpose)


def _enlarge(spans: Mapping[Purpose, Span]) -> dict[Purpose, Span]:
    bases = sorted({span.base for span in spans.values()})
    ends = dict(zip(bases, [*bases[1:], 1 << 32], strict=True))
    return {
        purpose: Span(span.name, span.base, max(span.size, min(_OVERSIZED_BYTES, ends[span.base] - span.base)))
        for purpose, span in spans.items()
    }


def _check_disjoint(part: str, spans: Mapping[Purpose, Span]) -> None:
    ordered = sorted(set(spans.values()), key=lambda span: (span.base, span.size))
    for low, high in itertools.pairwise(ordered):
        if low.base + low.size > high.base:
            raise PartError(
                f"part {part} places things in {low.name} and {high.name}, which overlap",
                hint="name the same memories for both in [placement]",
            )


def script(template: Path, layout: Layout, *, arena_bytes: int | None, stack_bytes: int) -> str:
    """The linker script. ``arena_bytes=None`` gives the arena all that is left of its memory but for the stack."""
    spans = layout.spans
    arena = spans[Purpose.ARENA]
    if arena_bytes is None:
        reserve = stack_bytes + 8 if spans[Purpose.STACK] == arena else 0
        size = f"(ORIGIN({arena.symbol}) + LENGTH({arena.symbol}) - {reserve} - ABSOLUTE(.)) & ~15"
    else:
        size = str(arena_bytes)
    memories = "\n".join(
        f"  {span.symbol} (rwx) : ORIGIN = 0x{span.base:08x}, LENGTH = 0x{span.size:x}"
        for span in dict.fromkeys(spans.values())
    )
    values = {"MEMORIES": memories, "ARENA_BYTES": size, "STACK_BYTES": str(stack_bytes)}
    values |= {purpose.name: span.symbol for purpose, span in spans.items()}
    return re.sub(r"@(\w+)@", lambda match: values[match[1]], template.read_text())


def overflows(messages: str, layout: Layout) -> dict[str, int]:
    """Bytes that do not fit, by name of the memory, from the linker's messages; empty when it failed otherwise."""
    names = {span.symbol: span.name for span in layout.spans.values()}
    return {names[symbol]: int(count) for symbol, count in _OVERFLOW.findall(messages) if symbol in names}
