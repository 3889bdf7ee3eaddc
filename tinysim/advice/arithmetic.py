"""Rules about arithmetic: floating point in software, doubles, printf of floats, divisions, unaligned data."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from tinysim.advice.case import Case, FunctionUse
from tinysim.result import Finding
from tinysim.timing.causes import Cause

__all__ = ["divisions", "double_arithmetic", "printf_of_floats", "soft_float", "unaligned_accesses"]

# run-time ABI for the Arm architecture (IHI 0043), and the names GCC gives the same functions
_SINGLE = re.compile(
    r"__aeabi_(f(add|sub|rsub|mul|div|neg)|cfr?cmp\w+|cfcmp\w+|fcmp\w+|[uil]+2f|f2[uil]+z)"
    r"|__(add|sub|mul|div|neg)sf[23]|__(eq|ne|lt|le|gt|ge|cmp|unord)sf2|__float\w*sf|__fix\w*sf\w+"
)
_DOUBLE = re.compile(
    r"__aeabi_(d(add|sub|rsub|mul|div|neg)|cdr?cmp\w+|cdcmp\w+|dcmp\w+|[uil]+2d|d2[uil]+z|f2d|d2f)"
    r"|__(add|sub|mul|div|neg)df[23]|__(eq|ne|lt|le|gt|ge|cmp|unord)df2|__float\w*df|__fix\w*df\w+|__extendsfdf2|__truncdfsf2"
)
_PRINTF = (
    "_printf_float",
    "_dtoa_r",
    "__cvt",
    "_svfprintf_r",
    "_vfprintf_r",
    "__sprint_r",
    "__multadd",
    "_Balloc",
    "__pow5mult",
    "__mprec_tens",
)
_FLOAT_FORMATTERS = ("_printf_float", "_dtoa_r")
_LEAST_SHARE = 0.01
_LEAST_CALLS_SHARE = 0.005
"""Of the cycles, spent in library arithmetic: less is set-up code."""


def _matching(case: Case, pattern: re.Pattern[str]) -> list[FunctionUse]:
    return [use for use in case.functions if pattern.fullmatch(use.symbol.name)]


def _listed(uses: Sequence[FunctionUse], most: int = 4) -> str:
    def times(use: FunctionUse) -> str:
        return f" {use.entries:,} times" if use.entries else ""  # entered in its middle, by a function beside it

    text = ", ".join(f"{use.symbol.name}{times(use)} ({use.cycles:,} cycles)" for use in uses[:most])
    return text + (f" and {len(uses) - most} more" if len(uses) > most else "")


def soft_float(case: Case) -> Iterator[Finding]:
    """Single-precision arithmetic by library calls on a core with an FPU."""
    uses = _matching(case, _SINGLE)
    if case.part.fpu == "none" or not uses:
        return
    cycles = sum(use.cycles for use in uses)
    if case.share(cycles) < _LEAST_CALLS_SHARE:
        return
    yield case.finding(
        "soft-float",
        f"floating point in software, though {case.part.title} has an FPU",
        _listed(uses),
        "build all of it with -mfloat-abi=hard (or softfp) and -mfpu for this core, libraries too",
        cycles=cycles,
    )


def double_arithmetic(case: Case) -> Iterator[Finding]:
    """Double-precision arithmetic by library calls."""
    uses = _matching(case, _DOUBLE)
    if not uses:
        return
    cycles = sum(use.cycles for use in uses)
    if case.share(cycles) < _LEAST_CALLS_SHARE:
        return
    if case.part.fpu.endswith("-dp"):
        action = "build with -mfpu=fpv5-d16 and -mfloat-abi=hard: this FPU computes doubles"
    else:
        action = "use float: constants with an f (0.5f), expf instead of exp; -Wdouble-promotion finds the places"
    yield case.finding("double", "double-precision arithmetic in software", _listed(uses), action, cycles=cycles)


def printf_of_floats(case: Case) -> Iterator[Finding]:
    """The part of printf that formats floating-point numbers."""
    linked = [symbol for name in _FLOAT_FORMATTERS if (symbol := case.image.find(name)) is not None]
    if not linked:
        return
    ran = [use for use in case.functions if use.symbol.name in _PRINTF]
    cycles = sum(use.cycles for use in ran) if any(use.symbol.name in _FLOAT_FORMATTERS for use in ran) else 0
    size = sum(symbol.bytes for name in _PRINTF if (symbol := case.image.find(name)) is not None)
    names = ", ".join(symbol.name for symbol in linked)
    evidence = f"{names} linked, {size:,} bytes with what they need" + (
        f"; {_listed(ran)}" if cycles else "; did not run here"
    )
    yield case.finding(
        "printf-float",
        "printf of floating-point numbers",
        evidence,
        "print scaled integers, and link without -u _printf_float (newlib-nano)",
        cycles=cycles or None,
        size=size,
    )


def _places(case: Case, pattern: str, uses: Sequence[FunctionUse]) -> str:
    """The dearest instructions that match, with their place and times."""
    costs = sorted((c for c in case.instructions(uses).values() if re.match(pattern, c.text)), key=lambda c: -c.cycles)
    return ", ".join(f"{case.image.where(c.address)} {c.executions:,} times" for c in costs[:3])


def divisions(case: Case) -> Iterator[Finding]:
    """Divisions that cost a share of the time."""
    cycles = case.region.breakdown.get(Cause.DIVISION.value, 0)
    if case.share(cycles) < _LEAST_SHARE:
        return
    where = _places(case, r"[su]div", case.functions[:5])
    yield case.finding(
        "division",
        "divisions in hot code",
        f"{cycles:,} cycles wait for SDIV and UDIV; {where}",
        "divide by a constant or a power of two, multiply by a reciprocal worked out once, or move it out of the loop",
        cycles=cycles,
    )


def unaligned_accesses(case: Case) -> Iterator[Finding]:
    """Accesses to unaligned data that cost a share of the time."""
    cycles = case.region.breakdown.get(Cause.UNALIGNED.value, 0)
    if case.share(cycles) < _LEAST_SHARE:
        return
    where = _places(case, r"ldr|str|ldm|stm|vldr|vstr", case.functions[:3])
    yield case.finding(
        "unaligned",
        "unaligned data",
        f"{cycles:,} cycles for further accesses; the functions' dearest accesses: {where}",
        "align buffers to 4 bytes (alignas(4), __attribute__((aligned(4)))); do not pack structures read in loops",
        cycles=cycles,
    )
