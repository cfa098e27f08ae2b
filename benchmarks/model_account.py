"""A model's server whose account accepts or refuses each call: the one of the runs that are about an account."""

import json
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol

from benchmarks import model_server, ours
from benchmarks.client import BenchmarkError, Caller
from local import signals
from local.errors import LocalError
from local.events import events_of

LIMIT_SECONDS = 1200.0
"""A run is given up after this long."""

DELAY = 0.1
"""Seconds that a call takes."""


@dataclass(frozen=True, slots=True)
class Reply:
    """How the account takes a call: answered where there is no `error`, and refused with a 429 otherwise."""

    error: Mapping[str, Any] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


class Account(Protocol):
    """What the server asks for each call; from several threads."""

    def call(self) -> Reply:
        """Counts a call; gives how it is taken."""
        ...


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512

    def __init__(self, account: Account) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.account = account


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_POST(self) -> None:
        """A call of the model, streamed if it asks for that."""
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        reply = self.server.account.call()
        if reply.error is not None:
            self._send(429, "application/json", json.dumps({"error": reply.error}).encode(), reply.headers)
            return
        time.sleep(DELAY)
        answer = model_server.respond(request)
        if request.get("stream"):
            self._send(200, "text/event-stream", b"".join(events_of(answer)), reply.headers)
        else:
            self._send(200, "application/json", json.dumps(answer).encode(), reply.headers)

    def do_GET(self) -> None:
        """Nothing else is here."""
        self._send(404, "application/json", b'{"error": {"message": "not found"}}', {})

    def _send(self, status: int, content_type: str, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": content_type, "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Nothing: each call is counted."""


@contextmanager
def serving(account: Account) -> Iterator[str]:
    """The base URL of a server for the account, for as long as the block lasts."""
    server = _Server(account)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        server.server_close()


class Run(Protocol):
    """What came of a run."""

    @property
    def is_good(self) -> bool:
        """Whether every goal is met."""
        ...

    def lines(self) -> Iterator[str]:
        """The result, in words."""
        ...


def judge(measure: Callable[[], Run]) -> int:
    """Runs a program, and prints what came of it. The exit status: 0 good, 1 not, 128 + n if signal n ended it."""
    signals.listen()
    # It asks for numbers of its own to be published, each time that a stack is started.
    logging.getLogger("samtranslator.metrics.metrics").setLevel(logging.ERROR)
    try:
        run = measure()
    except (LocalError, BenchmarkError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except signals.Stopped as stopped:
        return 128 + stopped.number
    for line in run.lines():
        print(line, flush=True)
    return 0 if run.is_good else 1


def wait(condition: Any, for_what: str, pause: float = 0.02) -> None:
    """Polls until the condition holds. Raises BenchmarkError."""
    until = time.monotonic() + LIMIT_SECONDS
    while not condition():
        if time.monotonic() > until:
            raise BenchmarkError(f"{for_what} did not come within {LIMIT_SECONDS:.0f} s")
        time.sleep(pause)


def wait_for_jobs(side: ours.Jobchain) -> None:
    """Polls until every job has ended. Raises BenchmarkError."""
    table = side.stack.client("dynamodb")

    def is_done() -> bool:
        return not table.scan(TableName=side.stack.table, IndexName="unfinished", Select="COUNT")["Count"]

    wait(is_done, "the jobs' ends", 1.0)


def ended_jobs(side: ours.Jobchain, jobs: int) -> list[dict[str, Any]]:
    """The jobs as the API tells them. Raises BenchmarkError where there are not `jobs` of them."""
    caller = Caller(side.url)
    found = list(caller.jobs())
    caller.close()
    if len(found) != jobs:
        raise BenchmarkError(f"{jobs} jobs were posted, and {len(found)} were found")
    return found
