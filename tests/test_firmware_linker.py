"""Layouts of any part: disjoint, in the order of choice, and true to the linker's own arithmetic."""

from __future__ import annotations

import itertools

import pytest
from firmware_runner import SmallPart, m4, m7
from hypothesis import given
from hypothesis import strategies as st

from tinysim.data import firmware_folder
from tinysim.errors import PartError
from tinysim.linker import Layout, Purpose, Span, layouts, overflows, script

KIB = 1024


def disjoint(layout: Layout) -> bool:
    spans = sorted(set(layout.spans.values()), key=lambda span: span.base)
    return all(low.base + low.size <= high.base for low, high in itertools.pairwise(spans))


@st.composite
def parts(draw: st.DrawFn) -> SmallPart:
    """Parts of up to six memories that do not overlap, with any placement."""
    memories, at = {}, 0
    for index in range(draw(st.integers(1, 6))):
        at += draw(st.integers(0, 1 << 20)) * KIB
        size = draw(st.integers(1, 4096)) * KIB
        memories[f"memory{index}"] = (at, size)
        at += size
    names = st.lists(st.sampled_from(sorted(memories)), min_size=1, max_size=3, unique=True).map(tuple)
    return SmallPart("any", "cortex-m4", "fpv4-sp", memories, {str(purpose): draw(names) for purpose in Purpose})


@given(parts(), st.booleans())
def test_layouts_are_disjoint_and_at_their_bases(part: SmallPart, oversized: bool) -> None:
    for layout in layouts(part, oversized=oversized, largest_arena=False):
        assert disjoint(layout)
        for purpose, span in layout.spans.items():
            assert span.name in part.placement[purpose]
            base, size = part.span(span.name)
            assert span.base == base
            assert span.size >= size if oversized else span.size == size


@given(parts())
def test_first_layout_is_of_first_choices(part: SmallPart) -> None:
    first = next(iter(layouts(part, oversized=False, largest_arena=False)))
    assert first.names == {str(purpose): part.placement[purpose][0] for purpose in Purpose}


@given(parts())
def test_oversized_is_one_layout(part: SmallPart) -> None:
    assert len(list(layouts(part, oversized=True, largest_arena=True))) == 1


def test_largest_memory_for_the_arena_comes_first_when_asked() -> None:
    chosen = [layout.names["arena"] for layout in layouts(m7(), oversized=False, largest_arena=True)]
    assert chosen == ["axi", "dtcm"]


def test_overlapping_names_are_refused() -> None:
    part = m4()
    memories = dict(part.memories) | {"low": (0x20000000, 64 * KIB), "high": (0x20010000, 64 * KIB)}
    placement = dict(part.placement) | {"data": ("low",), "arena": ("low+high",)}
    both = SmallPart("odd", part.core, part.fpu, memories, placement)
    with pytest.raises(PartError, match=r"low and low\+high, which overlap"):
        list(layouts(both, oversized=False, largest_arena=False))


def test_script_names_each_memory_once() -> None:
    layout = next(iter(layouts(m7(), oversized=False, largest_arena=False)))
    text = script(firmware_folder() / "link.ld.in", layout, arena_bytes=1234, stack_bytes=4096)
    assert "@" not in text
    assert text.count("ORIGIN = 0x20000000") == 1
    assert ". += 1234;" in text


def test_overflows_are_read_in_the_parts_names() -> None:
    layout = Layout({Purpose.DATA: Span("sram1+sram2", 0x20000000, 64)})
    messages = "ld: region `SRAM1_SRAM2' overflowed by 96 bytes\nld: region `OTHER' overflowed by 1 byte"
    assert overflows(messages, layout) == {"sram1+sram2": 96}
    assert overflows("undefined reference to `x'", layout) == {}
