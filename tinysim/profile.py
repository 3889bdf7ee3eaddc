"""Profile: who called whom, how often and at what cost; and the cost of every single call of a region.

Both come from the phases of a Run: a phase is a chain of open functions, and every cycle is counted in exactly one
phase.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from tinysim.engine.interrupts import exception_name
from tinysim.engine.run import CALL_MARKER, EXCEPTION_MARKER, FUNCTION_MARKER, LAYER_MARKER, TASK_MARKER
from tinysim.errors import InputError
from tinysim.estimate import Estimate, whole
from tinysim.result import CallStatistics, FunctionProfile, Profile, StackCost

__all__ = ["call_statistics", "called_from", "profile_of"]


@dataclass(slots=True)
class _Sum:
    calls: int = 0
    instructions: float = 0.0
    cycles: float = 0.0


def _stack(estimate: Estimate, phase: int, region: int | None) -> tuple[str, ...]:
    """Names of the functions open in a phase inside the region's outermost entry, outermost first; exceptions and
    tasks in brackets.
    """
    chain = list(estimate.run.chain(phase))
    if region is not None:
        chain = chain[: len(chain) - 1 - chain[::-1].index(region)]
    return tuple(_marker_name(estimate, marker) for marker in reversed(chain) if _has_name(marker))


def _has_name(marker: int) -> bool:
    return EXCEPTION_MARKER <= marker < LAYER_MARKER


def _marker_name(estimate: Estimate, marker: int) -> str:
    if marker >= FUNCTION_MARKER:
        return _name(estimate, estimate.run.functions[marker - FUNCTION_MARKER])
    if marker >= TASK_MARKER:
        return f"[task {marker - TASK_MARKER}]"
    return f"[{exception_name(marker - EXCEPTION_MARKER)}]"


def _name(estimate: Estimate, address: int) -> str:
    function = estimate.image.function_at(address)
    return function.shown if function else f"{address:#010x}"


def _by_stack(estimate: Estimate, region: int | None) -> Mapping[tuple[str, ...], _Sum]:
    run = estimate.run
    cycles, executions = estimate.costs.by_block, estimate.block_executions
    block_names = [_name(estimate, int(address)) for address in run.block_address]
    sums: dict[tuple[str, ...], _Sum] = {}
    for number in run.phases_of(region):
        phase = run.phases[number]
        stack = _stack(estimate, number, region)
        if _has_name(phase.marker) and phase.entries:
            sums.setdefault(stack, _Sum()).calls += phase.entries
        for block in np.flatnonzero((executions[number] != 0) | (cycles[number] != 0)):
            own = block_names[block]
            # code of another function that was not called: the entry of the program, or a jump into the middle of it
            place = sums.setdefault(stack if stack and stack[-1] == own else (*stack, own), _Sum())
            place.instructions += float(executions[number, block] * estimate.block_instructions[block])
            place.cycles += float(cycles[number, block])
    return sums


def profile_of(estimate: Estimate, region: int | None = None) -> Profile:
    """Flat profile and call tree of a region (None: the whole run). Cycles of all stacks add up to the region's.

    Raises InputError when the run did not follow calls.
    """
    if not estimate.run.functions:
        raise InputError(
            "this run did not follow calls", hint="ask for the profile when the program is run (--profile)"
        )
    sums = _by_stack(estimate, region)
    keys = {str(number): stack for number, stack in enumerate(sums)}
    cycles = whole({key: sums[stack].cycles for key, stack in keys.items()})
    stacks = tuple(
        StackCost(stack, sums[stack].calls, round(sums[stack].instructions), cycles[key]) for key, stack in keys.items()
    )
    return Profile(_flat(stacks), tuple(sorted(stacks, key=lambda s: s.stack)))


def _flat(stacks: tuple[StackCost, ...]) -> tuple[FunctionProfile, ...]:
    names = dict.fromkeys(name for cost in stacks for name in cost.stack)
    calls, selfs, inclusive, instructions, all_instructions = (dict.fromkeys(names, 0) for _ in range(5))
    for cost in stacks:
        leaf = cost.stack[-1]
        calls[leaf] += cost.calls
        selfs[leaf] += cost.cycles
        instructions[leaf] += cost.instructions
        for name in set(cost.stack):
            inclusive[name] += cost.cycles
            all_instructions[name] += cost.instructions
    ranked = sorted(names, key=lambda name: (-inclusive[name], name))
    return tuple(
        FunctionProfile(name, calls[name], instructions[name], selfs[name], all_instructions[name], inclusive[name])
        for name in ranked
    )


def called_from(profile: Profile) -> Iterator[tuple[str, str, int, int, int]]:
    """Each edge of the call graph: (caller, callee, calls, inclusive cycles, inclusive instructions).

    A stack that holds an edge several times (recursion) counts once for it.
    """
    edges: dict[tuple[str, str], list[int]] = {}
    for cost in profile.stacks:
        for edge in set(pairwise(cost.stack)):
            total = edges.setdefault(edge, [0, 0, 0])
            total[1] += cost.cycles
            total[2] += cost.instructions
        if len(cost.stack) > 1:
            edges[cost.stack[-2], cost.stack[-1]][0] += cost.calls
    for (caller, callee), (calls, cycles, instructions) in sorted(edges.items()):
        yield caller, callee, calls, cycles, instructions


def call_statistics(estimate: Estimate, region: int) -> CallStatistics:
    """Least, mean and greatest cycles of the calls of a region, with and without what they called.

    Every call has a phase of its own up to the number the engine was asked to tell apart; where the program made
    more, only the mean is known, and without recursion only: the rest is None.
    """
    run = estimate.run
    calls = run.calls[region]
    phase_cycles = estimate.costs.by_cause.sum(axis=1)
    inclusive: dict[int, float] = {}
    selfs: dict[int, float] = {}
    wanted = run.regions[region]
    own = estimate.image.function_at(wanted.start) if wanted.stop is None else None
    addresses = run.block_address
    mine = (
        (addresses >= own.address) & (addresses < own.address + max(own.bytes, 2))
        if own
        else np.ones(len(addresses), np.bool_)
    )
    for number in run.phases_of(region):
        chain = list(run.chain(number))
        opened = [m for m, outside in pairwise(chain) if m >= CALL_MARKER and outside == region]
        for marker in opened:
            inclusive[marker] = inclusive.get(marker, 0.0) + float(phase_cycles[number])
        if opened:
            selfs[opened[0]] = selfs.get(opened[0], 0.0) + float(estimate.costs.by_block[number][mine].sum())
    outermost = run.outermost_calls[region] if run.outermost_calls else calls
    apart = len(inclusive) == calls and calls > 0
    total = float(phase_cycles[run.phases_of(region)].sum())
    mean = sum(inclusive.values()) / calls if apart else total / calls if calls and outermost == calls else None
    self_total = float(estimate.costs.by_block[run.phases_of(region)][:, mine].sum())
    return CallStatistics(
        calls=calls,
        outermost_calls=outermost,
        told_apart=len(inclusive),
        min_cycles=round(min(inclusive.values())) if apart else None,
        mean_cycles=round(mean, 1) if mean is not None else None,
        max_cycles=round(max(inclusive.values())) if apart else None,
        self_cycles=round(self_total) if own else None,
        self_min_cycles=round(min(selfs.values())) if apart and own else None,
        self_max_cycles=round(max(selfs.values())) if apart and own else None,
    )
