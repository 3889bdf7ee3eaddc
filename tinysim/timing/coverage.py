"""Which instructions each core prices, and what for: the table of the data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tinysim.core import ClassTiming, Core

__all__ = ["Coverage", "coverage", "render_coverage"]


@dataclass(frozen=True, slots=True)
class Coverage:
    """One instruction class: its mnemonics and, for each core asked, its timing or None where the core refuses it."""

    class_name: str
    mnemonics: tuple[str, ...]
    timings: tuple[ClassTiming | None, ...]


def coverage(cores: Sequence[Core]) -> list[Coverage]:
    """One entry for each instruction class of the cores' common instruction set."""
    isa = cores[0].isa
    names: dict[str, list[str]] = {name: [] for name in isa.classes}
    for mnemonic, forms in isa.forms.items():
        for class_name in dict.fromkeys(form.class_name for form in forms):
            names[class_name].append(mnemonic)
    return [
        Coverage(name, tuple(mnemonics), tuple(core.timing(name) for core in cores))
        for name, mnemonics in names.items()
    ]


def _cell(timing: ClassTiming | None) -> str:
    if timing is None:
        return "refused"
    cycles = str(timing.values["cycles"]).replace("_", " ")
    if per_word := timing.values.get("per_word"):
        cycles = f"{cycles} + {per_word} a word"
    if each := timing.values.get("words_per_cycle"):
        cycles = f"{each} words a cycle"
    return f"{cycles} ({timing.confidence.value})"


def render_coverage(cores: Sequence[Core]) -> str:
    """A Markdown table: cycles to issue and confidence. Cycles may be the name of a parameter."""
    heads = " | ".join(f"{core.title} ({core.fpu})" for core in cores)
    lines = [f"| class | instructions | {heads} |", "| --- | --- |" + " --- |" * len(cores)]
    for entry in coverage(cores):
        cells = " | ".join(_cell(timing) for timing in entry.timings)
        lines.append(f"| {entry.class_name.replace('_', ' ')} | {' '.join(entry.mnemonics)} | {cells} |")
    return "\n".join(lines) + "\n"
