"""Lines: what every instruction and every source line of a program cost.

A block's price is split among its instructions by pricing its beginnings: the first instruction, the first two, and so on, after the same
blocks; each instruction gets what it adds. On a real memory system a block costs more than that; its instructions then share the rest in
proportion.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from tinysim.core import Core
from tinysim.counts import Counts
from tinysim.estimate import Estimate, whole
from tinysim.image import Image, Symbol
from tinysim.timing import price

__all__ = ["InstructionCost", "LineCost", "SourceLines", "instruction_costs", "line_costs"]


@dataclass(frozen=True, slots=True)
class InstructionCost:
    """One instruction: how often it ran, what it cost in all."""

    address: int
    bytes: int
    executions: int
    cycles: float


@dataclass(frozen=True, slots=True)
class LineCost:
    """One source line inside a function. ``executions``: of its most executed instruction; ``instructions``: of all of them together."""

    file: str
    line: int
    executions: int
    instructions: int
    cycles: int


def _starts(code: bytes) -> list[int]:
    """Offsets of the instructions of a block, and its length (Armv7-M ARM, A5.1: the first five bits tell the length)."""
    offsets, at = [0], 0
    while at < len(code):
        at += 4 if code[at + 1] >> 3 in (0b11101, 0b11110, 0b11111) else 2
        offsets.append(min(at, len(code)))
    return offsets


def instruction_costs(
    estimate: Estimate, core: Core, region: int | None = None, function: Symbol | None = None
) -> dict[int, InstructionCost]:
    """What each instruction of a region cost (None: of the whole run), by address; only those of ``function`` where one is given."""
    run, image = estimate.run, estimate.image
    counts = run.counts(region)
    executions = counts.executions_of_keys()
    low, high = (function.address, function.address + max(function.bytes, 2)) if function else (0, 1 << 32)
    first = counts.block_address[counts.keys[:, -1]].astype(np.int64)
    wanted = np.flatnonzero((executions > 0) & (first >= low) & (first < high))
    blocks = sorted({int(b) for b in counts.keys[wanted, -1]})
    starts = {b: _starts(image.read(int(counts.block_address[b]), int(counts.block_size[b]))) for b in blocks}
    addresses, sizes = list(counts.block_address), list(counts.block_size)
    beginning: dict[int, list[int]] = {}
    for block in blocks:
        beginning[block] = []
        for end in starts[block][1:-1]:
            beginning[block].append(len(addresses))
            addresses.append(counts.block_address[block])
            sizes.append(np.uint32(end))
        beginning[block].append(block)
    rows: list[tuple[int, ...]] = []
    for key in wanted:
        *context, block = (int(b) for b in counts.keys[key])
        rows += [(*context, part) for part in beginning[block]]
    keys = np.array(rows, np.int32).reshape(len(rows), counts.keys.shape[1])
    extended = Counts(
        np.array(addresses, np.uint32), np.array(sizes, np.uint32), keys, np.ones((1, len(keys)), np.uint64),
        predication=counts.predication, divisions=counts.divisions,
    )  # fmt: skip
    prices = price(extended, image.read, core).cycles if rows else np.zeros(0)
    spent: dict[int, float] = {}
    times: dict[int, int] = {}
    width: dict[int, int] = {}
    of_block: dict[int, dict[int, float]] = {}
    at = 0
    for key in wanted:
        block, count = int(counts.keys[key, -1]), int(executions[key])
        offsets = starts[block]
        added = np.maximum(np.diff(prices[at : at + len(offsets) - 1], prepend=0.0), 0.0) * count
        at += len(offsets) - 1
        shares = of_block.setdefault(block, {})
        for offset, end, cycles in zip(offsets, offsets[1:], added, strict=False):
            address = int(counts.block_address[block]) + offset
            shares[address] = shares.get(address, 0.0) + float(cycles)
            times[address] = times.get(address, 0) + count
            width[address] = end - offset
    totals = estimate.costs.by_block[run.phases_of(region)].sum(axis=0)
    for block, shares in of_block.items():
        ideal = sum(shares.values())
        for address, cycles in shares.items():
            part = cycles / ideal if ideal else 1 / len(shares)
            spent[address] = spent.get(address, 0.0) + part * float(totals[block])
    return {a: InstructionCost(a, width[a], times[a], spent[a]) for a in sorted(spent)}


@dataclass(frozen=True)
class SourceLines:
    """The line table of an ELF file, with the folders the compiler recorded."""

    image: Image

    @cached_property
    def _rows(self) -> tuple[np.ndarray[Any, np.dtype[np.int64]], list[tuple[str, int] | None]]:
        rows = sorted(_rows(self.image.path), key=lambda row: row[0])
        return np.array([row[0] for row in rows], np.int64), [row[1] for row in rows]

    def at(self, address: int) -> tuple[str, int] | None:
        """Path and line of an instruction, or None where DWARF says nothing."""
        addresses, lines = self._rows
        index = int(np.searchsorted(addresses, address, side="right")) - 1
        return lines[index] if index >= 0 else None

    def text(self, path: str, folders: tuple[Path, ...] = ()) -> list[str] | None:
        """The lines of a source file: from where the compiler found it, or under one of ``folders`` by the longest end of its path."""
        parts = PurePosixPath(path).parts
        tails = [Path(*parts[k:]) for k in range(1 if parts and parts[0] == "/" else 0, len(parts))]
        for candidate in (Path(path), *(folder / tail for folder in folders for tail in tails)):
            try:
                return candidate.read_text(encoding="utf-8", errors="replace").splitlines()
            except OSError:
                continue
        return None


def _rows(path: Path) -> Iterator[tuple[int, tuple[str, int] | None]]:
    from elftools.common.exceptions import ELFError
    from elftools.elf.elffile import ELFFile

    try:
        with path.open("rb") as stream:
            elf = ELFFile(stream)
            if not elf.has_dwarf_info():
                return
            dwarf = elf.get_dwarf_info()
            for unit in dwarf.iter_CUs():
                program = dwarf.line_program_for_CU(unit)
                if program is None:
                    continue
                home = unit.get_top_DIE().attributes.get("DW_AT_comp_dir")
                names = _file_names(program, _text(home.value) if home else "")
                for entry in program.get_entries():
                    state = entry.state
                    if state is None:
                        continue
                    known = names.get(state.file)
                    yield state.address, None if state.end_sequence or known is None or not state.line else (known, state.line)
    except (ELFError, KeyError, ValueError, IndexError, OSError, AttributeError, TypeError):
        return  # source lines are a courtesy: damaged debug information must not stop a measurement


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _file_names(program: Any, home: str) -> Mapping[int, str]:
    """Full path by file number: DWARF 5 counts files and folders from 0, older versions from 1 with folder 0 the compiler's own."""
    version = program["version"]
    folders = [_text(folder) for folder in program["include_directory"]]
    if version < 5:
        folders.insert(0, home)
    names = {}
    for number, entry in enumerate(program["file_entry"], start=0 if version >= 5 else 1):
        folder = folders[entry.dir_index] if entry.dir_index < len(folders) else ""
        # a relative home was mapped from an absolute one (-ffile-prefix-map), and so were the folders
        names[number] = str((PurePosixPath(home) if home.startswith("/") else PurePosixPath()) / folder / _text(entry.name))
    return names


def line_costs(costs: Mapping[int, InstructionCost], lines: SourceLines) -> tuple[LineCost, ...]:
    """Costs by source line, in the order of files and lines; cycles are whole and add up to the rounded sum. Code without a line is left out."""
    found: dict[tuple[str, int], list[InstructionCost]] = {}
    for cost in costs.values():
        place = lines.at(cost.address)
        if place is not None:
            found.setdefault(place, []).append(cost)
    cycles = whole({f"{file}:{line}": sum(c.cycles for c in group) for (file, line), group in found.items()})
    return tuple(
        LineCost(file, line, max(c.executions for c in group), sum(c.executions for c in group), cycles[f"{file}:{line}"])
        for (file, line), group in sorted(found.items())
    )


