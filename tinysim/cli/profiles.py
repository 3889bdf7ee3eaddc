"""What `tinysim run` does with a profile: files for viewers, annotated functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from tinysim.cli.common import write_text

if TYPE_CHECKING:
    from tinysim.lines import LineCost
    from tinysim.measure import Measured
    from tinysim.result import Result

__all__ = ["ProfileOutputs", "split_names"]


def split_names(values: Sequence[str]) -> list[str]:
    """Names given several times or separated by commas; a comma inside brackets is part of a C++ name."""
    names: list[str] = []
    for value in values:
        depth, name = 0, ""
        for char in value:
            depth += {"(": 1, "<": 1, ")": -1, ">": -1}.get(char, 0)
            if char == "," and depth <= 0:
                names.append(name)
                name = ""
            else:
                name += char
        names.append(name)
    return [name.strip() for name in names if name.strip()]


@dataclass(frozen=True)
class ProfileOutputs:
    """Where profiles go. The files hold the main region, the first; speedscope's all regions."""

    show: bool = False
    flame: str | None = None
    speedscope: str | None = None
    callgrind: str | None = None
    annotate: tuple[str, ...] = ()
    sources: tuple[Path, ...] = ()

    @property
    def wanted(self) -> bool:
        """Whether calls must be followed."""
        return bool(self.show or self.flame or self.speedscope or self.callgrind)

    @property
    def standard_output(self) -> bool:
        """Whether one of the files is standard output, which then holds nothing else."""
        return "-" in (self.flame, self.speedscope, self.callgrind)

    def write(self, result: Result, measured: Measured) -> None:
        """Write the files. Raises InputError."""
        from tinysim.views.callgrind import to_callgrind
        from tinysim.views.flame import to_folded, to_speedscope

        main = result.regions[0]
        if self.flame and main.profile:
            write_text(to_folded(main.profile), self.flame)
        if self.speedscope:
            write_text(to_speedscope(result), self.speedscope)
        if self.callgrind and main.profile:
            lines = _lines_by_function(measured, 0 if measured.estimate.run.regions else None)
            write_text(
                to_callgrind(main.profile, result.firmware.path, lines, (main.cycles, main.instructions)),
                self.callgrind,
            )

    def print(self, console: Console, result: Result, measured: Measured) -> None:
        """Print call trees and annotated functions. Raises ImageError for a function that is not there."""
        from tinysim.lines import SourceLines, instruction_costs
        from tinysim.views.annotate import show_annotated
        from tinysim.views.calls import show_profile

        if self.show:
            for region in result.regions:
                show_profile(console, region)
        lines = SourceLines(measured.image)
        region_number = 0 if measured.estimate.run.regions else None
        for name in self.annotate:
            function = measured.image.symbol(name)
            costs = instruction_costs(measured.estimate, measured.core, region_number, function)
            show_annotated(console, function, costs, lines, self.sources or (Path.cwd(),))


def _lines_by_function(measured: Measured, region: int | None) -> dict[str, tuple[LineCost, ...]]:
    from tinysim.lines import InstructionCost, SourceLines, instruction_costs, line_costs

    lines = SourceLines(measured.image)
    grouped: dict[str, dict[int, InstructionCost]] = {}
    for address, cost in instruction_costs(measured.estimate, measured.core, region).items():
        function = measured.image.function_at(address)
        if function is not None:
            grouped.setdefault(function.shown, {})[address] = cost
    return {name: line_costs(costs, lines) for name, costs in grouped.items()}
