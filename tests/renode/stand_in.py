"""A stand-in for Renode: an executable that takes Renode's place and speaks its robot server's protocol.

    stand_in.py replay RECORDING.jsonl      answers as recorded, in the recorded time; never or by dying where the
    recording says so
    stand_in.py live [csharp]               runs programs for real (`fake_renode`), with the block counters tinysim
    brings
    stand_in.py crash | mute | no-port      misbehaves at the start

A recording has one JSON object for each exchange: either what went over the wire (``request_xml``, ``response_xml``),
or the
shorter ``keyword``, ``arguments``, ``answer``. A ``transport_error`` of "timed out" stands for an answer that never
comes, any
other for a process that ends. Recorded log lines (``RECORDING.log``, or ``log`` in an exchange) go to standard output.
"""

from __future__ import annotations

import argparse
import http.server
import json
import os
import sys
import threading
import time
import xmlrpc.client
from pathlib import Path
from typing import Any

LISTENING = "00:00:00.0000 [INFO] Robot Framework remote server is listening on port {}"


def say(line: str) -> None:
    """A log line, at once."""
    print(line, flush=True)


class Recording:
    """Exchanges in the order in which they were recorded. A request is matched with the next one like it; others are
    passed over."""

    def __init__(self, path: Path, places: dict[str, str], slower: float) -> None:
        self.exchanges = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
        log = path.with_suffix(".log")
        self.lines = self._placed(log.read_text(), places).splitlines() if log.is_file() else []
        self.places, self.slower, self.at = places, slower, 0

    @staticmethod
    def _placed(text: str, places: dict[str, str]) -> str:
        for name, value in places.items():
            text = text.replace(f"<{name}>", value).replace(f"&lt;{name}&gt;", value)
        return text

    def _request(self, exchange: dict[str, Any]) -> tuple[str, list[str]]:
        if "keyword" in exchange:
            return exchange["keyword"], exchange.get("arguments", [])
        parameters, _ = xmlrpc.client.loads(self._placed(exchange["request_xml"], self.places))
        return (parameters[0], parameters[1]) if len(parameters) == 2 else ("", [])

    def answer(self, keyword: str, arguments: list[str]) -> bytes:
        """The recorded answer as XML, after the recorded time."""
        for at in range(self.at, len(self.exchanges)):
            exchange = self.exchanges[at]
            try:
                request = self._request(exchange)
            except Exception:
                continue  # a request that was malformed on purpose
            if request == (keyword, list(arguments)):
                self.at = at + 1
                return self._replay(exchange)
        return xmlrpc.client.dumps(
            xmlrpc.client.Fault(0, f"not recorded after {self.at}: {keyword} {arguments}")
        ).encode()

    def _replay(self, exchange: dict[str, Any]) -> bytes:
        for line in exchange.get("log", []):
            say(line)
        trouble = exchange.get("transport_error")
        if trouble:
            for line in self.lines:
                say(line)
            if "timed out" in trouble:
                time.sleep(3600)
            os._exit(1)
        time.sleep(exchange.get("elapsed_s", 0) * self.slower)
        if "response_xml" in exchange:
            return self._placed(exchange["response_xml"], self.places).encode()
        return xmlrpc.client.dumps((exchange["answer"],), methodresponse=True).encode()


class Handler(http.server.BaseHTTPRequestHandler):
    """XML-RPC over HTTP, one request at a time, as Renode's server does it."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        parameters, method = xmlrpc.client.loads(body)
        content = self.server.respond(method, parameters)  # type: ignore[attr-defined]
        self.send_response(200)
        self.send_header("Content-Type", "text/xml")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Silent."""


def serve(answer: Any, before: tuple[str, ...] = (), address: str = "127.0.0.1") -> None:
    """Serve ``answer(keyword, arguments) -> XML`` until ended."""
    server = http.server.HTTPServer((address, 0), Handler)

    def respond(method: str, parameters: tuple[Any, ...]) -> bytes:
        if method == "stop_remote_server":
            threading.Timer(0.1, os._exit, (0,)).start()
            return xmlrpc.client.dumps(("",), methodresponse=True).encode()
        keyword, arguments = parameters
        content: bytes = answer(keyword, arguments)
        return content

    server.respond = respond  # type: ignore[attr-defined]
    for line in before:
        say(line)
    say(LISTENING.format(server.server_port))
    server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("mode", choices=["replay", "live", "crash", "mute", "no-port"])
    parser.add_argument("recording", nargs="?", type=Path)
    parser.add_argument("--place", action="append", default=[], help="NAME=PATH for <NAME> in a recording")
    parser.add_argument("--slower", type=float, default=1.0)
    parser.add_argument("--csharp", action="store_true")
    parser.add_argument("--quantum", type=int, default=10_000)
    parser.add_argument("--everywhere", action="store_true")
    options, _ = parser.parse_known_args()  # what is left are Renode's own arguments
    if "--version" in sys.argv:
        say("Renode v1.16.1.12345\n  build: stand-in")
        return
    if options.mode == "crash":
        say("00:00:00.0000 [INFO] Loaded monitor commands from: scripts/monitor.py")
        say("Fatal error:\ncannot load a library")
        sys.exit(1)
    if options.mode == "mute":
        say("00:00:00.0000 [INFO] Loaded monitor commands from: scripts/monitor.py")
        time.sleep(3600)
    if options.mode == "no-port":
        say("00:00:00.0000 [ERROR] Could not start the HTTP server on any port")
        time.sleep(3600)
    if options.mode == "replay":
        recording = Recording(options.recording, dict(p.split("=", 1) for p in options.place), options.slower)
        first = next((k for k, line in enumerate(recording.lines) if "is listening on port" in line), -1)
        before, recording.lines = tuple(recording.lines[: max(first, 0)]), recording.lines[first + 1 :]
        serve(recording.answer, before, "0.0.0.0" if options.everywhere else "127.0.0.1")
    if options.mode == "live":
        sys.path.insert(0, str(Path(__file__).resolve().parent))
        sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
        from fake_renode import FakeRenode

        fake = FakeRenode(csharp=options.csharp, quantum=options.quantum, say=say)

        def answer(keyword: str, arguments: list[str]) -> bytes:
            return xmlrpc.client.dumps(
                (fake.keyword(keyword, arguments),), methodresponse=True, allow_none=False
            ).encode()

        serve(answer)


if __name__ == "__main__":
    main()
