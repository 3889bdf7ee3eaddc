"""The system around the core: what answers on the bus, which exception is next, and what happens when.

It joins the registers (`system_control`, `peripherals`) to the state of the exceptions (`interrupts`) and keeps the
time: priced cycles, which it asks the machine for, plus the cycles spent waiting.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tinysim.engine.bus import Bus, Storage, Unanswered
from tinysim.engine.interrupts import FIRST_EXTERNAL, Exceptions, Interrupts, Masks
from tinysim.engine.peripherals import STORAGE, ModelledDevice, StatusRegister, load_catalogue, register_block
from tinysim.engine.system_control import CycleCounter, DebugControl, Instrumentation, SystemControl
from tinysim.engine.systick import SysTick
from tinysim.errors import InputError
from tinysim.part import Part

__all__ = ["ITM_CHANNEL", "CoreSide", "System"]

ITM_CHANNEL = "itm"
_INTERRUPTS = 240  # the most an Armv7-M NVIC can have; the part's own count is not in its files
_DEFAULT_PRIORITY_MASK = 0xFF
_BAUD, _BITS_OF_A_BYTE = 115_200, 10
_MPU_WORDS = frozenset(range(0xE000ED94, 0xE000EDBC, 4))
_CACHE_CONFIGURATION = 0xE000ED14


@dataclass(frozen=True, slots=True)
class CoreSide:
    """What the system needs of the machine. ``now``: cycles since reset; ``changed``: look at the exceptions at the
    next block.
    """

    now: Callable[[], int]
    changed: Callable[[], None]
    current_exception: Callable[[], int]
    reset_requested: Callable[[], None]
    unanswered: Callable[[Unanswered], None]
    fetch: Callable[[int, int], bytes]
    print: Callable[[str, bytes], None]


class System:
    """Everything of a part that is neither core nor memory.

    ``stubs``: address -> value of words that shall answer with it. ``uart_input``: UART name (or "": the first that
    listens) -> bytes.
    Raises InputError for a UART the part does not have.
    """

    def __init__(
        self,
        part: Part,
        around: CoreSide,
        *,
        vector_table: int,
        clock_hz: int | None,
        stubs: Mapping[int, int] | None = None,
        uart_input: Mapping[str, bytes] | None = None,
    ) -> None:
        self.part, self._around = part, around
        self.register_writes: list[tuple[int, int]] = []
        self.on_control_write: Callable[[], None] = lambda: None
        self._controls = {control.address for control in part.memory.controls} if part.memory else set()
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._sequence = 0
        self._levels: set[int] = set()
        nvic = next((p for p in part.peripherals if p.properties and "priorityMask" in p.properties), None)
        mask = nvic.properties["priorityMask"] if nvic and nvic.properties else _DEFAULT_PRIORITY_MASK
        self.interrupts = Interrupts(_INTERRUPTS, mask if isinstance(mask, int) else _DEFAULT_PRIORITY_MASK)
        self.systick = SysTick(around.now, self._systick_expired, divider=part.systick_divider)
        self.bus = Bus(around.unanswered, self._written)
        resets = {control.address: control.reset for control in part.memory.controls} if part.memory else {}
        self.control = SystemControl(
            load_catalogue().identity(part),
            self.interrupts,
            self.systick,
            part.fpu != "none",
            vector_table,
            around.current_exception,
            self._changed,
            around.reset_requested,
        )
        if _CACHE_CONFIGURATION in resets:
            self.control.write(_CACHE_CONFIGURATION - self.control.base, resets[_CACHE_CONFIGURATION], 0xFFFFFFFF)
        debug = DebugControl()
        self.cycle_counter = CycleCounter(around.now, debug)
        for device in (
            Storage("core peripherals", 0xE0002000, 0x1000),
            Storage("TPIU", 0xE0040000, 0x1000),
            self.control,
            debug,
            self.cycle_counter,
            Instrumentation(lambda data: around.print(ITM_CHANNEL, data)),
        ):
            self.bus.add(device)
        self.devices = self._add_peripherals(resets, clock_hz, dict(uart_input or {}))
        for register in part.registers:
            self.bus.add(StatusRegister(register))
        for address, value in (stubs or {}).items():
            self.bus.add(Storage(f"stub at {address:#010x}", address & ~3, 4, fixed=value))
        for device_ in self.devices:
            device_.update()

    # ---- devices ----

    def _add_peripherals(
        self, resets: Mapping[int, int], clock_hz: int | None, given: dict[str, bytes]
    ) -> tuple[ModelledDevice, ...]:
        models = load_catalogue().models
        devices: list[ModelledDevice] = []
        uarts = [p for p in self.part.peripherals if p.model and p.model in models and models[p.model].transmit]
        self._unclaimed = given.pop("", b"")
        for peripheral in self.part.peripherals:
            name = peripheral.model or self.part.models.get(peripheral.name)
            if name is not None and name.startswith("Memory."):
                if peripheral.size is not None:
                    self.bus.add(register_block(peripheral.name, peripheral.base, peripheral.size, resets))
            elif name == STORAGE and peripheral.size is not None:
                self.bus.add(register_block(peripheral.name, peripheral.base, peripheral.size, resets))
            elif name is not None and name in models:
                device = ModelledDevice(
                    peripheral.name,
                    peripheral.base,
                    models[name],
                    self,
                    peripheral.interrupts,
                    given.pop(peripheral.name, b""),
                    clock_hz * _BITS_OF_A_BYTE // _BAUD if clock_hz else 0,
                )
                self.bus.add(device)
                devices.append(device)
            elif peripheral.model is None and peripheral.value is not None and peripheral.size is not None:
                self.bus.add(Storage(peripheral.name, peripheral.base, peripheral.size, fixed=peripheral.value))
        if given:
            names = ", ".join(u.name for u in uarts) or "none"
            raise InputError(f"{self.part.title} has no UART {next(iter(given))!r}", hint=f"it has {names}")
        return tuple(devices)

    def _written(self, address: int, _value: int) -> None:
        word = address & ~3
        if word in self._controls or word in _MPU_WORDS:
            value = self.bus.read(word, 4)
            self.register_writes.append((word, _value if word in _MPU_WORDS else value or 0))
            self.on_control_write()

    # ---- what peripherals ask for ----

    def interrupt(self, number: int, asserted: bool) -> None:
        """Set an interrupt line: a line that stays asserted pends its interrupt again when the handler returns."""
        if asserted:
            self._levels.add(number)
            if FIRST_EXTERNAL + number not in self.interrupts.active:
                self.pend(FIRST_EXTERNAL + number)
        else:
            self._levels.discard(number)

    def after(self, cycles: int, action: Callable[[], None]) -> None:
        """Do something so many priced cycles from here."""
        self._sequence += 1
        heapq.heappush(self._events, (self._around.now() + cycles, self._sequence, action))
        self._around.changed()

    def fetch(self, address: int, size: int) -> bytes:
        """Memory that a peripheral reads by itself."""
        return self._around.fetch(address, size)

    def print(self, name: str, data: bytes) -> None:
        """Text out."""
        self._around.print(name, data)

    def claim(self) -> bytes:
        """The input that was given to no UART by name: the first that listens has it."""
        taken, self._unclaimed = self._unclaimed, b""
        return taken

    # ---- exceptions and time ----

    def pend(self, number: int) -> None:
        """Make an exception pending."""
        self.interrupts.pending.add(number)
        self._around.changed()

    def returned(self) -> None:
        """A handler returned: lines that are still asserted pend again."""
        for number in self._levels:
            if FIRST_EXTERNAL + number not in self.interrupts.active:
                self.interrupts.pending.add(FIRST_EXTERNAL + number)

    def _changed(self) -> None:
        self._around.changed()

    def _systick_expired(self) -> None:
        self.pend(Exceptions.SYSTICK)

    @property
    def timed(self) -> bool:
        """Whether anything will happen by itself."""
        return bool(self._events) or self.systick.interrupts

    def next_event(self) -> int | None:
        """The cycle at which something happens by itself, or None."""
        due = [self._events[0][0]] if self._events else []
        expiry = self.systick.next_expiry() if self.systick.interrupts else None
        if expiry is not None:
            due.append(expiry)
        return min(due, default=None)

    def poll(self) -> None:
        """Let happen what is due."""
        if not self.timed:
            return
        now = self._around.now()
        while self._events and self._events[0][0] <= now:
            heapq.heappop(self._events)[2]()
        self.systick.update()

    def next_exception(self, masks: Masks) -> int | None:
        """The exception to take now, or None."""
        return self.interrupts.next(masks)

    @property
    def needs_time(self) -> bool:
        """Whether the firmware has asked for the time: SysTick or the cycle counter runs."""
        return self.systick.running or self.cycle_counter.counts
