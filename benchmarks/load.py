"""Thousands of jobs through our stack: is the last tenth like the first?"""

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from benchmarks import client, model_server, ours, processes
from benchmarks.client import Posted
from benchmarks.model_server import ModelServer
from benchmarks.ours import Jobchain
from benchmarks.plots import Chart, draw
from benchmarks.report import Fragment
from benchmarks.sides import Terms
from benchmarks.spread import number, percentile
from jobchain.markdown import table

DELAY = 0.1  # seconds that a call of the model takes
WINDOW = 2 * ours.AT_ONCE
"""Jobs that are unfinished at a time: enough that the queue is never empty."""
MILLISECOND = 0.001
"""What ends are told to: of a short load, two may have the same."""
PARTS = 10
SAMPLE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Sample:
    """What processes hold at a time, in bytes."""

    at: float
    functions: int
    largest: int
    """The one process of a function that holds most."""
    emulator: int


def load(terms: Terms) -> dict[str, Fragment]:
    """As many jobs as the terms say, a tenth of them a line of the table."""
    count = terms.load_jobs
    with model_server.running() as model, ours.start(model.base_url, workers=terms.workers) as side:
        if not terms.quick:
            client.warm_up(side.url, model, ours.AT_ONCE)
        model.set_delay(DELAY)
        with _sampled(side) as samples:
            run = client.run_jobs(side.url, model, _windowed(model, count))
    terms.say(f"load: {count} jobs, {run.per_second:.3g} jobs/s")
    start = min(one.at for one in run.posted)
    ends = [start, *(run.finished[count * part // PARTS - 1] for part in range(1, PARTS + 1))]
    rows, rates, latest = [], [], samples[0]
    for part, (begin, end) in enumerate(pairwise(ends), start=1):
        rates.append(count / PARTS / max(end - begin, MILLISECOND))
        latest = max((one for one in samples if one.at <= end), key=lambda one: one.at, default=latest)
        rows.append([f"{count * part // PARTS}", number(rates[-1]), *_posts(run.posted, begin, end), *_held(latest)])
    times = [one.seconds for one in run.posted]
    body = f"""\
{count} jobs through our embedded stack: {terms.workers} workers, the model at {DELAY * 1000:g} ms a call, and
{client.CLIENTS} callers, who keep {WINDOW} jobs unfinished, so that posting and working go on at the same time from the
first job to the last. All {count} completed, with exactly {client.CALLS} calls of the model each, in
{number(run.seconds)} s: {number(run.per_second)} jobs/s. POST p50 {number(percentile(times, 0.5) * 1000)} ms, p99
{number(percentile(times, 0.99) * 1000)} ms; {sum(one.refused for one in run.posted)} refusals (502, 503 or 504) came
first, each sent again after a second, which the times include. The emulator holds the table, the queue and all logs in
memory, so it has to grow.

{table(_HEADER, rows)}"""
    jobs = [count * part / PARTS for part in range(1, PARTS + 1)]
    chart = Chart("Throughput under load", "jobs finished", "jobs/s", jobs, {"": [(one, one, one) for one in rates]})
    return {"60-load": Fragment("Load", body, draw(chart, "load", terms.page), {"rates": rates})}


_HEADER = (
    "jobs finished",
    "jobs/s",
    "POST p50, ms",
    "POST p99, ms",
    "functions, MB",
    "largest of them, MB",
    "emulator, MB",
)


def _posts(posted: list[Posted], begin: float, end: float) -> list[str]:
    times = [one.seconds * 1000 for one in posted if begin <= one.at < end]
    return [number(percentile(times, share)) if times else "" for share in (0.5, 0.99)]


def _held(sample: Sample) -> list[str]:
    return [number(held / 1e6) for held in (sample.functions, sample.largest, sample.emulator)]


def _windowed(model: ModelServer, count: int) -> Iterator[int]:
    """The numbers of jobs, each when there is room for it."""
    before = answered = model.answered()
    for job in range(count):
        while job - (answered - before) // client.CALLS >= WINDOW:
            time.sleep(0.02)
            answered = model.answered()
        yield job


class _sampled:  # noqa: N801  # reads as a function
    """Looks at the processes every now and then while it is entered."""

    def __init__(self, side: Jobchain) -> None:
        self._side = side
        self._samples = [self._look()]
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._go_on)

    def __enter__(self) -> list[Sample]:
        self._thread.start()
        return self._samples

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _go_on(self) -> None:
        while not self._ended.wait(SAMPLE_SECONDS):
            self._samples.append(self._look())

    def _look(self) -> Sample:
        held = [processes.memory(pid) for pid in processes.descendants(self._side.emulator)]
        return Sample(time.time(), sum(held), max(held, default=0), processes.memory(self._side.emulator))
