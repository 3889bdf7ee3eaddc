"""Places of the columns of a decoded program and of the causes, as constants that native code can use."""

from __future__ import annotations

from tinysim.isa import COLUMNS
from tinysim.timing.causes import CAUSES, Cause

__all__: list[str] = []

ADDRESS = COLUMNS.index("address")
SIZE = COLUMNS.index("size")
CLASS = COLUMNS.index("class_number")
OPERAND = COLUMNS.index("operand")
SHIFTED = COLUMNS.index("shifted")
EXTRACT = COLUMNS.index("extract")
MULTIPLICAND = COLUMNS.index("multiplicand")
ACCUMULATOR = COLUMNS.index("accumulator")
BASE = COLUMNS.index("base")
INDEX = COLUMNS.index("index")
DATA = COLUMNS.index("data")
RESULT = COLUMNS.index("result")
LOADED = COLUMNS.index("loaded")
WRITEBACK = COLUMNS.index("writeback")
WORDS = COLUMNS.index("words")
BYTES = COLUMNS.index("bytes")
MEMORY = COLUMNS.index("memory")
BRANCH = COLUMNS.index("branch")
TRAITS = COLUMNS.index("traits")
OFFSET = COLUMNS.index("offset")

FP_REGISTERS = 0xFFFFFFFF << 16
ALL_REGISTERS = (1 << 48) - 1
FLAGS = 1 << 48

ISSUE = CAUSES.index(Cause.ISSUE)
BRANCH_REFILL = CAUSES.index(Cause.BRANCH_REFILL)
FETCH = CAUSES.index(Cause.FETCH)
LOAD = CAUSES.index(Cause.LOAD)
LOAD_USE = CAUSES.index(Cause.LOAD_USE)
ADDRESS_USE = CAUSES.index(Cause.ADDRESS_USE)
OPERAND_USE = CAUSES.index(Cause.OPERAND_USE)
STORE = CAUSES.index(Cause.STORE)
UNALIGNED = CAUSES.index(Cause.UNALIGNED)
FPU = CAUSES.index(Cause.FPU)
PAIRING = CAUSES.index(Cause.PAIRING)
BANK_CONFLICT = CAUSES.index(Cause.BANK_CONFLICT)
FLASH_INSTRUCTION = CAUSES.index(Cause.FLASH_INSTRUCTION)
FLASH_DATA = CAUSES.index(Cause.FLASH_DATA)
INSTRUCTION_CACHE = CAUSES.index(Cause.INSTRUCTION_CACHE)
DATA_CACHE = CAUSES.index(Cause.DATA_CACHE)
EVICTION = CAUSES.index(Cause.EVICTION)
BUS = CAUSES.index(Cause.BUS)
MISPREDICTION = CAUSES.index(Cause.MISPREDICTION)
MULTIPLE_TRANSFER = CAUSES.index(Cause.MULTIPLE_TRANSFER)
N_CAUSES = len(CAUSES)

UNKNOWN = -1
"""An address that is not known."""
INSIDE = -2
"""Stands for the next address where an instruction is not the last of its block."""
END = -1
"""Stands for the next address at the end of a path."""
