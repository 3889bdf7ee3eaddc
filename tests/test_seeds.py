"""The founding benchmark's data."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from tinysim.errors import InputError, PartError
from tinysim.part import load_part
from tinysim.result import Result
from tinysim.seeds import NumberType, SeedRow, Seeds, load_seeds, measure_seeds
from tinysim.views.seeds import SEED_COLUMNS, seeds_to_csv, show_seeds

ROOT = Path(__file__).resolve().parents[1]
FACTS = ROOT.parent / "shared" / "facts" / "seed_models.csv"


def test_targets_are_parts_at_clocks_they_allow() -> None:
    seeds = load_seeds()
    assert [target.clock_hz // 10**6 for target in seeds.targets] == [48, 64, 180, 550]
    for target in seeds.targets:
        part = load_part(target.part)
        assert part.wait_states(target.clock_hz) > 0
        assert part.core == target.core and target.why


def test_models_are_built() -> None:
    for seed in load_seeds().models:
        for kind in NumberType:
            assert seed.path(kind, ROOT / "examples" / "models").stat().st_size > seed.parameters
        assert seed.flash_bytes <= 4 * seed.parameters


def test_published_figures() -> None:
    """Every row of the collected figures, and nothing else."""
    if not FACTS.is_file():
        pytest.skip("the facts are not beside this checkout")
    seeds = load_seeds()
    with FACTS.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(seeds.models) * len(seeds.targets) == 12
    for row in rows:
        seed = next(seed for seed in seeds.models if seed.parameters == int(row["params"]))
        target = next(target for target in seeds.targets if target.clock_hz == int(row["mhz"]) * 10**6)
        figure = seeds.published(seed, NumberType.FLOAT32, target)
        assert figure.latency_s * 1e3 == pytest.approx(float(row["latency_ms"]))
        assert (figure.flash_bytes, figure.ram_bytes) == (int(row["weights_bytes"]), int(row["ram_total_bytes"]))
        assert figure.flash_bytes is not None
        assert figure.flash_bytes / 1024 == pytest.approx(float(row["readme_flash"].split()[0]), abs=0.01)


def test_bad_file(tmp_path: Path) -> None:
    text = (ROOT / "platforms" / "seeds.toml").read_text()
    path = tmp_path / "seeds.toml"
    for old, new, word in (
        ("latency_us = [1350, ", "latency_us = [", "one for each target"),
        ("parameters = 6534", "parameters = 0", "between"),
        ('clock = "48MHz"', "clock = 48", "no unit"),
        ("differences = []", "differenses = []", "missing"),
    ):
        assert old in text
        path.write_text(text.replace(old, new, 1))
        with pytest.raises(PartError, match=rf"seeds.toml:\d+: .*{word}"):
            load_seeds(path)


@pytest.fixture(scope="module")
def few() -> Seeds:
    """The smallest network on one target, and the largest where it has a larger part and where it has none."""
    whole = load_seeds()
    house, _, image = whole.models
    _, m4, _, m7 = whole.targets
    pick = lambda seed, *targets: dataclasses.replace(  # noqa: E731
        seed, latency_s=tuple(seed.latency_s[whole.targets.index(target)] for target in targets)
    )
    return dataclasses.replace(whole, targets=(m4, m7), models=(pick(house, m4, m7), pick(image, m4, m7)))


@pytest.fixture(scope="module")
def rows(few: Seeds) -> list[SeedRow]:
    return measure_seeds(kinds=[NumberType.FLOAT32], seeds=few)


def test_rows_stand_beside_what_was_published(rows: list[SeedRow], few: Seeds) -> None:
    assert [(row.seed.file, row.target.part) for row in rows] == [
        (seed.file, target.part) for seed in few.models for target in few.targets
    ]
    for row in rows[:2]:
        result = row.result
        assert result is not None and not row.note
        assert (result.part, result.clock_hz) == (row.target.part, row.target.clock_hz)
        assert result.wait_states == 3  # as the benchmark's projects set them
        assert result.published == row.published
        assert row.latency_ratio == pytest.approx(result.latency_s / row.published.latency_s)
        assert 0.5 < row.latency_ratio < 3
        assert result.memory.weights_bytes == row.published.flash_bytes  # float32: as many bytes as were published
        assert result.outputs is not None and result.outputs.match
        assert Result.from_dict(json.loads(result.to_json())) == result


def test_what_does_not_fit_says_so(rows: list[SeedRow]) -> None:
    larger, nowhere = rows[2:]
    assert larger.result is not None and nowhere.result is None
    assert larger.result.part == larger.target.larger != larger.target.part
    assert load_part(larger.result.part).core == larger.target.core
    assert any(larger.target.larger in text for text in larger.published.differences)
    assert "bytes of flash" in larger.note and "bytes of flash" in nowhere.note
    assert nowhere.latency_ratio is None


def test_int8_has_no_ratio(rows: list[SeedRow], few: Seeds) -> None:
    row = dataclasses.replace(rows[0], kind=NumberType.INT8)
    assert row.latency_ratio is None
    assert few.int8 in few.published(few.models[0], NumberType.INT8, few.targets[0]).differences
    assert few.int8 not in few.published(few.models[0], NumberType.FLOAT32, few.targets[0]).differences


def test_views(rows: list[SeedRow]) -> None:
    records = list(csv.DictReader(io.StringIO(seeds_to_csv(rows))))
    assert list(records[0]) == list(SEED_COLUMNS)
    assert [record["part"] for record in records[:2]] == [row.target.part for row in rows[:2]]
    assert float(records[0]["latency_ratio"]) == pytest.approx(rows[0].latency_ratio, abs=0.001)
    assert records[3]["latency_s"] == "" and "does not fit" in records[3]["note"]
    stream = io.StringIO()
    show_seeds(Console(file=stream, width=200), rows)
    text = stream.getvalue()
    assert text.count("does not fit") >= 2
    assert f"{rows[0].latency_ratio:.2f}" in text
    assert all(difference[:40] in text for row in rows for difference in row.published.differences)


def test_missing_model(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"house_price_float32\.tflite"):
        measure_seeds(folder=tmp_path)
