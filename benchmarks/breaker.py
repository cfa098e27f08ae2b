"""A backlog while the model's account is dead: what fails, which calls are made meanwhile, and how long it takes after.

    python -m benchmarks.breaker --jobs 1000 --dead 180

The embedded stack runs the jobs against a model that refuses every call with `insufficient_quota` for that many
seconds, from when it has answered a tenth of the jobs' calls. Ends with 1 if a job failed, or if more calls were made
than those in flight when the first one was refused and one probe a minute.
"""

import argparse
import json
import logging
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from typing import Any

from benchmarks import client, model_server, ours
from benchmarks.client import BenchmarkError, Caller
from jobchain.breaker import PROBE_EVERY
from local import signals
from local.errors import LocalError

WORKERS = 10
DELAY = 0.1  # seconds that a call takes
IN_FLIGHT_SECONDS = 5.0
"""So long after the first refusal, calls may still be refused that are no probes: workers know by then."""
LIMIT_SECONDS = 1200.0
"""After the account works again, the run is given up."""

NO_QUOTA = {
    "error": {
        "message": "You exceeded your current quota, please check your plan and billing details.",
        "type": "insufficient_quota",
        "param": None,
        "code": "insufficient_quota",
    }
}
"""https://platform.openai.com/docs/guides/error-codes"""


@dataclass(slots=True)
class Account:
    """What the server knows: whether the account is dead, and when it answered and refused which calls."""

    dead: bool = False
    answered: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def call(self) -> bool:
        """Counts a call; gives whether it is answered."""
        with self._lock:
            (self.refused if self.dead else self.answered).append(time.time())
            return not self.dead


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
        if not self.server.account.call():
            self._send(429, "application/json", json.dumps(NO_QUOTA).encode())
            return
        time.sleep(DELAY)
        answer = model_server.respond(request)
        if request.get("stream"):
            self._send(200, "text/event-stream", b"".join(_events(answer)))
        else:
            self._send(200, "application/json", json.dumps(answer).encode())

    def do_GET(self) -> None:
        """Nothing else is here."""
        self._send(404, "application/json", b'{"error": {"message": "not found"}}')

    def _send(self, status: int, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Nothing: each call is counted."""


def _events(answer: dict[str, Any]) -> Iterator[bytes]:
    """https://platform.openai.com/docs/api-reference/responses-streaming"""
    message = answer["output"][0]
    text = message["content"][0]["text"]
    begun = {**answer, "status": "in_progress", "output": [], "usage": None}
    place = {"item_id": message["id"], "output_index": 0, "content_index": 0}
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": begun},
        {"type": "response.output_text.delta", **place, "delta": text},
        {"type": "response.completed", "response": answer},
    ]
    for number, event in enumerate(events):
        said = json.dumps({**event, "sequence_number": number})
        yield f"event: {event['type']}\ndata: {said}\n\n".encode()


@contextmanager
def _model() -> Iterator[tuple[str, Account]]:
    """The server's base URL, and its account."""
    account = Account()
    server = _Server(account)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1", account
    finally:
        server.shutdown()
        server.server_close()


@dataclass(frozen=True, slots=True)
class Run:
    """What came of it. `dead` and `alive` are when the account died and when it worked again."""

    statuses: Counter[str]
    errors: Counter[str]
    answered: Sequence[float]
    refused: Sequence[float]
    dead: float
    alive: float
    ended: float

    @property
    def in_flight(self) -> int:
        """The refused calls that had begun before all workers knew."""
        first = min(self.refused, default=0.0)
        return sum(at < first + IN_FLIGHT_SECONDS for at in self.refused)

    @property
    def probes(self) -> list[float]:
        """When the other calls were refused, in seconds after the first one."""
        first = min(self.refused, default=0.0)
        return [at - first for at in sorted(self.refused) if at >= first + IN_FLIGHT_SECONDS]

    @property
    def is_good(self) -> bool:
        """No job failed, no more calls than the promise allows, and no two probes less than a minute apart."""
        most = int((self.alive - self.dead) / PROBE_EVERY.total_seconds())
        seldom = all(later - earlier > PROBE_EVERY.total_seconds() - 1 for earlier, later in pairwise(self.probes))
        return set(self.statuses) == {"completed"} and len(self.probes) <= most and seldom

    def lines(self) -> Iterator[str]:
        """The result, in words."""
        yield f"jobs: {dict(self.statuses)}, errors: {dict(self.errors)}"
        yield f"the account was dead for {self.alive - self.dead:.0f} s; calls answered in all: {len(self.answered)}"
        seconds = Counter(int(at - self.dead) for at in self.refused)
        yield f"calls refused, by second: {dict(sorted(seconds.items()))}"
        yield f"in flight when the breaker opened: {self.in_flight}"
        yield f"probes: {len(self.probes)}, seconds after the first refusal: {[round(at, 1) for at in self.probes]}"
        after = [at for at in self.answered if at > self.alive]
        if after:
            yield f"the account works: first call after {min(after) - self.alive:.0f} s"
        yield f"all jobs ended {self.ended - self.alive:.0f} s after it, {self.ended - self.dead:.0f} s after it died"


def measure(jobs: int, dead_seconds: float) -> Run:
    """Runs the jobs. Raises BenchmarkError where they do not end."""
    with _model() as (base_url, account), ours.start(base_url, workers=WORKERS) as side, ThreadPoolExecutor(1) as pool:
        posting = pool.submit(client.post, side.url, range(jobs))
        _wait(lambda: len(account.answered) >= client.CALLS * jobs // 10, "the first calls")
        account.dead, dead = True, time.time()
        _say(f"the account is dead, after {len(account.answered)} calls")
        posting.result()
        time.sleep(max(0.0, dead + dead_seconds - time.time()))
        account.dead, alive = False, time.time()
        _say(f"the account works again; {len(account.refused)} calls were refused")
        table = side.stack.client("dynamodb")

        def is_done() -> bool:
            return not table.scan(TableName=side.stack.table, IndexName="unfinished", Select="COUNT")["Count"]

        _wait(is_done, "the jobs' ends", 1.0)
        ended = time.time()
        caller = Caller(side.url)
        found = list(caller.jobs())
        caller.close()
    statuses = Counter(str(job["status"]) for job in found)
    errors = Counter(str(job["error"]["type"]) for job in found if job.get("error"))
    if statuses.total() != jobs:
        raise BenchmarkError(f"{jobs} jobs were posted, and {statuses.total()} were found")
    return Run(statuses, errors, account.answered, account.refused, dead, alive, ended)


def _wait(condition: Any, for_what: str, pause: float = 0.02) -> None:
    until = time.monotonic() + LIMIT_SECONDS
    while not condition():
        if time.monotonic() > until:
            raise BenchmarkError(f"{for_what} did not come within {LIMIT_SECONDS:.0f} s")
        time.sleep(pause)


def _say(line: str) -> None:
    print(line, flush=True)


def main() -> int:
    """The exit status: 0 as promised, 1 not (argparse: 2), 128 + n if signal n ended it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.breaker", description=__doc__)
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--dead", type=float, default=180, metavar="SECONDS")
    options = parser.parse_args()
    signals.listen()
    logging.getLogger("samtranslator.metrics.metrics").setLevel(logging.ERROR)
    try:
        run = measure(options.jobs, options.dead)
    except (LocalError, BenchmarkError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except signals.Stopped as stopped:
        return 128 + stopped.number
    for line in run.lines():
        _say(line)
    return 0 if run.is_good else 1


if __name__ == "__main__":
    sys.exit(main())
