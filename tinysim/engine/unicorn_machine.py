"""The embedded engine: one Unicorn instance that holds a program on a part and counts what it executes."""

from __future__ import annotations

import ctypes
import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinysim.engine import counting, layout, probes
from tinysim.engine.run import FUNCTION_MARKER, MeasuredRegion, Run
from tinysim.engine.tables import Tables
from tinysim.errors import EngineError, FaultError, ImageError
from tinysim.image import Image
from tinysim.part import Part

__all__ = ["DEFAULT_BUDGET", "Ending", "Machine", "Stop", "starting_point"]

DEFAULT_BUDGET = 4_000_000_000
"""Instructions (counted as halfwords of code) after which a run is taken for a run-away."""
_PAGE = 4096
_PRIVATE_BUS = 0xE0000000
_PRIVATE_BUS_BYTES = 0x100000
_CPACR = 0xE000ED88
_PAINT = 0xA5
_REGISTER_NAMES = (*(f"r{n}" for n in range(13)), "sp", "lr", "pc")


class Ending(Enum):
    """Why a run came to rest."""

    ADDRESS = "reached an address that was asked for"
    IDLE = "waits for ever: a branch to itself or a wait for an interrupt that cannot come"
    BUDGET = "used up its instruction budget"


@dataclass(frozen=True, slots=True)
class Stop:
    """Where a run came to rest."""

    address: int
    halfwords: int


def starting_point(image: Image, part: Part) -> tuple[int, int]:
    """The initial stack pointer and program counter: the vector table's where the file has one, else a bare program's.

    A bare program (a hand-written assembly file, say) starts at the ELF entry with the stack at the top of the part's stack memory.
    """
    first = min(image.segments, key=lambda s: s.load_address)
    tables = [s.address for s in image.sections if "vector" in s.name.lower()] + [first.load_address]
    for name in ("__Vectors", "g_pfnVectors", "__isr_vector", "_vector_table", "__vector_table"):
        symbol = image.find(name)
        if symbol is not None:
            tables.insert(0, symbol.address)
    code = [s for s in image.segments if s.executable]
    for table in tables:
        try:
            words = image.read(table, 8)
        except ImageError:
            continue
        sp, pc = int.from_bytes(words[:4], "little"), int.from_bytes(words[4:], "little")
        in_ram = any(r.kind.writable and r.base < sp <= r.end for r in part.regions)
        in_code = any(s.address <= pc - 1 < s.address + len(s.data) for s in code)
        if in_ram and pc & 1 and in_code and sp % 4 == 0:
            return sp, pc & ~1
    base, size = part.span(part.placement["stack"][0])
    return base + size, image.entry & ~1


class Machine:
    """A program on a part. Runs between addresses, reads and writes memory, and counts from the first instruction on.

    ``depth``: context blocks of a key. ``predict``: run the branch predictors. ``regions``: what to measure.
    ``layers_in``: the address of a function whose indirect calls are one layer each (a TFLM interpreter's invoke loop), with the
    return addresses of those calls in ``layer_sites``; ``layer_count`` how many at the most. ``follow_calls``: tell all functions of the
    image apart by who called them, for a call tree. ``calls_apart``: so many calls of the regions, the first ones, are told apart.
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
    ) -> None:
        import unicorn
        from unicorn import arm_const

        self._unicorn, self._constants = unicorn, arm_const
        self.image, self.part = image, part
        self._regions = tuple(regions)
        self._record = record
        self._depth = depth
        core = part.core.replace("-", "_").upper()
        model = getattr(arm_const, f"UC_CPU_ARM_{core}", None)
        if model is None:
            raise EngineError(f"the embedded engine has no {part.core}", hint="use a Cortex-M4 or M7 part")
        double = part.fpu.endswith("-dp")
        # with M-class mode Unicorn refuses the double-precision instructions an M7 has; without it an M4 still refuses them
        mode = unicorn.UC_MODE_THUMB | (0 if double else unicorn.UC_MODE_MCLASS)
        try:
            self._uc = unicorn.Uc(unicorn.UC_ARCH_ARM, mode)
            self._uc.ctl_set_cpu_model(model)
        except unicorn.UcError as error:
            raise EngineError(f"the embedded engine did not start ({error})", hint="reinstall the unicorn package") from error
        self._memory = dict(memory) if memory is not None else {
            f"{region.name}@{base:#x}": (base, size) for region in part.regions for base, size in region.windows
        }
        self._host: dict[int, NDArray[np.uint8]] = {}
        self._map()
        self._load()
        self._uc.ctl_exits_enabled(True)
        self._tables = Tables()
        self._tables.header[layout.DEPTH] = depth
        self._followed = tuple(function.address for function in image.functions) if follow_calls else ()
        self._mark(layers_in, layer_sites, layer_count, calls_apart)
        self._tables.header[layout.BUDGET] = budget
        if count:
            header = self._tables.header.ctypes.data
            callback = counting.on_block_predicting if predict else counting.on_block
            if record is not None:
                callback = counting.on_block_recording
                self._tables.make_room_for_events()
                self._hook(unicorn.UC_HOOK_MEM_READ | unicorn.UC_HOOK_MEM_WRITE, counting.on_access.address, header, 1, 0)
            self._hook(unicorn.UC_HOOK_BLOCK, callback.address, header, 1, 0)
            self._watch()
        sp, pc = starting_point(image, part)
        self._uc.reg_write(arm_const.UC_ARM_REG_SP, sp)
        self._uc.reg_write(arm_const.UC_ARM_REG_FPEXC, 0x40000000)
        self._uc.reg_write(arm_const.UC_ARM_REG_LR, 0xFFFFFFFF)
        self.pc = pc
        self.initial_sp = sp
        self._tables.header[layout.TOP_SP] = sp
        self._handlers: dict[int, Callable[[Machine], None]] = {}
        self._interrupt = 0
        self._fault: tuple[str, int, int] | None = None
        self._hook_faults()

    # ---- set-up ----

    def _map(self) -> None:
        for base, size in (*self._memory.values(), (_PRIVATE_BUS, _PRIVATE_BUS_BYTES)):
            rounded = -(-size // _PAGE) * _PAGE
            host = np.zeros(rounded, np.uint8)
            try:
                self._uc.mem_map_ptr(base, rounded, self._unicorn.UC_PROT_ALL, host.ctypes.data_as(ctypes.c_void_p))
            except self._unicorn.UcError as error:
                raise EngineError(
                    f"cannot map {size:#x} bytes at {base:#010x} of {self.part.title} ({error})", hint="`tinysim parts check` the part file"
                ) from error
            self._host[base] = host

    def _load(self) -> None:
        for segment in self.image.segments:
            if not segment.data:
                continue
            if not self._inside(segment.load_address, len(segment.data)):
                raise ImageError(
                    f"{self.image.path.name} loads {len(segment.data)} bytes at {segment.load_address:#010x}, where {self.part.title} has no memory",
                    hint="choose the part the firmware was linked for (`tinysim parts`)",
                )
            self.write(segment.load_address, segment.data)

    def _inside(self, address: int, size: int) -> bool:
        return any(base <= address and address + size <= base + len(host) for base, host in self._host.items())

    def _hook(self, kind: int, callback: int, data: int, begin: int, end: int) -> None:
        handle = ctypes.c_size_t()
        lib = layout.uclib
        error = lib.uc_hook_add(
            self._uc._uch, ctypes.byref(handle), ctypes.c_int(kind), ctypes.c_void_p(callback), ctypes.c_void_p(data),
            ctypes.c_uint64(begin), ctypes.c_uint64(end),
        )
        if error:
            raise EngineError(f"the emulator refused a hook (error {error})", hint="reinstall the unicorn package")

    def _watch(self) -> None:
        """Hook the single instructions whose cost depends on data."""
        self._probes = found = probes.find_probes(self.image)
        self._held = np.zeros(max(len(found.conditional), 1), np.int64)
        self._divided = np.zeros((max(len(found.divisions), 1), 4 + probes.QUOTIENT_BITS), np.int64)
        code = self._unicorn.UC_HOOK_CODE
        for k, block in enumerate(found.conditional):
            self._hook(code, probes.on_execution.address, self._held[k:].ctypes.data, block.address, block.address)
        for k, division in enumerate(found.divisions):
            registers = probes.register_number(division.dividend), probes.register_number(division.divisor)
            self._divided[k, :3] = *registers, division.signed
            self._hook(code, probes.on_division.address, self._divided[k:].ctypes.data, division.address, division.address)

    def _mark(self, layers_in: int | None, layer_sites: Sequence[int], layer_count: int, calls_apart: int) -> None:
        functions = [(r.start, n, int(calls_apart > 0)) for n, r in enumerate(self._regions) if r.stop is None]
        functions += [(address, FUNCTION_MARKER + k, 0) for k, address in enumerate(self._followed)]
        if layers_in is not None and all(address != layers_in for address, _, _ in functions):
            functions.append((layers_in, len(self._regions), 0))
        rows = [(r.start, n, r.stop, 0, int(calls_apart > 0)) for n, r in enumerate(self._regions) if r.stop is not None]
        rows += [(address, number, 0, int(address == layers_in), each) for address, number, each in sorted(functions)]
        self._tables.set_markers(rows, layer_sites, layer_count, calls_apart)

    def _hook_faults(self) -> None:
        unicorn = self._unicorn

        def on_interrupt(_uc: Any, number: int, _data: Any) -> None:
            self._interrupt = number
            self._uc.emu_stop()

        def on_unmapped(_uc: Any, access: int, address: int, size: int, _value: int, _data: Any) -> bool:
            names = {
                unicorn.UC_MEM_READ_UNMAPPED: "read", unicorn.UC_MEM_WRITE_UNMAPPED: "write", unicorn.UC_MEM_FETCH_UNMAPPED: "fetch",
            }
            self._fault = (names.get(access, "access"), address, size)
            return False

        self._uc.hook_add(unicorn.UC_HOOK_INTR, on_interrupt)
        self._uc.hook_add(unicorn.UC_HOOK_MEM_UNMAPPED, on_unmapped)

    # ---- memory and registers ----

    def read(self, address: int, size: int) -> bytes:
        """``size`` bytes of memory. Raises EngineError where the part has none."""
        try:
            return bytes(self._uc.mem_read(address, size))
        except self._unicorn.UcError as error:
            raise EngineError(f"{self.part.title} has no {size} bytes at {address:#010x}", hint="check the symbol's address") from error

    def write(self, address: int, data: bytes) -> None:
        """Write memory. Raises EngineError where the part has none."""
        try:
            self._uc.mem_write(address, data)
        except self._unicorn.UcError as error:
            raise EngineError(f"{self.part.title} has no {len(data)} bytes at {address:#010x}", hint="check the symbol's address") from error

    def register(self, name: str) -> int:
        """A core register by name: r0..r12, sp, lr, pc."""
        return int(self._uc.reg_read(getattr(self._constants, f"UC_ARM_REG_{name.upper()}")))

    def registers(self) -> dict[str, int]:
        """All core registers."""
        return {name: self.register(name) for name in _REGISTER_NAMES}

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
        """Fill the unused stack, from ``limit`` up to the stack pointer, with a pattern; `stack_depth` finds how much was overwritten."""
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

    # ---- running ----

    def on_call(self, address: int, handler: Callable[[Machine], None]) -> None:
        """Call ``handler`` whenever the empty function at ``address`` is called; the function itself is skipped."""
        self._handlers[address] = handler

    def run_to(self, *addresses: int) -> Stop:
        """Run until one of ``addresses`` is next. Raises FaultError when the program faults, ends or runs away first."""
        ending = self.run_until_end(addresses)
        if ending is Ending.BUDGET:
            raise self.run_away()
        if ending is Ending.IDLE:
            names = " or ".join(self.image.where(a) for a in addresses)
            raise FaultError(f"the program ended at {self.image.where(self.pc)} before it reached {names}", hint="see the registers",
                             details=self._register_text())
        return Stop(self.pc, int(self._tables.header[layout.HALFWORDS]))

    def run_away(self) -> FaultError:
        """The error of a program that used up its budget."""
        return FaultError(
            f"the program ran {int(self._tables.header[layout.HALFWORDS]):,} halfwords of code without reaching its end; "
            f"it was at {self.image.where(self.pc)}",
            hint="raise --max-instructions, or check that --until is reached",
            details=self._register_text(),
        )

    def run_until_end(self, addresses: Iterable[int] = ()) -> Ending:
        """Run until one of ``addresses`` is next, the program can only wait, or the budget is used up. Raises FaultError on a fault."""
        wanted = {address & ~1 for address in addresses}
        self._uc.ctl_set_exits(sorted(wanted | set(self._handlers)))
        self._uc.ctl_flush_tb()  # blocks translated before an exit was set would run past it
        header = self._tables.header
        while True:
            self._interrupt, self._fault = 0, None
            try:
                self._uc.emu_start(self.pc | 1, 0)
            except self._unicorn.UcError as error:
                raise self._explained(error) from error
            self.pc = self.register("pc") & ~1
            stop, header[layout.STOP] = int(header[layout.STOP]), layout.RUNNING
            if self._record is not None:
                self._record(self._tables.events())
                self._tables.drop_events()
            if stop == layout.DRAIN:
                continue
            if stop == layout.OVER_BUDGET:
                return Ending.BUDGET
            if stop == layout.FULL:
                raise EngineError("the program has more distinct paths than the counters hold", hint="measure fewer regions at once")
            if stop == layout.IDLE or self._waits(self.pc - 2):
                return Ending.IDLE
            if self._interrupt:
                raise self._explained_interrupt()
            if self.pc in wanted:
                return Ending.ADDRESS
            handler = self._handlers.get(self.pc)
            if handler is None:
                raise EngineError(f"the emulator stopped at {self.image.where(self.pc)} for no known reason", hint="report this")
            handler(self)
            self.pc = self.register("lr") & ~1

    def _waits(self, address: int) -> bool:
        """Whether the instruction at ``address`` is WFI or WFE."""
        return self._inside(address, 2) and self.read(address, 2) in (b"\x30\xbf", b"\x20\xbf")

    def skip_call(self) -> None:
        """Return from the empty function the program has just entered."""
        self.pc = self.register("lr") & ~1

    def _register_text(self) -> str:
        values = self.registers()
        values["pc"] = self.pc
        lines = [" ".join(f"{n:>3} {values[n]:08x}" for n in _REGISTER_NAMES[k : k + 4]) for k in range(0, 16, 4)]
        return "\n".join(lines)

    def _explained(self, error: Exception) -> FaultError:
        self.pc = self.register("pc") & ~1
        where = self.image.where(self.pc)
        if self._fault is not None:
            kind, address, size = self._fault
            if kind == "fetch":
                message = f"the program jumped to {address:#010x}, where {self.part.title} has no memory (from {self.image.where(self.register('lr') & ~1)})"
                return FaultError(message, hint="look at the function pointer or the return address", details=self._register_text())
            peripheral = self.part.peripheral_at(address)
            name = f" ({peripheral.name})" if peripheral else ""
            return FaultError(
                f"{kind} of {size} bytes at {address:#010x}{name} at {where}: {self.part.title} has nothing mapped there",
                hint="measure code that needs no peripherals, or check the pointer",
                details=self._register_text(),
            )
        if getattr(error, "errno", None) in (self._unicorn.UC_ERR_INSN_INVALID, self._unicorn.UC_ERR_EXCEPTION):
            return self._undefined(where)
        return FaultError(f"the emulator stopped at {where}: {error}", hint="see the registers", details=self._register_text())

    def _undefined(self, where: str) -> FaultError:
        code = self.read(self.pc, 4)
        words = " ".join(f"{int.from_bytes(code[k : k + 2], 'little'):04x}" for k in (0, 2))
        return FaultError(
            f"undefined instruction {words} at {where} for a {self.part.core} with {self.part.fpu}",
            hint="build for this core and FPU (-mcpu, -mfpu), or choose a part that has the instruction",
            details=self._register_text(),
        )

    def _explained_interrupt(self) -> FaultError:
        where = self.image.where(self.pc)
        kinds = {1: "an undefined instruction", 2: "a supervisor call (SVC)", 3: "a prefetch abort", 4: "a data abort", 7: "a breakpoint (BKPT)"}
        if self._interrupt == 1:
            return self._undefined(where)
        what = kinds.get(self._interrupt, f"exception {self._interrupt}")
        return FaultError(f"the program took {what} at {where}", hint="see the registers", details=self._register_text())

    # ---- what was counted ----

    def take(self) -> Run:
        """Everything counted since the last `take` or `forget`; counting goes on from zero."""
        run = self._tables.take(self._regions, self._depth, self._followed)
        times = np.bincount(run.keys[run.key, -1], run.executions, len(run.block_address)) if len(run.key) else np.zeros(1)
        ends = run.block_address.astype(np.int64) + run.block_size
        found = self._probes
        totals = {}
        for block, held in zip(found.conditional, self._held, strict=False):
            inside = (run.block_address <= block.address) & (block.address < ends)
            if held or inside.any():
                totals[block.address] = int(times[inside].sum())
        run = dataclasses.replace(
            run,
            predication=probes.predication_of(found.conditional, self._held[: len(found.conditional)], totals),
            divisions=probes.divisions_of(self._divided[: len(found.divisions)], found.divisions),
        )
        self.forget()
        return run

    def known_blocks(self) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
        """Addresses and sizes, in bytes, of all blocks seen so far."""
        return self._tables.known_blocks()

    def forget(self) -> None:
        """Drop what was counted so far."""
        self._tables.clear()
        self._tables.drop_events()
        self._held[:] = 0
        self._divided[:, 4:] = 0
