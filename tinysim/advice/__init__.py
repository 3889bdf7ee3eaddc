"""Advice: what makes a program slower or larger than it must be, found in its run and its ELF file, with evidence and
expected gain.

A rule is a function from a Case to Findings. A gain is the most that can be won, unless it says it was measured.
"""

from __future__ import annotations

from tinysim.advice.case import Case, Remeasure
from tinysim.advice.rules import RULES
from tinysim.result import Finding

__all__ = ["Case", "Remeasure", "advise"]


def advise(case: Case) -> tuple[Finding, ...]:
    """All findings, those with the greatest gain first; then those whose gain is not known."""
    found = [finding for rule in RULES for finding in rule(case)]
    return tuple(sorted(found, key=lambda f: (-(f.gain_cycles or 0), -(f.gain_bytes or 0), f.rule)))
