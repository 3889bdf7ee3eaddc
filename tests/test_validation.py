"""Networks measured on silicon: the data, the comparison, the document, and the price of a stream against the
prototype's."""

from __future__ import annotations

import csv
import dataclasses
import importlib
import re
import sys
from pathlib import Path
from types import MappingProxyType, ModuleType

import numpy as np
import pytest

from tinysim.accuracy import Comparison, accuracy_document, compare_with_silicon, render_networks
from tinysim.core import load_core
from tinysim.engine.run import MeasuredRegion
from tinysim.engine.unicorn_machine import Machine
from tinysim.errors import InputError, PartError
from tinysim.estimate import Estimate
from tinysim.image import load_image
from tinysim.memory.config import configure
from tinysim.memory.pricers import MemoryOptions, MemoryPricers, unmeasured_error
from tinysim.model import load_model
from tinysim.part import MeasuredError, load_part
from tinysim.result import RegionCost
from tinysim.sizing import BuildOptions, build_fitting
from tinysim.toolchain import Opt, find_toolchain
from tinysim.validation import (
    CORE_ALONE,
    WHOLE,
    Layers,
    Network,
    Prediction,
    ValidationSet,
    load_validation,
    mean_error,
    memory_systems,
    predict,
)

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"
NETWORKS = ROOT / "tests" / "networks"
DOCUMENT = ROOT / "docs" / "accuracy.md"


@pytest.fixture(scope="module")
def collections() -> dict[str, ValidationSet]:
    return {collection.name: collection for collection in load_validation()}


def test_measurements_are_those_collected(collections: dict[str, ValidationSet]) -> None:
    """Every collected row that describes an architecture, with its cycles and conditions."""
    table = SHARED / "validation" / "silicon.csv"
    if not table.is_file():
        pytest.skip("../shared/validation/silicon.csv is not here")
    with table.open(newline="", encoding="utf-8") as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    ours = {network.id: (network, collection) for collection in collections.values() for network in collection.networks}
    described = {
        name for name, row in rows.items() if "model_type" in row["model"] or "FULLY_CONNECTED[" in row["model"]
    }
    assert set(ours) == described
    for name, (network, collection) in ours.items():
        row = rows[name]
        assert (network.cycles, network.parameters, network.macs) == tuple(
            int(row[key]) for key in ("value", "params", "macs")
        )
        assert network.architecture == row["model"]
        assert (collection.part, collection.clock_hz) == (row["part"], int(row["clock_mhz"]) * 10**6)
        assert (network.layers is Layers.CONVOLUTION) == ("cnn" in name)
        assert collection.source.split(":")[0] in row["source"]


def test_conditions_are_what_the_parts_allow(collections: dict[str, ValidationSet]) -> None:
    for collection in collections.values():
        part = collection.load_part()
        assert part.check_clock(collection.clock_hz)
        for role, names in collection.placement.items():
            assert part.placement[role] == names
            assert all(part.span(name) for name in names)
        assert collection.differences and collection.causes


def test_the_l4_is_measured_as_it_was(collections: dict[str, ValidationSet]) -> None:
    """5 wait states, lines on, prefetch off."""
    collection = collections["edgemark"]
    whole = memory_systems(collection.load_part(), collection.clock_hz)[WHOLE]
    assert whole.wait_states == 5
    settings = whole.settings
    assert (settings.instruction_lines, settings.data_lines, settings.prefetch) == (True, True, False)


def test_bad_files(tmp_path: Path) -> None:
    text, table = ((ROOT / "platforms" / name).read_text() for name in ("validation.toml", "silicon.csv"))
    path = tmp_path / "validation.toml"
    (tmp_path / "silicon.csv").write_text(table)
    path.write_text(text)
    assert len(load_validation(path)) == 2
    for old, new, word in (
        ('clock = "120MHz"', 'clock = "120"', "clock"),
        ('opt = "O3"', 'opt = "O9"', "O9"),
        ('name = "edgemark"', 'name = "edge"', "no row of this set"),
        ("inferences = 1", "inferrences = 1", "missing"),
        ('schema = "tinysim.validation/1"', 'schema = "x"', "not a"),
    ):
        assert old in text
        path.write_text(text.replace(old, new, 1))
        with pytest.raises(PartError, match=rf"validation.toml:\d+: .*{word}"):
            load_validation(path)
    path.write_text(text)
    (tmp_path / "silicon.csv").write_text(table.replace(",dense,", ",thick,", 1))
    with pytest.raises(PartError, match=r"silicon.csv:\d+: .*thick"):
        load_validation(path)
    (tmp_path / "silicon.csv").unlink()
    with pytest.raises(PartError, match="cannot read"):
        load_validation(path)


def prediction(name: str, measured: int, cycles: dict[str, int], *, chose: bool = False) -> Prediction:
    network = Network(name, measured, 10, 2000, Layers.DENSE, chose, 1000, "", "row 1")
    region = RegionCost("invoke", 1, 900, cycles[WHOLE], 0.0, {}, ())
    return Prediction(network, "gcc 1", 900, MappingProxyType(cycles), region, 3, True)


def test_errors() -> None:
    rows = [prediction("a", 100, {WHOLE: 110, CORE_ALONE: 50}), prediction("b", 200, {WHOLE: 190, CORE_ALONE: 100})]
    assert [row.error_percent() for row in rows] == pytest.approx([10, -5])
    assert mean_error(rows) == pytest.approx((7.5, 2.5))
    assert mean_error(rows, CORE_ALONE) == pytest.approx((50, -50))
    assert rows[0].instructions_percent == pytest.approx(-10)
    with pytest.raises(ValueError, match="no predictions"):
        mean_error([])


def test_rendered_section(collections: dict[str, ValidationSet]) -> None:
    rows = (
        prediction("a", 100, {WHOLE: 110, "without lines": 120, "same": 110, CORE_ALONE: 50}),
        prediction("b", 200, {WHOLE: 190, "without lines": 190, "same": 190, CORE_ALONE: 100}, chose=True),
    )
    other = tuple(dataclasses.replace(row, compiler="gcc 2", cycles=MappingProxyType({WHOLE: 100})) for row in rows)
    text = render_networks(
        Comparison(collections["edgemark"], {"gcc 1": rows, "gcc 2": other}, ("c: no file of that name",))
    )
    assert "| all | 2 | 7.5 % (+2.5) | 25.0 % (-25.0) |" in text
    assert "| chose no value of the model | 1 | 10.0 % (+10.0) | 0.0 % (+0.0) |" in text
    assert "| a | 2,000 | 100 | 110 | +10.0 % | -10.0 % | +0.0 % | no | row 1 |" in text
    assert "| network | whole model | without lines | core alone |" in text
    assert "| b | -5.0 % | -5.0 % | -50.0 % |" in text
    assert "| **mean absolute error** | 7.5 % | 12.5 % | 50.0 % |" in text
    assert "- c: no file of that name" in text
    assert "All outputs match" in text


def test_nothing_at_hand_is_said(collections: dict[str, ValidationSet], tmp_path: Path) -> None:
    text = render_networks(compare_with_silicon(collections["edgemark"], tmp_path))
    assert "Nothing could be compared." in text
    assert "- edgemark-fc_0-int8: no file of that name" in text
    assert "Left out: EdgeMark on a NUCLEO-L4R5ZI" in accuracy_document(None, None)


def test_wrong_files_are_refused(collections: dict[str, ValidationSet], tmp_path: Path) -> None:
    collection = collections["edgemark"]
    network = collection.network("edgemark-fc_0-float32")
    with pytest.raises(InputError, match="there is no"):
        predict(collection, network, tmp_path / "absent.tflite")
    with pytest.raises(InputError, match="parameters"):
        predict(collection, network, NETWORKS / "edgemark-fc_3-int8.tflite")
    with pytest.raises(InputError, match="no network"):
        collection.network("edgemark-fc_99")


def row_of(name: str) -> list[str]:
    (line,) = re.findall(rf"^\| {re.escape(name)} \| [\d,]+ \|.*$", DOCUMENT.read_text(), re.M)
    return [cell.strip() for cell in line.strip("|").split("|")]


@pytest.mark.parametrize(
    ("name", "column"),
    [("tinyml-benchmark-fc1x10-iris-float32", 4), ("edgemark-fc_0-float32", 6), ("edgemark-fc_3-int8", 6)],
)
def test_the_document_says_what_is_computed(collections: dict[str, ValidationSet], name: str, column: int) -> None:
    """The errors with the bare-metal compiler: of the smallest networks, in the document and anew."""
    compiler = find_toolchain()
    if compiler.version not in DOCUMENT.read_text():
        pytest.skip(f"docs/accuracy.md was made with another compiler than {compiler.version}")
    collection = next(c for c in collections.values() if name.startswith(c.name))
    network = collection.network(name)
    found = predict(collection, network, NETWORKS / f"{name}.tflite", compiler=compiler.gcc, systems=[WHOLE])
    assert found.outputs_match
    assert row_of(name)[2] == f"{network.cycles:,}"
    assert row_of(name)[column] == f"{found.error_percent():+.1f} %"


def test_every_measurement_is_in_the_document(collections: dict[str, ValidationSet]) -> None:
    text = DOCUMENT.read_text()
    for collection in collections.values():
        assert f"## Whole networks: {collection.title}" in text
        assert all(row_of(network.id)[2] == f"{network.cycles:,}" for network in collection.networks)


def test_stated_error() -> None:
    """On real memory the part's, where it was measured; else that of parts nobody measured; on ideal memory the
    core's."""
    part = load_part("stm32l4r5zi")
    core = load_core(part.core)
    assert part.error is not None
    clocks = [part.default_clock_hz]
    assert MemoryPricers(part, core, clocks, MemoryOptions()).error_bound(core) == (
        part.error.bound_percent,
        part.error.basis,
    )
    unmeasured = MemoryPricers(dataclasses.replace(part, error=None), core, clocks, MemoryOptions()).error_bound(core)
    expected = unmeasured_error(core.name)
    assert expected is not None
    assert unmeasured == (expected.bound_percent, expected.basis)
    assert expected.bound_percent > part.error.bound_percent > core.error_bound_percent
    ideal = MemoryPricers(part, core, clocks, MemoryOptions(ideal=True)).error_bound(core)
    assert ideal == (core.error_bound_percent, core.error_basis)
    assert unmeasured_error("cortex-m99") is None


def test_error_of_a_part_file(tmp_path: Path) -> None:
    for suffix in ("toml", "repl"):
        source = ROOT / "platforms" / f"stm32l4r5zi.{suffix}"
        (tmp_path / f"mine.{suffix}").write_text(source.read_text())
    path = tmp_path / "mine.toml"
    text = path.read_text()
    assert isinstance(load_part(path).error, MeasuredError)
    for old, new, word in (
        ("bound_percent = 5.0", "bound_percent = 0", "between 0 and 100"),
        ("bound_percent = 5.0", 'bound_percent = "5 %"', "not a number"),
        ("bound_percent = 5.0", "bound = 5.0", "missing"),
    ):
        path.write_text(text.replace(old, new, 1))
        with pytest.raises(PartError, match=rf"mine.toml:\d+: .*{word}"):
            load_part(path)


# ---- against the prototype
# --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def prototype() -> tuple[ModuleType, ModuleType]:
    """record.py and artsim.py: an independent recorder and simulator of this part's memory."""
    folder = SHARED / "prototype"
    if not (folder / "record.py").is_file():
        pytest.skip("../shared/prototype is not here")
    sys.path.insert(0, str(folder))
    try:
        return importlib.import_module("record"), importlib.import_module("artsim")
    finally:
        sys.path.remove(str(folder))


@pytest.mark.filterwarnings("ignore")  # the prototype leaves files open
@pytest.mark.parametrize(
    "model",
    [
        NETWORKS / "edgemark-fc_0-float32.tflite",
        NETWORKS / "edgemark-fc_3-int8.tflite",
        ROOT / "examples" / "models" / "dense_float32.tflite",
        ROOT / "examples" / "models" / "cnn_int8.tflite",
        ROOT / "examples" / "models" / "human_activity_float32.tflite",
        ROOT / "examples" / "models" / "human_activity_int8.tflite",
    ],
    ids=lambda path: path.stem,
)
def test_price_and_misses_are_the_prototypes(
    prototype: tuple[ModuleType, ModuleType], collections: dict[str, ValidationSet], model: Path
) -> None:
    """The same ELF, the same (zero) inputs: cycles within 1 %, misses within 1 %, at 120 MHz and 5 wait states."""
    record, artsim = prototype
    collection = collections["edgemark"]
    part = collection.load_part()
    core = load_core(part.core).with_fpu(part.fpu)
    firmware = build_fitting(load_model(model), part, BuildOptions(opt=Opt.O3))
    stream, blocks, flash = record.record(str(firmware.path), "tinysim_invoke", "tinysim_done", capacity=30_000_000)
    theirs = artsim.run(artsim.decode(blocks, flash), stream, artsim.CORE_L4R5, artsim.I_L4R5, artsim.D_L4R5)

    image = load_image(firmware.path)
    config = memory_systems(part, collection.clock_hz)[WHOLE]
    pricers = MemoryPricers.of_systems(part, core, [config])
    machine = Machine(
        image,
        part,
        depth=core.context_blocks,
        predict=False,
        record=pricers.feed,
        regions=[MeasuredRegion("invoke", image.symbol("tinysim_invoke").address)],
    )
    machine.run_to(image.symbol("tinysim_invoke").address)
    machine.forget()
    pricers.start(machine)
    machine.run_to(image.symbol("tinysim_done").address)
    run = machine.take()
    cycles = Estimate.of_stream(run, image, pricers.finish()[0]).region(None, collection.clock_hz).cycles
    blocks_counted = config.counters(pricers.memories[0]).blocks
    assert cycles == pytest.approx(theirs["cycles"], rel=0.01)
    misses = [blocks_counted[f"flash {side} lines"].misses for side in ("instruction", "data")]
    assert misses == pytest.approx([theirs["imiss"], theirs["dmiss"]], rel=0.01)


def test_systems_differ_in_what_they_say(collections: dict[str, ValidationSet]) -> None:
    part = collections["edgemark"].load_part()
    systems = memory_systems(part, 120_000_000)
    assert next(iter(systems)) == WHOLE
    assert list(systems)[-1] == CORE_ALONE
    assert np.array_equal(
        systems[WHOLE].words, configure(part, (), 120_000_000, settings=systems[WHOLE].settings).words
    )
    distinct = {system.words.tobytes() for system in systems.values()}
    assert len(distinct) == len(systems)
    assert {variant.name for variant in part.variants} <= set(systems)
