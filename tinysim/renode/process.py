"""A headless Renode as a child process that never outlives its parent."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import Self

from tinysim.errors import EngineError
from tinysim.renode.find import Renode

__all__ = ["OPEN_TO_ALL", "RenodeProcess", "listens_beyond_this_machine"]

OPEN_TO_ALL = (
    "Renode's robot server listens on every network interface without authentication while it runs: "
    "run it where only this machine can reach it"
)
_ARGUMENTS = ("--disable-gui", "--plain", "--robot-server-port", "0")
_LISTENING = re.compile(r"Robot Framework remote server is listening on port (\d+)")
_NO_PORT = re.compile(r"Could not start the HTTP server on (.*)")
_KEPT_LINES = 2000
_SHOWN_LINES = 15
# Ends a process group when its own standard input closes before a byte arrived, that is, when whoever started it is
# gone.
_KEEPER = (
    "import os,signal,sys\n"
    "if not sys.stdin.buffer.read(1):\n"
    "    try: os.killpg(int(sys.argv[1]), signal.SIGKILL)\n"
    "    except ProcessLookupError: pass\n"
)


class RenodeProcess:
    """A running Renode and its log. Use it in a ``with``: leaving it ends the whole process group.

    Raises EngineError with the last lines of the log when Renode ends before its robot server listens, finds no free
    port,
    or is not ready after ``timeout_s`` seconds.
    """

    def __init__(self, renode: Renode, *, timeout_s: float = 60.0) -> None:
        self.executable = renode.path
        self._lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self._seen = 0
        self._arrived = threading.Condition()
        # Renode deletes the temporary folders of others: it gets one of its own
        self.folder = Path(tempfile.mkdtemp(prefix="tinysim-renode-"))
        self._keeper: subprocess.Popen[bytes] | None = None
        try:
            self._process = self._start()
        except OSError as error:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise EngineError(f"cannot start {self.executable}: {error.strerror}", hint="check the path") from error
        self._reader = threading.Thread(target=self._read, name="renode-log", daemon=True)
        self._reader.start()
        try:
            self._keep()
            self.port = self._wait_for_port(timeout_s)
        except BaseException:
            self.close()
            raise

    def _start(self) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "TMPDIR": str(self.folder), "TMP": str(self.folder), "TEMP": str(self.folder)}
        return subprocess.Popen(
            [str(self.executable), *_ARGUMENTS],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=self.folder,
            env=environment,
            start_new_session=True,  # a Ctrl-C reaches this process only, which then ends the group
        )

    def _keep(self) -> None:
        """Start the keeper, which ends Renode should this process die without doing so."""
        if os.name != "posix":
            return
        self._keeper = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _KEEPER, str(self._process.pid)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def _read(self) -> None:
        stream = self._process.stdout
        assert stream is not None
        for raw in stream:
            with self._arrived:
                self._lines.append(raw.decode(errors="replace").rstrip())
                self._seen += 1
                self._arrived.notify_all()
        with self._arrived:
            self._arrived.notify_all()

    def _wait_for_port(self, timeout_s: float) -> int:
        deadline = time.monotonic() + timeout_s
        with self._arrived:
            while True:
                for line in self._lines:
                    if listening := _LISTENING.search(line):
                        return int(listening[1])
                    if taken := _NO_PORT.search(line):
                        raise EngineError(
                            f"Renode could not listen on {taken[1]}: taken, or not allowed",
                            hint="end the program that holds the port",
                            details=self._tail(),
                        )
                if not self._reader.is_alive() or self._process.poll() is not None:
                    self._reader.join(1.0)
                    raise EngineError(
                        f"Renode ended at its start with exit code {self._process.wait()}",
                        hint="its last log lines are below; `renode --version` should work by itself",
                        details=self._tail(),
                    )
                left = deadline - time.monotonic()
                if left <= 0:
                    raise EngineError(
                        f"Renode was not ready after {timeout_s:.3g} s",
                        hint="its last log lines are below",
                        details=self._tail(),
                    )
                self._arrived.wait(min(left, 0.2))

    def _tail(self) -> str:
        return "\n".join(list(self._lines)[-_SHOWN_LINES:])

    @property
    def running(self) -> bool:
        """Whether Renode still runs."""
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        """The process id of Renode's launcher, which is also the id of the process group."""
        return self._process.pid

    def last_lines(self) -> str:
        """The last lines of the log, for a message."""
        with self._arrived:
            return self._tail()

    def mark(self) -> int:
        """A place in the log for :meth:`since`."""
        with self._arrived:
            return self._seen

    def since(self, mark: int) -> list[str]:
        """The log lines after ``mark``, as far as still kept."""
        with self._arrived:
            new = self._seen - mark
            return list(self._lines)[-new:] if new else []

    def wait_for_line(self, text: str, mark: int, timeout_s: float) -> bool:
        """Whether a line with ``text`` arrives after ``mark`` within the time."""
        deadline = time.monotonic() + timeout_s
        with self._arrived:
            while True:
                new = self._seen - mark
                if new and any(text in line for line in list(self._lines)[-new:]):
                    return True
                left = deadline - time.monotonic()
                if left <= 0 or not self._reader.is_alive():
                    return False
                self._arrived.wait(left)

    def close(self) -> None:
        """End Renode and everything it started; remove its folder. Calling it again does nothing."""
        self._kill_group()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(10)
        self._reader.join(5)
        if self._process.stdout is not None and not self._reader.is_alive():
            self._process.stdout.close()
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            with contextlib.suppress(BrokenPipeError):
                keeper.communicate(b".", timeout=10)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _kill_group(self) -> None:
        if os.name != "posix":
            self._process.kill()
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()


def listens_beyond_this_machine(
    port: int, tables: tuple[Path, ...] = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
) -> bool:
    """Whether a listening TCP socket of this machine at ``port`` is bound to more than the loopback interface.

    True also where the system has no such table to ask.
    """
    asked = False
    for table in tables:
        try:
            rows = table.read_text().splitlines()[1:]
        except OSError:
            continue
        asked = True
        for row in rows:
            fields = row.split()
            address, _, number = fields[1].rpartition(":")
            if fields[3] == "0A" and int(number, 16) == port and not _is_loopback(address):
                return True
    return not asked


def _is_loopback(address: str) -> bool:
    """``address`` as /proc/net/tcp writes it: words of four bytes, each in the machine's order."""
    if len(address) == 8:
        return int.from_bytes(bytes.fromhex(address), sys.byteorder) >> 24 == 127
    words = [int.from_bytes(bytes.fromhex(address[i : i + 8]), sys.byteorder) for i in range(0, 32, 8)]
    mapped = words[:2] == [0, 0] and words[2] == 0xFFFF and words[3] >> 24 == 127
    return mapped or words == [0, 0, 0, 1]
