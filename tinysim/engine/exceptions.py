"""Taking an exception and returning from it: what the core does to registers and stack (ARMv7-M ARM, B1.5.6 to
B1.5.8).

The emulator stops at SVC and at a branch to an EXC_RETURN value and does no more: everything else is here. The
floating-point registers are stored when the frame is made; whether silicon would have moved them (lazy stacking) is
only told, for the price.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from tinysim.engine.interrupts import Masks

__all__ = [
    "EXC_RETURN",
    "Cpu",
    "Frame",
    "StackFaultError",
    "frame_of",
    "is_exception_return",
    "pop_frame",
    "push_frame",
    "read_masks",
    "start_handler",
]

EXC_RETURN = 0xFFFFFFE0
"""EXC_RETURN values are from here up (with the emulator's bit 0 cleared, still)."""
_HANDLER, _THREAD_MAIN, _THREAD_PROCESS = 0xFFFFFFF1, 0xFFFFFFF9, 0xFFFFFFFD
_NO_FP = 1 << 4
_BASIC_BYTES, _EXTENDED_BYTES = 0x20, 0x68
_SPSEL, _FPCA = 2, 4
_IT_BITS = 0x0600FC00
_ALIGNED = 1 << 9
_THUMB = 1 << 24
_FP_REGISTERS = tuple(f"s{n}" for n in range(16))


class Cpu(Protocol):
    """Registers and memory, by name and address."""

    def get(self, name: str) -> int:
        """A register's value."""

    def set(self, name: str, value: int) -> None:
        """Write a register."""

    def load(self, address: int, size: int) -> bytes:
        """Memory. Raises StackFaultError where there is none."""

    def store(self, address: int, data: bytes) -> None:
        """Write memory. Raises StackFaultError where there is none."""


class StackFaultError(Exception):
    """A frame does not fit: there is no memory at ``address``."""

    def __init__(self, address: int) -> None:
        super().__init__(f"no memory at {address:#010x}")
        self.address = address


@dataclass(frozen=True, slots=True)
class Frame:
    """A stacked context. ``returns``: EXC_RETURN. ``process``: on the process stack. ``floating``: with room for the
    FPU's registers.
    """

    address: int
    returns: int
    process: bool
    floating: bool


def is_exception_return(address: int) -> bool:
    """Whether a branch target is an EXC_RETURN value."""
    return address >= EXC_RETURN


def read_masks(cpu: Cpu) -> Masks:
    """PRIMASK, FAULTMASK and BASEPRI."""
    return Masks(bool(cpu.get("primask") & 1), bool(cpu.get("faultmask") & 1), cpu.get("basepri") & 0xFF)


def push_frame(cpu: Cpu, pc: int, *, align: bool) -> Frame:
    """Stack what runs, to go on at ``pc``; the stack pointer in use moves. Raises StackFaultError."""
    xpsr, control = cpu.get("xpsr"), cpu.get("control")
    handler = bool(xpsr & 0x1FF)
    process = not handler and bool(control & _SPSEL)
    floating = bool(control & _FPCA)
    stack = "psp" if process else "msp"
    sp = cpu.get(stack)
    padded = align and bool(sp & 4)
    address = (sp - (_EXTENDED_BYTES if floating else _BASIC_BYTES)) & (~4 if align else ~0) & 0xFFFFFFFF
    words = [cpu.get(name) for name in ("r0", "r1", "r2", "r3", "r12", "lr")] + [
        pc & ~1,
        xpsr & ~_ALIGNED | (_ALIGNED if padded else 0),
    ]
    if floating:
        words += [*(cpu.get(name) for name in _FP_REGISTERS), cpu.get("fpscr"), 0]
    cpu.store(address, struct.pack(f"<{len(words)}I", *words))
    cpu.set(stack, address)
    returns = _HANDLER if handler else _THREAD_PROCESS if process else _THREAD_MAIN
    return Frame(address, returns & ~_NO_FP if floating else returns, process, floating)


def start_handler(cpu: Cpu, number: int, returns: int, fpu_default_status: int) -> None:
    """Registers at the first instruction of a handler: handler mode on the main stack, LR = EXC_RETURN, no
    floating-point context.
    """
    cpu.set("control", cpu.get("control") & 1)
    cpu.set("xpsr", cpu.get("xpsr") & 0xF8000000 | _THUMB | number)
    cpu.set("lr", returns)
    if not returns & _NO_FP:
        cpu.set("fpscr", fpu_default_status)


def pop_frame(cpu: Cpu, returns: int) -> tuple[Frame, int]:
    """Unstack the frame an EXC_RETURN value names; the frame and where the program goes on. Raises StackFaultError."""
    process = returns & 0xF in (0xC, 0xD)
    thread = returns & 0x8 != 0
    floating = not returns & _NO_FP
    stack = "psp" if process else "msp"
    address = cpu.get(stack)
    size = _EXTENDED_BYTES if floating else _BASIC_BYTES
    words = struct.unpack(f"<{size // 4}I", cpu.load(address, size))
    xpsr = words[7]
    cpu.set("xpsr", xpsr & ~_ALIGNED & ~0x1FF | (0 if thread else xpsr & 0x1FF))
    control = cpu.get("control") & 1
    if thread:
        control |= _SPSEL if process else 0
    cpu.set("control", control | (_FPCA if floating else 0))
    for name, value in zip(("r0", "r1", "r2", "r3", "r12", "lr"), words[:6], strict=True):
        cpu.set(name, value)
    if floating:
        for name, value in zip(_FP_REGISTERS, words[8:24], strict=True):
            cpu.set(name, value)
        cpu.set("fpscr", words[24])
    cpu.set(stack, address + size | (4 if xpsr & _ALIGNED else 0))
    return Frame(address, returns | 1, process, floating), words[6] & ~1


def frame_of(returns: int, stack_pointer: Callable[[str], int]) -> int:
    """The address of the frame an EXC_RETURN value names."""
    return stack_pointer("psp" if returns & 0xF in (0xC, 0xD) else "msp")
