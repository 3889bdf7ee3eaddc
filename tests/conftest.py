"""What several tests need: where models are, and measurements of the models in the project."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

import tinysim
from tinysim.result import Result

settings.register_profile("tinysim", deadline=None)  # how fast a computer is says nothing about the code
settings.load_profile("tinysim")

ROOT = Path(__file__).parents[1]
MODELS = ROOT / "examples" / "models"
MLPERF = ROOT.parent / "shared" / "models" / "mlperf-tiny"
PARTS = ("stm32l4r5zi", "stm32h723zg")


@pytest.fixture(scope="session")
def models() -> Path:
    """The folder of the models that come with the project."""
    return MODELS


@pytest.fixture(scope="session")
def mlperf() -> Path:
    """The folder of MLPerf Tiny's reference models."""
    if not MLPERF.is_dir():
        pytest.skip(f"MLPerf Tiny's models are not at {MLPERF}")
    return MLPERF


@pytest.fixture(scope="session")
def cnn_results() -> tuple[Result, ...]:
    """The int8 CNN of the project on an M4 and an M7."""
    return tuple(tinysim.bench(MODELS / "cnn_int8.tflite", PARTS))


@pytest.fixture(scope="session")
def one_result(cnn_results: tuple[Result, ...]) -> Result:
    """The int8 CNN of the project on an M4."""
    return cnn_results[0]
