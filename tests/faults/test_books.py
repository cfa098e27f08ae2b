"""The usage records against the fake model's journal: every token of every call, through retries and broken answers."""

import random
import threading
from dataclasses import asdict
from decimal import Decimal

import pytest

from jobchain.prices import PriceList
from jobchain_api.call_views import UsageView
from tests.fake_model.journal import Call
from tests.fake_model.replies import (
    BREAKS_SCHEMA,
    CUT_OFF,
    MODEL,
    REFUSAL,
    SERVER_ERROR,
    USAGE,
    Reply,
    too_many_requests,
)
from tests.faults.conftest import KNOWN_LIMIT, faulty_stack
from tests.faults.ledger import as_metrics, daily_usage, metrics, report, submit_all, sweep_until_final

SEED = 20261122
JOBS = 200
TOKENS = tuple(UsageView.model_fields)


class Trouble:
    """A rule for the model: one call in five gets something else than its answer."""

    KINDS = (too_many_requests(1), SERVER_ERROR, BREAKS_SCHEMA, BREAKS_SCHEMA, CUT_OFF, REFUSAL)

    def __init__(self) -> None:
        self._chance = random.Random(SEED)
        self._lock = threading.Lock()

    def __call__(self, _call: Call) -> Reply | None:
        with self._lock:
            return self._chance.choice(self.KINDS) if self._chance.random() < 0.2 else None


@pytest.mark.faults
@pytest.mark.timeout(400)
def test_the_books_are_those_of_the_models_server_to_the_token() -> None:
    with faulty_stack(parameters={"WorkerConcurrency": "3", **KNOWN_LIMIT}) as world:
        world.model.rule = Trouble()
        jobs = submit_all(world, (f"job-usage-{number}" for number in range(JOBS)))
        sweep_until_final(world, jobs, limit_seconds=300)
        calls = world.model.journal.calls()
        read = [world.job(event_id) for event_id in jobs]
        today = world.http.get("/stats").raise_for_status().json()
        daily, counted = daily_usage(world), metrics(world)

    # what the server told that it used, and what that costs
    paid = [call for call in calls if call.reply and call.reply.status == 200]
    used = {name: count * len(paid) for name, count in asdict(USAGE).items() if name in TOKENS}
    cost = PriceList.load().spending(MODEL, USAGE, USAGE).known_cost_usd * len(paid)

    assert {name: sum(job["usage"][name] for job in read) for name in TOKENS} == used
    assert today["today"]["usage"] == used
    assert sum(job["calls"] for job in read) == today["today"]["calls"] == len(calls)
    assert sum(Decimal(str(job["cost_usd"])) for job in read) == Decimal(str(today["today"]["cost_usd"])) == cost
    assert counted == as_metrics(daily)
    assert daily.estimated.calls == 0
    statuses = {status: sum(job["status"] == status for job in read) for status in ("completed", "failed")}
    assert {status: today["jobs"][status] for status in statuses} == statuses
    assert sum(statuses.values()) == JOBS
    # every call but the first of each step that was begun is a repetition
    begun = {(call.marker, call.step) for call in calls}
    assert today["today"]["retries"] == len(calls) - len(begun)
    report("usage", jobs=JOBS, **statuses, calls=len(calls), retries=today["today"]["retries"], **used)
