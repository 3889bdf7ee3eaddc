"""The emulator as a core: one Unicorn instance, its memories, registers and hooks."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from tinysim.engine import layout
from tinysim.engine.exceptions import StackFaultError
from tinysim.errors import EngineError
from tinysim.part import Part

__all__ = ["REGISTER_NAMES", "UnicornCpu"]

_PAGE = 4096
REGISTER_NAMES = (*(f"r{n}" for n in range(13)), "sp", "lr", "pc")


class UnicornCpu:
    """A core with a part's memories; devices are mapped by a `tinysim.engine.bus.Bus`.

    ``memory``: name -> (base, size) of what is RAM to the emulator. Raises EngineError where it cannot be set up.
    """

    def __init__(self, part: Part, memory: Mapping[str, tuple[int, int]]) -> None:
        import unicorn
        from unicorn import arm_const

        self.unicorn, self._part = unicorn, part
        self._numbers = {
            name.removeprefix("UC_ARM_REG_").lower(): value
            for name, value in vars(arm_const).items()
            if name.startswith("UC_ARM_REG_")
        }
        model = getattr(arm_const, f"UC_CPU_ARM_{part.core.replace('-', '_').upper()}", None)
        if model is None:
            raise EngineError(f"the embedded engine has no {part.core}", hint="use a Cortex-M4 or M7 part")
        double = part.fpu.endswith("-dp")
        # with M-class mode Unicorn refuses the double-precision instructions an M7 has; without it an M4 still
        # refuses them
        mode = unicorn.UC_MODE_THUMB | (0 if double else unicorn.UC_MODE_MCLASS)
        try:
            self.uc = unicorn.Uc(unicorn.UC_ARCH_ARM, mode)
            self.uc.ctl_set_cpu_model(model)
        except unicorn.UcError as error:
            raise EngineError(
                f"the embedded engine did not start ({error})", hint="reinstall the unicorn package"
            ) from error
        self._host: dict[int, NDArray[np.uint8]] = {}
        for base, size in memory.values():
            self._map(base, size)
        self.uc.ctl_exits_enabled(True)
        self.set("fpexc", 0x40000000)

    def _map(self, base: int, size: int) -> None:
        rounded = -(-size // _PAGE) * _PAGE
        host = np.zeros(rounded, np.uint8)
        try:
            self.uc.mem_map_ptr(base, rounded, self.unicorn.UC_PROT_ALL, host.ctypes.data_as(ctypes.c_void_p))
        except self.unicorn.UcError as error:
            raise EngineError(
                f"cannot map {size:#x} bytes at {base:#010x} of {self._part.title} ({error})",
                hint="`tinysim parts check` the part file",
            ) from error
        self._host[base] = host

    @property
    def memories(self) -> list[tuple[int, int]]:
        """(base, size) of the memories as mapped."""
        return [(base, len(host)) for base, host in self._host.items()]

    def holds(self, address: int, size: int) -> bool:
        """Whether one memory, or several that touch, hold all of a range."""
        end = address + size
        while True:
            memory = next(
                ((base, host) for base, host in self._host.items() if base <= address < base + len(host)), None
            )
            if memory is None:
                return False
            address = memory[0] + len(memory[1])
            if address >= end:
                return True

    def get(self, name: str) -> int:
        """A register's value."""
        return int(self.uc.reg_read(self._numbers[name]))

    def set(self, name: str, value: int) -> None:
        """Write a register."""
        self.uc.reg_write(self._numbers[name], value)

    def load(self, address: int, size: int) -> bytes:
        """Memory. Raises StackFaultError where there is none."""
        if not self.holds(address, size):
            raise StackFaultError(address)
        return bytes(self.uc.mem_read(address, size))

    def store(self, address: int, data: bytes) -> None:
        """Write memory. Raises StackFaultError where there is none."""
        if not self.holds(address, len(data)):
            raise StackFaultError(address)
        self.uc.mem_write(address, data)

    def hook(self, kind: int, callback: int, data: int, begin: int, end: int) -> None:
        """Add a native hook: addresses of a C function and of its data."""
        handle = ctypes.c_size_t()
        error = layout.uclib.uc_hook_add(
            self.uc._uch,
            ctypes.byref(handle),
            ctypes.c_int(kind),
            ctypes.c_void_p(callback),
            ctypes.c_void_p(data),
            ctypes.c_uint64(begin),
            ctypes.c_uint64(end),
        )
        if error:
            raise EngineError(f"the emulator refused a hook (error {error})", hint="reinstall the unicorn package")

    def set_exits(self, addresses: list[int]) -> None:
        """Stop before any of these is executed."""
        self.uc.ctl_set_exits(addresses)
        self.uc.ctl_flush_tb()  # blocks translated before an exit was set would run past it
