"""Prices Counts for a Core: what each key costs in cycles, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tinysim.timing.pricing import PhaseTotal, Prices, Totals, price, totals

__all__ = ["PhaseTotal", "Prices", "Totals", "price", "totals"]


def __getattr__(name: str) -> Any:
    # a core file names causes of this package, so the package must be importable before the core is
    if name in __all__:
        from tinysim.timing import pricing

        return getattr(pricing, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
