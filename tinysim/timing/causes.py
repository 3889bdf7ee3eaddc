"""Why a cycle was spent."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["CAUSES", "Cause", "cause_number"]


class Cause(StrEnum):
    """One reason for a cycle. Every cycle of a price has exactly one."""

    ISSUE = "issue"
    """An instruction was issued: the cycle that ideal code would need too."""
    BRANCH_REFILL = "branch refill"
    """The pipeline waits for the first instruction after a taken branch."""
    FETCH = "fetch"
    """The next instruction has not been fetched, though no branch was taken: alignment, fetch width."""
    LOAD = "load"
    """The second cycle of a load that nothing overlaps."""
    LOAD_USE = "load use"
    """Waits for loaded data."""
    ADDRESS_USE = "address use"
    """Waits for a computed address."""
    OPERAND_USE = "operand use"
    """Waits for the result of an ALU instruction."""
    MULTIPLY_USE = "multiply use"
    """Waits for a product."""
    STORE = "store"
    """The store port or write buffer is busy."""
    MULTIPLE_TRANSFER = "multiple transfer"
    """Further words of LDM, STM, PUSH, POP, LDRD and the like."""
    UNALIGNED = "unaligned"
    """Further accesses for data that is not aligned."""
    DIVISION = "division"
    """Further cycles of SDIV and UDIV."""
    FPU = "fpu"
    """Further cycles of, or a wait for, a floating-point operation."""
    PAIRING = "pairing"
    """Could not issue together with the instruction before it: both need the same resource."""
    BANK_CONFLICT = "bank conflict"
    """Could not issue together with the load before it: same memory bank."""
    SYSTEM = "system"
    """Barriers and system registers."""
    FLASH_INSTRUCTION = "flash instruction"
    """Waits for code from flash: wait states, lines not held, the flash port busy."""
    FLASH_DATA = "flash data"
    """Waits for data from flash: weights, constants, literals."""
    INSTRUCTION_CACHE = "instruction cache miss"
    """Waits for a line of the instruction cache."""
    DATA_CACHE = "data cache miss"
    """Waits for a line of the data cache, or for loaded data that came with it."""
    EVICTION = "eviction"
    """Waits for a changed line to be written back."""
    BUS = "bus"
    """Waits for a bus or a memory without a cache: first access of a run of loads, slow SRAM, peripherals."""
    EXCEPTION = "exception entry and exit"
    """An exception was taken, chained or returned from: stacking, vector fetch, unstacking."""
    WAITING = "waiting for an interrupt"
    """WFI, WFE or a branch to itself, until an interrupt came."""
    MISPREDICTION = "misprediction"
    """A branch went where the predictor did not expect."""


CAUSES: tuple[str, ...] = tuple(cause.value for cause in Cause)
"""Names of the causes, in the order of every array of causes."""


def cause_number(name: str) -> int:
    """Place of a cause in such arrays. Raises ValueError for an unknown name."""
    return CAUSES.index(name)
