"""Where a program changes its interrupt masks: CPS, MSR PRIMASK, BASEPRI, FAULTMASK. A native hook ends the stretch
there if needed.

Each of them is the last instruction of its block in the emulator, so the next block starts with the new masks.
"""

# mypy: disable-error-code="no-any-return,unused-ignore,no-untyped-call"
from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray, types

from tinysim.engine.layout import ATTENTION, BUDGET, HEADER
from tinysim.image import Image
from tinysim.native import native_callback

__all__ = ["find_mask_changes", "on_mask_change"]

_CPS, _CPS_MASK = 0xB660, 0xFFEC
_MSR, _MSR_MASK = 0xF380, 0xFFF0
_MASK_REGISTERS = (0x10, 0x11, 0x12, 0x13)  # PRIMASK, BASEPRI, BASEPRI_MAX, FAULTMASK


def find_mask_changes(image: Image) -> tuple[int, ...]:
    """The addresses of the instructions that change a mask; data that only looks like one is never executed."""
    found: list[int] = []
    for segment in image.segments:
        if not segment.executable or len(segment.data) < 4:
            continue
        words = np.frombuffer(segment.data[: len(segment.data) & ~1], "<u2")
        found += [segment.address + 2 * int(k) for k in np.flatnonzero(words & _CPS_MASK == _CPS)]
        wide = (
            (words[:-1] & _MSR_MASK == _MSR)
            & (words[1:] & 0xFF00 == 0x8800)
            & np.isin(words[1:] & 0xFF, _MASK_REGISTERS)
        )
        found += [segment.address + 2 * int(k) for k in np.flatnonzero(wide)]
    return tuple(sorted(found))


@native_callback(types.void(types.voidptr, types.uint64, types.uint32, types.voidptr))
def on_mask_change(_uc: Any, _address: int, _size: int, data: Any) -> None:
    """Stop before the next block when an exception is pending behind a mask."""
    header = carray(data, (HEADER,), np.int64)
    if header[ATTENTION]:
        header[BUDGET] = 0
