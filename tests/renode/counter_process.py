"""The C# block counter under Mono, behind a pipe: compiled with `counter_harness.cs`, which has the parts of Renode
it uses."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from fake_core import FakeCore

HARNESS = Path(__file__).with_name("counter_harness.cs")


def available() -> bool:
    """Whether this machine can compile and run C#."""
    return shutil.which("mcs") is not None and shutil.which("mono") is not None


class CounterProcess:
    """The counter as a child process: told of pieces and hooks, asked for what it counted."""

    def __init__(self, source: Path) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="tinysim-counter-"))
        program = self.folder / "counter.exe"
        subprocess.run(
            ["mcs", "-nologo", f"-out:{program}", str(source), str(HARNESS)], check=True, capture_output=True
        )
        self.process = subprocess.Popen(
            ["mono", str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.core: FakeCore | None = None

    def _send(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")

    def _ask(self, line: str) -> list[str]:
        assert self.process.stdin is not None and self.process.stdout is not None
        self._send(line)
        self.process.stdin.flush()
        answer = []
        for text in self.process.stdout:
            if text.strip() == "OK":
                return answer
            answer.append(text.rstrip("\n"))
        raise RuntimeError(f"the counter ended at {line!r}: {answer}")

    def command(self, core: FakeCore, name: str, arguments: list[str]) -> str:
        """An extension method of the core, as the monitor calls it."""
        if core is not self.core:
            self.core = core
            self._send("new cortex-m4")
        if name == "TinysimDump":
            arguments = [arguments[0].removeprefix("@")]
        if name in ("TinysimBegin", "TinysimDump"):          # these look at the code
            for begin, end, _ in core.uc.mem_regions():
                if begin < 0xE0000000:
                    path = self.folder / f"{begin:x}.bin"
                    path.write_bytes(bytes(core.uc.mem_read(begin, end - begin + 1)))
                    self._send(f"memory {begin} {path}")
        self._state(core)
        shown = [str(int(a, 0)) if a.startswith("0x") else a for a in arguments]
        answer = self._ask("\t".join(["call", name, *shown]))
        printed = []
        for line in answer:
            if line.startswith("hook "):
                address = int(line.split()[1])
                core.add_hook(address, self._hook)
            elif line == "hooked":
                core.at_end = self._ran
            elif line == "unhooked":
                core.at_end = None
            else:
                printed.append(line)
        return "\n".join(printed)

    def _state(self, core: FakeCore) -> None:
        self._send(f"state {core.executed} {core.register(13)} {core.register(14)}")

    def _hook(self, address: int) -> None:
        assert self.core is not None
        self._state(self.core)
        self._send(f"at {address}")

    def _ran(self, address: int, instructions: int) -> None:
        assert self.core is not None
        self._state(self.core)
        self._send(f"ran {address} {instructions}")
