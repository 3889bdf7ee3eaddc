"""The prototype's price of a full trace, an independent model to compare with; not part of the project."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from tests.timing.recording import Recording

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "prototype"


def price(recording: Recording, core: str, **options: int) -> float:
    """Cycles of a recording; skips the test where the prototype is absent."""
    if not FOLDER.is_dir():
        pytest.skip("the prototype is not beside the project (../shared/prototype)")
    sys.path.insert(0, str(FOLDER))
    try:
        import m4
        import m4fe
        import m7
    finally:
        sys.path.remove(str(FOLDER))
    m4._cache.clear()
    m7._c.clear()
    rows, decoded = trace(recording)
    model: Any = m4fe if core == "cortex-m4" else m7
    return float(model.price(rows, decoded, type("Options", (model.Opt,), options)))


def trace(recording: Recording) -> tuple[list[tuple[int, int, list[tuple[str, int, int]], int]], dict[int, Any]]:
    """Rows as the prototype wants them: address, size, accesses, next address; and its decoded instructions."""
    import capstone

    decoder = capstone.Cs(capstone.CS_ARCH_ARM, capstone.CS_MODE_THUMB | capstone.CS_MODE_MCLASS)
    decoder.detail = True
    decoded: dict[int, Any] = {}
    rows = []
    blocks = recording.blocks
    for number, (address, size, accesses) in enumerate(blocks):
        data = dict(accesses)
        if address not in decoded:
            decoded.update((i.address, i) for i in decoder.disasm(recording.read_code(address, size), address))
        at = address
        while at < address + size:
            instruction = decoded[at]
            end = at + instruction.size
            after = blocks[number + 1][0] if end == address + size and number + 1 < len(blocks) else end
            name = instruction.mnemonic
            width = 1 if name[3:4] == "b" or name[3:5] == "sb" else 2 if name[3:4] == "h" or name[3:5] == "sh" else 4
            access = [("w" if name.startswith("s") else "r", data[at], width)] if at in data else []
            rows.append((at, instruction.size, access, after))
            at = end
    return rows, decoded
