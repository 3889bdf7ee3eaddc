"""Where inside a block the core is when it reads or writes a register on the bus, and where a block first uses the
FPU.

The emulator keeps the program counter at the start of the block while a block runs. The instruction is found from the
code: the load or store whose address, with the registers as they are, is one of the clock registers.
"""

from __future__ import annotations

from collections.abc import Iterator

from tinysim.engine.cpu import UnicornCpu

__all__ = ["Positions"]

_CLOCK_REGISTERS = frozenset((0xE0001000, 0xE0001004, 0xE000E010, 0xE000E014, 0xE000E018))


class Positions:
    """Finds instructions in blocks."""

    def __init__(self, cpu: UnicornCpu) -> None:
        self._cpu = cpu
        self._transfers: dict[tuple[int, int], list[tuple[int, int, int]]] = {}
        self._last = (-1, -1)

    def bytes_before_access(self, address: int, size: int, execution: int) -> int:
        """Bytes of the block before the access to a clock register that goes on; its size where that cannot be told.

        ``execution``: a number that is different for each execution of a block: a second access in one comes later in
        it.
        """
        before, last = self._last
        key = (address, size)
        if key not in self._transfers:
            self._transfers[key] = list(_transfers(self._cpu.load(address, size)))
        for offset, base, immediate in self._transfers[key]:
            if before == execution and offset <= last:
                continue
            if self._cpu.get(_name(base)) + immediate & 0xFFFFFFFF in _CLOCK_REGISTERS:
                self._last = (execution, offset)
                return offset
        return size

    def first_fp(self, address: int) -> int:
        """The address of the first floating-point instruction from ``address`` on."""
        while True:
            first, second = (int.from_bytes(self._cpu.load(address + k, 2), "little") for k in (0, 2))
            if first & 0xEC00 == 0xEC00 and second & 0x0E00 == 0x0A00:
                return address
            address += 4 if _wide(first) else 2


def _name(number: int) -> str:
    return {13: "sp", 14: "lr", 15: "pc"}.get(number, f"r{number}")


def _wide(first: int) -> bool:
    return first >> 11 in (0b11101, 0b11110, 0b11111)


def _transfers(code: bytes) -> Iterator[tuple[int, int, int]]:
    """(offset, base register, immediate) of the word loads and stores with an immediate offset (ARMv7-M ARM, A7.7.43
    and A7.7.161).
    """
    at = 0
    while at + 2 <= len(code):
        first = int.from_bytes(code[at : at + 2], "little")
        if not _wide(first):
            if first & 0xF000 == 0x6000:
                yield at, first >> 3 & 7, (first >> 6 & 31) * 4
            at += 2
            continue
        second = int.from_bytes(code[at + 2 : at + 4], "little")
        if first & 0xFFE0 == 0xF8C0:
            yield at, first & 15, second & 0xFFF
        elif first & 0xFFE0 == 0xF840 and second & 0x0C00 == 0x0C00:
            yield at, first & 15, (1 if second & 0x200 else -1) * (second & 0xFF)
        at += 4
