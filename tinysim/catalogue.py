"""The catalogue: which parts there are, which of them meet a wish, and a new part to start from."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tinysim.errors import PartError
from tinysim.part import Part, RegionKind, load_part, part_names

__all__ = ["Bound", "Wish", "flash_bytes", "load_parts", "new_part", "parse_bound", "ram_bytes", "select"]

_BOUND = re.compile(r"\s*(>=|<=|=|>|<)?\s*(.+)")


def flash_bytes(part: Part) -> int:
    """Flash on the chip, in bytes; external flash does not count."""
    return sum(region.size for region in part.regions if region.kind is RegionKind.FLASH)


def ram_bytes(part: Part) -> int:
    """All RAM, tightly coupled and backup included, in bytes."""
    return sum(region.size for region in part.regions if region.kind.writable)


@dataclass(frozen=True, slots=True)
class Bound:
    """A condition on a number: ``>=512K``. A bare number means at least."""

    comparison: str
    value: float

    def __call__(self, value: float) -> bool:
        return {
            ">=": value >= self.value,
            "<=": value <= self.value,
            ">": value > self.value,
            "<": value < self.value,
            "=": value == self.value,
        }[self.comparison]


def parse_bound(text: str, parse: type[float] | object) -> Bound:
    """``>=512K`` with a function that reads the quantity. Raises what that function raises."""
    match = _BOUND.fullmatch(text)
    assert match and callable(parse)
    return Bound(match[1] or ">=", float(parse(match[2])))


@dataclass(frozen=True, slots=True)
class Wish:
    """What a part should be; None for what does not matter. ``core`` matches the end of a core's name: ``m7``."""

    core: str | None = None
    flash: Bound | None = None
    ram: Bound | None = None
    clock: Bound | None = None
    price: Bound | None = None

    def fits(self, part: Part) -> bool:
        """Whether a part meets the wish. A part without a known price never meets one on the price."""
        if self.core is not None and not part.core.lower().endswith(self.core.lower().lstrip("-")):
            return False
        if self.price is not None and (part.price is None or not self.price(part.price.amount)):
            return False
        return (
            (self.flash is None or self.flash(flash_bytes(part)))
            and (self.ram is None or self.ram(ram_bytes(part)))
            and (self.clock is None or self.clock(part.max_clock_hz))
        )


def load_parts(names: Iterable[str] | None = None) -> tuple[Part, ...]:
    """The parts of the catalogue, or those named, in order of name."""
    return tuple(load_part(name) for name in (names if names is not None else part_names()))


def select(parts: Iterable[Part], wish: Wish) -> tuple[Part, ...]:
    """The parts that meet a wish, in the order given."""
    return tuple(part for part in parts if wish.fits(part))


def new_part(like: Part, path: Path) -> tuple[Path, Path]:
    """Write a copy of a part's two files under a new name, to start from; returns both paths.

    The name is the file's; every source is kept, since a copied value still has the source it was copied with. What
    estimates were measured to be off by is left out: that was another part. Raises PartError when a file is there
    already, or the folder is not.
    """
    target = path if path.suffix == ".toml" else path.with_name(path.name + ".toml")
    description = target.with_suffix(".repl")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", target.stem):
        raise PartError(f"{target.stem!r} is no name for a part", hint="use letters, digits and dashes")
    if not target.parent.is_dir():
        raise PartError(f"there is no folder {target.parent}", hint="make it first")
    for file in (target, description):
        if file.exists():
            raise PartError(f"{file} is there already", hint="choose another name, or move it away")
    text = like.path.read_text(encoding="utf-8")
    text = re.sub(r'(?m)^name = ".*"$', f'name = "{target.stem.lower()}"', text, count=1)
    text = re.sub(r'(?m)^title = ".*"$', f'title = "{target.stem}"', text, count=1)
    text = re.sub(r"(?m)^(#.*\n)?\[error\]\n(?:.+\n)*\n?", "", text, count=1)
    heading = f"# {target.stem}, copied from {like.title}. Change what differs, and give each value its own source.\n"
    text = re.sub(r"\A#.*\n", heading, text)
    platform = like.platform_path.read_text(encoding="utf-8")
    if "using" in platform and re.search(r'(?m)^using "', platform):
        raise PartError(f"{like.platform_path} includes other files", hint="copy it by hand")
    platform = re.sub(r"\A// [^.]*\.", f"// {target.stem}, copied from {like.title}.", platform, count=1)
    target.write_text(text, encoding="utf-8")
    description.write_text(platform, encoding="utf-8")
    return target, description
