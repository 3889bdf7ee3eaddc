"""Memory attributes of a Cortex-M7 address: the default map, and what the firmware's MPU regions change.

Source of the default map and of the encoding: ARMv7-M Architecture Reference Manual (DDI 0403), B3.1 and B3.5;
shareable memory is not kept in the Cortex-M7 data cache: Cortex-M7 Technical Reference Manual (DDI 0489).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

__all__ = ["Attributes", "Protection", "ProtectionRegion", "read_protection"]

_CTRL, _RNR, _RBAR, _RASR = 0xE000ED94, 0xE000ED98, 0xE000ED9C, 0xE000EDA0
_ALIASES = {0xE000EDA4 + 8 * number: _RBAR for number in range(3)} | {
    0xE000EDA8 + 8 * number: _RASR for number in range(3)
}


@dataclass(frozen=True, slots=True)
class Attributes:
    """What caches may do with an address."""

    cacheable: bool
    write_back: bool
    write_allocate: bool


_UNCACHED = Attributes(False, False, False)
_THROUGH = Attributes(True, False, False)
_BACK = Attributes(True, True, False)
_BACK_ALLOCATE = Attributes(True, True, True)
_INNER = (_UNCACHED, _BACK_ALLOCATE, _THROUGH, _BACK)
_DEFAULT_BY_HALF_GIB = (_THROUGH, _BACK_ALLOCATE, _UNCACHED, _BACK_ALLOCATE, _THROUGH, _UNCACHED, _UNCACHED, _UNCACHED)


@dataclass(frozen=True, slots=True)
class ProtectionRegion:
    """One enabled MPU region: ``size`` bytes at ``base``; bit n of ``disabled`` takes out its n-th eighth."""

    number: int
    base: int
    size: int
    disabled: int
    attributes: Attributes

    def __contains__(self, address: int) -> bool:
        if not self.base <= address < self.base + self.size:
            return False
        return not self.disabled >> ((address - self.base) * 8 // self.size) & 1


@dataclass(frozen=True, slots=True)
class Protection:
    """The state of the MPU."""

    regions: tuple[ProtectionRegion, ...] = field(default=())

    def attributes(self, address: int) -> Attributes:
        """What caches may do with an address: the enabled region of the highest number, else the default map."""
        for region in reversed(self.regions):
            if address in region:
                return region.attributes
        return _DEFAULT_BY_HALF_GIB[address >> 29]

    def boundaries(self) -> tuple[int, ...]:
        """Addresses where attributes may change, ascending."""
        edges = {half << 29 for half in range(8)}
        for region in self.regions:
            step = region.size // 8 if region.disabled and region.size >= 256 else region.size
            edges.update(range(region.base, region.base + region.size + 1, step))
        return tuple(sorted(edge for edge in edges if edge < 1 << 32))


def _attributes(rasr: int) -> Attributes:
    tex, cache_bits, shareable = rasr >> 19 & 7, rasr >> 16 & 3, rasr >> 18 & 1
    cacheable, bufferable = cache_bits >> 1, cache_bits & 1
    if shareable:
        return _UNCACHED
    if tex & 4:
        return _INNER[cache_bits]
    if tex == 0 and cacheable:
        return _BACK if bufferable else _THROUGH
    if tex == 1 and cacheable and bufferable:
        return _BACK_ALLOCATE
    return _UNCACHED


def read_protection(writes: Iterable[tuple[int, int]]) -> Protection:
    """The MPU as a firmware's 32-bit register writes (address, value), in order, left it."""
    control = number = 0
    bases: dict[int, int] = {}
    settings: dict[int, int] = {}
    for written, value in writes:
        address = _ALIASES.get(written, written)
        if address == _CTRL:
            control = value
        elif address == _RNR:
            number = value & 0xFF
        elif address == _RBAR:
            if value & 0x10:
                number = value & 0xF
            bases[number] = value & ~0x1F
        elif address == _RASR:
            settings[number] = value
    if not control & 1:
        return Protection()
    found = []
    for region, rasr in sorted(settings.items()):
        if not rasr & 1:
            continue
        size = 2 << (rasr >> 1 & 0x1F)
        found.append(
            ProtectionRegion(region, bases.get(region, 0) & ~(size - 1), size, rasr >> 8 & 0xFF, _attributes(rasr))
        )
    return Protection(tuple(found))
