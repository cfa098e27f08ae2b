"""Makes trouble for running jobs, and counts: what became of each job, and what it cost the model."""

import fcntl
import json
import os
import random
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Self

import psutil
import pytest

from jobchain.aws.attributes import Item, from_item
from jobchain.aws.items import StoredJob, spending_of
from jobchain.aws.records import step_of, visible_steps
from jobchain.chains import CHAINS
from jobchain.spending import Spending, Usage, summed
from local.stack import EmbeddedStack
from tests.conftest import ROOT
from tests.e2e.conftest import FINAL
from tests.fake_model.answers import STEPS, result_of
from tests.fake_model.journal import Call
from tests.fake_model.replies import BREAKS_SCHEMA, CUT_OFF, DROPPED, EMPTY_OBJECT, EMPTY_TEXT, HTML, NEVER, USAGE
from tests.faults.conftest import FaultyStack

GUIDELINE_CHECKLIST = CHAINS["guideline_checklist"]

REPORT = ROOT / ".local" / "faults.json"

BROKEN = (BREAKS_SCHEMA, CUT_OFF, EMPTY_TEXT)
"""Answers that are paid for and asked for again with a complaint."""

UNKNOWN = (DROPPED, HTML, EMPTY_OBJECT, NEVER)
"""Calls whose usage the server does not tell."""

CLIENTS = 4

needs_proc = pytest.mark.skipif(not psutil.LINUX, reason="reads the variables of other processes")


# --- trouble ---------------------------------------------------------------------------------------


def worker_processes(stack: EmbeddedStack, service: str = "worker") -> list[int]:
    """The ids of the processes that run the worker of this stack; none while its emulator is down.

    `service` is the name that a function has in its logs, if another one is meant.
    """
    process = stack.emulator._process
    assert process, "the emulator does not run"
    try:
        children = psutil.Process(process.pid).children()
    except psutil.NoSuchProcess:
        return []
    return sorted(child.pid for child in children if _variables(child).get("POWERTOOLS_SERVICE_NAME") == service)


def _variables(process: psutil.Process) -> dict[str, str]:
    """The environment of a process; empty for one that has just ended."""
    try:
        return process.environ()
    except psutil.NoSuchProcess:
        return {}


class Kills:
    """Kills worker processes with -9 in a thread of its own while it is entered; subclasses say when and which."""

    def __init__(self) -> None:
        self.kills = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        raise NotImplementedError


class Killer(Kills):
    """Kills one of a stack's workers after each pause, `at_most` so often."""

    def __init__(
        self,
        stack: EmbeddedStack,
        chance: random.Random,
        pause: tuple[float, float],
        at_most: int,
        service: str = "worker",
    ) -> None:
        """`pause` is the shortest and the longest, in seconds; `service` as for `worker_processes`."""
        super().__init__()
        self._stack = stack
        self._service = service
        self._chance = chance
        self._pause = pause
        self._at_most = at_most

    def _run(self) -> None:
        while self.kills < self._at_most and not self._ended.wait(self._chance.uniform(*self._pause)):
            if workers := worker_processes(self._stack, self._service):
                os.kill(self._chance.choice(workers), signal.SIGKILL)
                self.kills += 1


def pause_worker(world: FaultyStack, *, paused: bool) -> None:
    """Has the queue call no worker any more, or again."""
    client = world.stack.client("lambda")
    for mapping in client.list_event_source_mappings()["EventSourceMappings"]:
        client.update_event_source_mapping(UUID=mapping["UUID"], Enabled=not paused)


def let_leases_end(world: FaultyStack, before: float) -> None:
    """Moves the due times and leases of jobs that were not touched since `before` into the past.

    As if so much time had gone by: for when no worker of that time lives any more.
    """
    for event_id, meta in _metas(world).items():
        if "due_at" in meta and _seconds(meta["updated_at"]) < before:
            _move_back(world, event_id, meta, "due_at", "lease_until")


# --- jobs ------------------------------------------------------------------------------------------


def submit_all(world: FaultyStack, markers: Iterable[str]) -> dict[str, str]:
    """Jobs for all markers, posted by several clients at a time: marker by event_id."""
    markers = list(markers)
    with ThreadPoolExecutor(CLIENTS) as pool:
        return dict(zip(pool.map(world.submit, markers), markers, strict=True))


def sweep_until_final(
    world: FaultyStack, event_ids: Iterable[str], limit_seconds: float, *, every: float = 2, patience: float = 600
) -> dict[str, int]:
    """Runs the sweeper by hand, every `every` seconds, until the jobs are final; gives what the sweeps did in all.

    A job without a worker for `patience` seconds falls due, as if the minutes had passed that a message may take:
    the one of a worker that crashed before its claim comes back after the visibility timeout only. Raises TimeoutError.
    """
    wanted = set(event_ids)
    done = {"sent": 0, "failed": 0}
    moved: dict[str, float] = {}
    deadline = time.monotonic() + limit_seconds
    next_sweep = time.monotonic() + every
    while unfinished := _unfinished(world, wanted):
        if time.monotonic() > deadline:
            one = next(iter(unfinished.items()))
            raise TimeoutError(f"{len(unfinished)} jobs are not final after {limit_seconds} s, such as {one}")
        if time.monotonic() >= next_sweep:
            for event_id, meta in unfinished.items():
                if _waits(meta, since := time.time() - patience) and moved.get(event_id, 0) < since:
                    _move_back(world, event_id, meta, "due_at")
                    moved[event_id] = time.time()
            swept = world.sweep()
            done = {name: count + swept[name] for name, count in done.items()}
            next_sweep = time.monotonic() + every
        time.sleep(0.3)
    return {**done, "moved_up": len(moved)}


def _unfinished(world: FaultyStack, event_ids: set[str]) -> dict[str, dict[str, Any]]:
    """The META items of those jobs that are not final, and an empty one for a job that is gone."""
    metas = _metas(world)
    found = {event_id: metas.get(event_id, {}) for event_id in event_ids}
    return {event_id: meta for event_id, meta in found.items() if not meta or meta["status"]["S"] not in FINAL}


def _waits(meta: Mapping[str, Any], since: float) -> bool:
    """Whether no worker has had the job since then, with nothing but a message to wait for."""
    if meta["status"]["S"] == "processing":
        return int(meta["lease_until"]["N"]) / 1000 < since
    put_off_until = int(meta.get("not_before", {"N": "0"})["N"]) / 1000
    return max(put_off_until, _seconds(meta["updated_at"])) < since


def _move_back(world: FaultyStack, event_id: str, meta: Mapping[str, Any], *times: str) -> None:
    """Sets times of the job into the past, unless it has changed since it was read."""
    past = {"due_at": int(time.time()) - 1, "lease_until": int(time.time() * 1000) - 1}
    moved = [name for name in times if name in meta]
    client = world.stack.client("dynamodb")
    with suppress(client.exceptions.ConditionalCheckFailedException):
        client.update_item(
            TableName=world.stack.table,
            Key={"pk": {"S": f"JOB#{event_id}"}, "sk": {"S": "META"}},
            UpdateExpression="SET " + ", ".join(f"{name} = :{name}" for name in moved),
            ConditionExpression="#status = :status AND updated_at = :updated_at",
            ExpressionAttributeNames={"#status": "status"},
            ExpressionAttributeValues={
                ":status": meta["status"],
                ":updated_at": meta["updated_at"],
                **{f":{name}": {"N": str(past[name])} for name in moved},
            },
        )


def _metas(world: FaultyStack) -> dict[str, dict[str, Any]]:
    found = _scan(world, FilterExpression="sk = :meta", ExpressionAttributeValues={":meta": {"S": "META"}})
    return {_event_id(item): item for item in found}


# --- the tally -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Account:
    """What became of a job, by the table and the model's journal.

    `right`: completed, with each step once and the result of its own text. `misstated`: its records are not those of
    the model's server, but for one call of each worker that crashed. `claims_lost`: claims whose worker crashed.
    `wasted`: calls that could have been answered well, and whose answer was not stored. `unknown`: calls whose usage
    the server did not tell. `spent` is what its records say, `told` what the server told.
    """

    event_id: str
    marker: str
    right: bool
    misstated: bool
    claims_lost: int
    calls: int
    refused: int
    broken: int
    wasted: int
    unknown: int
    spent: Spending
    told: Usage


@dataclass(frozen=True, slots=True)
class Tally:
    """The sums of all accounts."""

    jobs: int
    right: int
    misstated: int
    claims_lost: int
    calls: int
    refused: int
    broken: int
    wasted: int
    unknown: int
    estimated: int
    overdrawn: int
    """Jobs with more wasted calls than claims that were lost: something else than a worker's death cost a call."""


def accounts(world: FaultyStack, jobs: Mapping[str, str]) -> list[Account]:
    """The accounts of `jobs`, marker by event_id."""
    items: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
    for item in _scan(world):
        items[_event_id(item)][item["sk"]["S"]] = item
    calls: dict[str, list[Call]] = defaultdict(list)
    for call in world.model.journal.calls():
        calls[call.marker].append(call)
    return [_account(event_id, marker, items[event_id], calls[marker]) for event_id, marker in jobs.items()]


def balance(found: Iterable[Account]) -> Tally:
    found = list(found)

    def total(of: Callable[[Account], int]) -> int:
        return sum(map(of, found))

    return Tally(
        jobs=len(found),
        right=total(lambda account: account.right),
        misstated=total(lambda account: account.misstated),
        claims_lost=total(lambda account: account.claims_lost),
        calls=total(lambda account: account.calls),
        refused=total(lambda account: account.refused),
        broken=total(lambda account: account.broken),
        wasted=total(lambda account: account.wasted),
        unknown=total(lambda account: account.unknown),
        estimated=total(lambda account: account.spent.estimated.calls),
        overdrawn=total(lambda account: account.wasted > account.claims_lost),
    )


def assert_balanced(tally: Tally) -> None:
    """Nothing is lost, and the model is charged twice only for what was in flight when a worker crashed."""
    assert tally.right == tally.jobs, "every accepted job completes, with the result of its own text"
    assert tally.misstated == 0, (
        "the records are those of the model's server, and estimates only for what it did not tell"
    )
    assert tally.overdrawn == 0, "only a worker's crash costs a call, and one at most"


def report(name: str, **numbers: object) -> None:
    """Prints what was measured, and keeps it in REPORT, which the processes of a run share."""
    REPORT.parent.mkdir(exist_ok=True)
    with REPORT.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        known = json.loads(file.read() or "{}")
        file.truncate(0)
        file.write(json.dumps({**known, name: numbers}, indent=2, sort_keys=True) + "\n")
    print(f"{name}: {json.dumps(numbers)}")  # noqa: T201  # for pytest -rP


def as_numbers(tally: Tally) -> dict[str, int]:
    return {**asdict(tally), "lost": tally.jobs - tally.right}


def _account(event_id: str, marker: str, items: Mapping[str, Mapping[str, Any]], calls: list[Call]) -> Account:
    found = [from_item(item) for _, item in sorted(items.items())]
    gone: Item = {"status": "gone", "claim": 0, "settled": 0}
    meta = next((item for item in found if item["sk"] == "META"), gone)
    steps = [step_of(item) for item in visible_steps(StoredJob(meta, tuple(found)))]
    good = [call for call in calls if call.reply is None or call.reply.name == "answer"]
    broken = [call for call in calls if call.reply in BROKEN]
    unknown = [call for call in calls if call.reply in UNKNOWN or call.client_left]
    refused = len(calls) - len(good) - len(broken)
    # A refusal makes the worker release its claim; the worker of every other claim but the last crashed.
    # (One that crashed after a refusal, before the release, is found by what was settled for it.)
    claims_lost = max(int(meta["claim"]) - 1 - refused, len(meta.get("late", {})))
    spent = spending_of(meta)
    told = len([call for call in calls if _tells(call)])
    exact = _exact(spent)
    return Account(
        event_id=event_id,
        marker=marker,
        right=meta["status"] == "completed"
        and len(steps) == len(STEPS)
        and GUIDELINE_CHECKLIST.result({step.name: step.output for step in steps}) == result_of(marker),
        misstated=not (
            exact in [_tokens(USAGE, answers) for answers in range(told - claims_lost, told + 1)]
            and spent.estimated.calls <= len(unknown) + claims_lost
        ),
        claims_lost=claims_lost,
        calls=len(calls),
        refused=refused,
        broken=len(broken),
        wasted=len(good) - len(steps),
        unknown=len(unknown),
        spent=spent,
        told=Usage(input_tokens=USAGE.input_tokens * told, output_tokens=USAGE.output_tokens * told),
    )


def _tells(call: Call) -> bool:
    """Whether the server told the usage of the call."""
    return bool(call.reply and call.reply.status == 200 and call.reply not in UNKNOWN and not call.client_left)


def _exact(spent: Spending) -> tuple[int, int]:
    """The tokens that are no estimate."""
    usage, estimated = spent.usage, spent.estimated
    return usage.input_tokens - estimated.input_tokens, usage.output_tokens - estimated.output_tokens


def _tokens(usage: Usage, answers: int) -> tuple[int, int]:
    return usage.input_tokens * answers, usage.output_tokens * answers


# --- the same sums elsewhere -------------------------------------------------------------------------


def daily_usage(world: FaultyStack) -> Spending:
    """What the table has as the usage of all days."""
    items = map(from_item, _scan(world))
    return summed(spending_of(item) for item in items if item["sk"].startswith("USAGE#"))


METRICS = ("InputTokens", "CachedTokens", "OutputTokens", "ReasoningTokens", "Calls", "Retries", "EstimatedCalls")


def metrics(world: FaultyStack) -> dict[str, int]:
    """The sums of the metrics of usage in the functions' logs."""
    sums = dict.fromkeys(METRICS, 0)
    for line in world.stack.emulator.log_file.read_text().splitlines():
        if '"InputTokens"' in line:
            entry = json.loads(line[line.index("{") :])
            for name in METRICS:
                sums[name] += int(sum(entry[name]))
    return sums


def as_metrics(spending: Spending) -> dict[str, int]:
    """What the metrics of this spending are."""
    usage = spending.usage
    counts = (usage.input_tokens, usage.cached_tokens, usage.output_tokens, usage.reasoning_tokens)
    return dict(zip(METRICS, (*counts, spending.calls, spending.retries, spending.estimated.calls), strict=True))


def _seconds(time_of: Mapping[str, str]) -> float:
    """A stored time in seconds since 1970."""
    return datetime.fromisoformat(time_of["S"]).timestamp()


def _scan(world: FaultyStack, **arguments: Any) -> list[dict[str, Any]]:
    pages = world.stack.client("dynamodb").get_paginator("scan").paginate(TableName=world.stack.table, **arguments)
    return [item for page in pages for item in page["Items"]]


def _event_id(item: Mapping[str, Any]) -> str:
    return str(item["pk"]["S"]).removeprefix("JOB#")
