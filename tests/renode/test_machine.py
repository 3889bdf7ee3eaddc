"""The engine "renode" against the embedded engine, on programs that the stand-in runs for real."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import counter_process
import pytest

from tinysim.core import load_core
from tinysim.engine.run import MeasuredRegion, Run
from tinysim.engine.unicorn_machine import Ending, Machine
from tinysim.errors import EngineError, FaultError, ImageError
from tinysim.estimate import Estimate
from tinysim.image import Image
from tinysim.part import Part
from tinysim.renode.find import Renode
from tinysim.renode.machine import RenodeMachine
from tinysim.renode.session import SLOW_COUNTER, Counter, RenodeSession
from tinysim.timing import price

MODES = {"work": 0, "read hole": 1, "spin": 2, "sleep": 3}
REGIONS = ("invoke", "fib", "leaf", "tail")


def regions_of(image: Image) -> list[MeasuredRegion]:
    functions = [MeasuredRegion(name, image.symbol(name).address) for name in REGIONS]
    return [*functions, MeasuredRegion("marks", image.symbol("mark_begin").address, image.symbol("mark_end").address)]


def prepare(machine: Machine | RenodeMachine, image: Image, mode: str = "work", rounds: int = 9) -> None:
    machine.write(image.symbol("mode").address, MODES[mode].to_bytes(4, "little"))
    machine.write(image.symbol("rounds").address, rounds.to_bytes(4, "little"))


def layer_sites(image: Image) -> list[int]:
    """Where the indirect call in `invoke` returns to."""
    invoke = image.symbol("invoke")
    code = image.read(invoke.address, invoke.bytes)
    calls = [at for at in range(0, len(code), 2) if int.from_bytes(code[at : at + 2], "little") & 0xFF87 == 0x4780]
    assert len(calls) == 1
    return [invoke.address + calls[0] + 2]


@pytest.fixture(params=["csharp", "ironpython"])
def session(request: pytest.FixtureRequest, stand_in: Callable[..., Renode]) -> Iterator[RenodeSession]:
    if request.param == "csharp" and not counter_process.available():
        pytest.skip("Mono is not installed, so the C# counter cannot run")
    # a quantum that cuts blocks everywhere
    options = ["live", "--quantum", "37"] + (["--csharp"] if request.param == "csharp" else [])
    with RenodeSession(stand_in(*options)) as session:
        yield session
        assert session.load_counter() == request.param


def embedded(image: Image, board: Part, depth: int) -> tuple[Machine, Run]:
    machine = Machine(
        image,
        board,
        depth=depth,
        predict=depth == 2,
        regions=regions_of(image),
        layers_in=image.symbol("invoke").address,
        layer_sites=layer_sites(image),
        layer_count=100,
    )
    prepare(machine, image)
    machine.run_to(image.symbol("finished").address)
    return machine, machine.take()


def inside(image: Image, board: Part, depth: int, session: RenodeSession) -> tuple[RenodeMachine, Run]:
    machine = RenodeMachine(
        image,
        board,
        depth=depth,
        predict=depth == 2,
        regions=regions_of(image),
        layers_in=image.symbol("invoke").address,
        layer_sites=layer_sites(image),
        session=session,
    )
    prepare(machine, image)
    machine.run_to(image.symbol("finished").address)
    return machine, machine.take()


@pytest.mark.parametrize("depth", [1, 2])
def test_agrees_with_the_embedded_engine(target: Image, board: Part, session: RenodeSession, depth: int) -> None:
    core = load_core("cortex-m4" if depth == 1 else "cortex-m7")
    reference, expected = embedded(target, board, depth)
    machine, run = inside(target, board, depth, session)
    assert run.calls == expected.calls
    assert machine.read(target.symbol("result").address, 4) == reference.read(target.symbol("result").address, 4)
    ours, theirs = Estimate.of(run, target, core), Estimate.of(expected, target, core)
    for number in (None, *range(len(REGIONS) + 1)):
        cost, other = ours.region(number, 100_000_000), theirs.region(number, 100_000_000)
        assert cost.instructions == other.instructions
        assert cost.cycles == pytest.approx(other.cycles, rel=1e-3)
        assert {f.name: f.instructions for f in cost.functions} == {f.name: f.instructions for f in other.functions}
        missed, expected_missed = run.counts(number).mispredictions, expected.counts(number).mispredictions
        assert missed.sum() == expected_missed.sum()
        assert missed.sum() > 0 or depth == 1 or number is not None
        # both look only where something new happens
        assert run.lowest_sp(number) == pytest.approx(expected.lowest_sp(number), abs=32)


def test_layers_get_their_own_instructions(target: Image, board: Part, session: RenodeSession) -> None:
    _, expected = embedded(target, board, 1)
    _, run = inside(target, board, 1, session)
    core = load_core("cortex-m4")
    layers = []
    for of in (run, expected):
        counts = of.counts(0, layers=4)
        prices = price(counts, target.read, core)
        layers.append([round(float(row @ prices.instructions)) for row in counts.executions])
    assert layers[0] == layers[1]
    outside, first, tail, _, last = layers[0]
    assert first == last  # leaf, with the same path through it
    assert tail > first  # leaf, and what calls it
    assert outside > 0


def test_counts_begin_anew_after_taking_them(target: Image, board: Part, session: RenodeSession) -> None:
    machine = RenodeMachine(target, board, depth=1, regions=regions_of(target), session=session)
    prepare(machine, target)
    machine.run_to(target.symbol("mark_begin").address)
    first = machine.take_counts()
    assert first.instructions == first.executed
    assert sum(phase.entries for phase in first.phases) == 0
    machine.run_to(target.symbol("finished").address)
    second = machine.take_counts()
    assert second.executed == machine.counters().executed_instructions - first.executed
    assert machine.counters().cyccnt is not None


def test_handlers_are_called_instead_of_empty_functions(target: Image, board: Part, session: RenodeSession) -> None:
    machine = RenodeMachine(target, board, depth=1, session=session)
    prepare(machine, target, rounds=3)
    seen: list[int] = []
    machine.on_call(target.symbol("note").address, lambda m: seen.append(m.register("lr") & ~1))
    machine.run_to(target.symbol("mark_end").address)
    assert len(seen) == 3
    assert target.function_at(seen[0]).name == "Reset_Handler"  # type: ignore[union-attr]
    counted = machine.take_counts()
    assert target.symbol("note").address not in {piece.address for piece in counted.pieces}


def test_a_loop_that_does_nothing_ends_a_program(target: Image, board: Part, session: RenodeSession) -> None:
    machine = RenodeMachine(target, board, depth=1, session=session)
    prepare(machine, target)
    assert machine.run_until_end() is Ending.IDLE
    assert machine.pc == target.symbol("finished").address


def test_an_access_where_nothing_is_names_it(target: Image, board: Part, session: RenodeSession) -> None:
    machine = RenodeMachine(target, board, depth=1, session=session)
    prepare(machine, target, "read hole")
    with pytest.raises(FaultError, match=r"read of 4 bytes at 0x60000000 at .* in Reset_Handler"):
        machine.run_to(target.symbol("finished").address)


def test_a_program_that_never_arrives_says_where_it_was(target: Image, board: Part, session: RenodeSession) -> None:
    machine = RenodeMachine(target, board, depth=1, budget=200_000, session=session)
    prepare(machine, target, "spin")
    with pytest.raises(FaultError, match=r"ran .* without reaching its end; it was at .* in Reset_Handler"):
        machine.run_to(target.symbol("finished").address)


def test_memory_outside_the_part_is_refused(target: Image, board: Part, session: RenodeSession) -> None:
    machine = RenodeMachine(target, board, depth=1, session=session)
    with pytest.raises(EngineError, match=r"has no 16 bytes at 0x2000fff8"):
        machine.read(0x2000FFF8, 16)
    data = bytes(range(256)) * 600  # more than one transfer
    with pytest.raises(EngineError):
        machine.write(0x20000000, data)
    machine.write(0x08010000, data)
    assert machine.read(0x08010000, len(data)) == data
    assert machine.text(0x08010001, 20) == bytes(range(1, 21)).decode()


def test_the_stack_is_painted(target: Image, board: Part, session: RenodeSession) -> None:
    _, expected = embedded(target, board, 1)
    machine = RenodeMachine(target, board, depth=1, session=session)
    prepare(machine, target)
    machine.paint_stack(0x2000F000)
    machine.run_to(target.symbol("finished").address)
    assert machine.lowest_touched() == pytest.approx(expected.lowest_sp(), abs=32)


def test_firmware_for_another_part_is_refused(target: Image, board: Part, session: RenodeSession) -> None:
    import dataclasses

    elsewhere = dataclasses.replace(
        board, regions=tuple(dataclasses.replace(r, base=r.base + 0x4000000) for r in board.regions)
    )
    with pytest.raises(ImageError, match="where BOARD has no memory"):
        RenodeMachine(target, elsewhere, depth=1, session=session)


def test_warns_of_the_slow_counter(target: Image, board: Part, session: RenodeSession) -> None:
    machine = RenodeMachine(target, board, depth=1, session=session)
    assert (SLOW_COUNTER in machine.warnings()) == (session.load_counter() is Counter.IRONPYTHON)
