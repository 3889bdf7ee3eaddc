"""tinysim baseline: keep results, compare with them, check budgets; for people and for CI."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tinysim.cli.common import console, write_json, write_text

if TYPE_CHECKING:
    from tinysim.baseline import Comparison
    from tinysim.budget import Budget, Verdict
    from tinysim.errors import BudgetError
    from tinysim.result import Result

__all__ = ["register"]

_Results = Annotated[
    list[str],
    typer.Argument(help="Files that run or bench wrote with --json; - for standard input.", metavar="RESULTS..."),
]
_Name = Annotated[str, typer.Argument(help="The baseline's name, such as main.")]
_Dir = Annotated[Path, typer.Option("--dir", help="The folder of the baselines.", show_default=".tinysim/baselines")]
_FOLDER = Path(".tinysim") / "baselines"
_BudgetFile = Annotated[
    Path | None, typer.Option("--budget", help="A TOML file with budgets, such as latency <= 20 ms on stm32l4r5zi.")
]
_Markdown = Annotated[
    str | None, typer.Option(help="Write Markdown, for a comment on a pull request.", metavar="FILE|-")
]
_Junit = Annotated[str | None, typer.Option(help="Write JUnit XML, for CI.", metavar="FILE|-")]
_Json = Annotated[str | None, typer.Option(help="Write the comparison as JSON.", metavar="FILE|-")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Keep results, compare with them, check budgets.", no_args_is_help=True)
    app.add_typer(group, name="baseline")

    @group.command(epilog="Example: tinysim run firmware.elf -p stm32l4r5zi --json - | tinysim baseline save main -")
    def save(
        name: _Name,
        results: _Results,
        folder: _Dir = _FOLDER,
        force: Annotated[bool, typer.Option("--force", help="Replace a baseline of this name.")] = False,
    ) -> None:
        """Keep results under a name."""
        from tinysim import baseline

        kept = _read(results)
        path = baseline.save(name, kept, folder, force=force)
        print(f"{name}: {len(kept)} result{'s' if len(kept) != 1 else ''} in {path}")

    @group.command(epilog="Example: tinysim baseline compare main results.json --max-regression 1%")
    def compare(
        name: _Name,
        results: _Results,
        folder: _Dir = _FOLDER,
        max_regression: Annotated[
            str, typer.Option(help="How much cycles and memory may grow; beyond it the exit code is 3.")
        ] = "0%",
        budget: _BudgetFile = None,
        markdown: _Markdown = None,
        junit: _Junit = None,
        json: _Json = None,
    ) -> None:
        """Compare results with a baseline; exit code 3 when something grew by more than is allowed."""
        from tinysim import baseline
        from tinysim.units import parse_percent

        percent = parse_percent(max_regression)
        measured = _read(results)
        comparison = baseline.compare(name, baseline.load(name, folder), measured)
        _finish(comparison, percent, measured, budget, markdown, junit, json)

    @group.command(epilog="Example: tinysim baseline check results.json --budget budgets.toml")
    def check(
        results: _Results,
        budget: _BudgetFile,
        markdown: _Markdown = None,
        junit: _Junit = None,
        json: _Json = None,
    ) -> None:
        """Check results against budgets, without a baseline; exit code 3 when one is exceeded."""
        _finish(None, 0.0, _read(results), budget, markdown, junit, json)

    @group.command(name="list")
    def list_(folder: _Dir = _FOLDER) -> None:
        """List the baselines."""
        from tinysim import baseline

        for name in baseline.names(folder):
            kept = baseline.load(name, folder)
            what = dict.fromkeys(f"{r.model or Path(r.firmware.path).name} on {r.part}" for r in kept)
            print(f"{name}: {', '.join(what)}")


def _read(paths: Sequence[str]) -> list[Result]:
    import json

    from tinysim.errors import InputError
    from tinysim.result import Result, read_results

    found: list[Result] = []
    for path in paths:
        if path != "-":
            found += read_results(path)
            continue
        try:
            data = json.loads(sys.stdin.read())
        except ValueError as error:
            raise InputError(
                f"standard input is not JSON: {error}", hint="pipe `tinysim run ... --json -` into it"
            ) from error
        found += [Result.from_dict(item) for item in (data if isinstance(data, list) else [data])]
    return found


def _finish(
    comparison: Comparison | None,
    percent: float,
    measured: Sequence[Result],
    budget_file: Path | None,
    markdown: str | None,
    junit: str | None,
    json: str | None,
) -> None:
    """Write and show what was asked for; raise BudgetError when something is worse than allowed."""
    from tinysim.budget import check, read_budgets
    from tinysim.views.comparison import comparison_record, show_comparison, show_verdicts, to_comparison_markdown
    from tinysim.views.junit import to_junit

    verdicts: list[Verdict] = []
    unused: list[Budget] = []
    if budget_file is not None:
        verdicts, unused = check(read_budgets(budget_file), measured)
    if markdown:
        write_text(to_comparison_markdown(comparison, percent, verdicts, unused), markdown)
    if junit:
        write_text(to_junit(comparison, percent, verdicts), junit)
    if json:
        write_json(comparison_record(comparison, percent, verdicts, unused), json)
    if "-" not in (markdown, junit, json):
        out = console()
        if comparison is not None:
            show_comparison(out, comparison, percent)
        show_verdicts(out, verdicts, unused)
    error = _failure(comparison, percent, verdicts)
    if error is not None:
        raise error


def _failure(comparison: Comparison | None, percent: float, verdicts: Sequence[Verdict]) -> BudgetError | None:
    """The error that says what is worse, naming the functions that grew; None when all is well."""
    from tinysim.baseline import Metric, Scope
    from tinysim.errors import BudgetError

    lines = []
    for pair in comparison.pairs if comparison else ():
        for change in pair.regressions(percent):
            line = f"{pair.title}: {change}"
            if change.metric is Metric.CYCLES:
                region = change.name if change.scope is Scope.REGION else None
                line += "".join(f"\n  {c.name}: {c.delta:+,} cycles" for c in pair.culprits(region))
            lines.append(line)
        if pair.answers_broke:
            lines.append(f"{pair.title}: the model's answers were right in the baseline and are not any more")
    lines += [str(verdict) for verdict in verdicts if not verdict.kept]
    if not lines:
        return None
    first, *more = "\n".join(lines).splitlines()
    return BudgetError(
        first, hint="accept it with `tinysim baseline save --force`, or make it smaller", details="\n".join(more)
    )
