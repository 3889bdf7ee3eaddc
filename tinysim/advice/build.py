"""Rules about how the code was compiled."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tinysim.advice.case import Case, FunctionUse
from tinysim.result import Finding

__all__ = ["unoptimised"]

_LEAST_SHARE = 0.05
_LOCAL = re.compile(r"(ldr|str)\S* .*\[(r7|sp)[,\]]")
"""A variable of the function in memory, where optimised code would keep it in a register."""


def unoptimised(case: Case) -> Iterator[Finding]:
    """Code compiled with -O0 or -Og: said by DWARF, or seen in its frame pointers."""
    by_level: dict[str, list[FunctionUse]] = {}
    for use in case.functions:
        unit = case.units.of(use.symbol)
        if unit is not None and unit.level is not None:
            if unit.level in ("O0", "Og"):
                by_level.setdefault(f"-{unit.level}", []).append(use)
        elif case.units.keeps_frame_pointer(use.symbol):
            by_level.setdefault("", []).append(use)
    for level, uses in by_level.items():
        cycles = sum(use.cycles for use in uses)
        if case.share(cycles) < _LEAST_SHARE:
            continue
        costs = case.instructions(uses[:20])
        locals_cycles = sum(cost.cycles for cost in costs.values() if _LOCAL.match(cost.text))
        names = ", ".join(use.symbol.shown.split("(")[0] for use in uses[:3]) + (
            f" and {len(uses) - 3} more" if len(uses) > 3 else ""
        )
        how = f"compiled with {level}" if level else "with a frame pointer in r7 in every function, as -O0 makes it"
        yield case.finding(
            "unoptimised",
            f"code built for debugging{f' ({level})' if level else ''}",
            f"{100 * case.share(cycles):.0f} % of the cycles are in code {how}: {names}; "
            f"{locals_cycles:,.0f} cycles go to variables in memory",
            "build with -O2 (or -Os); the loads and stores of variables alone are the gain shown",
            cycles=locals_cycles,
        )
