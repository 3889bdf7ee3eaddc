"""Run a program to its end in Renode and price its blocks: what `tinysim.measure` does with the embedded engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tinysim.core import Core, Pipeline
from tinysim.engine.run import MeasuredRegion
from tinysim.engine.unicorn_machine import Ending
from tinysim.errors import FaultError
from tinysim.estimate import Estimate
from tinysim.image import Image
from tinysim.layers import find_interpreter_loop
from tinysim.part import Part
from tinysim.renode.find import find_renode
from tinysim.renode.machine import RenodeMachine
from tinysim.renode.session import RenodeSession

__all__ = ["RenodeRun", "execute"]


@dataclass(frozen=True)
class RenodeRun:
    """A program as it ran in Renode, priced.

    ``stack_top``, ``lowest_sp``: addresses. ``executed_instructions``, ``cyccnt``: Renode's own counters at the end;
    the second is an instruction count times a constant, None where the platform has no DWT. ``uart``: what each UART
    sent.
    """

    estimate: Estimate
    stack_top: int
    lowest_sp: int
    executed_instructions: int
    cyccnt: int | None
    uart: dict[str, str]
    warnings: tuple[str, ...]


def execute(
    image: Image,
    part: Part,
    core: Core,
    regions: Sequence[MeasuredRegion],
    *,
    until: str | None,
    max_instructions: int,
    renode: Path | str | None = None,
    session: RenodeSession | None = None,
) -> RenodeRun:
    """Run a program from reset to its end, or to the symbol ``until``, and price it on ideal memory.

    ``renode``: where Renode is, when it is not found by itself; ``session``: one that runs already. Raises EngineError
    for trouble with Renode, FaultError for a program that faults, runs away, or never enters what is to be measured.
    """
    own = session is None
    session = session or RenodeSession(find_renode(renode))
    try:
        return _execute(image, part, core, regions, until, max_instructions, session)
    finally:
        if own:
            session.close()


def _execute(
    image: Image,
    part: Part,
    core: Core,
    regions: Sequence[MeasuredRegion],
    until: str | None,
    max_instructions: int,
    session: RenodeSession,
) -> RenodeRun:
    exits = [image.symbol(until).address] if until else []
    exits += [
        s.address for name in ("_exit", "abort") if (s := image.find(name)) is not None and s.function and not until
    ]
    loop = find_interpreter_loop(image)
    machine = RenodeMachine(
        image,
        part,
        depth=core.context_blocks,
        predict=core.pipeline is Pipeline.DUAL_ISSUE,
        regions=regions,
        layers_in=loop.entry if loop else None,
        layer_sites=loop.sites if loop else (),
        budget=max_instructions,
        session=session,
    )
    _paint(machine)
    ending = machine.run_until_end(exits)
    where = image.where(machine.pc)
    run = machine.take()
    entered = {number for number, calls in enumerate(run.calls) if calls}
    warnings = machine.warnings()
    if ending is Ending.BUDGET:
        if not regions or len(entered) < len(regions):
            raise machine.run_away()
        warnings = (
            *warnings,
            f"stopped after {max_instructions:,} instructions; the program had not ended (see --until)",
        )
    elif until and ending is not Ending.ADDRESS:
        raise FaultError(
            f"{until} was never reached; the program ended at {where}", hint="check the symbol given to --until"
        )
    for number, wanted in enumerate(regions):
        if number not in entered:
            raise FaultError(
                f"{wanted.name} was never entered; the program ended at {where}", hint="check that the program calls it"
            )
    counters = machine.counters()
    return RenodeRun(
        estimate=Estimate.of(run, image, core, machine.read),
        stack_top=machine.initial_sp,
        lowest_sp=min(machine.lowest_touched(), run.lowest_sp() or machine.initial_sp),
        executed_instructions=counters.executed_instructions,
        cyccnt=counters.cyccnt,
        uart=machine.uart_text(),
        warnings=warnings,
    )


def _paint(machine: RenodeMachine) -> None:
    """Fill the free stack with a pattern: from the end of the data below it, or of its memory, up to its top."""
    top = machine.initial_sp
    below = [s.address + s.bytes for s in machine.image.sections if s.writable and s.address < top]
    region = machine.part.region_at(top - 4)
    machine.paint_stack(max([*below, region.base if region else 0]))
