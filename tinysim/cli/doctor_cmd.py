"""tinysim doctor: what is installed, what is missing, how to get it."""

from __future__ import annotations

from typing import Annotated

import typer

from tinysim.cli.common import console, write_json

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command(epilog="Example: tinysim doctor --json -")
    def doctor(
        cc: Annotated[str | None, typer.Option(help="An arm GCC to look at, or its prefix.")] = None,
        renode: Annotated[str | None, typer.Option(help="Where Renode is.")] = None,
        json: Annotated[str | None, typer.Option(help="Write the findings as JSON.", metavar="FILE|-")] = None,
    ) -> None:
        """Show what tinysim found on this computer; exit code 1 when something it needs is missing."""
        from tinysim.doctor import examine

        findings = examine(cc=cc, renode=renode)
        missing = any(f.needed and not f.found for f in findings)
        if json:
            write_json(
                [
                    {"name": f.name, "found": f.found, "version": f.version, "needed": f.needed, "advice": f.advice}
                    for f in findings
                ],
                json,
            )
        if json != "-":
            out = console()
            for finding in findings:
                mark = (
                    "[green]ok[/]     "
                    if finding.found
                    else "[red]missing[/]"
                    if finding.needed
                    else "[yellow]absent[/] "
                )
                out.print(f"{mark} {finding.name:<20} {finding.version if finding.found else finding.advice}")
        if missing:
            raise typer.Exit(1)
