"""Faults in words: the fault status registers, and who called whom when it happened.

Bits: ARMv7-M Architecture Reference Manual (DDI 0403E.e), B3.2.15 and B3.2.16.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tinysim.engine.interrupts import exception_name
from tinysim.image import Image

__all__ = ["CFSR", "HFSR", "FaultRecord", "decode_status", "stack_trace"]

CFSR: Mapping[int, tuple[str, str]] = {
    0: ("IACCVIOL", "an instruction was fetched from where execution is not allowed"),
    1: ("DACCVIOL", "a load or store was not allowed by the MPU"),
    3: ("MUNSTKERR", "the MPU refused the unstacking of an exception"),
    4: ("MSTKERR", "the MPU refused the stacking of an exception"),
    5: ("MLSPERR", "the MPU refused the lazy stacking of the FPU"),
    8: ("IBUSERR", "an instruction was fetched from where there is no memory"),
    9: ("PRECISERR", "a load or store went where there is nothing"),
    10: ("IMPRECISERR", "a buffered store went where there is nothing"),
    11: ("UNSTKERR", "unstacking an exception went where there is no memory"),
    12: ("STKERR", "stacking an exception went where there is no memory"),
    13: ("LSPERR", "lazy stacking of the FPU went where there is no memory"),
    16: ("UNDEFINSTR", "an undefined instruction"),
    17: ("INVSTATE", "a branch to an address without its Thumb bit (bit 0)"),
    18: ("INVPC", "a wrong EXC_RETURN value"),
    19: ("NOCP", "a floating-point instruction while the FPU is off (CPACR)"),
    24: ("UNALIGNED", "an unaligned access"),
    25: ("DIVBYZERO", "a division by zero"),
}
HFSR: Mapping[int, tuple[str, str]] = {
    1: ("VECTTBL", "the vector table could not be read"),
    30: ("FORCED", "escalated: the fault's own handler is off or cannot preempt"),
    31: ("DEBUGEVT", "a breakpoint (BKPT) without a debugger"),
}
_MMARVALID, _BFARVALID = 7, 15
_SCAN_BYTES = 2048
_FRAMES = 16


def decode_status(cfsr: int, hfsr: int, mmfar: int = 0, bfar: int = 0) -> list[str]:
    """The bits that are set, in words."""
    lines = [f"CFSR {name}: {text}" for bit, (name, text) in CFSR.items() if cfsr >> bit & 1]
    if cfsr >> _MMARVALID & 1:
        lines.append(f"MMFAR {mmfar:#010x}")
    if cfsr >> _BFARVALID & 1:
        lines.append(f"BFAR {bfar:#010x}")
    return lines + [f"HFSR {name}: {text}" for bit, (name, text) in HFSR.items() if hfsr >> bit & 1]


@dataclass(frozen=True, slots=True)
class FaultRecord:
    """A fault as it was taken. ``what``: one clause; ``hint``: the next step; ``details``: registers, status, who
    called.
    """

    exception: int
    pc: int
    what: str
    hint: str
    details: str

    @property
    def title(self) -> str:
        """The exception's name."""
        return exception_name(self.exception)


def _after_call(image: Image, address: int) -> bool:
    """Whether the instruction before ``address`` is a call."""
    from tinysim.errors import ImageError

    try:
        code = image.read(address - 4, 4)
    except ImageError:
        return False
    first, second = int.from_bytes(code[:2], "little"), int.from_bytes(code[2:], "little")
    return (first & 0xF800 == 0xF000 and second & 0xD000 == 0xD000) or second & 0xFF87 == 0x4780


def stack_trace(image: Image, pc: int, lr: int, sp: int, read: Callable[[int, int], bytes], top: int) -> list[str]:
    """Where the program was and who called, innermost first.

    Callers are found by scanning the stack for addresses that follow a call: it needs no debug information, and may
    show a return address that an earlier call left behind.
    """
    trace = [image.where(pc)]
    seen = {pc}
    if lr & 1 and _after_call(image, lr & ~1):
        trace.append(image.where((lr & ~1) - 2))
        seen.add(lr & ~1)
    size = max(0, min(_SCAN_BYTES, top - sp)) & ~3
    data = read(sp, size) if size else b""
    for offset in range(0, len(data), 4):
        word = int.from_bytes(data[offset : offset + 4], "little")
        if len(trace) >= _FRAMES:
            break
        address = word & ~1
        if word & 1 and address not in seen and image.function_at(address) is not None and _after_call(image, address):
            seen.add(address)
            trace.append(image.where(address - 2))
    return trace
