"""The robot server's client: XML-RPC with a time-out on every call, and Renode's errors as tinysim's."""

from __future__ import annotations

import http.client
import re
import xmlrpc.client
from typing import NoReturn

from tinysim.errors import EngineError, FaultError, ImageError, PartError, TinysimError
from tinysim.renode.process import RenodeProcess

__all__ = ["Answer", "CompileError", "RobotClient", "quoted"]

Answer = str | int | float | bool | bytes | list["Answer"] | dict[str, "Answer"] | None
"""What a keyword returns, as far as XML-RPC can carry it."""

_COMMAND_TIMEOUT_S = 30.0
_NO_SYMBOL = re.compile(r"Could not find any address for symbol: (.*)")
_DESCRIPTION = re.compile(r"Error (E\d+): (.*?)\s*\n\s*At (.*?):(\d+):(\d+):", re.DOTALL)
_NO_ELF = re.compile(r"Could not load ELF from path: (.*)")
_ABORT = re.compile(r"CPU abort \[PC=(0x[0-9A-Fa-f]+)\]: (.*)")
_LOG_PREFIX = re.compile(r"^\S+ \[(?:ERROR|WARNING|INFO|DEBUG|NOISY)\] ")


class CompileError(EngineError):
    """Renode could not compile or load a C# plug-in."""


class RobotClient:
    """Keywords of Renode's robot server, each with a time-out in seconds of this machine's time.

    The server has one thread: a call that is not answered in time blocks it for good. Renode is then ended, and the
    error says
    what the log said last.
    """

    def __init__(self, process: RenodeProcess, *, timeout_s: float = _COMMAND_TIMEOUT_S) -> None:
        self.process = process
        self.timeout_s = timeout_s

    def keyword(self, name: str, *arguments: str, timeout_s: float | None = None) -> Answer:
        """Run a keyword; its return value. Raises EngineError, or what Renode's message means."""
        limit = self.timeout_s if timeout_s is None else timeout_s
        what = f"{name} {' '.join(arguments)}".strip()
        answer = self._call("run_keyword", (name, list(arguments)), what, limit)
        if not isinstance(answer, dict) or "status" not in answer:
            raise EngineError(
                f"Renode's robot server answered {what!r} with something else than a result", details=repr(answer)[:400]
            )
        if answer["status"] == "PASS":
            return answer.get("return")
        raise _meaning(str(answer.get("error", "")), what)

    def command(self, line: str, timeout_s: float | None = None) -> str:
        """Run a monitor command; what it printed, without the line ends around it."""
        return str(self.keyword("ExecuteCommand", line, timeout_s=timeout_s) or "").strip()

    def number(self, line: str, timeout_s: float | None = None) -> int:
        """Run a monitor command that prints one number."""
        text = self.command(line, timeout_s)
        try:
            return int(text, 0)
        except ValueError:
            raise EngineError(f"Renode answered {line!r} with {text!r}, not a number") from None

    def python(self, expression: str, timeout_s: float | None = None) -> Answer:
        """The value of an expression of Renode's own Python, where XML-RPC can carry it."""
        return self.keyword("ExecutePython", expression, timeout_s=timeout_s)

    def _call(self, method: str, arguments: tuple[str, list[str]], what: str, timeout_s: float) -> Answer:
        body = xmlrpc.client.dumps(arguments, method, allow_none=False).encode()
        connection = http.client.HTTPConnection("127.0.0.1", self.process.port, timeout=timeout_s)
        try:
            connection.request("POST", "/RPC2", body, {"Content-Type": "text/xml"})
            response = connection.getresponse()
            content = response.read()
        except TimeoutError:
            self._give_up(what, timeout_s)
        except (OSError, http.client.HTTPException) as error:
            self._died(what, error)
        finally:
            connection.close()
        return self._value(content, response.status, what)

    def _value(self, content: bytes, status: int, what: str) -> Answer:
        try:
            (value,), _ = xmlrpc.client.loads(content, use_builtin_types=True)
        except xmlrpc.client.Fault as fault:
            raise EngineError(
                f"Renode's robot server refused {what!r}: {fault.faultString}",
                hint="this Renode may be too different from 1.16; `tinysim doctor` shows its version",
            ) from None
        except Exception as error:  # expat's, or any of the many ways an answer can be malformed
            raise EngineError(
                f"Renode's robot server answered {what!r} with HTTP {status} and no XML-RPC",
                details=content[:400].decode(errors="replace"),
            ) from error
        return value  # type: ignore[return-value]

    def _give_up(self, what: str, timeout_s: float) -> NoReturn:
        log = self.process.last_lines()
        self.process.close()
        abort = _ABORT.search(log)
        if abort:
            raise FaultError(
                f"the firmware stopped at {abort[1].lower()}: {abort[2].rstrip('.')}",
                hint="Renode cannot go on after this; the log is below",
                details=log,
            ) from None
        raise EngineError(
            f"Renode did not answer {what!r} within {timeout_s:.3g} s and was ended",
            hint="its last log lines are below",
            details=log,
        ) from None

    def _died(self, what: str, error: Exception) -> NoReturn:
        self.process.close()  # also waits for the rest of the log
        log = self.process.last_lines()
        raise EngineError(
            f"Renode ended while it ran {what!r}", hint="its last log lines are below", details=log
        ) from error


def quoted(text: str) -> str:
    """A string of the monitor's language. Raises EngineError for one it cannot hold."""
    if '"' in text or "\n" in text:
        raise EngineError(f"Renode's monitor cannot take the text {text!r}", hint="rename the file or symbol")
    return f'"{text}"'


def _meaning(message: str, what: str) -> TinysimError:
    """Renode's message as the error of whose fault it is."""
    if missing := _NO_SYMBOL.search(message):
        return ImageError(
            f"the firmware has no symbol {missing[1].strip()!r}", hint="`arm-none-eabi-nm` lists what there is"
        )
    if bad := _DESCRIPTION.search(message):
        said = " ".join(line.strip() for line in bad[2].strip().splitlines()[:2])
        return PartError(
            f"{bad[3]}:{bad[4]}: Renode rejects the platform description: {said} ({bad[1]})",
            hint="correct the line, or see Renode's documentation of platform descriptions",
            details=message.strip(),
        )
    if "LoadELF" in what and ("Parameters did not match" in message or _NO_ELF.search(message)):
        return ImageError(
            f"Renode cannot load the firmware ({what})", hint="check that it is an ELF file", details=message.strip()
        )
    if "compilation error" in message or "Errors during compilation" in message:
        return CompileError(
            "Renode could not compile the block counter",
            hint="a counter in IronPython is used instead",
            details=message.strip(),
        )
    # Could not execute command 'X': There was an error executing command 'X'<what matters>
    told = re.sub(
        r"^\w+: Could not execute command '.*?': (?:There was an error executing command '.*?')?",
        "",
        message.strip(),
        flags=re.DOTALL,
    )
    return EngineError(f"Renode refused {what!r}: {' '.join(told.split()) or 'no reason given'}")
