"""What each instruction is, reads and writes, whatever core runs it.

Capstone spells an instruction; ``platforms/isa/*.toml`` says what the spelled operands do. Both together give an
:class:`Instruction`, and for whole programs a table of integers that the pipelines walk (:func:`decode`).

Register masks are 64-bit: bits 0 to 15 r0 to r15, bits 16 to 47 s0 to s31 (a double is two of them), bit 48 the flags.
The program counter is never in a read mask: reading it waits for nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from enum import IntEnum
from functools import cache
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinysim.data import platforms_folder
from tinysim.errors import UnpricedError
from tinysim.operands import FLAGS_BIT, PC_BIT, Operand, parse_operands
from tinysim.tomlfile import Table, read_toml

__all__ = [
    "COLUMNS",
    "Branch",
    "Instruction",
    "InstructionSet",
    "Memory",
    "Program",
    "Trait",
    "decode",
    "load_isa",
]

ReadCode = Callable[[int, int], bytes]

NO_OFFSET = -(1 << 40)
"""Stands where an access has no constant offset from its base."""

_CONDITIONS = frozenset(
    ("eq", "ne", "hs", "lo", "cs", "cc", "mi", "pl", "vs", "vc", "hi", "ls", "ge", "lt", "gt", "le")
)
_MASKS = (
    "operand", "shifted", "extract", "multiplicand", "accumulator", "base", "index", "data", "result", "loaded",
    "writeback",
)  # fmt: skip
"""Fields of an instruction that are register masks; the first eight are read."""


class Memory(IntEnum):
    """Whether an instruction reads or writes memory."""

    NONE = 0
    LOAD = 1
    STORE = 2


class Branch(IntEnum):
    """How an instruction may leave the straight line."""

    NONE = 0
    DIRECT = 1
    REGISTER = 2
    LOAD = 3
    TABLE = 4


class Trait(IntEnum):
    """Bits of :attr:`Instruction.traits`."""

    REGISTER_OFFSET = 1
    INLINE_SHIFT = 2
    """A shifted register operand, or an immediate that is a rotated byte (neither a byte nor a repeated one)."""
    LINKS = 4
    RETURNS = 8
    LITERAL = 16
    DECIDES = 32
    """A conditional branch: it may be taken or not."""
    PREDICATED = 64
    """In an IT block, and not a direct branch: executed or skipped."""


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction. Masks are register masks as the module describes them; names of fields are the columns of a
    program table.

    ``operand``, ``shifted``, ``extract``, ``multiplicand``, ``accumulator``, ``base``, ``index``, ``data``: read, by
    what for. ``result``: written by executing (flags included), ``loaded``: written by memory, ``writeback``: an
    updated address base. ``words``: 32-bit transfers (0: no access), ``bytes``: size of one access, ``offset``:
    constant offset of the access from its base, NO_OFFSET when there is none.
    """

    address: int
    size: int
    text: str
    mnemonic: str
    class_name: str
    class_number: int
    operand: int = 0
    shifted: int = 0
    extract: int = 0
    multiplicand: int = 0
    accumulator: int = 0
    base: int = 0
    index: int = 0
    data: int = 0
    result: int = 0
    loaded: int = 0
    writeback: int = 0
    words: int = 0
    bytes: int = 0
    memory: Memory = Memory.NONE
    branch: Branch = Branch.NONE
    traits: int = 0
    offset: int = NO_OFFSET

    @property
    def conditional(self) -> bool:
        """Whether a condition decides if it does anything."""
        return bool(self.traits & (Trait.PREDICATED | Trait.DECIDES))


COLUMNS: tuple[str, ...] = tuple(
    field.name for field in fields(Instruction) if field.name not in ("text", "mnemonic", "class_name")
)
"""Columns of a program's table, in order."""
_row = attrgetter(*COLUMNS)


@dataclass(frozen=True, slots=True)
class _Form:
    tokens: tuple[str, ...]
    class_name: str
    class_number: int
    memory: Memory
    branch: Branch
    bytes: int
    words: int
    stack: bool
    flags: str
    reads_flags: bool
    links: bool
    decides: bool
    plain_immediate: int


@dataclass(frozen=True, slots=True)
class Program:
    """Decoded code.

    ``table``: shape (instructions, len(COLUMNS)), sorted by address. ``first``, ``last``: shape (blocks,), the rows
    [first, last) of each block.
    """

    table: NDArray[np.int64]
    texts: tuple[str, ...]
    first: NDArray[np.int64]
    last: NDArray[np.int64]


class InstructionSet:
    """The instructions of one architecture, read from its data file."""

    def __init__(self, root: Table) -> None:
        self.name = root.string("name")
        self.source = root.string("source")
        self.path = root.path
        self.forms: dict[str, list[_Form]] = {}
        self.classes: list[str] = []
        root.get("schema")
        root.get("confidence")
        for table in root.tables("instruction"):
            self._add(table)
        root.close()
        self._spellings: dict[str, tuple[str, bool, bool] | None] = {}
        self._templates: dict[tuple[str, str, int], tuple[Instruction, tuple[int, ...]] | None] = {}

    def _add(self, table: Table) -> None:
        class_name = table.string("class")
        if class_name not in self.classes:
            self.classes.append(class_name)
        memory = Memory[table.string("memory").upper()] if "memory" in table else Memory.NONE
        shared: dict[str, Any] = {
            "class_name": class_name,
            "class_number": self.classes.index(class_name),
            "memory": memory,
            "branch": Branch[table.string("branch").upper()] if "branch" in table else Branch.NONE,
            "bytes": table.integer("bytes", high=8) if "bytes" in table else 0,
            "words": table.integer("words", high=2) if "words" in table else int(memory is not Memory.NONE),
            "stack": "stack" in table and table.flag("stack"),
            "flags": table.string("flags") if "flags" in table else "",
            "reads_flags": "reads_flags" in table and table.flag("reads_flags"),
            "links": "links" in table and table.flag("links"),
            "decides": "decides" in table and table.flag("decides"),
            "plain_immediate": table.integer("plain_immediate") if "plain_immediate" in table else 255,
        }
        forms = [_Form(tokens=tuple(form.split()), **shared) for form in table.strings("forms")]
        for name in table.strings("names"):
            self.forms.setdefault(name, []).extend(forms)
        table.close()

    def spell(self, mnemonic: str) -> tuple[str, bool, bool] | None:
        """The table's name of a mnemonic, whether it sets flags by an s, whether it is conditional; None if unknown."""
        if mnemonic not in self._spellings:
            self._spellings[mnemonic] = next(self._candidates(mnemonic), None)
        return self._spellings[mnemonic]

    def _candidates(self, mnemonic: str) -> Iterator[tuple[str, bool, bool]]:
        name = mnemonic[:-2] if mnemonic.endswith((".w", ".n")) else mnemonic
        root, dot, types = name.partition(".")
        conditioned = [(root, False)]
        if root[-2:] in _CONDITIONS:
            conditioned.append((root[:-2], True))
        for stem, conditional in conditioned:
            if stem + dot + types in self.forms:
                yield stem + dot + types, False, conditional
            if stem.endswith("s") and any(form.flags == "s" for form in self.forms.get(stem[:-1] + dot + types, ())):
                yield stem[:-1] + dot + types, True, conditional

    def template(self, mnemonic: str, operands: str, size: int) -> tuple[Instruction, tuple[int, ...]] | None:
        """The instruction at address 0 and its row of a program table; None when the data does not know it."""
        key = (mnemonic, operands, size)
        if key not in self._templates:
            instruction = self._build(*key)
            self._templates[key] = None if instruction is None else (instruction, _row(instruction))
        return self._templates[key]

    def _build(self, mnemonic: str, text: str, size: int) -> Instruction | None:
        spelled = self.spell(mnemonic)
        operands = parse_operands(text)
        if spelled is None or operands is None:
            return None
        name, sets_flags, conditional = spelled
        for form in self.forms[name]:
            if len(form.tokens) == len(operands) and all(map(Operand.fits, operands, form.tokens)):
                return _assemble(form, operands, f"{mnemonic} {text}".strip(), mnemonic, size, sets_flags, conditional)
        return None


def _assemble(
    form: _Form, operands: list[Operand], text: str, mnemonic: str, size: int, sets_flags: bool, conditional: bool
) -> Instruction:
    masks = dict.fromkeys(_MASKS, 0)
    traits, words, offset = 0, form.words, NO_OFFSET
    for operand, token in zip(operands, form.tokens, strict=True):
        for role in operand.roles(token):
            masks[role] |= operand.mask
        if (operand.shift and token != "mem" and operand.shift != "ror") or (token == "op2" and operand.shift):
            traits |= Trait.INLINE_SHIFT
        if token == "op2" and operand.is_rotated(size, form.plain_immediate):
            traits |= Trait.INLINE_SHIFT
        if token == "mem":
            masks["base"] |= operand.base
            masks["index"] |= operand.index
            masks["writeback"] |= operand.base if operand.writeback else 0
            traits |= (Trait.REGISTER_OFFSET if operand.index else 0) | (Trait.LITERAL if operand.base == PC_BIT else 0)
            offset = NO_OFFSET if operand.index else operand.offset
        elif token in ("list", "slist", "dlist"):
            words = operand.mask.bit_count()
            masks["loaded" if form.memory is Memory.LOAD else "data"] |= operand.mask
        elif token == "r.base" and operand.writeback:
            masks["writeback"] |= operand.mask
    if form.stack:
        masks["base"] |= 1 << 13
        masks["writeback"] |= 1 << 13
    if sets_flags or form.flags == "always" or (form.flags == "apsr" and operands[0].text == "apsr_nzcv"):
        masks["result"] |= FLAGS_BIT
    written = masks["result"] | masks["loaded"]
    branch = form.branch
    if branch is Branch.NONE and written & PC_BIT:
        branch = Branch.LOAD if masks["loaded"] & PC_BIT else Branch.REGISTER
    returns = masks["base"] & 1 << 13 if branch is Branch.LOAD else masks["operand"] & 1 << 14
    if branch in (Branch.LOAD, Branch.REGISTER) and returns and not form.links:
        traits |= Trait.RETURNS
    if form.links:
        traits |= Trait.LINKS
        masks["result"] |= 1 << 14
    if form.reads_flags or conditional:
        masks["operand"] |= FLAGS_BIT
    if form.decides or (conditional and branch is Branch.DIRECT):
        traits |= Trait.DECIDES
    elif conditional:
        traits |= Trait.PREDICATED
    for role in _MASKS[:8]:
        masks[role] &= ~PC_BIT
    return Instruction(
        0, size, text, mnemonic, form.class_name, form.class_number,
        **masks, words=words, bytes=form.bytes, memory=form.memory, branch=branch, traits=traits, offset=offset,
    )  # fmt: skip


@cache
def load_isa(path: Path | None = None) -> InstructionSet:
    """The instruction set of a data file; by default ARMv7E-M. Raises PartError for a wrong file."""
    return InstructionSet(read_toml(path or platforms_folder() / "isa" / "armv7e-m.toml"))


@cache
def _disassembler() -> Any:
    import capstone

    return capstone.Cs(capstone.CS_ARCH_ARM, capstone.CS_MODE_THUMB | capstone.CS_MODE_MCLASS)


def unknown(address: int, code: bytes, text: str) -> UnpricedError:
    """The error for an instruction nobody has data for."""
    wide = len(code) >= 2 and code[1] >> 3 in (0b11101, 0b11110, 0b11111)
    shown = code[: 4 if wide else 2].hex(" ")
    return UnpricedError(
        f"no data for the instruction at {address:#010x}: {shown} {text or '(not decodable)'}",
        hint="add it to platforms/isa and platforms/cores, or keep it out of the measured region",
    )


def instructions(address: int, code: bytes, isa: InstructionSet | None = None) -> Iterator[Instruction]:
    """The instructions of straight-line code. Raises UnpricedError at one that the data does not know."""
    from dataclasses import replace

    isa = isa or load_isa()
    end = address + len(code)
    for at, size, mnemonic, operands in _disassembler().disasm_lite(code, address):
        found = isa.template(mnemonic, operands, size)
        if found is None:
            raise unknown(at, code[at - address :], f"{mnemonic} {operands}")
        yield replace(found[0], address=at)
        address, code = at + size, code[at + size - address :]
    if address < end:
        raise unknown(address, code, "")


def _merge(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Spans joined where they touch or overlap, sorted."""
    merged: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def decode(
    block_address: NDArray[Any], block_size: NDArray[Any], read_code: ReadCode, isa: InstructionSet | None = None
) -> Program:
    """Decodes blocks of code.

    ``block_address``, ``block_size``: shape (blocks,), bytes. Blocks may overlap or touch; a block may end anywhere
    between two instructions. Raises UnpricedError at an instruction that the data does not know.
    """
    isa = isa or load_isa()
    starts = block_address.astype(np.int64)
    ends = starts + block_size.astype(np.int64)
    rows: list[tuple[int, ...]] = []
    texts: list[str] = []
    addresses: list[int] = []
    templates = isa._templates
    disassemble = _disassembler().disasm_lite
    for start, end in _merge(zip(starts.tolist(), ends.tolist(), strict=True)):
        code = read_code(start, end - start)
        reached = start
        for address, size, mnemonic, operands in disassemble(code, start):
            # where a branch goes does not matter to what it is
            known = "#0" if operands[:1] == "#" and mnemonic[0] == "b" else operands
            found = templates.get((mnemonic, known, size)) or isa.template(mnemonic, known, size)
            if found is None:
                raise unknown(address, code[address - start :], f"{mnemonic} {operands}")
            rows.append(found[1])
            addresses.append(address)
            texts.append(f"{mnemonic} {operands}" if operands else mnemonic)
            reached = address + size
        if reached != end:
            raise unknown(reached, code[reached - start :], "")
    table = np.array(rows, dtype=np.int64).reshape(-1, len(COLUMNS))
    table[:, 0] = addresses
    where = table[:, 0]
    return Program(table, tuple(texts), np.searchsorted(where, starts), np.searchsorted(where, ends))
