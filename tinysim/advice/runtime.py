"""Rules about the machine-learning runtime: kernels, interpreter."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from tinysim.advice.case import Case, FunctionUse
from tinysim.result import Finding

__all__ = ["interpreter_overhead", "reference_kernels"]

_LEAST_SHARE = 0.02
_REFERENCE = re.compile(
    r"(void |.* )?tflite::reference_(integer_)?ops::|tflite::ops::micro::\w+::Eval\w*"
    r"|.*tflite::.*::reference::"
)
_HEAVY = re.compile(r"conv|fully_?connected|pool|softmax|lstm|svdf|batch_?matmul", re.IGNORECASE)
_CMSIS_GAIN = 1 - 1 / 4.6
"""CMSIS-NN against plain loops: 4.6 times faster on a network of int8 convolutions (Lai, Suda, Chandra 2018,
arXiv:1801.06601).
"""


def reference_kernels(case: Case) -> Iterator[Finding]:
    """Time in TFLM's portable kernels: CMSIS-NN has faster ones for int8 and int16, none for floating point."""
    uses = [u for u in case.functions if _REFERENCE.match(u.symbol.shown) and _HEAVY.search(u.symbol.shown)]
    floats = [use for use in uses if re.search(r"Float|float", use.symbol.shown.split("(")[0])]
    whole = [use for use in uses if use not in floats]
    cycles = sum(use.cycles for use in whole)
    if case.share(cycles) >= _LEAST_SHARE:
        linked = [s.name for s in case.image.functions if re.match(r"arm_\w+_(s8|s16|q7)(_|$)", s.name)]
        have = f"CMSIS-NN is linked ({linked[0]}), but these do not use it" if linked else "CMSIS-NN is not linked"
        yield case.finding(
            "reference-kernels",
            "portable kernels instead of CMSIS-NN",
            f"{100 * case.share(cycles):.0f} % of the cycles in {_listed(case, whole)}; {have}",
            "build TFLM with OPTIMIZED_KERNEL_DIR=cmsis_nn (gain: 4.6 times, as published for int8 convolutions)",
            cycles=cycles * _CMSIS_GAIN,
        )
    if case.share(sum(use.cycles for use in floats)) >= _LEAST_SHARE:
        yield case.finding(
            "float-kernels",
            "the model computes in floating point",
            f"{100 * case.share(sum(use.cycles for use in floats)):.0f} % of the cycles in {_listed(case, floats)}",
            "quantise the model to int8: CMSIS-NN has kernels for it, and weights are a quarter of the size",
        )


def _listed(case: Case, uses: Sequence[FunctionUse]) -> str:
    """The functions that matter, with their share."""
    shown = [use for use in uses if case.share(use.cycles) >= 0.005] or uses[:1]
    names = (f"{use.symbol.shown.split('(')[0]} ({100 * case.share(use.cycles):.0f} %)" for use in shown[:3])
    return ", ".join(names) + (f" and {len(shown) - 3} more" if len(shown) > 3 else "")


def interpreter_overhead(case: Case) -> Iterator[Finding]:
    """Cycles of an interpreter between its operators."""
    if not case.layers:
        return
    between = case.region.cycles - case.calls * sum(layer.cycles for layer in case.layers)
    inside = [
        u
        for u in case.functions
        if re.match(r"tflite::Micro(Interpreter|Graph|Allocator|Context)|tflite::MicroInterpreterGraph", u.symbol.shown)
    ]
    cycles = sum(use.cycles for use in inside)
    if case.share(cycles) < _LEAST_SHARE:
        return
    yield case.finding(
        "interpreter",
        "time between the operators",
        f"{cycles:,} cycles in the interpreter for {len(case.layers)} operators, "
        f"{cycles / max(len(case.layers) * case.calls, 1):,.0f} each; "
        f"{between:,} cycles are outside of operators",
        "fuse small operators, or use generated code instead of an interpreter",
        cycles=cycles,
    )
