"""Measure: any ELF on a part, by function, by stretch, or as a whole."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tinysim.attributes import check_core
from tinysim.clock import StreamClock
from tinysim.core import Core, Pipeline, load_core
from tinysim.engine.run import MeasuredRegion
from tinysim.engine.stacks import floor_of
from tinysim.engine.unicorn_machine import DEFAULT_BUDGET, Ending, Machine
from tinysim.errors import FaultError, InputError
from tinysim.estimate import Estimate, stated_error
from tinysim.footprint import footprint
from tinysim.image import Image, load_image
from tinysim.layers import InterpreterLoop, find_interpreter_loop, found_layers
from tinysim.memory.pricers import IDEAL_MEMORY, MemoryOptions, MemoryPricers
from tinysim.part import Part, load_part
from tinysim.profile import call_statistics, profile_of
from tinysim.result import ErrorBound, FirmwareInfo, RegionCost, Result
from tinysim.scenario import Observed, Scenario, observe, prepare, read_scenario
from tinysim.sizing import Progress
from tinysim.units import parse_hz

if TYPE_CHECKING:
    from tinysim.timing.explain import ExplainedBlock

__all__ = ["Measured", "explain_function", "find_regions", "measure", "run"]

CALLS_APART = 256
"""So many calls of the measured regions are told apart, for the least and the greatest of them."""
PROGRAM = "program"
"""The region that stands for all that ran, when none was asked for."""


@dataclasses.dataclass(frozen=True)
class Measured:
    """A program as it ran, priced: the Estimate behind a Result, for views that need more than the Result holds."""

    estimate: Estimate
    image: Image
    part: Part
    core: Core
    stack_top: int
    lowest_sp: int
    warnings: tuple[str, ...]
    wait_states: int | None
    error: ErrorBound
    loop: InterpreterLoop | None = None
    read: Callable[[int, int], bytes] | None = None
    observed: Observed = dataclasses.field(default_factory=Observed)


def find_regions(image: Image, functions: Sequence[str], between: Sequence[str]) -> tuple[MeasuredRegion, ...]:
    """The regions a user names: functions, and stretches written ``A..B``. Raises ImageError, InputError."""
    regions = []
    for name in functions:
        symbol = image.symbol(name)
        regions.append(MeasuredRegion(symbol.shown, symbol.address))
    for text in between:
        start, dots, stop = text.partition("..")
        if not dots or not start or not stop:
            raise InputError(f"{text!r} is not a stretch", hint="write it like --between bench_start..bench_stop")
        regions.append(MeasuredRegion(text, image.symbol(start).address, image.symbol(stop).address))
    return tuple({(region.start, region.stop): region for region in reversed(regions)}.values())[::-1]


def execute(
    image: Image,
    part: Part,
    core: Core,
    regions: Sequence[MeasuredRegion],
    pricers: MemoryPricers,
    clock_hz: int,
    *,
    until: str | None,
    max_instructions: int,
    profile: bool = False,
    calls_apart: int = CALLS_APART,
    scenario: Scenario | None = None,
    hard_float: bool = True,
) -> Measured:
    """Run a program from reset and price it."""
    scenario = scenario or Scenario()
    loop = find_interpreter_loop(image)
    machine = Machine(
        image,
        part,
        depth=core.context_blocks,
        predict=core.pipeline is Pipeline.DUAL_ISSUE,
        regions=regions,
        layers_in=loop.entry if loop else None,
        layer_sites=loop.sites if loop else (),
        layer_count=1 << 16 if loop else 0,
        budget=max_instructions,
        record=pricers.feed,
        follow_calls=profile,
        calls_apart=calls_apart if regions else 0,
        clock=StreamClock(core, lambda: pricers.cycles_so_far(clock_hz)),
        clock_hz=clock_hz,
        stubs=scenario.stubs,
        uart_input={"": scenario.uart},
    )
    pricers.start(machine)
    machine.system.on_control_write = lambda: _set_up_memory(machine, pricers)
    machine.paint_stack(floor_of(image, part, machine.initial_sp).address)
    back = prepare(machine, scenario, hard_float=hard_float)
    exits = [image.symbol(until).address] if until else []
    exits += [
        s.address for name in ("_exit", "abort") if (s := image.find(name)) is not None and s.function and not until
    ]
    exits += [back] if back is not None else []
    ending = machine.run_until_end(exits)
    warnings: tuple[str, ...] = ()
    run = machine.take()
    entered = [number for number, calls in enumerate(run.calls) if calls]
    if ending is Ending.BUDGET:
        if not regions or len(entered) < len(regions):
            raise machine.run_away()
        warnings = (
            f"stopped after {max_instructions:,} halfwords of code; "
            "the program had not ended (see --until, --max-instructions)",
        )
    for number in machine.open_regions():
        where = image.where(machine.pc)
        warnings += (
            f"{regions[number].name} was not left when the program ended at {where}: its last call counts up to there",
        )
    if until and ending is not Ending.ADDRESS:
        raise FaultError(
            f"{until} was never reached; the program ended at {image.where(machine.pc)}",
            hint="check the symbol given to --until",
        )
    for number, wanted in enumerate(regions):
        if number not in entered:
            raise FaultError(
                f"{wanted.name} was never entered; the program ended at {image.where(machine.pc)}",
                hint="check that the program calls it",
            )
    lowest = min(machine.lowest_touched(), run.lowest_sp() or machine.initial_sp)
    estimate = Estimate.of_stream(run, image, pricers.finish()[pricers.number(clock_hz)], core)
    return Measured(
        estimate,
        image,
        part,
        core,
        machine.initial_sp,
        lowest,
        (*pricers.warnings(clock_hz), *warnings),
        pricers.wait_states(clock_hz),
        stated_error(estimate, pricers, core, 0 if regions else None, machine.read),
        loop,
        machine.read,
        observe(machine, scenario, run),
    )


def _set_up_memory(machine: Machine, pricers: MemoryPricers) -> None:
    """The program wrote a control register of flash, caches or the MPU: what ran so far is priced as it was, the rest
    as it now is.
    """
    machine.flush()
    pricers.firmware_wrote(machine.system.register_writes)


def run(
    firmware: str | Path,
    part: str | Path | Part,
    *,
    functions: Sequence[str] = (),
    between: Sequence[str] = (),
    until: str | None = None,
    clock: str | int | None = None,
    memory: MemoryOptions | None = None,
    core_file: str | Path | None = None,
    max_instructions: int = DEFAULT_BUDGET,
    profile: bool = False,
    calls_apart: int = CALLS_APART,
    advice: bool = False,
    engine: str = "unicorn",
    renode: str | Path | None = None,
    inputs: Sequence[str] = (),
    uart: str | Path | bytes | None = None,
    call: str | None = None,
    stubs: Sequence[str] = (),
    progress: Progress | None = None,
) -> Result:
    """Run an ELF file on a part and price what was asked for; without regions, all that ran.

    ``functions``: names or addresses; ``between``: stretches ``"A..B"``; ``until``: where the program counts as
    finished (default: its end: a call of ``_exit``, a loop that does nothing, a semihosting exit). ``profile``: follow
    all calls, for the call tree of each region. ``calls_apart``: so many calls of the regions are priced one by one.
    ``advice``: look for what makes the main region slower than it must be (`tinysim.advice`). ``inputs``:
    ``"SYMBOL=FILE"``, written when ``main`` is entered; ``uart``: bytes (or their file) that a UART receives; ``call``:
    ``"function(1, 2.5, &symbol)"``, called instead of going on in ``main``, and measured when no region is named;
    ``stubs``: ``"ADDRESS=VALUE"`` for registers nothing describes. Raises ImageError, PartError (your input),
    FaultError, UnpricedError (could not measure).
    """
    return measure(
        firmware,
        part,
        functions=functions,
        between=between,
        until=until,
        clock=clock,
        memory=memory,
        core_file=core_file,
        max_instructions=max_instructions,
        profile=profile,
        calls_apart=calls_apart,
        advice=advice,
        engine=engine,
        renode=renode,
        inputs=inputs,
        uart=uart,
        call=call,
        stubs=stubs,
        progress=progress,
    )[0]


def measure(
    firmware: str | Path,
    part: str | Path | Part,
    *,
    functions: Sequence[str] = (),
    between: Sequence[str] = (),
    until: str | None = None,
    clock: str | int | None = None,
    memory: MemoryOptions | None = None,
    core_file: str | Path | None = None,
    max_instructions: int = DEFAULT_BUDGET,
    profile: bool = False,
    calls_apart: int = CALLS_APART,
    advice: bool = False,
    engine: str = "unicorn",
    renode: str | Path | None = None,
    inputs: Sequence[str] = (),
    uart: str | Path | bytes | None = None,
    call: str | None = None,
    reads: Sequence[str] = (),
    stubs: Sequence[str] = (),
    progress: Progress | None = None,
) -> tuple[Result, Measured]:
    """The same as `run`, with what the Result was made from. ``reads``: ``"SYMBOL:TYPE[COUNT]"``, values to read at the
    end.
    """
    target = part if isinstance(part, Part) else load_part(part)
    clock_hz = (
        target.check_clock(parse_hz(clock) if isinstance(clock, str) else clock)
        if clock is not None
        else target.default_clock_hz
    )
    image = load_image(firmware)
    core = load_core(core_file or target.core).with_fpu(target.fpu)
    attributes = check_core(image.path, target)
    scenario = read_scenario(image, inputs=inputs, uart=uart, call=call, reads=reads, stubs=stubs)
    if engine != "unicorn" and scenario != Scenario():
        raise InputError("inputs, calls, readings and stubs are for the embedded engine", hint="leave out --engine")
    if scenario.call is not None and not functions and not between:
        functions = [hex(scenario.call.function.address)]
    regions = find_regions(image, functions, between)
    if progress:
        progress(f"running {image.path.name} on {target.title}", 0, 0)
    if engine == "renode":
        return _in_renode(
            image, target, core, regions, clock_hz, until, max_instructions, renode, unseen=(profile, advice)
        )
    if engine != "unicorn":
        raise InputError(f"no engine {engine!r}", hint="use unicorn or renode")
    pricers = MemoryPricers(target, core, [clock_hz], memory or MemoryOptions())
    measured = execute(
        image,
        target,
        core,
        regions,
        pricers,
        clock_hz,
        until=until,
        max_instructions=max_instructions,
        profile=profile,
        calls_apart=calls_apart,
        scenario=scenario,
        hard_float=bool(attributes.hard_float),
    )
    result = _result(measured, regions, clock_hz)
    if advice:

        def again(options: MemoryOptions) -> int:
            others = MemoryPricers(target, core, [clock_hz], options)
            rerun = execute(
                image,
                target,
                core,
                regions,
                others,
                clock_hz,
                until=until,
                max_instructions=max_instructions,
                calls_apart=0,
                scenario=scenario,
                hard_float=bool(attributes.hard_float),
            )
            return rerun.estimate.region(0 if regions else None, clock_hz).cycles

        result = _advised(result, measured, again)
    return result, measured


def _in_renode(
    image: Image,
    part: Part,
    core: Core,
    regions: Sequence[MeasuredRegion],
    clock_hz: int,
    until: str | None,
    max_instructions: int,
    renode: str | Path | None,
    *,
    unseen: tuple[bool, bool],
) -> tuple[Result, Measured]:
    """The same program in Renode, priced as ours is. Raises EngineError for trouble with Renode."""
    from tinysim.renode.execute import execute as execute_in_renode

    if any(unseen):
        raise InputError("Renode does not tell calls apart", hint="use --profile and --advice with --engine unicorn")
    ran = execute_in_renode(image, part, core, regions, until=until, max_instructions=max_instructions, renode=renode)
    counted = f"Renode's own counters: {ran.executed_instructions:,} instructions executed" + (
        "" if ran.cyccnt is None else f", CYCCNT {ran.cyccnt:,} (instructions times a constant, not cycles)"
    )
    unseen_memory = "Renode shows no data accesses: wait states, caches and buses are not in this estimate"
    measured = Measured(
        ran.estimate,
        image,
        part,
        core,
        ran.stack_top,
        ran.lowest_sp,
        (*ran.warnings, IDEAL_MEMORY, unseen_memory, counted),
        None,
        stated_error(ran.estimate, None, core, 0 if regions else None, image.read),
    )
    return dataclasses.replace(_result(measured, regions, clock_hz), engine="renode"), measured


def _advised(result: Result, measured: Measured, again: Callable[[MemoryOptions], int]) -> Result:
    """The result with findings about its main region, each also a warning."""
    from tinysim.advice import Case, advise

    main = result.regions[0]
    outermost = main.per_call.outermost_calls if main.per_call else main.calls
    case = Case(
        measured.estimate,
        main,
        0 if measured.estimate.run.regions else None,
        measured.image,
        measured.part,
        measured.core,
        result.clock_hz,
        result.layers,
        max(outermost, 1),
        again,
        measured.read,
    )
    findings = advise(case)
    return dataclasses.replace(
        result, findings=findings, warnings=(*result.warnings, *(f"{f.title}: {f.evidence}" for f in findings))
    )


def _result(measured: Measured, regions: Sequence[MeasuredRegion], clock_hz: int) -> Result:
    estimate, image, part = measured.estimate, measured.image, measured.part
    top = measured.stack_top
    profiled = bool(estimate.run.functions)
    costs: tuple[RegionCost, ...] = tuple(
        dataclasses.replace(
            estimate.region(number, clock_hz, name=region.name, stack_top=top),
            per_call=call_statistics(estimate, number),
            profile=profile_of(estimate, number) if profiled else None,
        )
        for number, region in enumerate(regions)
    ) or (
        dataclasses.replace(
            estimate.region(None, clock_hz, name=PROGRAM, stack_top=top),
            stack_peak_bytes=top - measured.lowest_sp,
            profile=profile_of(estimate) if profiled else None,
        ),
    )
    main = costs[0]
    calls = max(main.per_call.outermost_calls if main.per_call else main.calls, 1)
    return Result(
        part=part.name,
        core=part.core,
        clock_hz=clock_hz,
        engine="unicorn",
        firmware=FirmwareInfo(path=str(image.path), sha256=image.sha256),
        regions=costs,
        instructions=round(main.instructions / calls),
        cycles=round(main.cycles / calls),
        latency_s=main.latency_s / calls,
        cycles_low=None if main.cycles_low is None else round(main.cycles_low / calls),
        cycles_high=None if main.cycles_high is None else round(main.cycles_high / calls),
        memory=footprint(image, part, stack_peak_bytes=top - measured.lowest_sp),
        error=measured.error,
        wait_states=measured.wait_states,
        layers=found_layers(estimate, measured.loop, 0 if regions else None, calls) if measured.loop else (),
        warnings=measured.warnings,
    )


def explain_function(measured: Measured, name: str) -> list[ExplainedBlock]:
    """What each instruction of a function cost and why, on memory without wait states; dearest blocks first.

    Raises ImageError for an unknown name, FaultError when the function did not run.
    """
    from tinysim.timing.explain import explain

    symbol = measured.image.symbol(name)
    following = next((f.address for f in measured.image.functions if f.address > symbol.address), symbol.address + 2)
    end = symbol.address + symbol.bytes if symbol.bytes else following
    blocks = explain(measured.estimate.run.counts(), measured.image.read, measured.core, [(symbol.address, end)])
    if not blocks:
        raise FaultError(
            f"{symbol.shown} did not run", hint="`tinysim run` without --explain lists the functions that did"
        )
    return blocks
