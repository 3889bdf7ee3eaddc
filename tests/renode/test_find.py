"""Where Renode is looked for, and which versions are taken."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tinysim.errors import EngineError
from tinysim.renode.find import HOW_TO_GET, FoundBy, Renode, check_version, find_renode


def program(path: Path, prints: str = "Renode v1.16.1.29364") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{prints}'\n")
    path.chmod(0o755)
    return path


def test_the_order_of_places(tmp_path: Path) -> None:
    option = program(tmp_path / "option" / "renode")
    named = program(tmp_path / "named" / "renode")
    on_path = program(tmp_path / "bin" / "renode")
    home = tmp_path / "home"
    downloaded = program(home / ".config/renode/renode-run.download/dotnet-portable/renode-1.16.1/renode")
    environment = {"RENODE_PATH": str(named), "PATH": str(on_path.parent), "HOME": str(home)}
    assert find_renode(option, environment) == Renode(option, FoundBy.OPTION)
    assert find_renode(option.parent, environment).path == option
    assert find_renode(None, environment) == Renode(named, FoundBy.ENVIRONMENT)
    del environment["RENODE_PATH"]
    assert find_renode(None, environment) == Renode(on_path, FoundBy.PATH)
    environment["PATH"] = ""
    assert find_renode(None, environment) == Renode(downloaded, FoundBy.RENODE_RUN)


@pytest.mark.parametrize("form", ["one default", "a default for each kind", "not JSON"])
def test_what_renode_run_noted(tmp_path: Path, form: str) -> None:
    chosen = program(tmp_path / "elsewhere" / "renode")
    folder = tmp_path / ".config" / "renode"
    folder.mkdir(parents=True)
    place = str(chosen.parent)
    notes = {
        "one default": json.dumps(
            {"version": "2.1", "default": place, "installations": {place: {"version": "1.16.1"}}}
        ),
        "a default for each kind": json.dumps({"version": "2.0", "default": {"dotnet-portable": place}}),
        "not JSON": "{",
    }
    (folder / "renode-run.json").write_text(notes[form])
    environment = {"PATH": "", "HOME": str(tmp_path)}
    if form == "not JSON":
        with pytest.raises(EngineError):
            find_renode(None, environment)
    else:
        assert find_renode(None, environment) == Renode(chosen, FoundBy.RENODE_RUN)


def test_missing_says_in_one_line_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(EngineError) as caught:
        find_renode(None, {"PATH": str(tmp_path), "HOME": str(tmp_path)})
    assert str(caught.value) == f"Renode is not installed ({HOW_TO_GET})"
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 1


def test_a_named_place_without_renode_is_an_error_not_a_reason_to_look_on(tmp_path: Path) -> None:
    program(tmp_path / "renode")
    with pytest.raises(EngineError, match="RENODE_PATH names /nowhere"):
        find_renode(None, {"RENODE_PATH": "/nowhere", "PATH": str(tmp_path)})


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("Renode, version 1.16.1 (d66b0c2a-202602161036)", (1, 16, 1)),
        ("Renode v2.0", (2, 0)),
        ("Renode v1.17.0.3", (1, 17, 0)),
    ],
)
def test_versions_that_are_taken(text: str, version: tuple[int, ...]) -> None:
    assert check_version(text) == version


@pytest.mark.parametrize("text", ["Renode, version 1.15.3 (x)", "Renode v0.9"])
def test_older_versions_are_refused_with_the_reason(text: str) -> None:
    with pytest.raises(EngineError, match=r"needs 1.16 or later: .* cycle counter does not synchronise"):
        check_version(text)


def test_no_version_is_refused() -> None:
    with pytest.raises(EngineError, match="names no version"):
        check_version("hello")


def test_the_version_of_an_installation(tmp_path: Path) -> None:
    assert Renode(program(tmp_path / "renode"), FoundBy.PATH).version == "1.16.1"
    with pytest.raises(EngineError, match=r"this is Renode 1.15.3"):
        _ = Renode(program(tmp_path / "old", "Renode v1.15.3"), FoundBy.PATH).version
    with pytest.raises(EngineError, match="printed nothing"):
        _ = Renode(program(tmp_path / "mute", ""), FoundBy.PATH).version
