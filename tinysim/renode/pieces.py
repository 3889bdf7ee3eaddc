"""From pieces of code to blocks: what Renode's time quantum and hooks cut is joined again.

Renode reports each piece of straight-line code that ran, as address and number of instructions, with a few pieces
before it. A
piece that does not end in an instruction which changes the flow and is followed by the piece at its own end is only
the first
part of a block. A *block* here begins where the flow arrives and ends with the instruction that changes it, whatever
cut it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tinysim.counts import NO_BLOCK
from tinysim.engine.run import MeasuredRegion, Phase, Run
from tinysim.errors import InputError

__all__ = ["BlockKey", "Joined", "Missed", "Piece", "Row", "changes_flow", "join_pieces", "length_of", "make_run"]

BlockKey = tuple[tuple[int, int], ...]
"""Blocks as (address, bytes), oldest context first, the block itself last; (NO_BLOCK, 0) for none."""
_NONE = (NO_BLOCK, 0)
Missed = tuple[int, int]
"""Mispredictions of a predictor without and of one with history."""


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
    """How often the last of ``path`` (piece numbers, oldest first, NO_BLOCK for none) ran after the others in
    ``phase``, and how often a branch that led there was predicted wrongly: without history, with history."""

    phase: int
    path: tuple[int, ...]
    executions: int
    missed: Missed = (0, 0)


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
        (op >> 12 == 0b1101 and op >> 8 & 15 < 14)  # B<cond>
        or op & 0xF500 == 0xB100  # CBZ, CBNZ
        or op >> 11 == 0b11100  # B
        or op & 0xFF00 == 0x4700  # BX, BLX
        or op & 0xFF00 == 0xBD00  # POP {..., PC}
        or op & 0xFD87 == 0x4487  # ADD PC, MOV PC
    )


def _wide_changes_flow(first: int, second: int) -> bool:
    """Armv7-M ARM, A5.3."""
    if first >> 11 == 0b11110 and second & 0x8000:
        if second & 0x5000:
            return True  # B.W, BL
        return first >> 7 & 7 != 7  # B<cond>.W, else MSR, MRS, hints, barriers
    return (
        (first & 0xFFF0 == 0xE8D0 and second & 0xFFE0 == 0xF000)  # TBB, TBH
        or (first & 0xFE50 == 0xE810 and bool(second & 0x8000))  # LDM with PC
        or (first & 0xFF70 == 0xF850 and second >> 12 == 15)  # LDR PC
    )


@dataclass(frozen=True, slots=True)
class Joined:
    """Executions of each (phase, key), and the mispredictions of those that have any."""

    executions: Mapping[tuple[int, BlockKey], int]
    missed: Mapping[tuple[int, BlockKey], Missed]


@dataclass(frozen=True, slots=True)
class _Entry:
    """Executions of a block with a known beginning. ``unknown``: where its nearest context ends, if its beginning is
    not known."""

    phase: int
    key: BlockKey
    unknown: int | None


class _Joiner:
    """Joins the pieces of one set of rows.

    A block is counted where its first piece was: the row of that piece has what ran before it. Where a block ends
    follows from
    the code, except for those that were left early, which are found by the pieces that nothing continued.
    """

    def __init__(self, pieces: Sequence[Piece], rows: Iterable[Row], depth: int) -> None:
        self.pieces, self.depth = pieces, depth
        self.final = [changes_flow(piece.code) for piece in pieces]
        self.rows = [row for row in rows if row.executions]
        self.heads = {row.path[-1] for row in self.rows if not self._is_rest(row)}
        self.ends = self._block_ends()
        self.beginnings: dict[int, set[int]] = defaultdict(set)  # of the blocks that end at an address
        for head in self.heads:
            if self.ends[head] is not None:
                self.beginnings[self.ends[head] or 0].add(pieces[head].address)

    def _is_rest(self, row: Row) -> bool:
        return len(row.path) > 1 and self._continues(row.path[-2], row.path[-1])

    def _continues(self, before: int, piece: int) -> bool:
        """Whether ``piece`` is the rest of the block that ``before`` is part of."""
        if before == NO_BLOCK or self.final[before] or self.pieces[piece].fresh:
            return False
        return self.pieces[piece].address == self.pieces[before].end

    def _block_ends(self) -> list[int | None]:
        """For each piece, the end of the block it is part of: where the flow can change. None where no run came that
        far."""
        ends: dict[int, int] = {}  # by the address where a piece begins
        result: list[int | None] = [None] * len(self.pieces)
        for number in sorted(range(len(self.pieces)), key=lambda n: -self.pieces[n].address):
            piece = self.pieces[number]
            end = piece.end if self.final[number] else ends.get(piece.end)
            if end is not None:
                result[number] = ends[piece.address] = end
        return result

    def _first(self, path: Sequence[int], last: int) -> int:
        """The index of the piece where the block that ``path[last]`` is part of begins, as far as ``path`` reaches."""
        while last > 0 and self._continues(path[last - 1], path[last]):
            last -= 1
        return last

    def _contexts(self, path: Sequence[int]) -> tuple[BlockKey, int | None]:
        """The ``depth`` blocks that ran to the end of ``path``; the end of the nearest one where its beginning is not
        known."""
        blocks: list[tuple[int, int]] = []
        unknown = None
        at = len(path) - 1
        while len(blocks) < self.depth:
            if at < 0 or path[at] == NO_BLOCK:
                blocks.append(_NONE)
                continue
            first = self._first(path, at)
            begin, end = self.pieces[path[first]].address, self.pieces[path[at]].end
            if first == 0 and path[0] not in self.heads and self.beginnings[end]:
                if not blocks:
                    unknown = end
                begin = max(self.beginnings[end])  # the longest that could be known to have run whole
            blocks.append((begin, end - begin))
            at = first - 1
        return tuple(reversed(blocks)), unknown

    def join(self) -> Joined:
        """Executions and mispredictions of each (phase, key)."""
        missed: dict[tuple[int, tuple[int, ...]], Missed] = {}
        missed_of: dict[_Entry, Missed] = {}
        whole: dict[tuple[int, tuple[int, ...]], int] = defaultdict(
            int
        )  # by the phase and path of a block's first piece
        cut: dict[tuple[int, ...], dict[int, int]] = defaultdict(lambda: defaultdict(int))  # by path, then phase
        for row in self.rows:
            if not self._is_rest(row):
                whole[row.phase, row.path] += row.executions
                missed[row.phase, row.path] = _sum(missed.get((row.phase, row.path), (0, 0)), row.missed)
            if not self.final[row.path[-1]]:
                cut[row.path[1:] or row.path][row.phase] += row.executions
        for row in self.rows:
            if self._is_rest(row):
                _take(cut[row.path[:-1]], row)
        entries: dict[_Entry, int] = defaultdict(int)
        for path, phases in cut.items():
            for phase, executions in phases.items():
                self._left_early(whole, entries, phase, path, executions)
        for (phase, path), executions in whole.items():
            end = self.ends[path[-1]]
            if executions and end is not None:
                begin = self.pieces[path[-1]].address
                contexts, unknown = self._contexts(path[:-1])
                entry = _Entry(phase, (*contexts, (begin, end - begin)), unknown)
                entries[entry] += executions
                missed_of[entry] = _sum(missed_of.get(entry, (0, 0)), missed[phase, path])
        return self._resolved(entries, missed_of)

    def _left_early(
        self,
        whole: dict[tuple[int, tuple[int, ...]], int],
        entries: dict[_Entry, int],
        phase: int,
        path: tuple[int, ...],
        executions: int,
    ) -> None:
        """Blocks cut after the last of ``path`` and not continued: an exception came, or the measurement ended
        there."""
        first = self._first(path, len(path) - 1)
        known = path[: first + 1]
        end = self.pieces[path[-1]].end
        # the rows of first pieces that can have led here, the surest first
        candidates = sorted(
            (
                at
                for at in whole
                if whole[at]
                and (at[1][-len(known) :] == known or (first == 0 and self.ends[at[1][-1]] == self.ends[path[0]]))
            ),
            key=lambda at: (at[1][-len(known) :] != known, at[0] != phase, -whole[at]),
        )
        for at in candidates:
            if not executions:
                return
            taken = min(executions, whole[at])
            whole[at] -= taken
            executions -= taken
            begin = self.pieces[at[1][-1]].address
            contexts, unknown = self._contexts(at[1][:-1])
            entries[_Entry(at[0], (*contexts, (begin, end - begin)), unknown)] += taken

    def _resolved(self, entries: Mapping[_Entry, int], missed: Mapping[_Entry, Missed]) -> Joined:
        """Give contexts whose beginning is not known the blocks that ran as often as that leaves open: what runs is
        also left."""
        result: dict[tuple[int, BlockKey], int] = defaultdict(int)
        wrong: dict[tuple[int, BlockKey], Missed] = {}
        balance: dict[tuple[int, int], int] = defaultdict(int)  # executions of a block minus those as nearest context
        follows: dict[tuple[tuple[int, int], tuple[int, int]], int] = defaultdict(int)
        open_entries: list[tuple[_Entry, int]] = []
        for entry, executions in entries.items():
            balance[entry.key[-1]] += executions
            if entry.unknown is None or self.depth == 0:
                result[entry.phase, entry.key] += executions
                _add(wrong, (entry.phase, entry.key), missed.get(entry))
                if self.depth:
                    balance[entry.key[-2]] -= executions
                    follows[entry.key[-2], entry.key[-1]] += executions
            else:
                open_entries.append((entry, executions))

        def choices(entry: _Entry) -> list[tuple[int, int]]:
            end = entry.unknown or 0
            blocks = [(begin, end - begin) for begin in sorted(self.beginnings[end])]
            seen = [block for block in blocks if follows[block, entry.key[-1]]]
            return sorted(seen or blocks, key=lambda block: -follows[block, entry.key[-1]])

        for entry, executions in sorted(
            open_entries, key=lambda item: (len(choices(item[0])), item[0].key, item[0].phase)
        ):
            blocks = choices(entry)
            likeliest = next((block for block in blocks if balance[block] > 0), blocks[0])
            _add(wrong, (entry.phase, (*entry.key[:-2], likeliest, entry.key[-1])), missed.get(entry))
            for block in blocks:
                given = min(executions, max(balance[block], 0))
                if given:
                    result[entry.phase, (*entry.key[:-2], block, entry.key[-1])] += given
                    balance[block] -= given
                    executions -= given
            if executions:
                result[entry.phase, (*entry.key[:-2], blocks[0], entry.key[-1])] += executions
        return Joined(dict(result), wrong)


def _sum(one: Missed, other: Missed) -> Missed:
    return one[0] + other[0], one[1] + other[1]


def _add(table: dict[tuple[int, BlockKey], Missed], at: tuple[int, BlockKey], more: Missed | None) -> None:
    if more is not None and any(more):
        table[at] = _sum(table.get(at, (0, 0)), more)


def _take(cut: dict[int, int], row: Row) -> None:
    """``row`` continues the piece before it: that many executions of the latter ended no block."""
    left = row.executions
    for phase in sorted(cut, key=lambda phase: phase != row.phase):
        taken = min(left, cut[phase])
        cut[phase] -= taken
        left -= taken


def join_pieces(pieces: Sequence[Piece], rows: Iterable[Row], depth: int) -> Joined:
    """Executions and mispredictions of each (phase, block with the ``depth`` blocks before it).

    ``rows`` should have ``depth`` + 1 pieces of history or more: with fewer, the beginning of a context that was cut
    is taken
    to be that of the block which most often ended in the same place. Raises InputError for code that is not whole
    instructions.
    """
    return _Joiner(pieces, rows, depth).join()


def make_run(counts: Joined, phases: Sequence[Phase], regions: Sequence[MeasuredRegion], depth: int) -> Run:
    """The engines' common result, from the executions and mispredictions of each (phase, key)."""
    blocks: dict[tuple[int, int], int] = {}
    keys: dict[BlockKey, int] = {}
    table: list[tuple[int, ...]] = []
    for (phase, key), executions in counts.executions.items():
        for block in key:
            if block != _NONE:
                blocks.setdefault(block, len(blocks))
        table.append((keys.setdefault(key, len(keys)), phase, executions, *counts.missed.get((phase, key), (0, 0))))
    numbers = [[NO_BLOCK if block == _NONE else blocks[block] for block in key] for key in keys]
    columns = np.array(table, np.int64).reshape(len(table), 5)
    return Run(
        block_address=np.array([address for address, _ in blocks], np.uint32),
        block_size=np.array([size for _, size in blocks], np.uint32),
        keys=np.array(numbers, np.int32).reshape(len(keys), depth + 1),
        key=columns[:, 0],
        phase=columns[:, 1],
        executions=columns[:, 2].astype(np.uint64),
        mispredictions=columns[:, 3].astype(np.uint64),
        mispredictions_history=columns[:, 4].astype(np.uint64),
        phases=tuple(phases),
        regions=tuple(regions),
        calls=tuple(sum(p.entries for p in phases if p.marker == number) for number in range(len(regions))),
    )
