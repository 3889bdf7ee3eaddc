"""The flash-line model against the prototype simulator that published network latencies were explained with."""

from __future__ import annotations

import importlib.util
import itertools
import random
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from shapes import part_of

from tinysim.memory.access import fetch, read, window
from tinysim.memory.config import configure
from tinysim.memory.settings import Settings

PROTOTYPE = Path(__file__).resolve().parents[3] / "shared" / "prototype" / "artsim.py"
FLASH = 0x08000000
FILLS = {"row": 0, "wrap": 1, "to-end": 2, "blocking": 3, "from-start": 4}
REPLACEMENTS = {"lru": 0, "fifo": 1, "random": 2, "round-robin": 3}


@pytest.fixture(scope="module")
def prototype() -> ModuleType:
    if not PROTOTYPE.is_file():
        pytest.skip("the prototype simulator is not beside this checkout")
    spec = importlib.util.spec_from_file_location("artsim", PROTOTYPE)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["artsim"] = module
    spec.loader.exec_module(module)
    return module


def accesses(seed: int, count: int = 3000) -> list[tuple[bool, int, int]]:
    """(instruction side, address, cycles since the one before): loops, calls, weight streams and literals."""
    generator = random.Random(seed)
    code, weights, found = FLASH, FLASH + 0x8000, []
    loop_start, loop_end = FLASH, FLASH + generator.choice([64, 900, 1100, 2500])
    for _ in range(count):
        gap = generator.choice([1, 1, 1, 2, 3, 8])
        if generator.random() < 0.7:
            found.append((True, code, gap))
            code += 4
            if generator.random() < 0.02:
                code = FLASH + generator.randrange(0, 6000) * 4
            elif code >= loop_end:
                code = loop_start
        elif generator.random() < 0.8:
            weights += 4
            found.append((False, weights, gap))
        else:
            found.append((False, FLASH + generator.randrange(0, 4000) * 4, gap))
    return found


def run_prototype(
    module: ModuleType, icfg: np.ndarray, dcfg: np.ndarray, stream: list[tuple[bool, int, int]]
) -> dict[str, int]:
    sides = {}
    for side, config in ((True, icfg), (False, dcfg)):
        slots = int(config[module.NSETS] * config[module.NWAYS])
        state = np.zeros(12, np.int64)
        state[module.S_LAST], state[module.S_RNG] = -1, 1
        tables = np.full(slots, -1, np.int64), np.full(slots * 8, module.INF, np.int64), np.zeros(slots, np.int64)
        sides[side] = (config, state, tables)
    port = np.zeros(4, np.int64)
    time = total = 0
    for side, address, gap in stream:
        config, state, (tag, ready, stamp) = sides[side]
        time += gap
        stall = int(module.art(address, time, config, state, port, tag, ready, stamp))
        total += stall
        time += stall
    return {
        "stall": total,
        "instruction misses": int(sides[True][1][module.S_MISS]),
        "data misses": int(sides[False][1][module.S_MISS]),
        "rows": int(sides[True][1][module.S_ROWS] + sides[False][1][module.S_ROWS]),
    }


def run_ours(part: object, settings: Settings, clock_hz: int, stream: list[tuple[bool, int, int]]) -> dict[str, int]:
    config = configure(part, (), clock_hz, settings=settings)  # type: ignore[arg-type]
    words = config.fresh()
    time = total = 0
    for side, address, gap in stream:
        time += gap
        stall = fetch(words, address, time) if side else read(words, window(words, address), address, time)
        total += stall
        time += stall
    counters = config.counters(words)
    instruction, data = counters.blocks["flash instruction lines"], counters.blocks["flash data lines"]
    assert counters.fetch_stall_cycles + counters.read_stall_cycles == total
    return {
        "stall": total,
        "instruction misses": instruction.misses,
        "data misses": data.misses,
        "rows": instruction.rows + data.rows,
    }


SHAPES = [
    ("row", "lru", 8, 4, 8, 32),
    ("row", "lru", 1, 32, 8, 32),
    ("wrap", "fifo", 1, 8, 8, 32),
    ("to-end", "lru", 1, 8, 8, 32),
    ("blocking", "random", 2, 4, 8, 32),
    ("from-start", "round-robin", 4, 2, 16, 32),
    ("row", "lru", 1, 64, 16, 16),
    ("to-end", "lru", 4, 5, 8, 64),
]


@pytest.mark.parametrize(("instruction", "data"), itertools.pairwise([*SHAPES[:4], SHAPES[0], SHAPES[5], SHAPES[5]]))
@pytest.mark.parametrize("wait_states", [0, 3, 5])
def test_same_stalls_and_misses(
    tmp_path: Path, prototype: ModuleType, instruction: tuple, data: tuple, wait_states: int
) -> None:
    """Two sides with one port: every stall, miss and row read is the prototype's."""
    if instruction[4] != data[4]:
        data = (*data[:4], instruction[4], data[5])
    def lines(name: str, shape: tuple) -> str:
        fill, replacement, sets, ways, _, line = shape
        return (
            f"[flash.{name}]\nline_bytes = {line}\nsets = {sets}\nways = {ways}\n"
            f'replacement = "{replacement}"\nfill = "{fill}"\n'
        )

    part = part_of(
        tmp_path,
        f'[flash]\nmemory = "flash"\nrow_bytes = {instruction[4]}\nprefetch = false\n'
        + lines("instruction_lines", instruction)
        + lines("data_lines", data),
    )

    def theirs(shape: tuple) -> np.ndarray:
        fill, replacement, sets, ways, row, line = shape
        return prototype.cache_cfg(
            sets=sets, ways=ways, line=line, row=row, repl=REPLACEMENTS[replacement], mode=FILLS[fill], ws=wait_states
        )

    for seed in range(3):
        stream = accesses(seed)
        expected = run_prototype(prototype, theirs(instruction), theirs(data), stream)
        # the prototype counts the first row of this fill twice
        expected["rows"] -= expected["instruction misses"] * (instruction[0] == "from-start")
        expected["rows"] -= expected["data misses"] * (data[0] == "from-start")
        assert expected["stall"] > 1000 or not wait_states
        assert run_ours(part, Settings(wait_states=wait_states), 20_000_000, stream) == expected


def test_switched_off_lines(tmp_path: Path, prototype: ModuleType) -> None:
    """Without lines only the current row of each side is kept."""
    part = part_of(
        tmp_path,
        '[flash]\nmemory = "flash"\nrow_bytes = 8\nprefetch = true\n'
        '[flash.instruction_lines]\nline_bytes = 32\nsets = 1\nways = 32\nreplacement = "lru"\nfill = "row"\n'
        '[flash.data_lines]\nline_bytes = 32\nsets = 1\nways = 8\nreplacement = "lru"\nfill = "row"\n',
    )
    off = prototype.cache_cfg(sets=1, ways=32, line=32, row=8, ws=5, enable=0)
    stream = accesses(7)
    settings = Settings(wait_states=5, prefetch=False, instruction_lines=False, data_lines=False)
    assert run_ours(part, settings, 100_000_000, stream) == run_prototype(prototype, off, off, stream)
