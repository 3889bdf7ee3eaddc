"""The robot server's client: what was recorded from a real Renode, and what goes wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tinysim.errors import EngineError, FaultError, ImageError, PartError
from tinysim.renode.client import CompileError, RobotClient, quoted
from tinysim.renode.find import Renode
from tinysim.renode.process import OPEN_TO_ALL, RenodeProcess
from tinysim.renode.session import RenodeSession, path_argument


def recording(path: Path, *exchanges: dict[str, object]) -> Path:
    path.write_text("".join(json.dumps(exchange) + "\n" for exchange in exchanges))
    return path


def passing(keyword: str, *arguments: str, answer: object = "", **more: object) -> dict[str, object]:
    return {"keyword": keyword, "arguments": list(arguments), "answer": {"status": "PASS", "return": answer}, **more}


def test_the_recorded_happy_path(shared: Path, stand_in: Callable[..., Renode]) -> None:
    renode = stand_in("replay", str(shared / "a_happy_path.jsonl"), "--place", f"DIR={shared}")
    with RenodeProcess(renode) as process:
        client = RobotClient(process)
        client.keyword("ResetEmulation")
        assert client.command("version") == "Renode, version 1.16.1 (d66b0c2a-mono-local)"
        assert client.command('mach create "m"') == ""
        client.command(f"machine LoadPlatformDescription @{shared}/platform.repl")
        client.command(f"sysbus LoadELF @{shared}/target/prog.elf")
        assert client.number('sysbus GetSymbolAddress "bench_begin"') == 0x08000044
        client.command('emulation RunFor "0.01"')
        assert client.command("cpu IsHalted") == "True"
        assert client.number("cpu PC") == 0x0800004C
        assert client.number("cpu ExecutedInstructions") == 0x28DF2
        assert client.number("sysbus ReadDoubleWord 0xE0001004") == 0xF4240
        assert client.python("1 + 1") == 2
        assert client.python("[1, 2, 'three']") == [1, 2, "three"]
        words = client.python("self.Machine.SystemBus.ReadBytes(0x20000004, 16)")
        assert isinstance(words, bytes) and words[:4] == bytes.fromhex("5bf6ffff")


def test_the_recorded_failures(shared: Path, stand_in: Callable[..., Renode]) -> None:
    renode = stand_in("replay", str(shared / "b_failures.jsonl"), "--place", f"DIR={shared}")
    load = f"machine LoadPlatformDescription @{shared}"
    failures: list[tuple[str, type[Exception], str]] = [
        ("bogus", EngineError, "refused .*bogus.*: No such command or device: bogus"),
        (f"{load}/bad_syntax.repl", PartError, "bad_syntax.repl:1: .*unexpected 'M'; expected colon .E00"),
        (f"{load}/bad_type.repl", PartError, "bad_type.repl:1: .*Could not resolve type: 'Memory.NoSuchMemory'"),
        (f"{load}/bad_attribute.repl", PartError, "bad_attribute.repl:1: .*Could not find suitable constructor"),
        (f"{load}/bad_missing_nvic.repl", PartError, "bad_missing_nvic.repl:1: .*constructor for type .*CortexM"),
        (f"{load}/bad_cputype.repl", PartError, "bad_cputype.repl:9: .*Unknown CPU type .E38"),
        (f"{load}/bad_overlap.repl", PartError, "bad_overlap.repl:1[0-9]: .*registration of 'extra'"),
        (f"sysbus LoadELF @{shared}/missing.elf", ImageError, "cannot load the firmware"),
        (f"sysbus LoadELF @{shared}/rec.py", ImageError, "cannot load the firmware"),
        ('sysbus GetSymbolAddress "no_such_symbol"', ImageError, "no symbol 'no_such_symbol'"),
        (f"include @{shared}/bad_plugin.cs", CompileError, "could not compile"),
    ]
    with RenodeProcess(renode) as process:
        client = RobotClient(process)
        with pytest.raises(EngineError, match=r'refused .*NoSuchKeyword.*: Keyword "NoSuchKeyword" not found'):
            client.keyword("NoSuchKeyword")
        for command, kind, message in failures:
            with pytest.raises(kind, match=message):
                client.command(command)
        assert process.running  # none of these ends it


def test_a_jump_out_of_memory_blocks_the_server_for_good(shared: Path, stand_in: Callable[..., Renode]) -> None:
    renode = stand_in("replay", str(shared / "b_exec_hole.jsonl"), "--place", f"DIR={shared}", "--slower", "0")
    with RenodeProcess(renode) as process:
        client = RobotClient(process)
        with pytest.raises(
            FaultError, match="stopped at 0xf000000: Trying to execute code outside RAM or ROM at 0x0F000000"
        ):
            client.command('emulation RunFor "0.001"', timeout_s=1.0)
        assert not process.running


@pytest.mark.parametrize("name", ["b_zero_mips", "b_hook_raises"])
def test_what_ends_the_process(shared: Path, stand_in: Callable[..., Renode], name: str) -> None:
    renode = stand_in("replay", str(shared / f"{name}.jsonl"), "--place", f"DIR={shared}", "--slower", "0")
    with RenodeProcess(renode) as process:
        with pytest.raises(EngineError, match="Renode ended while it ran 'ExecuteCommand emulation RunFor") as caught:
            RobotClient(process).command('emulation RunFor "0.001"')
        assert not process.running
        assert "at System.Threading" in caught.value.details or "FATAL" in caught.value.details
        with pytest.raises(EngineError, match="Renode ended"):
            RobotClient(process).command("cpu PC")


def test_waiting_after_the_pause_never_returns(shared: Path, stand_in: Callable[..., Renode]) -> None:
    renode = stand_in("replay", str(shared / "h_wait_for_pause.jsonl"), "--place", f"DIR={shared}", "--slower", "0")
    with (
        RenodeProcess(renode) as process,
        pytest.raises(EngineError, match=r"did not answer 'WaitForPause 1' within 0.5 s and was ended"),
    ):
        RobotClient(process).keyword("WaitForPause", "1", timeout_s=0.5)


def test_a_slow_answer_within_the_time(tmp_path: Path, stand_in: Callable[..., Renode]) -> None:
    file = recording(tmp_path / "slow.jsonl", passing("ExecuteCommand", "version", answer="slow\r\r\n", elapsed_s=0.4))
    with RenodeProcess(stand_in("replay", str(file))) as process:
        assert RobotClient(process, timeout_s=20).command("version") == "slow"


def test_never_answers(tmp_path: Path, stand_in: Callable[..., Renode]) -> None:
    file = recording(
        tmp_path / "mute.jsonl",
        {
            "keyword": "ExecuteCommand",
            "arguments": ["version"],
            "transport_error": "timed out",
            "log": ["00:00 [ERROR] stuck here"],
        },
    )
    with RenodeProcess(stand_in("replay", str(file))) as process:
        with pytest.raises(EngineError, match=r"did not answer 'ExecuteCommand version' within 0.5 s") as caught:
            RobotClient(process, timeout_s=0.5).command("version")
        assert "stuck here" in caught.value.details
        assert not process.running


def test_dies_in_the_middle(tmp_path: Path, stand_in: Callable[..., Renode]) -> None:
    file = recording(
        tmp_path / "dies.jsonl",
        passing("ResetEmulation"),
        {
            "keyword": "ExecuteCommand",
            "arguments": ["start"],
            "transport_error": "closed",
            "log": ["Fatal error: out of luck"],
        },
    )
    with RenodeProcess(stand_in("replay", str(file))) as process:
        client = RobotClient(process)
        client.keyword("ResetEmulation")
        with pytest.raises(EngineError, match="Renode ended while it ran 'ExecuteCommand start'") as caught:
            client.command("start")
        assert "out of luck" in caught.value.details


def test_an_answer_that_is_no_result(tmp_path: Path, stand_in: Callable[..., Renode]) -> None:
    file = recording(
        tmp_path / "odd.jsonl",
        {"keyword": "A", "answer": [1]},
        {"keyword": "B", "response_xml": "<html>busy</html>"},
        passing("ExecuteCommand", "cpu PC", answer="none"),
    )
    with RenodeProcess(stand_in("replay", str(file))) as process:
        client = RobotClient(process)
        with pytest.raises(EngineError, match="something else than a result"):
            client.keyword("A")
        with pytest.raises(EngineError, match="no XML-RPC"):
            client.keyword("B")
        with pytest.raises(EngineError, match="'none', not a number"):
            client.number("cpu PC")


def test_an_old_version_is_refused_and_ended(tmp_path: Path, stand_in: Callable[..., Renode]) -> None:
    file = recording(
        tmp_path / "old.jsonl", passing("ExecuteCommand", "version", answer="Renode, version 1.15.3 (x)\n\n")
    )
    with pytest.raises(EngineError, match=r"this is Renode 1.15.3"):
        RenodeSession(stand_in("replay", str(file)))


def test_a_server_open_to_all_is_warned_of(tmp_path: Path, stand_in: Callable[..., Renode]) -> None:
    file = recording(
        tmp_path / "open.jsonl", passing("ExecuteCommand", "version", answer="Renode, version 1.16.1 (x)\n\n")
    )
    with RenodeSession(stand_in("replay", str(file), "--everywhere")) as session:
        assert session.warnings == [OPEN_TO_ALL]
        assert session.version == "1.16.1"


def test_arguments_the_monitor_cannot_take(tmp_path: Path) -> None:
    assert path_argument(Path("/a b/c.repl")) == "@/a\\ b/c.repl"
    assert quoted("a b") == '"a b"'
    with pytest.raises(EngineError, match="cannot take the path"):
        path_argument(tmp_path / 'x"y.repl')
    with pytest.raises(EngineError, match="cannot take the text"):
        quoted('a"; quit')
