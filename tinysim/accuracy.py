"""The accuracy document: every published measurement used, beside what tinysim says, and what each part of the model
is worth."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tinysim.core import load_core
from tinysim.errors import ToolchainError
from tinysim.part import load_part, part_names
from tinysim.sizing import Progress, silent
from tinysim.timing.evidence import render_accuracy
from tinysim.timing.microbenchmarks import load_microbenchmarks, measure_effects
from tinysim.validation import WHOLE, Layers, Prediction, ValidationSet, load_validation, mean_error, predict

__all__ = ["Comparison", "accuracy_document", "compare_with_silicon", "render_networks"]

_CLOSE_PERCENT = 0.05


@dataclass(frozen=True, slots=True)
class Comparison:
    """A collection of measurements beside what is predicted with each compiler, the main one first.

    ``missing``: networks that were left out, or compilers, and why.
    """

    collection: ValidationSet
    predictions: Mapping[str, tuple[Prediction, ...]]
    missing: tuple[str, ...]


def compare_with_silicon(
    collection: ValidationSet, models: Path, *, names: Sequence[str] = (), progress: Progress = silent
) -> Comparison:
    """Predict the networks of a collection for which ``models`` has a file: whole model and in parts with the first
    compiler, whole with the others.

    ``names``: only these networks. A compiler that is not installed is left out and named. Raises what
    `tinysim.validation.predict` raises.
    """
    wanted = [network for network in collection.networks if not names or network.id in names]
    present = [network for network in wanted if (models / f"{network.id}.tflite").is_file()]
    missing = [f"{network.id}: no file of that name" for network in wanted if network not in present]
    predictions: dict[str, tuple[Prediction, ...]] = {}
    for compiler in collection.compilers:
        done: list[Prediction] = []
        try:
            for number, network in enumerate(present):
                progress(f"{collection.title}: {network.id}", number, len(present))
                systems = [WHOLE] if predictions else None
                done.append(
                    predict(collection, network, models / f"{network.id}.tflite", compiler=compiler, systems=systems)
                )
        except ToolchainError as error:
            if done:
                raise
            missing.append(f"{compiler}: {error.message}")
            continue
        if done:
            predictions[done[0].compiler] = tuple(done)
    return Comparison(collection, predictions, tuple(missing))


def _mean_line(name: str, count: int, errors: Sequence[tuple[float, float]]) -> str:
    cells = " | ".join(f"{absolute:.1f} % ({bias:+.1f})" for absolute, bias in errors)
    return f"| {name} | {count} | {cells} |"


def _means(comparison: Comparison) -> list[str]:
    """Mean absolute errors, with their bias, by kind of network and compiler."""
    groups: dict[str, Callable[[Prediction], bool]] = {
        "all": lambda _: True,
        "dense": lambda p: p.network.layers is Layers.DENSE,
        "dense, above 1,000 MACs": lambda p: p.network.layers is Layers.DENSE and p.network.macs >= 1000,
        "convolutions": lambda p: p.network.layers is Layers.CONVOLUTION,
        "chose no value of the model": lambda p: not p.network.chose,
    }
    lines = [
        f"| networks | number | {' | '.join(comparison.predictions)} |",
        f"| --- | ---: |{' ---: |' * len(comparison.predictions)}",
    ]
    seen: set[tuple[str, ...]] = set()
    for name, belongs in groups.items():
        chosen = [[p for p in rows if belongs(p)] for rows in comparison.predictions.values()]
        members = tuple(p.network.id for p in chosen[0])
        if members and members not in seen:
            seen.add(members)
            lines.append(_mean_line(name, len(members), [mean_error(rows) for rows in chosen]))
    return lines


def _networks(comparison: Comparison) -> list[str]:
    first, *others = comparison.predictions.values()
    counted = any(p.instructions_percent is not None for p in first)
    heads = ["network", "MACs", "measured", "predicted", "error", *(["instructions"] if counted else [])]
    heads += [*(f"error, {compiler}" for compiler in list(comparison.predictions)[1:]), "chose a value", "source"]
    lines = [f"| {' | '.join(heads)} |", f"| --- |{' ---: |' * (len(heads) - 3)} --- | --- |"]
    for number, p in enumerate(first):
        more = p.instructions_percent
        cells = [
            p.network.id,
            f"{p.network.macs:,}",
            f"{p.network.cycles:,}",
            f"{p.cycles[WHOLE]:,}",
            f"{p.error_percent():+.1f} %",
        ]
        if counted:
            cells.append("-" if more is None else f"{more:+.1f} %")
        cells += [f"{rows[number].error_percent():+.1f} %" for rows in others]
        cells += ["yes" if p.network.chose else "no", p.network.source]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _parts(comparison: Comparison) -> list[str]:
    """Errors with one part of the memory model changed at a time; nothing where no part makes a difference."""
    first = next(iter(comparison.predictions.values()))
    systems = [
        name
        for name in first[0].cycles
        if name == WHOLE or any(abs(p.error_percent(name) - p.error_percent()) > _CLOSE_PERCENT for p in first)
    ]
    if len(systems) < 2:
        return ["No part of the memory model makes a difference here: code and data are in tightly coupled memory."]
    lines = [f"| network | {' | '.join(systems)} |", f"| --- |{' ---: |' * len(systems)}"]
    lines += [
        f"| {p.network.id} | {' | '.join(f'{p.error_percent(name):+.1f} %' for name in systems)} |" for p in first
    ]
    means = " | ".join(f"{mean_error(first, name)[0]:.1f} %" for name in systems)
    return [*lines, f"| **mean absolute error** | {means} |"]


def render_networks(comparison: Comparison) -> str:
    """Markdown of a collection: conditions, differences, means, each network, each part of the model."""
    collection = comparison.collection
    lines = [
        f"## Whole networks: {collection.title}",
        "",
        f"Measured: {collection.measured}.",
        f"Source: {collection.source}.",
        "",
    ]
    lines += ["Known differences:", "", *(f"- {difference}" for difference in collection.differences), ""]
    if collection.copy_cycles:
        lines += [
            f"The published window also copies inputs and outputs: {collection.copy_cycles} cycles and "
            f"{collection.copy_instructions} instructions an element are added ({collection.copy_source}).",
            "",
        ]
    if comparison.missing:
        lines += ["Not compared:", "", *(f"- {text}" for text in comparison.missing), ""]
    if not comparison.predictions:
        return "\n".join([*lines, "Nothing could be compared."])
    lines += ["Mean absolute error, in brackets its bias:", "", *_means(comparison), ""]
    lines += [
        f"Predicted with {next(iter(comparison.predictions))}, -{collection.opt}:",
        "",
        *_networks(comparison),
        "",
    ]
    if any(p.instructions_percent is not None for p in next(iter(comparison.predictions.values()))):
        lines += [f"Instructions: how many more run here than in {collection.project_source}.", ""]
    wrong = [p.network.id for rows in comparison.predictions.values() for p in rows if not p.outputs_match]
    lines += [
        f"Outputs differ from the host's runtime: {', '.join(wrong)}."
        if wrong
        else "All outputs match the host's runtime.",
        "",
    ]
    lines += ["What the errors come from:", "", *(f"- {cause}" for cause in collection.causes), ""]
    lines += [
        "### Each part of the memory model",
        "",
        "Errors with one part changed at a time:",
        "",
        *_parts(comparison),
        "",
    ]
    return "\n".join(lines)


def _bounds() -> str:
    """The error stated with results, by part."""
    from tinysim.memory.pricers import unmeasured_error

    lines = ["## The error stated with results", "", "On real memory; on ideal memory it is the core's.", ""]
    lines += ["| part | error | basis |", "| --- | ---: | --- |"]
    others: dict[str, list[str]] = {}
    for name in part_names():
        part = load_part(name)
        if part.error is None:
            others.setdefault(part.core, []).append(name)
        else:
            lines.append(f"| {name} | {part.error.bound_percent:g} % | {part.error.basis} |")
    for core, names in sorted(others.items()):
        if (error := unmeasured_error(core)) is not None:
            lines.append(f"| {', '.join(names)} | {error.bound_percent:g} % | {error.basis} |")
    return "\n".join(lines)


def accuracy_document(models: Path | None, effects: Path | None, progress: Progress = silent) -> str:
    """The whole document. ``models``: the folder of the networks, None to leave them out; ``effects``: the file of the
    microbenchmarks, None to leave those out. What is left out is said.

    Raises what measuring raises.
    """
    collections = load_validation()
    sections = [_bounds()]
    if models is None:
        left = ", ".join(collection.title for collection in collections)
        sections.append(f"## Whole networks\n\nLeft out: {left}; their models were not at hand.")
    else:
        sections += [
            render_networks(compare_with_silicon(collection, models, progress=progress)) for collection in collections
        ]
    progress("single effects", 0, 0)
    measured = measure_effects(load_microbenchmarks(effects)) if effects else ()
    cores = dict.fromkeys([*(evidence.core for evidence in measured), *(c.load_part().core for c in collections)])
    return render_accuracy([load_core(name) for name in sorted(cores)], measured, sections=sections)
