"""Third-party sources: fetched by their clients, pinned, re-used, and refused when they are not what was pinned."""

from __future__ import annotations

import hashlib
import json
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from tinysim.data import firmware_folder
from tinysim.errors import ToolchainError
from tinysim.sources import Client, cargo_environment, fetch, load_packages

PACKAGES = load_packages()


@pytest.mark.parametrize("key", PACKAGES)
def test_fetched_once_and_complete(key: str) -> None:
    folder = fetch(PACKAGES[key])
    assert any(folder.iterdir())
    before = folder.stat().st_mtime_ns
    assert fetch(PACKAGES[key]) == folder
    assert folder.stat().st_mtime_ns == before


def test_lock_file_holds_the_pinned_hash_and_one_registry_package() -> None:
    package = PACKAGES["tflm"]
    locked = tomllib.loads((firmware_folder() / package.lock).read_text())
    from_registry = [entry for entry in locked["package"] if "source" in entry]
    assert [(entry["name"], entry["version"], entry["checksum"]) for entry in from_registry] == [
        (package.name, package.version, package.sha256)
    ]
    assert locked["version"] == 3, "older cargos do not read version 4"


def test_vendored_files_are_those_of_the_archive() -> None:
    """cargo writes the hash of every file it unpacked beside them."""
    folder = fetch(PACKAGES["tflm"])
    sums = json.loads((folder / ".cargo-checksum.json").read_text())["files"]
    name = "submodules/tensorflow/tensorflow/lite/micro/micro_interpreter.cc"
    assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == sums[name]


@pytest.mark.parametrize("key", PACKAGES)
def test_other_hash_is_refused_and_leaves_nothing(key: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    wrong = replace(PACKAGES[key], sha256="0" * 64)
    with pytest.raises(ToolchainError, match="not the pinned 0000"):
        fetch(wrong)
    assert not wrong.folder.exists()
    assert list(wrong.folder.parent.iterdir()) == []


def test_unknown_version_is_the_clients_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(ToolchainError, match="pip could not fetch") as caught:
        fetch(replace(PACKAGES["cmsis"], version="0.0.0.dev1"))
    assert "0.0.0.dev1" in caught.value.details


def test_absent_cargo_is_said_with_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CARGO_HOME", str(tmp_path))
    with pytest.raises(ToolchainError, match="cargo is needed") as caught:
        fetch(PACKAGES["tflm"])
    assert caught.value.hint == "apt-get install cargo"


def test_unpacked_by_another_process_meanwhile_is_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    package = replace(PACKAGES["cmsis"], client=Client.PIP)

    def slow(package: object, scratch: Path) -> Path:
        theirs = replace(PACKAGES["cmsis"]).folder
        theirs.mkdir()
        (theirs / "first").touch()
        ours = scratch / "unpacked"
        ours.mkdir()
        (ours / "second").touch()
        return ours

    monkeypatch.setattr("tinysim.sources._pip", slow)
    assert [path.name for path in fetch(package).iterdir()] == ["first"]


@pytest.mark.parametrize(
    ("version", "names"),
    [
        ((1, 65), {"RUSTC_BOOTSTRAP", "CARGO_UNSTABLE_SPARSE_REGISTRY"}),
        ((1, 69), {"CARGO_REGISTRIES_CRATES_IO_PROTOCOL"}),
        ((1, 70), set()),
    ],
)
def test_old_cargos_are_asked_for_the_sparse_registry(version: tuple[int, int], names: set[str]) -> None:
    assert set(cargo_environment(version)) == names
