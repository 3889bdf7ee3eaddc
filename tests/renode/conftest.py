"""Stand-ins for Renode, and a program to run in them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from tinysim.image import Image, load_image
from tinysim.part import Part
from tinysim.partfile import read_part
from tinysim.renode.find import FoundBy, Renode
from tinysim.renode.import_part import import_part

HERE = Path(__file__).resolve().parent
SHARED = HERE.parents[1].parent / "shared" / "renode"


@pytest.fixture
def shared() -> Path:
    if not SHARED.is_dir():
        pytest.skip("the recorded exchanges in ../shared/renode are not here")
    return SHARED


@pytest.fixture
def stand_in(tmp_path: Path) -> Iterator[Callable[..., Renode]]:
    """A Renode that is `stand_in.py` with some arguments. No process of it may be left at the end of a test."""
    made = 0

    def make(*arguments: str) -> Renode:
        nonlocal made
        made += 1
        path = tmp_path / f"renode{made}"
        quoted = " ".join(f"'{a}'" for a in arguments)
        path.write_text(f"#!/bin/sh\n'{sys.executable}' '{HERE / 'stand_in.py'}' {quoted} \"$@\"\n")
        path.chmod(0o755)
        return Renode(path, FoundBy.OPTION)

    yield make
    assert leftovers(tmp_path) == []


def leftovers(folder: Path) -> list[int]:
    """Processes that still run one of the stand-ins made in ``folder``."""
    found = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = place.read_bytes()
        except OSError:
            continue
        if str(folder).encode() in line and int(place.parent.name) != os.getpid():
            found.append(int(place.parent.name))
    return found


@pytest.fixture(scope="session")
def target(tmp_path_factory: pytest.TempPathFactory) -> Image:
    """`target.c`, compiled for the platform `board.repl`."""
    compiler = shutil.which("arm-none-eabi-gcc")
    if compiler is None:
        pytest.skip("arm-none-eabi-gcc is not installed")
    elf = tmp_path_factory.mktemp("target") / "target.elf"
    subprocess.run(
        [
            compiler,
            "-mcpu=cortex-m4",
            "-mthumb",
            "-mfloat-abi=soft",
            "-O2",
            "-g",
            "-ffreestanding",
            "-nostdlib",
            "-Wall",
            "-Werror",
            "-T",
            str(HERE / "target.ld"),
            "-o",
            str(elf),
            str(HERE / "target.c"),
        ],
        check=True,
    )
    return load_image(elf)


@pytest.fixture(scope="session")
def board(tmp_path_factory: pytest.TempPathFactory) -> Part:
    """The part of `board.repl`."""
    folder = tmp_path_factory.mktemp("board")
    shutil.copy(HERE / "board.repl", folder)
    (folder / "board.toml").write_text(import_part(folder / "board.repl").toml)
    return read_part(folder / "board.toml")
