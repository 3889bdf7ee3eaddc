"""The founding benchmark's data."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from tinysim.errors import PartError
from tinysim.part import load_part
from tinysim.seeds import NumberType, load_seeds

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
