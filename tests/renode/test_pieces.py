"""Pieces of code joined to blocks: recorded dumps against the embedded engine, and any program cut anywhere."""

from __future__ import annotations

import itertools
from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recorded import read_dump

from tinysim.counts import NO_BLOCK
from tinysim.engine.run import MeasuredRegion, Phase, Run
from tinysim.engine.unicorn_machine import Machine
from tinysim.errors import InputError
from tinysim.image import Image, load_image
from tinysim.part import Part
from tinysim.renode.pieces import BlockKey, Joined, Piece, Row, changes_flow, join_pieces, length_of, make_run

NOP, BRANCH, WIDE = b"\x00\xbf", b"\xfe\xe7", b"\x00\xeb\x00\x00"  # nop; b .; add.w r0, r0, r0


def by_key(run: Run) -> dict[BlockKey, int]:
    """Executions by key, with blocks as (address, bytes)."""
    result: dict[BlockKey, int] = defaultdict(int)
    for key, executions in zip(run.key, run.executions, strict=True):
        blocks = tuple(
            (NO_BLOCK, 0) if b == NO_BLOCK else (int(run.block_address[b]), int(run.block_size[b]))
            for b in run.keys[key]
        )
        result[blocks if run.keys[key][0] != NO_BLOCK else ((NO_BLOCK, 0), *blocks[1:])] += int(executions)
    return dict(result)


@pytest.mark.parametrize(
    "dump",
    [
        "d_blocks_end_default.csv",
        "d_blocks_end_1.csv",
        "d_blocks_begin_default.csv",
        "d_blocks_begin_1.csv",
        "j_blocks_default.csv",
        "j_blocks_1.csv",
    ],
)
def test_recorded_dumps_give_the_counts_of_the_embedded_engine(shared: Path, board: Part, dump: str) -> None:
    image = load_image(shared / "target" / "prog.elf")
    machine = Machine(image, _as_recorded(board), depth=1, predict=False, clock=NoTime())
    machine.write(image.symbol("mailbox").address, (0).to_bytes(4, "little") + (20).to_bytes(4, "little"))
    machine.run_to(image.symbol("bench_done").address)
    expected = machine.take()
    pieces, rows = read_dump(shared / dump, image)
    assert sum(row.executions * pieces[row.path[-1]].instructions for row in rows) == 333_990  # what Renode executed
    joined = join_pieces(pieces, rows, 1)
    run = make_run(joined, [Phase(0, -1, 1 << 40, 0)], [], 1)
    assert by_key(run) == by_key(expected)


class NoTime:
    """A clock for a program that reads the time but does nothing with it."""

    def cycles(self, _machine: Machine, _done_bytes: int | None) -> int:
        return 0

    def forget(self, _machine: Machine) -> None:
        """Nothing to forget."""


def _as_recorded(board: Part) -> Part:
    import dataclasses

    sizes = {"flash": 0x100000, "sram": 0x40000}
    return dataclasses.replace(board, regions=tuple(dataclasses.replace(r, size=sizes[r.name]) for r in board.regions))


@st.composite
def programs(draw: st.DrawFn) -> tuple[dict[int, bytes], list[tuple[int, int]], list[list[int]]]:
    """Code in blocks, a walk through them as (address, bytes), and for each step where it is cut."""
    count = draw(st.integers(1, 5))
    code: dict[int, bytes] = {}
    entries: list[tuple[int, int]] = []  # a block, and an entry into its middle
    at = 0x08000000
    for _ in range(count):
        body = draw(st.lists(st.sampled_from([NOP, WIDE]), min_size=1, max_size=6))
        block = b"".join(body) + BRANCH
        code[at] = block
        entries += [(at, len(block)), (at + len(body[0]), len(block) - len(body[0]))]
        at += len(block) + draw(st.sampled_from([0, 8]))
    walk = draw(st.lists(st.sampled_from(entries), min_size=1, max_size=60))
    cuts = [draw(st.lists(st.integers(1, 6), max_size=2)) if draw(st.integers(0, 9)) == 0 else [] for _ in walk]
    return code, walk, cuts


def pieces_of(code: dict[int, bytes], step: tuple[int, int], cuts: list[int]) -> list[tuple[int, bytes]]:
    address, size = step
    base = max(b for b in code if b <= address)
    data = code[base][address - base : address - base + size]
    edges, at = [0], 0
    while at < len(data):
        at += length_of(data[at] | data[at + 1] << 8)
        edges.append(at)
    chosen = sorted({0, len(data)} | {edges[c] for c in cuts if c < len(edges)})
    return [(address + a, data[a:b]) for a, b in itertools.pairwise(chosen)]


def rows_of(parts: list[tuple[int, bytes]], history: int) -> tuple[list[Piece], list[Row]]:
    numbers: dict[tuple[int, bytes], int] = {}
    counted: dict[tuple[int, ...], int] = defaultdict(int)
    path = (NO_BLOCK,) * history
    for part in parts:
        number = numbers.setdefault(part, len(numbers))
        counted[*path, number] += 1
        path = (*path, number)[1:]
    pieces = [Piece(address, sum(1 for _ in instructions(data)), data) for address, data in numbers]
    return pieces, [Row(0, key, n) for key, n in counted.items()]


def instructions(data: bytes) -> list[int]:
    found, at = [], 0
    while at < len(data):
        found.append(at)
        at += length_of(data[at] | data[at + 1] << 8)
    return found


def expected_counts(walk: list[tuple[int, int]], depth: int) -> dict[tuple[int, BlockKey], int]:
    result: dict[tuple[int, BlockKey], int] = defaultdict(int)
    context: tuple[tuple[int, int], ...] = ((NO_BLOCK, 0),) * depth
    for step in walk:
        key = (*context, step)
        result[0, key] += 1
        context = key[1:]
    return dict(result)


@given(programs(), st.integers(1, 2))
@settings(max_examples=150, deadline=None)
def test_uncut_code_is_counted_as_it_ran(
    program: tuple[dict[int, bytes], list[tuple[int, int]], list[list[int]]], depth: int
) -> None:
    code, walk, _ = program
    pieces, rows = rows_of([part for step in walk for part in pieces_of(code, step, [])], depth)
    assert join_pieces(pieces, rows, depth).executions == expected_counts(walk, depth)


@given(programs(), st.integers(1, 2))
@settings(max_examples=300, deadline=None)
def test_cuts_change_no_count(
    program: tuple[dict[int, bytes], list[tuple[int, int]], list[list[int]]], depth: int
) -> None:
    code, walk, cuts = program
    parts = [part for step, cut in zip(walk, cuts, strict=True) for part in pieces_of(code, step, cut)]
    pieces, rows = rows_of(parts, 3 * depth)  # enough to see every block's beginning: none is cut more than twice
    assert join_pieces(pieces, rows, depth).executions == expected_counts(walk, depth)


@given(programs())
@settings(max_examples=200, deadline=None)
def test_a_short_history_loses_no_block(
    program: tuple[dict[int, bytes], list[tuple[int, int]], list[list[int]]],
) -> None:
    code, walk, cuts = program
    parts = [part for step, cut in zip(walk, cuts, strict=True) for part in pieces_of(code, step, cut)]
    pieces, rows = rows_of(parts, 1)
    blocks: dict[tuple[int, int], int] = defaultdict(int)
    for (_, key), executions in join_pieces(pieces, rows, 1).executions.items():
        blocks[key[-1]] += executions
    true: dict[tuple[int, int], int] = defaultdict(int)
    for step in walk:
        true[step] += 1
    assert sum(b[1] * n for b, n in blocks.items()) == sum(b[1] * n for b, n in true.items())


def test_a_block_left_early_is_counted_as_far_as_it_ran() -> None:
    # an exception after the first instruction of a block, its handler, and then the rest
    pieces = [
        Piece(0x100, 2, NOP + NOP),
        Piece(0x200, 2, NOP + BRANCH),
        Piece(0x104, 2, NOP + BRANCH),
        Piece(0x100, 4, NOP + NOP + NOP + BRANCH),
    ]
    rows = [Row(0, (NO_BLOCK, 3), 1), Row(0, (3, 3), 8), Row(0, (3, 0), 1), Row(0, (0, 1), 1), Row(0, (1, 2), 1)]
    joined = join_pieces(pieces, rows, 1).executions
    assert joined[0, ((0x100, 8), (0x100, 4))] == 1
    assert joined[0, ((0x100, 4), (0x200, 4))] == 1
    assert joined[0, ((0x200, 4), (0x104, 4))] == 1
    assert sum(key[-1][1] * n for (_, key), n in joined.items()) == sum(
        len(pieces[r.path[-1]].code) * r.executions for r in rows
    )


def test_a_stretch_begins_a_block() -> None:
    pieces = [Piece(0x100, 1, NOP), Piece(0x102, 2, NOP + BRANCH, fresh=True)]
    joined = join_pieces(pieces, [Row(0, (NO_BLOCK, 0), 3), Row(1, (0, 1), 3)], 1).executions
    assert joined == {(0, ((NO_BLOCK, 0), (0x100, 2))): 3, (1, ((0x100, 2), (0x102, 4))): 3}


def test_flow_against_the_disassembler(target: Image) -> None:
    from capstone import CS_ARCH_ARM, CS_GRP_CALL, CS_GRP_JUMP, CS_GRP_RET, CS_MODE_MCLASS, CS_MODE_THUMB, Cs
    from capstone.arm import ARM_REG_PC

    disassembler = Cs(CS_ARCH_ARM, CS_MODE_THUMB | CS_MODE_MCLASS)
    disassembler.detail = True
    checked = 0
    for function in target.functions:
        for instruction in disassembler.disasm(target.read(function.address, function.bytes), function.address):
            code = bytes(instruction.bytes)
            assert length_of(int.from_bytes(code[:2], "little")) == len(code)
            groups = set(instruction.groups) & {CS_GRP_CALL, CS_GRP_JUMP, CS_GRP_RET}
            writes_pc = ARM_REG_PC in instruction.regs_access()[1]
            assert changes_flow(code) == bool(groups or writes_pc), instruction
            checked += 1
    assert checked > 150


@pytest.mark.parametrize(
    ("code", "changes"),
    [
        ("dfe810f0", True),
        ("dfe800f0", True),
        ("bde8f081", True),
        ("5df804fb", True),
        ("00f001b8", True),
        ("00f0fef8", True),
        ("00f08080", True),
        ("8bd0", True),
        ("10b1", True),
        ("7047", True),
        ("8747", True),
        ("f8bd", True),
        ("8746", True),
        ("8744", True),
        ("bff34f8f", False),
        ("80f30988", False),
        ("eff30980", False),
        ("00bf", False),
        ("2de9f041", False),
        ("00df", False),
        ("00be", False),
        ("52f8045f", False),
        ("b0fbf1f0", False),
        ("c046", False),
        ("8046", False),
    ],
)
def test_flow_of_single_instructions(code: str, changes: bool) -> None:
    assert changes_flow(bytes.fromhex(code)) is changes


@pytest.mark.parametrize("code", ["", "00", "00eb", "00bf00eb"])
def test_code_that_is_no_whole_instructions_is_refused(code: str) -> None:
    with pytest.raises(InputError, match="whole Thumb instructions"):
        changes_flow(bytes.fromhex(code))


def test_calls_of_regions_are_their_entries() -> None:
    phases = [
        Phase(0, -1, 1 << 40, 0),
        Phase(0, 0, 0x20000100, 3),
        Phase(1, 1, 0x20000080, 5),
        Phase(0, 1, 0x200000C0, 2),
    ]
    regions = [MeasuredRegion("a", 0x100), MeasuredRegion("b", 0x200)]
    run = make_run(Joined({(2, ((NO_BLOCK, 0), (0x200, 4))): 7}, {}), phases, regions, 1)
    assert run.calls == (3, 7)
    assert run.counts(0).executions.sum() == 7
    assert run.lowest_sp(1) == 0x20000080
