"""What Renode's robot server does for the keywords and commands that tinysim uses, on a `FakeCore`."""

from __future__ import annotations

import base64
import io
import re
import shlex
import types
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from counter_process import CounterProcess
from fake_core import FakeCore

from tinysim.image import load_image
from tinysim.repl import read_repl

_WIDTHS = {1: "Byte", 2: "Word", 4: "DoubleWord"}


class CommandError(Exception):
    """A monitor command that fails."""


class FakeRenode:
    """One process of Renode."""

    def __init__(self, *, csharp: bool, quantum: int, say: Callable[[str], None]) -> None:
        self.csharp, self.quantum, self.say = csharp, quantum, say
        self.core: FakeCore | None = None
        self.mips = 100
        self.scope: dict[str, Any] | None = None  # of the IronPython monitor
        self.counter: CounterProcess | None = None
        self.uarts: dict[str, int] = {}

    def keyword(self, name: str, arguments: list[str]) -> dict[str, Any]:
        """A keyword's result as the robot server answers it."""
        try:
            if name == "ResetEmulation":
                self.core = None
                return {"status": "PASS"}
            if name == "ExecuteCommand":
                return {"status": "PASS", "return": self.command(arguments[0]) + "\n\n"}
            if name == "ExecutePython":
                return self.python(arguments[0])
        except CommandError as error:
            line = arguments[0]
            text = f"Could not execute command '{line}': There was an error executing command '{line}'{error}"
            return {"status": "FAIL", "error": f"KeywordException: {text}\n", "traceback": ""}
        return {"status": "FAIL", "error": f"KeywordException: no {name} here\n", "traceback": ""}

    def command(self, line: str) -> str:
        """A monitor command; what it prints."""
        word, _, rest = line.partition(" ")
        if word == "version":
            return "Renode, version 1.16.1 (stand-in)"
        if word == "mach":
            return ""
        if word == "machine":
            return self.load_platform(_path(rest.split(" ", 1)[1]))
        if word == "include":
            return self.include(_path(rest))
        if word == "log":
            self.say(f"00:00:00.0000 [INFO] Script: {rest.strip(chr(34))}")
            return ""
        if word == "emulation":
            return self.emulation(rest)
        if word == "sysbus":
            return self.sysbus(rest)
        if word == "cpu":
            return self.cpu(rest)
        if self.scope is not None and f"mc_{word}" in self.scope:
            return self.python_command(word, rest)
        if word in self.uarts:
            return ""
        raise CommandError(f"No such command or device: {word}")

    def load_platform(self, path: Path) -> str:
        platform = read_repl(path)
        memories, model = {}, ""
        for entry in platform.entries:
            if entry.type == "Memory.MappedMemory":
                memories[entry.name] = (int(entry.registrations[0].address or 0), int(str(entry.properties["size"])))
            if entry.type == "CPU.CortexM":
                model, self.mips = str(entry.properties["cpuType"]), int(str(entry.properties["PerformanceInMips"]))
            if (entry.type or "").startswith("UART."):
                self.uarts[entry.name] = int(entry.registrations[0].address or 0)
        self.core = FakeCore(model, memories, self.quantum)
        self.core.unmapped = self.report_hole
        return ""

    def report_hole(self, pc: int, write: bool, size: int, address: int) -> None:
        verb = f"Write{_WIDTHS[size]} to" if write else f"Read{_WIDTHS[size]} from"
        self.say(
            f"00:00:00.0000 [WARNING] sysbus: [cpu: {pc:#X}] {verb} non existing peripheral at {address:#X}.".replace(
                "0X", "0x"
            )
        )

    @property
    def running(self) -> FakeCore:
        if self.core is None:
            raise CommandError("No such command or device: cpu")
        return self.core

    def include(self, path: Path) -> str:
        if path.suffix == ".cs":
            if not self.csharp:
                raise CommandError("Errors during compilation or loading:\nThere were compilation errors: CS0000")
            self.counter = self.counter or CounterProcess(path)
            return ""
        self.scope = {"self": types.SimpleNamespace(Machine=_Machine(self)), "monitor": None}
        source = path.read_text()
        exec(compile(source.replace("import System\n", ""), str(path), "exec"), {**_SYSTEM, **self.scope}, self.scope)
        globals_of = self.scope["mc_tinysim_begin"].__globals__
        globals_of.update(self.scope)
        return ""

    def python_command(self, word: str, rest: str) -> str:
        arguments = [int(a, 0) if re.fullmatch(r"0x[0-9a-f]+|\d+", a) else a for a in shlex.split(rest)]
        printed = io.StringIO()
        with redirect_stdout(printed):
            assert self.scope is not None
            self.scope[f"mc_{word}"](*arguments)
        return printed.getvalue()

    def emulation(self, rest: str) -> str:
        name, _, argument = rest.partition(" ")
        if name == "RunFor":
            self.running.run(round(float(argument.strip('"')) * self.mips * 1e6))
        return ""

    def sysbus(self, rest: str) -> str:
        name, *arguments = rest.split(" ", 1)
        if name == "LoadELF":
            image = load_image(_path(arguments[0]))
            for segment in image.segments:
                self.running.uc.mem_write(segment.load_address, segment.data)
            return ""
        if name == "ReadDoubleWord":
            return f"0x{int.from_bytes(self.running.uc.mem_read(int(arguments[0], 0), 4), 'little'):08X}"
        raise CommandError(f"sysbus does not provide {name}")

    def cpu(self, rest: str) -> str:
        core = self.running
        name, *arguments = shlex.split(rest)
        if name.startswith("Tinysim"):
            if self.counter is None:
                raise CommandError(f"sysbus.cpu does not provide a field, method or property {name}.")
            return self.counter.command(core, name, arguments)
        if name == "AddHook":
            address = int(arguments[0], 0)
            core.add_hook(address, lambda _pc: setattr(core, "halted", True))
            return ""
        numbered = {"SP": 13, "PC": 15}
        if name in numbered and arguments:
            core.set_register(numbered[name], int(arguments[0], 0))
            if name == "PC":
                core._passed = -1
            return ""
        if name in numbered:
            return hex(core.register(numbered[name]))
        if name == "GetRegister":
            return hex(core.register(int(arguments[0])))
        if name == "SetRegister":
            core.set_register(int(arguments[0]), int(arguments[1], 0))
            return ""
        if name == "IsHalted":
            if arguments:
                core.halted = arguments[0] == "true"
            return str(core.halted)
        if name == "PerformanceInMips":
            return f"0x{self.mips:08X}"
        if name == "ExecutedInstructions":
            return f"0x{core.executed:016X}"
        raise CommandError(f"sysbus.cpu does not provide a field, method or property {name}.")

    def python(self, expression: str) -> dict[str, Any]:
        if match := re.fullmatch(r"self\.Machine\.SystemBus\.ReadBytes\((\w+), (\d+)\)", expression):
            return {"status": "PASS", "return": bytes(self.running.uc.mem_read(int(match[1], 0), int(match[2])))}
        if match := re.fullmatch(r".*WriteBytes\(System\.Convert\.FromBase64String\('([^']*)'\), (\w+)\)", expression):
            self.running.uc.mem_write(int(match[2], 0), base64.b64decode(match[1]))
            return {"status": "PASS"}
        return {"status": "FAIL", "error": f"UnboundNameException: {expression}\n", "traceback": ""}


def _path(argument: str) -> Path:
    return Path(argument.strip().removeprefix("@").replace("\\ ", " ").strip('"'))


# what platforms/tinysim.py finds in Renode's IronPython


class _Generic:
    def __getitem__(self, _types: Any) -> Callable[[Any], Any]:
        return lambda function: function


class _Register:
    def __init__(self, value: int) -> None:
        self.RawValue = value


class _Cpu:
    def __init__(self, fake: FakeRenode) -> None:
        self.fake, self.Model = fake, "cortex-m4"

    @property
    def ExecutedInstructions(self) -> int:  # noqa: N802
        return self.fake.running.executed

    def GetRegister(self, number: int) -> _Register:  # noqa: N802
        return _Register(self.fake.running.register(number))

    def SetHookAtBlockBegin(self, hook: Any) -> None:  # noqa: N802
        self.fake.running.at_begin = hook

    def ClearHookAtBlockBegin(self) -> None:  # noqa: N802
        if self.fake.core is not None:
            self.fake.core.at_begin = None

    def AddHook(self, address: int, hook: Any) -> None:  # noqa: N802
        self.fake.running.add_hook(address, lambda pc: hook(self, pc))


class _Bus:
    def __init__(self, fake: FakeRenode) -> None:
        self.fake = fake

    def ReadBytes(self, address: int, count: int) -> bytes:  # noqa: N802
        return bytes(self.fake.running.uc.mem_read(address, count))

    def ReadDoubleWord(self, address: int) -> int:  # noqa: N802
        return int.from_bytes(self.ReadBytes(address, 4), "little")


class _Machine:
    def __init__(self, fake: FakeRenode) -> None:
        self.fake, self.SystemBus = fake, _Bus(fake)

    def __getitem__(self, name: str) -> _Cpu:
        assert name == "sysbus.cpu"
        return _Cpu(self.fake)


_SYSTEM = {
    "System": types.SimpleNamespace(
        Action=_Generic(),
        UInt64=int,
        UInt32=int,
        IO=types.SimpleNamespace(
            File=types.SimpleNamespace(WriteAllText=lambda path, text: Path(path).write_text(text))
        ),
    )
}
