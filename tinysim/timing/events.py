"""Reading a recorded stream: which accesses belong to which instruction of a block.

An event is a 64-bit word (`tinysim.engine.layout`):

- bit 63: a block starts; the low bits are its number, bits 40 and 41 say whether the branch into it was mispredicted,
by the predictor
  without and with history;
- bit 62: a phase starts; the low bits are its number;
- else: a data access of the block before it: the address, its size in bytes from bit 32 on, bit 40 for a write.
"""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

import numpy as np

from tinysim.isa import Memory, Trait
from tinysim.timing.columns import BYTES, MEMORY, TRAITS, UNKNOWN, WORDS
from tinysim.timing.memo import mix
from tinysim.timing.native import native
from tinysim.timing.port import slave_of

__all__ = ["BLOCK_BIT", "MARK_BIT", "NUMBER", "block_end", "match_accesses", "next_block"]

BLOCK_BIT, MARK_BIT = np.uint64(1) << np.uint64(63), np.uint64(1) << np.uint64(62)
NUMBER = np.uint64(0xFFFFFFFF)
SIZE_BIT, WRITE_BIT, MISSED_BIT = np.uint64(32), np.uint64(40), np.uint64(40)
T_PREDICATED = int(Trait.PREDICATED)
M_STORE = int(Memory.STORE)


@native
def block_end(events, at):
    """The first event after the block event at ``at`` that is no access of its."""
    at += 1
    while at < len(events) and events[at] < MARK_BIT:
        at += 1
    return at


@native
def next_block(events, at):
    """The first block event from ``at`` on, or the number of events."""
    while at < len(events) and events[at] < BLOCK_BIT:
        at += 1
    return at


@native
def _bytes(events, at, end):
    total = np.int64(0)
    for k in range(at, end):
        total += np.int64((events[k] >> SIZE_BIT) & np.uint64(0xFF))
    return total


@native
def match_accesses(rows, count, table, events, at, end, addresses, executed, made, config, memory):
    """Gives each instruction that accesses memory (``rows[:count]``) its address.

    ``addresses``: UNKNOWN where none was made; ``executed``: whether a conditional one was carried out; ``made``: the
    addresses of those that were, in order. Returns a hash of what the core can tell of them: place in an 8-byte unit,
    bus slave, carried out or not.

    A conditional instruction made an access when more bytes are left than the unconditional ones still need.
    """
    needed = 0
    for k in range(count):
        if table[rows[k], TRAITS] & T_PREDICATED == 0:
            needed += table[rows[k], WORDS] * table[rows[k], BYTES]
    left = _bytes(events, at, end)
    hashed = np.int64(1)
    number = 0
    for k in range(count):
        row = rows[k]
        size = table[row, WORDS] * table[row, BYTES]
        conditional = table[row, TRAITS] & T_PREDICATED != 0
        addresses[k] = UNKNOWN
        executed[k] = 0 if conditional else 1
        if at < end and not (conditional and left - size < needed):
            writes = (events[at] >> WRITE_BIT) & np.uint64(1) == 1
            if writes == (table[row, MEMORY] == M_STORE):
                address = np.int64(events[at] & NUMBER)
                addresses[k] = address
                executed[k] = 1
                made[number] = address
                number += 1
                moved = np.int64(0)
                while at < end and moved < size:
                    moved += np.int64((events[at] >> SIZE_BIT) & np.uint64(0xFF))
                    at += 1
                left -= moved
                hashed = mix(hashed, (address & 7) + 8 * slave_of(address, config, memory) + 1)
            else:
                hashed = mix(hashed, 0)
        else:
            hashed = mix(hashed, 0)
        if not conditional:
            needed -= size
    return hashed
