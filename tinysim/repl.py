"""Read a Renode platform description (`.repl`): the subset that says what exists on a bus, and at which address.

Understood: entries (``name: Type @ sysbus 0x20000000``, several registrations in ``{...; ...}``, ranges ``<begin,
end>`` and ``<begin, +size>``), entries that only add to an earlier one (``name:``), properties, interrupt wiring
(``IRQ -> nvic@3``), ``using "file"``, comments, and ``init:`` blocks, of which ``Tag`` and ``SilenceRange`` lines are
read and other lines are kept as commands for the reader to judge. Everything else is refused with its line number:
nothing is ignored silently.

The syntax is that of Renode 1.16 (Renode documentation, "Describing platforms").
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from tinysim.errors import PartError

__all__ = [
    "Command",
    "Entry",
    "Include",
    "Interrupt",
    "Platform",
    "Reference",
    "Registration",
    "Tag",
    "Value",
    "parse_repl",
    "read_repl",
]


@dataclass(frozen=True, slots=True)
class Reference:
    """A property value that names another entry (``nvic: nvic``) or an enumeration member (``Mode.Fast``)."""

    name: str


Value = int | float | str | bool | Reference | tuple["Value", ...] | None
"""A property's value; a list becomes a tuple; None is Renode's ``none`` or ``empty``."""


@dataclass(frozen=True, slots=True)
class Registration:
    """Where an entry is attached: ``parent`` is ``sysbus`` or another entry; ``size`` is None where the model decides
    it.
    """

    parent: str
    address: int | None
    size: int | None
    line: int


@dataclass(frozen=True, slots=True)
class Interrupt:
    """One wire: ``source`` (an output's name or number, empty for the default one) to ``target``'s input ``input``.

    ``port``: the number after ``#`` where the target has several sets of inputs.
    """

    source: str
    target: str
    input: int
    line: int
    port: int | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One named thing of the platform. ``type`` is None when the entry adds to an earlier one."""

    name: str
    type: str | None
    registrations: tuple[Registration, ...]
    properties: Mapping[str, Value]
    interrupts: tuple[Interrupt, ...]
    line: int
    property_lines: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Tag:
    """A named address range without a model: reads give ``value`` (0 if None), writes are ignored; ``silent`` hides
    the log.
    """

    address: int
    size: int
    name: str
    value: int | None
    line: int
    silent: bool = False


@dataclass(frozen=True, slots=True)
class Command:
    """A line of an ``init:`` block that is no tag, as it stands; ``entry`` is whose block it is."""

    entry: str
    text: str
    line: int


@dataclass(frozen=True, slots=True)
class Include:
    """``using "file"``."""

    path: str
    line: int


@dataclass(frozen=True, slots=True)
class Platform:
    """A parsed description: what the file itself says; ``includes`` are not followed by :func:`parse_repl`."""

    path: str
    entries: tuple[Entry, ...]
    tags: tuple[Tag, ...]
    includes: tuple[Include, ...]
    commands: tuple[Command, ...] = ()

    def entry(self, name: str) -> Entry | None:
        """The entry of that name, or None."""
        return next((entry for entry in self.entries if entry.name == name), None)


class _Kind(Enum):
    NUMBER = "number"
    STRING = "string"
    NAME = "name"
    PUNCTUATION = "punctuation"


@dataclass(frozen=True, slots=True)
class _Token:
    kind: _Kind
    text: str
    line: int


_TOKEN = re.compile(
    r"(?P<number>[+-]?0[xX][0-9a-fA-F_]+|[+-]?[0-9][0-9_]*(?:\.[0-9]+)?)"
    r'|(?P<string>"(?:[^"\\]|\\.)*")'
    r"|(?P<name>[A-Za-z_][A-Za-z0-9_.]*)"
    r"|(?P<punctuation>->|[:@{};,<>|\[\]#+-])"
)
_INDENT = 4


@dataclass(frozen=True, slots=True)
class _Line:
    indent: int
    text: str
    number: int


class _Parser:
    def __init__(self, text: str, path: str) -> None:
        self.path = path
        self.lines = self._split(text)
        self.position = 0
        self.tags: list[Tag] = []
        self.commands: list[Command] = []

    def fail(self, line: int, message: str, hint: str = "") -> PartError:
        return PartError(
            f"{self.path}:{line}: {message}",
            hint=hint or "tinysim reads a subset of Renode's platform descriptions: docs/parts.md lists it",
        )

    def _split(self, text: str) -> list[_Line]:
        """Logical lines without comments; a line with an open brace goes on to the closing one."""
        cleaned = self._without_comments(text)
        lines: list[_Line] = []
        start = depth = 0
        joined = ""
        for number, raw in enumerate(cleaned.split("\n"), 1):
            if not raw.strip() and not depth:
                continue
            if not depth:
                start, joined = number, raw.rstrip()
            else:
                joined += "; " + raw.strip() if raw.strip() else ""
            depth = self._depth(joined)
            if depth > 0:
                continue
            body = joined.lstrip(" ")
            if body.startswith("\t"):
                raise self.fail(start, "indented with a tab", "indent by four spaces, as Renode wants it")
            indent = len(joined) - len(body)
            if indent % _INDENT:
                raise self.fail(start, f"indented by {indent} spaces", "indent by four spaces, as Renode wants it")
            lines.append(_Line(indent // _INDENT, body, start))
        if depth > 0:
            raise self.fail(start, "a brace is opened here and never closed")
        return lines

    @staticmethod
    def _depth(text: str) -> int:
        outside = re.sub(r'"(?:[^"\\]|\\.)*"', "", text)
        return outside.count("{") - outside.count("}")

    def _without_comments(self, text: str) -> str:
        pattern = re.compile(r'"(?:[^"\\\n]|\\.)*"|(?<!:)//[^\n]*|/\*.*?\*/', re.DOTALL)

        def blank(match: re.Match[str]) -> str:
            found = match[0]
            return found if found.startswith('"') else "\n" * found.count("\n")

        cleaned = pattern.sub(blank, text.replace("\r\n", "\n"))
        rest = re.sub(r'"(?:[^"\\\n]|\\.)*"', lambda match: " " * len(match[0]), cleaned)
        if "/*" in rest:
            raise self.fail(rest[: rest.index("/*")].count("\n") + 1, "a comment is opened here and never closed")
        return cleaned

    def tokens(self, line: _Line) -> list[_Token]:
        found: list[_Token] = []
        position = 0
        while position < len(line.text):
            if line.text[position] == " ":
                position += 1
                continue
            match = _TOKEN.match(line.text, position)
            if not match or match.lastgroup is None:
                raise self.fail(line.number, f"cannot read {line.text[position:position + 20]!r}")
            found.append(_Token(_Kind(match.lastgroup), match[0], line.number))
            position = match.end()
        return found

    def parse(self) -> Platform:
        entries: list[Entry] = []
        includes: list[Include] = []
        while self.position < len(self.lines):
            line = self.lines[self.position]
            if line.indent:
                raise self.fail(line.number, "indented, but belongs to no entry")
            self.position += 1
            if re.match(r"using\b", line.text):
                match = re.fullmatch(r'using\s+"([^"]+)"', line.text)
                if not match:
                    raise self.fail(line.number, f"cannot read {line.text!r}", 'write it like: using "file.repl"')
                includes.append(Include(match[1], line.number))
                continue
            entry = self._entry(line)
            if entry.type is None and entry.name == "sysbus" and not entry.properties and not entry.interrupts:
                continue
            if entry.type is not None and any(entry.name == other.name for other in entries):
                raise self.fail(line.number, f"{entry.name!r} is declared twice")
            entries.append(entry)
        return Platform(self.path, tuple(entries), tuple(self.tags), tuple(includes), tuple(self.commands))

    def _entry(self, line: _Line) -> Entry:
        match = re.fullmatch(r"([A-Za-z_][A-Za-z0-9_]*)\s*:\s*(.*)", line.text)
        if not match:
            raise self.fail(
                line.number, f"cannot read {line.text!r}", "an entry is written like: name: Type @ sysbus 0x20000000"
            )
        name, rest = match[1], match[2]
        attached = "@" in rest.partition("{")[0]
        head, where, inline = rest, "", ""
        if attached:
            head, _, where = rest.partition("@")
            where = where.strip()
            end = _group_end(where) if where.startswith("{") else len(where.partition("{")[0])
            where, inline = where[:end].strip(), where[end:].strip()
        elif "{" in rest:
            head, inline = rest[: rest.index("{")], rest[rest.index("{") :].strip()
        if inline:
            if _group_end(inline) != len(inline):
                raise self.fail(line.number, f"cannot read {inline!r}")
            inline = inline[1:-1]
        kind = head.strip() or None
        if kind and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.]*", kind):
            raise self.fail(line.number, f"{kind!r} is not the name of a model")
        registrations = self._registrations(where, line) if attached else ()
        properties: dict[str, Value] = {}
        property_lines: dict[str, int] = {}
        interrupts: list[Interrupt] = []
        body = [_Line(1, part.strip(), line.number) for part in _split_outside(inline, ";") if part.strip()]
        while self.position < len(self.lines) and self.lines[self.position].indent:
            body.append(self.lines[self.position])
            self.position += 1
        index = 0
        while index < len(body):
            item = body[index]
            index += 1
            if item.indent != 1:
                raise self.fail(item.number, "indented deeper than the entry it belongs to")
            if re.fullmatch(r"(init|init add)\s*:", item.text):
                while index < len(body) and body[index].indent == 2:
                    self._init_line(name, body[index])
                    index += 1
            elif "->" in item.text:
                interrupts += self._interrupts(item)
            else:
                key, value = self._property(item)
                if key in properties:
                    raise self.fail(item.number, f"{key!r} of {name!r} is given twice")
                properties[key], property_lines[key] = value, item.number
        return Entry(name, kind, registrations, properties, tuple(interrupts), line.number, property_lines)

    def _init_line(self, name: str, line: _Line) -> None:
        text = re.sub(r"\s+#.*$", "", line.text)
        if re.match(r"(Tag|SilenceRange)\b", text):
            if name != "sysbus":
                raise self.fail(line.number, f"a tag in the init block of {name!r}: only sysbus has tags")
            self.tags.append(self._tag(_Line(line.indent, text, line.number)))
        else:
            self.commands.append(Command(name, text, line.number))

    def _registrations(self, text: str, line: _Line) -> tuple[Registration, ...]:
        if text.startswith("{") and text.endswith("}"):
            parts = [part for part in _split_outside(text[1:-1], ";") if part.strip()]
        else:
            parts = [text]
        found = []
        for part in parts:
            match = re.fullmatch(
                r"([A-Za-z_][A-Za-z0-9_.]*)(?:\s+(?:(\w+)|<\s*(\w+)\s*,\s*(\+?)\s*(\w+)\s*>))?", part.strip()
            )
            if multi := re.fullmatch(r"(\w+)\s+new\s+Bus\.BusMultiRegistration\s*\{(.*)\}", part.strip()):
                given = dict(self._property(_Line(1, item.strip(), line.number)) for item in multi[2].split(";"))
                address, size = given.get("address"), given.get("size")
                if not isinstance(address, int) or not isinstance(size, int):
                    raise self.fail(line.number, f"cannot read the registration {part.strip()!r}")
                found.append(Registration(multi[1], address, size, line.number))
                continue
            if not match or match[1] == "new":
                raise self.fail(line.number, f"cannot read the registration {part.strip()!r}")
            if match[2] is not None:
                found.append(Registration(match[1], self._number(match[2], line), None, line.number))
            elif match[3] is not None:
                begin, other = self._number(match[3], line), self._number(match[5], line)
                size = other if match[4] else other - begin + 1
                if size <= 0:
                    raise self.fail(line.number, f"the range {part.strip()!r} is empty")
                found.append(Registration(match[1], begin, size, line.number))
            else:
                found.append(Registration(match[1], None, None, line.number))
        return tuple(found)

    def _number(self, text: str, line: _Line) -> int:
        if not re.fullmatch(r"0[xX][0-9a-fA-F_]+|[0-9][0-9_]*", text):
            raise self.fail(line.number, f"{text!r} is not a number")
        return int(text, 16) if text[:2] in ("0x", "0X") else int(text)

    def _property(self, line: _Line) -> tuple[str, Value]:
        tokens = self.tokens(line)
        if len(tokens) < 3 or tokens[0].kind is not _Kind.NAME or tokens[1].text != ":":
            raise self.fail(line.number, f"cannot read {line.text!r}", "a property is written like: size: 0x100000")
        value, rest = self._value(tokens[2:], line)
        if rest:
            raise self.fail(line.number, f"cannot read {rest[0].text!r} after the value")
        return tokens[0].text, value

    def _value(self, tokens: list[_Token], line: _Line) -> tuple[Value, list[_Token]]:
        """The value at the start of ``tokens``, and the tokens after it."""
        if not tokens:
            raise self.fail(line.number, "a value is missing")
        token, rest = tokens[0], tokens[1:]
        if token.text == "[":
            items: list[Value] = []
            while rest and rest[0].text != "]":
                item, rest = self._value(rest, line)
                items.append(item)
                if rest and rest[0].text == ",":
                    rest = rest[1:]
            if not rest:
                raise self.fail(line.number, "a list is opened and never closed")
            return tuple(items), rest[1:]
        match token.kind:
            case _Kind.NUMBER:
                text = token.text.replace("_", "")
                return float(text) if "." in text and "x" not in text else int(text, 0), rest
            case _Kind.STRING:
                return token.text[1:-1].replace('\\"', '"').replace("\\\\", "\\"), rest
            case _Kind.NAME:
                literals: dict[str, Value] = {"true": True, "false": False, "none": None, "empty": None}
                return literals.get(token.text, Reference(token.text)), rest
        raise self.fail(line.number, f"cannot read the value {token.text!r}")

    def _interrupts(self, line: _Line) -> list[Interrupt]:
        left, _, right = line.text.partition("->")
        sources = self._ends(left.strip(), line)
        found = []
        for target in right.split("|"):
            match = re.fullmatch(r"\s*(\w+)(?:#(\d+))?\s*@\s*(\[[^\]]+\]|\w+)\s*", target)
            if not match:
                raise self.fail(line.number, f"cannot read {line.text!r}", "wiring is written like: IRQ -> nvic@3")
            inputs = self._ends(match[3], line)
            if len(sources) != len(inputs):
                raise self.fail(line.number, f"{len(sources)} outputs are wired to {len(inputs)} inputs")
            port = int(match[2]) if match[2] else None
            found += [
                Interrupt(source, match[1], self._number(number, line), line.number, port)
                for source, number in zip(sources, inputs, strict=True)
            ]
        return found

    def _ends(self, text: str, line: _Line) -> list[str]:
        """One end of a wire, or several: ``IRQ``, ``3``, ``[0-4, 23]``, ``[TxIRQ, RxIRQ]``."""
        if not text.startswith("["):
            if not re.fullmatch(r"\w*", text):
                raise self.fail(line.number, f"cannot read {text!r}")
            return [text]
        found: list[str] = []
        for part in text[1:-1].split(","):
            if numbers := re.fullmatch(r"\s*(\d+)\s*-\s*(\d+)\s*", part):
                first, last = int(numbers[1]), int(numbers[2])
                if not 0 <= last - first <= 1024:
                    raise self.fail(line.number, f"{text!r} is not a range of wires")
                found += [str(number) for number in range(first, last + 1)]
            elif re.fullmatch(r"\s*\w+\s*", part):
                found.append(part.strip())
            else:
                raise self.fail(line.number, f"cannot read {text!r}")
        return found

    def _tag(self, line: _Line) -> Tag:
        match = re.fullmatch(
            r'(Tag|SilenceRange)\s*<\s*(\w+)\s*,?\s*(\+?)\s*(\w+)\s*>(?:\s*"([^"]*)")?(?:\s+(\w+))?', line.text
        )
        if not match or (match[1] == "Tag") != (match[5] is not None):
            raise self.fail(
                line.number, f"cannot read {line.text!r}", 'write it like: Tag <0x40023800, 0x40023BFF> "RCC" 0x2'
            )
        begin, other = self._number(match[2], line), self._number(match[4], line)
        size = other if match[3] else other - begin + 1
        if size <= 0:
            raise self.fail(line.number, "the tag's range is empty")
        value = self._number(match[6], line) if match[6] else None
        return Tag(begin, size, match[5] or "", value, line.number, silent=match[1] == "SilenceRange")


def _split_outside(text: str, separator: str) -> list[str]:
    """Split at ``separator`` outside strings and braces."""
    parts, depth, quoted, start = [], 0, False, 0
    for index, character in enumerate(text):
        if character == '"' and (index == 0 or text[index - 1] != "\\"):
            quoted = not quoted
        elif not quoted:
            depth += (character == "{") - (character == "}")
            if character == separator and not depth:
                parts.append(text[start:index])
                start = index + 1
    return [*parts, text[start:]]


def _group_end(text: str) -> int:
    """Where the brace group that ``text`` starts with ends (one past its closing brace)."""
    depth = 0
    for index, character in enumerate(text):
        depth += (character == "{") - (character == "}")
        if not depth:
            return index + 1
    return len(text)


def parse_repl(text: str, path: str = "<text>") -> Platform:
    """Parse a description. ``path`` is only for messages. Raises PartError with file and line on anything not
    understood.
    """
    return _Parser(text, path).parse()


def read_repl(path: Path) -> Platform:
    """Read a description and those it includes (relative to its own folder), included entries first.

    Raises PartError when a file is missing, includes itself, or holds what this subset does not have.
    """
    return _read(path, ())


def _read(path: Path, trail: tuple[Path, ...]) -> Platform:
    if path.resolve() in trail:
        raise PartError(f"{path} includes itself", hint="remove one of the `using` lines")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PartError(f"cannot read the platform description {path}", hint=str(error)) from error
    own = parse_repl(text, str(path))
    entries: list[Entry] = []
    tags: list[Tag] = []
    commands: list[Command] = []
    for include in own.includes:
        inner = path.parent / include.path
        if not inner.is_file():
            raise PartError(
                f"{path}:{include.line}: there is no file {include.path!r}", hint="paths are relative to the file"
            )
        other = _read(inner, (*trail, path.resolve()))
        entries += other.entries
        tags += other.tags
        commands += other.commands
    merged = _merge(own, [*entries, *own.entries])
    return Platform(own.path, merged, (*tags, *own.tags), own.includes, (*commands, *own.commands))


def _merge(own: Platform, entries: list[Entry]) -> tuple[Entry, ...]:
    """Fold entries that only add (``name:`` without a type) into the one they add to, as Renode does."""
    merged: dict[str, Entry] = {}
    for entry in entries:
        known = merged.get(entry.name)
        if entry.type is not None or known is None:
            if entry.type is None and entry.name != "sysbus":
                raise PartError(
                    f"{own.path}:{entry.line}: {entry.name!r} has no type and adds to nothing declared before",
                    hint="give it a type, as in: ram: Memory.MappedMemory @ sysbus 0x20000000",
                )
            merged[entry.name] = entry
            continue
        merged[entry.name] = Entry(
            entry.name,
            known.type,
            entry.registrations or known.registrations,
            {**known.properties, **entry.properties},
            (*known.interrupts, *entry.interrupts),
            known.line,
            {**known.property_lines, **entry.property_lines},
        )
    return tuple(merged.values())
