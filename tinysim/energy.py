"""Energy of an inference, from currents that a source gives for a part; never guessed.

Power in a run mode is taken as proportional to the clock (a current per MHz), as data sheets state it, and only at
clocks the source covers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tinysim.tomlfile import Table

if TYPE_CHECKING:
    from tinysim.part import Part

__all__ = ["Energy", "Supply", "energy", "read_supplies"]


@dataclass(frozen=True, slots=True)
class Supply:
    """What a part draws in one run mode, per MHz of core clock.

    ``microamps``: (low, typical, high) per MHz at ``volts``; ``microwatts``: the same where a source gives power. One
    of both is None. ``volts`` is None where the source names no voltage: then no energy follows. Valid from ``min_hz``
    to ``max_hz``.
    """

    mode: str
    volts: float | None
    microamps: tuple[float, float, float] | None
    microwatts: tuple[float, float, float] | None
    min_hz: int
    max_hz: int
    source: str
    confidence: str

    def microwatts_per_mhz(self) -> tuple[float, float, float] | None:
        """(low, typical, high), or None where the source gives a current but no voltage."""
        if self.microwatts is not None:
            return self.microwatts
        if self.microamps is None or self.volts is None:
            return None
        low, typical, high = self.microamps
        return low * self.volts, typical * self.volts, high * self.volts


@dataclass(frozen=True, slots=True)
class Energy:
    """Energy in microjoules: typical, and the range the source gives; the mode, and where the figure comes from."""

    microjoules: float
    low_microjoules: float
    high_microjoules: float
    mode: str
    source: str
    confidence: str


def energy(part: Part, cycles: float, clock_hz: int) -> tuple[Energy, ...]:
    """Energy of ``cycles`` core cycles at a clock, one for each run mode a source covers; empty where none does.

    With power proportional to the clock the clock cancels: microwatts per MHz times cycles, over a million.
    """
    found = []
    for supply in part.supplies:
        if not supply.min_hz <= clock_hz <= supply.max_hz:
            continue
        power = supply.microwatts_per_mhz()
        if power is None:
            continue
        low, typical, high = (value * cycles / 1e6 for value in power)
        found.append(Energy(typical, low, high, supply.mode, supply.source, supply.confidence))
    return tuple(found)


def read_supplies(root: Table, max_hz: int, fact: Callable[[Table], None]) -> tuple[Supply, ...]:
    """Read the ``[[supply]]`` tables of a part file; ``fact`` takes each one's source. Raises PartError."""
    found = []
    for table in root.tables("supply"):
        fact(table)
        if ("microamps_per_mhz" in table) == ("microwatts_per_mhz" in table):
            raise table.error("must give microamps_per_mhz or microwatts_per_mhz, and not both")
        supply = Supply(
            table.string("mode"),
            table.number("volts") if "volts" in table else None,
            _range(table, "microamps_per_mhz"),
            _range(table, "microwatts_per_mhz"),
            table.hz("min") if "min" in table else 1,
            table.hz("max") if "max" in table else max_hz,
            table.string("source"),
            table.string("confidence"),
        )
        table.close()
        found.append(supply)
    return tuple(found)


def _range(table: Table, key: str) -> tuple[float, float, float] | None:
    """One number, or low, typical and high."""
    if key not in table:
        return None
    value = table.get(key)
    values = value if isinstance(value, list) else [value] * 3
    if len(values) != 3 or not all(isinstance(one, int | float) and not isinstance(one, bool) for one in values):
        raise table.error(f"{value!r} is neither a number nor low, typical and high", key)
    low, typical, high = (float(one) for one in values)
    if not 0 < low <= typical <= high:
        raise table.error("low, typical and high must rise, above zero", key)
    return low, typical, high
