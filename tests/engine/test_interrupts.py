"""The state of the exceptions: priorities, masks and preemption, against a plain model of the rules."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tinysim.engine.interrupts import Exceptions, Interrupts, Masks, exception_name

MASKS = st.builds(Masks, st.booleans(), st.booleans(), st.integers(0, 255))


def test_names() -> None:
    assert [exception_name(n) for n in (3, 14, 15, 16, 53)] == [
        "HardFault",
        "PendSV",
        "SysTick",
        "interrupt 0",
        "interrupt 37",
    ]


def test_a_part_keeps_only_the_priority_bits_it_has() -> None:
    state = Interrupts(8, 0xF0)
    state.set_priority(16, 0xFF)
    state.set_priority(3, 0x10)
    assert state.priority(16) == 0xF0 and state.priority(3) == -1


def test_grouping_makes_sub_priorities_that_do_not_preempt() -> None:
    state = Interrupts(8)
    state.enabled |= {16, 17}
    state.set_priority(16, 0x50)
    state.set_priority(17, 0x40)
    state.enter(16)
    state.pending.add(17)
    assert state.next(Masks()) == 17
    state.set_grouping(5)  # bits 5 and below are sub-priorities
    assert state.next(Masks()) is None
    state.leave(16)
    assert state.next(Masks()) == 17


@given(
    st.dictionaries(st.integers(16, 23), st.integers(0, 255)), st.sets(st.integers(16, 23)), st.sets(st.integers(16, 23)),
    st.sets(st.sampled_from([2, 11, 14, 15])), st.lists(st.integers(16, 23), unique=True, max_size=2), MASKS,
)  # fmt: skip
def test_next_is_the_best_pending_that_beats_what_runs(
    priorities: dict[int, int], enabled: set[int], pending: set[int], system: set[int], active: list[int], masks: Masks
) -> None:
    state = Interrupts(8)
    for number, value in priorities.items():
        state.set_priority(number, value)
    state.enabled |= enabled
    state.pending |= pending | system
    state.active += active

    def level(number: int) -> int:
        return -2 if number == Exceptions.NMI else state.priority(number) & ~1

    running = min([level(n) for n in active], default=256)
    if masks.basepri:
        running = min(running, masks.basepri & ~1)
    if masks.primask:
        running = min(running, 0)
    if masks.faultmask:
        running = min(running, -1)
    ready = [n for n in pending | system if n < 16 or n in enabled]
    best = min(ready, key=lambda n: (state.priority(n), n), default=None)
    expected = best if best is not None and level(best) < running else None
    assert state.next(masks) == expected
    if expected is not None:
        assert state.wakes(masks)
