"""Part: one microcontroller as sold: its core, memories, clocks and peripherals, and the source of each value.

A part is two files of one name: `<part>.repl`, a Renode platform description (what exists, at which address), and
`<part>.toml` (what it costs). :func:`load_part` finds them in the catalogue by name, or at a path of the user's own.
"""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from tinysim.data import platforms_folder
from tinysim.errors import PartError
from tinysim.units import format_hz

if TYPE_CHECKING:
    from tinysim.energy import Supply
    from tinysim.memory.description import MemoryDescription

__all__ = [
    "BusClock",
    "Confidence",
    "MeasuredError",
    "Part",
    "Peripheral",
    "Price",
    "Region",
    "RegionKind",
    "RegisterModel",
    "Source",
    "Variant",
    "WaitStates",
    "load_part",
    "part_names",
]


class RegionKind(StrEnum):
    """What a memory is, as far as placement and timing care."""

    FLASH = "flash"
    """Embedded flash, memory-mapped, executable."""
    EXTERNAL_FLASH = "external-flash"
    """Serial flash behind a memory-mapped controller."""
    SRAM = "sram"
    """RAM on the bus matrix."""
    CCM = "ccm"
    """RAM coupled to the core of a Cortex-M4 (ST's CCM, Ambiq's TCM)."""
    ITCM = "itcm"
    """Cortex-M7 instruction TCM."""
    DTCM = "dtcm"
    """Cortex-M7 data TCM."""
    AXI = "axi"
    """RAM on the AXI bus of a Cortex-M7."""
    BACKUP = "backup"
    """Battery-backed RAM."""

    @property
    def writable(self) -> bool:
        """Whether a store changes it."""
        return self not in (RegionKind.FLASH, RegionKind.EXTERNAL_FLASH)


class Confidence(StrEnum):
    """How far a value can be trusted."""

    DOCUMENTED = "documented"
    """Read in a vendor's or Arm's document, header or driver, or a page that quotes it."""
    MEASURED = "measured"
    """Measured on silicon by the named source."""
    FIT = "fit"
    """Chosen so that the model meets measurements."""
    INFERRED = "inferred"
    """Concluded from something near it."""
    MEMORY = "memory"
    """Written from memory of a manual, not read again."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where the values of one table of a part file come from."""

    field: str
    source: str
    confidence: Confidence
    line: int
    note: str = ""


@dataclass(frozen=True, slots=True)
class Region:
    """One memory. ``base`` and ``size`` in bytes; ``aliases``: other addresses where the same memory is seen."""

    name: str
    base: int
    size: int
    kind: RegionKind
    executable: bool = True
    aliases: tuple[int, ...] = ()

    @property
    def end(self) -> int:
        """One past the last byte."""
        return self.base + self.size

    @property
    def windows(self) -> tuple[tuple[int, int], ...]:
        """(base, size) of every place on the bus where the memory is seen, its own first."""
        return tuple((base, self.size) for base in (self.base, *self.aliases))

    def __contains__(self, address: int) -> bool:
        return any(base <= address < base + size for base, size in self.windows)


@dataclass(frozen=True, slots=True)
class Peripheral:
    """Something on the bus that is not memory.

    ``model`` is Renode's model name; a memory model stands for registers that keep what is written. None for a
    ``Tag``: a named range whose reads give ``value``; without a value it is only a name. ``size`` is None where only
    the model knows it.
    """

    name: str
    base: int
    size: int | None
    model: str | None
    value: int | None = None
    properties: Mapping[str, object] | None = None
    interrupts: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class RegisterModel:
    """A control register of 32 bits that keeps what is written, with status bits that answer other bits.

    ``follows``: (lowest status bit, lowest bit it repeats, width): a clock's ready bit repeats its on bit. ``ones``:
    bits that always read as one: something that is ready as soon as it is asked.
    """

    name: str
    address: int
    reset: int
    follows: tuple[tuple[int, int, int], ...]
    ones: int = 0

    def read(self, written: int) -> int:
        """What a read gives after ``written`` was stored (``reset`` before any write)."""
        value = written
        for status, control, width in self.follows:
            mask = (1 << width) - 1
            value = value & ~(mask << status) | (written >> control & mask) << status
        return value | self.ones


@dataclass(frozen=True, slots=True)
class BusClock:
    """The clock of the bus in front of flash: the core's up to ``above_hz``, beyond it the core's over ``divider``."""

    above_hz: int
    divider: int


@dataclass(frozen=True, slots=True)
class WaitStates:
    """Flash wait states by the clock of the bus: each step is (highest clock in hertz, wait states), ascending."""

    of: str
    steps: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Price:
    """What one part costs: amount in ``currency`` at ``quantity``, and when that was so."""

    amount: float
    currency: str
    quantity: int
    date: str


@dataclass(frozen=True, slots=True)
class Variant:
    """Another memory system: one that the evidence allows as well (``uncertain``), or another setting that is known to
    exist."""

    name: str
    memory: MemoryDescription
    uncertain: bool


@dataclass(frozen=True, slots=True)
class MeasuredError:
    """How far estimates with this part's memory system were from silicon, in percent, and what that rests on."""

    bound_percent: float
    basis: str


@dataclass(frozen=True, slots=True)
class Part:
    """One microcontroller.

    ``placement``: where firmware puts ``code``, ``weights``, ``data``, ``arena`` and ``stack`` by default: names for
    :meth:`span`, first choice first. ``models``: what answers (platforms/peripherals.toml) at the addresses the
    platform description only gives a name; ``systick_divider``: core cycles of one cycle of SysTick's external
    reference, None where unknown. ``memory`` describes flash, caches and buses; None where a part has only ideal
    memory.
    """

    name: str
    title: str
    vendor: str
    core: str
    fpu: str
    boards: tuple[str, ...]
    regions: tuple[Region, ...]
    placement: Mapping[str, tuple[str, ...]]
    max_clock_hz: int
    default_clock_hz: int
    fixed_clock: bool
    clocks_hz: tuple[int, ...]
    bus_clock: BusClock | None
    wait_table: WaitStates | None
    peripherals: tuple[Peripheral, ...]
    registers: tuple[RegisterModel, ...]
    interrupt_count: int
    memory: MemoryDescription | None
    variants: tuple[Variant, ...]
    supplies: tuple[Supply, ...]
    price: Price | None
    sources: tuple[Source, ...]
    path: Path
    platform_path: Path
    notes: tuple[str, ...] = ()
    models: Mapping[str, str] = field(default_factory=dict)
    systick_divider: int | None = None
    error: MeasuredError | None = None

    def region(self, name: str) -> Region:
        """The memory of that name. Raises PartError that lists the names there are."""
        for region in self.regions:
            if region.name == name:
                return region
        names = ", ".join(region.name for region in self.regions)
        raise PartError(f"{self.title} has no memory {name!r}", hint=f"it has {names}")

    def span(self, names: str) -> tuple[int, int]:
        """(base, size) in bytes of one memory, or of adjacent ones written ``"sram1+sram2"``.

        Raises PartError when a name is unknown or two neighbours in the list do not touch.
        """
        regions = [self.region(name.strip()) for name in names.split("+")]
        for left, right in itertools.pairwise(regions):
            if left.end != right.base:
                raise PartError(
                    f"{names!r} of {self.title} is not one piece: {left.name} ends at {left.end:#x}, "
                    f"{right.name} starts at {right.base:#x}",
                    hint="join only memories that touch, lowest address first",
                )
        return regions[0].base, sum(region.size for region in regions)

    def region_at(self, address: int) -> Region | None:
        """The memory an address belongs to, at its own place or an alias."""
        return next((region for region in self.regions if address in region), None)

    def peripheral_at(self, address: int) -> Peripheral | None:
        """The peripheral or tag of known size an address belongs to; the smallest where one is inside another."""
        found = None
        for peripheral in self.peripherals:
            if peripheral.size is None or not peripheral.base <= address < peripheral.base + peripheral.size:
                continue
            if found is None or found.size is None or peripheral.size < found.size:
                found = peripheral
        return found

    def check_clock(self, clock_hz: int) -> int:
        """The same clock, when the part can run at it. Raises PartError otherwise."""
        if clock_hz <= 0:
            raise PartError(f"a clock of {clock_hz} Hz is not above zero", hint="write it like --clock 120MHz")
        if clock_hz > self.max_clock_hz:
            raise PartError(
                f"{self.title} cannot run at {format_hz(clock_hz)}",
                hint=f"its maximum is {format_hz(self.max_clock_hz)}",
            )
        if self.clocks_hz and clock_hz not in self.clocks_hz:
            choices = ", ".join(format_hz(clock) for clock in self.clocks_hz)
            raise PartError(f"{self.title} cannot run at {format_hz(clock_hz)}", hint=f"it runs at {choices} only")
        return clock_hz

    def bus_divider(self, clock_hz: int) -> int:
        """How many core cycles one cycle of the bus in front of flash takes, at a core clock."""
        if self.bus_clock is None or clock_hz <= self.bus_clock.above_hz:
            return 1
        return self.bus_clock.divider

    def wait_states(self, clock_hz: int) -> int:
        """Flash wait states (cycles of the flash's bus) that a core clock needs.

        Raises PartError if the clock is above the maximum, or if there is no data for it.
        """
        self.check_clock(clock_hz)
        if self.wait_table is None:
            raise PartError(
                f"{self.title} has no wait-state table", hint=f"add [wait_states] to {self.path}, or use --ideal-memory"
            )
        bus_hz = clock_hz / self.bus_divider(clock_hz)
        for highest_hz, wait_states in self.wait_table.steps:
            if bus_hz <= highest_hz:
                return wait_states
        raise PartError(
            f"the wait-state table of {self.title} ends at {format_hz(self.wait_table.steps[-1][0])}, "
            f"below the {format_hz(bus_hz)} asked for",
            hint=f"choose a lower clock, or add the step to {self.path}",
        )


def part_names() -> tuple[str, ...]:
    """The names of the catalogue's parts, sorted."""
    folder = platforms_folder()
    return tuple(sorted(path.stem for path in folder.glob("*.toml") if path.with_suffix(".repl").is_file()))


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def load_part(name_or_path: str | Path) -> Part:
    """A part of the catalogue by name (case and punctuation do not matter), or the user's own ``.toml`` file.

    Raises PartError: for an unknown name with the nearest ones, for a bad file with file, line and field.
    """
    from tinysim.partfile import read_part

    text = str(name_or_path)
    if isinstance(name_or_path, Path) or text.endswith((".toml", ".repl")) or "/" in text:
        path = Path(name_or_path).with_suffix(".toml")
        if not path.is_file():
            raise PartError(f"there is no part file {path}", hint="`tinysim parts new --like PART PATH` writes one")
        return read_part(path)
    names = {_plain(name): name for name in part_names()}
    wanted = _plain(text)
    if wanted in names:
        return read_part(platforms_folder() / f"{names[wanted]}.toml")
    near = difflib.get_close_matches(wanted, names, n=3, cutoff=0.5)
    near += [name for name in names if wanted and wanted in name and name not in near][:3]
    nearest = ", ".join(names[name] for name in near)
    raise PartError(
        f"no part {text!r} in the catalogue",
        hint=f"nearest: {nearest}" if near else "`tinysim parts` lists them; a part of your own is a path to its .toml",
    )
