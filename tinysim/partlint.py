"""What is wrong with a part file, and with its platform description as Renode would read it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from tinysim.errors import PartError
from tinysim.part import Confidence, Part
from tinysim.partfile import read_part
from tinysim.tomlfile import Table, read_toml

__all__ = ["Finding", "Severity", "check_file", "check_part", "check_platform"]

_FACT_TABLES = (
    "platform", "clock", "wait_states", "flash", "path", "control", "register", "supply", "price", "variant",
    "models", "systick", "error",
)  # fmt: skip
_NESTED = ("bus", "lines", "instruction_lines", "data_lines")


class Severity(StrEnum):
    """``ERROR``: the file cannot be used as it is. ``WARNING``: it can, but something is missing."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing wrong, with its place."""

    path: str
    line: int
    field: str
    message: str
    severity: Severity = Severity.ERROR
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.field}: {self.message}"


def check_file(path: Path) -> tuple[Finding, ...]:
    """Lint a part file, a core file or a platform description, by what it is. Raises PartError when it cannot be read.
    """
    if path.suffix == ".repl":
        return check_platform(path)
    schema = read_toml(path).get("schema")
    if isinstance(schema, str) and schema.startswith("tinysim.core/"):
        from tinysim.core import check_core

        return tuple(
            Finding(str(path), found.line, found.field, found.message) for found in check_core(path)
        )
    return check_part(path)


def check_part(path: Path) -> tuple[Finding, ...]:
    """Lint a part's `.toml` and the `.repl` it names. Findings of both, in order of file and line; empty when all is
    well.
    """
    found = list(_without_source(read_toml(path)))
    part: Part | None = None
    try:
        part = read_part(path)
    except PartError as error:
        found.append(_finding(error, path))
    else:
        found += _missing(part)
        found += check_platform(part.platform_path)
    unique = {(item.path, item.line, item.message): item for item in found}
    return tuple(sorted(unique.values(), key=lambda item: (item.path, item.line, item.field)))


def _finding(error: PartError, path: Path) -> Finding:
    match = re.match(r"(?P<path>[^:\n]+):(?P<line>\d+): (?P<field>[^:\s]+): (?P<message>.*)", error.message, re.DOTALL)
    if match:
        return Finding(match["path"], int(match["line"]), match["field"], match["message"], hint=error.hint)
    match = re.match(r"(?P<path>[^:\n]+):(?P<line>\d+): (?P<message>.*)", error.message, re.DOTALL)
    if match:
        return Finding(match["path"], int(match["line"]), "the file", match["message"], hint=error.hint)
    return Finding(str(path), 1, "the file", error.message, hint=error.hint)


def _without_source(root: Table) -> Iterator[Finding]:
    """Every table of facts needs a source and a confidence: all that lack one, not only the first."""
    tables: list[Table] = []
    for key in _FACT_TABLES:
        value = root.get(key)
        if isinstance(value, dict):
            table = root.table(key)
            assert table is not None
            tables += [table, *(child for name in _NESTED if (child := _child(table, name)) is not None)]
        elif isinstance(value, list):
            tables += root.tables(key)
    caches = root.get("cache")
    if isinstance(caches, dict):
        table = root.table("cache")
        assert table is not None
        tables += [child for _, child in table.children()]
    known = ", ".join(member.value for member in Confidence)
    for table in tables:
        source, confidence = table.get("source"), table.get("confidence")
        if not isinstance(source, str) or not source.strip():
            yield Finding(str(root.path), table.line(), table.field(), "values without a source")
        elif confidence not in [member.value for member in Confidence]:
            yield Finding(str(root.path), table.line(), table.field(), f"confidence is not one of {known}")


def _child(table: Table, name: str) -> Table | None:
    return table.table(name) if isinstance(table.get(name), dict) else None


def _missing(part: Part) -> Iterator[Finding]:
    path = str(part.path)
    if part.wait_table is None:
        message = "there is no wait-state table: only --ideal-memory gives a time"
        yield Finding(path, 1, "wait_states", message, Severity.WARNING)
    if part.memory is None:
        message = "nothing is said about flash, caches or buses: memory is taken as ideal"
        yield Finding(path, 1, "flash", message, Severity.WARNING)
    elif not part.memory.controls:
        message = "no control register is described: lines and caches are taken as switched on"
        yield Finding(path, 1, "control", message, Severity.WARNING)
    doubtful = [source for source in part.sources if source.confidence is Confidence.MEMORY]
    for source in doubtful:
        yield Finding(path, source.line, source.field, "from memory: find a document", Severity.WARNING)


def check_platform(path: Path) -> tuple[Finding, ...]:
    """Whether Renode would load a platform description, offline, and count time as tinysim expects."""
    from tinysim.renode.models import check_platform as findings_of

    try:
        texts = findings_of(path)
    except PartError as error:
        return (_finding(error, path),)
    return tuple(_finding(PartError(text), path) for text in texts)
