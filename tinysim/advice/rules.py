"""The rules, by what they look at: how the code was built, what it computes with, where it lives, what runs it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from tinysim.advice.arithmetic import divisions, double_arithmetic, printf_of_floats, soft_float, unaligned_accesses
from tinysim.advice.build import unoptimised
from tinysim.advice.case import Case
from tinysim.advice.machine import clock_at_reset, memory_features, slow_memory
from tinysim.advice.runtime import interpreter_overhead, reference_kernels
from tinysim.result import Finding

__all__ = ["RULES", "Rule"]

Rule = Callable[[Case], Iterator[Finding]]
RULES: Sequence[Rule] = (
    soft_float,
    double_arithmetic,
    printf_of_floats,
    divisions,
    unaligned_accesses,
    unoptimised,
    memory_features,
    clock_at_reset,
    slow_memory,
    reference_kernels,
    interpreter_overhead,
)
