"""Comparisons with a baseline, and budgets: for the terminal, as Markdown for a pull request's comment, as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tinysim.baseline import Change, Comparison, Metric, Pair, Scope
from tinysim.budget import Budget, Verdict
from tinysim.units import format_bytes
from tinysim.views.table import short_name

__all__ = ["comparison_record", "show_comparison", "show_verdicts", "to_comparison_markdown"]

SCHEMA = "tinysim.comparison/1"
_MOST = 10


def _value(change: Change, value: int | None) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if change.metric is Metric.CYCLES else format_bytes(value)


def _growth(change: Change) -> str:
    if change.before is None:
        return "new"
    if change.after is None:
        return "gone"
    if not change.delta:
        return "="
    return f"{change.percent:+.2f} %" if change.percent is not None else f"{change.delta:+,}"


def _totals(pair: Pair) -> list[Change]:
    return [c for c in pair.changes if c.scope in (Scope.REGION, Scope.PROGRAM)]


def _details(pair: Pair) -> list[Change]:
    """Functions and layers that changed, the largest changes first."""
    changed = [c for c in pair.changes if c.scope in (Scope.FUNCTION, Scope.LAYER) and c.delta]
    return sorted(changed, key=lambda c: (-abs(c.delta), c.name))[:_MOST]


def show_comparison(console: Console, comparison: Comparison, percent: float) -> None:
    """One table a pair: totals, then the functions and layers that changed most."""
    for pair in comparison.pairs:
        worse = set(map(id, pair.regressions(percent)))
        console.print(f"\n[bold]{escape(pair.title)}[/] against the baseline [bold]{escape(comparison.baseline)}[/]")
        table = Table(header_style="bold")
        for column in ("what", "of", "before", "after", "change", "difference"):
            table.add_column(column, justify="left" if column in ("what", "of") else "right")
        for number, change in enumerate((*_totals(pair), *_details(pair))):
            colour = (
                "red"
                if id(change) in worse
                else "green"
                if change.delta < 0
                else "yellow"
                if change.delta > 0
                else "dim"
            )
            what = change.metric.value if change.scope in (Scope.REGION, Scope.PROGRAM) else change.scope.value
            table.add_row(
                what,
                escape(short_name(change.name)),
                _value(change, change.before),
                _value(change, change.after),
                f"[{colour}]{_growth(change)}[/]",
                f"{change.delta:+,}" if change.delta else "",
                end_section=number + 1 == len(_totals(pair)),
            )
        console.print(table)
        for remark in pair.remarks:
            console.print(f"[yellow]note[/] {escape(remark)}")
        if pair.answers_broke:
            console.print("[red]the model's answers were right in the baseline and are not any more[/]")
    for what, names in (("not measured this time", comparison.missing), ("not in the baseline", comparison.added)):
        for name in names:
            console.print(f"[yellow]{what}:[/] {escape(name)}")


def show_verdicts(console: Console, verdicts: Sequence[Verdict], unused: Sequence[Budget]) -> None:
    """One line a budget."""
    for verdict in verdicts:
        console.print(f"{'[green]kept[/]    ' if verdict.kept else '[red]exceeded[/]'} {escape(str(verdict))}")
    for budget in unused:
        console.print(f"[yellow]not checked[/] {escape(str(budget))}: nothing it is for was measured")


def to_comparison_markdown(
    comparison: Comparison | None, percent: float, verdicts: Sequence[Verdict] = (), unused: Sequence[Budget] = ()
) -> str:
    """GitHub-flavoured Markdown, made to be a comment on a pull request."""
    lines: list[str] = []
    for pair in comparison.pairs if comparison else ():
        regressions = pair.regressions(percent)
        mark = "❌" if regressions or pair.answers_broke else "✅"
        assert comparison is not None
        lines += [
            f"### {mark} {pair.title} against `{comparison.baseline}`",
            "",
            "| | before | after | change |",
            "| --- | ---: | ---: | ---: |",
        ]
        for change in _totals(pair):
            name = f"{change.metric} of `{short_name(change.name)}`" if change.scope is Scope.REGION else change.name
            growth = f"**{_growth(change)}**" if change in regressions else _growth(change)
            lines.append(f"| {name} | {_value(change, change.before)} | {_value(change, change.after)} | {growth} |")
        details = _details(pair)
        if details:
            lines += [
                "",
                "<details><summary>What changed most</summary>",
                "",
                "| | | cycles before | after | difference |",
            ]
            lines.append("| --- | --- | ---: | ---: | ---: |")
            for change in details:
                row = (
                    change.scope.value,
                    f"`{short_name(change.name)}`",
                    _value(change, change.before),
                    _value(change, change.after),
                )
                lines.append(f"| {' | '.join(row)} | {change.delta:+,} |")
            lines += ["", "</details>"]
        lines += ["", *(f"> {remark}" for remark in pair.remarks)] if pair.remarks else []
        lines += (
            ["", "> **The model's answers were right in the baseline and are not any more.**"]
            if pair.answers_broke
            else []
        )
        lines.append("")
    if comparison:
        lines += [f"- not measured this time: {name}" for name in comparison.missing]
        lines += [f"- not in the baseline: {name}" for name in comparison.added]
    if verdicts or unused:
        lines += ["", "| budget | | measured |", "| --- | --- | ---: |"]
        for verdict in verdicts:
            value = verdict.budget.shown(verdict.value)
            lines.append(
                f"| `{verdict.budget}` on {verdict.subject} | {'✅' if verdict.kept else '❌'} | {value} |".replace(
                    " on on ", " on "
                )
            )
        lines += [f"| `{budget}` | not checked | |" for budget in unused]
    return "\n".join(lines).strip() + "\n"


def _change_record(change: Change) -> dict[str, Any]:
    return {
        "scope": change.scope.value,
        "metric": change.metric.value,
        "name": change.name,
        "region": change.region or None,
        "unit": change.metric.unit,
        "before": change.before,
        "after": change.after,
        "delta": change.delta,
        "percent": change.percent,
    }


def comparison_record(
    comparison: Comparison | None, percent: float, verdicts: Sequence[Verdict] = (), unused: Sequence[Budget] = ()
) -> dict[str, Any]:
    """JSON values, schema ``tinysim.comparison/1``."""
    pairs = comparison.pairs if comparison else ()
    failed = any(pair.regressions(percent) or pair.answers_broke for pair in pairs) or any(
        not verdict.kept for verdict in verdicts
    )
    return {
        "schema": SCHEMA,
        "baseline": comparison.baseline if comparison else None,
        "max_regression_percent": percent,
        "ok": not failed,
        "pairs": [
            {
                "subject": pair.title,
                "part": pair.after.part,
                "clock_hz": pair.after.clock_hz,
                "regressions": [_change_record(change) for change in pair.regressions(percent)],
                "changes": [_change_record(change) for change in pair.changes],
                "remarks": list(pair.remarks),
                "answers_broke": pair.answers_broke,
            }
            for pair in pairs
        ],
        "missing": list(comparison.missing) if comparison else [],
        "added": list(comparison.added) if comparison else [],
        "budgets": [
            {"budget": str(v.budget), "subject": v.subject, "value": v.value, "limit": v.budget.limit, "kept": v.kept}
            for v in verdicts
        ],
        "unused_budgets": [str(budget) for budget in unused],
    }
