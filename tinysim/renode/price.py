"""Price what a Renode user counted in a session of their own: a counts file on a part, without running anything."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinysim.core import Pipeline, load_core
from tinysim.estimate import Estimate
from tinysim.image import Image, load_image
from tinysim.part import Part
from tinysim.renode.counts_file import read_counts
from tinysim.renode.machine import UNSEEN
from tinysim.result import ErrorBound, RegionCost

__all__ = ["SCHEMA", "PricedCounts", "price_counts"]

SCHEMA = "tinysim.price/1"
_ALL = "all that was counted"
IDEAL_MEMORY = "memory is ideal in this estimate: zero wait states, no cache misses"


@dataclass(frozen=True, slots=True)
class PricedCounts:
    """The regions of a counts file with their cycles on a part at a clock."""

    counts: str
    counter: str
    part: str
    core: str
    clock_hz: int
    regions: tuple[RegionCost, ...]
    executed_instructions: int
    error: ErrorBound
    warnings: tuple[str, ...]
    schema: str = SCHEMA

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionaries and lists, ``schema`` first."""
        fields = dataclasses.asdict(self)
        return {"schema": fields.pop("schema"), **fields}


def price_counts(
    path: Path | str, part: Part, *, clock_hz: int | None = None, firmware: Path | str | None = None
) -> PricedCounts:
    """Price a counts file on a part. ``firmware``: the ELF file that ran, for the names of its functions.

    Raises InputError for a file that is not what it should be, PartError for a clock, UnpricedError for an
    instruction without a price.
    """
    counts = read_counts(path)
    clock_hz = part.check_clock(clock_hz) if clock_hz is not None else part.default_clock_hz
    core = load_core(part.core).with_fpu(part.fpu)
    image = load_image(firmware) if firmware is not None else _nameless(Path(path))
    run = counts.run(core.context_blocks)
    estimate = Estimate.of(run, image, core, counts.code_reader())
    regions = tuple(estimate.region(number, clock_hz, name=region.name) for number, region in enumerate(counts.regions))
    warnings = [IDEAL_MEMORY, UNSEEN]
    if counts.history <= core.context_blocks:
        warnings.append(
            f"counted with {counts.history} pieces of history; {core.context_blocks + 1} or more make contexts exact"
        )
    if core.pipeline is Pipeline.DUAL_ISSUE and not counts.predicted:
        warnings.append(
            "counted without branch predictors: mispredictions are not in these cycles (tinysim_begin 3 ... 1)"
        )
    if counts.cpu.removesuffix("f") != part.core:
        warnings.append(f"counted on a {counts.cpu}, priced for a {part.core}")
    if counts.instructions != counts.executed:
        missing = counts.executed - counts.instructions
        warnings.append(
            f"the counter saw {missing:,} instructions less than Renode executed: other code ran before it was set"
        )
    return PricedCounts(
        counts=str(path),
        counter=counts.counter,
        part=part.name,
        core=part.core,
        clock_hz=clock_hz,
        regions=regions or (estimate.region(None, clock_hz, name=_ALL),),
        executed_instructions=counts.executed,
        error=ErrorBound(core.error_bound_percent, core.error_basis),
        warnings=tuple(warnings),
    )


def _nameless(path: Path) -> Image:
    return Image(path=path, sha256="", entry=0, segments=(), sections=(), symbols=())
