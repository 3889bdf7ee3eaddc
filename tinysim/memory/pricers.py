"""Pricing a running program on a part's memory system, at several clocks at once: one run of the emulator serves them
all.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tinysim.core import Core
from tinysim.data import platforms_folder
from tinysim.errors import PartError
from tinysim.memory.config import MemoryConfig, configure, ideal
from tinysim.memory.description import MemoryDescription
from tinysim.memory.settings import read_settings, startup_writes
from tinysim.part import MeasuredError, Part, RegionKind
from tinysim.tomlfile import read_toml

if TYPE_CHECKING:
    from tinysim.timing.stream import StreamCosts, StreamPricer

__all__ = ["IDEAL_MEMORY", "MemoryOptions", "MemoryPricers", "Place"]

IDEAL_MEMORY = "memory is ideal in this estimate: zero wait states, no cache misses"


class Place(StrEnum):
    """A kind of memory a user can ask for, whatever the part calls it."""

    FLASH = "flash"
    RAM = "ram"
    SRAM = "sram"
    AXI = "axi"
    ITCM = "itcm"
    DTCM = "dtcm"

    @property
    def kinds(self) -> tuple[RegionKind, ...]:
        """The kinds of region that count as this."""
        if self is Place.RAM:
            return (RegionKind.AXI, RegionKind.SRAM, RegionKind.DTCM)
        if self is Place.SRAM:
            return (RegionKind.SRAM, RegionKind.AXI)
        return (RegionKind(self.value),)


@dataclass(frozen=True, slots=True)
class MemoryOptions:
    """What a user wants otherwise than the part and a vendor's start-up code have it. None: as they have it."""

    ideal: bool = False
    caches: bool | None = None
    prefetch: bool | None = None
    weights: Place | None = None
    data: Place | None = None
    band: bool = False
    """Price every other memory system that the evidence allows as well, for ``cycles_low`` and ``cycles_high``."""

    def placed(self, part: Part) -> Part:
        """The part with weights and data placed as asked. Raises PartError when it has no such memory."""
        placement = dict(part.placement)
        for purposes, place in ((("weights",), self.weights), (("data", "arena", "stack"), self.data)):
            if place is not None:
                placement.update(dict.fromkeys(purposes, _spans(part, place)))
        return dataclasses.replace(part, placement=placement)


def _spans(part: Part, place: Place) -> tuple[str, ...]:
    """The part's memories of a kind, the largest first; those that touch are one."""
    joined: list[str] = []
    before = None
    for region in sorted((r for r in part.regions if r.kind in place.kinds), key=lambda r: r.base):
        if before is not None and before.end == region.base and before.kind is region.kind:
            joined[-1] += f"+{region.name}"
        else:
            joined.append(region.name)
        before = region
    if not joined:
        kinds = ", ".join(sorted({str(r.kind) for r in part.regions}))
        raise PartError(f"{part.title} has no {place} memory", hint=f"it has {kinds}")
    return tuple(sorted(joined, key=lambda names: -part.span(names)[1]))


def unmeasured_error(core: str) -> MeasuredError | None:
    """The error to expect of a part with this core whose memory system nobody compared with silicon; None where nothing
    is known.
    """
    table = read_toml(platforms_folder() / "validation.toml").need("unmeasured").table(core)
    return MeasuredError(table.number("bound_percent"), table.string("basis")) if table else None


class Program(Protocol):
    """What the pricers ask of the machine that runs."""

    def known_blocks(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Addresses and sizes of all blocks seen so far."""
        ...

    def read(self, address: int, size: int) -> bytes:
        """Bytes of memory."""
        ...


class MemoryPricers:
    """One pricer for each memory system that the clocks lead to."""

    def __init__(self, part: Part, core: Core, clocks_hz: Sequence[int], options: MemoryOptions) -> None:
        """Start with each clock's memory system as a vendor's start-up code sets it up, changed by what the user wants.
        """
        self._part, self._core, self._options = part, core, options
        self._number_of: dict[int, int] = {}
        self._clocks_hz: list[int] = []  # one for each memory system
        numbers: dict[tuple[int, int], int] = {}
        for clock_hz in clocks_hz:
            shape = (0, 1) if options.ideal else (part.wait_states(clock_hz), part.bus_divider(clock_hz))
            if shape not in numbers:
                numbers[shape] = len(self._clocks_hz)
                self._clocks_hz.append(clock_hz)
            self._number_of[clock_hz] = numbers[shape]
        others = [v.memory for v in part.variants if v.uncertain] if options.band and not options.ideal else []
        # the part's own memory systems first, then all of the other ones for each of them
        self._systems: list[tuple[int, MemoryDescription | None]] = [(clock_hz, None) for clock_hz in self._clocks_hz]
        self._systems += [(clock_hz, other) for clock_hz in self._clocks_hz for other in others]
        self._others = len(others)
        self._configs = tuple(self._at_start(*system) for system in self._systems)
        self._set_by_firmware = False
        self._pricers: tuple[StreamPricer, ...] = ()
        self._memories: tuple[NDArray[np.int64], ...] = ()
        self._taken: tuple[StreamCosts | None, ...] = ()

    @classmethod
    def of_systems(cls, part: Part, core: Core, configs: Sequence[MemoryConfig]) -> MemoryPricers:
        """Pricers of any memory systems; what `take` gives is in their order."""
        found = cls(part, core, (), MemoryOptions())
        found._configs = tuple(configs)
        return found

    def _at_start(self, clock_hz: int, description: MemoryDescription | None) -> MemoryConfig:
        if self._options.ideal:
            return ideal(self._part, clock_hz)
        return self._configured(clock_hz, description, startup_writes(self._part, clock_hz))

    def _configured(
        self, clock_hz: int, description: MemoryDescription | None, writes: Sequence[tuple[int, int]]
    ) -> MemoryConfig:
        """The memory system that register writes lead to, changed by what the user wants; ``description``: None for the
        part's own.
        """
        settings = read_settings(self._part.memory, writes)
        if self._options.caches is not None:
            on = self._options.caches
            settings = settings.replace(instruction_lines=on, data_lines=on, instruction_cache=on, data_cache=on)
        if self._options.prefetch is not None:
            settings = settings.replace(prefetch=self._options.prefetch)
        return configure(self._part, (), clock_hz, settings=settings, description=description)

    def firmware_wrote(self, writes: Sequence[tuple[int, int]]) -> None:
        """The program has written control registers: ``writes`` are all so far.

        From here on memory is as they set it, and cold.
        """
        if self._options.ideal:
            return
        self._set_by_firmware = True
        self._configs = tuple(self._configured(*system, writes) for system in self._systems)
        self._memories = tuple(config.fresh() for config in self._configs)
        for pricer, words in zip(self._pricers, self._memories, strict=True):
            pricer.change_memory(words)

    @property
    def ideal(self) -> bool:
        """Whether memory is taken as ideal."""
        return self._options.ideal

    @property
    def memories(self) -> tuple[NDArray[np.int64], ...]:
        """The arrays of the memory systems as they run (`tinysim.memory`); `MemoryConfig.counters` reads them."""
        return self._memories

    def number(self, clock_hz: int) -> int:
        """Which of the memory systems a clock leads to."""
        return self._number_of[clock_hz]

    def band(self, clock_hz: int) -> range:
        """The numbers of the other memory systems that the evidence allows at a clock."""
        first = len(self._clocks_hz) + self.number(clock_hz) * self._others
        return range(first, first + self._others)

    def start(self, program: Program) -> None:
        """Begin, with cold caches, to price what ``program`` runs from here on."""
        from tinysim.timing.stream import StreamPricer

        self._memories = tuple(config.fresh() for config in self._configs)
        self._pricers = tuple(
            StreamPricer(self._core, words, program.known_blocks, program.read) for words in self._memories
        )
        self._taken = (None,) * len(self._pricers)

    def feed(self, events: NDArray[np.uint64]) -> None:
        """Price the next piece of the stream on every memory system."""
        for pricer in self._pricers:
            pricer.feed(events)

    def cycles_so_far(self, clock_hz: int) -> int:
        """Cycles at a clock, up to the block that waits for what comes after it."""
        return self._pricers[self.number(clock_hz)].cycles_so_far

    def take(self) -> tuple[StreamCosts, ...]:
        """What was added since the last time, for each memory system."""
        costs = tuple(pricer.so_far() for pricer in self._pricers)
        since = tuple(now if then is None else now.since(then) for now, then in zip(costs, self._taken, strict=True))
        self._taken = costs
        return since

    def finish(self) -> tuple[StreamCosts, ...]:
        """What all of the stream cost, for each memory system."""
        return tuple(pricer.finish() for pricer in self._pricers)

    def wait_states(self, clock_hz: int) -> int | None:
        """The flash wait states used at a clock; None where memory is ideal."""
        return None if self.ideal else self._configs[self.number(clock_hz)].wait_states

    def warnings(self, clock_hz: int, *, own_firmware: bool = False) -> tuple[str, ...]:
        """What to say beside an estimate about its memory. ``own_firmware``: it leaves set-up to us on purpose."""
        if self.ideal:
            return (IDEAL_MEMORY,)
        found = self._configs[self.number(clock_hz)].warnings
        described = self._part.memory
        if own_firmware or self._set_by_firmware or described is None or not described.controls:
            return found
        names = ", ".join(control.name for control in described.controls)
        return (
            *found,
            f"the firmware never wrote {names}: flash and caches are taken as a vendor's start-up code sets them",
        )

    def error_bound(self, core: Core) -> tuple[float, str]:
        """(percent, basis) of the error to state: the core's own on ideal memory, else what the part was measured to be
        off by.

        Where nobody measured the part, the larger error of parts that nobody measured.
        """
        if self.ideal:
            return core.error_bound_percent, core.error_basis
        known = self._part.error or unmeasured_error(core.name)
        return (known.bound_percent, known.basis) if known else (core.error_bound_percent, core.error_basis)
