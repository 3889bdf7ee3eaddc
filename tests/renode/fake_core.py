"""A Cortex-M core as Renode's translation library shows it: pieces of code with hooks between, on Unicorn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import unicorn
from unicorn import arm_const

REGISTERS = [getattr(arm_const, f"UC_ARM_REG_R{n}") for n in range(13)] + [
    arm_const.UC_ARM_REG_SP,
    arm_const.UC_ARM_REG_LR,
    arm_const.UC_ARM_REG_PC,
]
Hook = Callable[[int], None]
PieceHook = Callable[[int, int], None]


class FakeCore:
    """Runs code; reports each piece at its beginning or its end. A piece is cut at hooks and after ``quantum``
    instructions."""

    def __init__(self, model: str, memories: dict[str, tuple[int, int]], quantum: int) -> None:
        mode = unicorn.UC_MODE_THUMB | (unicorn.UC_MODE_MCLASS if model.startswith("cortex-m4") else 0)
        self.uc = unicorn.Uc(unicorn.UC_ARCH_ARM, mode)
        self.uc.ctl_set_cpu_model(getattr(arm_const, f"UC_CPU_ARM_{model.replace('-', '_').upper()[:9]}"))
        for base, size in memories.values():
            self.uc.mem_map(base, -(-size // 4096) * 4096)
        self.uc.mem_map(0xE0000000, 0x100000)
        self.quantum, self.left_of_quantum = quantum, quantum
        self.executed = 0
        self.limit = 0
        self.halted = False
        self.at_begin: PieceHook | None = None
        self.at_end: PieceHook | None = None
        self.unmapped: Callable[[int, bool, int, int], None] = lambda _pc, _write, _size, _address: None
        self.hooks: dict[int, list[Hook]] = {}
        self._piece: tuple[int, int] | None = None  # begin, end of what runs
        self._passed = -1  # a hook that was acted on already
        self._stopped = False
        self.uc.hook_add(unicorn.UC_HOOK_BLOCK, self._block)
        self.uc.hook_add(unicorn.UC_HOOK_MEM_UNMAPPED, self._hole)

    # registers and memory

    def register(self, number: int) -> int:
        return int(self.uc.reg_read(REGISTERS[number]))

    def set_register(self, number: int, value: int) -> None:
        self.uc.reg_write(REGISTERS[number], value)

    @property
    def pc(self) -> int:
        return self.register(15) & ~1

    def add_hook(self, address: int, hook: Hook) -> None:
        if address not in self.hooks:
            self.uc.hook_add(unicorn.UC_HOOK_CODE, self._code, None, address, address)
            self.uc.ctl_flush_tb()
        self.hooks.setdefault(address, []).append(hook)

    # running

    def run(self, instructions: int) -> None:
        """Run up to so many instructions, or until a hook halts the core."""
        if self.halted:
            return
        self.limit = self.executed + instructions
        self._stopped = False
        self.uc.emu_start(self.pc | 1, 0)

    def stop(self) -> None:
        self._stopped = True
        self.uc.emu_stop()

    def _instructions(self, begin: int, end: int) -> list[int]:
        lengths, at = [], begin
        code = bytes(self.uc.mem_read(begin, end - begin)) if end > begin else b""
        while at < end:
            length = 4 if code[at - begin + 1] >> 3 in (29, 30, 31) else 2
            lengths.append(length)
            at += length
        return lengths

    def _parts(self, begin: int, end: int) -> list[tuple[int, int]]:
        """(address, instructions) of the pieces into which the time quantum cuts what runs."""
        parts: list[tuple[int, int]] = []
        start, count = begin, 0
        for length in self._instructions(begin, end):
            begin += length
            count += 1
            self.left_of_quantum -= 1
            if self.left_of_quantum == 0:
                parts.append((start, count))
                start, count, self.left_of_quantum = begin, 0, self.quantum
        if count:
            parts.append((start, count))
        return parts

    def _finish(self, cut: int | None = None) -> None:
        """What ran has run: all of it, or up to ``cut``."""
        if self._piece is None:
            return
        begin, end = self._piece
        self._piece = None
        self.executed += len(self._instructions(begin, cut or end))
        if self.at_end is not None:
            for address, count in self._parts(begin, cut or end):
                self.at_end(address, count)

    def _begin(self, begin: int, end: int) -> None:
        self._piece = (begin, end)
        if self.at_begin is not None:
            until = min((h for h in self.hooks if begin < h < end), default=end)
            for address, count in self._parts(begin, until):
                self.at_begin(address, count)

    def _block(self, _uc: Any, address: int, size: int, _data: Any) -> None:
        if self._stopped:
            return
        self._finish()
        if self.executed >= self.limit:
            self.stop()
            return
        if address in self.hooks and self._passed != address:
            self._piece = (address, address + size)  # its hook comes next, before the first instruction
            return
        self._begin(address, address + size)

    def _code(self, _uc: Any, address: int, _size: int, _data: Any) -> None:
        if self._stopped:
            return
        if self._passed == address:
            self._passed = -1
            return
        begin, end = self._piece or (address, address)
        if begin < address:
            self._finish(address)
        self._piece = None
        for hook in list(self.hooks[address]):
            hook(address)
        if self.halted:
            self._passed = address
            self.stop()
            return
        self._begin(address, end)

    def _hole(self, _uc: Any, access: int, address: int, size: int, _value: int, _data: Any) -> bool:
        if access == unicorn.UC_MEM_FETCH_UNMAPPED:
            return False
        self.unmapped(self.pc, access == unicorn.UC_MEM_WRITE_UNMAPPED, size, address)
        self.uc.mem_map(address & ~0xFFF, 0x1000)  # reads zeros, as Renode does
        return True
