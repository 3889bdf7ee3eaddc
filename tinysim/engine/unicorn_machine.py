"""The embedded engine: one Unicorn instance that holds a program on a part and counts what it executes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tinysim.engine import layout, stacks
from tinysim.engine.bus import Access, Unanswered
from tinysim.engine.counters import Counters
from tinysim.engine.cpu import UnicornCpu
from tinysim.engine.exceptions import is_exception_return
from tinysim.engine.faults import FaultRecord
from tinysim.engine.handlers import Handlers
from tinysim.engine.position import Positions
from tinysim.engine.program import DEFAULT_BUDGET, Ending, Stop, starting_point, vector_table
from tinysim.engine.refusals import Refusals
from tinysim.engine.run import FUNCTION_MARKER, ExceptionCount, MeasuredRegion, Run
from tinysim.engine.semihosting import Semihosting, SemihostingExit
from tinysim.engine.system import CoreSide, System
from tinysim.engine.tables import Tables
from tinysim.errors import EngineError, FaultError, ImageError
from tinysim.image import Image
from tinysim.part import Part

__all__ = ["DEFAULT_BUDGET", "Clock", "Ending", "Machine", "Stop", "starting_point", "vector_table"]

PATIENCE = 2000
"""Interrupts in a row that wake a waiting program without anything new, after which it is taken to wait for ever."""
_PAINT = 0xA5
_SEMIHOSTING = 0xAB
_LONGEST_STRETCH = 50_000_000
_SVC, _EXCEPTION_EXIT, _BREAKPOINT = 2, (3, 8), 7  # numbers of the emulator's interrupt hook
_WFI, _WFE, _SEV = b"\x30\xbf", b"\x20\xbf", b"\x40\xbf"
_YIELD = b"\x10\xbf"
_SELF_BRANCH = b"\xfe\xe7"


class Clock(Protocol):
    """Prices what a machine has counted, for the time its firmware reads. The engine itself knows no prices."""

    def cycles(self, machine: Machine, done_bytes: int | None) -> float:
        """Cycles since the start, exceptions included, waiting not.

        The block that was entered last is done, or (in a callback from inside it) has done its first ``done_bytes``.
        """

    def forget(self, machine: Machine) -> None:
        """The machine is about to drop what it counted."""


class Machine:
    """A program on a part. Runs between addresses, reads and writes memory, and counts from the first instruction on.

    ``depth``: context blocks of a key. ``predict``: run the branch predictors. ``regions``: what to measure.
    ``layers_in``: the address of a function whose indirect calls are one layer each (a TFLM interpreter's invoke
    loop), with the return addresses of those calls in ``layer_sites``; ``layer_count`` how many at the most.
    ``follow_calls``: tell all functions of the image apart by who called them, for a call tree. ``calls_apart``: so
    many calls of the regions, the first ones, are told apart. ``clock``: prices what ran, for firmware that reads the
    time. ``stubs``: address -> what to read there. ``uart_input``: UART name ("": the first that listens) -> bytes it
    receives at 115200 baud. ``clock_hz``: the core clock, for semihosting and the UARTs.
    """

    def __init__(
        self,
        image: Image,
        part: Part,
        *,
        depth: int,
        predict: bool,
        regions: Sequence[MeasuredRegion] = (),
        layers_in: int | None = None,
        layer_sites: Sequence[int] = (),
        layer_count: int = 0,
        follow_calls: bool = False,
        calls_apart: int = 0,
        budget: int = DEFAULT_BUDGET,
        count: bool = True,
        record: Callable[[NDArray[np.uint64]], None] | None = None,
        memory: Mapping[str, tuple[int, int]] | None = None,
        clock: Clock | None = None,
        clock_hz: int | None = None,
        stubs: Mapping[int, int] | None = None,
        uart_input: Mapping[str, bytes] | None = None,
    ) -> None:
        self.image, self.part = image, part
        self._regions = tuple(regions)
        self._record, self._clock = record, clock
        self.depth, self._budget = depth, budget
        memories = (
            dict(memory)
            if memory is not None
            else {f"{region.name}@{base:#x}": (base, size) for region in part.regions for base, size in region.windows}
        )
        self.cpu = UnicornCpu(part, memories)
        self._load()
        self._tables = Tables()
        self._header = self._tables.header
        self._header[layout.DEPTH] = depth
        self._followed = tuple(function.address for function in image.functions) if follow_calls else ()
        self._mark(layers_in, layer_sites, layer_count, calls_apart)
        self.counters: Counters | None = None
        if count:
            self.counters = Counters(self.cpu, image, self._tables, predict=predict, record=record is not None)
        self.initial_sp, self.pc = starting_point(image, part)
        self.cpu.set("sp", self.initial_sp)
        self.cpu.set("lr", 0xFFFFFFFF)
        self._header[layout.TOP_SP] = self.initial_sp
        self.output: dict[str, bytearray] = {}
        self.exit_code: int | None = None
        self._handlers: dict[int, Callable[[Machine], None]] = {}
        self._running = False
        self._interrupt = 0
        self._unanswered: Unanswered | None = None
        self._reset_requested = False
        self._event = False
        self._waited = 0
        self._waits: dict[tuple[int, int], int] = {}
        self._priced: tuple[int, float] = (-1, 0.0)
        self._rate = (0, 0, 1.0)
        self._idle: tuple[int, int] = (0, 0)
        self._positions = Positions(self.cpu)
        table = vector_table(image, part)
        self.system = System(
            part,
            CoreSide(
                self.now,
                self._look_up,
                lambda: self.cpu.get("ipsr"),
                self._request_reset,
                self._refuse,
                self.read,
                self._print,
            ),
            vector_table=table or 0,
            clock_hz=clock_hz,
            stubs=stubs,
            uart_input=uart_input,
        )
        if table is None:
            self.system.control.coprocessors = 0xF << 20  # a bare program has no start-up code: as if it had run
        self._look_up()
        self.exceptions = Handlers(self.cpu, self.system, self._tables, has_vectors=table is not None)
        self._refusals = Refusals(image, part, self.cpu, self.initial_sp)
        self.system.bus.attach(self.cpu.uc, self.cpu.memories)
        self.semihosting = Semihosting(
            self,
            lambda data: self._print("semihosting", data),
            self.now,
            clock_hz,
            (self.initial_sp, stacks.floor_of(image, part, self.initial_sp).address),
            (0, 0),
            bytearray((uart_input or {}).get("", b"")),
        )
        self.heap = stacks.HeapWatch(image, self.cpu)
        self._hook_events()

    # ---- set-up ----

    def _load(self) -> None:
        for segment in self.image.segments:
            if not segment.data:
                continue
            if not self.cpu.holds(segment.load_address, len(segment.data)):
                raise ImageError(
                    f"{self.image.path.name} loads {len(segment.data)} bytes at {segment.load_address:#010x}, "
                    f"where {self.part.title} has no memory",
                    hint="choose the part the firmware was linked for (`tinysim parts`)",
                )
            self.write(segment.load_address, segment.data)

    def _mark(self, layers_in: int | None, layer_sites: Sequence[int], layer_count: int, calls_apart: int) -> None:
        functions = [(r.start, n, int(calls_apart > 0)) for n, r in enumerate(self._regions) if r.stop is None]
        functions += [(address, FUNCTION_MARKER + k, 0) for k, address in enumerate(self._followed)]
        if layers_in is not None and all(address != layers_in for address, _, _ in functions):
            functions.append((layers_in, len(self._regions), 0))
        rows = [
            (r.start, n, r.stop, 0, int(calls_apart > 0)) for n, r in enumerate(self._regions) if r.stop is not None
        ]
        rows += [(address, number, 0, int(address == layers_in), each) for address, number, each in sorted(functions)]
        self._tables.set_markers(rows, layer_sites, layer_count, calls_apart)

    def _hook_events(self) -> None:
        unicorn = self.cpu.unicorn
        kinds = {
            unicorn.UC_MEM_READ_UNMAPPED: Access.READ,
            unicorn.UC_MEM_WRITE_UNMAPPED: Access.WRITE,
            unicorn.UC_MEM_FETCH_UNMAPPED: Access.FETCH,
        }

        def on_interrupt(uc: Any, number: int, _data: Any) -> None:
            self._interrupt = number
            uc.emu_stop()

        def on_unmapped(_uc: Any, access: int, address: int, size: int, value: int, _data: Any) -> bool:
            self._unanswered = Unanswered(kinds.get(access, Access.READ), address, size, value)
            return False

        self.cpu.uc.hook_add(unicorn.UC_HOOK_INTR, on_interrupt)
        self.cpu.uc.hook_add(unicorn.UC_HOOK_MEM_UNMAPPED, on_unmapped)

    # ---- what the system asks for ----

    def _look_up(self) -> None:
        """Something about exceptions or the FPU may have changed: stop before the next block."""
        self._header[layout.FPU_OFF] = not self.system.control.fpu_enabled
        self._header[layout.BUDGET] = 0

    def _request_reset(self) -> None:
        self._reset_requested = True

    def _refuse(self, access: Unanswered) -> None:
        if self._unanswered is None:
            self._unanswered = access
        self.cpu.uc.emu_stop()

    def _print(self, channel: str, data: bytes) -> None:
        self.output.setdefault(channel, bytearray()).extend(data)

    # ---- memory and registers ----

    def read(self, address: int, size: int) -> bytes:
        """``size`` bytes of memory. Raises EngineError where the part has none."""
        try:
            return bytes(self.cpu.uc.mem_read(address, size))
        except self.cpu.unicorn.UcError as error:
            raise EngineError(
                f"{self.part.title} has no {size} bytes at {address:#010x}", hint="check the symbol's address"
            ) from error

    def write(self, address: int, data: bytes) -> None:
        """Write memory. Raises EngineError where the part has none."""
        try:
            self.cpu.uc.mem_write(address, data)
        except self.cpu.unicorn.UcError as error:
            raise EngineError(
                f"{self.part.title} has no {len(data)} bytes at {address:#010x}", hint="check the symbol's address"
            ) from error

    def register(self, name: str) -> int:
        """A core register by name: r0..r12, sp, lr, pc, s0..s31, xpsr, control, msp, psp."""
        return self.cpu.get(name)

    def set_register(self, name: str, value: int) -> None:
        """Write a core register."""
        if name == "pc":
            self.pc = value & ~1
        else:
            self.cpu.set(name, value)

    def registers(self) -> dict[str, int]:
        """All core registers."""
        return {**self._refusals.registers(), "pc": self.pc}

    def text(self, address: int, limit: int = 512) -> str:
        """The zero-terminated text at an address."""
        result = bytearray()
        while len(result) < limit:
            byte = self.read(address + len(result), 1)
            if byte == b"\0":
                break
            result += byte
        return result.decode(errors="replace")

    def paint_stack(self, limit: int) -> None:
        """Fill the unused stack, from ``limit`` to the stack pointer, with a pattern; `lowest_touched` finds what was
        overwritten.
        """
        sp = self.register("sp") or self.initial_sp
        self._painted = (limit, sp)
        if sp > limit:
            self.write(limit, bytes([_PAINT]) * (sp - limit))

    def lowest_touched(self) -> int:
        """The lowest address of the painted stack that was written since `paint_stack`."""
        limit, top = self._painted
        if top <= limit:
            return limit
        used = np.frombuffer(self.read(limit, top - limit), np.uint8) != _PAINT
        return limit + int(np.argmax(used)) if used.any() else top

    # ---- time ----

    def now(self) -> int:
        """Priced cycles since the program started, waiting included.

        Raises EngineError where the machine was given no clock. Inside a block, what it has still to do is taken off.
        """
        if not self._header[layout.HALFWORDS]:
            return self._waited
        if self._clock is None:
            raise EngineError(
                f"the firmware reads the time at {self.image.where(self.pc)}, and this run prices nothing",
                hint="run it with `tinysim run`, which does",
            )
        if self._running:
            address, size = self._tables.block(self._tables.path(self.depth)[-1])
            done_bytes = self._positions.bytes_before_access(address, size, int(self._header[layout.HALFWORDS]))
            return int(self._clock.cycles(self, done_bytes)) + self._waited
        halfwords = int(self._header[layout.HALFWORDS])
        if self._priced[0] != halfwords:
            self._priced = (halfwords, max(self._priced[1], self._clock.cycles(self, None)))
        return int(self._priced[1]) + self._waited

    def flush(self) -> None:
        """Hand on what was recorded so far."""
        if self._record is not None:
            self._record(self._tables.events())
            self._tables.drop_events()

    def _allow(self) -> None:
        """Set how far the emulator may run: to the next thing that happens by itself, or to a change of mask that
        matters.
        """
        halfwords = int(self._header[layout.HALFWORDS])
        stretch = _LONGEST_STRETCH
        due = self.system.next_event() if self.system.timed else None
        if due is not None:
            now = self.now()
            before, then, rate = self._rate
            if halfwords > before:
                rate = max((now - then) / (halfwords - before), now / halfwords, 0.25)
            self._rate = (halfwords, now, rate)
            left = due - now
            # no further than half way at the rate of the last stretch, so that a slower one cannot run past by much
            stretch = min(stretch, max(1, int(left / rate / (2 if left > 64 else 1.5))))
        self._header[layout.ATTENTION] = bool(self.system.interrupts.pending)
        self._header[layout.BUDGET] = min(self._budget, halfwords + stretch)

    # ---- running ----

    def on_call(self, address: int, handler: Callable[[Machine], None]) -> None:
        """Call ``handler`` whenever the empty function at ``address`` is called; the function itself is skipped."""
        self._handlers[address] = handler

    def run_to(self, *addresses: int) -> Stop:
        """Run until one of ``addresses`` is next. Raises FaultError when the program faults, ends or runs away."""
        ending = self.run_until_end(addresses)
        if ending is Ending.BUDGET:
            raise self.run_away()
        if ending is not Ending.ADDRESS:
            names = " or ".join(self.image.where(a) for a in addresses)
            raise FaultError(
                f"the program ended at {self.image.where(self.pc)} before it reached {names}",
                hint="see the registers",
                details=self._refusals.register_text(self.pc),
            )
        return Stop(self.pc, int(self._header[layout.HALFWORDS]))

    def run_away(self) -> FaultError:
        """The error of a program that used up its budget."""
        return FaultError(
            f"the program ran {int(self._header[layout.HALFWORDS]):,} halfwords of code without reaching its end; "
            f"it was at {self.image.where(self.pc)}",
            hint="raise --max-instructions, or check that --until is reached",
            details="\n".join((self._refusals.register_text(self.pc), *self._refusals.trace(self.pc))),
        )

    def run_until_end(self, addresses: Iterable[int] = ()) -> Ending:
        """Run until one of ``addresses`` is next, the program ends itself or can only wait, or the budget is used up.

        Raises FaultError on a fault that the program does not handle, and for an access that nothing on the part
        answers.
        """
        wanted = {address & ~1 for address in addresses}
        self._exits = sorted(wanted | set(self._handlers))
        self.cpu.set_exits(self._exits)
        while True:
            if self.counters:
                self.system.poll()
                self.pc = self.exceptions.deliver(self.pc)
                self._allow()
            stop = self._emulate()
            ending = self._after_stop(stop, wanted)
            if ending is not None:
                if self.exceptions.in_fault:
                    raise self.exceptions.error()
                return ending

    def _emulate(self) -> int:
        """Run one stretch; what stopped it. Takes the faults that the emulator reports."""
        self._interrupt, self._unanswered = 0, None
        self._running = True
        try:
            self.cpu.uc.emu_start(self.pc | 1, 0)
            self.pc = self.cpu.get("pc") & ~1
        except self.cpu.unicorn.UcError as error:
            self._running = False
            self.pc = self.cpu.get("pc") & ~1
            return self._failed(error)
        finally:
            self._running = False
        stop = int(self._header[layout.STOP])
        self._header[layout.STOP] = layout.RUNNING
        self.flush()
        return stop

    def _failed(self, error: Exception) -> int:
        """The emulator could not go on: WFE, a fault, or an access that nobody answers."""
        self._header[layout.STOP] = layout.RUNNING
        code = getattr(error, "errno", None)
        unicorn = self.cpu.unicorn
        if (
            self._unanswered is None
            and code == unicorn.UC_ERR_INSN_INVALID
            and (self._before(_WFE) or self._before(_YIELD))
            and not self._tried_twice()
        ):
            return layout.RUNNING  # the emulator stops behind WFE and YIELD as at an invalid instruction
        if self._unanswered is not None:
            return layout.RUNNING
        if code in (unicorn.UC_ERR_INSN_INVALID, unicorn.UC_ERR_EXCEPTION):
            thumb = bool(self.cpu.get("xpsr") & 1 << 24)
            self._take_fault(self._refusals.undefined(self.pc) if thumb else self._refusals.no_thumb(self.pc))
            return layout.DRAIN
        raise EngineError(
            f"the emulator stopped at {self.image.where(self.pc)}: {error}", hint="report this program"
        ) from error

    def _tried_twice(self) -> bool:
        """Whether the emulator stopped at this very place before without running anything: then it is not WFE that it
        refuses.
        """
        here = (int(self._header[layout.HALFWORDS]), self.pc)
        again = getattr(self, "_refused_at", None) == here
        self._refused_at = here
        return again

    def _before(self, code: bytes, distance: int = 2) -> bool:
        """Whether the instruction before the program counter is ``code``."""
        return self.cpu.holds(self.pc - distance, 2) and self.read(self.pc - distance, 2) == code

    def _after_stop(self, stop: int, wanted: set[int]) -> Ending | None:
        """Deal with what stopped the emulator; how the run ended, or None to go on."""
        if self._reset_requested:
            raise FaultError(
                f"the program asked for a reset near {self.image.where(self.pc)}", hint="a reset ends the measurement"
            )
        if self._unanswered is not None:
            try:
                taken = self._refusals.unanswered(self._unanswered, self.pc)
            except FaultError as refused:
                if self.exceptions.in_fault:
                    raise self.exceptions.error() from refused
                raise
            self._take_fault(taken)
            return None
        if stop == layout.FULL:
            raise EngineError(
                "the program has more distinct paths than the counters hold", hint="measure fewer regions at once"
            )
        if stop == layout.NO_FPU:
            self._fpu_off()
            return None
        if stop == layout.DRAIN:
            return None
        if stop == layout.OVER_BUDGET:
            spent = int(self._header[layout.HALFWORDS]) >= self._budget
            if not spent and self._spins():
                return self._rest(spinning=True)
            return Ending.BUDGET if spent else None
        if stop == layout.IDLE:
            return self._rest(spinning=True)
        if self._interrupt:
            return self._synchronous(self._interrupt)
        if self.pc in wanted:
            return Ending.ADDRESS
        handler = self._handlers.get(self.pc)
        if handler is not None:
            handler(self)
            self.pc = self.register("lr") & ~1
            return None
        if self._before(_YIELD):
            return None
        if self._before(_WFI) or self._before(_WFE):
            return self._rest(spinning=False)
        raise EngineError(
            f"the emulator stopped at {self.image.where(self.pc)} for no known reason", hint="report this program"
        )

    def skip_call(self) -> None:
        """Return from the empty function the program has just entered."""
        self.pc = self.register("lr") & ~1

    # ---- exceptions, waiting, faults ----

    def _synchronous(self, number: int) -> Ending | None:
        """SVC, a breakpoint, a return from a handler."""
        pc = self.cpu.get("pc")
        if number == _SVC:
            fault = self.exceptions.call(self.pc)
            if fault:
                self._take_fault(self._refusals.escalated(self.pc))
            else:
                self.pc = self.exceptions.pc
        elif number in _EXCEPTION_EXIT and is_exception_return(pc | 1):
            if not self.exceptions.active:
                self._take_fault(self._refusals.bad_return(pc | 1))
                return None
            self.pc = self.exceptions.leave(pc | 1)
            self._event = True
            if self.system.control.sleeps_on_exit and not self.exceptions.active:
                return self._rest(spinning=False)
        elif number == _BREAKPOINT and self.read(self.pc, 2) == bytes((_SEMIHOSTING, 0xBE)):
            result = self.semihosting.call(self.register("r0"), self.register("r1"))
            if isinstance(result, SemihostingExit):
                self.exit_code = result.code
                return Ending.EXIT
            self.cpu.set("r0", result & 0xFFFFFFFF)
            self.pc += 2
        elif number == _BREAKPOINT:
            self._take_fault(self._refusals.breakpoint(self.pc))
        else:
            self._take_fault(self._refusals.undefined(self.pc))
        return None

    def _spins(self) -> bool:
        return self.cpu.holds(self.pc, 2) and self.read(self.pc, 2) == _SELF_BRANCH

    def _rest(self, *, spinning: bool) -> Ending | None:
        """Wait for the next interrupt. ``spinning``: in a branch to itself, which only an exception that is taken can
        leave.
        """
        if not self.counters:
            return Ending.IDLE
        if not spinning and self._before(_WFE) and (self._event or self._before(_SEV, 4)):
            self._event = False
            return None
        masks = self.exceptions.masks()
        interrupts = self.system.interrupts
        if spinning and (masks.primask or masks.faultmask):
            return Ending.IDLE
        seen, times = self._idle
        paths = int(self._header[layout.TRANSITIONS])
        times = times + 1 if paths == seen else 0
        while times < PATIENCE:
            if interrupts.next(masks) is not None if spinning else interrupts.wakes(masks):
                self._idle = (paths, times)
                return None
            due = self.system.next_event()
            if due is None:
                return Ending.IDLE
            slept = max(0, due - self.now())
            self._waited += slept
            place = (self._tables.phase, self._tables.path(self.depth)[-1])
            self._waits[place] = self._waits.get(place, 0) + slept
            self.system.poll()
            times += 1
        return Ending.IDLE

    def _fpu_off(self) -> None:
        """A block with floating-point instructions is next and the FPU is off: run up to the first of them, then
        fault.
        """
        first = self._positions.first_fp(self.pc)
        if first != self.pc:
            self.cpu.set_exits([first])
            self._header[layout.BUDGET] = self._budget
            self.cpu.uc.emu_start(self.pc | 1, 0)
            self.pc = self.cpu.get("pc") & ~1
            self._header[layout.STOP] = layout.RUNNING
            self.cpu.set_exits(self._exits)
        self._take_fault(self._refusals.no_coprocessor(self.pc))

    def _take_fault(self, found: tuple[FaultRecord, int, int, int | None]) -> None:
        """Take a fault as the core does: into the program's handler if it has one."""
        record, status, hard_status, address = found
        self.pc = self.exceptions.fault(record, status, hard_status, address)

    # ---- what was counted ----

    def take(self) -> Run:
        """Everything counted since the last `take` or `forget`; counting goes on from zero.

        Raises FaultError when a stack ran into what lies below it.
        """
        run = self._tables.take(self._regions, self.depth, self._followed)
        run = dataclasses.replace(
            run,
            predication=self.counters.predication() if self.counters else {},
            divisions=self.counters.divisions() if self.counters else {},
            exceptions=self.exception_counts(),
            waits=dict(self._waits),
            register_writes=tuple(self.system.register_writes),
        )
        stacks.check(run, self.image, self.part, self.initial_sp)
        self.forget()
        return run

    def exception_counts(self) -> tuple[ExceptionCount, ...]:
        """What was taken and returned from since the last `forget`."""
        return self.exceptions.counts()

    @property
    def tables(self) -> Tables:
        """The counters, for a `Clock`."""
        return self._tables

    def open_regions(self) -> tuple[int, ...]:
        """The numbers of the regions that were entered and not left."""
        markers = self._tables.open_markers(self.pc, self.register("sp"))
        return tuple(number for number in range(len(self._regions)) if number in markers)

    def known_blocks(self) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
        """Addresses and sizes, in bytes, of all blocks seen so far."""
        return self._tables.known_blocks()

    def forget(self) -> None:
        """Drop what was counted so far; the time goes on."""
        if self._clock is not None and self.system.needs_time:
            self._clock.forget(self)
        self._priced = (-1, self._priced[1])
        self._tables.clear()
        self._tables.drop_events()
        self.exceptions.forget()
        self._waits.clear()
        if self.counters:
            self.counters.clear()
