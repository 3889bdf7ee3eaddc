"""What the machine says when a program does something that the part, or the simulator, does not have."""

from __future__ import annotations

from tinysim.engine.bus import Access, Unanswered
from tinysim.engine.cpu import REGISTER_NAMES, UnicornCpu
from tinysim.engine.exceptions import StackFaultError
from tinysim.engine.faults import FaultRecord, stack_trace
from tinysim.engine.interrupts import Exceptions
from tinysim.errors import FaultError
from tinysim.image import Image
from tinysim.part import Part

__all__ = ["Refusals", "Taken"]

Taken = tuple[FaultRecord, int, int, int | None]
"""A fault to take: the record, bits of CFSR, bits of HFSR, the address for BFAR."""
_PERIPHERALS = range(0x40000000, 0x60000000)
_SYSTEM = range(0xE0000000, 1 << 32)
_IBUSERR, _PRECISERR, _UNDEFINSTR, _INVSTATE, _INVPC, _NOCP, _DEBUGEVT = (
    1 << 8,
    1 << 9,
    1 << 16,
    1 << 17,
    1 << 18,
    1 << 19,
    1 << 31,
)


class Refusals:
    """Faults and refusals of one machine, in words."""

    def __init__(self, image: Image, part: Part, cpu: UnicornCpu, stack_top: int) -> None:
        self._image, self._part, self._cpu, self._top = image, part, cpu, stack_top

    # ---- where the program is ----

    def registers(self) -> dict[str, int]:
        """All core registers."""
        return {name: self._cpu.get(name) for name in REGISTER_NAMES}

    def register_text(self, pc: int) -> str:
        """The core registers in four columns."""
        values = {**self.registers(), "pc": pc}
        rows = (REGISTER_NAMES[k : k + 4] for k in range(0, 16, 4))
        return "\n".join(" ".join(f"{name:>3} {values[name]:08x}" for name in row) for row in rows)

    def trace(self, pc: int) -> list[str]:
        """Where the program is and who called."""

        def read(address: int, size: int) -> bytes:
            try:
                return self._cpu.load(address, size)
            except StackFaultError:
                return b""

        sp = self._cpu.get("sp")
        top = self._top if sp <= self._top else sp
        lines = stack_trace(self._image, pc, self._cpu.get("lr"), sp, read, top)
        return [f"{'at' if k == 0 else 'from'} {line}" for k, line in enumerate(lines)]

    def _details(self, pc: int) -> str:
        return "\n".join((self.register_text(pc), *self.trace(pc)))

    def _record(self, number: int, pc: int, what: str, hint: str) -> FaultRecord:
        return FaultRecord(number, pc, what, hint, self._details(pc))

    # ---- what can go wrong ----

    def unanswered(self, access: Unanswered, pc: int) -> Taken:
        """An access that nothing answers: a fault of the core, or a refusal (raised) of a peripheral nobody
        described.
        """
        where = self._image.where(pc)
        if access.access is Access.FETCH:
            caller = self._image.where((self._cpu.get("lr") & ~1) - 2)
            what = f"jumped to {access.address:#010x}, where {self._part.title} has no memory (last call at {caller})"
            return (
                self._record(Exceptions.BUS_FAULT, pc, what, "look at the function pointer or the return address"),
                _IBUSERR,
                0,
                None,
            )
        peripheral = self._part.peripheral_at(access.address)
        if peripheral is not None or access.address in _PERIPHERALS or access.address in _SYSTEM:
            name = f" ({peripheral.name})" if peripheral else ""
            written = f" of {access.value & ((1 << 8 * access.size) - 1):#x}" if access.access is Access.WRITE else ""
            raise FaultError(
                f"{access.access}{written} at {access.address:#010x}{name} at {where}: nothing describes this register",
                hint=f"go on with --stub {access.address & ~3:#010x}=VALUE, "
                f"or describe it in [models] or [[register]] of {self._part.path}",
                details=self._details(pc),
            )
        preposition = "from" if access.access is Access.READ else "to"
        what = (
            f"{access.access} of {access.size} bytes {preposition} {access.address:#010x} at {where}: "
            f"{self._part.title} has nothing there"
        )
        return self._record(Exceptions.BUS_FAULT, pc, what, "check the pointer"), _PRECISERR, 0, access.address

    def undefined(self, pc: int) -> Taken:
        """An instruction the core does not have."""
        code = self._cpu.load(pc, 4) if self._cpu.holds(pc, 4) else b"\0\0\0\0"
        words = " ".join(f"{int.from_bytes(code[k : k + 2], 'little'):04x}" for k in (0, 2))
        text = _disassembled(pc, code)
        kind = "a double-precision instruction" if "f64" in text else "an instruction"
        part = f"{self._part.title} ({self._part.core}, {self._part.fpu})"
        what = f"{text or words} at {self._image.where(pc)} is {kind} that {part} does not have"
        hint = "build for this core and FPU (-mcpu, -mfpu), or choose a part that has the instruction"
        return self._record(Exceptions.USAGE_FAULT, pc, what, hint), _UNDEFINSTR, 0, None

    def no_thumb(self, pc: int) -> Taken:
        """A branch to an address with bit 0 clear."""
        what = f"branched to {pc:#010x} without the Thumb bit, from {self._image.where((self._cpu.get('lr') & ~1) - 2)}"
        return (
            self._record(Exceptions.USAGE_FAULT, pc, what, "look at the function pointer: bit 0 must be set"),
            _INVSTATE,
            0,
            None,
        )

    def no_coprocessor(self, pc: int) -> Taken:
        """A floating-point instruction while the FPU is off."""
        what = f"a floating-point instruction at {self._image.where(pc)} while the FPU is off"
        return (
            self._record(Exceptions.USAGE_FAULT, pc, what, "set CPACR (0xE000ED88) bits 20 to 23 in the start-up code"),
            _NOCP,
            0,
            None,
        )

    def bad_return(self, value: int) -> Taken:
        """A branch to EXC_RETURN outside a handler."""
        lr = self._cpu.get("lr") & ~1
        what = f"branched to {value:#010x} (an exception return) outside a handler, near {self._image.where(lr)}"
        return (
            self._record(Exceptions.USAGE_FAULT, lr, what, "the return address is damaged, or the stack"),
            _INVPC,
            0,
            None,
        )

    def breakpoint(self, pc: int) -> Taken:
        """BKPT without a debugger."""
        what = f"a breakpoint (BKPT) at {self._image.where(pc)} without a debugger"
        return self._record(Exceptions.HARD_FAULT, pc, what, "an assertion may have failed there"), 0, _DEBUGEVT, None

    def escalated(self, pc: int) -> Taken:
        """SVC where its exception cannot preempt."""
        what = f"a supervisor call (SVC) near {self._image.where(pc - 2)} where its handler cannot preempt"
        return (
            self._record(
                Exceptions.HARD_FAULT, pc, what, "do not call SVC with interrupts masked or from its own priority"
            ),
            0,
            1 << 30,
            None,
        )


def _disassembled(pc: int, code: bytes) -> str:
    import capstone

    disassembler = capstone.Cs(capstone.CS_ARCH_ARM, capstone.CS_MODE_THUMB | capstone.CS_MODE_MCLASS)
    for row in disassembler.disasm_lite(code, pc):
        return f"{row[2]} {row[3]}".strip()
    return ""
