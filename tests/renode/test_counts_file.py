"""The counts file: written inside Renode, checked here value by value, priced."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_machine import inside, regions_of

from tinysim.core import load_core
from tinysim.errors import InputError, PartError
from tinysim.estimate import Estimate
from tinysim.image import Image
from tinysim.part import Part
from tinysim.renode.counts_file import SCHEMA, parse_counts, read_counts, write_counts
from tinysim.renode.find import Renode
from tinysim.renode.machine import RenodeMachine
from tinysim.renode.price import price_counts
from tinysim.renode.session import RenodeSession

GOOD: dict[str, Any] = {
    "schema": SCHEMA,
    "counter": "csharp",
    "cpu": "cortex-m4",
    "history": 2,
    "instructions": 14,
    "executed": 14,
    "markers": [["loop", 0x100, None]],
    "phases": [[-1, -1, 0xFFFFFFFF, 0], [0, 0, 0x20000100, 1]],
    "pieces": [[0x100, 2, 0, "00bfFEE7"], [0x200, 1, 0, "00eb0000"]],
    "rows": [[1, -1, -1, 0, 1], [1, -1, 0, 0, 5], [0, 0, 0, 1, 2]],
}


def test_what_a_file_says() -> None:
    counts = parse_counts(json.dumps(GOOD))
    assert counts.regions[0].name == "loop"
    assert counts.phases[0].lowest_sp > 1 << 32  # never seen
    assert counts.pieces[0].end == 0x104
    assert counts.rows[1].path == (-1, 0, 0)
    assert counts.read_code(0x100, 4) == bytes.fromhex("00bffee7")
    with pytest.raises(InputError, match="no code at 0x00000300"):
        counts.read_code(0x300, 2)
    run = counts.run(1)
    assert run.calls == (1,)
    assert run.counts(0).executions.sum() == 6


def test_round_trip(tmp_path: Path) -> None:
    counts = parse_counts(json.dumps(GOOD))
    write_counts(counts, tmp_path / "counts.json")
    assert read_counts(tmp_path / "counts.json") == counts


def changed(*path: object, to: object) -> str:
    data = copy.deepcopy(GOOD)
    place: Any = data
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = to
    return json.dumps(data)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[]", "not a tinysim.counts/1 file: 'list'"),
        ("{}", "not a tinysim.counts/1 file: None"),
        ("[" * 100_000, "not JSON"),
        (changed("schema", to="tinysim.counts/2"), "not a tinysim.counts/1 file: 'tinysim.counts/2'"),
        (changed("history", to=0), "history is 0"),
        (changed("history", to="2"), "history is '2'"),
        (changed("history", to=True), "history is True"),
        (changed("history", to=3), "row 0 is not a list of 6"),
        (changed("pieces", to={}), "pieces is not a list"),
        (changed("pieces", 0, 3, to="00bf"), "holds 1 instructions, not 2"),
        (changed("pieces", 0, 3, to="zz"), "not hexadecimal"),
        (changed("pieces", 1, 3, to="00eb"), "whole Thumb instructions"),
        (changed("pieces", 0, 0, to=-2), "address of piece 0 is -2"),
        (changed("pieces", 0, 0, to=0x101), "odd address"),
        (changed("pieces", 0, 0, to=1 << 32), "address of piece 0"),
        (changed("rows", 0, 3, to=2), "piece in row 0 is 2"),
        (changed("rows", 0, 3, to=-1), "row 0 counts no piece"),
        (changed("rows", 0, 0, to=7), "phase of row 0 is 7"),
        (changed("rows", 1, 4, to=-5), "count of row 1 is -5"),
        (changed("rows", 1, 4, to=6), "sum up to 16 instructions, not to the 14"),
        (changed("rows", 1, 4, to=1.5), "count of row 1 is 1.5"),
        (changed("phases", to=[]), "phases is empty"),
        (changed("phases", 1, 0, to=1), "parent of phase 1 is 1"),
        (changed("phases", 1, 1, to=4), "marker of phase 1 is 4"),
        (changed("phases", 0, 0, to=0), "parent of phase 0 is 0"),
        (changed("markers", 0, 0, to=5), "name of marker 0 is not text"),
        (changed("markers", 0, 1, to=None), "start of marker 0 is None"),
        (changed("markers", to=[["a", 0, None], ["a", 2, None]]), "two markers have one name"),
    ],
)
def test_what_is_refused(text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_counts(text)
    assert message in str(caught.value)
    assert caught.value.hint


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)


@given(st.sampled_from(sorted(GOOD)), _json)
@settings(max_examples=300, deadline=None)
def test_nothing_but_an_input_error_comes_of_a_bad_file(field: str, value: object) -> None:
    try:
        parse_counts(json.dumps({**GOOD, field: value}))
    except InputError as error:
        assert error.exit_code == 2


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read"):
        read_counts(tmp_path / "missing.json")
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="is not text"):
        read_counts(tmp_path / "binary.json")


@pytest.fixture
def dumped(stand_in: Callable[..., Renode], target: Image, board: Part, tmp_path: Path) -> Path:
    """Counts as a user's own session dumps them."""
    with RenodeSession(stand_in("live")) as session:
        machine = RenodeMachine(target, board, depth=1, regions=regions_of(target), session=session)
        machine.write(target.symbol("mode").address, bytes(4))
        machine.write(target.symbol("rounds").address, (9).to_bytes(4, "little"))
        machine.run_to(target.symbol("finished").address)
        session.count("cpu", "dump", f'"{tmp_path}/counts.json"')
    return tmp_path / "counts.json"


def test_pricing_a_file(dumped: Path, target: Image, board: Part, stand_in: Callable[..., Renode]) -> None:
    priced = price_counts(dumped, board, clock_hz=50_000_000, firmware=target.path)
    with RenodeSession(stand_in("live")) as session:
        _, run = inside(target, board, 1, session)
    estimate = Estimate.of(run, target, load_core("cortex-m4"))
    assert [region.name for region in priced.regions] == ["invoke", "fib", "leaf", "tail", "marks"]
    for number, region in enumerate(priced.regions):
        expected = estimate.region(number, 50_000_000)
        assert (region.cycles, region.instructions, region.calls) == (
            expected.cycles,
            expected.instructions,
            expected.calls,
        )
        assert region.latency_s == pytest.approx(region.cycles / 50e6)
        assert sum(region.breakdown.values()) == region.cycles
    assert priced.regions[1].functions[0].name == "fib"
    assert price_counts(dumped, board).regions[1].functions[0].name.startswith("0x0800")
    assert json.loads(json.dumps(priced.to_dict()))["schema"] == "tinysim.price/1"
    with pytest.raises(PartError, match="cannot run at 200 MHz"):
        price_counts(dumped, board, clock_hz=200_000_000)


def test_the_command(dumped: Path, board: Part, capsys: pytest.CaptureFixture[str]) -> None:
    from tinysim.cli import main

    with pytest.raises(SystemExit) as ended:
        main(["price", str(dumped), "--part", str(board.path), "--clock", "50MHz", "--json", "-"])
    assert ended.value.code == 0
    data = json.loads(capsys.readouterr().out)
    assert data["clock_hz"] == 50_000_000
    assert data["regions"][0]["calls"] == 9
    with pytest.raises(SystemExit) as ended:
        main(["price", str(dumped), "--part", str(board.path)])
    assert "fib" in capsys.readouterr().out
    with pytest.raises(SystemExit) as ended:
        main(["price", str(board.path), "--part", str(board.path)])
    assert ended.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
