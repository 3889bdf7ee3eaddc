"""Who called whom, for the terminal: the functions of a region with what they call, the call tree, and single calls."""

from __future__ import annotations

from dataclasses import dataclass, field

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.tree import Tree

from tinysim.result import CallStatistics, Profile, RegionCost
from tinysim.views.table import short_name

__all__ = ["show_calls", "show_profile"]


def show_calls(console: Console, region: RegionCost) -> None:
    """The least, mean and greatest of a region's calls, where it was called more than once."""
    calls = region.per_call
    if calls is None or calls.calls < 2:
        return
    nested = calls.calls - calls.outermost_calls
    console.print(f"{calls.calls:,} calls{f', {nested:,} of them recursive' if nested else ''}: {_range(calls)}")


def _range(calls: CallStatistics) -> str:
    mean = f"mean {calls.mean_cycles:,.1f}" if calls.mean_cycles is not None else "mean not known"
    if calls.min_cycles is None or calls.max_cycles is None:
        few = f"only {calls.told_apart:,} were told apart, so no least and greatest"
        return f"{mean} cycles; {few} (raise --calls, leave --profile out, or measure fewer functions)"
    own = (
        f"; its own code {calls.self_min_cycles:,} to {calls.self_max_cycles:,}"
        if calls.self_min_cycles is not None
        else ""
    )
    return f"min {calls.min_cycles:,}, {mean}, max {calls.max_cycles:,} cycles{own}"


def show_profile(console: Console, region: RegionCost, functions: int = 20, least_share: float = 0.01) -> None:
    """The flat profile and the call tree; branches below ``least_share`` of the cycles are summed up."""
    if region.profile is None:
        return
    table = Table(header_style="bold")
    for column in ("function", "calls", "inclusive cycles", "share", "self cycles", "share", "instructions"):
        table.add_column(column, justify="left" if column == "function" else "right")
    total = region.cycles
    for entry in region.profile.functions[:functions]:
        table.add_row(
            escape(short_name(entry.name)),
            f"{entry.calls:,}",
            f"{entry.inclusive_cycles:,}",
            _share(entry.inclusive_cycles, total),
            f"{entry.cycles:,}",
            _share(entry.cycles, total),
            f"{entry.instructions:,}",
        )
    if len(region.profile.functions) > functions:
        table.add_row(f"{len(region.profile.functions) - functions} more", "", "", "", "", "", "")
    console.print(table)
    console.print(_tree(region.profile, short_name(region.name), total, least_share))


def _share(cycles: int, total: int) -> str:
    return f"{100 * cycles / total:.1f} %" if total else "-"


@dataclass(slots=True)
class _Node:
    calls: int = 0
    cycles: int = 0
    callees: dict[str, _Node] = field(default_factory=dict)


def _tree(profile: Profile, name: str, total: int, least_share: float) -> Tree:
    root = _Node()
    for cost in profile.stacks:
        node = root
        node.cycles += cost.cycles
        for function in cost.stack:
            node = node.callees.setdefault(function, _Node())
            node.cycles += cost.cycles
        node.calls += cost.calls
    tree = Tree(f"[bold]{escape(name)}[/] {root.cycles:,}")
    _grow(tree, root, total, least_share)
    return tree


def _grow(tree: Tree, node: _Node, total: int, least_share: float) -> None:
    small = _Node()
    for name, callee in sorted(node.callees.items(), key=lambda item: (-item[1].cycles, item[0])):
        if callee.cycles < least_share * total:
            small.calls += 1
            small.cycles += callee.cycles
            continue
        times = f" x{callee.calls:,}" if callee.calls > 1 else ""
        label = f"{callee.cycles:,} ({_share(callee.cycles, total)}) {escape(short_name(name))}{times}"
        _grow(tree.add(label), callee, total, least_share)
    if small.calls:
        tree.add(f"[dim]{small.cycles:,} in {small.calls} more[/]")
