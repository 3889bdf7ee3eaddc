"""Semihosting: what firmware asks of a debugger by BKPT 0xAB, as far as it makes sense without one.

Operations: Arm, "Semihosting for AArch32 and AArch64" (IHI 0100). The console (``:tt``) is text out and text in;
other files of the host are refused, as a debugger without file access does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Protocol

__all__ = ["Semihosting", "SemihostingExit", "Target"]


class Operation(IntEnum):
    """What R0 asks for."""

    OPEN = 0x01
    CLOSE = 0x02
    WRITEC = 0x03
    WRITE0 = 0x04
    WRITE = 0x05
    READ = 0x06
    READC = 0x07
    ISERROR = 0x08
    ISTTY = 0x09
    SEEK = 0x0A
    FLEN = 0x0C
    TMPNAM = 0x0D
    REMOVE = 0x0E
    RENAME = 0x0F
    CLOCK = 0x10
    TIME = 0x11
    SYSTEM = 0x12
    ERRNO = 0x13
    GET_CMDLINE = 0x15
    HEAPINFO = 0x16
    EXIT = 0x18
    EXIT_EXTENDED = 0x20
    ELAPSED = 0x30
    TICKFREQ = 0x31


_FAILED = 0xFFFFFFFF
_APPLICATION_EXIT = 0x20026
_EIO = 5
_INPUT, _OUTPUT, _ERRORS = 1, 2, 3
_LONGEST = 1 << 20


class Target(Protocol):
    """Memory and time of the machine that asks."""

    def read(self, address: int, size: int) -> bytes:
        """Memory."""

    def write(self, address: int, data: bytes) -> None:
        """Write memory."""

    def text(self, address: int, limit: int = 512) -> str:
        """The zero-terminated text at an address."""


@dataclass(frozen=True, slots=True)
class SemihostingExit:
    """The program ended itself."""

    code: int


@dataclass
class Semihosting:
    """The debugger's side. ``now``: priced cycles since reset; ``clock_hz``: None where no clock is known."""

    target: Target
    write_text: Callable[[bytes], None]
    now: Callable[[], int]
    clock_hz: int | None
    stack: tuple[int, int]
    heap: tuple[int, int]
    given: bytearray = field(default_factory=bytearray)

    def call(self, operation: int, argument: int) -> int | SemihostingExit:
        """Carry out one operation; the result for R0, or the program's end. Unknown ones fail as the specification
        asks.
        """
        try:
            asked = Operation(operation)
        except ValueError:
            return _FAILED
        handler = getattr(self, f"_{asked.name.lower()}", None)
        return handler(argument) if handler else _FAILED  # files, names and commands of a host there is not

    def _words(self, address: int, count: int) -> list[int]:
        data = self.target.read(address, 4 * count)
        return [int.from_bytes(data[4 * k : 4 * k + 4], "little") for k in range(count)]

    def _open(self, argument: int) -> int:
        name, mode, length = self._words(argument, 3)
        if self.target.read(name, min(length, 16)) != b":tt":
            return _FAILED
        return _INPUT if mode < 4 else _OUTPUT if mode < 8 else _ERRORS

    def _close(self, _argument: int) -> int:
        return 0

    def _writec(self, argument: int) -> int:
        self.write_text(self.target.read(argument, 1))
        return 0

    def _write0(self, argument: int) -> int:
        self.write_text(self.target.text(argument, _LONGEST).encode(errors="replace"))
        return 0

    def _write(self, argument: int) -> int:
        handle, address, length = self._words(argument, 3)
        if handle not in (_OUTPUT, _ERRORS) or length > _LONGEST:
            return length
        self.write_text(self.target.read(address, length))
        return 0

    def _read(self, argument: int) -> int:
        handle, address, length = self._words(argument, 3)
        if handle != _INPUT:
            return length
        taken = bytes(self.given[:length])
        del self.given[: len(taken)]
        self.target.write(address, taken)
        return length - len(taken)

    def _readc(self, _argument: int) -> int:
        return self.given.pop(0) if self.given else _FAILED

    def _iserror(self, argument: int) -> int:
        return int(self._words(argument, 1)[0] >> 31)

    def _istty(self, argument: int) -> int:
        return int(self._words(argument, 1)[0] in (_INPUT, _OUTPUT, _ERRORS))

    def _errno(self, _argument: int) -> int:
        return _EIO

    def _clock(self, _argument: int) -> int:
        return self.now() * 100 // self.clock_hz if self.clock_hz else _FAILED

    def _elapsed(self, argument: int) -> int:
        self.target.write(argument, self.now().to_bytes(8, "little"))
        return 0

    def _tickfreq(self, _argument: int) -> int:
        return self.clock_hz or _FAILED

    def _get_cmdline(self, argument: int) -> int:
        address, length = self._words(argument, 2)
        if not length:
            return _FAILED
        self.target.write(address, b"\0")
        self.target.write(argument + 4, bytes(4))
        return 0

    def _heapinfo(self, argument: int) -> int:
        block = self._words(argument, 1)[0]
        words = (*self.heap, *self.stack)
        self.target.write(block, b"".join(word.to_bytes(4, "little") for word in words))
        return 0

    def _exit(self, argument: int) -> SemihostingExit:
        return SemihostingExit(0 if argument == _APPLICATION_EXIT else 1)

    def _exit_extended(self, argument: int) -> SemihostingExit:
        reason, code = self._words(argument, 2)
        return SemihostingExit(code if reason == _APPLICATION_EXIT else 1)
