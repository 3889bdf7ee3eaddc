"""The result record: its JSON reads back to itself, and what is no record is refused."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tinysim.errors import InputError
from tinysim.result import SCHEMA, Outputs, Result, read_results

ALLOWED = settings(
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], deadline=None, max_examples=60
)


def values(kind: Any) -> st.SearchStrategy[Any]:
    """Values of a field's type, as a measurement may give them: small, and every number finite."""
    import types
    import typing

    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        return st.one_of([st.none() if a is type(None) else values(a) for a in arguments])
    if origin is tuple:
        return st.lists(values(arguments[0]), max_size=2).map(tuple)
    if origin is not None and issubclass(origin, Mapping):
        return st.dictionaries(st.text(max_size=5), values(arguments[1]), max_size=2)
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        return st.builds(
            kind, **{f.name: values(hints[f.name]) for f in dataclasses.fields(kind) if f.name != "schema"}
        )
    return {
        int: st.integers(-(2**63), 2**63),
        float: st.floats(allow_nan=False, allow_infinity=False),
        str: st.text(max_size=8),
        bool: st.booleans(),
    }[kind]  # fmt: skip


RESULTS = values(Result)


@ALLOWED
@given(RESULTS)
def test_a_result_reads_back_to_itself(result: Result) -> None:
    data = json.loads(result.to_json())
    assert list(data)[:2] == ["schema", "model"]
    assert data["schema"] == SCHEMA
    assert Result.from_dict(data) == result


@ALLOWED
@given(RESULTS, st.dictionaries(st.text(min_size=1), st.integers(), max_size=3))
def test_fields_of_a_newer_version_are_ignored(result: Result, more: dict[str, int]) -> None:
    data = result.to_dict()
    data["memory"] = {**{f"x-{key}": value for key, value in more.items()}, **data["memory"]}
    assert Result.from_dict({**{f"x-{key}": value for key, value in more.items()}, **data}) == result


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@ALLOWED
@given(RESULTS, st.data())
def test_a_damaged_record_is_an_input_error_or_a_result(result: Result, data: st.DataObject) -> None:
    record = result.to_dict()
    for name in data.draw(st.lists(st.sampled_from(sorted(record)), max_size=3)):
        record[name] = data.draw(JSON)
    for name in data.draw(st.lists(st.sampled_from(sorted(record)), max_size=2)):
        record.pop(name, None)
    try:
        read = Result.from_dict(record)
    except InputError as error:
        assert SCHEMA in error.message
        assert error.hint
    else:
        assert Result.from_dict(read.to_dict()) == read


@pytest.mark.parametrize("field", ["part", "core", "clock_hz", "regions", "memory", "firmware", "error"])
def test_a_record_without_what_it_needs_is_damaged(field: str, one_result: Result) -> None:
    record = one_result.to_dict()
    del record[field]
    with pytest.raises(InputError, match="damaged"):
        Result.from_dict(record)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("clock_hz", "120MHz"),
        ("clock_hz", True),
        ("latency_s", "fast"),
        ("part", 3),
        ("warnings", "one text"),
        ("regions", {}),
    ],
)
def test_a_record_with_a_value_of_another_type_is_damaged(field: str, value: object, one_result: Result) -> None:
    with pytest.raises(InputError, match="damaged"):
        Result.from_dict({**one_result.to_dict(), field: value})


@pytest.mark.parametrize(
    "text", ["", "{", "[1]", "3", "null", '{"schema": "tinysim.result/2"}', "[" * 100_000, "\ufeff{}"]
)
def test_a_file_that_is_no_result_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        read_results(path)
    assert "--json" in caught.value.hint


def test_a_file_of_bytes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not JSON"):
        read_results(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot read .*absent\.json"):
        read_results(tmp_path / "absent.json")


def test_one_object_and_an_array_are_both_read(one_result: Result, tmp_path: Path) -> None:
    single, several = tmp_path / "one.json", tmp_path / "two.json"
    single.write_text(one_result.to_json())
    several.write_text(f"[{one_result.to_json()}, {one_result.to_json()}]")
    assert read_results(single) == [one_result]
    assert read_results(str(several)) == [one_result, one_result]


def test_json_holds_no_number_that_is_none(one_result: Result) -> None:
    wrong = dataclasses.replace(one_result, outputs=Outputs(False, "host", float("inf"), 0.0, "seed 0"))
    with pytest.raises(ValueError, match="not JSON compliant"):
        wrong.to_json()


def test_a_result_cannot_be_changed(one_result: Result) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        one_result.cycles = 0  # type: ignore[misc]
