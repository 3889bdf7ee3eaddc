"""One running Renode that serves many measurements: started, asked for its version, its block counter loaded."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Self

from tinysim.data import platforms_folder
from tinysim.errors import EngineError
from tinysim.renode.client import CompileError, RobotClient, quoted
from tinysim.renode.find import Renode, check_version, find_renode
from tinysim.renode.process import OPEN_TO_ALL, RenodeProcess, listens_beyond_this_machine

__all__ = ["SLOW_COUNTER", "Counter", "RenodeSession", "path_argument"]

SLOW_COUNTER = "this Renode does not compile C#: blocks were counted in IronPython, some twenty times slower"
_PLAIN_PATH = re.compile(r"[\w./+~%,=:@ -]+")


class Counter(StrEnum):
    """Which block counter runs inside Renode."""

    CSHARP = "csharp"
    IRONPYTHON = "ironpython"


@dataclass(frozen=True, slots=True)
class _Commands:
    """The counter's commands as the monitor of Renode takes them."""

    counter: Counter
    cpu: str

    def line(self, name: str, arguments: Sequence[str | int]) -> str:
        shown = " ".join(f"{a:#x}" if isinstance(a, int) else a for a in arguments)
        if self.counter is Counter.CSHARP:
            return f"{self.cpu} Tinysim{''.join(word.title() for word in name.split('_'))} {shown}".strip()
        return f"tinysim_{name} {shown}".strip()


class RenodeSession:
    """A Renode that is ready. Use it in a ``with``: leaving it ends Renode.

    Raises EngineError when Renode does not start or is too old.
    """

    def __init__(
        self, renode: Renode | None = None, *, start_timeout_s: float = 60.0, call_timeout_s: float = 30.0
    ) -> None:
        self.process = RenodeProcess(renode or find_renode(), timeout_s=start_timeout_s)
        self.client = RobotClient(self.process, timeout_s=call_timeout_s)
        try:
            self.version = ".".join(map(str, check_version(self.client.command("version"))))
            self.warnings = [OPEN_TO_ALL] if listens_beyond_this_machine(self.process.port) else []
        except BaseException:
            self.process.close()
            raise
        self._counter: Counter | None = None

    def load_counter(self) -> Counter:
        """Load the block counter, in C# where Renode compiles it. Call it with a machine made; later calls do
        nothing."""
        if self._counter is None:
            folder = platforms_folder()
            try:
                self.client.command(f"include {path_argument(folder / 'renode' / 'block_counter.cs')}", timeout_s=120)
                self._counter = Counter.CSHARP
            except CompileError:
                self.client.command(f"include {path_argument(folder / 'tinysim.py')}")
                self._counter = Counter.IRONPYTHON
                self.warnings.append(SLOW_COUNTER)
        return self._counter

    def count(self, cpu: str, name: str, *arguments: str | int, timeout_s: float | None = None) -> str:
        """Run a command of the block counter: ``count("cpu", "function", quoted("fir"), 0x08000086)``."""
        return self.client.command(_Commands(self.load_counter(), cpu).line(name, arguments), timeout_s)

    def begin_counting(self, cpu: str, history: int, *, predict: bool) -> None:
        """Count what a core executes from here on, with ``history`` pieces before each; ``predict``: branches too."""
        if self.load_counter() is Counter.CSHARP:
            self.count(cpu, "begin", history, str(predict).lower())
        else:
            self.count(cpu, "begin", history, quoted(f"sysbus.{cpu}"), int(predict))

    def close(self) -> None:
        """End Renode."""
        self.process.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()


def path_argument(path: Path) -> str:
    """A path as an argument of a monitor command. Raises EngineError for one the monitor cannot take."""
    text = str(path.resolve())
    if not _PLAIN_PATH.fullmatch(text):
        raise EngineError(
            f"Renode's monitor cannot take the path {text!r}", hint="move the file to a path of plain characters"
        )
    return "@" + text.replace(" ", "\\ ")
