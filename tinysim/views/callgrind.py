"""Profiles in the callgrind format, for KCachegrind, QCachegrind and callgrind_annotate.

Format: https://valgrind.org/docs/manual/cl-format.html. Costs are cycles and instructions; without source lines all
is at line 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tinysim.lines import LineCost
from tinysim.profile import called_from
from tinysim.result import Profile

__all__ = ["to_callgrind"]


def to_callgrind(
    profile: Profile,
    command: str,
    lines: Mapping[str, tuple[LineCost, ...]] | None = None,
    summary: tuple[int, int] | None = None,
) -> str:
    """``lines``: by function, the cost of its source lines; ``summary``: (cycles, instructions) of the whole,
    default: the profile's sum.
    """
    lines = lines or {}
    total = summary or (sum(f.cycles for f in profile.functions), sum(f.instructions for f in profile.functions))
    out = [
        "# callgrind format",
        "version: 1",
        "creator: tinysim",
        f"cmd: {command}",
        "positions: line",
        "events: Cycles Instructions",
        "",
    ]
    edges: dict[str, list[tuple[str, int, int, int]]] = {}
    for caller, callee, calls, cycles, instructions in called_from(profile):
        edges.setdefault(caller, []).append((callee, calls, cycles, instructions))
    for function in profile.functions:
        home, first = _home(lines.get(function.name, ()))
        out += [f"fl={home}", f"fn={function.name}"]
        out += _self_costs(function.cycles, function.instructions, lines.get(function.name, ()), home)
        for callee, calls, cycles, instructions in edges.get(function.name, []):
            callee_home, callee_line = _home(lines.get(callee, ()))
            out += [
                f"cfl={callee_home}",
                f"cfn={callee}",
                f"calls={calls} {callee_line}",
                f"{first} {cycles} {instructions}",
            ]
        out.append("")
    out.append(f"totals: {total[0]} {total[1]}")
    return "\n".join(out) + "\n"


def _home(lines: Iterable[LineCost]) -> tuple[str, int]:
    """The file that most lines of a function are in, and the first of them."""
    files: dict[str, list[int]] = {}
    for cost in lines:
        files.setdefault(cost.file, []).append(cost.line)
    if not files:
        return "???", 0
    file = max(files, key=lambda name: (len(files[name]), name))
    return file, min(files[file])


def _self_costs(cycles: int, instructions: int, lines: tuple[LineCost, ...], home: str) -> list[str]:
    """Cost lines of one function; what no source line accounts for is at line 0."""
    out, place = [], home
    for cost in lines:
        if cost.file != place:
            out.append(f"{'fe' if cost.file == home else 'fi'}={cost.file}")
            place = cost.file
        out.append(f"{cost.line} {cost.cycles} {cost.instructions}")
        cycles -= cost.cycles
        instructions -= cost.instructions
    if place != home:
        out.append(f"fe={home}")
    if cycles or instructions or not lines:
        out.append(f"0 {max(cycles, 0)} {max(instructions, 0)}")
    return out
