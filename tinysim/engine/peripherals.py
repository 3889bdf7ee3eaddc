"""Peripherals as data: registers with status bits, UARTs that print and are fed, random numbers. Models:
platforms/peripherals.toml.

Code here knows kinds of registers, never a chip. What a model does not describe is refused, so firmware that needs
more says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Protocol

from tinysim.data import platforms_folder
from tinysim.engine.bus import Storage
from tinysim.engine.system_control import CacheShape, Identity
from tinysim.errors import PartError
from tinysim.part import Part, RegisterModel
from tinysim.tomlfile import Table, read_toml

__all__ = ["Catalogue", "Model", "ModelledDevice", "Surroundings", "load_catalogue", "read_catalogue"]

SCHEMA = "tinysim.peripherals/1"
STORAGE = "storage"
_STATES = ("ready", "received", "empty")
_BITS_PER_BYTE_SENT = 10
_SEED = 0x2545F491


@dataclass(frozen=True, slots=True)
class Bit:
    """One bit of one register."""

    register: str
    bit: int


@dataclass(frozen=True, slots=True)
class Register:
    """One register of a model."""

    name: str
    offset: int
    reset: int
    read_only: bool
    clears: str | None


@dataclass(frozen=True, slots=True)
class Sending:
    """A task that sends a buffer from memory: registers with its address, its length, the event set, the bytes sent."""

    pointer: str
    count: str
    done: str
    sent: str | None


@dataclass(frozen=True, slots=True)
class Model:
    """One kind of peripheral. ``bits``: what a status bit says: a state's name, or the Bit that it repeats."""

    name: str
    size: int
    registers: Mapping[str, Register]
    bits: tuple[tuple[Bit, str | Bit], ...]
    interrupts: tuple[tuple[Bit, str], ...]
    transmit: str | None
    receive: str | None
    random: str | None
    listens: Bit | None
    sent: str | None
    sends: Mapping[str, Sending]


@dataclass(frozen=True)
class Catalogue:
    """The models by name, and what each core says about itself."""

    models: Mapping[str, Model]
    identities: Mapping[str, Identity]
    single_media: Mapping[str, tuple[int, ...]]

    def identity(self, part: Part) -> Identity:
        """What a part's core says about itself, its caches included. Raises PartError for an unknown core."""
        from dataclasses import replace

        found = self.identities.get(part.core)
        if found is None:
            raise PartError(
                f"platforms/peripherals.toml does not describe a {part.core}", hint=f"add [core.{part.core}]"
            )
        media = found.media if part.fpu.endswith("-dp") else self.single_media.get(part.core, found.media)
        memory = part.memory
        shapes = [
            CacheShape(cache.size_bytes // cache.ways // cache.line_bytes, cache.ways, cache.line_bytes)
            if cache
            else None
            for cache in ((memory.instruction_cache, memory.data_cache) if memory else (None, None))
        ]
        return replace(found, media=media, instruction_cache=shapes[0], data_cache=shapes[1])


def _bit(table: Table, text: str, registers: Mapping[str, Register]) -> Bit:
    register, dot, number = text.rpartition(".")
    if not dot or register not in registers or not number.isdigit() or int(number) > 31:
        raise table.error(f"{text!r} names no bit of a register", hint='write it like "ISR.7"')
    return Bit(register, int(number))


def _model(table: Table) -> Model:
    described = table.table("registers")
    registers = {}
    if described is not None:
        for name, entry in described.children():
            registers[name] = Register(
                name,
                entry.integer("offset", high=0xFFFF),
                entry.integer("reset", high=2**32 - 1) if "reset" in entry else 0,
                entry.flag("read_only") if "read_only" in entry else False,
                entry.string("clears") if "clears" in entry else None,
            )
            entry.close()

    def one(key: str) -> str | None:
        if key not in table:
            return None
        name = table.string(key)
        if name not in registers:
            raise table.error(f"no register {name!r}", key)
        return name

    def pairs(key: str) -> list[tuple[Bit, str]]:
        entries = table.table(key)
        if entries is None:
            return []
        found = [(_bit(entries, name, registers), entries.string(name)) for name in list(entries)]
        entries.close()
        return found

    bits: list[tuple[Bit, str | Bit]] = [
        (bit, state if state in _STATES else _bit(table, state, registers)) for bit, state in pairs("bits")
    ]
    interrupts = pairs("interrupts")
    for _, state in interrupts:
        if state not in _STATES:
            raise table.error(f"{state!r} is not one of {', '.join(_STATES)}", "interrupts")
    sends = {}
    tasks = table.table("sends")
    if tasks is not None:
        for name, entry in tasks.children():
            sends[name] = Sending(
                entry.string("pointer"),
                entry.string("count"),
                entry.string("done"),
                entry.string("sent") if "sent" in entry else None,
            )
            entry.close()
        tasks.close()
    for key in ("source", "confidence"):
        table.string(key)
    model = Model(
        table.string("name"),
        table.integer("bytes", low=4, high=1 << 20),
        registers,
        tuple(bits),
        tuple(interrupts),
        one("transmit"),
        one("receive"),
        one("random"),
        _bit(table, table.string("listens"), registers) if "listens" in table else None,
        one("sent"),
        sends,
    )
    table.close()
    return model


def read_catalogue(path: Path) -> Catalogue:
    """Read a file of peripheral models. Raises PartError with file, line and field."""
    root = read_toml(path)
    if root.string("schema") != SCHEMA:
        raise root.error(f"this is not a {SCHEMA} file", "schema")
    models = {model.name: model for model in map(_model, root.tables("model"))}
    identities, single = {}, {}
    for name, table in root.need("core").children():

        def words(key: str, table: Table = table) -> tuple[int, ...]:
            return tuple(table.get(key)) if key in table else ()

        identities[name] = Identity(
            table.integer("cpuid"),
            words("features"),
            words("media"),
            table.integer("mpu_regions"),
            table.integer("clidr") if "clidr" in table else 0,
            table.integer("ctr") if "ctr" in table else 0,
        )
        if "media_single" in table:
            single[name] = words("media_single")
        for key in ("source", "confidence"):
            table.string(key)
        table.close()
    root.close()
    return Catalogue(models, identities, single)


@lru_cache(maxsize=1)
def load_catalogue() -> Catalogue:
    """The models that come with tinysim."""
    return read_catalogue(platforms_folder() / "peripherals.toml")


class Surroundings(Protocol):
    """What a peripheral needs of the machine around it."""

    def interrupt(self, number: int, asserted: bool) -> None:
        """Set an interrupt line."""

    def after(self, cycles: int, action: Callable[[], None]) -> None:
        """Do something so many priced cycles from here."""

    def fetch(self, address: int, size: int) -> bytes:
        """Memory that a peripheral reads by itself."""

    def print(self, name: str, data: bytes) -> None:
        """Text out."""

    def claim(self) -> bytes:
        """The input that was given to no UART by name: the first that listens has it."""


@dataclass
class ModelledDevice:
    """A peripheral on the bus. ``given``: the bytes that will come in; ``byte_cycles``: priced cycles from one to the
    next.
    """

    name: str
    base: int
    model: Model
    around: Surroundings
    interrupts: tuple[int, ...] = ()
    given: bytes = b""
    byte_cycles: int = 0
    _words: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.size = self.model.size
        self._by_offset = {register.offset: register for register in self.model.registers.values()}
        self._words = {name: register.reset for name, register in self.model.registers.items()}
        self._to_come = list(self.given)
        self._waiting: int | None = None
        self._scheduled = False
        self._claimed = False
        self._random = _SEED

    # ---- state ----

    def _state(self, name: str) -> bool:
        if name == "ready":
            return True
        return (self._waiting is not None) == (name == "received")

    def _value(self, bit: Bit) -> bool:
        return bool(self._words[bit.register] >> bit.bit & 1)

    def update(self) -> None:
        """Work out the interrupt line, and expect the next byte if there is one."""
        asserted = any(self._value(enable) and self._state(state) for enable, state in self.model.interrupts)
        for number in self.interrupts[:1]:
            self.around.interrupt(number, asserted)
        listening = self.model.listens is None or self._value(self.model.listens)
        if listening and self.model.receive and not self._claimed:
            self._claimed = True
            self._to_come += self.around.claim()
        if self._to_come and self._waiting is None and not self._scheduled and listening:
            self._scheduled = True
            self.around.after(self.byte_cycles, self._arrive)

    def _arrive(self) -> None:
        self._scheduled = False
        self._waiting = self._to_come.pop(0)
        self.update()

    # ---- registers ----

    def read(self, offset: int) -> int | None:
        """A register's value with its status bits."""
        register = self._by_offset.get(offset)
        if register is None:
            return None
        if register.name == self.model.random:
            self._random ^= self._random << 13 & 0xFFFFFFFF
            self._random ^= self._random >> 17
            self._random ^= self._random << 5 & 0xFFFFFFFF
            return self._random
        if register.name == self.model.receive:
            value = self._waiting or 0
            self._waiting = None
            self.update()
            return value
        value = self._words[register.name]
        for bit, says in self.model.bits:
            if bit.register == register.name:
                on = self._value(says) if isinstance(says, Bit) else self._state(says)
                value = value & ~(1 << bit.bit) | on << bit.bit
        return value

    def write(self, offset: int, value: int, lanes: int) -> bool:
        """Write a register: keep it, send it, or start what it starts."""
        register = self._by_offset.get(offset)
        if register is None:
            return False
        if register.name == self.model.transmit:
            self.around.print(self.name, bytes([value & 0xFF]))
            if self.model.sent:
                self._words[self.model.sent] = 1
        elif register.name in self.model.sends and value & 1:
            self._send(self.model.sends[register.name])
        elif register.clears:
            self._words[register.clears] &= ~value
        elif not register.read_only:
            self._words[register.name] = self._words[register.name] & ~lanes | value
        self.update()
        return True

    def _send(self, sending: Sending) -> None:
        count = self._words[sending.count]
        self.around.print(self.name, self.around.fetch(self._words[sending.pointer], count))
        self._words[sending.done] = 1
        if sending.sent:
            self._words[sending.sent] = count


@dataclass
class StatusRegister:
    """One register of the part's own file: keeps what is written, with bits that answer other bits."""

    model: RegisterModel
    size: int = 4

    def __post_init__(self) -> None:
        self.name, self.base = self.model.name, self.model.address
        self._written = self.model.reset

    def read(self, offset: int) -> int | None:
        """What was written, with its status bits."""
        return self.model.read(self._written)

    def write(self, offset: int, value: int, lanes: int) -> bool:
        """Keep what is written."""
        self._written = self._written & ~lanes | value
        return True


def register_block(name: str, base: int, size: int, resets: Mapping[int, int]) -> Storage:
    """Registers that keep what is written. ``resets``: address -> value before the first write."""
    block = Storage(name, base, size)
    for address, value in resets.items():
        if base <= address < base + size:
            block.words[address - base] = value
    return block
