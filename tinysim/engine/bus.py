"""What answers on the bus where there is no memory: devices, and the refusal of everything nobody described.

A *device* holds 32-bit registers at word offsets. The bus turns the emulator's accesses of one, two or four bytes
into accesses of words, and keeps the first access that no device answers: the machine stops there and says so.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from tinysim.errors import EngineError

__all__ = ["Access", "Bus", "Device", "Storage", "Unanswered"]

_PAGE = 4096


class Access(StrEnum):
    """What was done."""

    READ = "read"
    WRITE = "write"
    FETCH = "fetch"


@dataclass(frozen=True, slots=True)
class Unanswered:
    """An access that nothing answered."""

    access: Access
    address: int
    size: int
    value: int = 0


class Device(Protocol):
    """Registers on the bus. ``offset`` is a multiple of four; ``lanes`` has ones in the bits that a write carries."""

    @property
    def name(self) -> str:
        """What it is called in messages."""

    @property
    def base(self) -> int:
        """Address of its first register."""

    @property
    def size(self) -> int:
        """Bytes it answers in."""

    def read(self, offset: int) -> int | None:
        """A register's value; None where the device has no register."""

    def write(self, offset: int, value: int, lanes: int) -> bool:
        """Write a register; False where the device has none. ``value`` is shifted to its place in the word."""


@dataclass
class Storage:
    """Registers that keep what is written. ``fixed``: every read gives this value and writes are lost."""

    name: str
    base: int
    size: int
    fixed: int | None = None

    def __post_init__(self) -> None:
        self.words: dict[int, int] = {}

    def read(self, offset: int) -> int | None:
        """What was written last, 0 before."""
        return self.fixed if self.fixed is not None else self.words.get(offset, 0)

    def write(self, offset: int, value: int, lanes: int) -> bool:
        """Keep the bytes written."""
        self.words[offset] = self.words.get(offset, 0) & ~lanes | value & lanes
        return True


class Bus:
    """The devices of a machine, mapped into the emulator page by page.

    Where two devices overlap the one added later answers. ``on_unanswered`` is called with the first access nobody
    answers; ``on_write`` with every write as (address, word as written).
    """

    def __init__(self, on_unanswered: Callable[[Unanswered], None], on_write: Callable[[int, int], None]) -> None:
        self._on_unanswered, self._on_write = on_unanswered, on_write
        self._devices: list[Device] = []
        self._starts: list[int] = []
        self._spans: list[tuple[int, int, Device]] = []

    def add(self, device: Device) -> None:
        """Put a device on the bus, in front of what was there."""
        base, end = device.base, device.base + device.size
        kept: list[tuple[int, int, Device]] = []
        for start, stop, other in self._spans:
            if stop <= base or end <= start:
                kept.append((start, stop, other))
                continue
            if start < base:
                kept.append((start, base, other))
            if end < stop:
                kept.append((end, stop, other))
        self._spans = sorted([*kept, (base, end, device)], key=lambda span: span[0])
        self._starts = [start for start, _, _ in self._spans]
        self._devices.append(device)

    def device_at(self, address: int) -> Device | None:
        """The device that answers at an address."""
        index = bisect.bisect_right(self._starts, address) - 1
        if index < 0 or address >= self._spans[index][1]:
            return None
        return self._spans[index][2]

    def read(self, address: int, size: int) -> int | None:
        """The value an access of ``size`` bytes reads, or None when nobody answers."""
        device = self.device_at(address)
        if device is None:
            return None
        offset = address - device.base
        word = device.read(offset & ~3)
        if word is None:
            return None
        return word >> 8 * (offset & 3) & ((1 << 8 * size) - 1)

    def write(self, address: int, size: int, value: int) -> bool:
        """Write ``size`` bytes; False when nobody answers."""
        device = self.device_at(address)
        if device is None:
            return False
        offset = address - device.base
        shift = 8 * (offset & 3)
        lanes = ((1 << 8 * size) - 1) << shift
        if not device.write(offset & ~3, value << shift & lanes, lanes):
            return False
        self._on_write(address, value)
        return True

    def pages(self, taken: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
        """(base, size) of the runs of pages the devices lie in, without the ``taken`` (base, size) of memories.
        Raises EngineError.
        """
        memories = list(taken)
        numbers = sorted({p for start, stop, _ in self._spans for p in range(start // _PAGE, -(-stop // _PAGE))})
        runs: list[list[int]] = []
        for number in numbers:
            if any(base < (number + 1) * _PAGE and number * _PAGE < base + size for base, size in memories):
                names = [
                    d.name for start, stop, d in self._spans if start < (number + 1) * _PAGE and number * _PAGE < stop
                ]
                raise EngineError(
                    f"{', '.join(names)} and a memory share the page at {number * _PAGE:#010x}",
                    hint="`tinysim parts check` the part's file",
                )
            if runs and runs[-1][1] == number:
                runs[-1][1] = number + 1
            else:
                runs.append([number, number + 1])
        return [(first * _PAGE, (last - first) * _PAGE) for first, last in runs]

    def attach(self, uc: Any, taken: Iterable[tuple[int, int]]) -> None:
        """Map the devices into an emulator."""
        for base, size in self.pages(taken):
            uc.mmio_map(base, size, self._reader(base), None, self._writer(base), None)

    def _reader(self, base: int) -> Callable[..., int]:
        def on_read(_uc: Any, offset: int, size: int, _data: Any) -> int:
            value = self.read(base + offset, size)
            if value is None:
                self._on_unanswered(Unanswered(Access.READ, base + offset, size))
                return 0
            return value

        return on_read

    def _writer(self, base: int) -> Callable[..., None]:
        def on_write(_uc: Any, offset: int, size: int, value: int, _data: Any) -> None:
            if not self.write(base + offset, size, value):
                self._on_unanswered(Unanswered(Access.WRITE, base + offset, size, value))

        return on_write
