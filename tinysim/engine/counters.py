"""The native hooks of one machine: blocks, conditional transfers, divisions, changes of the interrupt masks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tinysim.engine import counting, probes
from tinysim.engine.cpu import UnicornCpu
from tinysim.engine.masking import find_mask_changes, on_mask_change
from tinysim.engine.tables import Tables
from tinysim.image import Image

__all__ = ["Counters"]


class Counters:
    """Hooks everything that counts into an emulator. ``predict``: run the branch predictors; ``record``: record
    events too.
    """

    def __init__(self, cpu: UnicornCpu, image: Image, tables: Tables, *, predict: bool, record: bool) -> None:
        self._tables = tables
        unicorn = cpu.unicorn
        header = tables.header.ctypes.data
        callback = counting.on_block_predicting if predict else counting.on_block
        if record:
            callback = counting.on_block_recording
            tables.make_room_for_events()
            accesses = unicorn.UC_HOOK_MEM_READ | unicorn.UC_HOOK_MEM_WRITE
            cpu.hook(accesses, counting.on_access.address, header, 1, 0)
        cpu.hook(unicorn.UC_HOOK_BLOCK, callback.address, header, 1, 0)
        found = self._probes = probes.find_probes(image)
        self._held = np.zeros(max(len(found.conditional), 1), np.int64)
        self._divided = np.zeros((max(len(found.divisions), 1), 4 + probes.QUOTIENT_BITS), np.int64)

        def watch(address: int, function: int, data: int) -> None:
            cpu.hook(unicorn.UC_HOOK_CODE, function, data, address, address)

        for k, block in enumerate(found.conditional):
            watch(block.address, probes.on_execution.address, self._held[k:].ctypes.data)
        for k, division in enumerate(found.divisions):
            registers = (probes.register_number(division.dividend), probes.register_number(division.divisor))
            self._divided[k, :3] = *registers, division.signed
            watch(division.address, probes.on_division.address, self._divided[k:].ctypes.data)
        for address in find_mask_changes(image):
            watch(address, on_mask_change.address, header)

    def predication(self) -> dict[int, float]:
        """Instruction address -> how often its condition held, as in Counts."""
        executed, starts, sizes = self._tables.executions()
        found = self._probes.conditional
        totals = {}
        for block, held in zip(found, self._held, strict=False):
            inside = (starts <= block.address) & (block.address < starts + sizes)
            if held or inside.any():
                totals[block.address] = int(executed[inside].sum())
        return probes.predication_of(found, self._held[: len(found)], totals)

    def divisions(self) -> dict[int, NDArray[np.uint64]]:
        """Instruction address -> executions by quotient bits, as in Counts."""
        return probes.divisions_of(self._divided[: len(self._probes.divisions)], self._probes.divisions)

    def division_histogram(self) -> NDArray[np.int64]:
        """All divisions by quotient bits, shape (34,)."""
        histogram: NDArray[np.int64] = self._divided[:, 4:].sum(axis=0)
        return histogram

    def clear(self) -> None:
        """Count from zero."""
        self._held[:] = 0
        self._divided[:, 4:] = 0
