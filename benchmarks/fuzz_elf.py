"""Feed the ELF loader damaged files: none may crash, hang, or take memory without bound.

    python benchmarks/fuzz_elf.py FIRMWARE.elf [--count 100000] [--seed 0]

Each file is the given one with some bytes changed (half of the time in its headers), cut short, or with a stretch
moved. Loading it has to give an Image or an ImageError. Prints how many of each, the longest time, and the peak of
memory; exit code 1 for anything else.
"""

from __future__ import annotations

import argparse
import random
import resource
import sys
import time
from pathlib import Path

from tinysim.errors import ImageError
from tinysim.image import parse_image

LONGEST_S = 5.0
MEMORY_BYTES = 2 << 30


def damaged(content: bytes, tables: list[tuple[int, int]], chance: random.Random) -> bytes:
    """A damaged copy."""
    data = bytearray(content)
    for _ in range(chance.choice((1, 1, 2, 4, 16))):
        start, size = chance.choice(tables) if chance.random() < 0.5 else (0, len(data))
        place = min(start + chance.randrange(max(size, 1)), len(data) - 1)
        data[place] = chance.choice((0, 0xFF, 0x7F, 0x80, chance.randrange(256)))
    if chance.random() < 0.2:
        del data[chance.randrange(len(data)) :]
    elif chance.random() < 0.1:
        start, size = chance.randrange(len(data)), chance.randrange(1, 256)
        data[start : start + size] = data[: len(data[start : start + size])]
    return bytes(data)


def tables_of(content: bytes) -> list[tuple[int, int]]:
    """Where the headers, the section headers and the symbols are: damage there reaches deepest."""
    from io import BytesIO

    from elftools.elf.elffile import ELFFile

    elf = ELFFile(BytesIO(content))
    found = [(0, 52), (elf["e_phoff"], elf["e_phnum"] * 32), (elf["e_shoff"], elf["e_shnum"] * 40)]
    for section in elf.iter_sections():
        if section["sh_type"] in ("SHT_SYMTAB", "SHT_STRTAB", "SHT_ARM_ATTRIBUTES"):
            found.append((section["sh_offset"], section["sh_size"]))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("firmware", type=Path)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))  # what allocates without bound fails here
    content = arguments.firmware.read_bytes()
    tables = tables_of(content)
    chance = random.Random(arguments.seed)
    loaded = refused = 0
    longest = 0.0
    for number in range(arguments.count):
        data = damaged(content, tables, chance)
        start = time.perf_counter()
        try:
            image = parse_image(data, Path("damaged.elf"))
            image.function_at(image.entry)
            loaded += 1
        except ImageError:
            refused += 1
        except MemoryError:
            sys.exit(f"input {number} of seed {arguments.seed} took more than {MEMORY_BYTES >> 20} MiB")
        took = time.perf_counter() - start
        longest = max(longest, took)
        if took > LONGEST_S:
            sys.exit(f"input {number} of seed {arguments.seed} took {took:.1f} s")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{arguments.count:,} damaged files: {loaded:,} loaded, {refused:,} refused")
    print(f"longest {longest * 1000:.0f} ms, peak of memory {peak:.0f} MiB")


if __name__ == "__main__":
    main()
