"""Counts in a file: schema ``tinysim.counts/1``, written inside Renode and read here. docs/renode.md describes it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from tinysim.counts import NO_BLOCK
from tinysim.engine.run import LAYER_MARKER, MeasuredRegion, Phase, Run
from tinysim.errors import InputError
from tinysim.renode.pieces import Piece, Row, changes_flow, join_pieces, length_of, make_run

__all__ = ["SCHEMA", "CountsFile", "parse_counts", "read_counts", "write_counts"]

SCHEMA = "tinysim.counts/1"
_MOST_BYTES = 1 << 30
_MOST_HISTORY = 8
_NO_STACK = (1 << 32) - 1


@dataclass(frozen=True, slots=True)
class CountsFile:
    """What a counter inside Renode saw.

    ``predicted``: whether branch predictors ran. ``instructions``: executed while counting, as the counter summed them;
    ``executed``: the same by Renode's own count.
    """

    cpu: str
    counter: str
    history: int
    predicted: bool
    regions: tuple[MeasuredRegion, ...]
    phases: tuple[Phase, ...]
    pieces: tuple[Piece, ...]
    rows: tuple[Row, ...]
    instructions: int
    executed: int

    def run(self, depth: int) -> Run:
        """The common form of the engines, with ``depth`` context blocks for each key."""
        return make_run(join_pieces(self.pieces, self.rows, depth), self.phases, self.regions, depth)

    def read_code(self, address: int, size: int) -> bytes:
        """``size`` bytes of code that ran. Raises InputError where nothing ran."""
        return self.code_reader()(address, size)

    def code_reader(self) -> Callable[[int, int], bytes]:
        """A function like `read_code`, quicker for many reads."""
        code: dict[int, int] = {}
        for piece in self.pieces:
            code.update(zip(range(piece.address, piece.end), piece.code, strict=True))

        def read(address: int, size: int) -> bytes:
            try:
                return bytes(code[at] for at in range(address, address + size))
            except KeyError:
                raise InputError(f"the counts have no code at {address:#010x}", hint="dump them again") from None

        return read


def read_counts(path: Path | str) -> CountsFile:
    """Counts from a file. Raises InputError when it cannot be read or is not what it should be."""
    path = Path(path)
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise InputError(
                f"{path} is larger than any counts file", hint="pass a file written by tinysim_dump or TinysimDump"
            )
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}", hint="check the path") from error
    except UnicodeDecodeError:
        raise InputError(f"{path} is not text", hint="pass a file written by tinysim_dump or TinysimDump") from None
    return parse_counts(text, str(path))


def parse_counts(text: str, name: str = "counts") -> CountsFile:
    """Counts from JSON text; ``name`` is what the file is called in messages. Raises InputError."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{name} is not JSON: {error}", hint="pass a file written by tinysim_dump or TinysimDump"
        ) from None
    return _Reader(name).file(data)


def write_counts(counts: CountsFile, path: Path | str) -> None:
    """The inverse of `read_counts`."""
    Path(path).write_text(json.dumps(_plain(counts)), encoding="utf-8")


def _plain(counts: CountsFile) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "counter": counts.counter,
        "cpu": counts.cpu,
        "history": counts.history,
        "predicted": int(counts.predicted),
        "instructions": counts.instructions,
        "executed": counts.executed,
        "markers": [[r.name, r.start, r.stop] for r in counts.regions],
        "phases": [
            [p.parent if number else -1, p.marker, min(p.lowest_sp, _NO_STACK), p.entries]
            for number, p in enumerate(counts.phases)
        ],
        "pieces": [[p.address, p.instructions, int(p.fresh), p.code.hex()] for p in counts.pieces],
        "rows": [[r.phase, *r.path, r.executions, *(r.missed if counts.predicted else ())] for r in counts.rows],
    }


class _Reader:
    """Checks every value: the file may come from anywhere."""

    def __init__(self, name: str) -> None:
        self.name = name

    def fail(self, what: str) -> NoReturn:
        raise InputError(
            f"{self.name}: {what}", hint="dump the counts again; the file is damaged or of another version"
        )

    def number(self, value: object, what: str, low: int, high: int) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            self.fail(f"{what} is {value!r}, not a whole number from {low} to {high}")
        return value

    def list(self, value: object, what: str, length: int | None = None) -> list[Any]:
        if not isinstance(value, list) or (length is not None and len(value) != length):
            self.fail(f"{what} is not a list" + (f" of {length}" if length is not None else ""))
        return value

    def text(self, value: object, what: str) -> str:
        if not isinstance(value, str):
            self.fail(f"{what} is not text")
        return value

    def file(self, data: object) -> CountsFile:
        if not isinstance(data, dict) or data.get("schema") != SCHEMA:
            found = data.get("schema") if isinstance(data, dict) else type(data).__name__
            raise InputError(
                f"{self.name} is not a {SCHEMA} file: {found!r}",
                hint="pass a file written by tinysim_dump or TinysimDump",
            )
        history = self.number(data.get("history"), "history", 1, _MOST_HISTORY)
        predicted = bool(self.number(data.get("predicted", 0), "predicted", 0, 1))
        regions = tuple(self.region(item, k) for k, item in enumerate(self.list(data.get("markers"), "markers")))
        names = [region.name for region in regions]
        if len(set(names)) != len(names):
            self.fail("two markers have one name")
        phases = tuple(
            self.phase(item, k, len(regions)) for k, item in enumerate(self.list(data.get("phases"), "phases"))
        )
        if not phases:
            self.fail("phases is empty")
        pieces = tuple(self.piece(item, k) for k, item in enumerate(self.list(data.get("pieces"), "pieces")))
        rows = tuple(
            self.row(item, k, history, predicted, len(phases), len(pieces))
            for k, item in enumerate(self.list(data.get("rows"), "rows"))
        )
        most = (1 << 63) - 1
        result = CountsFile(
            cpu=self.text(data.get("cpu"), "cpu"),
            counter=self.text(data.get("counter"), "counter"),
            history=history,
            predicted=predicted,
            regions=regions,
            phases=phases,
            pieces=pieces,
            rows=rows,
            instructions=self.number(data.get("instructions"), "instructions", 0, most),
            executed=self.number(data.get("executed"), "executed", 0, most),
        )
        total = sum(row.executions * pieces[row.path[-1]].instructions for row in rows)
        if total != result.instructions:
            self.fail(f"its rows sum up to {total:,} instructions, not to the {result.instructions:,} it names")
        return result

    def region(self, item: object, number: int) -> MeasuredRegion:
        name, start, stop = self.list(item, f"marker {number}", 3)
        top = (1 << 32) - 1
        return MeasuredRegion(
            self.text(name, f"name of marker {number}"),
            self.number(start, f"start of marker {number}", 0, top),
            None if stop is None else self.number(stop, f"end of marker {number}", 0, top),
        )

    def phase(self, item: object, number: int, regions: int) -> Phase:
        parent, marker, lowest_sp, entries = self.list(item, f"phase {number}", 4)
        parent = self.number(parent, f"parent of phase {number}", -1, number - 1)
        if (parent == -1) != (number == 0):
            self.fail(f"phase {number} has parent {parent}")
        if number == 0:
            self.number(marker, "marker of phase 0", -1, -1)
        elif not (isinstance(marker, int) and marker >= LAYER_MARKER):
            self.number(marker, f"marker of phase {number}", 0, regions - 1)
        stack = self.number(lowest_sp, f"stack of phase {number}", 0, _NO_STACK)
        entries = self.number(entries, f"entries of phase {number}", 0, 1 << 62)
        return Phase(max(parent, 0), marker, 1 << 40 if stack == _NO_STACK else stack, entries)

    def piece(self, item: object, number: int) -> Piece:
        address, instructions, fresh, code = self.list(item, f"piece {number}", 4)
        try:
            data = bytes.fromhex(self.text(code, f"code of piece {number}"))
        except ValueError:
            self.fail(f"code of piece {number} is not hexadecimal")
        piece = Piece(
            self.number(address, f"address of piece {number}", 0, (1 << 32) - 1 - len(data)),
            self.number(instructions, f"instructions of piece {number}", 1, 1 << 16),
            data,
            bool(self.number(fresh, f"mark of piece {number}", 0, 1)),
        )
        if piece.address & 1:
            self.fail(f"piece {number} is at an odd address")
        changes_flow(data)  # refuses what is no sequence of whole instructions
        at = found = 0
        while at < len(data):
            at += length_of(data[at] | data[at + 1] << 8)
            found += 1
        if found != piece.instructions:
            self.fail(f"the code of piece {number} holds {found} instructions, not {piece.instructions}")
        return piece

    def row(self, item: object, number: int, history: int, predicted: bool, phases: int, pieces: int) -> Row:
        values = self.list(item, f"row {number}", history + (5 if predicted else 3))
        path = [self.number(v, f"piece in row {number}", NO_BLOCK, pieces - 1) for v in values[1 : history + 2]]
        if path[-1] == NO_BLOCK:
            self.fail(f"row {number} counts no piece")
        executions = self.number(values[history + 2], f"count of row {number}", 0, 1 << 62)
        missed = [self.number(v, f"mispredictions of row {number}", 0, executions) for v in values[history + 3 :]]
        return Row(
            self.number(values[0], f"phase of row {number}", 0, phases - 1),
            tuple(path),
            executions,
            (missed[0], missed[1]) if predicted else (0, 0),
        )
