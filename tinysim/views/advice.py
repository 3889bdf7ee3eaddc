"""Findings as a table: what, why it is thought so, what to do, what it can win."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tinysim.result import Finding, Result
from tinysim.units import format_bytes

__all__ = ["show_findings"]


def show_findings(console: Console, result: Result) -> None:
    """One row a finding, the greatest gain first."""
    console.print("\n[bold]Advice[/]")
    if not result.findings:
        console.print("nothing found that makes it slower or larger than it must be")
        return
    table = Table(header_style="bold", show_lines=True)
    table.add_column("finding", max_width=34)
    table.add_column("gain", justify="right", no_wrap=True)
    table.add_column("evidence", max_width=56)
    table.add_column("what to do", max_width=48)
    for finding in result.findings:
        table.add_row(escape(finding.title), _gain(finding), escape(finding.evidence), escape(finding.action))
    console.print(table)


def _gain(finding: Finding) -> str:
    lines = []
    if finding.gain_cycles is not None:
        most = "" if finding.measured else "up to "
        lines += [f"{most}{finding.gain_cycles:,} cycles", f"({finding.gain_percent:.1f} %)"]
    if finding.gain_bytes is not None:
        lines.append(f"{format_bytes(finding.gain_bytes)} of flash")
    return "\n".join(lines) or "not known"
