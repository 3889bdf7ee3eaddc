"""The native block hook: what ran after what, counted at the speed of the emulator.

The emulator calls ``on_block`` at the start of every block. The hook walks an automaton whose states are (phase, the
last blocks); a transition is one key of `tinysim.counts.Counts` in one phase, and all it usually does is add one to it.
A *phase* is the chain of markers (measured functions, stretches, layers, single calls) that are open. All tables live
in NumPy arrays that Python made; ``header`` holds their addresses, so the compiled hook has no state of its own.
"""

# mypy: disable-error-code="no-any-return,return-value,assignment"
from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray, njit, types
from unicorn import UC_MEM_WRITE
from unicorn.arm_const import UC_ARM_REG_LR, UC_ARM_REG_SP, UC_ARM_REG_XPSR

from tinysim.engine.layout import (
    AFTER_SITE,
    B_ADDRESS,
    B_BRANCH,
    B_CONDITIONAL,
    B_KIND,
    B_SITE,
    B_SIZE,
    BASE,
    BLOCKS,
    BRANCHES,
    BUDGET,
    CALL,
    CALL_INDIRECT,
    CONDITIONAL,
    CONDITIONAL_CODE,
    CURRENT,
    DEPTH,
    DRAIN,
    EVENT_BLOCK,
    EVENT_LIMIT,
    EVENT_MARK,
    EVENT_MISSED,
    EVENT_PHASE,
    EVENT_SIZE,
    EVENT_WRITE,
    EVENTS,
    EVENTS_OF_A_BLOCK,
    FLOOR,
    FPU_OFF,
    FRAMES,
    FULL,
    H_LOWEST_SP,
    H_MARKER,
    H_PARENT,
    HALFWORDS,
    HASH_BLOCKS,
    HASH_BRANCHES,
    HASH_STATES,
    HASH_TRANSITIONS,
    HEADER,
    HISTORY,
    IDLE,
    INDIRECT,
    JUMP,
    LAYER,
    LAYERS,
    M_ADDRESS,
    M_ID,
    M_UNTIL,
    MARKER_SLOTS,
    MARKERS,
    MAX_BLOCKS,
    MAX_BRANCHES,
    MAX_PHASES,
    MAX_STATES,
    MAX_TRANSITIONS,
    MOVES_STACK,
    NO_FPU,
    OVER_BUDGET,
    P_BLOCK,
    P_BLOCK_HASH,
    P_BRANCH,
    P_BRANCH_HASH,
    P_EVENT,
    P_MARKER,
    P_MARKER_HASH,
    P_PATH,
    P_PATTERN,
    P_PHASE,
    P_RETURN,
    P_SITE,
    P_STATE,
    P_STATE_HASH,
    P_TRANSITION,
    P_TRANSITION_HASH,
    PATH,
    PLAIN,
    RETURN,
    RETURNS,
    ROW,
    RUNNING,
    S_BLOCK,
    S_FLAGS,
    S_KEY0,
    S_KEY1,
    S_PHASE,
    S_T0,
    S_T1,
    SCRATCH,
    SITES,
    STALE_IT,
    STATES,
    STOP,
    STRETCHES,
    T_BLOCK,
    T_COUNT,
    T_FROM,
    T_MISSES,
    T_MISSES_HISTORY,
    T_NEXT,
    TRANSITIONS,
    WATCH,
    find,
    mix,
    pointer,
    read_memory,
    register,
    stop_emulator,
    words,
    write_register,
)
from tinysim.engine.markers import (
    close_stretch,
    enter,
    is_open,
    open_stretch,
    pop,
    push,
    unwind,
)
from tinysim.engine.run import EXCEPTION_MARKER, FUNCTION_MARKER, LAYER_MARKER
from tinysim.native import native, native_callback


@native
def ending(first: int, second: int, wide: int) -> int:
    """How the instruction of one or two halfwords changes the flow (Armv7-M ARM, chapters A5 and A7)."""
    if not wide:
        if first & 0xF000 == 0xD000 and (first >> 8) & 15 < 14:
            return CONDITIONAL
        if first & 0xF500 == 0xB100:
            return CONDITIONAL  # CBZ, CBNZ
        if first & 0xF800 == 0xE000:
            return JUMP
        if first & 0xFF80 == 0x4700:
            return RETURN if (first >> 3) & 15 == 14 else INDIRECT
        if first & 0xFF80 == 0x4780:
            return CALL_INDIRECT
        if first & 0xFF00 == 0xBD00:
            return RETURN  # POP {..., PC}
        if first & 0xFF87 == 0x4687 or first & 0xFF87 == 0x4487:
            return INDIRECT  # MOV PC, ADD PC
        return PLAIN
    if first & 0xF800 == 0xF000 and second & 0x8000:
        if second & 0x5000 == 0x5000:
            return CALL  # BL
        if second & 0x1000:
            return JUMP  # B.W
        if second & 0x5000 == 0 and (first >> 7) & 7 != 7:
            return CONDITIONAL  # B<cond>.W
        return PLAIN
    if first & 0xFFF0 == 0xE8D0 and second & 0xFFE0 == 0xF000:
        return INDIRECT  # TBB, TBH
    if first & 0xFE50 == 0xE810 and second & 0x8000:
        return RETURN if first & 15 == 13 else INDIRECT  # LDM with PC
    if first & 0xFF70 == 0xF850 and second & 0xF000 == 0xF000:
        return RETURN if first & 15 == 13 else INDIRECT  # LDR PC
    return PLAIN


@native
def moves_stack(first: int, second: int, wide: int) -> bool:
    """Whether an instruction gives the stack pointer a value from elsewhere, as longjmp, an unwinder or a switch of
    stacks does.
    """
    if not wide:
        return first & 0xFF87 == 0x4685  # MOV SP, Rm
    if first & 0xFF70 == 0xF850 and second & 0xF000 == 0xD000:
        return True  # LDR SP
    if first == 0xEA4F and second & 0x0F00 == 0x0D00:
        return True  # MOV.W SP, Rm
    return first & 0xFFF0 == 0xF380 and second & 0xFFFE == 0x8808  # MSR MSP or PSP


@native
def _look_at_block(uc: Any, header: Any, block: Any) -> None:
    """How the block ends, whether it holds an IT instruction, and whether it moves the stack pointer elsewhere."""
    address, size = block[B_ADDRESS], block[B_SIZE]
    code = header[SCRATCH + 1 :]
    kind = PLAIN
    done = 0
    while done < size:  # instructions have two lengths: walk from the start
        code[0] = 0
        read_memory(uc, np.uint64(address + done), code.ctypes, np.uint64(4))
        first, second = code[0] & 0xFFFF, (code[0] >> 16) & 0xFFFF
        wide = 1 if first & 0xE000 == 0xE000 and first & 0x1800 else 0
        kind = ending(first, second, wide)
        if first & 0xFF00 == 0xBF00 and first & 15:
            block[B_CONDITIONAL] = 1
        if header[FPU_OFF] and wide and first & 0xEC00 == 0xEC00 and second & 0x0E00 == 0x0A00:
            header[STOP] = NO_FPU  # coprocessors 10 and 11: the emulator would run it all the same
        if moves_stack(first, second, wide):
            block[B_SITE] |= MOVES_STACK
        done += 4 if wide else 2
    block[B_KIND] = kind


@native
def _block_number(uc: Any, header: Any, address: int, size: int) -> int:
    table = words(header[P_BLOCK_HASH], 2 * HASH_BLOCKS)
    at = find(table, HASH_BLOCKS, (address << 16) | size)
    if table[2 * at]:
        return table[2 * at + 1]
    number = header[BLOCKS]
    if number >= MAX_BLOCKS - 1 or header[BRANCHES] >= MAX_BRANCHES - 1:
        header[STOP] = FULL
        return 0
    header[BLOCKS] = number + 1
    table[2 * at], table[2 * at + 1] = ((address << 16) | size) + 1, number
    block = words(header[P_BLOCK], MAX_BLOCKS * ROW)[number * ROW :]
    block[B_ADDRESS], block[B_SIZE] = address, size
    _look_at_block(uc, header, block)
    branches = words(header[P_BRANCH_HASH], 2 * HASH_BRANCHES)
    at = find(branches, HASH_BRANCHES, address + size)
    if branches[2 * at] == 0:
        branches[2 * at], branches[2 * at + 1] = address + size + 1, header[BRANCHES]
        header[BRANCHES] += 1
    block[B_BRANCH] = branches[2 * at + 1]
    sites = words(header[P_SITE], max(header[SITES], 1))
    for k in range(header[SITES]):
        if sites[k] == address + size:
            block[B_SITE] |= AFTER_SITE
    return number


@native
def _state_after(header: Any, state: int, block: int, phase: int) -> int:
    """The state reached from ``state`` by running ``block`` in ``phase``."""
    paths = words(header[P_PATH], MAX_STATES * PATH)
    depth = header[DEPTH]
    new = np.zeros(PATH, np.int64)
    for k in range(depth - 1):
        new[k] = paths[state * PATH + k + 1]
    new[depth - 1] = block + 1  # 0 stands for no block
    return _state(header, new, block, phase, state)


@native
def start_in(header: Any, phase: int) -> int:
    """The state in which nothing ran yet in ``phase``."""
    return _state(header, np.zeros(PATH, np.int64), MAX_BLOCKS - 1, phase, 0)


@native
def _state(header: Any, new: Any, block: int, phase: int, otherwise: int) -> int:
    """The state of a path in a phase, made when missing; ``otherwise`` when there is no room."""
    paths = words(header[P_PATH], MAX_STATES * PATH)
    depth = header[DEPTH]
    key = np.int64(phase)
    for k in range(depth):
        key = np.int64(np.uint64(key) * np.uint64(0xD6E8FEB86659FD93) + np.uint64(new[k])) & 0x3FFFFFFFFFFFFFFF
    table = words(header[P_STATE_HASH], 2 * HASH_STATES)
    states = words(header[P_STATE], MAX_STATES * ROW)
    at = mix(key) & (HASH_STATES - 1)
    while table[2 * at]:
        number = table[2 * at + 1]
        if table[2 * at] == key + 1 and states[number * ROW + S_PHASE] == phase:
            same = True
            for k in range(depth):
                if paths[number * PATH + k] != new[k]:
                    same = False
            if same:
                return number
        at = (at + 1) & (HASH_STATES - 1)
    number = header[STATES]
    if number >= MAX_STATES - 1:
        header[STOP] = FULL
        return otherwise
    header[STATES] = number + 1
    table[2 * at], table[2 * at + 1] = key + 1, number
    for k in range(depth):
        paths[number * PATH + k] = new[k]
    row = states[number * ROW :]
    row[S_PHASE], row[S_BLOCK] = phase, block
    row[S_FLAGS] = words(header[P_BLOCK], MAX_BLOCKS * ROW)[block * ROW + B_SITE]
    return number


@native
def _transition(uc: Any, header: Any, state: int, block: int, phase: int) -> int:
    """The transition from ``state`` by ``block`` into ``phase``, made when missing."""
    table = words(header[P_TRANSITION_HASH], 2 * HASH_TRANSITIONS)
    key = (((state << 18) | block) << 17 | phase) & 0x3FFFFFFFFFFFFFFF
    at = find(table, HASH_TRANSITIONS, key)
    if table[2 * at]:
        return table[2 * at + 1]
    number = header[TRANSITIONS]
    if number >= MAX_TRANSITIONS - 1:
        header[STOP] = FULL
        return 0
    header[TRANSITIONS] = number + 1
    table[2 * at], table[2 * at + 1] = key + 1, number
    row = words(header[P_TRANSITION], MAX_TRANSITIONS * ROW)[number * ROW :]
    row[T_NEXT] = _state_after(header, state, block, phase)
    row[T_BLOCK], row[T_FROM] = block, state
    # a path never seen before is where a deeper stack can appear
    sp = register(uc, header, UC_ARM_REG_SP)
    phases = words(header[P_PHASE], MAX_PHASES * ROW)
    above = phase
    while True:
        if sp < phases[above * ROW + H_LOWEST_SP]:
            phases[above * ROW + H_LOWEST_SP] = sp
        marker = phases[above * ROW + H_MARKER]
        if above == 0 or (marker >= EXCEPTION_MARKER and marker < FUNCTION_MARKER):
            break  # a handler or a task has a stack of its own, or may have
        above = phases[above * ROW + H_PARENT]
    return number


@native
def _seldom(uc: Any, header: Any, address: int, size: int) -> int:
    """Everything but the common case: first visits, entries and exits of markers, layers. Returns the transition."""
    state = header[CURRENT]
    states = words(header[P_STATE], MAX_STATES * ROW)
    block = _block_number(uc, header, address, size)
    if header[STOP] == NO_FPU:
        return -1
    phase = states[state * ROW + S_PHASE]
    flags = states[state * ROW + S_FLAGS]
    before = phase
    plain = True
    if address == header[WATCH]:
        phase = pop(uc, header, phase, address)
    if flags & MOVES_STACK and header[FRAMES] > header[FLOOR]:
        phase = unwind(header, phase, register(uc, header, UC_ARM_REG_SP))
        plain = False
    markers = words(header[P_MARKER], max(header[MARKERS], 1) * ROW)
    for k in range(header[STRETCHES]):
        if markers[k * ROW + M_UNTIL] == address and is_open(header, header[BASE], markers[k * ROW + M_ID]):
            phase = close_stretch(header, markers[k * ROW + M_ID])
            plain = False
    for k in range(header[STRETCHES]):
        if markers[k * ROW + M_ADDRESS] == address:
            plain = False
            if not is_open(header, header[BASE], markers[k * ROW + M_ID]):
                phase = open_stretch(header, markers[k * ROW :])
    called = False
    if flags & AFTER_SITE and header[LAYERS]:
        plain = False
        called = True
        lr, sp = register(uc, header, UC_ARM_REG_LR), register(uc, header, UC_ARM_REG_SP)
        phase = push(header, phase, LAYER_MARKER + header[LAYER], 0, lr, sp)
        header[LAYER] += 1
    slots = header[MARKER_SLOTS]
    table = words(header[P_MARKER_HASH], 2 * slots)
    at = find(table, slots, address)
    if table[2 * at]:
        plain = False
        kind = words(header[P_BLOCK], MAX_BLOCKS * ROW)[states[state * ROW + S_BLOCK] * ROW + B_KIND]
        phase = enter(uc, header, phase, table[2 * at + 1], address, called or kind in (CALL, CALL_INDIRECT))
    if phase != before:
        plain = False
    if size == 2 and header[STOP] == RUNNING:
        code = header[SCRATCH + 1 :]
        code[0] = 0
        read_memory(uc, np.uint64(address), code.ctypes, np.uint64(2))
        if code[0] & 0xFFFF == 0xE7FE:  # a branch to itself
            header[STOP] = IDLE
            stop_emulator(uc)
    transition = _transition(uc, header, state, block, phase)
    if plain:
        row = states[state * ROW :]
        if row[S_KEY0] == 0:
            row[S_KEY0], row[S_T0] = (address << 16) | size, transition
        elif row[S_KEY1] == 0:
            row[S_KEY1], row[S_T1] = (address << 16) | size, transition
    return transition


@native
def _predict(header: Any, transition: Any, block: Any, address: int) -> int:
    """Run the branch predictors on the branch that ended ``block`` and went to ``address``; count what they got wrong.

    Returns bit 0 when the predictor without history was wrong, bit 1 for the one with history.

    Conditional branches: a 2-bit counter for each branch (backward taken, forward not, at first sight), and the same
    with 8 bits of global history. Returns: a stack of eight. Other indirect branches: the last target. Structure:
    Cortex-M7 timing facts, section 7.
    """
    kind = block[B_KIND]
    after = block[B_ADDRESS] + block[B_SIZE]
    missed = 0
    if kind == CONDITIONAL:
        taken = 1 if address != after else 0
        patterns = carray(pointer(header[P_PATTERN]), (MAX_BRANCHES * 257,), np.uint8)
        first = block[B_BRANCH] * 257
        for k in range(2):
            at = first if k == 0 else first + 1 + (header[HISTORY] & 255)
            counter = np.int64(patterns[at])
            if counter == 0:
                backward = taken and address < after
                predicted = 1 if backward else 0
                counter = 4 if backward else 2
            else:
                predicted = 1 if counter >= 3 else 0
            if predicted != taken:
                transition[T_MISSES + k] += 1
                missed |= 1 << k
            patterns[at] = min(4, counter + 1) if taken else max(1, counter - 1)
        header[HISTORY] = (header[HISTORY] << 1 | taken) & 255
    elif kind == CALL or kind == CALL_INDIRECT:  # noqa: SIM109 - compiled code compares numbers faster than it searches tuples
        stack = words(header[P_RETURN], 8)
        stack[header[RETURNS] & 7] = after
        header[RETURNS] += 1
    if kind >= CALL_INDIRECT and address != after:
        wrong = 1
        if kind == RETURN and header[RETURNS] > 0:
            header[RETURNS] -= 1
            if words(header[P_RETURN], 8)[header[RETURNS] & 7] == address:
                wrong = 0
        else:
            targets = words(header[P_BRANCH], MAX_BRANCHES)
            if targets[block[B_BRANCH]] == address:
                wrong = 0
            targets[block[B_BRANCH]] = address
        transition[T_MISSES] += wrong
        transition[T_MISSES_HISTORY] += wrong
        missed = 3 * wrong
    return missed


@njit(inline="always")
def _step(uc: Any, address: int, size: int, data: Any, predict: bool, record: bool) -> None:
    header = carray(data, (HEADER,), np.int64)
    if record and header[EVENTS] > header[EVENT_LIMIT]:
        header[STOP] = DRAIN  # before the block is counted: it starts again when the events are taken
        stop_emulator(uc)
        return
    if header[HALFWORDS] >= header[BUDGET]:  # likewise
        if header[STOP] == RUNNING:
            header[STOP] = OVER_BUDGET
        stop_emulator(uc)
        return
    header[HALFWORDS] += size >> 1
    here = np.int64(address)
    key = (here << 16) | np.int64(size)
    states = words(header[P_STATE], MAX_STATES * ROW)
    row = states[header[CURRENT] * ROW :]
    if here == header[WATCH]:
        number = _seldom(uc, header, here, np.int64(size))
    elif row[S_KEY0] == key:
        number = row[S_T0]
    elif row[S_KEY1] == key:
        number = row[S_T1]
    else:
        number = _seldom(uc, header, here, np.int64(size))
    if number < 0:
        header[HALFWORDS] -= size >> 1
        stop_emulator(uc)
        return
    transition = words(header[P_TRANSITION], MAX_TRANSITIONS * ROW)[number * ROW :]
    transition[T_COUNT] += 1
    missed = 0
    if predict:
        missed = _predict(header, transition, words(header[P_BLOCK], MAX_BLOCKS * ROW)[row[S_BLOCK] * ROW :], here)
    header[CURRENT] = transition[T_NEXT]
    if record:
        events = carray(pointer(header[P_EVENT]), (header[EVENT_LIMIT] + EVENTS_OF_A_BLOCK,), np.uint64)
        phase = states[transition[T_NEXT] * ROW + S_PHASE]
        if phase != header[EVENT_PHASE]:
            header[EVENT_PHASE] = phase
            events[header[EVENTS]] = np.uint64(EVENT_MARK) | np.uint64(phase)
            header[EVENTS] += 1
        header[CONDITIONAL_CODE] = words(header[P_BLOCK], MAX_BLOCKS * ROW)[transition[T_BLOCK] * ROW + B_CONDITIONAL]
        events[header[EVENTS]] = (
            np.uint64(EVENT_BLOCK) | np.uint64(missed * EVENT_MISSED) | np.uint64(transition[T_BLOCK])
        )
        header[EVENTS] += 1
    if header[STOP] == FULL:
        stop_emulator(uc)


_SIGNATURE = types.void(types.voidptr, types.uint64, types.uint32, types.voidptr)


@native_callback(_SIGNATURE)
def on_block(uc: Any, address: int, size: int, data: Any) -> None:
    """Count a block."""
    _step(uc, address, size, data, False, False)


@native_callback(_SIGNATURE)
def on_block_predicting(uc: Any, address: int, size: int, data: Any) -> None:
    """Count a block and run the branch predictors."""
    _step(uc, address, size, data, True, False)


@native_callback(_SIGNATURE)
def on_block_recording(uc: Any, address: int, size: int, data: Any) -> None:
    """Count a block, run the branch predictors, and record it as an event."""
    _step(uc, address, size, data, True, True)


@native_callback(types.void(types.voidptr, types.int32, types.uint64, types.int32, types.int64, types.voidptr))
def on_access(uc: Any, kind: int, address: int, size: int, _value: int, data: Any) -> None:
    """Record a data access as an event."""
    header = carray(data, (HEADER,), np.int64)
    at = header[EVENTS]
    if at >= header[EVENT_LIMIT] + EVENTS_OF_A_BLOCK:
        header[STOP] = FULL
        return
    events = carray(pointer(header[P_EVENT]), (header[EVENT_LIMIT] + EVENTS_OF_A_BLOCK,), np.uint64)
    word = np.uint64(address) | np.uint64(size) << np.uint64(EVENT_SIZE)
    if kind == UC_MEM_WRITE:
        word |= np.uint64(EVENT_WRITE)
    events[at] = word
    header[EVENTS] = at + 1
    # a hooked access inside an IT block leaves stale IT state behind (unicorn issue 2309): later instructions would be
    # skipped
    if header[CONDITIONAL_CODE] and register(uc, header, UC_ARM_REG_XPSR) & STALE_IT:
        header[SCRATCH] &= ~STALE_IT
        write_register(uc, np.int32(UC_ARM_REG_XPSR), header[SCRATCH:].ctypes)
