"""A program from reset to its end in Renode, as `tinysim run --engine renode` does it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from test_machine import regions_of

from tinysim.core import load_core
from tinysim.engine.run import MeasuredRegion
from tinysim.errors import EngineError, FaultError, ImageError
from tinysim.image import Image
from tinysim.part import Part
from tinysim.renode.execute import execute
from tinysim.renode.find import Renode

CORE = load_core("cortex-m4")


@pytest.fixture
def renode(stand_in: Callable[..., Renode], monkeypatch: pytest.MonkeyPatch) -> Renode:
    found = stand_in("live")
    monkeypatch.setenv("RENODE_PATH", str(found.path))
    return found


def test_to_the_end(target: Image, board: Part, renode: Renode) -> None:
    ran = execute(target, board, CORE, [regions_of(target)[-1]], until=None, max_instructions=10**8)
    cost = ran.estimate.region(0, 100_000_000)
    assert cost.calls == 1
    assert ran.executed_instructions > cost.instructions
    assert ran.stack_top - 64 > ran.lowest_sp > ran.stack_top - 4096 or ran.lowest_sp >= ran.stack_top - 64
    assert ran.cyccnt is not None
    assert "Renode shows blocks" in ran.warnings[0]
    assert ran.uart == {}


def test_until_a_symbol(target: Image, board: Part, renode: Renode) -> None:
    whole = execute(target, board, CORE, [], until="finished", max_instructions=10**8)
    part_of_it = execute(target, board, CORE, [], until="mark_begin", max_instructions=10**8, renode=renode.path)
    assert 0 < part_of_it.executed_instructions < whole.executed_instructions


def test_what_never_happens_is_said(target: Image, board: Part, renode: Renode) -> None:
    with pytest.raises(ImageError, match="no symbol 'nowhere'"):
        execute(target, board, CORE, [], until="nowhere", max_instructions=10**8)
    with pytest.raises(FaultError, match=r"Default_Handler was never reached; the program ended at .* in finished"):
        execute(target, board, CORE, [], until="Default_Handler", max_instructions=10**8)
    unused = MeasuredRegion("handler", target.symbol("Default_Handler").address)
    with pytest.raises(FaultError, match="handler was never entered"):
        execute(target, board, CORE, [unused], until=None, max_instructions=10**8)


def test_without_renode(target: Image, board: Part, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RENODE_PATH", "/nowhere/renode")
    with pytest.raises(
        EngineError, match=r"RENODE_PATH names /nowhere/renode, which is no Renode \(get a portable package"
    ):
        execute(target, board, CORE, [], until=None, max_instructions=10**8)
