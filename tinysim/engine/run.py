"""What was measured, and where: regions, layers, and the executions seen in each. Shared by every engine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tinysim.counts import Counts

__all__ = [
    "CALL_MARKER",
    "EXCEPTION_MARKER",
    "FUNCTION_MARKER",
    "LAYER_MARKER",
    "TASK_MARKER",
    "ExceptionCount",
    "MeasuredRegion",
    "Phase",
    "Run",
]

EXCEPTION_MARKER = 1 << 18
"""Markers from here on are exception handlers: EXCEPTION_MARKER + the exception's number."""
TASK_MARKER = EXCEPTION_MARKER + (1 << 12)
"""Markers from here on are tasks with a process stack of their own: TASK_MARKER + the task's index in `Run.tasks`."""
FUNCTION_MARKER = 1 << 19
"""Markers from here on are functions of a call tree: FUNCTION_MARKER + the function's index in `Run.functions`."""
LAYER_MARKER = 1 << 20
"""Markers from here on are layers: LAYER_MARKER + the layer's number, from 0."""
CALL_MARKER = 1 << 21
"""Markers from here on are single calls of the region that is open right outside of them."""


@dataclass(frozen=True, slots=True)
class MeasuredRegion:
    """What to measure: a function from entry to return, or with ``stop`` a stretch from one address to another."""

    name: str
    start: int
    stop: int | None = None


@dataclass(frozen=True, slots=True)
class Phase:
    """One chain of open markers, this phase's own the innermost: ``marker`` is the number of a region, or one of the
    kinds above; -1 for the root.

    ``entries``: how often it was entered (not counted for layers).
    """

    parent: int
    marker: int
    lowest_sp: int
    entries: int


@dataclass(frozen=True, slots=True)
class ExceptionCount:
    """How often an exception's handler ran in a phase (one that ends with its marker).

    ``entries``: taken with a frame stacked; ``chained``: started where another handler returned (tail-chaining);
    ``returns``: frames unstacked. ``handler``: its address. ``stacked_fp``, ``unstacked_fp``: of these, how often the
    FPU's registers were moved too (lazily: only where the handler used the FPU).
    """

    phase: int
    exception: int
    entries: int
    chained: int
    returns: int
    stacked_fp: int
    unstacked_fp: int
    handler: int


@dataclass(frozen=True)
class Run:
    """What an engine saw between two points of a program.

    ``block_address``, ``block_size``: shape (blocks,), bytes. ``keys``: shape (keys, depth + 1) block numbers as in
    Counts. ``key``, ``phase``, ``executions``, ``mispredictions``, ``mispredictions_history``: shape (rows,); each
    row says how often a key ran in a phase. ``regions``: what was asked for; a phase's marker is an index into it.
    ``calls``: entries of each region. ``outermost_calls``: those entered while the region was not open already
    (recursion); empty where the engine does not say. ``functions``: addresses of the functions whose calls were
    followed for a call tree; empty when none were. ``exceptions``: what was taken and returned from; ``waits``:
    cycles spent waiting for an interrupt, by phase and block. ``tasks``: the stack pointer at which each task with a
    stack of its own started. ``register_writes``: 32-bit writes (address, value) to the registers that set up the
    memory system, in program order, since the program started.
    """

    block_address: NDArray[np.uint32]
    block_size: NDArray[np.uint32]
    keys: NDArray[np.int32]
    key: NDArray[np.int64]
    phase: NDArray[np.int64]
    executions: NDArray[np.uint64]
    mispredictions: NDArray[np.uint64]
    mispredictions_history: NDArray[np.uint64]
    phases: tuple[Phase, ...]
    regions: tuple[MeasuredRegion, ...]
    calls: tuple[int, ...]
    predication: Mapping[int, float] = field(default_factory=dict)
    divisions: Mapping[int, NDArray[np.uint64]] = field(default_factory=dict)
    sample_start: NDArray[np.int64] | None = None
    sample_address: NDArray[np.uint32] | None = None
    functions: tuple[int, ...] = ()
    outermost_calls: tuple[int, ...] = ()
    exceptions: tuple[ExceptionCount, ...] = ()
    waits: Mapping[tuple[int, int], int] = field(default_factory=dict)
    tasks: tuple[int, ...] = ()
    register_writes: tuple[tuple[int, int], ...] = ()

    def chain(self, phase: int) -> Iterator[int]:
        """The markers open in ``phase``, innermost first."""
        while phase:
            yield self.phases[phase].marker
            phase = self.phases[phase].parent

    def layer_of(self, phase: int) -> int | None:
        """The number of the layer a phase belongs to, or None outside of layers."""
        return next((m - LAYER_MARKER for m in self.chain(phase) if LAYER_MARKER <= m < CALL_MARKER), None)

    def phases_of(self, region: int | None) -> list[int]:
        """The phases in which a region is open; all of them for None (the whole run)."""
        return [p for p in range(len(self.phases)) if region is None or region in self.chain(p)]

    def counts(self, region: int | None = None, *, layers: int = 0) -> Counts:
        """The Counts of a region (None: the whole run), with one phase for each of its ``layers`` after phase 0."""
        inside = self.phases_of(region)
        row_of = np.full(len(self.phases), -1, np.int64)
        for phase in inside:
            layer = next((m - LAYER_MARKER for m in self.chain(phase) if m >= LAYER_MARKER), -1)
            row_of[phase] = layer + 1 if 0 <= layer < layers else 0
        rows = row_of[self.phase] if len(self.phase) else np.zeros(0, np.int64)
        wanted = rows >= 0

        def table(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
            result = np.zeros((layers + 1, len(self.keys)), np.uint64)
            np.add.at(result, (rows[wanted], self.key[wanted]), values[wanted])
            return result

        return Counts(
            block_address=self.block_address,
            block_size=self.block_size,
            keys=self.keys,
            executions=table(self.executions),
            mispredictions=table(self.mispredictions),
            mispredictions_history=table(self.mispredictions_history),
            predication=self.predication,
            divisions=self.divisions,
            sample_start=self.sample_start,
            sample_address=self.sample_address,
        )

    def stack_of(self, phase: int) -> int:
        """The stack a phase runs on: 0 for the main one, n for that of task n - 1."""
        for marker in self.chain(phase):
            if EXCEPTION_MARKER <= marker < TASK_MARKER:
                return 0
            if TASK_MARKER <= marker < FUNCTION_MARKER:
                return marker - TASK_MARKER + 1
        return 0

    def lowest_sp(self, region: int | None = None, *, stack: int | None = None) -> int | None:
        """The lowest stack pointer seen while a region was open, or None when it never was.

        ``stack``: 0 for the main one, n for that of task n - 1; default: the one the region was entered on. Handlers
        that came in between count where they share that stack.
        """
        inside = self.phases_of(region)
        if stack is None:
            stack = next((self.stack_of(p) for p in inside if self.phases[p].marker == region), 0)
        seen = [
            self.phases[p].lowest_sp for p in inside if self.phases[p].lowest_sp < 1 << 32 and self.stack_of(p) == stack
        ]
        return min(seen, default=None)

    def stack_peak_bytes(self, region: int | None, main_top: int) -> int | None:
        """How deep the stack was while a region was open, from its top: ``main_top``, or where the region's task
        started.
        """
        stack = next((self.stack_of(p) for p in self.phases_of(region) if self.phases[p].marker == region), 0)
        lowest = self.lowest_sp(region, stack=stack)
        return None if lowest is None else (self.tasks[stack - 1] if stack else main_top) - lowest
