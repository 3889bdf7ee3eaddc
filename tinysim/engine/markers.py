"""Markers: which functions, stretches, layers and single calls are open, followed natively.

How a marker opens and closes
- A function opens when its first instruction is reached by a call, or by a jump from elsewhere (a tail call, which
  opens inside its caller). A jump to the entry of the function that is innermost at the same stack pointer is a loop.
  It closes when its return address is reached with the stack pointer it was entered with, or when a later instruction
  has moved the stack pointer above that (longjmp, an exception). Tail calls in a circle close what they leave, so
  they do not pile up.
- A stretch opens and closes by address alone, whatever the calls around it: stretches are the outermost markers of
  every chain.
- A transition that opens or closes anything is never found inline: it comes through `_seldom` each time.
"""

# mypy: disable-error-code="no-any-return,return-value,unused-ignore"
from __future__ import annotations

from typing import Any

import numpy as np
from unicorn.arm_const import UC_ARM_REG_LR, UC_ARM_REG_SP

from tinysim.engine.layout import (
    BASE,
    CALL_LIMIT,
    CALLS,
    F_CALL,
    F_INSIDE,
    F_MARKER,
    F_PHASE,
    F_RETURN,
    F_SP,
    FLOOR,
    FRAMES,
    FULL,
    H_ENTRIES,
    H_LOWEST_SP,
    H_MARKER,
    H_OUTERMOST,
    H_PARENT,
    HASH_PHASES,
    LAYER,
    M_ADDRESS,
    M_EACH,
    M_ID,
    M_RESTARTS_LAYERS,
    MARKERS,
    MAX_CALL_DEPTH,
    MAX_CALL_PHASES,
    MAX_FRAMES,
    MAX_PHASES,
    MAX_STATES,
    MAX_TRANSITIONS,
    P_FRAME,
    P_MARKER,
    P_PHASE,
    P_PHASE_HASH,
    PHASES,
    ROW,
    STATES,
    STOP,
    STRETCHES,
    TOP_SP,
    TRANSITIONS,
    WATCH,
    find,
    register,
    words,
)
from tinysim.engine.run import CALL_MARKER
from tinysim.native import native


@native
def is_open(header: Any, phase: int, marker: int) -> bool:
    """Whether ``marker`` is in the chain of ``phase``."""
    rows = words(header[P_PHASE], MAX_PHASES * ROW)
    while phase:
        if rows[phase * ROW + H_MARKER] == marker:
            return True
        phase = rows[phase * ROW + H_PARENT]
    return False


@native
def _reopened(header: Any, phase: int, marker: int) -> int:
    """The phase in the chain of ``phase`` that says the same as ``marker`` opened in it: ends with it, same markers
    open. -1: none.
    """
    rows = words(header[P_PHASE], MAX_PHASES * ROW)
    above = phase
    while above:
        if rows[above * ROW + H_MARKER] == marker:
            inner = phase
            while inner != above and is_open(header, above, rows[inner * ROW + H_MARKER]):
                inner = rows[inner * ROW + H_PARENT]
            if inner == above:
                return above
        above = rows[above * ROW + H_PARENT]
    return -1


@native
def phase_below(header: Any, phase: int, marker: int) -> int:
    """The phase of ``marker`` opened in ``phase``.

    Recursion adds no phase where the same markers are open already: a chain stays as short as its set of markers
    allows.
    """
    table = words(header[P_PHASE_HASH], 2 * HASH_PHASES)
    at = find(table, HASH_PHASES, (phase << 24) | marker)
    if table[2 * at] == 0:
        number = _reopened(header, phase, marker)
        if number < 0:
            number = header[PHASES]
            if number >= MAX_PHASES - 1:
                header[STOP] = FULL
                return phase
            header[PHASES] = number + 1
            row = words(header[P_PHASE], MAX_PHASES * ROW)[number * ROW:]
            row[H_PARENT], row[H_MARKER], row[H_LOWEST_SP] = phase, marker, 1 << 40
        table[2 * at], table[2 * at + 1] = ((phase << 24) | marker) + 1, number
    return table[2 * at + 1]


@native
def watch(header: Any) -> None:
    """Watch for the return of the innermost function."""
    header[WATCH] = -1
    if header[FRAMES] > header[FLOOR]:
        header[WATCH] = words(header[P_FRAME], MAX_FRAMES * ROW)[(header[FRAMES] - 1) * ROW + F_RETURN]


@native
def _call_marker(header: Any, each: int) -> int:
    """A marker of its own for one call, or 0 when it shall have none or the tables are half full."""
    if not each or header[CALLS] >= header[CALL_LIMIT] or header[TRANSITIONS] > MAX_TRANSITIONS // 2:
        return 0
    if header[PHASES] > MAX_CALL_PHASES or header[STATES] > MAX_STATES // 2 or header[FRAMES] > MAX_CALL_DEPTH:
        return 0
    header[CALLS] += 1
    return CALL_MARKER + header[CALLS] - 1


@native
def _inside(header: Any, phase: int, marker: int, call: int) -> int:
    """The phase inside a marker opened in ``phase``, and inside its call where that is told apart."""
    phase = phase_below(header, phase, marker)
    return phase_below(header, phase, call) if call else phase


@native
def _count_entry(header: Any, phase: int, marker: int, call: int, outermost: bool) -> None:
    """Count an entry of ``marker`` in its phase (and in that of its call)."""
    rows = words(header[P_PHASE], MAX_PHASES * ROW)
    if call:
        rows[phase * ROW + H_ENTRIES] += 1
        phase = rows[phase * ROW + H_PARENT]
    rows[phase * ROW + H_ENTRIES] += 1
    if outermost:
        rows[phase * ROW + H_OUTERMOST] += 1


@native
def push(header: Any, phase: int, marker: int, call: int, lr: int, sp: int) -> int:
    """Open a function (or a layer); the phase inside."""
    depth = header[FRAMES]
    if depth >= MAX_FRAMES - 1:
        header[STOP] = FULL
        return phase
    frame = words(header[P_FRAME], MAX_FRAMES * ROW)[depth * ROW:]
    frame[F_RETURN], frame[F_SP], frame[F_PHASE], frame[F_MARKER], frame[F_CALL] = lr & ~1, sp, phase, marker, call
    frame[F_INSIDE] = _inside(header, phase, marker, call)
    header[FRAMES] = depth + 1
    header[WATCH] = lr & ~1
    return frame[F_INSIDE]


@native
def pop(uc: Any, header: Any, phase: int, address: int) -> int:
    """Close the functions that return to ``address`` here; the phase afterwards. A tail call and its caller end
    together.
    """
    frames = words(header[P_FRAME], MAX_FRAMES * ROW)
    sp = register(uc, header, UC_ARM_REG_SP)
    while header[FRAMES] > header[FLOOR]:
        frame = frames[(header[FRAMES] - 1) * ROW:]
        if frame[F_RETURN] != address or frame[F_SP] != sp:
            break
        phase = frame[F_PHASE]
        header[FRAMES] -= 1
    watch(header)
    return phase


@native
def unwind(header: Any, phase: int, sp: int) -> int:
    """Close the functions whose part of the stack is gone; the phase afterwards. Another stack above this one's top
    closes nothing.
    """
    frames = words(header[P_FRAME], MAX_FRAMES * ROW)
    if sp > header[TOP_SP]:
        return phase
    while header[FRAMES] > header[FLOOR] and frames[(header[FRAMES] - 1) * ROW + F_SP] < sp:
        header[FRAMES] -= 1
        phase = frames[header[FRAMES] * ROW + F_PHASE]
    watch(header)
    return phase


@native
def rebuild(header: Any) -> int:
    """Work out the phases of all open functions from the open stretches up; the phase that is current."""
    frames = words(header[P_FRAME], MAX_FRAMES * ROW)
    phase = header[BASE]
    for k in range(header[FRAMES]):
        frame = frames[k * ROW:]
        frame[F_PHASE] = phase
        phase = frame[F_INSIDE] = _inside(header, phase, frame[F_MARKER], frame[F_CALL])
    watch(header)
    return phase


@native
def open_stretch(header: Any, row: Any) -> int:
    call = _call_marker(header, row[M_EACH])
    header[BASE] = _inside(header, header[BASE], row[M_ID], call)
    _count_entry(header, header[BASE], row[M_ID], call, True)
    return rebuild(header)


@native
def close_stretch(header: Any, marker: int) -> int:
    rows = words(header[P_PHASE], MAX_PHASES * ROW)
    chain = np.zeros(2 * header[STRETCHES] + 1, np.int64)
    length = 0
    above = header[BASE]
    while above and length < len(chain):
        chain[length] = rows[above * ROW + H_MARKER]
        length += 1
        above = rows[above * ROW + H_PARENT]
    phase = np.int64(0)
    dropped = False
    for k in range(length - 1, -1, -1):              # outermost first
        if chain[k] == marker:
            dropped = True
        elif not (dropped and chain[k] >= CALL_MARKER):
            phase = phase_below(header, phase, chain[k])
            dropped = False
    header[BASE] = phase
    return rebuild(header)


@native
def enter(uc: Any, header: Any, phase: int, first: int, address: int, called: bool) -> int:
    """Open the functions marked at ``address``, rows ``first`` on; the phase inside."""
    markers = words(header[P_MARKER], max(header[MARKERS], 1) * ROW)
    frames = words(header[P_FRAME], MAX_FRAMES * ROW)
    last = first
    while last < header[MARKERS] and markers[last * ROW + M_ADDRESS] == address:
        if markers[last * ROW + M_RESTARTS_LAYERS]:
            header[LAYER] = 0
        last += 1
    sp = register(uc, header, UC_ARM_REG_SP)
    phase = unwind(header, phase, sp)
    if not called:                                   # a jump: a loop, a tail call, or a circle of tail calls
        k = header[FRAMES] - 1
        while k >= header[FLOOR] and frames[k * ROW + F_SP] == sp:
            if frames[k * ROW + F_MARKER] == markers[first * ROW + M_ID]:
                again = k + last - first < header[FRAMES]
                header[FRAMES] = k + last - first
                watch(header)
                for j in range(k, header[FRAMES]):
                    if again:
                        marker = frames[j * ROW + F_MARKER]
                        _count_entry(header, frames[j * ROW + F_INSIDE], marker, frames[j * ROW + F_CALL], False)
                return frames[(header[FRAMES] - 1) * ROW + F_INSIDE]
            k -= 1
    lr = register(uc, header, UC_ARM_REG_LR)
    for k in range(first, last):
        row = markers[k * ROW:]
        call = _call_marker(header, row[M_EACH])
        outermost = not is_open(header, phase, row[M_ID])
        phase = push(header, phase, row[M_ID], call, lr, sp)
        _count_entry(header, phase, row[M_ID], call, outermost)
    return phase
