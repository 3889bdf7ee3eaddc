"""The engine "renode": a program on a part inside Renode, with the interface of the embedded engine's machine."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Self

import numpy as np

from tinysim.engine.run import MeasuredRegion, Run
from tinysim.engine.unicorn_machine import DEFAULT_BUDGET, Ending, Stop, starting_point
from tinysim.errors import EngineError, FaultError, ImageError, PartError
from tinysim.image import Image
from tinysim.part import Part
from tinysim.renode.client import quoted
from tinysim.renode.counts_file import CountsFile, read_counts
from tinysim.renode.session import RenodeSession, path_argument
from tinysim.repl import read_repl

__all__ = ["UNSEEN", "CycleCounters", "RenodeMachine"]

UNSEEN = (
    "Renode shows blocks, not data accesses: wait states, caches, unaligned accesses, and "
    "operands that decide a division's time or whether a conditional transfer is carried out are not in these cycles"
)
_CYCCNT = 0xE0001004
_CFSR = 0xE000ED28
_FIRST_CHUNK = 100_000  # instructions of virtual time in the first `RunFor`, then doubled up to the largest
_LARGEST_CHUNK = 10_000_000
_SLOWEST_MIPS = 0.2  # what a counter may be slowed down to before a `RunFor` counts as not answered
_TRANSFER_BYTES = 1 << 16
_SLEEPING_CHUNKS = 8
_PAINT = 0xA5
_UNMAPPED = re.compile(
    r"\[cpu: (0x[0-9A-Fa-f]+)\] (Read|Write)(Byte|Word|DoubleWord|QuadWord) (?:from|to) non existing peripheral "
    r"at (0x[0-9A-Fa-f]+)"
)
_WIDTH = {"Byte": 1, "Word": 2, "DoubleWord": 4, "QuadWord": 8}
_ABORT = re.compile(r"CPU abort \[PC=(0x[0-9A-Fa-f]+)\]: (.*)")
_REGISTERS = (*(f"r{n}" for n in range(13)), "sp", "lr", "pc")
# Configurable fault status register, Armv7-M ARM B3.2.15
_FAULTS = {
    0: "an instruction fetch the memory protection forbids",
    1: "a data access the memory protection forbids",
    8: "a bus error on a fetch",
    9: "a bus error on a data access",
    16: "an undefined instruction",
    17: "a jump to an address without the Thumb bit",
    18: "a bad exception return",
    19: "a floating-point instruction with the FPU off",
    24: "an unaligned access",
    25: "a division by zero",
}


class CycleCounters:
    """Renode's own counters at the end of a run. ``cyccnt`` is an instruction count times a constant, not cycles of
    silicon."""

    def __init__(self, executed_instructions: int, cyccnt: int | None) -> None:
        self.executed_instructions = executed_instructions
        self.cyccnt = cyccnt


class RenodeMachine:
    """A program on a part in Renode. Runs between addresses, reads and writes memory, counts from the first
    instruction on.

    The arguments are those of the embedded engine's `Machine`. ``session``: the Renode to use; several machines can use
    one, one after the other. Without it the machine starts its own and ends it in :meth:`close`.

    Raises ImageError, PartError, EngineError when the program or the platform description does not load.
    """

    def __init__(
        self,
        image: Image,
        part: Part,
        *,
        depth: int,
        predict: bool = False,
        regions: Sequence[MeasuredRegion] = (),
        layers_in: int | None = None,
        layer_sites: Sequence[int] = (),
        budget: int = DEFAULT_BUDGET,
        count: bool = True,
        session: RenodeSession | None = None,
    ) -> None:
        self.image, self.part = image, part
        self._depth, self._predict, self._budget, self._counts = depth, predict, budget, count
        self._regions = tuple(regions)
        self._layers = (layers_in, tuple(layer_sites))
        self._handlers: dict[int, Callable[[RenodeMachine], None]] = {}
        self._hooks: set[int] = set()
        self._halted = False
        self._dumps = 0
        self._painted = (0, 0)
        self._own = session is None
        self.session = session or RenodeSession()
        try:
            self._make()
        except BaseException:
            self.close()
            raise

    # ---- set-up ----

    def _make(self) -> None:
        client, self._client = self.session.client, self.session.client
        self._cpu, self._uarts = _names(self.part)
        client.keyword("ResetEmulation")
        client.command('mach create "m"')
        client.command(f"machine LoadPlatformDescription {path_argument(self.part.platform_path)}", timeout_s=120)
        self._check_segments()
        client.command(f"sysbus LoadELF {path_argument(self.image.path)}", timeout_s=120)
        client.command("emulation SetAdvanceImmediately true")  # do not wait for real time to pass
        client.command('emulation SetGlobalQuantum "0.01"')
        self._mips = client.number(f"{self._cpu} PerformanceInMips")
        if not self._mips:
            raise PartError(
                f"{self.part.platform_path}: PerformanceInMips is 0, and Renode ends when it divides by it",
                hint="write a divisor of 1000",
            )
        self._uart_files = {}
        for name in self._uarts:
            path = self.session.process.folder / f"{name}.txt"
            path.unlink(missing_ok=True)
            client.command(f"{name} CreateFileBackend {path_argument(path)} true")
            self._uart_files[name] = path
        if self._counts:
            self._start_counting()
        sp, pc = starting_point(self.image, self.part)
        client.command(f"{self._cpu} SP {sp:#x}")
        client.command(f"{self._cpu} SetRegister 14 0xffffffff")
        self.pc, self.initial_sp = pc, sp
        self._set_pc(pc)

    def _check_segments(self) -> None:
        for segment in self.image.segments:
            if segment.data and not self._inside(segment.load_address, len(segment.data)):
                raise ImageError(
                    f"{self.image.path.name} loads {len(segment.data)} bytes at {segment.load_address:#010x}, "
                    f"where {self.part.title} has no memory",
                    hint="choose the part the firmware was linked for (`tinysim parts`)",
                )

    def _start_counting(self) -> None:
        self.session.begin_counting(self._cpu, self._depth + 1, predict=self._predict)
        for region in self._regions:
            if region.stop is None:
                self._count("function", quoted(region.name), region.start)
            else:
                self._count("stretch", quoted(region.name), region.start, region.stop)
        entry, sites = self._layers
        if entry is not None:
            self._count("restart_layers_at", entry)
            for site in sites:
                self._count("layers", site - 2, site)  # BLX register: two bytes

    def _count(self, name: str, *arguments: str | int, timeout_s: float | None = None) -> str:
        return self.session.count(self._cpu, name, *arguments, timeout_s=timeout_s)

    def _inside(self, address: int, size: int) -> bool:
        return any(
            base <= address and address + size <= base + length for r in self.part.regions for base, length in r.windows
        )

    # ---- memory and registers ----

    def _need(self, address: int, size: int) -> None:
        # Renode reads zeros where nothing is, and says so only in its log
        if size < 0 or not self._inside(address, size):
            raise EngineError(
                f"{self.part.title} has no {size} bytes at {address:#010x}", hint="check the symbol's address"
            )

    def read(self, address: int, size: int) -> bytes:
        """``size`` bytes of memory. Raises EngineError where the part has none."""
        self._need(address, size)
        data = bytearray()
        while len(data) < size:
            length = min(_TRANSFER_BYTES, size - len(data))
            answer = self._client.python(f"self.Machine.SystemBus.ReadBytes({address + len(data):#x}, {length})")
            if not isinstance(answer, bytes) or len(answer) != length:
                raise EngineError(f"Renode answered a read of {length} bytes with {answer!r:.80}")
            data += answer
        return bytes(data)

    def write(self, address: int, data: bytes) -> None:
        """Write memory. Raises EngineError where the part has none."""
        import base64

        self._need(address, len(data))
        for at in range(0, len(data), _TRANSFER_BYTES):
            text = base64.b64encode(data[at : at + _TRANSFER_BYTES]).decode()
            self._client.python(
                f"self.Machine.SystemBus.WriteBytes(System.Convert.FromBase64String('{text}'), {address + at:#x})"
            )

    def register(self, name: str) -> int:
        """A core register by name: r0..r12, sp, lr, pc."""
        return self._client.number(f"{self._cpu} GetRegister {_REGISTERS.index(name.lower())}")

    def registers(self) -> dict[str, int]:
        """All core registers."""
        return {name: self.register(name) for name in _REGISTERS}

    def text(self, address: int, limit: int = 512) -> str:
        """The zero-terminated text at an address."""
        for region in self.part.regions:
            for base, size in region.windows:
                if base <= address < base + size:
                    limit = min(limit, base + size - address)
        return self.read(address, limit).split(b"\0")[0].decode(errors="replace")

    def paint_stack(self, limit: int) -> None:
        """Fill the unused stack, from ``limit`` up to the stack pointer, with a pattern; `lowest_touched` finds how
        much was overwritten."""
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

    def uart_text(self) -> dict[str, str]:
        """What each UART of the platform description sent so far."""
        return {
            name: path.read_text(errors="replace") if path.is_file() else "" for name, path in self._uart_files.items()
        }

    def counters(self) -> CycleCounters:
        """Renode's own counters where the program stands; ``cyccnt`` None where the platform has no DWT."""
        has_dwt = any(p.model is not None and p.model.endswith(".DWT") for p in self.part.peripherals)
        cyccnt = self._client.number(f"sysbus ReadDoubleWord {_CYCCNT:#x}") if has_dwt else None
        return CycleCounters(self._client.number(f"{self._cpu} ExecutedInstructions"), cyccnt)

    # ---- running ----

    def on_call(self, address: int, handler: Callable[[RenodeMachine], None]) -> None:
        """Call ``handler`` whenever the empty function at ``address`` is called; the function itself is skipped."""
        self._handlers[address & ~1] = handler

    def skip_call(self) -> None:
        """Return from the empty function the program has just entered."""
        self._set_pc(self.register("lr") & ~1)

    def _set_pc(self, address: int) -> None:
        self._client.command(f"{self._cpu} PC {address | 1:#x}")
        self.pc = address

    def run_to(self, *addresses: int) -> Stop:
        """Run until one of ``addresses`` is next. Raises FaultError when the program faults, runs away or waits for
        ever first."""
        wanted = {address & ~1 for address in addresses}
        ending = self._run(wanted)
        if ending is Ending.BUDGET:
            raise self.run_away()
        if ending is Ending.IDLE:
            raise self._lost("the program waits for ever", wanted)
        return Stop(self.pc, 0)

    def run_until_end(self, addresses: Iterable[int] = ()) -> Ending:
        """Run until one of ``addresses`` is next, the program can only wait, or the budget is used up. Raises
        FaultError on a fault."""
        wanted = {address & ~1 for address in addresses}
        return self._run(wanted, idle={address for address in _self_branches(self.image) if address not in wanted})

    def _run(self, wanted: set[int], idle: set[int] | None = None) -> Ending:
        idle = idle or set()
        for address in sorted((wanted | idle | set(self._handlers)) - self._hooks):
            self._client.command(f'{self._cpu} AddHook {address:#x} "cpu.IsHalted = True"')
            self._hooks.add(address)
        while True:
            ending = self._advance()
            if ending is not Ending.ADDRESS or self.pc in wanted:
                return ending
            if self.pc in idle:
                return Ending.IDLE
            handler = self._handlers.get(self.pc)
            if handler is not None:
                handler(self)
                self.skip_call()

    def _advance(self) -> Ending:
        """Run until a hook halts the core (ADDRESS), it sleeps for good, or the budget is used up; ``self.pc`` says
        where."""
        client, mark = self._client, self.session.process.mark()
        if self._halted:
            client.command(f"{self._cpu} IsHalted false")
            self._halted = False
        chunk, asleep = _FIRST_CHUNK, 0
        before = client.number(f"{self._cpu} ExecutedInstructions")
        while True:
            seconds = chunk / (self._mips * 1e6)
            patience_s = client.timeout_s + chunk / (_SLOWEST_MIPS * 1e6)
            client.command(f'emulation RunFor "{seconds:.9f}"', timeout_s=patience_s)
            executed = client.number(f"{self._cpu} ExecutedInstructions")
            self._halted = client.command(f"{self._cpu} IsHalted") == "True"
            self.pc = client.number(f"{self._cpu} PC") & ~1
            self._check_log(mark)
            if self._halted:
                if self.pc not in self._hooks:
                    raise self._lost("Renode halted the core", set())
                return Ending.ADDRESS
            if executed > self._budget:
                return Ending.BUDGET
            asleep = asleep + 1 if executed == before else 0
            if asleep >= _SLEEPING_CHUNKS:
                return Ending.IDLE
            before, chunk = executed, min(2 * chunk, _LARGEST_CHUNK)

    def run_away(self) -> FaultError:
        """What to raise when the budget was used up."""
        executed = self._client.number(f"{self._cpu} ExecutedInstructions")
        return self._lost(f"the program ran {executed:,} instructions without reaching its end", set())

    def _check_log(self, mark: int) -> None:
        """Raise FaultError for what Renode only logs: accesses where nothing is, code outside memory."""
        process = self.session.process
        self._dumps += 1
        token = f"tinysim {self._dumps}"
        before = process.mark()
        self._client.command(f'log "{token}"')
        process.wait_for_line(token, before, 2.0)
        for line in process.since(mark):
            if unmapped := _UNMAPPED.search(line):
                pc, kind, width, address = unmapped.groups()
                peripheral = self.part.peripheral_at(int(address, 16))
                name = f" ({peripheral.name})" if peripheral else ""
                raise FaultError(
                    f"{kind.lower()} of {_WIDTH[width]} bytes at {int(address, 16):#010x}{name} "
                    f"at {self.image.where(int(pc, 16))}: {self.part.title} has nothing mapped there",
                    hint="measure code that needs no peripherals, or add the peripheral to the platform description",
                    details=line,
                )
            if abort := _ABORT.search(line):
                raise FaultError(
                    f"the firmware stopped at {self.image.where(int(abort[1], 16))}: {abort[2]}",
                    hint="look at the last call",
                    details=line,
                )

    def _lost(self, what: str, wanted: set[int]) -> FaultError:
        status = self._client.number(f"sysbus ReadDoubleWord {_CFSR:#x}")
        faults = ", ".join(text for bit, text in _FAULTS.items() if status >> bit & 1)
        took = f" after {faults}" if faults else ""
        missed = f" before it reached {', '.join(self.image.where(a) for a in sorted(wanted))}" if wanted else ""
        registers = self.registers()
        rows = (" ".join(f"{n:>3} {registers[n]:08x}" for n in _REGISTERS[k : k + 4]) for k in range(0, 16, 4))
        return FaultError(
            f"{what}{missed}; it was at {self.image.where(self.pc)}{took}",
            hint="raise --max-instructions, or check that --until is reached",
            details="\n".join(rows),
        )

    # ---- what was counted ----

    def take(self) -> Run:
        """Everything counted since the last `take`; counting goes on from zero."""
        return self.take_counts().run(self._depth)

    def take_counts(self) -> CountsFile:
        """The same in the form in which the counter wrote it. Raises EngineError when Renode's own count differs."""
        self._dumps += 1
        path = self.session.process.folder / f"counts{self._dumps}.json"
        argument = path_argument(path) if self.session.load_counter() == "csharp" else quoted(str(path))
        self._count("dump", argument, timeout_s=300)
        counts = read_counts(path)
        path.unlink()
        if counts.instructions != counts.executed:
            raise EngineError(
                f"the block counter saw {counts.instructions:,} instructions where Renode executed {counts.executed:,}",
                hint="report this with your version of Renode",
            )
        self.forget()
        return counts

    def forget(self) -> None:
        """Drop what was counted so far."""
        self._count("forget")

    def warnings(self) -> tuple[str, ...]:
        """What to say beside results of this engine."""
        return (UNSEEN, *self.session.warnings)

    def close(self) -> None:
        """End Renode, unless it was given."""
        if self._own and hasattr(self, "session"):
            self.session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()


def _names(part: Part) -> tuple[str, tuple[str, ...]]:
    """The names of the core and of the UARTs in the part's platform description."""
    entries = read_repl(part.platform_path).entries
    cores = [e.name for e in entries if e.type == "CPU.CortexM"]
    if len(cores) != 1:
        raise PartError(
            f"{part.platform_path} describes {len(cores)} Cortex-M cores, not one", hint="describe the one to measure"
        )
    return cores[0], tuple(e.name for e in entries if e.type is not None and e.type.startswith("UART."))


def _self_branches(image: Image) -> Iterator[int]:
    """Where the code has ``b .``, the loop that does nothing."""
    for segment in image.segments:
        if segment.executable:
            for at in range(0, len(segment.data) - 1, 2):
                if segment.data[at : at + 2] == b"\xfe\xe7":
                    yield segment.address + at
