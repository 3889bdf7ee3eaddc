"""Rules about the machine: caches and prefetch, the clock, memory that is slower than it must be."""

from __future__ import annotations

from collections.abc import Iterator

from tinysim.advice.case import Case
from tinysim.errors import TinysimError
from tinysim.memory.pricers import MemoryOptions
from tinysim.memory.settings import Settings, read_settings, startup_writes
from tinysim.part import RegionKind
from tinysim.result import Finding
from tinysim.timing.causes import Cause
from tinysim.units import format_bytes, format_hz

__all__ = ["clock_at_reset", "memory_features", "slow_memory"]

_LEAST_SHARE = 0.05
_FAST = (RegionKind.ITCM, RegionKind.DTCM, RegionKind.CCM, RegionKind.SRAM, RegionKind.AXI)


def _off(mine: Settings, usual: Settings) -> list[str]:
    names = {
        "instruction_cache": "the instruction cache",
        "data_cache": "the data cache",
        "prefetch": "flash prefetch",
        "instruction_lines": "the flash's instruction lines",
        "data_lines": "the flash's data lines",
    }
    return [name for field, name in names.items() if getattr(usual, field) and not getattr(mine, field)]


def memory_features(case: Case) -> Iterator[Finding]:
    """Caches and prefetch that a vendor's start-up code switches on and this firmware does not."""
    if case.part.memory is None:
        return
    mine = read_settings(case.part.memory, case.estimate.run.register_writes)
    off = _off(mine, read_settings(case.part.memory, startup_writes(case.part, case.clock_hz)))
    if not off:
        return
    gain = None
    if case.remeasure is not None:
        with_them = case.remeasure(MemoryOptions(caches=True, prefetch=True))
        without = case.remeasure(
            MemoryOptions(
                caches=mine.instruction_cache or mine.data_cache or mine.instruction_lines or mine.data_lines,
                prefetch=mine.prefetch,
            )
        )
        gain = max(without - with_them, 0)
    wrote = (
        "none of its register writes turns them on"
        if case.estimate.run.register_writes
        else "it writes none of the memory system's registers"
    )
    yield case.finding(
        "memory-features",
        f"never switched on: {', '.join(off)}",
        wrote,
        "switch them on in the start-up code (SCB_EnableICache, SCB_EnableDCache, the flash's access control register)",
        cycles=gain,
        measured=gain is not None,
    )


def clock_at_reset(case: Case) -> Iterator[Finding]:
    """What the firmware itself believes its clock to be (CMSIS: SystemCoreClock), against the clock of the estimate."""
    symbol = case.image.find("SystemCoreClock")
    if symbol is None or case.read is None:
        return
    try:
        believed = int.from_bytes(case.read(symbol.address, 4), "little")
    except TinysimError:
        return
    if not 0 < believed < case.clock_hz * 0.99:
        return
    slower = case.clock_hz / believed
    yield case.finding(
        "clock",
        "the clock was left below the one of this estimate",
        f"SystemCoreClock is {format_hz(believed)} at the end of the run; the estimate is for "
        f"{format_hz(case.clock_hz)}, "
        f"the part goes up to {format_hz(case.part.max_clock_hz)}",
        f"set up the clock before this code runs: the same cycles take {slower:.1f} times as long now; "
        f"estimate with --clock {believed}Hz",
    )


def slow_memory(case: Case) -> Iterator[Finding]:
    """Cycles that wait for weights and constants, or for code, in slow memory."""
    breakdown = case.region.breakdown
    data = sum(breakdown.get(cause.value, 0) for cause in (Cause.FLASH_DATA, Cause.DATA_CACHE))
    code = sum(breakdown.get(cause.value, 0) for cause in (Cause.FLASH_INSTRUCTION, Cause.INSTRUCTION_CACHE))
    free = _free_ram(case)
    if case.share(data) >= _LEAST_SHARE:
        constants = sum(s.bytes for s in case.image.sections if s.stored and not s.writable and not s.executable)
        known = f"; constants are {format_bytes(constants)}" if constants else ""
        yield case.finding(
            "slow-data",
            "weights and constants are read from slow memory",
            f"{data:,} cycles wait for data from flash{known}; free RAM: {free}",
            "copy what the hot loops read most to RAM at start-up, where it fits",
            cycles=data,
        )
    if case.share(code) >= _LEAST_SHARE:
        hot = ", ".join(f"{u.symbol.shown.split('(')[0]} ({u.symbol.bytes:,} bytes)" for u in case.functions[:3])
        yield case.finding(
            "slow-code",
            "code waits for flash",
            f"{code:,} cycles wait for instructions; the hot functions: {hot}; free RAM: {free}",
            "run the hot functions from RAM or ITCM (section attribute), or switch on caches and prefetch",
            cycles=code,
        )


def _free_ram(case: Case) -> str:
    """The fast memories and how much of them the image leaves free."""
    texts = []
    for region in case.part.regions:
        if region.kind in _FAST:
            used = sum(s.bytes for s in case.image.sections if s.address in region)
            texts.append(f"{region.name} {format_bytes(max(region.size - used, 0))}")
    return ", ".join(texts) or "none"
