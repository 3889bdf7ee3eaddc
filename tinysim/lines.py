"""Lines: what every instruction and every source line of a program cost.

What each instruction costs on ideal memory is known (`tinysim.timing.explain`). On a real memory system a block costs
more than that; its instructions then share the rest in proportion.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from tinysim.core import Core
from tinysim.estimate import Estimate, whole
from tinysim.image import Image, Symbol
from tinysim.timing.explain import explain

__all__ = ["InstructionCost", "LineCost", "SourceLines", "instruction_costs", "line_costs"]


@dataclass(frozen=True, slots=True)
class InstructionCost:
    """One instruction: how often it ran, what it cost in all."""

    address: int
    text: str
    executions: int
    cycles: float


@dataclass(frozen=True, slots=True)
class LineCost:
    """One source line inside a function. ``executions``: of its most executed instruction; ``instructions``: of all
    of them together.
    """

    file: str
    line: int
    executions: int
    instructions: int
    cycles: int


def instruction_costs(
    estimate: Estimate, core: Core, region: int | None = None, function: Symbol | None = None
) -> dict[int, InstructionCost]:
    """What each instruction of a region cost (None: of the whole run), by address; only those of ``function`` where
    one is given.
    """
    run = estimate.run
    ranges = [(function.address, function.address + max(function.bytes, 2))] if function else None
    totals = dict.fromkeys(zip(run.block_address.tolist(), run.block_size.tolist(), strict=True), 0.0)
    by_block = estimate.costs.by_block[run.phases_of(region)].sum(axis=0)
    for place, cycles in zip(totals, by_block.tolist(), strict=True):
        totals[place] = cycles
    found: dict[int, InstructionCost] = {}
    for block in explain(run.counts(region), estimate.image.read, core, ranges):
        ideal = sum(instruction.cycles for instruction in block.instructions)
        for instruction in block.instructions:
            share = instruction.cycles / ideal if ideal else 1 / len(block.instructions)
            cost = InstructionCost(
                instruction.address, instruction.text, instruction.executions, share * totals[block.address, block.size]
            )
            known = found.get(instruction.address)
            if known is not None:  # the same instruction in two blocks, one of which begins inside the other
                cost = replace(cost, executions=known.executions + cost.executions, cycles=known.cycles + cost.cycles)
            found[instruction.address] = cost
    return dict(sorted(found.items()))


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
        """The lines of a source file: from where the compiler found it, or under one of ``folders`` by the longest
        end of its path.
        """
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
                    yield (
                        state.address,
                        None if state.end_sequence or known is None or not state.line else (known, state.line),
                    )
    except (ELFError, KeyError, ValueError, IndexError, OSError, AttributeError, TypeError):
        return  # source lines are a courtesy: damaged debug information must not stop a measurement


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _file_names(program: Any, home: str) -> Mapping[int, str]:
    """Full path by file number: DWARF 5 counts files and folders from 0, older versions from 1 with folder 0 the
    compiler's own.
    """
    version = program["version"]
    folders = [_text(folder) for folder in program["include_directory"]]
    if version < 5:
        folders.insert(0, home)
    names = {}
    for number, entry in enumerate(program["file_entry"], start=0 if version >= 5 else 1):
        folder = folders[entry.dir_index] if entry.dir_index < len(folders) else ""
        # a relative home was mapped from an absolute one (-ffile-prefix-map), and so were the folders
        names[number] = str(
            (PurePosixPath(home) if home.startswith("/") else PurePosixPath()) / folder / _text(entry.name)
        )
    return names


def line_costs(costs: Mapping[int, InstructionCost], lines: SourceLines) -> tuple[LineCost, ...]:
    """Costs by source line, in the order of files and lines; cycles are whole and add up to the rounded sum. Code
    without a line is left out.
    """
    found: dict[tuple[str, int], list[InstructionCost]] = {}
    for cost in costs.values():
        place = lines.at(cost.address)
        if place is not None:
            found.setdefault(place, []).append(cost)
    cycles = whole({f"{file}:{line}": sum(c.cycles for c in group) for (file, line), group in found.items()})
    return tuple(
        LineCost(
            file, line, max(c.executions for c in group), sum(c.executions for c in group), cycles[f"{file}:{line}"]
        )
        for (file, line), group in sorted(found.items())
    )
