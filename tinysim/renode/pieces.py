"""From pieces of code to blocks: what Renode's time quantum and hooks cut is joined again.

Renode reports each piece of straight-line code that ran, as address and number of instructions, with a few pieces before it. A
piece that does not end in an instruction which changes the flow and is followed by the piece at its own end is only the first
part of a block. A *block* here begins where the flow arrives and ends with the instruction that changes it, whatever cut it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tinysim.counts import NO_BLOCK
from tinysim.engine.run import MeasuredRegion, Phase, Run
from tinysim.errors import InputError

__all__ = ["BlockKey", "Piece", "Row", "changes_flow", "join_pieces", "length_of", "make_run"]

BlockKey = tuple[tuple[int, int], ...]
"""Blocks as (address, bytes), oldest context first, the block itself last; (NO_BLOCK, 0) for none."""
_NONE = (NO_BLOCK, 0)


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece that ran. ``fresh``: a measured stretch begins here, so it never continues the piece before it."""

    address: int
    instructions: int
    code: bytes
    fresh: bool = False

    @property
    def end(self) -> int:
        """One past its last byte."""
        return self.address + len(self.code)


@dataclass(frozen=True, slots=True)
class Row:
    """How often the last of ``path`` (piece numbers, oldest first, NO_BLOCK for none) ran after the others in ``phase``."""

    phase: int
    path: tuple[int, ...]
    executions: int


def length_of(halfword: int) -> int:
    """Bytes of the Thumb instruction that begins with ``halfword`` (Armv7-M ARM, A5.1)."""
    return 4 if halfword >> 11 in (0b11101, 0b11110, 0b11111) else 2


def changes_flow(code: bytes) -> bool:
    """Whether the last instruction of ``code`` can go elsewhere than to the next one: branch, call, or a write to PC.

    Raises InputError when the bytes are not whole instructions.
    """
    at = last = 0
    while at < len(code):
        last = at
        if at + 2 > len(code):
            break
        at += length_of(code[at] | code[at + 1] << 8)
    if at != len(code) or not code:
        raise InputError(f"{code.hex()} is not a sequence of whole Thumb instructions", hint="dump the counts again")
    first = code[last] | code[last + 1] << 8
    if at - last == 2:
        return _narrow_changes_flow(first)
    return _wide_changes_flow(first, code[last + 2] | code[last + 3] << 8)


def _narrow_changes_flow(op: int) -> bool:
    """Armv7-M ARM, A5.2."""
    return (
        (op >> 12 == 0b1101 and op >> 8 & 15 < 14)          # B<cond>
        or op & 0xF500 == 0xB100                            # CBZ, CBNZ
        or op >> 11 == 0b11100                              # B
        or op & 0xFF00 == 0x4700                            # BX, BLX
        or op & 0xFF00 == 0xBD00                            # POP {..., PC}
        or op & 0xFD87 == 0x4487                            # ADD PC, MOV PC
    )


def _wide_changes_flow(first: int, second: int) -> bool:
    """Armv7-M ARM, A5.3."""
    if first >> 11 == 0b11110 and second & 0x8000:
        if second & 0x5000:
            return True                                     # B.W, BL
        return first >> 7 & 7 != 7                          # B<cond>.W, else MSR, MRS, hints, barriers
    return (
        (first & 0xFFF0 == 0xE8D0 and second & 0xFFE0 == 0xF000)           # TBB, TBH
        or (first & 0xFE50 == 0xE810 and bool(second & 0x8000))            # LDM with PC
        or (first & 0xFF70 == 0xF850 and second >> 12 == 15)               # LDR PC
    )


class _Joiner:
    """Joins the pieces of one set of rows."""

    def __init__(self, pieces: Sequence[Piece], rows: Iterable[Row]) -> None:
        self.pieces = pieces
        self.final = [changes_flow(piece.code) for piece in pieces]
        self.rows = [row for row in rows if row.executions]
        # pieces seen as the rest of another one, and at the beginning of a block
        self.rests: set[int] = set()
        self.heads: set[int] = set()
        self.whole: dict[int, dict[tuple[int, int], int]] = defaultdict(lambda: defaultdict(int))

    def continues(self, before: int, piece: int) -> bool:
        """Whether ``piece`` is the rest of the block that ``before`` began."""
        if before == NO_BLOCK or self.final[before] or self.pieces[piece].fresh:
            return False
        return self.pieces[piece].address == self.pieces[before].end

    def chain(self, path: Sequence[int], last: int) -> tuple[int, int]:
        """The index of the piece in ``path`` where the block that ``path[last]`` belongs to begins, and that block's end."""
        first = last
        while first > 0 and self.continues(path[first - 1], path[first]):
            first -= 1
        return first, self.pieces[path[last]].end

    def block(self, path: Sequence[int], last: int) -> tuple[tuple[int, int], int]:
        """The block that ends with ``path[last]``, as (address, bytes), and the index before it."""
        first, end = self.chain(path, last)
        begin = path[first]
        address = self.pieces[begin].address
        if first == 0 and begin in self.rests and begin not in self.heads:
            # its beginning lies before the history: the block that most often ended like this
            candidates = self.whole.get(end, {})
            longer = [item for item in candidates.items() if item[0][0] < address]
            if longer:
                address = max(longer, key=lambda item: (item[1], -item[0][0]))[0][0]
        return (address, end - address), first - 1

    def key(self, path: Sequence[int], depth: int) -> BlockKey:
        """The block that ends with the last piece of ``path``, and ``depth`` blocks before it."""
        blocks: list[tuple[int, int]] = []
        at = len(path) - 1
        while len(blocks) <= depth:
            if at < 0 or path[at] == NO_BLOCK:
                blocks.append(_NONE)
                continue
            block, at = self.block(path, at)
            blocks.append(block)
        return tuple(reversed(blocks))

    def join(self, depth: int) -> dict[tuple[int, BlockKey], int]:
        """Executions of each (phase, key)."""
        for row in self.rows:
            before, piece = (row.path[-2] if len(row.path) > 1 else NO_BLOCK), row.path[-1]
            (self.rests if self.continues(before, piece) else self.heads).add(piece)
        for row in self.rows:
            first, end = self.chain(row.path, len(row.path) - 1)
            if self.final[row.path[-1]] and (first > 0 or row.path[0] in self.heads):
                address = self.pieces[row.path[first]].address
                self.whole[end][address, end - address] += row.executions
        result: dict[tuple[int, BlockKey], int] = defaultdict(int)
        cut: dict[tuple[int, ...], dict[int, int]] = defaultdict(lambda: defaultdict(int))   # by path, then phase
        for row in self.rows:
            if self.final[row.path[-1]]:
                result[row.phase, self.key(row.path, depth)] += row.executions
            else:
                cut[row.path[1:]][row.phase] += row.executions
        for row in self.rows:
            if len(row.path) > 1 and self.continues(row.path[-2], row.path[-1]):
                _take(cut[row.path[:-1]], row)
        # what is left was cut and not continued: an exception came, or the measurement ended there
        for path, phases in cut.items():
            for phase, executions in phases.items():
                if executions:
                    result[phase, self.key(path, depth)] += executions
        return dict(result)


def _take(cut: dict[int, int], row: Row) -> None:
    """``row`` continues the piece before it: that many executions of the latter ended no block."""
    left = row.executions
    for phase in sorted(cut, key=lambda phase: phase != row.phase):
        taken = min(left, cut[phase])
        cut[phase] -= taken
        left -= taken


def join_pieces(pieces: Sequence[Piece], rows: Iterable[Row], depth: int) -> dict[tuple[int, BlockKey], int]:
    """Executions of each (phase, block with the ``depth`` blocks before it).

    ``rows`` should have ``depth`` + 1 pieces of history or more: with fewer, the beginning of a context that was cut is taken
    to be that of the block which most often ended in the same place. Raises InputError for code that is not whole instructions.
    """
    return _Joiner(pieces, rows).join(depth)


def make_run(
    counts: Mapping[tuple[int, BlockKey], int], phases: Sequence[Phase], regions: Sequence[MeasuredRegion], depth: int
) -> Run:
    """The engines' common result, from the executions of each (phase, key)."""
    blocks: dict[tuple[int, int], int] = {}
    keys: dict[BlockKey, int] = {}
    table: list[tuple[int, int, int]] = []
    for (phase, key), executions in counts.items():
        for block in key:
            if block != _NONE:
                blocks.setdefault(block, len(blocks))
        table.append((keys.setdefault(key, len(keys)), phase, executions))
    numbers = np.array([[NO_BLOCK if b == _NONE else blocks[b] for b in key] for key in keys], np.int32).reshape(len(keys), depth + 1)
    calls = [sum(phase.entries for phase in phases if phase.marker == number) for number in range(len(regions))]
    return Run(
        block_address=np.array([address for address, _ in blocks], np.uint32),
        block_size=np.array([size for _, size in blocks], np.uint32),
        keys=numbers,
        key=np.array([row[0] for row in table], np.int64),
        phase=np.array([row[1] for row in table], np.int64),
        executions=np.array([row[2] for row in table], np.uint64),
        mispredictions=np.zeros(len(table), np.uint64),
        mispredictions_history=np.zeros(len(table), np.uint64),
        phases=tuple(phases),
        regions=tuple(regions),
        calls=tuple(calls),
    )
