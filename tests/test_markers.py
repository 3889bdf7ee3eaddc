"""Which functions are open, and how often they were entered: against a model of calls, and one test for each trap."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from arm_programs import PART, build, function
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tinysim.engine.run import CALL_MARKER, FUNCTION_MARKER, MeasuredRegion, Run
from tinysim.engine.unicorn_machine import Ending, Machine
from tinysim.image import load_image
from tinysim.part import load_part

HALT = function("halt", "    b .")


def run(
    elf: Path, *names: str, between: tuple[tuple[str, str], ...] = (), follow: bool = False, apart: int = 0
) -> tuple[Run, Machine]:
    image = load_image(elf)
    regions = [MeasuredRegion(name, image.symbol(name).address) for name in names]
    regions += [MeasuredRegion(f"{a}..{b}", image.symbol(a).address, image.symbol(b).address) for a, b in between]
    machine = Machine(
        image, load_part(PART), depth=1, predict=False, regions=regions, follow_calls=follow, calls_apart=apart
    )
    assert machine.run_until_end([image.symbol("halt").address]) is Ending.ADDRESS
    return machine.take(), machine


def instructions(run: Run, machine: Machine, phases: set[int] | None = None) -> int:
    """Instructions run in some phases (None: all), from the code itself."""
    lengths = []
    for address, size in zip(run.block_address, run.block_size, strict=True):
        words = np.frombuffer(machine.read(int(address), int(size)), "<u2")
        at = count = 0
        while at < len(words):
            at += 2 if words[at] >> 11 in (0b11101, 0b11110, 0b11111) else 1
            count += 1
        lengths.append(count)
    of_row = np.array(lengths)[run.keys[run.key, -1]]
    chosen = np.isin(run.phase, list(phases)) if phases is not None else np.ones(len(run.phase), bool)
    return int((of_row * run.executions.astype(np.int64))[chosen].sum())


def of_region(run: Run, machine: Machine, number: int) -> int:
    return instructions(run, machine, set(run.phases_of(number)))


def by_call(run: Run, machine: Machine, region: int) -> list[int]:
    """Instructions of each call of a region that was told apart, in order."""
    found = {}
    for number, phase in enumerate(run.phases):
        if phase.marker >= CALL_MARKER and run.phases[phase.parent].marker == region and phase.entries:
            inside = {p for p in range(len(run.phases)) if phase.marker in run.chain(p)}
            found[phase.marker] = instructions(run, machine, inside)
        assert number >= phase.parent
    return [found[marker] for marker in sorted(found)]


# -- a model of calls ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Body:
    """A function that returns at depth 0 and otherwise runs some instructions, calls others and may end in a tail
    call.
    """

    work: int
    calls: tuple[int, ...]
    tail: int | None

    def assembly(self, number: int) -> str:
        lines = ["push {r4, lr}", "subs r4, r0, #1", f"bmi exit{number}"] + ["nop"] * self.work
        for callee in self.calls:
            lines += ["mov r0, r4", f"bl f{callee}"]
        if self.tail is not None:
            lines += ["mov r0, r4", "pop.w {r4, lr}", f"b.w f{self.tail}"]
        text = "\n".join("    " + line for line in lines)
        return function(f"f{number}", f"{text}\nexit{number}:\n    pop {{r4, pc}}")


@dataclass
class Model:
    """Runs the same bodies and keeps what is open: frames of (function, stack level)."""

    bodies: tuple[Body, ...]
    calls: Counter[int] = field(default_factory=Counter)
    inclusive: Counter[int] = field(default_factory=Counter)
    selfs: Counter[int] = field(default_factory=Counter)
    frames: list[tuple[int, int]] = field(default_factory=list)

    def work(self, number: int, count: int) -> None:
        for open_function in {f for f, _ in self.frames}:
            self.inclusive[open_function] += count
        self.selfs[number] += count

    def enter(self, number: int, depth: int, level: int, jumped: bool) -> None:
        group = [k for k, (f, at) in enumerate(self.frames) if at == level and f == number]
        if jumped and group:
            again = group[0] < len(self.frames) - 1
            del self.frames[group[0] + 1 :]
            self.calls[number] += int(again)
        else:
            self.frames.append((number, level))
            self.calls[number] += 1
        body = self.bodies[number]
        self.work(number, 3)
        if depth == 0:
            self.work(number, 1)
            self.leave(level)
            return
        self.work(number, body.work)
        for callee in body.calls:
            self.work(number, 2)
            self.enter(callee, depth - 1, level + 1, jumped=False)
        if body.tail is not None:
            self.work(number, 3)
            self.enter(body.tail, depth - 1, level, jumped=True)
        else:
            self.work(number, 1)
            self.leave(level)

    def leave(self, level: int) -> None:
        while self.frames and self.frames[-1][1] == level:
            self.frames.pop()


@st.composite
def programs(draw: st.DrawFn) -> tuple[tuple[Body, ...], int]:
    count = draw(st.integers(2, 5))
    callee = st.integers(0, count - 1)
    body = st.builds(Body, st.integers(0, 4), st.lists(callee, max_size=2).map(tuple), st.none() | callee)
    return tuple(draw(st.lists(body, min_size=count, max_size=count))), draw(st.integers(1, 5))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(programs())
def test_calls_and_instructions_agree_with_a_model(tmp_path: Path, program: tuple[tuple[Body, ...], int]) -> None:
    bodies, depth = program
    start = function("start", f"    movs r0, #{depth}\n    bl f0\n    bl halt")
    elf = build(tmp_path, start + HALT + "".join(b.assembly(k) for k, b in enumerate(bodies)), "-g", suffix=".s")
    model = Model(bodies)
    model.enter(0, depth, 0, jumped=False)
    names = [f"f{k}" for k in range(len(bodies))]
    seen, machine = run(elf, *names)
    assert list(seen.calls) == [model.calls[k] for k in range(len(bodies))]
    assert [of_region(seen, machine, k) for k in range(len(bodies))] == [model.inclusive[k] for k in range(len(bodies))]

    tree, machine = run(elf, *names, follow=True)
    assert seen.calls == tree.calls
    assert [of_region(tree, machine, k) for k in range(len(bodies))] == [model.inclusive[k] for k in range(len(bodies))]
    selfs: Counter[str] = Counter()
    entries: Counter[str] = Counter()
    for number, phase in enumerate(tree.phases):
        innermost = next((m for m in tree.chain(number) if FUNCTION_MARKER <= m < CALL_MARKER), None)
        if innermost is not None:
            name = machine.image.function_at(tree.functions[innermost - FUNCTION_MARKER])
            assert name is not None
            selfs[name.name] += instructions(tree, machine, {number})
            entries[name.name] += phase.entries if phase.marker == innermost else 0
    assert [selfs[name] for name in names] == [model.selfs[k] for k in range(len(bodies))]
    assert [entries[name] for name in names] == list(seen.calls)


# -- one test for each trap ------------------------------------------------------------------------------------------

LEAF = function("leaf", "    nop\n    bx lr")


def test_a_function_called_in_a_loop_is_entered_each_time(tmp_path: Path) -> None:
    start = function("start", "    movw r4, #1000\n1:  bl leaf\n    subs r4, #1\n    bne 1b\n    bl halt")
    seen, machine = run(build(tmp_path, start + HALT + LEAF, "-g", suffix=".s"), "leaf")
    assert seen.calls == (1000,)
    assert of_region(seen, machine, 0) == 2000


def test_a_loop_to_a_functions_own_entry_is_no_call(tmp_path: Path) -> None:
    spin = function("spin", "    subs r0, #1\n    bne spin\n    bx lr")
    start = function("start", "    movw r0, #5000\n    bl spin\n    movs r0, #3\n    bl spin\n    bl halt")
    seen, machine = run(build(tmp_path, start + HALT + spin, "-g", suffix=".s"), "spin")
    assert seen.calls == (2,)
    assert of_region(seen, machine, 0) == 2 * 5000 + 1 + 2 * 3 + 1


def test_a_loop_to_the_entry_after_a_call_is_no_call(tmp_path: Path) -> None:
    forever = function("forever", "    subs r4, #1\n    beq out\n    bl leaf\n    b forever\nout:\n    bl halt")
    start = function("start", "    movs r4, #50\n    bl forever")
    seen, machine = run(build(tmp_path, start + HALT + LEAF + forever, "-g", suffix=".s"), "forever", "leaf")
    assert seen.calls == (1, 49)
    assert of_region(seen, machine, 0) == 50 * 2 + 49 * 4 + 1


def test_tail_calls_in_a_circle_do_not_pile_up(tmp_path: Path) -> None:
    ping = function("ping", "    subs r0, #1\n    beq 1f\n    b.w pong\n1:  bx lr")
    pong = function("pong", "    nop\n    b.w ping")
    start = function("start", "    movw r0, #60000\n    lsls r0, r0, #2\n    bl ping\n    bl halt")
    seen, machine = run(build(tmp_path, start + HALT + ping + pong, "-g", suffix=".s"), "ping", "pong", follow=True)
    rounds = 240_000
    assert seen.calls == (rounds, rounds - 1)
    assert of_region(seen, machine, 0) == 3 * rounds + 2 * (rounds - 1)
    assert of_region(seen, machine, 1) == 2 * (rounds - 1), "the circle closes pong when ping goes on"


def test_longjmp_closes_what_it_leaves_every_time(tmp_path: Path) -> None:
    source = """
        #include <setjmp.h>
        static jmp_buf place; volatile int left = 20;
        __attribute__((noinline)) void halt(void) { for (;;) __asm volatile(""); }
        __attribute__((noinline)) void inner(void) { longjmp(place, 1); }
        __attribute__((noinline)) void outer(void) { inner(); __asm volatile("nop"); }
        __attribute__((noinline)) void after(void) { __asm volatile("nop\\nnop"); }
        void start(void) { while (left--) { if (!setjmp(place)) outer(); else after(); } halt(); }
    """
    elf = build(tmp_path, source, "-O1", "-g", "-fno-optimize-sibling-calls")
    seen, machine = run(elf, "outer", "inner", "after")
    assert seen.calls == (20, 20, 20)
    for number in seen.phases_of(2):
        assert not {0, 1} & set(seen.chain(number)), "after() does not run inside outer()"
    assert of_region(seen, machine, 2) == 20 * 3


def test_deep_recursion_needs_no_more_phases(tmp_path: Path) -> None:
    down = function("down", "    push {r4, lr}\n    subs r0, #1\n    beq 1f\n    bl down\n1:  pop {r4, pc}")
    start = function("start", "    movw r0, #9000\n    bl down\n    bl halt")
    seen, machine = run(build(tmp_path, start + HALT + down, "-g", suffix=".s"), "down", follow=True)
    assert seen.calls == (9000,)
    assert seen.outermost_calls == (1,)
    assert of_region(seen, machine, 0) == 9000 * 5 - 1
    assert len(seen.phases) < 10


def test_a_stretch_may_begin_in_a_function_and_end_outside(tmp_path: Path) -> None:
    source = function("marks_a", "    bx lr") + function("marks_b", "    bx lr")
    f = function("f", "    push {r4, lr}\n    nop\n    bl marks_a\n    nop\n    pop {r4, pc}")
    start = function(
        "start", "    movs r5, #7\n1:  bl f\n    nop\n    bl marks_b\n    subs r5, #1\n    bne 1b\n    bl halt"
    )
    elf = build(tmp_path, start + HALT + source + f, "-g", suffix=".s")
    seen, machine = run(elf, "f", between=(("marks_a", "marks_b"),), follow=True, apart=100)
    assert seen.calls == (7, 7)
    assert of_region(seen, machine, 0) == 7 * 6
    assert of_region(seen, machine, 1) == 7 * 5, "bx, nop, pop, nop, bl"
    assert by_call(seen, machine, 0) == [6] * 7
    assert by_call(seen, machine, 1) == [5] * 7


def test_a_stretch_from_a_place_to_itself_counts_rounds(tmp_path: Path) -> None:
    start = function("start", "    movs r4, #9\n1:  bl leaf\n    subs r4, #1\n    bne 1b\n    bl halt")
    seen, machine = run(build(tmp_path, start + HALT + LEAF, "-g", suffix=".s"), between=(("leaf", "leaf"),))
    assert seen.calls == (9,)
    assert of_region(seen, machine, 0) == 8 * 5 + 2 + 2 + 1


def test_each_call_is_told_apart_up_to_the_limit(tmp_path: Path) -> None:
    spin = function("spin", "1:  subs r0, #1\n    bne 1b\n    bx lr")
    twice = function(
        "twice", "    push {r4, lr}\n    mov r4, r0\n    bl spin\n    mov r0, r4\n    bl spin\n    pop {r4, pc}"
    )
    calls = "".join(f"    movs r0, #{n}\n    bl twice\n" for n in (4, 9, 2))
    elf = build(tmp_path, function("start", calls + "    bl halt") + HALT + spin + twice, "-g", suffix=".s")
    seen, machine = run(elf, "twice", "spin", apart=100)
    assert by_call(seen, machine, 0) == [2 * (2 * n + 1) + 6 for n in (4, 9, 2)]
    assert by_call(seen, machine, 1) == [2 * n + 1 for n in (4, 4, 9, 9, 2, 2)]
    few, machine = run(elf, "twice", "spin", apart=4)
    assert len(by_call(few, machine, 0)) + len(by_call(few, machine, 1)) == 4
    assert few.calls == (3, 6)
    assert of_region(few, machine, 0) == of_region(seen, machine, 0)


def test_recursive_calls_are_told_apart_too(tmp_path: Path) -> None:
    down = function("down", "    push {r4, lr}\n    subs r0, #1\n    beq 1f\n    bl down\n1:  pop {r4, pc}")
    start = function("start", "    movw r0, #5\n    bl down\n    bl halt")
    seen, machine = run(build(tmp_path, start + HALT + down, "-g", suffix=".s"), "down", apart=100)
    assert by_call(seen, machine, 0) == [5 * k - 1 for k in (5, 4, 3, 2, 1)]


@pytest.mark.parametrize("follow", [False, True])
def test_what_was_counted_does_not_depend_on_the_markers(tmp_path: Path, follow: bool) -> None:
    source = """
        volatile unsigned total;
        __attribute__((noinline)) void halt(void) { for (;;) __asm volatile(""); }
        __attribute__((noinline)) unsigned fib(unsigned n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }
        __attribute__((noinline)) void sum(void) { for (int i = 0; i < 9; i++) total += fib(i); }
        void start(void) { sum(); halt(); }
    """
    elf = build(tmp_path, source, "-O2")
    plain, machine = run(elf)
    marked, marked_machine = run(elf, "fib", "sum", follow=follow, apart=50)
    assert instructions(plain, machine) == instructions(marked, marked_machine)
    assert marked.calls[1] == 1
