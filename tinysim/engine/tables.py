"""The tables behind the native hook: made, read and taken from Python."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinysim.engine import counting, layout, markers
from tinysim.engine.run import EXCEPTION_MARKER, FUNCTION_MARKER, TASK_MARKER, MeasuredRegion, Phase, Run

__all__ = ["Tables"]

_NEVER = 0xFFFFFFFE
"""A return address that no block starts at."""


class Tables:
    """The arrays behind the native hook."""

    def __init__(self) -> None:
        c = layout
        self.header = np.zeros(c.HEADER, np.int64)
        self._suspended: dict[int, tuple[NDArray[np.int64], int, int]] = {}
        self.tasks: list[int] = []
        self._arrays: dict[int, NDArray[Any]] = {
            c.P_STATE: np.zeros(c.MAX_STATES * c.ROW, np.int64),
            c.P_TRANSITION: np.zeros(c.MAX_TRANSITIONS * c.ROW, np.int64),
            c.P_BLOCK: np.zeros(c.MAX_BLOCKS * c.ROW, np.int64),
            c.P_BLOCK_HASH: np.zeros(2 * c.HASH_BLOCKS, np.int64),
            c.P_STATE_HASH: np.zeros(2 * c.HASH_STATES, np.int64),
            c.P_TRANSITION_HASH: np.zeros(2 * c.HASH_TRANSITIONS, np.int64),
            c.P_PATH: np.zeros(c.MAX_STATES * c.PATH, np.int64),
            c.P_PHASE: np.zeros(c.MAX_PHASES * c.ROW, np.int64),
            c.P_PHASE_HASH: np.zeros(2 * c.HASH_PHASES, np.int64),
            c.P_FRAME: np.zeros(c.MAX_FRAMES * c.ROW, np.int64),
            c.P_BRANCH: np.zeros(c.MAX_BRANCHES, np.int64),
            c.P_BRANCH_HASH: np.zeros(2 * c.HASH_BRANCHES, np.int64),
            c.P_PATTERN: np.zeros(c.MAX_BRANCHES * 257, np.uint8),
            c.P_RETURN: np.zeros(8, np.int64),
        }
        for word, array in self._arrays.items():
            self.header[word] = array.ctypes.data
        self.set_markers((), (), 0, 0)
        # state 0 is "nothing ran yet", transition 0 stands for none, phase 0 is the root
        self.header[c.STATES] = self.header[c.TRANSITIONS] = self.header[c.PHASES] = 1
        self._arrays[c.P_STATE][c.S_BLOCK] = c.MAX_BLOCKS - 1
        self.header[c.WATCH] = -1
        self._arrays[c.P_PHASE][c.H_MARKER] = -1
        self._arrays[c.P_PHASE][c.H_LOWEST_SP] = 1 << 40

    def set_markers(
        self, rows: Sequence[tuple[int, int, int, int, int]], sites: Sequence[int], layers: int, calls_apart: int
    ) -> None:
        """``rows``: (address, id, end or 0, restarts layers, calls apart) of each marker; stretches first, then
        functions by address.
        """
        c = layout
        table = np.zeros(max(len(rows), 1) * c.ROW, np.int64)
        slots = 1 << (2 * len(rows) + 2).bit_length()
        hashed = np.zeros(2 * slots, np.int64)
        stretches = sum(1 for row in rows if row[2])
        for k, row in enumerate(rows):
            table[k * c.ROW : k * c.ROW + 5] = row
            if k >= stretches:
                at = layout.find(hashed, slots, row[0])
                if not hashed[2 * at]:
                    hashed[2 * at], hashed[2 * at + 1] = row[0] + 1, k
        site_array = np.array(list(sites) or [0], np.int64)
        for word, array in ((c.P_MARKER, table), (c.P_MARKER_HASH, hashed), (c.P_SITE, site_array)):
            self._arrays[word] = array
            self.header[word] = array.ctypes.data
        self.header[c.MARKERS], self.header[c.STRETCHES], self.header[c.MARKER_SLOTS] = len(rows), stretches, slots
        self.header[c.SITES], self.header[c.LAYERS], self.header[c.CALL_LIMIT] = len(sites), layers, calls_apart

    def known_blocks(self) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
        """Addresses and sizes, in bytes, of all blocks seen so far."""
        c = layout
        blocks = self._arrays[c.P_BLOCK].reshape(-1, c.ROW)[: int(self.header[c.BLOCKS])]
        return blocks[:, c.B_ADDRESS].astype(np.uint32), blocks[:, c.B_SIZE].astype(np.uint32)

    def make_room_for_events(self, count: int = 1 << 21) -> None:
        """Set up the buffer of recorded events; ``count`` of them are handed on at a time."""
        events = np.zeros(count + layout.EVENTS_OF_A_BLOCK, np.uint64)
        self._arrays[layout.P_EVENT] = events
        self.header[layout.P_EVENT], self.header[layout.EVENT_LIMIT] = events.ctypes.data, count

    def events(self) -> NDArray[np.uint64]:
        """The events recorded since the last `drop_events`; a view that the next run overwrites."""
        return self._arrays[layout.P_EVENT][: int(self.header[layout.EVENTS])]

    def drop_events(self) -> None:
        """Start the buffer anew."""
        self.header[layout.EVENTS] = 0

    def clear(self) -> None:
        """Count from zero again."""
        c = layout
        table = self._arrays[c.P_TRANSITION].reshape(-1, c.ROW)
        used = int(self.header[c.TRANSITIONS])
        table[:used, c.T_COUNT] = table[:used, c.T_MISSES] = table[:used, c.T_MISSES_HISTORY] = 0
        phases = self._arrays[c.P_PHASE].reshape(-1, c.ROW)[: int(self.header[c.PHASES])]
        phases[:, c.H_LOWEST_SP], phases[:, c.H_ENTRIES], phases[:, c.H_OUTERMOST] = 1 << 40, 0, 0

    def suspend(self, place: int, sp: int, marker: int) -> int:
        """An exception is taken: what it interrupts can go on when it returns to ``place``, the address of the
        stacked frame.

        The handler counts below the phase of what it interrupted, as ``marker``; ``sp`` is its stack pointer. Returns
        its phase.
        """
        c, header = layout, self.header
        frames = self._arrays[c.P_FRAME].reshape(-1, c.ROW)[: int(header[c.FRAMES])]
        self._suspended[place] = (frames.copy(), int(header[c.FLOOR]), int(header[c.TOP_SP]))
        self._reached(self.phase, place)
        return self._open(self.phase, sp, marker)

    def _reached(self, phase: int, sp: int) -> None:
        """The stack of a phase went down to ``sp``; so did that of the phases around it, up to a handler or a task."""
        phases = self._arrays[layout.P_PHASE].reshape(-1, layout.ROW)
        while True:
            row = phases[phase]
            row[layout.H_LOWEST_SP] = min(row[layout.H_LOWEST_SP], sp)
            if not phase or EXCEPTION_MARKER <= row[layout.H_MARKER] < FUNCTION_MARKER:
                return
            phase = int(row[layout.H_PARENT])

    def chain(self, sp: int, marker: int) -> int:
        """A handler returns and another starts at once on the frame that is stacked already (tail-chaining). Returns
        its phase.
        """
        c, header = layout, self.header
        header[c.FRAMES] = header[c.FLOOR] - 1
        return self._open(int(self._arrays[c.P_FRAME].reshape(-1, c.ROW)[int(header[c.FRAMES]), c.F_PHASE]), sp, marker)

    def _open(self, phase: int, sp: int, marker: int) -> int:
        c, header = layout, self.header
        inside = int(markers.push(header, phase, marker, 0, _NEVER, sp))
        self._arrays[c.P_PHASE].reshape(-1, c.ROW)[inside, c.H_ENTRIES] += 1
        header[c.FLOOR], header[c.TOP_SP], header[c.WATCH] = header[c.FRAMES], sp, -1
        header[c.CURRENT] = counting.start_in(header, inside)
        return inside

    def resume(self, place: int, sp: int) -> None:
        """An exception returns to the frame at ``place``: what was interrupted there goes on, or a task that never
        ran starts.
        """
        c, header = layout, self.header
        stored = self._arrays[c.P_FRAME].reshape(-1, c.ROW)
        if place in self._suspended:
            frames, floor, top = self._suspended.pop(place)
            stored[: len(frames)] = frames
            header[c.FRAMES], header[c.FLOOR], header[c.TOP_SP] = len(frames), floor, top
        else:
            header[c.FRAMES] = 0
            markers.push(header, int(header[c.BASE]), TASK_MARKER + len(self.tasks), 0, _NEVER, sp)
            header[c.FLOOR], header[c.TOP_SP] = 1, sp
            self.tasks.append(sp)
        header[c.CURRENT] = counting.start_in(header, markers.rebuild(header))

    @property
    def phase(self) -> int:
        """The phase that is current."""
        return int(self._arrays[layout.P_STATE][int(self.header[layout.CURRENT]) * layout.ROW + layout.S_PHASE])

    @property
    def transitions(self) -> NDArray[np.int64]:
        """The rows of all transitions so far, the first of them unused; a view that the next run changes."""
        return self._arrays[layout.P_TRANSITION].reshape(-1, layout.ROW)[: int(self.header[layout.TRANSITIONS])]

    def priced(self, prices: NDArray[np.float64]) -> float:
        """The sum of all transitions at their prices: shape (transitions, 2), cycles of an execution and of a
        misprediction.
        """
        rows = self.transitions
        return float(rows[:, layout.T_COUNT] @ prices[:, 0] + rows[:, layout.T_MISSES] @ prices[:, 1])

    def executions(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Executions, address and size of each block."""
        c, rows = layout, self.transitions
        blocks = self._arrays[c.P_BLOCK].reshape(-1, c.ROW)[: int(self.header[c.BLOCKS])]
        times = np.bincount(rows[:, c.T_BLOCK], rows[:, c.T_COUNT], len(blocks)).astype(np.int64)
        return times, blocks[:, c.B_ADDRESS], blocks[:, c.B_SIZE]

    def keys_of(self, rows: NDArray[np.int64], depth: int) -> NDArray[np.int32]:
        """The keys of rows of `transitions`, shape (rows, depth + 1): block numbers, NO_BLOCK for none."""
        c = layout
        full = np.empty((len(rows), depth + 1), np.int32)
        full[:, :depth] = (
            self._arrays[c.P_PATH].reshape(-1, c.PATH)[rows[:, c.T_FROM], :depth] - 1
        )  # 0 stood for no block
        full[:, depth] = rows[:, c.T_BLOCK]
        return full

    def path(self, depth: int) -> tuple[int, ...]:
        """The last ``depth`` blocks that were entered, the one that runs last."""
        state = int(self.header[layout.CURRENT])
        return tuple(int(block) - 1 for block in self._arrays[layout.P_PATH].reshape(-1, layout.PATH)[state, :depth])

    def open_markers(self, pc: int, sp: int) -> set[int]:
        """The markers that are open: of what runs, and of every task that is suspended.

        A function that has returned to ``pc`` with the stack pointer at ``sp`` is closed by the block that starts
        there: it is no longer open though that block has not run.
        """
        c = layout
        frames = self._arrays[c.P_FRAME].reshape(-1, c.ROW)[: int(self.header[c.FRAMES])]
        returned = (frames[:, c.F_RETURN] == pc) & (frames[:, c.F_SP] == sp)
        found = set(frames[~returned, c.F_MARKER].tolist())
        for frames, _, _ in self._suspended.values():
            found |= set(frames[:, c.F_MARKER].tolist())
        phases = self._arrays[c.P_PHASE].reshape(-1, c.ROW)
        stretch = int(self.header[c.BASE])
        while stretch:
            found.add(int(phases[stretch, c.H_MARKER]))
            stretch = int(phases[stretch, c.H_PARENT])
        return found

    def block(self, number: int) -> tuple[int, int]:
        """Address and size of a block by number."""
        row = self._arrays[layout.P_BLOCK].reshape(-1, layout.ROW)[number]
        return int(row[layout.B_ADDRESS]), int(row[layout.B_SIZE])

    def take(self, regions: tuple[MeasuredRegion, ...], depth: int, functions: tuple[int, ...]) -> Run:
        """What was counted, as a Run."""
        c = layout
        table = self.transitions
        rows = table[table[:, c.T_COUNT] > 0]
        states = self._arrays[c.P_STATE].reshape(-1, c.ROW)
        keys, key = np.unique(self.keys_of(rows, depth), axis=0, return_inverse=True)
        blocks = self._arrays[c.P_BLOCK].reshape(-1, c.ROW)[: int(self.header[c.BLOCKS])]
        phases = self._arrays[c.P_PHASE].reshape(-1, c.ROW)[: int(self.header[c.PHASES])]
        return Run(
            block_address=blocks[:, c.B_ADDRESS].astype(np.uint32),
            block_size=blocks[:, c.B_SIZE].astype(np.uint32),
            keys=keys.astype(np.int32),
            key=key.reshape(-1).astype(np.int64),
            phase=states[rows[:, c.T_NEXT], c.S_PHASE].astype(np.int64),
            executions=rows[:, c.T_COUNT].astype(np.uint64),
            mispredictions=rows[:, c.T_MISSES].astype(np.uint64),
            mispredictions_history=rows[:, c.T_MISSES_HISTORY].astype(np.uint64),
            phases=tuple(
                Phase(int(p[c.H_PARENT]), int(p[c.H_MARKER]), int(p[c.H_LOWEST_SP]), int(p[c.H_ENTRIES]))
                for p in phases
            ),
            regions=regions,
            calls=tuple(
                int(phases[phases[:, c.H_MARKER] == number, c.H_ENTRIES].sum()) for number in range(len(regions))
            ),
            outermost_calls=tuple(
                int(phases[phases[:, c.H_MARKER] == number, c.H_OUTERMOST].sum()) for number in range(len(regions))
            ),
            functions=functions,
            tasks=tuple(self.tasks),
        )
