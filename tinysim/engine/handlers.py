"""Handlers: which exception the core takes, enters, chains to and returns from, and how often."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tinysim.engine.cpu import UnicornCpu
from tinysim.engine.exceptions import Frame, StackFaultError, frame_of, pop_frame, push_frame, read_masks, start_handler
from tinysim.engine.faults import FaultRecord, decode_status
from tinysim.engine.interrupts import Exceptions, Masks, exception_name
from tinysim.engine.run import EXCEPTION_MARKER, ExceptionCount
from tinysim.errors import FaultError

if TYPE_CHECKING:
    from tinysim.engine.system import System
    from tinysim.engine.tables import Tables

__all__ = ["Handlers"]

_FPCA = 4
_FORCED = 1 << 30
_BFARVALID, _MMARVALID = 1 << 15, 1 << 7
_FAULTS = (Exceptions.HARD_FAULT, Exceptions.MEMORY_MANAGEMENT, Exceptions.BUS_FAULT, Exceptions.USAGE_FAULT)


@dataclass
class _Tally:
    exception: int
    handler: int
    entries: int = 0
    chained: int = 0
    returns: int = 0
    stacked_fp: int = 0
    unstacked_fp: int = 0


class Handlers:
    """The exceptions of one machine. ``pc`` is where the core goes on after `call`."""

    def __init__(self, cpu: UnicornCpu, system: System, tables: Tables, *, has_vectors: bool) -> None:
        self._cpu, self._system, self._tables = cpu, system, tables
        self._has_vectors = has_vectors
        self._tallies: dict[int, _Tally] = {}
        self._running: list[tuple[int, bool, int]] = []  # (phase, frame has room for the FPU, handler), innermost last
        self._fault: FaultRecord | None = None
        self.pc = 0

    @property
    def active(self) -> bool:
        """Whether a handler runs."""
        return bool(self._system.interrupts.active)

    @property
    def in_fault(self) -> bool:
        """Whether a fault's handler runs."""
        return any(number in self._system.interrupts.active for number in _FAULTS)

    def masks(self) -> Masks:
        """The core's mask registers."""
        return read_masks(self._cpu)

    def deliver(self, pc: int) -> int:
        """Take the exception that is due, if any; where the core goes on."""
        if not self._system.interrupts.pending:
            return pc
        number = self._system.next_exception(self.masks())
        return pc if number is None else self._enter(number, pc)

    def call(self, pc: int) -> bool:
        """SVC, to go on at ``pc`` afterwards. True when it cannot be taken and escalates."""
        if not self._system.interrupts.can_take(Exceptions.SVCALL, self.masks()):
            return True
        self.pc = self._enter(Exceptions.SVCALL, pc)
        return False

    def _tally(self, phase: int, number: int, handler: int) -> _Tally:
        return self._tallies.setdefault(phase, _Tally(number, handler))

    def _enter(self, number: int, pc: int) -> int:
        control = self._system.control
        try:
            frame = push_frame(self._cpu, pc, align=control.aligns_stack)
        except StackFaultError as fault:
            raise FaultError(
                f"the stack does not hold the frame of {exception_name(number)}: "
                f"there is no memory at {fault.address:#010x}",
                hint="the stack pointer is wrong, or the stack overflowed",
            ) from fault
        handler = self._start(number, frame.returns)
        phase = self._tables.suspend(frame.address, self._cpu.get("msp"), EXCEPTION_MARKER + number)
        tally = self._tally(phase, number, handler)
        tally.entries += 1
        if frame.floating and not control.lazy_stacking:
            tally.stacked_fp += 1
        self._running.append((phase, frame.floating, handler))
        return handler

    def _start(self, number: int, returns: int) -> int:
        control = self._system.control
        self._system.interrupts.enter(number)
        start_handler(self._cpu, number, returns, control.fpu_default_status)
        try:
            vector = int.from_bytes(self._cpu.load(control.vector_table + 4 * number, 4), "little")
        except StackFaultError:
            vector = 0
        if not vector & 1 or not self._cpu.holds(vector & ~1, 2) or not self._has_vectors:
            raise (
                self.error()
                if self._fault
                else FaultError(
                    f"{exception_name(number)} has no handler: its vector is {vector:#010x}",
                    hint="see the vector table and VTOR",
                )
            )
        return vector & ~1

    def leave(self, returns: int) -> int:
        """A handler branches to EXC_RETURN: start the next one that is due, or unstack; where the core goes on.
        Raises FaultError.
        """
        interrupts = self._system.interrupts
        number = self._cpu.get("ipsr")
        used_fpu = bool(self._cpu.get("control") & _FPCA)
        interrupts.leave(number)
        if number != Exceptions.NMI:
            self._cpu.set("faultmask", 0)
        if not self.in_fault:
            self._fault = None
        self._system.returned()
        phase, floating, handler = self._running.pop()
        tally = self._tally(phase, number, handler)
        lazy = self._system.control.lazy_stacking
        if floating and lazy and used_fpu:
            tally.stacked_fp += 1
        following = self._system.next_exception(self.masks())
        if following is not None:
            handler = self._start(following, returns)
            phase = self._tables.chain(self._cpu.get("msp"), EXCEPTION_MARKER + following)
            self._tally(phase, following, handler).chained += 1
            self._running.append((phase, floating and not used_fpu, handler))
            return handler
        frame = self._frame(returns)
        tally.returns += 1
        if frame.floating and (used_fpu or not lazy):
            tally.unstacked_fp += 1
        return self._resume

    def _frame(self, returns: int) -> Frame:
        try:
            frame, self._resume = pop_frame(self._cpu, returns)
        except StackFaultError as fault:
            raise FaultError(
                f"a handler returns to a frame at {frame_of(returns, self._cpu.get):#010x}, where there is no memory",
                hint="the stack pointer is wrong",
            ) from fault
        self._tables.resume(frame.address, self._cpu.get("sp"))
        return frame

    # ---- faults ----

    def fault(self, record: FaultRecord, status: int, hard_status: int, address: int | None) -> int:
        """Take a fault; where the core goes on. Raises FaultError when nothing can handle it."""
        interrupts, faults = self._system.interrupts, self._system.control.faults
        faults.cfsr |= status
        if address is not None:
            faults.bfar = address
            faults.cfsr |= _BFARVALID
        number = record.exception
        if number != Exceptions.HARD_FAULT and not interrupts.can_take(number, self.masks()):
            number, hard_status = Exceptions.HARD_FAULT, hard_status | _FORCED
        faults.hfsr |= hard_status
        if self._fault is None:
            lines = decode_status(faults.cfsr, faults.hfsr, faults.mmfar, faults.bfar)
            self._fault = FaultRecord(number, record.pc, record.what, record.hint, "\n".join((*lines, record.details)))
        if not self._has_vectors:
            raise self.error()
        if not interrupts.can_take(number, self.masks()):
            raise self.error(locked_up=True)
        return self._enter(number, record.pc)

    def error(self, *, locked_up: bool = False) -> FaultError:
        """The error of a fault that the program did not handle."""
        fault = self._fault
        if fault is None:
            return FaultError("the program ended inside a fault handler", hint="see what pended it")
        ended = "; another fault inside its handler locked the core up" if locked_up else ""
        return FaultError(f"{fault.title}: {fault.what}{ended}", hint=fault.hint, details=fault.details)

    # ---- counts ----

    def counts(self) -> tuple[ExceptionCount, ...]:
        """What happened since the last `forget`, by phase."""
        return tuple(
            ExceptionCount(phase, t.exception, t.entries, t.chained, t.returns, t.stacked_fp, t.unstacked_fp, t.handler)
            for phase, t in sorted(self._tallies.items())
        )

    def forget(self) -> None:
        """Count from zero."""
        self._tallies.clear()
