"""What the Robot Framework library puts into Robot's log and into its failures: a Result as text, as HTML and as a
picture."""

from __future__ import annotations

import io
from collections.abc import Sequence
from html import escape

from tinysim.result import Result
from tinysim.units import format_bytes, format_hz, format_seconds

__all__ = ["bars", "html_report", "text_table"]

_BAR_HEIGHT, _NAME_WIDTH, _BAR_WIDTH, _VALUE_WIDTH = 18, 230, 380, 150
_MOST_BARS = 24


def text_table(results: Sequence[Result]) -> str:
    """The table of the command line, without colours."""
    from rich.console import Console

    from tinysim.views import show_layers, show_results

    out = io.StringIO()
    console = Console(file=out, width=160, no_color=True, highlight=False)
    show_results(console, results)
    for result in results:
        show_layers(console, result)
    return out.getvalue().rstrip()


def bars(values: Sequence[tuple[str, int]]) -> str:
    """A picture of (name, cycles) as an SVG element: one bar each, the longest ones when there are many."""
    shown = list(values)
    if len(shown) > _MOST_BARS:
        smallest = sorted(value for _, value in shown)[-_MOST_BARS]
        shown = [item for item in shown if item[1] >= smallest][:_MOST_BARS]
    most = max((value for _, value in shown), default=0) or 1
    width, height = _NAME_WIDTH + _BAR_WIDTH + _VALUE_WIDTH, _BAR_HEIGHT * len(shown) + 4
    rows = []
    for number, (name, value) in enumerate(shown):
        top = number * _BAR_HEIGHT + 2
        length = value / most * _BAR_WIDTH
        rows.append(
            f'<text x="{_NAME_WIDTH - 6}" y="{top + 13}" text-anchor="end">{escape(name[:36])}</text>'
            f'<rect x="{_NAME_WIDTH}" y="{top + 2}" width="{length:.1f}" height="{_BAR_HEIGHT - 4}" fill="#4878a8"/>'
            f'<text x="{_NAME_WIDTH + length + 6:.1f}" y="{top + 13}">{value:,}</text>'
        )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="cycles" width="{width}" height="{height}" '
        f'font-family="sans-serif" font-size="12">{"".join(rows)}</svg>'
    )


def html_report(result: Result) -> str:
    """A Result for Robot's log: the main figures, and where the cycles go as a table and a picture."""
    memory = result.memory
    figures = [
        ("part", f"{result.part} ({result.core})"),
        ("clock", format_hz(result.clock_hz)),
        ("engine", result.engine),
        ("latency", f"{format_seconds(result.latency_s)} ± {result.error.bound_percent:g} %"),
        ("cycles", f"{result.cycles:,}"),
        ("instructions", f"{result.instructions:,}"),
        ("flash", format_bytes(memory.flash_bytes)),
        ("RAM", format_bytes(memory.ram_bytes)),
    ]
    if memory.stack_peak_bytes is not None:
        figures.append(("stack peak", format_bytes(memory.stack_peak_bytes)))
    if result.outputs is not None:
        figures.append(("outputs", f"{'match' if result.outputs.match else 'differ from'} {result.outputs.reference}"))
    name = escape(result.model or result.firmware.path)
    head = "".join(f"<tr><td>{escape(key)}</td><td>{escape(value)}</td></tr>" for key, value in figures)
    what, values = _where(result)
    body = "".join(
        f"<tr><td>{escape(key)}</td><td style='text-align:right'>{value:,}</td></tr>" for key, value in values
    )
    warnings = "".join(f"<p>{escape(warning)}</p>" for warning in result.warnings)
    return (
        f"<b>{name}</b><table>{head}</table>{bars(values)}"
        f"<details><summary>cycles by {what}</summary><table>{body}</table></details>{warnings}"
    )


def _where(result: Result) -> tuple[str, list[tuple[str, int]]]:
    """Where the cycles of a result go, in the most telling division it has."""
    if result.layers:
        return "layer", [(f"{layer.index} {layer.op}", layer.cycles) for layer in result.layers]
    if len(result.regions) > 1:
        return "region", [(region.name, region.cycles) for region in result.regions]
    return "function", [(function.name, function.cycles) for function in result.regions[0].functions]
