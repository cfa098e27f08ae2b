"""A caller of either side: posts jobs from several threads, and reads how they ended. Both sides answer alike."""

import http.client
import itertools
import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from benchmarks.model_server import ModelServer
from benchmarks.report import ROOT

_TEXTS = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "examples").glob("*.md"))]
LIMIT = 120.0
"""Seconds without a call of the model after which a measure is given up."""
CALLS = 3
"""Calls of the model that a job takes."""
TRY_AGAIN = (502, 503, 504)
MOST_REFUSALS = 20
WARM_UP_DELAY = 1.0
CLIENTS = 4
"""Threads that post, where their number is not what is measured."""


class BenchmarkError(Exception):
    """A measure can't be taken; says why."""


def text(number: int) -> str:
    """The text of a job: one of the project's examples, and its number."""
    return f"{_TEXTS[number % len(_TEXTS)]}\nThis is copy {number}.\n"


@dataclass(frozen=True, slots=True)
class Posted:
    """A job that was accepted: when it was first sent, by the clock, and how long its POST took, in seconds.

    `refused` is how often it was answered with one of `TRY_AGAIN` first, and sent again a second later.
    """

    at: float
    seconds: float
    refused: int


class Caller:
    """One connection to a side's API, kept open."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._path = parts.path
        self._connection = http.client.HTTPConnection(parts.netloc, timeout=60)

    def post(self, number: int, text_of: Callable[[int], str] = text) -> Posted:
        """Posts the job of that number. Raises BenchmarkError where it is not accepted."""
        body = json.dumps({"input_text": text_of(number)}).encode()
        key = str(uuid4())
        at, refused = time.time(), 0
        started = time.perf_counter()
        while True:
            status, said = self._send("POST", "/jobs", body, key)
            if status in (200, 201):
                return Posted(at, time.perf_counter() - started, refused)
            if status not in TRY_AGAIN or refused == MOST_REFUSALS:
                raise BenchmarkError(f"a POST was answered with {status}: {said[:300]!r}")
            refused += 1
            time.sleep(1)

    def jobs(self) -> Iterator[dict[str, Any]]:
        """All jobs, newest first."""
        path = "/jobs?limit=100"
        while path:
            status, said = self._send("GET", path)
            if status != 200:
                raise BenchmarkError(f"GET {path} was answered with {status}: {said[:300]!r}")
            page = json.loads(said)
            yield from page["jobs"]
            cursor = page.get("next_cursor")
            path = f"/jobs?limit=100&cursor={cursor}" if cursor else ""

    def close(self) -> None:
        self._connection.close()

    def _send(self, method: str, path: str, body: bytes | None = None, key: str = "") -> tuple[int, bytes]:
        headers = {"Content-Type": "application/json"} | ({"Idempotency-Key": key} if key else {})
        self._connection.request(method, self._path + path, body, headers)
        response = self._connection.getresponse()
        return response.status, response.read()


def post(
    url: str, numbers: Iterable[int], clients: int = CLIENTS, text_of: Callable[[int], str] = text
) -> list[Posted]:
    """Posts the jobs of these numbers, each client one after the other. Raises BenchmarkError."""
    left, lock, stop = iter(numbers), threading.Lock(), threading.Event()
    posted: list[Posted] = []

    def work() -> None:
        try:
            with closing(Caller(url)) as caller:
                while not stop.is_set():
                    with lock:
                        number = next(left, None)
                    if number is None:
                        return
                    posted.append(caller.post(number, text_of))
        except (OSError, http.client.HTTPException) as error:
            raise BenchmarkError(f"posting failed: {error!r}") from error
        finally:
            # Either nothing is left, or another's failure is enough.
            stop.set()

    with ThreadPoolExecutor(clients) as pool:
        working = [pool.submit(work) for _ in range(clients)]
        try:
            for one in working:
                one.result()
        finally:
            stop.set()
    return posted


@dataclass(frozen=True, slots=True)
class Run:
    """Jobs that were posted and have all completed."""

    posted: list[Posted]
    finished: list[float]
    """When each ended, in seconds since 1970, in order."""

    @property
    def seconds(self) -> float:
        """From the first POST to the last end."""
        return self.finished[-1] - min(one.at for one in self.posted)

    @property
    def per_second(self) -> float:
        return len(self.finished) / self.seconds


def run_jobs(url: str, model: ModelServer, numbers: Iterable[int]) -> Run:
    """Posts the jobs and waits until all have ended.

    Raises BenchmarkError where a job did not complete, or the model was not called three times for each.
    """
    before = model.answered()
    posted = post(url, numbers)
    expected = before + CALLS * len(posted)
    _wait_for_calls(model, expected)
    jobs = ended(url, len(posted))
    if (calls := model.answered()) != expected:
        raise BenchmarkError(f"{len(posted)} jobs took {calls - before} calls of the model, not {CALLS} each")
    return Run(posted, sorted(map(finished_at, jobs)))


def warm_up(url: str, model: ModelServer, count: int) -> None:
    """Has a process started for each of `count` jobs that run at the same time: calls last long enough to need all."""
    model.set_delay(WARM_UP_DELAY)
    run_jobs(url, model, range(count))


def _wait_for_calls(model: ModelServer, number: int) -> None:
    """Waits until the model has answered this many calls in all. Raises BenchmarkError when it gets none any more."""
    answered, since = -1, time.monotonic()
    while (now := model.answered()) < number:
        if now != answered:
            answered, since = now, time.monotonic()
        elif time.monotonic() - since > LIMIT:
            raise BenchmarkError(f"the model was called {now} times, not {number}, and no more for {LIMIT:g} s")
        time.sleep(0.1)


def ended(url: str, count: int) -> list[dict[str, Any]]:
    """The newest `count` jobs, once all of them have ended. Raises BenchmarkError where one did not complete."""
    deadline = time.monotonic() + LIMIT
    with closing(Caller(url)) as caller:
        while True:
            jobs = list(itertools.islice(caller.jobs(), count))
            statuses = {job["status"] for job in jobs}
            if len(jobs) == count and statuses == {"completed"}:
                return jobs
            if statuses - {"pending", "processing", "completed"} or time.monotonic() > deadline:
                raise BenchmarkError(f"{len(jobs)} of {count} jobs are there, and are {', '.join(sorted(statuses))}")
            time.sleep(0.2)


def finished_at(job: Mapping[str, Any]) -> float:
    """When a job that is over ended, in seconds since 1970."""
    return datetime.fromisoformat(job["finished_at"]).timestamp()
