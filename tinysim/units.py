"""Quantities as people write them: ``120MHz``, ``512K``, ``20 ms``, ``1%``; and back to text."""

from __future__ import annotations

import math
import re

from tinysim.errors import InputError

__all__ = [
    "format_bytes",
    "format_hz",
    "format_joules",
    "format_seconds",
    "parse_bytes",
    "parse_hz",
    "parse_percent",
    "parse_seconds",
]

_QUANTITY = re.compile(r"\s*([0-9][0-9_]*\.?[0-9]*(?:[eE][+-]?[0-9]+)?)\s*([A-Za-zµμ%]*)\s*")
_HZ = {"hz": 1, "khz": 10**3, "mhz": 10**6, "ghz": 10**9}
_BYTES = {"": 1, "b": 1, "k": 1024, "kb": 1024, "kib": 1024, "m": 1024**2, "mb": 1024**2, "mib": 1024**2}
_SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ns": 1e-9}


def _parse(text: str, factors: dict[str, float] | dict[str, int], what: str, example: str) -> float:
    match = _QUANTITY.fullmatch(text)
    if not match or match[2].lower() not in factors:
        raise InputError(f"{text!r} is not {what}", hint=f"write it like {example}")
    value = float(match[1].replace("_", "")) * factors[match[2].lower()]
    if not math.isfinite(value):
        raise InputError(f"{text!r} is more than can be counted", hint=f"write it like {example}")
    return value


def parse_hz(text: str) -> int:
    """A clock frequency in hertz. A bare number is refused: 120 could mean hertz or megahertz."""
    value = round(_parse(text, _HZ, "a clock frequency", "120MHz"))
    if value <= 0:
        raise InputError(f"a clock of {text!r} is not above zero", hint="write it like 120MHz")
    return value


def parse_bytes(text: str) -> int:
    """A size in bytes; K and M are 1024 and 1024 squared, as in every data sheet."""
    return round(_parse(text, _BYTES, "a size in bytes", "512K"))


def parse_seconds(text: str) -> float:
    """A time in seconds."""
    return _parse(text, _SECONDS, "a time", "20ms")


def parse_percent(text: str) -> float:
    """A percentage, as a number of percent."""
    return _parse(text, {"%": 1, "": 1}, "a percentage", "1%")


def _scaled(value: float, steps: tuple[tuple[float, str], ...]) -> str:
    for factor, unit in steps:
        if abs(value) >= factor:
            return f"{value / factor:.4g} {unit}"
    factor, unit = steps[-1]
    return f"{value / factor:.4g} {unit}"


def format_hz(value: float) -> str:
    """Text such as ``120 MHz``."""
    return _scaled(value, ((1e9, "GHz"), (1e6, "MHz"), (1e3, "kHz"), (1.0, "Hz")))


def format_bytes(value: float) -> str:
    """Text such as ``12.5 KiB``; below 1 KiB whole bytes."""
    if abs(value) < 1024:
        return f"{value:.0f} B"
    return f"{value / 1024:.1f} KiB" if abs(value) < 1024**2 else f"{value / 1024**2:.2f} MiB"


def format_joules(value: float) -> str:
    """Text such as ``3.85 mJ``."""
    return _scaled(value, ((1.0, "J"), (1e-3, "mJ"), (1e-6, "µJ")))


def format_seconds(value: float) -> str:
    """Text such as ``1.35 ms``."""
    return _scaled(value, ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns")))
