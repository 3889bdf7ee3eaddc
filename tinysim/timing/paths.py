"""The paths of all keys as arrays: decoded code, blocks, conditions and data addresses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinysim.core import Core
from tinysim.counts import NO_BLOCK, Counts
from tinysim.errors import EngineError, UnpricedError
from tinysim.isa import Program, Trait, decode, unknown
from tinysim.timing.columns import ADDRESS, CLASS, MEMORY, SIZE, TRAITS, UNKNOWN

__all__ = ["Paths", "ReadCode", "lay_out", "refuse_unpriced"]

ReadCode = Callable[[int, int], bytes]

WARM_UP = 2
"""Likely blocks run before a key's context."""


@dataclass(frozen=True, slots=True)
class Paths:
    """One path for each key.

    ``keys``: shape (keys, length), block numbers, the key's own block last. ``fractions``: shape (rows of the
    program,), how often each row's condition holds. ``samples``: as ``keys``, where in ``addresses`` the data
    addresses of that block's instructions begin; -1 without.
    """

    program: Program
    block_address: NDArray[np.int64]
    keys: NDArray[np.int64]
    fractions: NDArray[np.float64]
    samples: NDArray[np.int64]
    addresses: NDArray[np.int64]

    def through(self, blocks: NDArray[Any]) -> Paths:
        """One path through the given blocks instead, each with the data addresses of one of its executions."""
        of_block = np.full(len(self.block_address) + 1, -1, np.int64)
        own, samples = self.keys[:, -1], self.samples[:, -1]
        known = np.flatnonzero(samples >= 0)[::-1]
        of_block[own[known]] = samples[known]
        path = np.ascontiguousarray(blocks, dtype=np.int64).reshape(1, -1)
        return replace(self, keys=path, samples=of_block[path])

    @property
    def code(self) -> tuple[NDArray[np.int64], ...]:
        """What every native function begins with."""
        return self.program.table, self.program.first, self.program.last, self.block_address, self.keys


def refuse_unpriced(program: Program, core: Core, read_code: ReadCode) -> None:
    """Raises UnpricedError for the first instruction of a program that the core cannot execute."""
    priced = np.array([core.timing(name) is not None for name in core.isa.classes], dtype=np.bool_)
    missing = np.flatnonzero(~priced[program.table[:, CLASS]])
    if missing.size:
        row = int(missing[0])
        address, size = int(program.table[row, ADDRESS]), int(program.table[row, SIZE])
        error = unknown(address, read_code(address, size), program.texts[row])
        fpu = f" with FPU {core.fpu}" if core.fpu != "none" else " without an FPU"
        raise UnpricedError(
            f"{core.title}{fpu} does not execute {program.texts[row]!r} at {address:#010x}",
            hint="compile for this core and its FPU (-mcpu, -mfpu)",
            details=error.message,
        )


def _fractions(program: Program, counts: Counts) -> NDArray[np.float64]:
    fractions = np.ones(len(program.table), np.float64)
    if counts.predication:
        for row in np.flatnonzero(program.table[:, TRAITS] & Trait.PREDICATED).tolist():
            fractions[row] = counts.predication.get(int(program.table[row, ADDRESS]), 1.0)
    return fractions


def _addresses(program: Program, counts: Counts) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Sampled data addresses laid out by row: offset of each key's own block in the second array, -1 without samples.

    A sample with another number of accesses than the block's instructions make (some were skipped) is given to the
    instructions that always execute, when the numbers agree then; otherwise it is left out.
    """
    keys = len(counts.keys)
    offsets = np.full(keys, -1, np.int64)
    if counts.sample_start is None or counts.sample_address is None:
        return offsets, np.zeros(0, np.int64)
    accessing = program.table[:, MEMORY] != 0
    always = accessing & (program.table[:, TRAITS] & Trait.PREDICATED == 0)
    flat: list[NDArray[np.int64]] = []
    used = 0
    bounds = zip(program.first[counts.keys[:, -1]].tolist(), program.last[counts.keys[:, -1]].tolist(), strict=True)
    starts = counts.sample_start.tolist()
    for key, (first, last) in enumerate(bounds):
        sample = counts.sample_address[starts[key] : starts[key + 1]]
        which = accessing[first:last]
        if len(sample) and np.count_nonzero(which) != len(sample):
            which = always[first:last]
        if not len(sample) or np.count_nonzero(which) != len(sample):
            continue
        addresses = np.full(last - first, UNKNOWN, np.int64)
        addresses[which] = sample
        flat.append(addresses)
        offsets[key] = used
        used += len(addresses)
    return offsets, np.concatenate(flat) if flat else np.zeros(0, np.int64)


def _warmed(counts: Counts) -> NDArray[np.int64]:
    """The keys with WARM_UP more blocks before them: each time the one that most often came before, NO_BLOCK if none
    did.

    The pipeline's state at the start of a context is not known; a likely past makes it matter less than an empty one.
    """
    keys = counts.keys.astype(np.int64)
    depth = counts.depth
    weights = (len(counts.block_address) + 1) ** np.arange(depth, dtype=np.int64)
    later = (keys[:, 1:] + 1) @ weights
    order = np.lexsort((counts.executions_of_keys(), later))
    codes = later[order]
    for _ in range(WARM_UP):
        wanted = (keys[:, :depth] + 1) @ weights
        found = np.searchsorted(codes, wanted, side="right") - 1
        known = (found >= 0) & (codes[found] == wanted) & (keys[:, 0] >= 0)
        before = np.where(known, counts.keys[order[found], 0], NO_BLOCK)
        keys = np.column_stack([before, keys])
    return np.ascontiguousarray(keys)


def _decode(counts: Counts, read_code: ReadCode, core: Core) -> Program:
    """The code of the blocks that stand in keys; all other blocks are left empty."""
    used = np.unique(counts.keys[counts.keys >= 0])
    program = decode(counts.block_address[used], counts.block_size[used], read_code, core.isa)
    first = np.zeros(len(counts.block_address), np.int64)
    last = np.zeros(len(counts.block_address), np.int64)
    first[used], last[used] = program.first, program.last
    return Program(program.table, program.texts, first, last)


def lay_out(counts: Counts, read_code: ReadCode, core: Core) -> Paths:
    """The path of every key: the block, its context, and a likely past of that.

    Raises UnpricedError for an instruction without a price, EngineError when the keys have fewer context blocks than
    the core's timing needs.
    """
    if counts.depth < core.context_blocks:
        raise EngineError(
            f"{core.title} needs {core.context_blocks} context blocks in a key, the counts have {counts.depth}",
            hint="run the engine again for this core",
        )
    program = _decode(counts, read_code, core)
    refuse_unpriced(program, core, read_code)
    offsets, addresses = _addresses(program, counts)
    of_block = np.full(len(counts.block_address) + 1, -1, np.int64)
    known = np.flatnonzero(offsets >= 0)[::-1]
    of_block[counts.keys[known, -1]] = offsets[known]
    keys = _warmed(counts)
    samples = of_block[keys]
    samples[:, -1] = offsets
    return Paths(
        program, counts.block_address.astype(np.int64), keys, _fractions(program, counts), samples, addresses
    )
