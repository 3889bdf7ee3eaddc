"""Pricing a running program on a part's memory system, at several clocks at once: one run of the emulator serves them all."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tinysim.core import Core
from tinysim.errors import PartError
from tinysim.memory.config import MemoryConfig, configure
from tinysim.memory.settings import read_settings, startup_writes
from tinysim.part import Part, RegionKind

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


class Program(Protocol):
    """What the pricers ask of the machine that runs."""

    def known_blocks(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Addresses and sizes of all blocks seen so far."""
        ...

    def read(self, address: int, size: int) -> bytes:
        """Bytes of memory."""
        ...


class MemoryPricers:
    """One pricer for each memory system that the clocks lead to. False when memory is ideal: then keys are priced instead."""

    def __init__(self, part: Part, core: Core, configs: Sequence[MemoryConfig], number_of: dict[int, int], ideal: bool) -> None:
        self._part, self._core = part, core
        self._configs = tuple(configs)
        self._number_of = number_of
        self._ideal = ideal
        self._pricers: tuple[StreamPricer, ...] = ()
        self._memories: tuple[NDArray[np.int64], ...] = ()
        self._taken: tuple[StreamCosts | None, ...] = ()

    @classmethod
    def of_startup(cls, part: Part, core: Core, clocks_hz: Sequence[int], options: MemoryOptions) -> MemoryPricers:
        """The part as a vendor's start-up code sets it up for each clock, changed by what the user wants."""
        if options.ideal:
            return cls(part, core, (), {}, True)
        configs: list[MemoryConfig] = []
        number_of: dict[int, int] = {}
        numbers: dict[tuple[int, int], int] = {}
        for clock_hz in clocks_hz:
            shape = part.wait_states(clock_hz), part.bus_divider(clock_hz)
            if shape not in numbers:
                settings = read_settings(part.memory, startup_writes(part, clock_hz))
                if options.caches is not None:
                    on = options.caches
                    settings = settings.replace(instruction_lines=on, data_lines=on, instruction_cache=on, data_cache=on)
                if options.prefetch is not None:
                    settings = settings.replace(prefetch=options.prefetch)
                numbers[shape] = len(configs)
                configs.append(configure(part, (), clock_hz, settings=settings))
            number_of[clock_hz] = numbers[shape]
        return cls(part, core, configs, number_of, False)

    def __bool__(self) -> bool:
        return not self._ideal

    def number(self, clock_hz: int) -> int:
        """Which of the memory systems a clock leads to."""
        return self._number_of[clock_hz]

    def start(self, program: Program) -> None:
        """Begin, with cold caches, to price what ``program`` runs from here on."""
        if self._ideal:
            return
        from tinysim.timing.stream import StreamPricer

        self._memories = tuple(config.fresh() for config in self._configs)
        self._pricers = tuple(StreamPricer(self._core, words, program.known_blocks, program.read) for words in self._memories)
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
        return None if self._ideal else self._configs[self.number(clock_hz)].wait_states

    def warnings(self, clock_hz: int) -> tuple[str, ...]:
        """What to say beside an estimate about its memory."""
        return (IDEAL_MEMORY,) if self._ideal else self._configs[self.number(clock_hz)].warnings

    def error_bound(self, core: Core) -> tuple[float, str]:
        """(percent, basis) of the error to state."""
        return core.error_bound_percent, core.error_basis
