"""A dual-issue, in-order core as a scoreboard at the issue stage.

Each register knows, for every kind of use, the first cycle in which an instruction that uses it so may issue. An
instruction issues as the younger of the current cycle when its operands and its fetch are there and no rule forbids
the pair; otherwise in a later cycle as the older. Stages behind issue appear only as latencies.

:func:`step` moves the pipeline by one instruction and books every cycle to a cause. A cycle in which an instruction
issues as the older is booked to "issue", unless only a forbidden pair or a late operand kept it from sharing the
cycle before.
"""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tinysim.core import CLASS_FIELDS, CONSUMERS, FIELD_WORDS, PARAMETERS, Core, Pipeline
from tinysim.errors import PartError
from tinysim.isa import NO_OFFSET, Branch, Memory, Trait
from tinysim.timing.causes import cause_number
from tinysim.timing.columns import (
    ACCUMULATOR,
    ADDRESS,
    ADDRESS_USE,
    ALL_REGISTERS,
    BANK_CONFLICT,
    BASE,
    BRANCH,
    BRANCH_REFILL,
    BYTES,
    CLASS,
    DATA,
    EXTRACT,
    FETCH,
    FLAGS,
    FPU,
    INDEX,
    ISSUE,
    LOADED,
    MEMORY,
    MULTIPLE_TRANSFER,
    MULTIPLICAND,
    OFFSET,
    OPERAND,
    OPERAND_USE,
    PAIRING,
    RESULT,
    SHIFTED,
    SIZE,
    STORE,
    TRAITS,
    UNALIGNED,
    UNKNOWN,
    WORDS,
    WRITEBACK,
)  # fmt: skip
from tinysim.timing.native import native
from tinysim.timing.port import data_cause, data_stall, fetch_cause, fetch_stall

__all__ = ["READY_SHAPE", "STATE_SIZE", "compile_core", "mispredict", "start", "step"]

_FIELDS = CLASS_FIELDS[Pipeline.DUAL_ISSUE]
_PARAMETERS = PARAMETERS[Pipeline.DUAL_ISSUE]

C_CYCLES = _FIELDS.index("cycles")
C_WORDS_PER_CYCLE = _FIELDS.index("words_per_cycle")
C_EVEN_ALIGNED = _FIELDS.index("even_aligned")
C_PLACED_EARLY = _FIELDS.index("placed_early")
C_FUSED = _FIELDS.index("fused")
C_ACCUMULATOR_EARLY = _FIELDS.index("accumulator_early")
C_AFTER_FUSED = _FIELDS.index("after_fused")
C_TRAITS, C_LATENCY, C_CAUSE = len(_FIELDS), len(_FIELDS) + 1, len(_FIELDS) + 2

P_FETCH_BYTES = _PARAMETERS.index("fetch_bytes")
P_PAIRS_WITH_TARGET = _PARAMETERS.index("branch_pairs_with_target")
P_MISPREDICTION = _PARAMETERS.index("misprediction")
P_SETTLED = _PARAMETERS.index("misprediction_settled")
P_FLAGS_SETTLED = _PARAMETERS.index("flags_settled")
P_INDIRECT = _PARAMETERS.index("misprediction_indirect")
P_BANK_BIT = _PARAMETERS.index("bank_bit")
P_STORE_TO_LOAD = _PARAMETERS.index("store_to_load")
P_UNALIGNED = _PARAMETERS.index("unaligned_load")
P_UNALIGNED_YOUNGER = _PARAMETERS.index("unaligned_load_younger")
P_STORE_QUEUE = _PARAMETERS.index("store_queue")
P_STORE_DRAIN = _PARAMETERS.index("store_drain")
P_STORE_DRAIN_ALTERNATING = _PARAMETERS.index("store_drain_alternating")
P_FUSED_BLOCK = _PARAMETERS.index("fused_block")
P_FUSED_BLOCK_TRANSFER = _PARAMETERS.index("fused_block_transfer")

# uses of a result
U_OPERAND, U_BESIDE_SHIFT, U_EARLY, U_BASE, U_INDEX, U_MULTIPLICAND, U_ACCUMULATOR, U_DATA = range(len(CONSUMERS))
L_CAUSE = len(CONSUMERS)
L_EARLY = 0
"""Row of the latency table for what the early ALU and the address unit produce."""

READY_SHAPE = (48, len(CONSUMERS) + 2)
R_CAUSE, R_ROW = len(CONSUMERS), len(CONSUMERS) + 1
"""Beside the cycles, what a wait for the register is booked to, and the row that wrote it."""

# state: current cycle, instructions issued in it, and its older one
TIME, ISSUED, OLDER_ROW, OLDER_TRAITS, OLDER_ADDRESS = 0, 1, 2, 3, 4
BLOCK, FETCHED, REFILLING, FETCHES = 5, 6, 7, 8
FUSED_UNTIL, FLAGS_TIME, DRAINED, LAST_BANK = 9, 10, 11, 12
NOTE_RULE, NOTE_ROW, BRANCH_TIME = 13, 14, 15
STORES, STORE_NEXT = 16, 32
"""Four recent stores, each (time, base, offset, bytes), and the place of the next one."""
FREED = 36
"""Ring over fetches: when the last instruction of each left the queue."""
FETCH_CAUSE = 40
"""What the latest fetch waited for, 0 when it did not."""
STATE_SIZE = 41

BIT_ANY, BIT_SHIFTER, BIT_BITS, BIT_LOAD, BIT_STORE = 1, 2, 4, 8, 16
_KNOWN_TRAITS = {"any": BIT_ANY, "shifter": BIT_SHIFTER, "bits": BIT_BITS, "load": BIT_LOAD, "store": BIT_STORE}
B_NONE, B_DIRECT = int(Branch.NONE), int(Branch.DIRECT)
M_LOAD, M_STORE = int(Memory.LOAD), int(Memory.STORE)
T_INLINE_SHIFT, T_DECIDES, T_PREDICATED = int(Trait.INLINE_SHIFT), int(Trait.DECIDES), int(Trait.PREDICATED)
PE_OLDER, PE_EITHER = (FIELD_WORDS["placed_early"].index(word) for word in ("older", "either"))
_AFTER_FUSED = FIELD_WORDS["after_fused"]
AF_OLDER, AF_BLOCKED, AF_TRANSFER = (_AFTER_FUSED.index(word) for word in ("older", "blocked", "transfer"))
LONG_AGO = -1000
SETTLED = 100
"""Cycles after which a past event no longer matters: longer than any penalty, latency or stall a later instruction
can meet.
"""


def compile_core(core: Core) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """The core's numbers for :func:`step`.

    Class table (classes, fields + traits, latency, cause), latency table (latencies, uses + cause), forbidden pairs
    (rules, older traits, younger traits, same bank) and parameters. A class this core cannot execute has -1 cycles.
    """
    if "early" not in core.latencies:
        raise PartError(f"{core.path.name}: no latency 'early'", hint="add [latency.early]: of the early ALU")
    names = ["early", *(name for name in core.latencies if name != "early")]
    bits = dict(_KNOWN_TRAITS)
    for timing in core.timings.values():
        for trait in timing.traits:
            bits.setdefault(trait, 1 << len(bits))
    classes = np.zeros((len(core.isa.classes), len(_FIELDS) + 3), np.int64)
    for number, name in enumerate(core.isa.classes):
        found = core.timing(name)
        if found is None:
            classes[number, C_CYCLES] = -1
            continue
        for field, value in found.values.items():
            classes[number, _FIELDS.index(field)] = core.number(value)
        classes[number, C_TRAITS] = BIT_ANY | sum(bits[trait] for trait in set(found.traits))
        classes[number, C_LATENCY] = names.index(found.latency)
        classes[number, C_CAUSE] = cause_number(found.cause)
    latencies = np.array(
        [
            [*(core.number(latency.values[use]) for use in CONSUMERS), cause_number(latency.cause)]
            for latency in map(core.latencies.__getitem__, names)
        ],
        np.int64,
    )
    rules = [[bits[pair.older], bits[pair.younger], int(pair.same_bank)] for pair in core.forbidden]
    pairs = np.array(rules, np.int64).reshape(-1, 3)
    return classes, latencies, pairs, np.array([core.value(name) for name in _PARAMETERS], np.int64)


@native
def start(state, ready, address, parameters):
    """The state of a pipeline that has just been sent to ``address`` and has nothing else behind it."""
    state[:] = 0
    ready[:, :] = 0
    ready[:, R_ROW] = -1
    state[BLOCK] = address // parameters[P_FETCH_BYTES] - 1
    state[FETCHED] = -1
    state[FREED:FREED + 4] = LONG_AGO
    state[FUSED_UNTIL] = LONG_AGO
    state[FLAGS_TIME] = LONG_AGO
    state[OLDER_ROW] = -1
    state[LAST_BANK] = -1
    state[NOTE_RULE] = -1
    state[NOTE_ROW] = -1
    for store in range(4):
        state[STORES + 4 * store] = LONG_AGO


@native
def clock(state):
    """Cycles begun so far."""
    return state[TIME] + 1 if state[ISSUED] > 0 else state[TIME]


@native
def settle(state, ready):
    """Moves the origin of time to the current cycle and forgets what cannot matter any more, so that equal situations
    are equal states.

    Returns the cycles that went by.
    """
    went = state[TIME]
    for place in (TIME, FETCHED, FUSED_UNTIL, FLAGS_TIME, DRAINED, BRANCH_TIME, FREED, FREED + 1, FREED + 2, FREED + 3):
        state[place] = max(state[place] - went, -SETTLED)
    state[FETCHES] &= 3
    state[NOTE_RULE] = -1
    state[NOTE_ROW] = -1
    if state[ISSUED] == 1:
        state[OLDER_ADDRESS] &= -1 if state[OLDER_ADDRESS] < 0 else 7
    else:
        state[OLDER_ROW] = -1
        state[OLDER_TRAITS] = 0
        state[OLDER_ADDRESS] = 0
    for store in range(4):
        place = STORES + 4 * store
        state[place] = max(state[place] - went, -SETTLED)
        if state[place] == -SETTLED:
            state[place + 1] = 0
        if state[place + 1] == 0:
            state[place] = -SETTLED
            state[place + 2] = 0
            state[place + 3] = 0
    for register in range(ready.shape[0]):
        latest = np.int64(0)
        for use in range(L_CAUSE):
            oldest = -SETTLED if use == U_OPERAND else 0
            ready[register, use] = max(ready[register, use] - went, oldest)
            latest = max(latest, ready[register, use])
        ready[register, R_ROW] = -1
        if latest == 0:
            ready[register, R_CAUSE] = 0
    return went


@native
def mispredict(row, table, parameters, state, ready, next_address):
    """The branch ``row``, just issued, went where the predictor did not expect. Returns the cycles this costs by
    itself.
    """
    penalty = parameters[P_INDIRECT]
    if table[row, TRAITS] & T_DECIDES:
        decided = state[FLAGS_TIME]
        tested = table[row, OPERAND] & ALL_REGISTERS
        for register in range(16):
            if tested >> register & 1:
                decided = ready[register, U_OPERAND]
        settled = state[BRANCH_TIME] - decided >= parameters[P_FLAGS_SETTLED]
        penalty = parameters[P_SETTLED] if settled else parameters[P_MISPREDICTION]
    state[TIME] = state[TIME] + penalty - 1
    state[ISSUED] = 2
    state[BLOCK] = next_address // parameters[P_FETCH_BYTES] - 1
    state[FETCHED] = state[TIME]
    return penalty


@native
def _latest(mask, use, early, ready, state, found):
    """The latest cycle at which a register of ``mask`` is there for ``use``, or ``found`` when that is later."""
    mask &= ALL_REGISTERS
    register = 0
    if mask & 0xFFFF == 0:
        mask >>= 16
        register = 16
    while mask:
        if mask & 1:
            time = ready[register, use] - early
            if time > found:
                found = time
                state[NOTE_ROW] = register
        mask >>= 1
        register += 1
    return found


@native
def _put(mask, time, latency, latencies, row, ready):
    """Registers of ``mask`` are produced by an instruction whose last cycle is ``time``."""
    mask &= ALL_REGISTERS
    register = 0
    while mask:
        if mask & 1:
            for use in range(L_CAUSE):
                ready[register, use] = time + latencies[latency, use]
            ready[register, R_CAUSE] = latencies[latency, L_CAUSE]
            ready[register, R_ROW] = row
        mask >>= 1
        register += 1


@native
def _blame(mask, cause, ready):
    """A wait for registers of ``mask`` is booked to ``cause``."""
    mask &= ALL_REGISTERS
    register = 0
    while mask:
        if mask & 1:
            ready[register, R_CAUSE] = cause
        mask >>= 1
        register += 1


@native
def _is_early(mask, time, ready):
    """Whether all registers of ``mask`` are there one stage early at ``time``."""
    mask &= ALL_REGISTERS
    register = 0
    while mask:
        if mask & 1 and ready[register, U_EARLY] > time:
            return False
        mask >>= 1
        register += 1
    return True


@native
def _same_bank(row, address, older_row, older_address, table, bit):
    """Whether two loads hit one bank: by their addresses, else by their offsets from one base, else taken as
    different.
    """
    if address != UNKNOWN and older_address != UNKNOWN:
        return (address ^ older_address) >> bit & 1 == 0
    offset, older_offset = table[row, OFFSET], table[older_row, OFFSET]
    if table[row, BASE] == table[older_row, BASE] and offset != NO_OFFSET and older_offset != NO_OFFSET:
        if table[older_row, WRITEBACK]:
            return False
        return (offset ^ older_offset) >> bit & 1 == 0
    return False


@native
def _forbidding(row, traits, address, table, pairs, parameters, state):
    """Number of the rule that keeps an instruction from issuing with the older one of this cycle; -1 if none does."""
    for rule in range(pairs.shape[0]):
        if state[OLDER_TRAITS] & pairs[rule, 0] and traits & pairs[rule, 1]:
            if pairs[rule, 2] and not _same_bank(
                row, address, state[OLDER_ROW], state[OLDER_ADDRESS], table, parameters[P_BANK_BIT]
            ):
                continue
            return rule
    return -1


@native
def _stored_before(row, table, state):
    """When a store to the word this load reads was issued, known by the same base and offset; LONG_AGO if there is
    none.
    """
    latest = LONG_AGO
    base, offset = table[row, BASE], table[row, OFFSET]
    if base == 0 or offset == NO_OFFSET:
        return latest
    for store in range(4):
        place = STORES + 4 * store
        if (
            state[place + 1] == base
            and state[place + 2] < offset + table[row, BYTES]
            and offset < state[place + 2] + state[place + 3]
        ):
            latest = max(latest, state[place])
    return latest


@native
def _remember_store(row, time, table, state):
    written = table[row, RESULT] | table[row, LOADED] | table[row, WRITEBACK]
    for store in range(4):
        if state[STORES + 4 * store + 1] & written:
            state[STORES + 4 * store + 1] = 0
    stores = table[row, MEMORY] == M_STORE and table[row, WORDS] == 1
    if stores and table[row, OFFSET] != NO_OFFSET and not table[row, WRITEBACK]:
        place = STORES + 4 * state[STORE_NEXT]
        state[STORE_NEXT] = (state[STORE_NEXT] + 1) & 3
        state[place] = time
        state[place + 1] = table[row, BASE]
        state[place + 2] = table[row, OFFSET]
        state[place + 3] = table[row, BYTES]


@native
def _queue_store(row, address, time, table, parameters, state):
    """Cycles a sub-word or unaligned store waits for room in the store queue."""
    size = table[row, BYTES]
    if size == 4 and (address == UNKNOWN or address & 3 == 0):
        return 0
    bank = -1
    if address != UNKNOWN:
        bank = address >> parameters[P_BANK_BIT] & 1
    alternates = bank < 0 or bank != state[LAST_BANK]
    state[LAST_BANK] = bank
    drain = parameters[P_STORE_DRAIN_ALTERNATING] if alternates else parameters[P_STORE_DRAIN]
    state[DRAINED] = max(state[DRAINED], time) + drain
    return max(0, state[DRAINED] - time - parameters[P_STORE_QUEUE] * drain)


@native
def _fetch(block, parameters, state, config, memory):
    """Fetches up to ``block``: one a cycle, as long as the queue of four has room."""
    while state[BLOCK] < block:
        number = state[FETCHES]
        time = max(state[FETCHED] + 1, state[FREED + (number & 3)])
        state[BLOCK] += 1
        stall = fetch_stall(state[BLOCK] * parameters[P_FETCH_BYTES], time, config, memory)
        state[FETCHED] = time + stall
        state[FETCH_CAUSE] = fetch_cause(memory) if stall else 0
        state[FETCHES] = number + 1


@native
def step(
    row, table, classes, latencies, pairs, parameters, state, ready, next_address, address, config, memory, lost
):  # fmt: skip
    """Moves the pipeline by one instruction.

    ``next_address``: where execution goes, INSIDE for an instruction that is not the last of its block, END where
    that is not known (the path ends). ``address``: of its data access, or UNKNOWN. ``lost``: cycles by cause, added
    to. ``state[NOTE_RULE]`` and ``state[NOTE_ROW]`` say which rule or which instruction it waited for.
    """
    class_number = table[row, CLASS]
    pc, size = table[row, ADDRESS], table[row, SIZE]
    branch = table[row, BRANCH]
    always = branch != B_NONE and table[row, TRAITS] & (T_DECIDES | T_PREDICATED) == 0
    taken = next_address >= 0 and (always or next_address != pc + size)
    traits = classes[class_number, C_TRAITS]
    if table[row, TRAITS] & T_INLINE_SHIFT:
        traits |= BIT_SHIFTER
    after_fused = classes[class_number, C_AFTER_FUSED]

    # when the operands are there
    state[NOTE_RULE] = -1
    state[NOTE_ROW] = -1
    use = U_BESIDE_SHIFT if table[row, SHIFTED] else U_OPERAND
    operands = _latest(table[row, OPERAND], use, 0, ready, state, 0)
    operands = _latest(table[row, SHIFTED] | table[row, EXTRACT], U_EARLY, 0, ready, state, operands)
    operands = _latest(table[row, MULTIPLICAND], U_MULTIPLICAND, 0, ready, state, operands)
    operands = _latest(
        table[row, ACCUMULATOR], U_ACCUMULATOR, classes[class_number, C_ACCUMULATOR_EARLY], ready, state, operands
    )
    operands = _latest(table[row, DATA], U_DATA, 0, ready, state, operands)
    before_address = operands
    operands = _latest(table[row, BASE], U_BASE, 0, ready, state, operands)
    operands = _latest(table[row, INDEX], U_INDEX, 0, ready, state, operands)
    wait_cause = OPERAND_USE
    if state[NOTE_ROW] >= 0:
        register = state[NOTE_ROW]
        wait_cause = ready[register, R_CAUSE]
        state[NOTE_ROW] = ready[register, R_ROW]
        if operands > before_address and wait_cause == OPERAND_USE:
            wait_cause = ADDRESS_USE

    # when it is fetched, and what else it waits for
    candidate = max(operands, state[TIME])
    block = (pc + size - 1) // parameters[P_FETCH_BYTES]
    _fetch(block, parameters, state, config, memory)
    if state[FETCHED] > candidate:
        candidate = state[FETCHED]
        wait_cause = BRANCH_REFILL if state[REFILLING] else FETCH
        if state[FETCH_CAUSE]:
            wait_cause = state[FETCH_CAUSE]
        state[NOTE_ROW] = -1
    if after_fused >= AF_BLOCKED:
        released = state[FUSED_UNTIL]
        if after_fused == AF_TRANSFER:
            released += parameters[P_FUSED_BLOCK_TRANSFER] - parameters[P_FUSED_BLOCK]
        if released > candidate:
            candidate = released
            wait_cause = FPU
    if table[row, MEMORY] == M_LOAD and table[row, WORDS] == 1 and parameters[P_STORE_TO_LOAD] > 0:
        stored = _stored_before(row, table, state) + parameters[P_STORE_TO_LOAD]
        if stored > candidate:
            candidate = stored
            wait_cause = STORE
            state[NOTE_ROW] = -1
    state[REFILLING] = 0

    # younger of this cycle, or older of a later one
    younger = False
    before = clock(state)
    if state[ISSUED] == 1:
        rule = _forbidding(row, traits, address, table, pairs, parameters, state)
        held = after_fused == AF_OLDER and state[TIME] < state[FUSED_UNTIL]
        younger = rule < 0 and not held and candidate == state[TIME]
        if not younger:
            state[NOTE_RULE] = rule
            first_cause = wait_cause
            if held:
                first_cause = FPU
            if rule >= 0:
                first_cause = BANK_CONFLICT if pairs[rule, 2] else PAIRING
            lost[first_cause] += 1
    else:
        lost[ISSUE] += 1
    if younger:
        time = state[TIME]
        state[ISSUED] = 2
    else:
        time = max(candidate, before)
        lost[wait_cause] += time - before
        state[ISSUED] = 1

    # further cycles
    further = classes[class_number, C_CYCLES] - 1
    words = table[row, WORDS]
    if classes[class_number, C_WORDS_PER_CYCLE]:
        each = classes[class_number, C_WORDS_PER_CYCLE]
        further += (words + each - 1) // each - 1
    lost[classes[class_number, C_CAUSE]] += further
    if classes[class_number, C_EVEN_ALIGNED] and address != UNKNOWN and address & 4 and words & 1 == 0:
        further += 1
        lost[MULTIPLE_TRANSFER] += 1
    late = np.int64(0)
    if table[row, MEMORY] == M_LOAD:
        if words == 1 and address != UNKNOWN and address % table[row, BYTES]:
            extra = parameters[P_UNALIGNED_YOUNGER] if younger else parameters[P_UNALIGNED]
            further += extra
            lost[UNALIGNED] += extra
        if address != UNKNOWN:
            late = data_stall(address, words, table[row, BYTES], False, time, config, memory)
    elif table[row, MEMORY] == M_STORE:
        wait = _queue_store(row, address, time, table, parameters, state) if words == 1 else 0
        lost[STORE] += wait
        further += wait
        if address != UNKNOWN:
            stall = data_stall(address, words, table[row, BYTES], True, time, config, memory)
            if stall:
                lost[data_cause(memory)] += stall
            further += stall

    # results
    latency = classes[class_number, C_LATENCY]
    placed = classes[class_number, C_PLACED_EARLY]
    if placed and not traits & BIT_SHIFTER and _is_early(table[row, OPERAND], time, ready):
        shares = younger and state[OLDER_TRAITS] & (BIT_SHIFTER | BIT_BITS) != 0
        if (placed == PE_OLDER and not younger) or (placed == PE_EITHER and not shares):
            latency = L_EARLY
    _put(table[row, RESULT], time + further, latency, latencies, row, ready)
    _put(table[row, LOADED], time + further + late, latency, latencies, row, ready)
    if late:
        _blame(table[row, LOADED], data_cause(memory), ready)
    _put(table[row, WRITEBACK] & ~table[row, LOADED], time, L_EARLY, latencies, row, ready)
    if table[row, RESULT] & FLAGS:
        state[FLAGS_TIME] = time
    if classes[class_number, C_FUSED]:
        state[FUSED_UNTIL] = time + 1 + parameters[P_FUSED_BLOCK]
    _remember_store(row, time, table, state)

    # the cycle, and where it goes
    state[TIME] = time + further
    if further:
        state[ISSUED] = 2
    state[BRANCH_TIME] = time
    state[FREED + (state[FETCHES] - 1 & 3)] = time
    if pc // parameters[P_FETCH_BYTES] != block:
        state[FREED + (state[FETCHES] - 2 & 3)] = time
    if taken:
        state[BLOCK] = next_address // parameters[P_FETCH_BYTES] - 1
        state[REFILLING] = 1
        # the target is there in the branch's own cycle when the branch is the older and was not fetched only just now
        same_cycle = parameters[P_PAIRS_WITH_TARGET] and state[ISSUED] == 1
        state[FETCHED] = max(state[FETCHED], state[TIME] - 1 if same_cycle else state[TIME])
    if state[ISSUED] == 1:
        state[OLDER_ROW] = row
        state[OLDER_TRAITS] = traits
        state[OLDER_ADDRESS] = address
