"""Keys, phases, conditions, divisions and mispredictions: what the price of Counts is made of."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.timing.recording import CODE, Recording, build, counts, record, trace
from tinysim.core import load_core
from tinysim.counts import NO_BLOCK, Counts
from tinysim.errors import EngineError, UnpricedError
from tinysim.timing.calibrate import Measurement, calibrate, write_core
from tinysim.timing.causes import CAUSES
from tinysim.timing.explain import explain, to_dicts
from tinysim.timing.pricing import price, totals, trace_cycles
from tinysim.timing.uncertainty import error_bound, parameter_effects, region_cycles

CORES = ("cortex-m4", "cortex-m7")
PROGRAM = """
.syntax unified
.thumb
.text
.global f
.thumb_func
f:
push {r4-r7, lr}
ldr r4, =0x20000100
movs r5, #40
movs r6, #0
1: and r3, r5, #3
cmp r3, #1
ittee ne
ldrne r7, [r4, #4]
strne r7, [r4, r3]
ldreq r7, [r4, #8]
addeq r6, r6, r7
udiv r7, r5, r3
add r3, r4, r3, lsl #2
ldrh r7, [r3]
mul r6, r6, r7
str r6, [r4, #12]
ldr r7, [r4, #12]
bl g
subs r5, #1
bne 1b
mov r0, r6
pop {r4-r7, pc}
.ltorg
.thumb_func
g: lsls r3, r5, #31
beq 2f
adds r6, #1
2: bx lr
"""


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Recording, Counts]]:
    folder = tmp_path_factory.mktemp("pricing")
    source = folder / "f.s"
    source.write_text(PROGRAM)
    found = {}
    for core in CORES:
        recording = record(build(source, folder, core), "f", core)
        found[core] = recording, counts(recording, load_core(core).context_blocks)
    return found


def plain(code: str, *blocks: tuple[int, int], keys: list[list[int]], executions: list[int]) -> tuple[Counts, bytes]:
    """Counts of hand-made code, given as hexadecimal halfwords; blocks as (offset, size)."""
    data = b"".join(int(word, 16).to_bytes(2, "little") for word in code.split())
    address = np.array([CODE + offset for offset, _ in blocks], np.uint32)
    size = np.array([size for _, size in blocks], np.uint32)
    return Counts(address, size, np.array(keys, np.int32), np.array([executions], np.uint64)), data


def total(counted: Counts, data: bytes, core: str = "cortex-m4") -> float:
    prices = price(counted, lambda address, size: data[address - CODE :][:size], load_core(core))
    return totals(counted, prices).region.cycles


@pytest.mark.parametrize("core", CORES)
def test_the_breakdown_of_each_key_sums_to_its_cycles(core: str, recorded: dict[str, tuple[Recording, Counts]]) -> None:
    recording, counted = recorded[core]
    prices = price(counted, recording.read_code, load_core(core))
    np.testing.assert_allclose(prices.by_cause.sum(axis=1), prices.cycles)
    assert prices.causes == CAUSES
    assert prices.causes[0] == "issue"


@pytest.mark.parametrize("core", CORES)
def test_phases_add_up_to_the_region(core: str, recorded: dict[str, tuple[Recording, Counts]]) -> None:
    recording, counted = recorded[core]
    half = counted.executions // 2
    split = replace(
        counted,
        executions=np.concatenate([half, counted.executions - half]),
        mispredictions=np.concatenate([counted.mispredictions * 0, counted.mispredictions]),
    )
    whole = totals(split, price(split, recording.read_code, load_core(core)))
    assert sum(phase.cycles for phase in whole.phases) == pytest.approx(whole.region.cycles)
    assert sum(phase.instructions for phase in whole.phases) == whole.region.instructions
    for phase in (*whole.phases, whole.region):
        assert sum(phase.breakdown.values()) == pytest.approx(phase.cycles)


def test_the_prices_of_successive_keys_add_up(recorded: dict[str, tuple[Recording, Counts]]) -> None:
    recording, counted = recorded["cortex-m4"]
    certain = replace(counted, predication={}, sample_start=None, sample_address=None)
    core = load_core("cortex-m4")
    keyed = totals(certain, price(certain, recording.read_code, core)).region.cycles
    assert keyed == trace_cycles(certain, trace(recording, certain), recording.read_code, core)


@pytest.mark.parametrize("core", CORES)
@settings(max_examples=15, deadline=None)
@given(cuts=st.sets(st.integers(1, 7)))
def test_cutting_straight_code_into_blocks_does_not_change_its_price(core: str, cuts: set[int]) -> None:
    code = "1888 f851 3b04 1912 fb03 f303 6013 4408 b280"  # 9 instructions, 2 or 4 bytes wide
    starts = [0, 2, 6, 8, 12, 14, 16, 18][:8]
    bounds = sorted({0, 18, *(starts[cut] for cut in cuts if cut < len(starts))})
    blocks = list(zip(bounds, (b - a for a, b in pairwise(bounds)), strict=False))
    depth = load_core(core).context_blocks
    keys = [[*([NO_BLOCK] * depth + list(range(n)))[-depth:], n] for n in range(len(blocks))]
    counted, data = plain(code, *blocks, keys=keys, executions=[1] * len(blocks))
    single, _ = plain(code, (0, 18), keys=[[NO_BLOCK] * depth + [0]], executions=[1])
    assert total(counted, data, core) == total(single, data, core)


def test_a_block_inside_another_is_priced_by_its_own_path() -> None:
    code = "3001 3001 3001 e7fd"  # its last instruction branches to the third
    counted, data = plain(code, (0, 8), (4, 4), keys=[[NO_BLOCK, 0], [NO_BLOCK, 1], [0, 1]], executions=[1, 1, 5])
    prices = price(counted, lambda address, size: data[address - CODE :][:size], load_core("cortex-m4"))
    assert prices.instructions.tolist() == [4, 2, 2]
    assert prices.cycles[2] == 3  # a taken branch's refill and two instructions


@pytest.mark.parametrize(("fraction", "cycles"), [(1.0, 3.0), (0.0, 2.0), (0.25, 2.25)])
def test_a_conditional_load_costs_by_how_often_it_is_made(fraction: float, cycles: float) -> None:
    # cmp r0, r0; it eq; ldreq r1, [r2]; mov r3, r3; before it a block so that its price begins warm
    counted, data = plain(
        "461b 461b 4280 bf08 6811 461b", (0, 4), (4, 8), keys=[[NO_BLOCK, 0], [0, 1]], executions=[1, 1]
    )
    counted = replace(counted, predication={CODE + 8: fraction})
    prices = price(counted, lambda address, size: data[address - CODE :][:size], load_core("cortex-m4"))
    assert prices.cycles[1] == pytest.approx(1 + cycles)  # cmp 1, it folded, ldr 1 or 2, mov 1


@pytest.mark.parametrize(("bits", "cycles"), [(0, 2), (1, 5), (8, 6), (32, 12), (33, 2)])
def test_a_division_costs_by_its_quotient(bits: int, cycles: int) -> None:
    counted, data = plain("461b fbb0 f0f1 461b", (0, 8), keys=[[NO_BLOCK, 0]], executions=[1])
    histogram = np.zeros(34, np.uint64)
    histogram[bits] = 7
    flat = total(counted, data)
    assert total(replace(counted, divisions={CODE + 2: histogram}), data) == flat - 6 + cycles


def test_a_mispredicted_branch_costs_eight_cycles_six_when_its_flags_are_old(tmp_path: Path) -> None:
    source = tmp_path / "b.s"
    filler = "mul r4, r5, r6\n" * 4
    source.write_text(
        ".syntax unified\n.thumb\n.global f\n.thumb_func\nf: push {r4-r6, lr}\nmovs r0, #1\nand r3, r3\n"
        "cmp r0, #1\nbeq 1f\nnop\n.balign 8\n1: cmp r0, #1\n" + filler + "beq 2f\nnop\n.balign 8\n2: pop {r4-r6, pc}\n"
    )
    recording = record(build(source, tmp_path, "cortex-m7"), "f", "cortex-m7")
    counted = counts(recording, 2)
    prices = price(counted, recording.read_code, load_core("cortex-m7"))
    fresh, settled = prices.misprediction_cycles[1], prices.misprediction_cycles[2]
    assert 7 <= fresh <= 8
    assert 5 <= settled <= 6
    assert fresh - settled == 2


def test_the_band_spans_both_predictors(recorded: dict[str, tuple[Recording, Counts]]) -> None:
    recording, counted = recorded["cortex-m7"]
    assert counted.mispredictions.sum() > 10
    fewer = replace(counted, mispredictions_history=counted.mispredictions // 2)
    region = totals(fewer, price(fewer, recording.read_code, load_core("cortex-m7"))).region
    assert region.cycles_high == pytest.approx(region.cycles)
    assert region.cycles_low < region.cycles
    assert region.breakdown["misprediction"] > 0


def test_loads_of_one_bank_are_told_apart_by_their_addresses(tmp_path: Path) -> None:
    source = tmp_path / "l.s"
    source.write_text(
        ".syntax unified\n.thumb\n.global f\n.thumb_func\nf:\n" + "ldr r2, [r0]\nldr r3, [r1]\n" * 20 + "bx lr\n"
    )
    elf = build(source, tmp_path, "cortex-m7")
    cycles = []
    for other in (0x20000044, 0x20000048):
        recording = record(elf, "f", "cortex-m7", (0x20000000, other))
        counted = counts(recording, 2)
        region = totals(counted, price(counted, recording.read_code, load_core("cortex-m7"))).region
        cycles.append(region.cycles)
    assert cycles[1] - cycles[0] == pytest.approx(20, abs=1)


def test_a_store_and_a_load_from_other_bases_do_not_wait(tmp_path: Path) -> None:
    cycles = {}
    for name, load in (("same", "ldr r3, [r0, #8]"), ("other", "ldr r3, [r1, #8]"), ("beside", "ldr r3, [r0, #12]")):
        source = tmp_path / f"{name}.s"
        source.write_text(
            ".syntax unified\n.thumb\n.global f\n.thumb_func\nf:\n" + f"str r2, [r0, #8]\n{load}\n" * 10 + "bx lr\n"
        )
        recording = record(build(source, tmp_path, "cortex-m7"), "f", "cortex-m7", (0x20000000, 0x20000100))
        counted = counts(recording, 2)
        cycles[name] = totals(counted, price(counted, recording.read_code, load_core("cortex-m7"))).region.cycles
    assert cycles["same"] - cycles["other"] >= 30
    assert cycles["beside"] - cycles["other"] <= 1


def test_keys_with_too_little_context_are_refused(recorded: dict[str, tuple[Recording, Counts]]) -> None:
    recording, counted = recorded["cortex-m4"]
    with pytest.raises(EngineError, match="Cortex-M7 needs 2 context blocks"):
        price(counted, recording.read_code, load_core("cortex-m7"))


@pytest.mark.parametrize(("core", "fpu"), [("cortex-m4", "fpv4-sp"), ("cortex-m7", "fpv5-sp")])
def test_double_precision_is_refused_where_the_core_lacks_it(core: str, fpu: str) -> None:
    chosen = load_core(core).with_fpu(fpu)
    counted, data = plain("ee31 0b02", (0, 4), keys=[[NO_BLOCK] * chosen.context_blocks + [0]], executions=[1])
    with pytest.raises(
        UnpricedError, match=rf"Cortex-M\d with FPU {fpu} does not execute 'vadd.f64 d0, d1, d2' at 0x08000000"
    ):
        price(counted, lambda address, size: data[address - CODE :][:size], chosen)


@pytest.mark.parametrize("core", CORES)
def test_an_explanation_accounts_for_every_cycle(core: str, recorded: dict[str, tuple[Recording, Counts]]) -> None:
    recording, counted = recorded[core]
    region = totals(counted, price(counted, recording.read_code, load_core(core))).region
    blocks = explain(counted, recording.read_code, load_core(core))
    assert sum(block.cycles for block in blocks) == pytest.approx(region.cycles)
    assert [block.cycles for block in blocks] == sorted((block.cycles for block in blocks), reverse=True)
    for block in blocks:
        inside = sum(instruction.cycles for instruction in block.instructions)
        assert inside + block.misprediction_cycles == pytest.approx(block.cycles)
        for instruction in block.instructions:
            assert sum(lost.cycles for lost in instruction.lost) <= instruction.cycles + 1e-9
            assert all(lost.reason for lost in instruction.lost)
    assert to_dicts(blocks)[0]["instructions"][0]["text"]


def test_an_explanation_names_what_was_waited_for(recorded: dict[str, tuple[Recording, Counts]]) -> None:
    recording, counted = recorded["cortex-m7"]
    blocks = explain(counted, recording.read_code, load_core("cortex-m7"))
    said = {lost.cause: lost.reason for block in blocks for i in block.instructions for lost in i.lost}
    assert "ldr" in said["load use"]
    assert said["store"].startswith("a load close behind a store")


def test_an_explanation_of_a_range_leaves_the_rest_out(recorded: dict[str, tuple[Recording, Counts]]) -> None:
    recording, counted = recorded["cortex-m4"]
    blocks = explain(counted, recording.read_code, load_core("cortex-m4"))
    some = explain(counted, recording.read_code, load_core("cortex-m4"), [(blocks[0].address, blocks[0].address + 1)])
    assert some == [blocks[0]]


def test_open_parameters_widen_the_bound_by_what_they_are_worth(recorded: dict[str, tuple[Recording, Counts]]) -> None:
    recording, counted = recorded["cortex-m4"]
    core = load_core("cortex-m4")
    region = totals(counted, price(counted, recording.read_code, core)).region.cycles
    effects = {effect.name: effect for effect in parameter_effects(counted, recording.read_code, core)}
    slower = core.with_values({"load_after_store": 2})
    high = totals(counted, price(counted, recording.read_code, slower)).region.cycles
    assert effects["load_after_store"].cycles_high == pytest.approx(high)
    assert effects["load_after_store"].cycles_low == pytest.approx(region)
    assert "core_fp_move" not in effects
    bound = error_bound(counted, recording.read_code, core)
    assert bound.bound_percent > core.error_bound_percent
    assert "load_after_store" in bound.basis


def measured(recorded: tuple[Recording, Counts], core: str, name: str, **values: int) -> Measurement:
    """What a board with these parameter values would show."""
    from tinysim.timing.paths import lay_out

    recording, counted = recorded
    board = load_core(core).with_values(values)
    cycles = region_cycles(lay_out(counted, recording.read_code, board), counted, board)
    return Measurement(name, counted, recording.read_code, cycles)


def test_calibration_finds_the_parameter_of_the_board(
    recorded: dict[str, tuple[Recording, Counts]], tmp_path: Path
) -> None:
    core = load_core("cortex-m4")
    board = measured(recorded["cortex-m4"], "cortex-m4", "f", load_after_store=2)
    fitted = calibrate(core, [board], ["load_after_store"])
    assert fitted.values == {"load_after_store": 2}
    assert fitted.before_percent["f"] < -1
    assert fitted.mean_error_percent == pytest.approx(0, abs=1e-9)
    path = tmp_path / "mine.toml"
    path.write_text(write_core(fitted, "mine", [board]))
    mine = load_core(path)
    assert (mine.name, mine.value("load_after_store"), mine.value("it_folds")) == ("mine", 2, 1)
    assert "calibrated against f" in mine.parameters["load_after_store"].source


def test_calibration_refuses_more_parameters_than_measurements(recorded: dict[str, tuple[Recording, Counts]]) -> None:
    from tinysim.errors import InputError

    board = measured(recorded["cortex-m4"], "cortex-m4", "f")
    with pytest.raises(InputError, match=r"2 parameters .* but 1 independent measurement"):
        calibrate(load_core("cortex-m4"), [board, board], ["load_after_store", "it_folds"])
    with pytest.raises(InputError, match="do not depend on core_fp_move"):
        calibrate(load_core("cortex-m4"), [board], ["core_fp_move"])
    with pytest.raises(InputError, match="'fifo_words' is no open parameter"):
        calibrate(load_core("cortex-m4"), [board], ["fifo_words"])
    with pytest.raises(InputError, match="no measurements"):
        calibrate(load_core("cortex-m4"), [])
