"""Whole cycles: rounding keeps sums; regions, causes, functions and layers agree."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from tinysim.estimate import whole
from tinysim.result import Result


@given(st.dictionaries(st.text(max_size=4), st.floats(0, 1e9), max_size=12))
def test_rounded_parts_add_up_to_the_rounded_sum(parts: dict[str, float]) -> None:
    rounded = whole(parts)
    assert list(rounded) == list(parts)
    assert sum(rounded.values()) == round(sum(parts.values()))
    assert all(math.floor(value) <= rounded[name] <= math.floor(value) + 1 for name, value in parts.items())


@given(st.dictionaries(st.text(max_size=4), st.integers(0, 10**12), max_size=12))
def test_whole_numbers_stay_as_they_are(parts: dict[str, int]) -> None:
    assert whole(parts) == parts


def test_the_largest_remainder_is_rounded_up() -> None:
    assert whole({"a": 1.2, "b": 1.7, "c": 1.1}) == {"a": 1, "b": 2, "c": 1}


def test_a_result_adds_up(cnn_results: tuple[Result, ...]) -> None:
    for result in cnn_results:
        region = result.regions[0]
        assert sum(region.breakdown.values()) == region.cycles == result.cycles
        assert abs(sum(f.cycles for f in region.functions) - region.cycles) <= len(region.functions)
        assert sum(f.instructions for f in region.functions) == region.instructions == result.instructions
        assert list(region.functions) == sorted(region.functions, key=lambda f: -f.cycles)
        layers = sum(layer.cycles for layer in result.layers)
        assert 0.99 * region.cycles < layers <= region.cycles
        assert sum(layer.instructions for layer in result.layers) <= region.instructions
        assert region.cycles_low <= region.cycles <= region.cycles_high
        assert result.latency_s == region.cycles / result.clock_hz
