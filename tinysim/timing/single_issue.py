"""A single-issue, in-order core: an issue clock behind a small fetch FIFO.

The FIFO requests one aligned word a cycle while it has room, counting words in flight; a word can be decoded
``fetch_latency`` cycles after its request, and its slot is free when the instruction with its last halfword enters
decode. An instruction enters decode when the one before it enters execute, and executes one cycle later or when the
data path allows.

:func:`step` moves the pipeline by one instruction and books every cycle to a cause. The state between instructions is
one array of integers, so that a path of blocks, a whole stream and memory with wait states all run the same code.
"""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tinysim.core import CLASS_FIELDS, PARAMETERS, Core, Pipeline
from tinysim.isa import Branch, Memory, Trait
from tinysim.timing.causes import cause_number
from tinysim.timing.columns import (
    ACCUMULATOR,
    ADDRESS,
    ADDRESS_USE,
    ALL_REGISTERS,
    BASE,
    BRANCH,
    BRANCH_REFILL,
    BUS,
    BYTES,
    CLASS,
    DATA,
    END,
    FETCH,
    FP_REGISTERS,
    FPU,
    INDEX,
    INSIDE,
    ISSUE,
    LOAD,
    LOAD_USE,
    LOADED,
    MEMORY,
    MULTIPLICAND,
    OPERAND,
    RESULT,
    SIZE,
    STORE,
    TRAITS,
    UNALIGNED,
    UNKNOWN,
    WORDS,
)  # fmt: skip
from tinysim.timing.native import native
from tinysim.timing.port import data_cause, data_stall, fetch_cause, fetch_stall, first_load, slave_of

__all__ = ["STATE_SIZE", "compile_core", "start", "step"]

_FIELDS = CLASS_FIELDS[Pipeline.SINGLE_ISSUE]
_PARAMETERS = PARAMETERS[Pipeline.SINGLE_ISSUE]

# columns of the class table
C_CYCLES = _FIELDS.index("cycles")
C_PER_WORD = _FIELDS.index("per_word")
C_DATA_PHASE = _FIELDS.index("data_phase")
C_JOINS = _FIELDS.index("joins")
C_ADDRESS_LATE = _FIELDS.index("address_late")
C_FP = _FIELDS.index("fp")
C_FP_LATE = _FIELDS.index("fp_late")
C_ADDEND_LATE = _FIELDS.index("addend_late")
C_UNIT_BUSY = _FIELDS.index("unit_busy")
C_REGISTER_OFFSET = _FIELDS.index("register_offset")
C_STORES = _FIELDS.index("stores")
C_AFTER_STORE = _FIELDS.index("after_store")
C_FOLDS = _FIELDS.index("folds")
C_HIDES = _FIELDS.index("hides")
C_CAUSE = len(_FIELDS)

# places of the parameters
P_FIFO_WORDS = _PARAMETERS.index("fifo_words")
P_FETCH_LATENCY = _PARAMETERS.index("fetch_latency")
P_DIRECT = _PARAMETERS.index("direct_branch_request")
P_REGISTER = _PARAMETERS.index("register_branch_request")
P_LOADED = _PARAMETERS.index("loaded_branch_request")
P_TABLE = _PARAMETERS.index("table_branch_request")
P_STEALS = _PARAMETERS.index("untaken_branch_steals")
P_IT_FOLDS = _PARAMETERS.index("it_folds")
P_ADDRESS_USE = _PARAMETERS.index("address_use")
P_LOAD_AFTER_STORE = _PARAMETERS.index("load_after_store")
P_NOP_HIDES = _PARAMETERS.index("nop_hides")
P_UNALIGNED_HALFWORD = _PARAMETERS.index("unaligned_halfword")
P_UNALIGNED_ODD = _PARAMETERS.index("unaligned_odd")
P_FP_RESULT_USE = _PARAMETERS.index("fp_result_use")
P_FP_RELEASE = _PARAMETERS.index("fp_release_delay")
P_ODD_WIDE = _PARAMETERS.index("odd_wide_group")
P_WRONG_PATH = _PARAMETERS.index("wrong_path_fetch")
P_SLAVES = _PARAMETERS.index("slaves_pipeline")

# state: clocks of the pipeline
NEXT, EXECUTE, DECODE, FP_BUSY = 0, 1, 2, 3
# the fetch FIFO: next word to request, last request, first word since the last branch, stolen slots
WORD, REQUEST, FIRST_WORD, STOLEN, STOLEN_BEFORE = 4, 5, 6, 7, 8
REFILLING = 9
# what the instruction before left behind
PENDING, PENDING_LOADED, PENDING_SLAVE, ADDRESS_LATE, FP_LATE = 10, 11, 12, 13, 14
AFTER_STORE, BEFORE_SIZE, WIDE_STORE, DEFERRED, DEFERRED_CAUSE = 15, 16, 17, 18, 19
RUN_SLAVE, ARMED, ODD_WIDE, DECODED_BEFORE = 20, 21, 22, 23
# rings over fetched words: ready to decode, slot free, cycles lost to memory
READY, FREE, STALLED, STALL_CAUSE = 24, 32, 40, 48
STATE_SIZE = 56
SETTLED = 100
"""Cycles after which a past event no longer matters: longer than any latency or stall a later instruction can meet."""

B_NONE, B_DIRECT, B_REGISTER = int(Branch.NONE), int(Branch.DIRECT), int(Branch.REGISTER)
B_LOAD, B_TABLE = int(Branch.LOAD), int(Branch.TABLE)
M_LOAD, M_STORE = int(Memory.LOAD), int(Memory.STORE)
T_REGISTER_OFFSET, T_DECIDES, T_PREDICATED = int(Trait.REGISTER_OFFSET), int(Trait.DECIDES), int(Trait.PREDICATED)


def compile_core(core: Core) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The core's numbers for :func:`step`: class table of shape (classes, fields + 1), cause last, and parameters.

    A class this core cannot execute has -1 cycles.
    """
    classes = np.zeros((len(core.isa.classes), len(_FIELDS) + 1), np.int64)
    for number, name in enumerate(core.isa.classes):
        timing = core.timing(name)
        if timing is None:
            classes[number, C_CYCLES] = -1
            continue
        for field, value in timing.values.items():
            classes[number, _FIELDS.index(field)] = core.number(value)
        classes[number, C_CAUSE] = cause_number(timing.cause)
    return classes, np.array([core.value(name) for name in _PARAMETERS], np.int64)


@native
def start(state, address):
    """The state of a pipeline that has just taken a branch to ``address`` and has nothing else behind it."""
    state[:] = 0
    state[EXECUTE] = -1
    state[WORD] = address >> 2
    state[FIRST_WORD] = address >> 2
    state[REQUEST] = -3
    state[STOLEN] = -9
    state[STOLEN_BEFORE] = -9
    state[RUN_SLAVE] = -1
    state[BEFORE_SIZE] = 4
    state[DECODED_BEFORE] = -9


@native
def settle(state):
    """Moves the origin of time to the pipeline's clock and forgets what cannot matter any more, so that equal
    situations are equal states.

    Returns the cycles that went by.
    """
    went = state[NEXT]
    for place in (NEXT, DECODE, REQUEST, STOLEN, STOLEN_BEFORE, DECODED_BEFORE):
        state[place] = max(state[place] - went, -SETTLED)
    state[EXECUTE] = -SETTLED
    state[FP_BUSY] = max(state[FP_BUSY] - went, 0)
    if state[DECODED_BEFORE] < state[DECODE] - 8:
        state[DECODED_BEFORE] = -SETTLED
    for place in (STOLEN, STOLEN_BEFORE):                # only a slot still to come can be stolen
        if state[place] <= state[REQUEST]:
            state[place] = -SETTLED
    known = max(state[FIRST_WORD], state[WORD] - 8)
    state[FIRST_WORD] = known
    for back in range(8):
        word = state[WORD] - 1 - back
        slot = word & 7
        if word < known:
            state[READY + slot] = -SETTLED
            state[FREE + slot] = -SETTLED
            state[STALLED + slot] = 0
        else:
            ready = state[READY + slot] - went
            state[READY + slot] = -SETTLED if ready <= state[DECODE] and ready < 0 else ready
            free = state[FREE + slot] - went
            state[FREE + slot] = -SETTLED if free <= state[REQUEST] + 1 else free
        if state[STALLED + slot] == 0 or state[READY + slot] == -SETTLED:
            state[STALLED + slot] = 0
            state[STALL_CAUSE + slot] = 0
    return went


@native
def _request(state, parameters, config, memory):
    """Requests the next word in sequence. Returns its request time."""
    word = state[WORD]
    time = state[REQUEST] + 1
    before = word - parameters[P_FIFO_WORDS]
    if before >= state[FIRST_WORD] and state[FREE + (before & 7)] > time:
        time = state[FREE + (before & 7)]
    while time == state[STOLEN] or time == state[STOLEN_BEFORE]:
        time += 1
    stall = fetch_stall(word * 4, time, config, memory)
    state[READY + (word & 7)] = time + parameters[P_FETCH_LATENCY] + stall
    state[STALLED + (word & 7)] = stall
    if stall:
        state[STALL_CAUSE + (word & 7)] = fetch_cause(memory)
    state[REQUEST] = time + stall
    state[WORD] = word + 1
    return time


@native
def _next_request(state, parameters):
    """When the next word in sequence will be requested."""
    before = state[WORD] - parameters[P_FIFO_WORDS]
    time = state[REQUEST] + 1
    if before >= state[FIRST_WORD] and state[FREE + (before & 7)] > time:
        time = state[FREE + (before & 7)]
    while time == state[STOLEN] or time == state[STOLEN_BEFORE]:
        time += 1
    return time


@native
def _run_ahead(state, parameters, until, word, config, memory):
    """Requests what the FIFO has room for before the cycle ``until``, so that memory sees requests in order of time."""
    while state[WORD] - parameters[P_FIFO_WORDS] < word and _next_request(state, parameters) < until:
        _request(state, parameters, config, memory)


@native
def _unaligned(address, size, parameters):
    """Further cycles of one access that is not aligned."""
    if address == UNKNOWN or address % size == 0:
        return 0
    return parameters[P_UNALIGNED_ODD] if size == 4 and address & 1 else parameters[P_UNALIGNED_HALFWORD]


@native
def step(row, table, classes, parameters, state, executed, next_address, address, config, memory, lost):
    """Moves the pipeline by one instruction.

    ``executed``: whether its condition holds (of use only for predicated instructions). ``next_address``: where
    execution goes, INSIDE for an instruction that is not the last of its block, END where that is not known (the path
    ends). ``address``: of its data access, or UNKNOWN. ``lost``: cycles by cause, added to. ``state[NEXT]`` is the
    clock.
    """
    class_number = table[row, CLASS]
    pc = table[row, ADDRESS]
    size = table[row, SIZE]
    branch = table[row, BRANCH]
    always = branch != B_NONE and table[row, TRAITS] & (T_DECIDES | T_PREDICATED) == 0
    taken = next_address >= 0 and (always or next_address != pc + size)
    deferrable = branch >= B_LOAD and (table[row, TRAITS] & T_PREDICATED) != 0
    if deferrable:
        executed = taken
    accesses = executed and table[row, MEMORY] != 0

    # fetch and decode
    first, last = pc >> 2, (pc + size - 1) >> 2
    while state[WORD] <= last:
        _request(state, parameters, config, memory)
    decode = max(state[DECODE], state[READY + (last & 7)])

    # what the data path waits for
    ready = state[NEXT]
    if state[DEFERRED] > 0:
        lost[state[DEFERRED_CAUSE]] += state[DEFERRED]
        ready += state[DEFERRED]
        state[DEFERRED] = 0
    hides = classes[class_number, C_HIDES] != 0 and parameters[P_NOP_HIDES] != 0
    folded = classes[class_number, C_FOLDS] != 0 and parameters[P_IT_FOLDS] != 0 and state[BEFORE_SIZE] == 2
    slave = slave_of(address, config, memory) if accesses and address != UNKNOWN else -1
    registers = table[row, BASE] | table[row, INDEX]
    if state[PENDING] and not folded:
        depends = accesses and (registers & state[PENDING_LOADED]) != 0
        joins = hides or (
            executed and classes[class_number, C_JOINS] != 0 and not depends
            and (parameters[P_SLAVES] != 0 or slave < 0 or state[PENDING_SLAVE] < 0 or slave == state[PENDING_SLAVE])
        )
        if not joins:
            ready += 1
            lost[LOAD_USE if depends else LOAD] += 1
    if accesses and registers & state[ADDRESS_LATE]:
        ready += parameters[P_ADDRESS_USE]
        lost[ADDRESS_USE] += parameters[P_ADDRESS_USE]
    if state[AFTER_STORE] and executed and classes[class_number, C_AFTER_STORE]:
        ready += parameters[P_LOAD_AFTER_STORE]
        lost[STORE] += parameters[P_LOAD_AFTER_STORE]
    read = table[row, OPERAND] | table[row, MULTIPLICAND]
    if classes[class_number, C_FP]:
        waits = read if classes[class_number, C_ADDEND_LATE] else read | table[row, ACCUMULATOR]
        if waits & state[FP_LATE]:
            ready += parameters[P_FP_RESULT_USE]
            lost[FPU] += parameters[P_FP_RESULT_USE]
    if state[FP_BUSY] > ready:
        touched = read | table[row, ACCUMULATOR] | table[row, DATA] | table[row, RESULT] | table[row, LOADED]
        if classes[class_number, C_FP] or touched & FP_REGISTERS:
            lost[FPU] += state[FP_BUSY] - ready
            ready = state[FP_BUSY]

    # slots of the words that end with this instruction are free again; an FP instruction close behind another holds
    # them longer
    free = decode
    if classes[class_number, C_FP]:
        free = max(decode, state[DECODED_BEFORE] + 1 + parameters[P_FP_RELEASE])
    state[DECODED_BEFORE] = decode
    for word in range(first, last + 1):
        state[FREE + (word & 7)] = free
    if folded:
        state[BEFORE_SIZE] = size
        return
    if hides and state[WIDE_STORE]:
        state[BEFORE_SIZE] = size
        state[WIDE_STORE] = 0
        return

    execute = ready
    if decode + 1 > ready:
        execute = decode + 1
        wait = execute - ready
        stalled = min(wait, state[STALLED + (first & 7)])
        if stalled:
            lost[state[STALL_CAUSE + (first & 7)]] += stalled
            wait -= stalled
        if last != first and state[STALLED + (last & 7)] and wait:
            stalled = min(wait, state[STALLED + (last & 7)])
            lost[state[STALL_CAUSE + (last & 7)]] += stalled
            wait -= stalled
        if state[REFILLING]:
            refill = min(wait, max(0, state[READY + (first & 7)] + 1 - ready))
            lost[BRANCH_REFILL] += refill
            wait -= refill
        lost[FETCH] += wait
    state[REFILLING] = 0

    # how long it executes
    cycles = np.int64(1)
    stall = np.int64(0)
    lost[ISSUE] += 1
    if executed:
        cycles = classes[class_number, C_CYCLES] + classes[class_number, C_PER_WORD] * table[row, WORDS]
        lost_cause = classes[class_number, C_CAUSE]
        if branch == B_LOAD and classes[class_number, C_DATA_PHASE]:
            cycles += 1
            lost_cause = LOAD
        if not deferrable:
            lost[lost_cause] += cycles - 1
        if accesses:
            if table[row, TRAITS] & T_REGISTER_OFFSET:
                cycles += classes[class_number, C_REGISTER_OFFSET]
                lost[STORE] += classes[class_number, C_REGISTER_OFFSET]
            if classes[class_number, C_DATA_PHASE]:
                extra = _unaligned(address, table[row, BYTES], parameters)
                cycles += extra
                lost[UNALIGNED] += extra
            if address != UNKNOWN:
                if slave == slave_of(state[WORD] * 4, config, memory):  # else their order does not matter
                    _run_ahead(state, parameters, execute, (pc + size) >> 2, config, memory)
                stall = data_stall(
                    address, table[row, WORDS], table[row, BYTES], table[row, MEMORY] == M_STORE, execute, config,
                    memory,
                )
                if stall:
                    lost[data_cause(memory)] += stall
                if classes[class_number, C_DATA_PHASE] and slave != state[RUN_SLAVE]:
                    granted = first_load(slave, config, memory)
                    lost[BUS] += granted
                    stall += granted
        if deferrable:
            state[DEFERRED] = cycles - 1
            state[DEFERRED_CAUSE] = lost_cause
            cycles = np.int64(1)
    end = execute + cycles + stall

    # three 32-bit instructions at odd halfwords after one that took longer
    if parameters[P_ODD_WIDE]:
        if (cycles > 1 or (executed and classes[class_number, C_DATA_PHASE])) and not taken:
            state[ARMED] = 1
            state[ODD_WIDE] = 0
        elif size == 4 and pc & 2:
            state[ODD_WIDE] += 1
            if state[ARMED] and state[ODD_WIDE] == 3:
                end += parameters[P_ODD_WIDE]
                lost[FETCH] += parameters[P_ODD_WIDE]
                state[ARMED] = 0
        else:
            state[ARMED] = 0
            state[ODD_WIDE] = 0
        if taken:
            state[ARMED] = 0
            state[ODD_WIDE] = 0

    # what it leaves behind
    state[NEXT] = end
    state[EXECUTE] = execute
    state[DECODE] = execute
    state[BEFORE_SIZE] = size
    loads = executed and classes[class_number, C_DATA_PHASE] != 0 and branch == B_NONE
    state[PENDING] = 1 if loads else 0
    state[PENDING_LOADED] = table[row, LOADED] if loads else 0
    state[PENDING_SLAVE] = slave
    state[RUN_SLAVE] = slave if accesses and table[row, MEMORY] == M_LOAD else -1
    late = executed and classes[class_number, C_ADDRESS_LATE] != 0
    state[ADDRESS_LATE] = table[row, RESULT] & ALL_REGISTERS if late else 0
    state[FP_LATE] = table[row, RESULT] if executed and classes[class_number, C_FP_LATE] else 0
    if executed and classes[class_number, C_UNIT_BUSY]:
        state[FP_BUSY] = execute + classes[class_number, C_UNIT_BUSY]
    stores = executed and classes[class_number, C_STORES] != 0
    state[AFTER_STORE] = 1 if stores else 0
    state[WIDE_STORE] = 1 if stores and table[row, TRAITS] & T_REGISTER_OFFSET else 0

    # where it goes
    if next_address in (INSIDE, END):
        return
    if taken:
        request = execute
        if branch == B_DIRECT:
            request = execute + parameters[P_DIRECT]
        elif branch == B_LOAD:
            request = end + state[DEFERRED] + parameters[P_LOADED]
        elif branch == B_TABLE:
            request = end + state[DEFERRED] + parameters[P_TABLE]
        else:
            request = execute + parameters[P_REGISTER]
        if parameters[P_WRONG_PATH]:
            _run_ahead(state, parameters, request, (pc + size) >> 2, config, memory)
            request = max(request, state[REQUEST] + 1)
        state[WORD] = next_address >> 2
        state[FIRST_WORD] = next_address >> 2
        state[REQUEST] = request - 1
        state[STOLEN] = -9
        state[STOLEN_BEFORE] = -9
        state[DECODE] = execute + 1
        state[PENDING] = 0
        state[REFILLING] = 1
    elif branch != B_NONE and parameters[P_STEALS]:
        state[STOLEN_BEFORE] = state[STOLEN]
        state[STOLEN] = decode
