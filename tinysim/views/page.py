"""Results as one self-contained HTML page: figures, pictures of where cycles and memory go, layers and functions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tinysim.result import Result
from tinysim.units import format_bytes, format_hz, format_joules, format_seconds
from tinysim.views.table import short_name, summary_table

__all__ = ["to_html"]

_COLOURS = (
    "#4878a8",
    "#d1873f",
    "#7a9e4b",
    "#b65b5b",
    "#8a6bb1",
    "#c9a93c",
    "#4ba3a0",
    "#a86f9a",
    "#6f7d8c",
    "#9c7a52",
    "#5f86c9",
    "#c76f4a",
)
_FUNCTIONS = 15


def to_html(results: Sequence[Result]) -> str:
    """The page, with nothing loaded from elsewhere."""
    from jinja2 import Environment, FileSystemLoader, select_autoescape

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=select_autoescape(["j2", "html"])
    )
    columns, rows = summary_table(results)
    return environment.get_template("page.html.j2").render(
        columns=columns, rows=rows, reports=[_report(result) for result in results]
    )


def _share(part: float, whole: float) -> str:
    return f"{100 * part / whole:.2f}" if whole else "0"


def _report(result: Result) -> dict[str, Any]:
    main, memory = result.regions[0], result.memory
    total = main.cycles
    top_layer = max((layer.cycles for layer in result.layers), default=0)
    top_function = max((function.cycles for function in main.functions), default=0)
    compiler = (
        f"{result.firmware.compiler}, -{result.firmware.opt}, {result.firmware.kernels}; "
        if result.firmware.compiler
        else ""
    )
    return {
        "title": result.model or Path(result.firmware.path).name,
        "part": result.part,
        "clock": format_hz(result.clock_hz),
        "figures": _figures(result),
        "warnings": result.warnings,
        "causes": [
            {
                "name": name,
                "percent": _share(cycles, total),
                "text": f"{100 * cycles / total:.1f} %",
                "colour": _COLOURS[k % len(_COLOURS)],
            }
            for k, (name, cycles) in enumerate(main.breakdown.items())
        ],
        "layers": [
            {
                "index": layer.index,
                "op": layer.op,
                "name": layer.name,
                "output": " ".join("x".join(map(str, s)) for s in layer.outputs),
                "cycles": f"{layer.cycles:,}",
                "percent": _share(layer.cycles, top_layer),
                "macs": f"{layer.macs:,}" if layer.macs else "",
                "per_mac": f"{layer.cycles_per_mac:.2f}" if layer.cycles_per_mac is not None else "",
            }
            for layer in result.layers
        ],
        "memories": [
            {
                "name": use.memory,
                "used": format_bytes(use.used_bytes),
                "size": format_bytes(use.size_bytes),
                "percent": _share(use.used_bytes, use.size_bytes),
            }
            for use in memory.memories
        ],
        "functions": [
            {
                "name": short_name(function.name),
                "cycles": f"{function.cycles:,}",
                "percent": _share(function.cycles, top_function),
                "instructions": f"{function.instructions:,}",
            }
            for function in main.functions[:_FUNCTIONS]
        ],
        "made": f"{compiler}error bound: {result.error.basis}",
    }


def _figures(result: Result) -> list[dict[str, str]]:
    memory = result.memory
    figures = [
        {"name": f"latency (± {result.error.bound_percent:g} %)", "value": format_seconds(result.latency_s)},
        {"name": "cycles", "value": f"{result.cycles:,}"},
        {"name": "flash", "value": format_bytes(memory.flash_bytes)},
        {"name": "RAM", "value": format_bytes(memory.ram_bytes)},
    ]
    if memory.arena_bytes is not None:
        figures.append({"name": "tensor arena", "value": format_bytes(memory.arena_bytes)})
    if memory.stack_peak_bytes is not None:
        figures.append({"name": "stack peak", "value": format_bytes(memory.stack_peak_bytes)})
    if result.energy is not None:
        figures.append({"name": "energy", "value": format_joules(result.energy.microjoules * 1e-6)})
    if result.outputs is not None:
        figures.append(
            {
                "name": f"outputs against {result.outputs.reference}",
                "value": "match" if result.outputs.match else "differ",
                "tone": "good" if result.outputs.match else "bad",
            }
        )
    return figures
