"""Quantities as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinysim.errors import InputError
from tinysim.units import (
    format_bytes,
    format_hz,
    format_seconds,
    parse_bytes,
    parse_hz,
    parse_percent,
    parse_seconds,
)

SPACES = st.sampled_from(["", " ", "  "])
HZ = {"Hz": 1, "kHz": 10**3, "MHz": 10**6, "GHz": 10**9}
BYTES = {"": 1, "B": 1, "K": 1024, "KB": 1024, "KiB": 1024, "M": 1024**2, "MB": 1024**2, "MiB": 1024**2}


@st.composite
def any_case(draw: st.DrawFn, text: str) -> str:
    return "".join(draw(st.sampled_from([c.lower(), c.upper()])) for c in text)


@given(st.integers(1, 10**6), st.sampled_from(sorted(HZ)), SPACES, st.data())
def test_a_whole_number_of_a_unit_of_frequency_is_exact(
    number: int, unit: str, space: str, data: st.DataObject
) -> None:
    assert parse_hz(f"{space}{number}{space}{data.draw(any_case(unit))}") == number * HZ[unit]


@given(st.integers(0, 10**6), st.sampled_from(sorted(BYTES)), SPACES, st.data())
def test_a_whole_number_of_a_unit_of_size_is_exact(number: int, unit: str, space: str, data: st.DataObject) -> None:
    assert parse_bytes(f"{number}{space}{data.draw(any_case(unit))}") == number * BYTES[unit]


def test_fractions_and_groups_of_digits() -> None:
    assert parse_hz("1.5MHz") == 1_500_000
    assert parse_hz("16_000kHz") == 16_000_000
    assert parse_bytes("1.5K") == 1536
    assert parse_seconds("20 ms") == pytest.approx(0.02)
    assert parse_seconds("3 µs") == parse_seconds("3us") == pytest.approx(3e-6)
    assert parse_percent("1.5%") == parse_percent("1.5") == 1.5


@pytest.mark.parametrize(
    "text", ["120", "", "MHz", "-1MHz", "1.2.3MHz", "120 M Hz", "120MiB", "0MHz", "0.1Hz", "nan MHz", "inf", "1e999MHz"]
)
def test_what_is_not_a_clock_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_hz(text)
    assert "120MHz" in caught.value.hint
    assert repr(text) in caught.value.message


@pytest.mark.parametrize(
    ("parse", "text"),
    [(parse_bytes, "12 apples"), (parse_bytes, "1e999"), (parse_seconds, "5"), (parse_percent, "1ms")],
)
def test_another_unit_is_refused(parse, text: str) -> None:
    with pytest.raises(InputError):
        parse(text)


@given(st.text())
def test_any_text_is_a_quantity_or_an_input_error(text: str) -> None:
    for parse in (parse_hz, parse_bytes, parse_seconds, parse_percent):
        try:
            value = parse(text)
        except InputError:
            continue
        assert value >= 0


@given(st.floats(1, 999e9))
def test_a_frequency_reads_back_to_four_digits(value: float) -> None:
    assert parse_hz(format_hz(value)) == pytest.approx(value, rel=5.1e-4, abs=0.5)


@given(st.floats(1e-9, 999))
def test_a_time_reads_back_to_four_digits(value: float) -> None:
    assert parse_seconds(format_seconds(value)) == pytest.approx(value, rel=5.1e-4)


@given(st.integers(0, 2**32))
def test_a_size_reads_back_within_half_of_its_last_digit(value: int) -> None:
    text = format_bytes(value)
    step = {"B": 1, "KiB": 1024 / 10, "MiB": 1024**2 / 100}[text.split()[1]]
    assert abs(parse_bytes(text) - value) <= step / 2 + 1
