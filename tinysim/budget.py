"""Budgets: limits in words, such as ``latency <= 20 ms on stm32l4r5zi``, checked against results.

    METRIC [of [region|layer|function] NAME] <= LIMIT [on PART] [at CLOCK] [for MODEL]

METRIC is latency, cycles, instructions, flash, ram, stack, arena, weights or energy. ``of`` asks for a region, a
layer or a function (its own cycles) of the result; a name with spaces is quoted. A region's cycles and latency are
those of one call, the mean of its calls. ``on``, ``at`` and ``for`` choose the results the budget is for; without
them it is for all. A budget file is TOML: ``budgets = ["...", "..."]``.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePath

from tinysim.errors import InputError
from tinysim.result import Result
from tinysim.units import format_bytes, format_seconds, parse_bytes, parse_hz, parse_seconds

__all__ = ["Budget", "Quantity", "Verdict", "check", "parse_budget", "read_budgets"]

_GRAMMAR = "latency <= 20 ms on stm32l4r5zi"
_COUNT = re.compile(r"([0-9][0-9_,]*(?:\.[0-9]+)?)\s*([kKM]?)")
_ENERGY = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(uJ|µJ|μJ|mJ|J)")
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|<=|<|[^\s"<]+')


class Quantity(StrEnum):
    """What a budget limits."""

    LATENCY = "latency"
    CYCLES = "cycles"
    INSTRUCTIONS = "instructions"
    FLASH = "flash"
    RAM = "ram"
    STACK = "stack"
    ARENA = "arena"
    WEIGHTS = "weights"
    ENERGY = "energy"


class Kind(StrEnum):
    """What a named part of a result is."""

    REGION = "region"
    LAYER = "layer"
    FUNCTION = "function"


_BYTES = (Quantity.FLASH, Quantity.RAM, Quantity.STACK, Quantity.ARENA, Quantity.WEIGHTS)
_OF = {
    Quantity.LATENCY: (Kind.REGION, Kind.LAYER, Kind.FUNCTION),
    Quantity.CYCLES: (Kind.REGION, Kind.LAYER, Kind.FUNCTION),
    Quantity.INSTRUCTIONS: (Kind.REGION, Kind.LAYER, Kind.FUNCTION),
    Quantity.STACK: (Kind.REGION,),
}


@dataclass(frozen=True, slots=True)
class Budget:
    """One limit: seconds, cycles, instructions, bytes or microjoules. ``strict``: it must stay below, not only at it.
    """

    quantity: Quantity
    limit: float
    strict: bool = False
    of: str | None = None
    kind: Kind | None = None
    part: str | None = None
    clock_hz: int | None = None
    model: str | None = None

    def applies_to(self, result: Result) -> bool:
        """Whether it is for this result; names of parts and models are compared without case."""
        subject = {(result.model or "").lower(), PurePath(result.firmware.path).name.lower()}
        return (
            (self.part is None or self.part.lower() == result.part.lower())
            and (self.clock_hz is None or self.clock_hz == result.clock_hz)
            and (self.model is None or self.model.lower() in subject)
        )

    def shown(self, value: float) -> str:
        """A value of its quantity for people."""
        if self.quantity is Quantity.LATENCY:
            return format_seconds(value)
        if self.quantity in _BYTES:
            return format_bytes(value)
        return f"{value:,.6g} µJ" if self.quantity is Quantity.ENERGY else f"{value:,.0f}"

    def __str__(self) -> str:
        """The budget in words; `parse_budget` reads it back."""
        words = [self.quantity.value]
        if self.of is not None:
            words += ["of", *([self.kind.value] if self.kind else []), _quoted(self.of)]
        words += ["<" if self.strict else "<=", _written(self.quantity, self.limit)]
        words += ["on", _quoted(self.part)] if self.part else []
        words += ["at", f"{self.clock_hz}Hz"] if self.clock_hz else []
        words += ["for", _quoted(self.model)] if self.model else []
        return " ".join(words)


def _quoted(name: str) -> str:
    words = {"of", "on", "at", "for", *(kind.value for kind in Kind)}
    if _TOKEN.fullmatch(name) and not name.startswith('"') and name.lower() not in words and name not in ("<", "<="):
        return name
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _written(quantity: Quantity, limit: float) -> str:
    number = repr(limit) if limit % 1 else str(int(limit))
    if quantity is Quantity.LATENCY:
        return f"{number} s"
    if quantity in _BYTES:
        return f"{number} B"
    return f"{number} uJ" if quantity is Quantity.ENERGY else number


def parse_budget(text: str) -> Budget:
    """A budget from its words. Raises InputError that says which word is wrong."""

    def wrong(what: str) -> InputError:
        return InputError(f"budget {text!r}: {what}", hint=f"write it like: {_GRAMMAR}")

    tokens, at = [], 0
    while rest_of := text[at:].lstrip():
        at = len(text) - len(rest_of)
        token = _TOKEN.match(text, at)
        if token is None:
            raise wrong("a quotation mark is missing")
        tokens.append(token[0])
        at = token.end()
    if not tokens:
        raise wrong("is empty")
    try:
        quantity = Quantity(tokens[0].lower())
    except ValueError:
        near = difflib.get_close_matches(tokens[0].lower(), list(Quantity), n=1)
        known = ", ".join(Quantity)
        raise wrong(f"{tokens[0]!r} is none of {known}" + (f" (did you mean {near[0]}?)" if near else "")) from None
    rest = tokens[1:]
    of, kind = None, None
    if rest[:1] == ["of"]:
        rest = rest[1:]
        if len(rest) > 1 and rest[0] in list(Kind) and rest[1] not in ("<", "<="):
            kind, rest = Kind(rest[0]), rest[1:]
        if not rest or rest[0] in ("<", "<="):
            raise wrong("a name is missing after 'of'")
        of, rest = _plain(rest[0]), rest[1:]
        if quantity not in _OF:
            raise wrong(f"{quantity} is of the whole program, not of a part of it")
    if not rest or rest[0] not in ("<", "<="):
        raise wrong(f"expected <= or < before {rest[0]!r}" if rest else "a limit is missing")
    strict, rest = rest[0] == "<", rest[1:]
    end = next((k for k, word in enumerate(rest) if word in ("on", "at", "for")), len(rest))
    limit = _limit(quantity, " ".join(rest[:end]), wrong)
    chosen: dict[str, str] = {}
    rest = rest[end:]
    while rest:
        if rest[0] not in ("on", "at", "for") or len(rest) < 2 or rest[0] in chosen:
            raise wrong(f"{rest[0]!r} is not expected there")
        chosen[rest[0]], rest = _plain(rest[1]), rest[2:]
    clock_hz = parse_hz(chosen["at"]) if "at" in chosen else None
    return Budget(quantity, limit, strict, of, kind, chosen.get("on"), clock_hz, chosen.get("for"))


def _plain(token: str) -> str:
    return re.sub(r"\\(.)", r"\1", token[1:-1]) if token.startswith('"') else token


def _limit(quantity: Quantity, text: str, wrong: Callable[[str], InputError]) -> float:
    if not text:
        raise wrong("a limit is missing")
    try:
        if quantity is Quantity.LATENCY:
            return parse_seconds(text)
        if quantity in _BYTES:
            return float(parse_bytes(text))
    except InputError as error:
        raise wrong(error.message) from error
    if quantity is Quantity.ENERGY:
        match = _ENERGY.fullmatch(text)
        if not match:
            raise wrong(f"{text!r} is not an energy such as 50 uJ")
        return float(match[1]) * {"uJ": 1.0, "µJ": 1.0, "μJ": 1.0, "mJ": 1e3, "J": 1e6}[match[2]]
    match = _COUNT.fullmatch(text)
    if not match:
        raise wrong(f"{text!r} is not a number of {quantity} such as 120000 or 1.5M")
    return float(match[1].replace("_", "").replace(",", "")) * {"": 1, "k": 1000, "K": 1000, "M": 1_000_000}[match[2]]


def read_budgets(path: Path) -> list[Budget]:
    """The budgets of a TOML file. Raises InputError."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}", hint="check the path") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not TOML: {error}", hint=f'write: budgets = ["{_GRAMMAR}"]') from error
    rules = document.pop("budgets", None)
    if document or not isinstance(rules, list) or not rules or not all(isinstance(rule, str) for rule in rules):
        raise InputError(f"{path} holds no list of budgets", hint=f'write: budgets = ["{_GRAMMAR}"]')
    return [parse_budget(rule) for rule in rules]


@dataclass(frozen=True, slots=True)
class Verdict:
    """One budget against one result. ``value`` is in the budget's unit; ``subject`` what was measured."""

    budget: Budget
    subject: str
    value: float

    @property
    def kept(self) -> bool:
        """Whether the value is within the limit."""
        return self.value < self.budget.limit or (self.value == self.budget.limit and not self.budget.strict)

    def __str__(self) -> str:
        name = f" of {self.budget.of}" if self.budget.of else ""
        sign = "<" if self.budget.strict else "<="
        value, limit = self.budget.shown(self.value), self.budget.shown(self.budget.limit)
        return f"{self.subject}: {self.budget.quantity}{name} is {value}, budget {sign} {limit}"


def check(budgets: Sequence[Budget], results: Sequence[Result]) -> tuple[list[Verdict], list[Budget]]:
    """Every budget against every result it is for; and the budgets that were for none.

    Raises InputError when no budget is for any result, when a name is not in a result, or a value was not measured.
    """
    verdicts, unused = [], []
    for budget in budgets:
        wanted = [result for result in results if budget.applies_to(result)]
        if not wanted:
            unused.append(budget)
        for result in wanted:
            subject = f"{result.model or PurePath(result.firmware.path).name} on {result.part}"
            verdicts.append(Verdict(budget, subject, _value(budget, result)))
    if budgets and not verdicts:
        measured = ", ".join(dict.fromkeys(f"{result.part} at {result.clock_hz / 1e6:g} MHz" for result in results))
        raise InputError(
            f"no budget is for what was measured ({measured})", hint="check the parts, clocks and models of the budgets"
        )
    return verdicts, unused


def _value(budget: Budget, result: Result) -> float:
    memory, quantity = result.memory, budget.quantity
    if budget.of is not None:
        return _value_of(budget, result)
    values = {
        Quantity.LATENCY: result.latency_s,
        Quantity.CYCLES: result.cycles,
        Quantity.INSTRUCTIONS: result.instructions,
        Quantity.FLASH: memory.flash_bytes,
        Quantity.RAM: memory.ram_bytes,
        Quantity.STACK: memory.stack_peak_bytes,
        Quantity.ARENA: memory.arena_bytes,
        Quantity.WEIGHTS: memory.weights_bytes,
        Quantity.ENERGY: result.energy.microjoules if result.energy else None,
    }
    value = values[quantity]
    if value is None:
        raise InputError(
            f"budget '{budget}': the result does not say its {quantity}",
            hint="leave the budget out, or measure what it needs",
        )
    return value


def _value_of(budget: Budget, result: Result) -> float:
    found = list(_named(budget, result))
    for _, name, cycles, instructions, stack in found:
        if name == budget.of:
            if budget.quantity is Quantity.STACK:
                if stack is None:
                    raise InputError(
                        f"budget '{budget}': the stack of {name} was not measured", hint="measure it as a region"
                    )
                return stack
            return {Quantity.CYCLES: cycles, Quantity.INSTRUCTIONS: instructions}.get(
                budget.quantity, cycles / result.clock_hz
            )
    names = list(dict.fromkeys(name for _, name, *_ in found))
    near = difflib.get_close_matches(budget.of or "", names, n=3, cutoff=0.5)
    what = budget.kind or "region, layer or function"
    hint = f"nearest: {', '.join(near)}" if near else f"there are: {', '.join(names[:6])}" if names else "measure it"
    raise InputError(f"budget '{budget}': the result has no {what} {budget.of!r}", hint=hint)


def _named(budget: Budget, result: Result) -> Iterator[tuple[Kind, str, float, float, int | None]]:
    """What of a result has a name: (kind, name, cycles, instructions, stack); regions come first, functions last."""
    kinds = [kind for kind in _OF[budget.quantity] if budget.kind in (None, kind)]
    if Kind.REGION in kinds:
        for region in result.regions:
            calls = max(region.per_call.outermost_calls if region.per_call else region.calls, 1)
            yield Kind.REGION, region.name, region.cycles / calls, region.instructions / calls, region.stack_peak_bytes
    if Kind.LAYER in kinds:
        for layer in result.layers:
            yield Kind.LAYER, layer.name, layer.cycles, layer.instructions, None
            yield Kind.LAYER, str(layer.index), layer.cycles, layer.instructions, None
    if Kind.FUNCTION in kinds and result.regions:
        for function in result.regions[0].functions:
            yield Kind.FUNCTION, function.name, function.cycles, function.instructions, None
