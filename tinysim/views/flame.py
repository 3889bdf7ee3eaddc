"""Profiles for flame-graph viewers: folded stacks (flamegraph.pl, inferno, speedscope) and speedscope's own JSON."""

from __future__ import annotations

import json

from tinysim.result import Profile, RegionCost, Result
from tinysim.views.table import short_name

__all__ = ["to_folded", "to_speedscope"]

_SCHEMA = "https://www.speedscope.app/file-format-schema.json"


def to_folded(profile: Profile) -> str:
    """One line a stack: its functions separated by semicolons, a space, its cycles. The lines add up to the region's
    cycles.
    """
    lines = (f"{';'.join(_frame(name) for name in cost.stack)} {cost.cycles}" for cost in profile.stacks if cost.cycles)
    return "".join(line + "\n" for line in lines)


def _frame(name: str) -> str:
    return short_name(name, 200).replace(";", ":").replace("\n", " ")


def to_speedscope(result: Result) -> str:
    """One sampled profile for each region that has a call tree; the weights are cycles.

    Format: https://www.speedscope.app/file-format-schema.json.
    """
    frames: dict[str, int] = {}
    profiles = [_profile(region, frames) for region in result.regions if region.profile is not None]
    document = {
        "$schema": _SCHEMA,
        "name": f"{result.firmware.path} on {result.part}",
        "exporter": "tinysim",
        "activeProfileIndex": 0,
        "shared": {"frames": [{"name": name} for name in frames]},
        "profiles": profiles,
    }
    return json.dumps(document)


def _profile(region: RegionCost, frames: dict[str, int]) -> dict[str, object]:
    assert region.profile is not None
    stacks = [cost for cost in region.profile.stacks if cost.cycles]
    return {
        "type": "sampled",
        "name": f"{region.name} (cycles)",
        "unit": "none",
        "startValue": 0,
        "endValue": sum(cost.cycles for cost in stacks),
        "samples": [[frames.setdefault(name, len(frames)) for name in cost.stack] for cost in stacks],
        "weights": [cost.cycles for cost in stacks],
    }
