"""Renode as a child process: started, watched, and never left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import leftovers

from tinysim.errors import EngineError
from tinysim.renode.find import FoundBy, Renode
from tinysim.renode.process import RenodeProcess, listens_beyond_this_machine


def test_starts_and_ends(stand_in: Callable[..., Renode]) -> None:
    with RenodeProcess(stand_in("live")) as process:
        assert process.running
        assert process.port > 1024
        assert process.folder.is_dir()
        assert not listens_beyond_this_machine(process.port)
    assert not process.running
    assert not process.folder.exists()
    process.close()  # again: nothing happens


def test_a_crash_at_the_start_shows_the_last_log_lines(stand_in: Callable[..., Renode]) -> None:
    with pytest.raises(EngineError, match="ended at its start with exit code 1") as caught:
        RenodeProcess(stand_in("crash"))
    assert "cannot load a library" in caught.value.details


def test_no_free_port(stand_in: Callable[..., Renode]) -> None:
    with pytest.raises(EngineError, match="could not listen on any port"):
        RenodeProcess(stand_in("no-port"))


def test_one_that_never_gets_ready(stand_in: Callable[..., Renode]) -> None:
    with pytest.raises(EngineError, match=r"not ready after 0.5 s") as caught:
        RenodeProcess(stand_in("mute"), timeout_s=0.5)
    assert "Loaded monitor commands" in caught.value.details


def test_not_a_program(tmp_path: Path) -> None:
    path = tmp_path / "renode"
    path.write_bytes(b"\x7fELF and nothing else")
    path.chmod(0o755)
    with pytest.raises(EngineError, match="cannot start"):
        RenodeProcess(Renode(path, FoundBy.OPTION))


PARENT = """
import sys, time
from pathlib import Path
from tinysim.renode.find import FoundBy, Renode
from tinysim.renode.process import RenodeProcess
with RenodeProcess(Renode(Path(sys.argv[1]), FoundBy.OPTION)) as process:
    print(process.pid, flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_dies_with_its_parent(stand_in: Callable[..., Renode], tmp_path: Path, how: signal.Signals) -> None:
    renode = stand_in("live")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(renode.path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
    )
    assert parent.stdout is not None
    assert int(parent.stdout.readline()) in leftovers(tmp_path)
    parent.send_signal(how)
    parent.wait(20)
    parent.stdout.close()
    deadline = time.monotonic() + 10
    while leftovers(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert leftovers(tmp_path) == []


TABLE = """  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: {}:C000 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1
   1: 00000000:C001 00000000:0000 01 00000000:00000000 00:00000000 00000000     0        0 2
"""


@pytest.mark.parametrize(
    ("address", "beyond"),
    [
        ("0100007F", False),
        ("00000000", True),
        ("0B00A8C0", True),
        ("00000000000000000000000000000000", True),
        ("00000000000000000000000001000000", False),
        ("0000000000000000FFFF00000100007F", False),
    ],
)
def test_what_a_port_is_bound_to(tmp_path: Path, address: str, beyond: bool) -> None:
    if sys.byteorder != "little":
        pytest.skip("the table is written for a little-endian machine")
    table = tmp_path / "tcp"
    table.write_text(TABLE.format(address))
    assert listens_beyond_this_machine(0xC000, (table,)) is beyond
    assert not listens_beyond_this_machine(0xC001, (table,))  # connected, not listening
    assert listens_beyond_this_machine(0xC000, (tmp_path / "none",))
