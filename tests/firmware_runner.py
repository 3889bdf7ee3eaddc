"""Runs built firmware in a bare Unicorn, apart from tinysim's own engine, and the same model on the host."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tflite
from elftools.elf.elffile import ELFFile
from numpy.typing import NDArray
from unicorn import UC_ARCH_ARM, UC_HOOK_BLOCK, UC_HOOK_CODE, UC_MODE_MCLASS, UC_MODE_THUMB, Uc
from unicorn.arm_const import (
    UC_ARM_REG_FPEXC,
    UC_ARM_REG_PC,
    UC_ARM_REG_R0,
    UC_ARM_REG_SP,
    UC_CPU_ARM_CORTEX_M4,
    UC_CPU_ARM_CORTEX_M7,
)

from tinysim.firmware import Firmware, OperatorUse

DTYPES = {0: np.float32, 2: np.int32, 3: np.uint8, 4: np.int64, 9: np.int8}
TIMEOUT_US = 120 * 1_000_000


@dataclass(frozen=True)
class SmallPart:
    """A part of the tests' own making."""

    name: str
    core: str
    fpu: str
    memories: Mapping[str, tuple[int, int]]
    placement: Mapping[str, tuple[str, ...]]

    def span(self, name: str) -> tuple[int, int]:
        """Base and size of adjacent memories."""
        first, *_ = names = name.split("+")
        return self.memories[first][0], sum(self.memories[each][1] for each in names)


def m4(flash: int = 0x200000, ram: int = 0xA0000) -> SmallPart:
    """An M4 with one flash and one RAM."""
    ram_only = ("ram",)
    return SmallPart(
        "small-m4",
        "cortex-m4",
        "fpv4-sp",
        {"flash": (0x08000000, flash), "ram": (0x20000000, ram)},
        {"code": ("flash",), "weights": ("flash",), "data": ram_only, "arena": ram_only, "stack": ram_only},
    )


def m7(dtcm: int = 0x20000) -> SmallPart:
    """An M7 whose arena goes to the DTCM when it fits there, else to the AXI RAM."""
    return SmallPart(
        "small-m7",
        "cortex-m7",
        "fpv5-dp",
        {"flash": (0x08000000, 0x100000), "dtcm": (0x20000000, dtcm), "axi": (0x24000000, 0x50000)},
        {"code": ("flash",), "weights": ("flash",), "data": ("dtcm",), "arena": ("dtcm", "axi"), "stack": ("dtcm",)},
    )


def operators_of(content: bytes) -> list[OperatorUse]:
    """The operators of a .tflite file, by the accessors of the schema."""
    names = {code: name for name, code in vars(tflite.BuiltinOperator).items() if isinstance(code, int)}
    model = tflite.Model.GetRootAs(content)
    uses = []
    for i in range(model.OperatorCodesLength()):
        code = model.OperatorCodes(i)
        uses.append(OperatorUse(names[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())], code.Version()))
    return list(dict.fromkeys(uses))


def random_inputs(content: bytes, seed: int = 0) -> list[NDArray[Any]]:
    """Inputs of the model's shapes and types."""
    graph = tflite.Model.GetRootAs(content).Subgraphs(0)
    generator = np.random.default_rng(seed)
    arrays: list[NDArray[Any]] = []
    for i in range(graph.InputsLength()):
        tensor = graph.Tensors(graph.Inputs(i))
        shape = [tensor.Shape(k) for k in range(tensor.ShapeLength())]
        if DTYPES[tensor.Type()] is np.float32:
            arrays.append(generator.normal(size=shape).astype(np.float32))
        else:
            arrays.append(generator.integers(-128, 128, shape).astype(DTYPES[tensor.Type()]))
    return arrays


def host_outputs(content: bytes, inputs: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
    """What the host's TensorFlow Lite Micro answers."""
    from tflite_micro import runtime

    interpreter = runtime.Interpreter.from_bytes(content)
    for index, array in enumerate(inputs):
        interpreter.set_input(array, index)
    interpreter.invoke()
    count = tflite.Model.GetRootAs(content).Subgraphs(0).OutputsLength()
    return [np.array(interpreter.get_output(index)) for index in range(count)]


class FailedError(Exception):
    """The firmware called tinysim_failed or met an exception; the text is its log."""


class Board:
    """A part with firmware, set up to its first inference."""

    def __init__(self, firmware: Firmware, part: SmallPart) -> None:
        m7 = part.core == "cortex-m7"
        self.uc = Uc(UC_ARCH_ARM, UC_MODE_THUMB | (0 if m7 else UC_MODE_MCLASS))
        self.uc.ctl_set_cpu_model(UC_CPU_ARM_CORTEX_M7 if m7 else UC_CPU_ARM_CORTEX_M4)
        self.log = ""
        self.instruction_bytes = 0
        self.uc.mem_map(0xE0000000, 0x100000)
        for base, size in part.memories.values():
            self.uc.mem_map(base, 32 << 20 if firmware.oversized else size)
        with firmware.path.open("rb") as stream:
            elf = ELFFile(stream)
            table = elf.get_section_by_name(".symtab")
            self.symbols = {symbol.name: symbol["st_value"] for symbol in table.iter_symbols()}
            for segment in elf.iter_segments("PT_LOAD"):
                if segment["p_filesz"]:
                    self.uc.mem_write(segment["p_paddr"], segment.data())
        if m7:
            self.uc.reg_write(UC_ARM_REG_FPEXC, 1 << 30)
        (stack,) = struct.unpack("<I", self.uc.mem_read(self.symbols["tinysim_vectors"], 4))
        self.uc.reg_write(UC_ARM_REG_SP, stack)
        self._run(self.symbols["Reset_Handler"], "tinysim_ready")
        record = bytes(self.uc.mem_read(self.symbols["tinysim_io"], 20 + 8 * 12))
        self.magic, self.status, self.arena_used_bytes, self.inputs, self.outputs = struct.unpack_from("<IiIII", record)
        self.tensors = [struct.unpack_from("<III", record, 20 + 12 * i) for i in range(self.inputs + self.outputs)]

    def _run(self, start: int, stop: str) -> None:
        traps = {self.symbols[name] & ~1 for name in ("tinysim_failed", "tinysim_unexpected_exception")}
        ends = {self.symbols[stop] & ~1} | traps
        logged = self.symbols["tinysim_log"] & ~1
        self.uc.ctl_flush_tb()

        def stopped(uc: Uc, address: int, size: int, data: object) -> None:
            uc.emu_stop()

        def on_log(uc: Uc, address: int, size: int, data: object) -> None:
            text = bytes(uc.mem_read(uc.reg_read(UC_ARM_REG_R0), 256))
            self.log += text.split(b"\0")[0].decode("ascii", "replace")

        hooks = [self.uc.hook_add(UC_HOOK_CODE, stopped, begin=end, end=end) for end in ends]
        hooks.append(self.uc.hook_add(UC_HOOK_CODE, on_log, begin=logged, end=logged))
        self.uc.emu_start(start | 1, 0xFFFFFFFF, timeout=TIMEOUT_US)
        for hook in hooks:
            self.uc.hook_del(hook)
        at = self.uc.reg_read(UC_ARM_REG_PC) & ~1
        if at in traps or at not in ends:
            raise FailedError(self.log or f"stopped at {at:#x}")

    def infer(self, inputs: Sequence[NDArray[Any]], *, count: bool = False) -> list[NDArray[Any]]:
        """One inference; with ``count``, the bytes of the instructions executed are counted."""
        if self.uc.reg_read(UC_ARM_REG_PC) & ~1 != self.symbols["tinysim_ready"] & ~1:
            self._run(self.uc.reg_read(UC_ARM_REG_PC), "tinysim_ready")
        for (address, size, _), array in zip(self.tensors, inputs, strict=False):
            content = array.tobytes()
            assert len(content) == size
            self.uc.mem_write(address, content)
        self.instruction_bytes = 0

        def block(uc: Uc, address: int, size: int, data: object) -> None:
            self.instruction_bytes += size

        hook = self.uc.hook_add(UC_HOOK_BLOCK, block) if count else None
        self._run(self.uc.reg_read(UC_ARM_REG_PC), "tinysim_done")
        if hook is not None:
            self.uc.hook_del(hook)
        kinds = {1: np.float32, 2: np.int32, 3: np.uint8, 4: np.int64, 9: np.int8}  # TfLiteType
        return [
            np.frombuffer(bytes(self.uc.mem_read(address, size)), kinds[kind])
            for address, size, kind in self.tensors[self.inputs :]
        ]


def write_model(folder: Path, content: bytes, name: str = "model.tflite") -> Path:
    """The model as a file."""
    path = folder / name
    path.write_bytes(content)
    return path
