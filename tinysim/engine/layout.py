"""What the native hooks share: the header's words, the rows of the tables, and how compiled code reads both."""

# mypy: disable-error-code="no-any-return,return-value,unused-ignore"
from __future__ import annotations

from typing import Any

import numpy as np
import unicorn.unicorn_py3.unicorn as binding
from llvmlite import binding as llvm  # type: ignore[import-untyped]
from llvmlite import ir  # type: ignore[import-untyped]
from numba import carray, njit, types
from numba.extending import intrinsic

from tinysim.native import native

# header words
(
    CURRENT, WATCH, DEPTH, BLOCKS, STATES, TRANSITIONS, PHASES, FRAMES, HALFWORDS, BUDGET, STOP, LAYER, LAYERS,
    HISTORY, RETURNS, BRANCHES, P_STATE, P_TRANSITION, P_BLOCK, P_BLOCK_HASH, P_STATE_HASH, P_TRANSITION_HASH,
    P_PATH, P_PHASE, P_PHASE_HASH, P_FRAME, P_MARKER, MARKERS, P_SITE, SITES, P_BRANCH, P_BRANCH_HASH, P_PATTERN,
    P_RETURN, P_EVENT, EVENTS, EVENT_LIMIT, EVENT_PHASE, CONDITIONAL_CODE, STRETCHES, P_MARKER_HASH, MARKER_SLOTS,
    BASE, FLOOR, TOP_SP, CALLS, CALL_LIMIT, ATTENTION, FPU_OFF, SCRATCH,
) = range(50)  # fmt: skip
HEADER = 56          # the words after SCRATCH hold a register or the bytes of an instruction
# what stopped a run
RUNNING, OVER_BUDGET, FULL, IDLE, DRAIN, NO_FPU = range(6)
# events of a recorded stream, one uint64 each
EVENT_BLOCK = 1 << 63        # the number of the block that starts
EVENT_MARK = 1 << 62         # the phase that starts
# of a block: the branch into it was predicted wrongly; the next bit: also by the predictor with history
EVENT_MISSED = 1 << 40
EVENT_WRITE = 1 << 40        # a data access: address, size in bytes from bit 32 on, and this bit for a write
EVENT_SIZE = 32              # first bit of the size
EVENTS_OF_A_BLOCK = 1 << 14  # room kept for the accesses of one block: 512 instructions of 16 words at the most
# a state's row: two inline successors (block word, transition), phase, last block, flags
S_KEY0, S_T0, S_KEY1, S_T1, S_PHASE, S_BLOCK, S_FLAGS = range(7)
# a transition's row
T_COUNT, T_NEXT, T_MISSES, T_MISSES_HISTORY, T_BLOCK, T_FROM = range(6)
# a block's row
B_ADDRESS, B_SIZE, B_KIND, B_BRANCH, B_SITE, B_CONDITIONAL = range(6)
# a phase's row
H_PARENT, H_MARKER, H_LOWEST_SP, H_ENTRIES, H_OUTERMOST = range(5)
# a frame's row: the address it returns to, the stack pointer there, the phase before, the marker, the phase inside, the
# call's own marker
F_RETURN, F_SP, F_PHASE, F_MARKER, F_INSIDE, F_CALL = range(6)
# a marker's row: address, id, where a stretch ends (0: a function, until it returns), whether it starts the layers
# anew, whether each call has a phase of its own
M_ADDRESS, M_ID, M_UNTIL, M_RESTARTS_LAYERS, M_EACH = range(5)
ROW = 8
MAX_BLOCKS, MAX_STATES, MAX_TRANSITIONS = 1 << 17, 1 << 19, 1 << 20
MAX_PHASES, MAX_FRAMES, MAX_BRANCHES = 1 << 16, 1 << 16, 1 << 16
HASH_BLOCKS, HASH_STATES, HASH_TRANSITIONS, HASH_PHASES, HASH_BRANCHES = 1 << 18, 1 << 20, 1 << 21, 1 << 17, 1 << 17
MAX_CALL_DEPTH = 1 << 8      # open functions beyond which calls are not told apart
MAX_CALL_PHASES = 1 << 11    # phases beyond which they are not: costs are tables of phases and blocks
PATH = 4                     # blocks kept of a state's path, the newest last
# flags of a block and of the states it ends: an operator's call; the stack pointer may jump
AFTER_SITE, MOVES_STACK = 1, 2
# how a block ends
PLAIN, CONDITIONAL, JUMP, CALL, CALL_INDIRECT, RETURN, INDIRECT = range(7)

# Unicorn's own functions, by name: compiled code that calls them can be kept on disk
uclib = binding.uclib
llvm.load_library_permanently(uclib._name)
read_register = types.ExternalFunction("uc_reg_read", types.int32(types.voidptr, types.int32, types.voidptr))
write_register = types.ExternalFunction("uc_reg_write", types.int32(types.voidptr, types.int32, types.voidptr))
read_memory = types.ExternalFunction(
    "uc_mem_read", types.int32(types.voidptr, types.uint64, types.voidptr, types.uint64)
)
stop_emulator = types.ExternalFunction("uc_emu_stop", types.int32(types.voidptr))
STALE_IT = 0x0600FC00        # the IT bits of XPSR


@intrinsic  # type: ignore[untyped-decorator]
def pointer(_typing: Any, _address: Any) -> Any:
    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], ir.IntType(8).as_pointer())

    return types.voidptr(types.int64), generate


@njit(inline="always")
def words(address: int, count: int) -> Any:
    return carray(pointer(address), (count,), np.int64)


@native
def mix(key: int) -> int:
    value = np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)
    return np.int64(value >> np.uint64(20))


@native
def find(table: Any, size: int, key: int) -> int:
    """Index of ``key``'s pair in a table of (key + 1, value) pairs, or of the free pair where it belongs."""
    index = mix(key) & (size - 1)
    while table[2 * index] != 0 and table[2 * index] != key + 1:
        index = (index + 1) & (size - 1)
    return index


@native
def register(uc: Any, header: Any, number: int) -> int:
    header[SCRATCH] = 0
    read_register(uc, np.int32(number), header[SCRATCH:].ctypes)
    return header[SCRATCH] & 0xFFFFFFFF
