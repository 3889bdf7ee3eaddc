"""Scenario: what a program is given and asked besides its code: buffers, UART bytes, a direct call, values to read,
stubs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tinysim.calls import (
    Call,
    Reading,
    WrittenInput,
    parse_call,
    parse_input,
    parse_reading,
    parse_stubs,
    pass_arguments,
)
from tinysim.engine.run import Run
from tinysim.engine.stacks import StackUse, uses
from tinysim.engine.unicorn_machine import Machine
from tinysim.errors import InputError
from tinysim.image import Image

__all__ = ["Observed", "Scenario", "observe", "prepare", "read_scenario"]

_STACK_ALIGNMENT = 8
MAIN = "main"


@dataclass(frozen=True, slots=True)
class Scenario:
    """``inputs`` are written, and ``call`` is made, when ``main`` is entered: start-up code has set memory and FPU up
    by then.
    """

    inputs: tuple[WrittenInput, ...] = ()
    uart: bytes = b""
    call: Call | None = None
    readings: tuple[Reading, ...] = ()
    stubs: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Observed:
    """What the program said and left behind. ``values``: by what was asked for; ``output``: text by channel (UART,
    semihosting, itm).

    ``returned``: R0 (or S0, for a call with a float result use ``returned_float``) after a direct call.
    """

    values: dict[str, int | float | list[int | float]] = field(default_factory=dict)
    output: dict[str, str] = field(default_factory=dict)
    returned: int | None = None
    returned_float: float | None = None
    exit_code: int | None = None
    heap_peak_bytes: int | None = None
    stacks: tuple[StackUse, ...] = ()


def read_scenario(
    image: Image,
    *,
    inputs: Sequence[str] = (),
    uart: str | Path | bytes | None = None,
    call: str | None = None,
    reads: Sequence[str] = (),
    stubs: Sequence[str] = (),
) -> Scenario:
    """A scenario as a user writes it. ``uart``: a file, or the bytes themselves. Raises InputError, ImageError."""
    given = uart if isinstance(uart, bytes) else b""
    if isinstance(uart, str | Path):
        try:
            given = Path(uart).read_bytes()
        except OSError as error:
            raise InputError(f"cannot read {uart!s}: {error.strerror}", hint="check the path") from error
    return Scenario(
        tuple(parse_input(text, image) for text in inputs), given, parse_call(call, image) if call else None,
        tuple(parse_reading(text, image) for text in reads), parse_stubs(stubs),
    )  # fmt: skip


def prepare(machine: Machine, scenario: Scenario, *, hard_float: bool) -> int | None:
    """Run up to ``main`` if the scenario needs it, write the inputs, set up the call; the address the call returns
    to, or None.

    Raises FaultError when the program does not get to ``main``.
    """
    if not scenario.inputs and scenario.call is None:
        return None
    main = machine.image.find(MAIN)
    if main is not None and main.function:
        machine.run_to(main.address)
    for written in scenario.inputs:
        machine.write(written.address, written.data)
    if scenario.call is None:
        return None
    back = machine.pc
    passed = pass_arguments(scenario.call.arguments, hard_float=hard_float)
    for name, value in passed.registers.items():
        machine.set_register(name, value)
    stack = b"".join(word.to_bytes(4, "little") for word in passed.stack)
    sp = (machine.register("sp") - len(stack)) // _STACK_ALIGNMENT * _STACK_ALIGNMENT
    if stack:
        machine.write(sp, stack)
    machine.set_register("sp", sp)
    machine.set_register("lr", back | 1)
    machine.set_register("pc", scenario.call.function.address)
    return back


def observe(machine: Machine, scenario: Scenario, run: Run) -> Observed:
    """What is left to see after a run."""
    import struct

    readings = {}
    for reading in scenario.readings:
        shape = "" if reading.count is None else f"[{reading.count}]"
        readings[f"{reading.name}:{reading.kind}{shape}"] = reading.values(machine.read(reading.address, reading.size))
    called = scenario.call is not None
    return Observed(
        readings,
        {channel: bytes(text).decode(errors="replace") for channel, text in machine.output.items()},
        machine.register("r0") if called else None,
        struct.unpack("<f", machine.register("s0").to_bytes(4, "little"))[0] if called else None,
        machine.exit_code,
        machine.heap.high_water_bytes(),
        uses(run, machine.image, machine.part, machine.initial_sp),
    )
