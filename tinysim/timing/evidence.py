"""The accuracy document: what was measured by others, what tinysim says, and what it rests on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tinysim.core import Core
from tinysim.timing.coverage import render_coverage

__all__ = ["Evidence", "mean_absolute_error_percent", "render_accuracy"]


@dataclass(frozen=True, slots=True)
class Evidence:
    """One published figure beside tinysim's own.

    ``exercises``: what it tells apart. ``chosen``: whether a parameter or rule of the model was chosen by looking at
    it; such a row shows that the model is consistent, not that it predicts.
    """

    name: str
    core: str
    exercises: str
    measured_cycles: float
    predicted_cycles: float
    source: str
    confidence: str
    chosen: bool

    @property
    def error_percent(self) -> float:
        """Signed, of the measured figure."""
        return 100 * (self.predicted_cycles / self.measured_cycles - 1)


def mean_absolute_error_percent(rows: Sequence[Evidence]) -> float:
    """Mean of the absolute errors in percent. Raises ValueError for no rows."""
    if not rows:
        raise ValueError("no evidence to average")
    return sum(abs(row.error_percent) for row in rows) / len(rows)


def _table(rows: Sequence[Evidence], subject: str) -> list[str]:
    lines = [
        f"| {subject} | exercises | measured | predicted | error | chose a value | source |",
        "| --- | --- | ---: | ---: | ---: | --- | --- |",
    ]
    for row in rows:
        lines.append(
            f"| {row.name} | {row.exercises} | {row.measured_cycles:,.0f} | {row.predicted_cycles:,.0f} | "
            f"{row.error_percent:+.1f} % | {'yes' if row.chosen else 'no'} | {row.source} ({row.confidence}) |"
        )
    return lines


def _open_parameters(cores: Sequence[Core]) -> list[str]:
    lines = ["| core | parameter | value | range | source |", "| --- | --- | ---: | --- | --- |"]
    for core in cores:
        for parameter in core.open_parameters:
            span = f"{parameter.low} to {parameter.high} {parameter.unit}"
            name = parameter.name.replace("_", " ")
            lines.append(f"| {core.title} | {name} | {parameter.value} | {span} | {parameter.source} |")
    return lines


def render_accuracy(
    cores: Sequence[Core], effects: Sequence[Evidence], programs: Sequence[Evidence] = (), sections: Sequence[str] = ()
) -> str:
    """The document as Markdown: bounds by core, whole programs, single effects, open parameters, coverage.

    ``effects``: microbenchmarks, each one statement about a core. ``programs``: whole programs on silicon.
    ``sections``: Markdown of further evidence, put before the effects.
    """
    lines = ["# Accuracy", "", "Generated; do not edit. Cycles, zero-wait memory unless a row says otherwise.", ""]
    for core in cores:
        bound = f"mean absolute error within {core.error_bound_percent:g} %"
        lines.append(f"- **{core.title}**: {bound}. {core.error_basis}.")
    if programs:
        lines += ["", "## Whole programs on silicon", ""]
        for core in cores:
            rows = [row for row in programs if row.core == core.name]
            held_out = [row for row in rows if not row.chosen]
            if rows:
                error = mean_absolute_error_percent(rows)
                told = f"{core.title}: {len(rows)} programs, mean absolute error {error:.1f} %"
                if held_out:
                    told += f"; {len(held_out)} of them chose nothing: {mean_absolute_error_percent(held_out):.1f} %"
                lines += [f"{told}.", "", *_table(rows, "program"), ""]
    for section in sections:
        lines += ["", section.strip()]
    lines += [
        "", "## Single effects", "",
        "Small programs, each one statement of a source. The rules of the model were taken from these sources:",
        "agreement shows that the model does what they say, not that it predicts what they do not say.",
    ]  # fmt: skip
    for core in cores:
        rows = [row for row in effects if row.core == core.name]
        if rows:
            error = mean_absolute_error_percent(rows)
            lines += ["", f"### {core.title}: {len(rows)} effects, mean absolute error {error:.2f} %", ""]
            lines += _table(rows, "effect")
    lines += ["", "## Parameters no source settles", ""]
    lines += ["Each result's error bound includes what they are worth on its code.", ""]
    lines += _open_parameters(cores)
    lines += ["", "## Instructions that are priced", ""]
    lines.append(render_coverage(cores))
    return "\n".join(lines)
