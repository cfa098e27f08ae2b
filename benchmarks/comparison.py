"""What is measured of all sides, in turns: ours and the baseline's two forms, each started again, and alone."""

import platform
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import astuple
from pathlib import Path

from benchmarks import client, model_server, ours
from benchmarks.baseline import services
from benchmarks.model_server import ModelServer
from benchmarks.plots import Chart, draw
from benchmarks.report import Fragment
from benchmarks.sides import DEFAULT, FORMS, HARDENED, OURS, Side, Terms
from benchmarks.spread import Spread, number, percentile
from jobchain.markdown import table

Measures = dict[str, list[float]]
"""What each round measured, by the side."""

DELAYS = (0.0, 0.1, 0.5, 2.0)
"""Seconds that a call of the model takes."""

# Runs of 3 to 40 seconds. Posting, the first wave and the last are in the rate: more jobs would raise it.
JOBS: Mapping[str, Mapping[float, int]] = {
    OURS: {0.0: 200, 0.1: 200, 0.5: 300, 2.0: 300},
    DEFAULT: {0.0: 200, 0.1: 60, 0.5: 16, 2.0: 6},
    HARDENED: {0.0: 600, 0.1: 600, 0.5: 300, 2.0: 300},
}
QUICK_JOBS = 4
WARM_UP: Mapping[str, int] = {OURS: ours.AT_ONCE, DEFAULT: 2 * services.CORES, HARDENED: ours.AT_ONCE}
IDLE_SECONDS = 3.0

POSTS: Mapping[int, int] = {1: 100, 8: 240, 32: 320}
"""Requests that all clients send together, by their number."""
STARTS_AT_ONCE = 4
PERCENTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}

FIRST_POSTS = 3
"""Fresh processes in each round."""


def jobs(terms: Terms) -> dict[str, Fragment]:
    """Throughput, CPU and memory: jobs that are posted and run to their end."""
    rates: dict[float, Measures] = defaultdict(lambda: defaultdict(list))
    cpu: Measures = defaultdict(list)
    idle: Measures = defaultdict(list)
    full: Measures = defaultdict(list)
    delays = DELAYS[:2] if terms.quick else DELAYS
    for turn in range(terms.rounds):
        for name in terms.sides:
            with model_server.running() as model, terms.start(name)(model.base_url) as side:
                idle[name].append(_idle_memory(side, model))
                if not terms.quick:
                    client.warm_up(side.url, model, WARM_UP[name])
                for delay in delays:
                    model.set_delay(delay)
                    count = QUICK_JOBS if terms.quick else JOBS[name][delay]
                    before = side.cpu_seconds()
                    run = client.run_jobs(side.url, model, range(count))
                    rates[delay][name].append(run.per_second)
                    if delay == 0:
                        cpu[name].append((side.cpu_seconds() - before) / count)
                    terms.say(f"jobs, round {turn + 1}, {name}, model {delay:g} s: {run.per_second:.3g} jobs/s")
                full[name].append(side.memory() / 1e6)
    capacity = _capacity()
    return {
        "20-throughput": _throughput(rates, capacity, terms),
        "40-cpu": _cpu(cpu, terms.page),
        "45-memory": _memory(idle, full, terms.page),
    }


def latency(terms: Terms) -> dict[str, Fragment]:
    """How long a POST takes, by the number of clients."""
    loads = {1: QUICK_JOBS} if terms.quick else POSTS
    measured: dict[str, dict[int, Measures]] = {name: {one: defaultdict(list) for one in loads} for name in PERCENTILES}
    for turn in range(terms.rounds):
        for name in terms.sides:
            with model_server.running() as model, terms.start(name)(model.base_url, working=False) as side:
                for clients, count in loads.items():
                    _warm_up_callers(side, clients)
                    times = [one.seconds for one in client.post(side.url, range(count), clients)]
                    for kind, share in PERCENTILES.items():
                        measured[kind][clients][name].append(percentile(times, share) * 1000)
                    terms.say(f"latency, round {turn + 1}, {name}, {clients} clients: {percentile(times, 0.5):.4f} s")
    header = ["clients", "", *PERCENTILES]
    rows = [
        [str(clients), name, *(str(Spread.of(measured[kind][clients][name])) for kind in PERCENTILES)]
        for clients in loads
        for name in terms.sides
    ]
    body = f"""\
Milliseconds from sending a POST until its 201 is read, by callers that each send the next one at once. No worker runs
the jobs meanwhile, so this measures admission alone. Ours is behind the emulator, which is not AWS: its gateway, its
hop to the function and its table cost most of this time, and it is one Python process for all callers; what API
Gateway, Lambda and DynamoDB take, only a measure on AWS can tell. The baseline's table is Postgres with its default
`fsync`. The default form sends the message before it answers; of the hardened one the relay does.

{table(header, rows)}"""
    values = {name: [_point(measured["p95"][one][name]) for one in loads] for name in terms.sides}
    chart = Chart("POST latency, p95", "clients", "milliseconds", [*loads], values, log_x=True, log_y=True)
    return {"30-latency": Fragment("POST latency", body, draw(chart, "latency", terms.page), _plain(measured["p95"]))}


def _warm_up_callers(side: Side, clients: int) -> None:
    """Has a process of the api function started for each client, some at a time: each start takes a second of CPU."""
    for some in range(0, clients, STARTS_AT_ONCE):
        client.post(side.url, range(clients), min(clients, some + STARTS_AT_ONCE))


def first_post(terms: Terms) -> dict[str, Fragment]:
    """How long the first POST of a fresh process takes."""
    handler, gateway = "Jobchain, the handler", "Jobchain, behind the emulator"
    measured: Measures = defaultdict(list)
    fresh = 1 if terms.quick else FIRST_POSTS
    code = ours.SOURCE if terms.quick else ours.Code.built()
    for turn in range(terms.rounds):
        with model_server.running() as model, ours.start(model.base_url, working=False) as side:
            measured[gateway].append(client.post(side.url, range(1), 1)[0].seconds)
            measured[handler] += [ours.first_post(side, client.text(one), code) for one in range(fresh)]
        for name in terms.sides:
            if form := FORMS.get(name):
                with model_server.running() as model, services.backing(model.base_url, form) as backing:
                    measured[name] += [_first_post_of_peer(backing) for _ in range(fresh)]
        terms.say(
            f"first POST, round {turn + 1}: " + ", ".join(f"{name} {v[-1]:.2f} s" for name, v in measured.items())
        )
    rows = [[name, str(Spread.of(values))] for name, values in measured.items()]
    body = f"""\
Seconds from the start of a process until its first POST is answered with 201; compiled files (`.pyc`) are there on both
sides, and so are tables, queues, database and broker.

- *{handler}*: a fresh Python that does what Lambda's runtime does: imports the handler and calls it with a gateway's
  event. It is what `make build` made, on the functions' own Python 3.13; a quick run takes the source. No HTTP server
  of our own is part of it, as none is on AWS; what Lambda takes to place a function is not in it either.
- *{gateway}*: the first POST after a deployment, through the emulator's gateway, which starts that process,
  from source.
- *Celery*: `uvicorn` with a single process, on Python {platform.python_version()}, asked every 5 ms until it answers.
  The default form's imports Celery to send; the hardened one's only knows Postgres.

{table(["", "seconds"], rows)}"""
    chart = Chart(
        "First POST of a fresh process", "", "seconds", [*measured], {"": [_point(v) for v in measured.values()]}
    )
    data = {OURS: measured[handler], **{name: measured[name] for name in FORMS if name in measured}}
    return {"50-first-post": Fragment("First POST", body, draw(chart, "first-post", terms.page), data)}


def _first_post_of_peer(backing: services.Backing) -> float:
    started = time.perf_counter()
    with backing.web(workers=1) as (url, _):
        while True:
            try:
                client.post(url, range(1), 1)
                return time.perf_counter() - started
            except client.BenchmarkError as error:
                if not isinstance(error.__cause__, ConnectionError) or time.perf_counter() - started > client.LIMIT:
                    raise
            time.sleep(0.005)


def _idle_memory(side: Side, model: ModelServer) -> float:
    """Megabytes that a side holds once it has run a job, and is idle."""
    client.run_jobs(side.url, model, range(1))
    time.sleep(IDLE_SECONDS)
    return side.memory() / 1e6


def _capacity() -> float:
    """Calls that the model server answers in a second, asked by four connections for a short checklist."""
    with model_server.running() as model:
        started = time.perf_counter()
        count = model_server.ask_many(model, 2000, 4)
        return count / (time.perf_counter() - started)


def _throughput(rates: Mapping[float, Measures], capacity: float, terms: Terms) -> Fragment:
    names = list(next(iter(rates.values())))
    places = [delay * 1000 for delay in rates]
    rows = [
        [
            f"{delay * 1000:g} ms",
            *(str(Spread.of(rates[delay][name])) for name in names),
            *(_ratio(rates[delay], name) for name in names if name in FORMS),
        ]
        for delay in rates
    ]
    body = f"""\
Jobs per second from the first POST to the end of the last job, by the time that each of a job's three calls of the
model takes, and in the last columns how many times the other's rate ours is. How many jobs run at a time:

- *Jobchain*: {ours.AT_ONCE}, in {terms.workers} worker functions of ten jobs, with the gateway's own limits raised; the
  template's default is 5 functions, and on AWS it can be raised to 1000.
- *{DEFAULT}*: {services.CORES}, a process a core, each of which waits for one call at a time. Where calls take long,
  this number is all that is measured.
- *{HARDENED}*: {ours.AT_ONCE}, in {services.CORES} processes with threads.

All processes are running when the clock starts, and callers, model, emulator, database and broker share the machine
with them: where the model is fast, the processor is what limits all of them, and ours also does what the emulator asks
of it. Each job made exactly three calls, counted by the model. Alone, the model server answers {number(capacity)}
calls a second.

{table(["model", *names, *(f"ours to {name}" for name in names if name in FORMS)], rows)}"""
    values = {name: [_point(rates[delay][name]) for delay in rates] for name in names}
    chart = Chart("Throughput", "milliseconds per call of the model", "jobs/s", places, values, log_y=True)
    return Fragment("Throughput", body, draw(chart, "throughput", terms.page), _plain(rates))


def _cpu(cpu: Measures, page: Path) -> Fragment:
    milliseconds = {name: [value * 1000 for value in values] for name, values in cpu.items()}
    body = f"""\
Milliseconds of processor time, of a job from its POST to its end, and of the lists by which its end is seen, with the
model at 0 ms: ours of the functions' processes, the baseline's of web, relay and worker processes. Emulator, database
and broker are left out on all sides. Ours does what the hardened form does not: usage records with estimates, budgets,
the account's rate limits, metrics, and a signed HTTP request for each call of the table.

{_by_side(milliseconds, "ms per job")}"""
    return Fragment(
        "CPU per job", body, draw(_bars("CPU per job", "milliseconds", milliseconds), "cpu", page), milliseconds
    )


def _memory(idle: Measures, full: Measures, page: Path) -> Fragment:
    rows = [[name, str(Spread.of(values)), str(Spread.of(full[name]))] for name, values in idle.items()]
    body = f"""\
Megabytes (proportional set size). *Idle* is after one job, {IDLE_SECONDS:g} seconds later: ours of one api and one
worker function's process, the baseline's of {services.CORES} web processes, Celery's parents and children, the relay
and the supervisors. *After the load* is when the jobs of the section Throughput have run, and all processes that they
needed are there. On AWS an idle Jobchain holds no memory; Celery, Redis and Postgres hold theirs all day.

{table(["", "idle", "after the load"], rows)}"""
    data = {"idle": dict(idle), "full": dict(full)}
    return Fragment("Memory", body, draw(_bars("Memory when idle", "MB", idle), "memory", page), data)


def _by_side(measures: Measures, unit: str) -> str:
    return table(["", unit], [[name, str(Spread.of(values))] for name, values in measures.items()])


def _ratio(measures: Measures, other: str) -> str:
    """How many times the other's median ours is."""
    return f"{number(Spread.of(measures[OURS]).median / Spread.of(measures[other]).median)} ×"


def _bars(title: str, unit: str, measures: Measures) -> Chart:
    return Chart(title, "", unit, [*measures], {"": [_point(values) for values in measures.values()]})


def _point(values: Sequence[float]) -> tuple[float, float, float]:
    median, low, high = astuple(Spread.of(values))
    return median, low, high


def _plain(measures: Mapping[float, Measures] | Mapping[int, Measures]) -> dict[str, dict[str, list[float]]]:
    """As JSON takes it."""
    return {f"{place:g}": dict(values) for place, values in measures.items()}
