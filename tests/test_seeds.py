"""The founding benchmark's data."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from tinysim.errors import PartError
from tinysim.part import load_part
from tinysim.seeds import load_seeds

ROOT = Path(__file__).resolve().parents[1]
FACTS = ROOT.parent / "shared" / "facts" / "seed_models.csv"
NAMES = {
    "house price regression": "house_price",
    "human activity recognition": "human_activity",
    "image classification (Fashion-MNIST)": "image_classification",
}


def test_targets_are_parts_at_clocks_they_allow() -> None:
    seeds = load_seeds()
    assert [(target.part, target.clock_hz) for target in seeds.targets] == [
        ("stm32wb55rg", 48_000_000),
        ("stm32wb55rg", 64_000_000),
        ("stm32f767zi", 180_000_000),
        ("stm32h723zg", 550_000_000),
    ]
    for target in seeds.targets:
        part = load_part(target.part)
        assert part.wait_states(target.clock_hz) > 0
        assert ("M7" in target.title) == (part.core == "cortex-m7")
        assert target.why and target.source


def test_models_are_built() -> None:
    for model in load_seeds().models:
        for kind in ("float32", "int8"):
            assert (ROOT / "examples" / "models" / f"{model.name}_{kind}.tflite").is_file()
        assert model.weights_bytes <= 4 * model.parameters


def test_published_figures() -> None:
    """Every row of the collected figures, and nothing else."""
    if not FACTS.is_file():
        pytest.skip("the facts are not beside this checkout")
    seeds = load_seeds()
    clocks = {target.clock_hz // 10**6: target.name for target in seeds.targets}
    with FACTS.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(seeds.figures) == 12
    for row in rows:
        figure = seeds.figure(NAMES[row["model"]], clocks[int(row["mhz"])])
        assert figure.latency_s * 1e3 == pytest.approx(float(row["latency_ms"]))
        assert figure.rounding_s < figure.latency_s / 5
        assert (figure.flash_bytes, figure.ram_bytes) == (int(row["weights_bytes"]), int(row["ram_total_bytes"]))
        assert figure.flash_bytes / 1024 == pytest.approx(float(row["readme_flash"].split()[0]), abs=0.01)
        model = next(model for model in seeds.models if model.name == figure.model)
        assert (model.parameters, model.macs) == (int(row["params"]), int(row["macc"]))


def test_bad_file(tmp_path: Path) -> None:
    text = (ROOT / "platforms" / "seeds.toml").read_text()
    path = tmp_path / "seeds.toml"
    for old, new, word in (
        ('latency = "1.35 ms"', 'latency = "1.35"', "not a time"),
        ('target = "m4-48"', 'target = "m5"', "no target 'm5'"),
        ('target = "m4-48"', 'target = "m4-64"', "one published row"),
        ('clock = "48MHz"', "clock = 48", "no unit"),
    ):
        path.write_text(text.replace(old, new, 1))
        with pytest.raises(PartError, match=rf"seeds.toml:\d+: .*{word}"):
            load_seeds(path)
