"""Show what a program printed and left behind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markup import escape

if TYPE_CHECKING:
    from rich.console import Console

    from tinysim.scenario import Observed

__all__ = ["show_observed", "to_observed_dict"]


def show_observed(out: Console, observed: Observed) -> None:
    """Print the program's text, one line after its channel, and the values read."""
    for channel, text in observed.output.items():
        for line in text.splitlines():
            out.print(f"[dim]{escape(channel)}[/] {escape(line)}")
    if observed.returned is not None:
        out.print(f"returned {observed.returned:#x} in r0, {observed.returned_float:g} in s0")
    for name, value in observed.values.items():
        out.print(f"{escape(name)} = {escape(str(value))}")
    if observed.exit_code:
        out.print(f"the program ended with exit code {observed.exit_code}")
    if len(observed.stacks) > 1 or any(stack.by for stack in observed.stacks):
        for stack in observed.stacks:
            handlers = "".join(f", {name} {peak}" for name, peak in stack.by)
            out.print(f"stack {escape(stack.name)}: {stack.peak_bytes:,} of {stack.room_bytes:,} bytes{handlers}")
    if observed.heap_peak_bytes is not None:
        out.print(f"heap peak {observed.heap_peak_bytes:,} bytes")


def to_observed_dict(observed: Observed) -> dict[str, object]:
    """The same for JSON; only what there is."""
    found: dict[str, object] = {
        "output": observed.output,
        "values": observed.values,
        "exit_code": observed.exit_code,
        "heap_peak_bytes": observed.heap_peak_bytes,
        "stacks": [
            {"name": s.name, "peak_bytes": s.peak_bytes, "room_bytes": s.room_bytes, "handlers": dict(s.by)}
            for s in observed.stacks
        ],
    }
    if observed.returned is not None:
        found["returned"] = {"r0": observed.returned, "s0": observed.returned_float}
    return {key: value for key, value in found.items() if value not in (None, {}, [])}
