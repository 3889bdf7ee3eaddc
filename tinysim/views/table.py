"""Results as tables for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tinysim.demangle import without_parameters
from tinysim.result import RegionCost, Result
from tinysim.units import format_bytes, format_hz, format_joules, format_seconds

__all__ = ["short_name", "show_layers", "show_region", "show_results", "summary_table"]


def _percent(part: float, total: float) -> str:
    return f"{100 * part / total:.1f} %" if total else "-"


def short_name(name: str, width: int = 72) -> str:
    """A function's name without its parameters, cut in the middle where it is still too long."""
    name = without_parameters(name)
    return name if len(name) <= width else name[: width // 2 - 1] + "..." + name[-(width // 2 - 2) :]


_ORDER = (
    "model",
    "part",
    "clock",
    "wait states",
    "latency",
    "±",
    "rate",
    "cycles",
    "band",
    "flash",
    "RAM",
    "arena",
    "stack",
    "energy",
    "outputs",
)
_LEFT = ("model", "part", "outputs")
_TONES = {"match": "[green]match[/]", "differ": "[red]differ[/]"}


def _band(result: Result) -> str:
    """The least and the most cycles where they differ from the estimate by more than a tenth of a percent."""
    low, high = result.cycles_low or result.cycles, result.cycles_high or result.cycles
    return f"{low:,} to {high:,}" if high - low > result.cycles / 1000 else "-"


def summary_table(results: Sequence[Result]) -> tuple[list[str], list[list[str]]]:
    """Column names and rows of text, one row a result; columns that say nothing are left out."""
    rows = [_summary(result) for result in results]
    names = [name for name in _ORDER if any(row[name] != "-" for row in rows)]
    return names, [[row[name] for name in names] for row in rows]


def _summary(result: Result) -> dict[str, str]:
    """The cells of a result's row; ``-`` for what is not known."""
    memory = result.memory
    return {
        "model": result.model or Path(result.firmware.path).name,
        "part": result.part,
        "clock": format_hz(result.clock_hz),
        "wait states": "-" if result.wait_states is None else str(result.wait_states),
        "latency": format_seconds(result.latency_s),
        "±": f"{result.error.bound_percent:g} %",
        "rate": format_hz(1 / result.latency_s) if result.latency_s else "-",
        "cycles": f"{result.cycles:,}",
        "band": _band(result),
        "flash": format_bytes(memory.flash_bytes),
        "RAM": format_bytes(memory.ram_bytes),
        "arena": "-" if memory.arena_bytes is None else format_bytes(memory.arena_bytes),
        "stack": "-" if memory.stack_peak_bytes is None else format_bytes(memory.stack_peak_bytes),
        "energy": format_joules(result.energy.microjoules * 1e-6) if result.energy else "-",
        "outputs": "-" if result.outputs is None else "match" if result.outputs.match else "differ",
    }


def show_results(console: Console, results: Sequence[Result]) -> None:
    """One row a result: time, rate, memory, right answers; the warnings below."""
    names, rows = summary_table(results)
    table = Table(header_style="bold")
    for name in names:
        table.add_column(name, justify="left" if name in _LEFT else "right", no_wrap=name not in _LEFT, overflow="fold")
    for row in rows:
        table.add_row(*(_TONES.get(cell, escape(cell)) for cell in row))
    console.print(table)
    seen: dict[str, None] = {}
    for result in results:
        for warning in result.warnings:
            seen.setdefault(warning)
    for warning in seen:
        console.print(f"[yellow]warning[/] {escape(warning)}")
    for compiler in sorted({r.firmware.compiler for r in results if r.firmware.compiler}):
        console.print(f"[dim]built with {escape(compiler)}[/]")
    for core, bound, basis in dict.fromkeys((r.core, r.error.bound_percent, r.error.basis) for r in results):
        console.print(f"[dim]± {bound:g} % on {core}: {escape(basis)}[/]")


def show_layers(console: Console, result: Result) -> None:
    """One row a layer."""
    if not result.layers:
        return
    console.print(f"\n[bold]{escape(result.model or result.firmware.path)}[/] on {result.part}: layers")
    table = Table(header_style="bold")
    for column, justify in (
        ("#", "right"),
        ("operator", "left"),
        ("name", "left"),
        ("output", "left"),
        ("cycles", "right"),
        ("share", "right"),
        ("instructions", "right"),
        ("MACs", "right"),
        ("cycles/MAC", "right"),
    ):
        table.add_column(column, justify=justify)  # type: ignore[arg-type]
    for layer in result.layers:
        table.add_row(
            str(layer.index),
            layer.op,
            escape(layer.name),
            " ".join("x".join(map(str, shape)) for shape in layer.outputs),
            f"{layer.cycles:,}",
            _percent(layer.cycles, result.cycles),
            f"{layer.instructions:,}",
            f"{layer.macs:,}" if layer.macs else "-",
            f"{layer.cycles_per_mac:.2f}" if layer.cycles_per_mac is not None else "-",
        )
    between = result.cycles - sum(layer.cycles for layer in result.layers)
    table.add_row("", "", "interpreter", "", f"{between:,}", _percent(between, result.cycles), "", "", "")
    console.print(table)


def show_region(console: Console, region: RegionCost, functions: int = 10) -> None:
    """A region's cycles by cause and its dearest functions."""
    calls = f" in {region.calls:,} calls" if region.calls != 1 else ""
    console.print(
        f"\n[bold]{escape(short_name(region.name))}[/]: {region.cycles:,} cycles, "
        f"{region.instructions:,} instructions{calls}"
    )
    table = Table(header_style="bold")
    table.add_column("cause")
    table.add_column("cycles", justify="right")
    table.add_column("share", justify="right")
    for cause, cycles in region.breakdown.items():
        table.add_row(cause, f"{cycles:,}", _percent(cycles, region.cycles))
    console.print(table)
    table = Table(header_style="bold")
    table.add_column("function")
    table.add_column("self cycles", justify="right")
    table.add_column("share", justify="right")
    table.add_column("instructions", justify="right")
    for function in region.functions[:functions]:
        table.add_row(
            escape(short_name(function.name)),
            f"{function.cycles:,}",
            _percent(function.cycles, region.cycles),
            f"{function.instructions:,}",
        )
    if len(region.functions) > functions:
        rest = region.functions[functions:]
        table.add_row(
            f"{len(rest)} more", f"{sum(f.cycles for f in rest):,}", "", f"{sum(f.instructions for f in rest):,}"
        )
    console.print(table)
