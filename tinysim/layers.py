"""Where a TFLM interpreter calls its operators: each indirect call of its invoke loop is one layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tinysim.errors import ImageError
from tinysim.image import Image, Symbol
from tinysim.result import LayerCost

if TYPE_CHECKING:
    from tinysim.estimate import Estimate

__all__ = ["InterpreterLoop", "find_interpreter_loop", "found_layers", "interpreter_loop"]

_LOOPS = (
    "tflite::MicroInterpreterGraph::InvokeSubgraph(int)",
    "tflite::MicroGraph::InvokeSubgraph(int)",
    "tflite::MicroInterpreter::Invoke()",
)
"""The function that holds the loop, newest TFLM first: an older one has only the last."""
_HOUSEKEEPING = (
    "tflite::MicroAllocator::",
    "tflite::RecordingMicroAllocator::",
    "tflite::MicroProfiler",
    "tflite::ErrorReporter",
)
"""What the loop also calls through pointers (virtual functions), with every operator or when it profiles."""


@dataclass(frozen=True, slots=True)
class InterpreterLoop:
    """The invoke loop: its entry, and the addresses its operators return to."""

    entry: int
    sites: tuple[int, ...]


def _indirect_calls(image: Image, function: Symbol) -> tuple[int, ...]:
    """Addresses after each ``BLX register`` of a function (Armv7-M ARM, encoding T1)."""
    code = image.read(function.address, function.bytes)
    sites = []
    at = 0
    while at + 2 <= len(code):
        halfword = int.from_bytes(code[at : at + 2], "little")
        wide = halfword >> 11 in (0b11101, 0b11110, 0b11111)
        if not wide and halfword & 0xFF87 == 0x4780:
            sites.append(function.address + at + 2)
        at += 4 if wide else 2
    return tuple(sites)


def find_interpreter_loop(image: Image) -> InterpreterLoop | None:
    """The invoke loop of a TFLM linked into a program, or None when there is none with symbols."""
    by_shown = {symbol.shown: symbol for symbol in image.functions if symbol.name.startswith("_ZN6tflite")}
    for name in _LOOPS:
        function = by_shown.get(name)
        if function is not None and (sites := _indirect_calls(image, function)):
            return InterpreterLoop(function.address, sites)
    return None


def interpreter_loop(image: Image) -> InterpreterLoop:
    """The invoke loop. Raises ImageError when there is none."""
    loop = find_interpreter_loop(image)
    if loop is None:
        raise ImageError(
            f"{image.path.name} has no TFLM interpreter with symbols", hint="link without stripping symbols"
        )
    return loop


def found_layers(estimate: Estimate, loop: InterpreterLoop, region: int | None, calls: int) -> tuple[LayerCost, ...]:
    """The operators that ran in a region (None: the whole run), for one of its ``calls``, in order.

    The file does not say what an operator is called: ``op`` and ``name`` are the kernel's function. Operators it has no
    function for, and calls of the loop that run no operator, are left out.
    """
    run = estimate.run
    phases = {p: layer for p in run.phases_of(region) if (layer := run.layer_of(p)) is not None}
    kernels = _kernels(estimate, loop, phases)
    cycles = estimate.costs.by_cause.sum(axis=1)
    instructions = estimate.block_executions @ estimate.block_instructions
    costs: list[LayerCost] = []
    for layer in sorted(set(phases.values())):
        kernel = kernels.get(layer)
        if kernel is None or kernel.startswith(_HOUSEKEEPING):
            continue
        mine = [p for p, number in phases.items() if number == layer]
        if not instructions[mine].sum():
            continue
        costs.append(
            LayerCost(
                index=len(costs),
                name=_plain(kernel),
                op=_short(kernel),
                instructions=round(float(instructions[mine].sum()) / calls),
                cycles=round(float(cycles[mine].sum()) / calls),
                macs=0,
                cycles_per_mac=None,
            )
        )
    return tuple(costs)


def _kernels(estimate: Estimate, loop: InterpreterLoop, phases: dict[int, int]) -> dict[int, str]:
    """The function each layer starts in: the block that ran right after the loop's call."""
    run = estimate.run
    ends = run.block_address.astype(np.int64) + run.block_size
    before, block = run.keys[run.key, -2], run.keys[run.key, -1]
    called = (before >= 0) & np.isin(ends[before], loop.sites) & np.isin(run.phase, list(phases))
    kernels: dict[int, str] = {}
    for row in np.flatnonzero(called):
        function = estimate.image.function_at(int(run.block_address[block[row]]))
        if function is not None:
            kernels.setdefault(phases[int(run.phase[row])], function.shown)
    return kernels


def _plain(kernel: str) -> str:
    """A function without parameters and unnamed namespaces."""
    return kernel.replace("(anonymous namespace)::", "").replace("_GLOBAL__N_1::", "").split("(", 1)[0]


def _short(kernel: str) -> str:
    """A kernel's function without parameters and the namespaces all kernels share."""
    plain = _plain(kernel)
    for prefix in ("tflite::ops::micro::", "tflite::"):
        plain = plain.removeprefix(prefix)
    return plain
