"""The block dumps recorded from a real Renode, as pieces and rows."""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path

from tinysim.counts import NO_BLOCK
from tinysim.image import Image
from tinysim.renode.pieces import Piece, Row, changes_flow, length_of


def code_of(image: Image, address: int, instructions: int) -> bytes:
    end = address
    for _ in range(instructions):
        end += length_of(int.from_bytes(image.read(end, 2), "little"))
    return image.read(address, end - address)


def read_dump(path: Path, image: Image) -> tuple[list[Piece], list[Row]]:
    """A dump names the piece before by its address alone. Which of the pieces that begin there it was follows from
    its end where it
    was cut; a cut piece is continued as often as it ran."""
    with path.open() as stream:
        lines = [
            (int(row["previous"], 16), int(row["block"], 16), int(row["instructions"]), int(row["count"]))
            for row in csv.DictReader(stream)
        ]
    pieces: list[Piece] = []
    numbers: dict[tuple[int, int], int] = {}
    ran: dict[int, int] = defaultdict(int)
    for _, address, instructions, count in lines:
        if (address, instructions) not in numbers:
            numbers[address, instructions] = len(pieces)
            pieces.append(Piece(address, instructions, code_of(image, address, instructions)))
        ran[numbers[address, instructions]] += count
    cut = {number: ran[number] for number, piece in enumerate(pieces) if not changes_flow(piece.code)}
    rows = []
    for previous, address, instructions, count in sorted(lines, key=lambda line: -line[3]):
        number = numbers[address, instructions]
        before = [n for n, piece in enumerate(pieces) if piece.address == previous]
        for candidate in before:
            if candidate in cut and pieces[candidate].end == address:
                taken = min(cut[candidate], count)
                cut[candidate] -= taken
                count -= taken
                if taken:
                    rows.append(Row(0, (candidate, number), taken))
        if count:
            whole = [n for n in before if n not in cut]
            rows.append(Row(0, (whole[0] if whole else NO_BLOCK, number), count))
    return pieces, rows
