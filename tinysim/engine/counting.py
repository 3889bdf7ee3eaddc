"""The native block hook: what ran after what, counted at the speed of the emulator.

The emulator calls ``on_block`` at the start of every block. The hook walks an automaton whose states are (phase, the last
blocks); a transition is one key of `tinysim.counts.Counts` in one phase, and all it usually does is add one to it. A *phase*
is the chain of markers (measured functions, stretches, layers) that are open. All tables live in NumPy arrays that Python made;
``header`` holds their addresses, so the compiled hook has no state of its own.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import unicorn.unicorn_py3.unicorn as binding
from llvmlite import binding as llvm
from llvmlite import ir
from numba import carray, cfunc, njit, types
from numba.extending import intrinsic
from unicorn import UC_MEM_WRITE
from unicorn.arm_const import UC_ARM_REG_LR, UC_ARM_REG_SP, UC_ARM_REG_XPSR

# header words
(CURRENT, WATCH, DEPTH, BLOCKS, STATES, TRANSITIONS, PHASES, FRAMES, HALFWORDS, BUDGET, STOP, LAYER, LAYERS, HISTORY, RETURNS,
 BRANCHES, P_STATE, P_TRANSITION, P_BLOCK, P_BLOCK_HASH, P_STATE_HASH, P_TRANSITION_HASH, P_PATH, P_PHASE, P_PHASE_HASH, P_FRAME,
 P_MARKER, MARKERS, P_SITE, SITES, P_BRANCH, P_BRANCH_HASH, P_PATTERN, P_RETURN, PHASE, P_EVENT, EVENTS, EVENT_LIMIT, EVENT_PHASE,
 CONDITIONAL_CODE, SCRATCH) = range(41)
HEADER = 48          # the words after SCRATCH hold a register or the bytes of an instruction
# what stopped a run
RUNNING, OVER_BUDGET, FULL, IDLE, DRAIN = range(5)
# events of a recorded stream, one uint64 each
EVENT_BLOCK = 1 << 63        # the number of the block that starts
EVENT_MARK = 1 << 62         # the phase that starts
EVENT_WRITE = 1 << 40        # a data access: address, size in bytes from bit 32 on, and this bit for a write
EVENT_SIZE = 32              # first bit of the size
EVENTS_OF_A_BLOCK = 1 << 14  # room kept for the accesses of one block: 512 instructions of 16 words at the most
# a state's row: two inline successors (block word, transition), phase, last block, flags
S_KEY0, S_T0, S_KEY1, S_T1, S_PHASE, S_BLOCK, S_FLAGS = range(7)
# a transition's row
T_COUNT, T_NEXT, T_ACTION, T_MISSES, T_MISSES_HISTORY, T_BLOCK, T_FROM = range(7)
# a block's row
B_ADDRESS, B_SIZE, B_KIND, B_BRANCH, B_SITE, B_CONDITIONAL = range(6)
# a phase's row
H_PARENT, H_MARKER, H_LOWEST_SP, H_ENTRIES = range(4)
# a frame's row: the address it returns to, the stack pointer there, the phase before, the marker
F_RETURN, F_SP, F_PHASE, F_MARKER = range(4)
# a marker's row: address, id, where a stretch ends (0: a function, until it returns), whether it starts the layers anew
M_ADDRESS, M_ID, M_UNTIL, M_RESTARTS_LAYERS = range(4)
ROW = 8
MAX_BLOCKS, MAX_STATES, MAX_TRANSITIONS, MAX_PHASES, MAX_FRAMES, MAX_BRANCHES = 1 << 17, 1 << 19, 1 << 20, 1 << 16, 1 << 12, 1 << 16
HASH_BLOCKS, HASH_STATES, HASH_TRANSITIONS, HASH_PHASES, HASH_BRANCHES = 1 << 18, 1 << 20, 1 << 21, 1 << 17, 1 << 17
LAYER_MARKER = 1 << 20       # markers of layers are LAYER_MARKER + the layer's number
PATH = 4                     # blocks kept of a state's path, the newest last
ENTER, LEAVE = 1, 2          # actions of a transition (| marker row << 2)
# how a block ends
PLAIN, CONDITIONAL, JUMP, CALL, CALL_INDIRECT, RETURN, INDIRECT = range(7)
UNKNOWN_SP = -1

# Unicorn's own functions, by name: compiled code that calls them can be kept on disk
llvm.load_library_permanently(binding.uclib._name)
read_register = types.ExternalFunction("uc_reg_read", types.int32(types.voidptr, types.int32, types.voidptr))
write_register = types.ExternalFunction("uc_reg_write", types.int32(types.voidptr, types.int32, types.voidptr))
read_memory = types.ExternalFunction("uc_mem_read", types.int32(types.voidptr, types.uint64, types.voidptr, types.uint64))
stop_emulator = types.ExternalFunction("uc_emu_stop", types.int32(types.voidptr))
STALE_IT = 0x0600FC00        # the IT bits of XPSR


@intrinsic  # type: ignore[untyped-decorator]
def _pointer(_typing: Any, _address: Any) -> Any:
    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], ir.IntType(8).as_pointer())

    return types.voidptr(types.int64), generate


@njit(inline="always")
def _words(address: int, count: int) -> Any:
    return carray(_pointer(address), (count,), np.int64)


@njit(cache=True)
def _mix(key: int) -> int:
    value = np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)
    return np.int64(value >> np.uint64(20))


@njit(cache=True)
def _find(table: Any, size: int, key: int) -> int:
    """Index of ``key``'s pair in an open-addressed table of (key + 1, value) pairs, or of the free pair where it belongs."""
    index = _mix(key) & (size - 1)
    while table[2 * index] != 0 and table[2 * index] != key + 1:
        index = (index + 1) & (size - 1)
    return index


@njit(cache=True)
def _register(uc: Any, header: Any, number: int) -> int:
    header[SCRATCH] = 0
    read_register(uc, np.int32(number), header[SCRATCH:].ctypes)
    return header[SCRATCH] & 0xFFFFFFFF


@njit(cache=True)
def ending(first: int, second: int, wide: int) -> int:
    """How the instruction of one or two halfwords changes the flow (Armv7-M ARM, chapters A5 and A7)."""
    if not wide:
        if first & 0xF000 == 0xD000 and (first >> 8) & 15 < 14:
            return CONDITIONAL
        if first & 0xF500 == 0xB100:
            return CONDITIONAL                       # CBZ, CBNZ
        if first & 0xF800 == 0xE000:
            return JUMP
        if first & 0xFF80 == 0x4700:
            return RETURN if (first >> 3) & 15 == 14 else INDIRECT
        if first & 0xFF80 == 0x4780:
            return CALL_INDIRECT
        if first & 0xFF00 == 0xBD00:
            return RETURN                            # POP {..., PC}
        if first & 0xFF87 == 0x4687 or first & 0xFF87 == 0x4487:
            return INDIRECT                          # MOV PC, ADD PC
        return PLAIN
    if first & 0xF800 == 0xF000 and second & 0x8000:
        if second & 0x5000 == 0x5000:
            return CALL                              # BL
        if second & 0x1000:
            return JUMP                              # B.W
        if second & 0x5000 == 0 and (first >> 7) & 7 != 7:
            return CONDITIONAL                       # B<cond>.W
        return PLAIN
    if first & 0xFFF0 == 0xE8D0 and second & 0xFFE0 == 0xF000:
        return INDIRECT                              # TBB, TBH
    if first & 0xFE50 == 0xE810 and second & 0x8000:
        return RETURN if first & 15 == 13 else INDIRECT      # LDM with PC
    if first & 0xFF70 == 0xF850 and second & 0xF000 == 0xF000:
        return RETURN if first & 15 == 13 else INDIRECT      # LDR PC
    return PLAIN


@njit(cache=True)
def _look_at_block(uc: Any, header: Any, block: Any) -> None:
    """How the block ends, and whether it holds an IT instruction."""
    address, size = block[B_ADDRESS], block[B_SIZE]
    code = header[SCRATCH + 1:]
    kind = PLAIN
    done = 0
    while done < size:                               # instructions have two lengths: walk from the start
        code[0] = 0
        read_memory(uc, np.uint64(address + done), code.ctypes, np.uint64(4))
        first, second = code[0] & 0xFFFF, (code[0] >> 16) & 0xFFFF
        wide = 1 if first & 0xE000 == 0xE000 and first & 0x1800 else 0
        kind = ending(first, second, wide)
        if first & 0xFF00 == 0xBF00 and first & 15:
            block[B_CONDITIONAL] = 1
        done += 4 if wide else 2
    block[B_KIND] = kind


@njit(cache=True)
def _block_number(uc: Any, header: Any, address: int, size: int) -> int:
    table = _words(header[P_BLOCK_HASH], 2 * HASH_BLOCKS)
    at = _find(table, HASH_BLOCKS, (address << 16) | size)
    if table[2 * at]:
        return table[2 * at + 1]
    number = header[BLOCKS]
    if number >= MAX_BLOCKS - 1 or header[BRANCHES] >= MAX_BRANCHES - 1:
        header[STOP] = FULL
        return 0
    header[BLOCKS] = number + 1
    table[2 * at], table[2 * at + 1] = ((address << 16) | size) + 1, number
    block = _words(header[P_BLOCK], MAX_BLOCKS * ROW)[number * ROW:]
    block[B_ADDRESS], block[B_SIZE] = address, size
    _look_at_block(uc, header, block)
    branches = _words(header[P_BRANCH_HASH], 2 * HASH_BRANCHES)
    at = _find(branches, HASH_BRANCHES, address + size)
    if branches[2 * at] == 0:
        branches[2 * at], branches[2 * at + 1] = address + size + 1, header[BRANCHES]
        header[BRANCHES] += 1
    block[B_BRANCH] = branches[2 * at + 1]
    sites = _words(header[P_SITE], max(header[SITES], 1))
    for k in range(header[SITES]):
        if sites[k] == address + size:
            block[B_SITE] = 1
    return number


@njit(cache=True)
def phase_below(header: Any, phase: int, marker: int) -> int:
    """The phase of ``marker`` opened in ``phase``; ``phase`` itself when the marker is open already (recursion)."""
    rows = _words(header[P_PHASE], MAX_PHASES * ROW)
    above = phase
    while above:
        if rows[above * ROW + H_MARKER] == marker:
            return phase
        above = rows[above * ROW + H_PARENT]
    table = _words(header[P_PHASE_HASH], 2 * HASH_PHASES)
    at = _find(table, HASH_PHASES, (phase << 24) | marker)
    if table[2 * at] == 0:
        number = header[PHASES]
        if number >= MAX_PHASES - 1:
            header[STOP] = FULL
            return phase
        header[PHASES] = number + 1
        rows[number * ROW + H_PARENT], rows[number * ROW + H_MARKER] = phase, marker
        rows[number * ROW + H_LOWEST_SP] = 1 << 40
        table[2 * at], table[2 * at + 1] = ((phase << 24) | marker) + 1, number
    return table[2 * at + 1]


@njit(cache=True)
def _state_after(header: Any, state: int, block: int, phase: int) -> int:
    """The state reached from ``state`` by running ``block`` in ``phase``."""
    paths = _words(header[P_PATH], MAX_STATES * PATH)
    depth = header[DEPTH]
    new = np.zeros(PATH, np.int64)
    for k in range(depth - 1):
        new[k] = paths[state * PATH + k + 1]
    new[depth - 1] = block + 1                       # 0 stands for no block
    key = np.int64(phase)
    for k in range(depth):
        key = np.int64(np.uint64(key) * np.uint64(0xD6E8FEB86659FD93) + np.uint64(new[k])) & 0x3FFFFFFFFFFFFFFF
    table = _words(header[P_STATE_HASH], 2 * HASH_STATES)
    states = _words(header[P_STATE], MAX_STATES * ROW)
    at = _mix(key) & (HASH_STATES - 1)
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
        return state
    header[STATES] = number + 1
    table[2 * at], table[2 * at + 1] = key + 1, number
    for k in range(depth):
        paths[number * PATH + k] = new[k]
    row = states[number * ROW:]
    row[S_PHASE], row[S_BLOCK] = phase, block
    row[S_FLAGS] = _words(header[P_BLOCK], MAX_BLOCKS * ROW)[block * ROW + B_SITE]
    return number


@njit(cache=True)
def _transition(uc: Any, header: Any, state: int, block: int, phase: int, action: int) -> int:
    """The transition from ``state`` by ``block`` into ``phase``, made when missing."""
    table = _words(header[P_TRANSITION_HASH], 2 * HASH_TRANSITIONS)
    key = (((state << 18) | block) << 17 | phase) & 0x3FFFFFFFFFFFFFFF
    at = _find(table, HASH_TRANSITIONS, key)
    if table[2 * at]:
        return table[2 * at + 1]
    number = header[TRANSITIONS]
    if number >= MAX_TRANSITIONS - 1:
        header[STOP] = FULL
        return 0
    header[TRANSITIONS] = number + 1
    table[2 * at], table[2 * at + 1] = key + 1, number
    row = _words(header[P_TRANSITION], MAX_TRANSITIONS * ROW)[number * ROW:]
    row[T_NEXT] = _state_after(header, state, block, phase)
    row[T_ACTION], row[T_BLOCK], row[T_FROM] = action, block, state
    # a path never seen before is where a deeper stack can appear
    sp = _register(uc, header, UC_ARM_REG_SP)
    phases = _words(header[P_PHASE], MAX_PHASES * ROW)
    above = phase
    while True:
        if sp < phases[above * ROW + H_LOWEST_SP]:
            phases[above * ROW + H_LOWEST_SP] = sp
        if above == 0:
            break
        above = phases[above * ROW + H_PARENT]
    return number


@njit(cache=True)
def _push(uc: Any, header: Any, phase: int, marker: int, until: int) -> None:
    frames = _words(header[P_FRAME], MAX_FRAMES * ROW)
    depth = header[FRAMES]
    if depth >= MAX_FRAMES - 1:
        header[STOP] = FULL
        return
    frame = frames[depth * ROW:]
    if until:
        frame[F_RETURN], frame[F_SP] = until, UNKNOWN_SP
    else:
        frame[F_RETURN] = _register(uc, header, UC_ARM_REG_LR) & ~1
        frame[F_SP] = _register(uc, header, UC_ARM_REG_SP)
    frame[F_PHASE], frame[F_MARKER] = phase, marker
    header[FRAMES] = depth + 1
    header[WATCH] = frame[F_RETURN]


@njit(cache=True)
def _pop(uc: Any, header: Any, phase: int, address: int) -> int:
    """Close the frames that end at ``address``; the phase afterwards."""
    frames = _words(header[P_FRAME], MAX_FRAMES * ROW)
    sp = np.int64(-2)
    while header[FRAMES]:
        frame = frames[(header[FRAMES] - 1) * ROW:]
        if frame[F_RETURN] != address:
            break
        if frame[F_SP] != UNKNOWN_SP:
            here = _register(uc, header, UC_ARM_REG_SP)
            if here != frame[F_SP] or (sp >= 0 and frame[F_SP] != sp):
                break
            sp = here
        elif sp >= 0:
            break
        phase = frame[F_PHASE]
        header[FRAMES] -= 1
        if frame[F_SP] == UNKNOWN_SP:
            break
        # a tail call leaves two frames with one return address and one stack pointer: both end here
        if header[FRAMES] and frames[(header[FRAMES] - 1) * ROW + F_SP] != sp:
            break
    header[WATCH] = frames[(header[FRAMES] - 1) * ROW + F_RETURN] if header[FRAMES] else np.int64(-1)
    return phase


@njit(cache=True)
def _leave(header: Any, marker: int) -> None:
    """Close the stretch ``marker`` wherever it is on the stack of frames; the frames above stay open without it."""
    frames = _words(header[P_FRAME], MAX_FRAMES * ROW)
    found = -1
    for k in range(header[FRAMES]):
        if frames[k * ROW + F_MARKER] == marker:
            found = k
    if found < 0:
        return
    phase = frames[found * ROW + F_PHASE]
    for k in range(found, header[FRAMES] - 1):
        for word in range(ROW):
            frames[k * ROW + word] = frames[(k + 1) * ROW + word]
        frames[k * ROW + F_PHASE] = phase
        phase = phase_below(header, phase, frames[k * ROW + F_MARKER])
    header[FRAMES] -= 1
    header[PHASE] = phase
    header[WATCH] = frames[(header[FRAMES] - 1) * ROW + F_RETURN] if header[FRAMES] else np.int64(-1)


@njit(cache=True)
def _seldom(uc: Any, header: Any, address: int, size: int) -> int:
    """Everything but the common case: first visits, entries and exits of markers, layers. Returns the transition."""
    state = header[CURRENT]
    states = _words(header[P_STATE], MAX_STATES * ROW)
    block = _block_number(uc, header, address, size)
    phase = states[state * ROW + S_PHASE]
    before = phase
    if address == header[WATCH]:
        phase = _pop(uc, header, phase, address)
    plain = phase == before
    markers = _words(header[P_MARKER], max(header[MARKERS], 1) * ROW)
    for k in range(header[MARKERS]):
        row = markers[k * ROW:]
        if row[M_UNTIL] == address:
            header[PHASE] = phase
            _leave(header, row[M_ID])
            phase = header[PHASE]
            plain = False
    if states[state * ROW + S_FLAGS] and header[LAYERS]:
        plain = False
        _push(uc, header, phase, LAYER_MARKER + header[LAYER], 0)
        phase = phase_below(header, phase, LAYER_MARKER + header[LAYER])
        header[LAYER] += 1
    for k in range(header[MARKERS]):
        row = markers[k * ROW:]
        if row[M_ADDRESS] == address:
            plain = False
            if row[M_RESTARTS_LAYERS]:
                header[LAYER] = 0
            opened = phase_below(header, phase, row[M_ID])
            if row[M_UNTIL] and opened == phase and phase:
                continue                              # a stretch that is open already: passing its start again changes nothing
            _push(uc, header, phase, row[M_ID], row[M_UNTIL])
            phase = opened
            _words(header[P_PHASE], MAX_PHASES * ROW)[phase * ROW + H_ENTRIES] += 1
    if size == 2 and header[STOP] == RUNNING:
        code = header[SCRATCH + 1:]
        code[0] = 0
        read_memory(uc, np.uint64(address), code.ctypes, np.uint64(2))
        if code[0] & 0xFFFF == 0xE7FE:               # a branch to itself
            header[STOP] = IDLE
            stop_emulator(uc)
    transition = _transition(uc, header, state, block, phase, 0)
    if plain:
        row = states[state * ROW:]
        if row[S_KEY0] == 0:
            row[S_KEY0], row[S_T0] = (address << 16) | size, transition
        elif row[S_KEY1] == 0:
            row[S_KEY1], row[S_T1] = (address << 16) | size, transition
    return transition


@njit(cache=True)
def _predict(header: Any, transition: Any, block: Any, address: int) -> None:
    """Run the branch predictors on the branch that ended ``block`` and went to ``address``; count what they got wrong.

    Conditional branches: a 2-bit counter for each branch (backward taken, forward not, at first sight), and the same with 8 bits of
    global history. Returns: a stack of eight. Other indirect branches: the last target. Structure: Cortex-M7 timing facts, section 7.
    """
    kind = block[B_KIND]
    after = block[B_ADDRESS] + block[B_SIZE]
    if kind == CONDITIONAL:
        taken = 1 if address != after else 0
        patterns = carray(_pointer(header[P_PATTERN]), (MAX_BRANCHES * 257,), np.uint8)
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
            patterns[at] = min(4, counter + 1) if taken else max(1, counter - 1)
        header[HISTORY] = (header[HISTORY] << 1 | taken) & 255
    elif kind == CALL or kind == CALL_INDIRECT:
        stack = _words(header[P_RETURN], 8)
        stack[header[RETURNS] & 7] = after
        header[RETURNS] += 1
    if kind >= CALL_INDIRECT and address != after:
        wrong = 1
        if kind == RETURN and header[RETURNS] > 0:
            header[RETURNS] -= 1
            if _words(header[P_RETURN], 8)[header[RETURNS] & 7] == address:
                wrong = 0
        else:
            targets = _words(header[P_BRANCH], MAX_BRANCHES)
            if targets[block[B_BRANCH]] == address:
                wrong = 0
            targets[block[B_BRANCH]] = address
        transition[T_MISSES] += wrong
        transition[T_MISSES_HISTORY] += wrong


@njit(inline="always")
def _step(uc: Any, address: int, size: int, data: Any, predict: bool, record: bool) -> None:
    header = carray(data, (HEADER,), np.int64)
    if record and header[EVENTS] > header[EVENT_LIMIT]:
        header[STOP] = DRAIN                         # before the block is counted: it starts again when the events are taken
        stop_emulator(uc)
        return
    header[HALFWORDS] += size >> 1
    if header[HALFWORDS] > header[BUDGET] and header[STOP] == RUNNING:
        header[STOP] = OVER_BUDGET
        stop_emulator(uc)
    here = np.int64(address)
    key = (here << 16) | np.int64(size)
    states = _words(header[P_STATE], MAX_STATES * ROW)
    row = states[header[CURRENT] * ROW:]
    if here == header[WATCH]:
        number = _seldom(uc, header, here, np.int64(size))
    elif row[S_KEY0] == key:
        number = row[S_T0]
    elif row[S_KEY1] == key:
        number = row[S_T1]
    else:
        number = _seldom(uc, header, here, np.int64(size))
    transition = _words(header[P_TRANSITION], MAX_TRANSITIONS * ROW)[number * ROW:]
    transition[T_COUNT] += 1
    if predict:
        _predict(header, transition, _words(header[P_BLOCK], MAX_BLOCKS * ROW)[row[S_BLOCK] * ROW:], here)
    header[CURRENT] = transition[T_NEXT]
    if record:
        events = carray(_pointer(header[P_EVENT]), (header[EVENT_LIMIT] + EVENTS_OF_A_BLOCK,), np.uint64)
        phase = states[transition[T_NEXT] * ROW + S_PHASE]
        if phase != header[EVENT_PHASE]:
            header[EVENT_PHASE] = phase
            events[header[EVENTS]] = np.uint64(EVENT_MARK) | np.uint64(phase)
            header[EVENTS] += 1
        header[CONDITIONAL_CODE] = _words(header[P_BLOCK], MAX_BLOCKS * ROW)[transition[T_BLOCK] * ROW + B_CONDITIONAL]
        events[header[EVENTS]] = np.uint64(EVENT_BLOCK) | np.uint64(transition[T_BLOCK])
        header[EVENTS] += 1
    if header[STOP] == FULL:
        stop_emulator(uc)


_SIGNATURE = types.void(types.voidptr, types.uint64, types.uint32, types.voidptr)


@cfunc(_SIGNATURE, cache=True)
def on_block(uc: Any, address: int, size: int, data: Any) -> None:
    """Count a block."""
    _step(uc, address, size, data, False, False)


@cfunc(_SIGNATURE, cache=True)
def on_block_predicting(uc: Any, address: int, size: int, data: Any) -> None:
    """Count a block and run the branch predictors."""
    _step(uc, address, size, data, True, False)


@cfunc(_SIGNATURE, cache=True)
def on_block_recording(uc: Any, address: int, size: int, data: Any) -> None:
    """Count a block, run the branch predictors, and record it as an event."""
    _step(uc, address, size, data, True, True)


@cfunc(types.void(types.voidptr, types.int32, types.uint64, types.int32, types.int64, types.voidptr), cache=True)
def on_access(uc: Any, kind: int, address: int, size: int, _value: int, data: Any) -> None:
    """Record a data access as an event."""
    header = carray(data, (HEADER,), np.int64)
    at = header[EVENTS]
    if at >= header[EVENT_LIMIT] + EVENTS_OF_A_BLOCK:
        header[STOP] = FULL
        return
    events = carray(_pointer(header[P_EVENT]), (header[EVENT_LIMIT] + EVENTS_OF_A_BLOCK,), np.uint64)
    word = np.uint64(address) | np.uint64(size) << np.uint64(EVENT_SIZE)
    if kind == UC_MEM_WRITE:
        word |= np.uint64(EVENT_WRITE)
    events[at] = word
    header[EVENTS] = at + 1
    # a hooked access inside an IT block leaves stale IT state behind (unicorn issue 2309): later instructions would be skipped
    if header[CONDITIONAL_CODE] and _register(uc, header, UC_ARM_REG_XPSR) & STALE_IT:
        header[SCRATCH] &= ~STALE_IT
        write_register(uc, np.int32(UC_ARM_REG_XPSR), header[SCRATCH:].ctypes)
