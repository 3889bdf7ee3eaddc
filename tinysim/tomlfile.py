"""A TOML file read strictly: every value typed, every unknown key an error, every error with file, line and field.

``tomllib`` does not keep line numbers; :func:`line_of` finds the line of a key by reading the file's headers and keys
again.
"""

from __future__ import annotations

import copy
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from tinysim.errors import InputError, PartError
from tinysim.units import parse_bytes, parse_hz

__all__ = ["Table", "line_of", "read_toml"]

E = TypeVar("E", bound=StrEnum)
Key = str | int


def read_toml(path: Path) -> Table:
    """The root table of a file. Raises PartError when it cannot be read or is not TOML."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PartError(f"cannot read {path}", hint=str(error)) from error
    try:
        return Table(tomllib.loads(text), path, text, ())
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"line (\d+)", str(error))
        raise PartError(f"{path}:{line[1] if line else 1}: not valid TOML", hint=str(error)) from error


class Table:
    """One table of the file. Each getter marks its key as known; :meth:`close` refuses what was never asked for."""

    def __init__(self, values: dict[str, Any], path: Path, text: str, keys: tuple[Key, ...]) -> None:
        self._values = values
        self._text = text
        self._known: set[str] = set()
        self.path = path
        self.keys = keys

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def line(self, key: str | None = None) -> int:
        """The line of a key, or of the table itself."""
        return line_of(self._text, (*self.keys, key) if key is not None else self.keys)

    def field(self, key: str | None = None) -> str:
        """The dotted name of a key, as messages show it."""
        keys = (*self.keys, key) if key is not None else self.keys
        return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in keys).lstrip(".") or "the file"

    def error(self, message: str, key: str | None = None, hint: str = "") -> PartError:
        """An error that names file, line and field."""
        return PartError(f"{self.path}:{self.line(key)}: {self.field(key)}: {message}", hint=hint)

    def peek(self, key: str) -> Any:
        """The raw value, or None when absent; the key is not marked as known."""
        return self._values.get(key)

    def get(self, key: str) -> Any:
        """The raw value, or None when absent."""
        self._known.add(key)
        return self._values.get(key)

    def _typed(self, key: str, kind: type, what: str) -> Any:
        value = self.get(key)
        if value is None:
            raise self.error(f"{what} is missing", None, hint=f"add {key!r} to {self.field()}")
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise self.error(f"{value!r} is not {what}", key)
        return value

    def string(self, key: str) -> str:
        """A string that must be there and not be empty."""
        value = str(self._typed(key, str, "a text"))
        if not value.strip():
            raise self.error("is empty", key, hint="say it, or leave the whole table out")
        return value

    def integer(self, key: str, *, low: int = 0, high: int = 2**40) -> int:
        """A whole number within bounds that must be there."""
        value = int(self._typed(key, int, "a whole number"))
        if not low <= value <= high:
            raise self.error(f"{value} is not between {low} and {high}", key)
        return value

    def number(self, key: str) -> float:
        """A number that must be there."""
        self._typed(key, (int, float), "a number")  # type: ignore[arg-type]
        return float(self._values[key])

    def flag(self, key: str) -> bool:
        """true or false; must be there."""
        return bool(self._typed(key, bool, "true or false"))

    def strings(self, key: str) -> tuple[str, ...]:
        """A list of strings; must be there."""
        values = self._typed(key, list, "a list of texts")
        if not all(isinstance(value, str) for value in values):
            raise self.error("holds something that is not a text", key)
        return tuple(values)

    def choice(self, key: str, kind: type[E]) -> E:
        """One member of an enumeration; must be there."""
        value = self.string(key)
        try:
            return kind(value)
        except ValueError:
            choices = ", ".join(member.value for member in kind)
            raise self.error(f"{value!r} is not one of {choices}", key) from None

    def _quantity(self, key: str, parse: Callable[[str], int], example: str) -> int:
        value = self.get(key)
        if not isinstance(value, str):
            raise self.error(
                "is missing" if value is None else f"{value!r} has no unit", key if value is not None else None,
                hint=f'write it as text with its unit, like {key} = "{example}"',
            )
        try:
            return parse(value)
        except InputError as error:
            raise self.error(error.message, key, hint=error.hint) from error

    def hz(self, key: str) -> int:
        """A clock frequency with its unit, in hertz."""
        return self._quantity(key, parse_hz, "120MHz")

    def size(self, key: str) -> int:
        """A size with its unit, in bytes."""
        return self._quantity(key, parse_bytes, "512K")

    def table(self, key: str) -> Table | None:
        """A sub-table, or None when absent."""
        value = self.get(key)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise self.error("is not a table", key)
        return Table(value, self.path, self._text, (*self.keys, key))

    def need(self, key: str) -> Table:
        """A sub-table that must be there."""
        found = self.table(key)
        if found is None:
            raise self.error(f"the table [{self.field(key)}] is missing", None)
        return found

    def tables(self, key: str) -> tuple[Table, ...]:
        """A list of tables; empty when absent."""
        values = self.get(key)
        if values is None:
            return ()
        if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
            raise self.error("is not a list of tables", key)
        return tuple(
            Table(value, self.path, self._text, (*self.keys, key, index)) for index, value in enumerate(values)
        )

    def children(self) -> Iterator[tuple[str, Table]]:
        """Every key with its sub-table, for tables whose keys are names."""
        for key in self._values:
            found = self.table(key)
            if found is not None:
                yield key, found

    def changed(self, values: Mapping[str, Any], blame: Table) -> Table:
        """A copy with some values set anew, by dotted keys (``"path.0.slave"`` for an element of a list).

        Raises PartError, at ``blame``, for a key that the table does not have.
        """
        copied = copy.deepcopy(self._values)
        for dotted, value in values.items():
            *parents, last = dotted.split(".")
            place: Any = copied
            try:
                for key in parents:
                    place = place[int(key) if isinstance(place, list) else key]
                place[last]
            except (KeyError, IndexError, ValueError, TypeError):
                raise blame.error("there is nothing of that name to set", dotted) from None
            place[last] = value
        return Table(copied, self.path, self._text, self.keys)

    def close(self, ignore: Iterable[str] = ()) -> None:
        """Refuse keys that nobody asked for: they are most often typing mistakes."""
        for key in self._values:
            if key not in self._known and key not in ignore:
                known = ", ".join(sorted(self._known))
                raise self.error("unknown key", key, hint=f"known here: {known}")


def line_of(text: str, keys: tuple[Key, ...]) -> int:
    """The line (from 1) where a key of a TOML text stands; that of the nearest enclosing table where it cannot be
    found.
    """
    best, best_length = 1, 0
    header: tuple[Key, ...] = ()
    array: tuple[Key, ...] | None = None
    element = -1
    counts: dict[tuple[Key, ...], int] = {}

    def consider(path: tuple[Key, ...], number: int) -> None:
        nonlocal best, best_length
        if len(path) > best_length and keys[: len(path)] == path:
            best, best_length = number, len(path)

    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        if match := re.match(r"\[\[\s*([^\]]+?)\s*\]\]", line):
            name = _parts(match[1])
            counts[name] = counts.get(name, -1) + 1
            header, array = (*name, counts[name]), None
            consider(header, number)
        elif array is None and (match := re.match(r"\[\s*([^\]]+?)\s*\]\s*(#.*)?$", line)):
            header = _indexed(_parts(match[1]), counts)
            for length in range(1, len(header) + 1):
                consider(header[:length], number)
        elif array is None and (match := re.match(r"([A-Za-z0-9_\-.\"]+)\s*=\s*(.*)", line)):
            path = (*header, *_parts(match[1]))
            for length in range(len(header) + 1, len(path) + 1):
                consider(path[:length], number)
            rest = match[2]
            if rest.startswith("[") and rest.count("[") > rest.count("]"):
                array, element = path, -1
        elif array is not None:
            if line.startswith("]"):
                array = None
                continue
            element += 1
            consider((*array, element), number)
            if (match := re.search(r"\]\s*(#.*)?$", line)) and line.count("]") > line.count("["):
                array = None
    return best


def _indexed(name: tuple[str, ...], counts: dict[tuple[Key, ...], int]) -> tuple[Key, ...]:
    """``[a.b]`` below an array of tables ``[[a]]`` belongs to the latest element of ``a``."""
    found: tuple[Key, ...] = ()
    for part in name:
        found = (*found, part)
        if found in counts:
            found = (*found, counts[found])
    return found


def _parts(text: str) -> tuple[str, ...]:
    return tuple(part.strip().strip('"') for part in re.findall(r'"[^"]*"|[^.\s]+', text))
