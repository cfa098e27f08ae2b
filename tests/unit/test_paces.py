"""The paces' items: what several workers see of one account's limits, and what that costs."""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.capacity import size
from jobchain.aws.paces import PaceStore
from jobchain.breaker import ModelAccount
from jobchain.domain import Clock, Tier
from jobchain.errors import Unavailable
from jobchain.pace import BURST, HORIZON, Demand, Granted, Rates, Refused
from jobchain.rate_limits import NO_RATE_LIMITS, RateLimit, RateLimits
from tests.conftest import TABLE
from tests.fakes import FakeClock

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

ACCOUNT = ModelAccount.of("https://api.openai.com/v1", "jobchain/openai-api-key", "gpt-6-luna")
JOB = Demand(3, 26_000)
USED = Demand(3, 9000)
SECOND = timedelta(seconds=1)


class Requests:
    """Counts a client's requests by operation."""

    def __init__(self, client: "DynamoDBClient") -> None:
        self.made: list[str] = []
        client.meta.events.register("before-call.dynamodb", lambda model, **_: self.made.append(model.name))

    def new(self) -> list[str]:
        """Those since the last look."""
        made, self.made = self.made, []
        return made


class Workers:
    """Workers of one deployment, each with its own store."""

    def __init__(self, client: "DynamoDBClient", clock: FakeClock) -> None:
        self.clock = clock
        self.requests = Requests(client)
        self._client = client

    def one(self, configured: Rates = Rates(), clock: Clock | None = None) -> PaceStore:  # noqa: B008  # frozen
        return PaceStore(self._client, TABLE, ACCOUNT, Tier.STANDARD, configured, clock or self.clock)

    def item(self) -> Any:
        found: Any = self._client.scan(TableName=TABLE, Select="ALL_ATTRIBUTES")["Items"]
        return next((item for item in found if item["pk"]["S"].startswith("PACE#")), None)


@pytest.fixture
def workers(dynamodb: "DynamoDBClient", clock: FakeClock) -> Workers:
    return Workers(dynamodb, clock)


def granted(got: Granted | Refused) -> datetime:
    assert isinstance(got, Granted)
    return got.at


def test_while_nothing_is_known_of_limits_all_jobs_run_at_once_and_nothing_is_written(workers: Workers) -> None:
    worker = workers.one()

    for _ in range(100):
        slot = worker.reserve([JOB], "acme", lambda: 100)
        assert slot == Granted(workers.clock(), Demand(0, 0))
        worker.settle(slot.demand, JOB, USED, NO_RATE_LIMITS, refused=False)

    assert set(workers.requests.new()) == {"BatchGetItem"}
    assert workers.item() is None


def test_slots_of_all_workers_follow_each_other_at_the_limit(workers: Workers) -> None:
    limits = Rates(requests=60)
    stores = [workers.one(limits) for _ in range(3)]

    slots = [granted(stores[number % 3].reserve([Demand(2, 0)], "acme")) for number in range(12)]

    start = workers.clock()
    assert slots == [pytest.approx(start + max(0, 2 * n - BURST) * SECOND, abs=SECOND / 100) for n in range(12)]


def test_a_grant_is_one_write_and_a_settlement_one_and_a_refusal_none(workers: Workers) -> None:
    worker = workers.one(Rates(requests=60))
    slot = worker.reserve([JOB], "acme")
    workers.requests.new()

    worker.reserve([JOB], "acme")
    assert workers.requests.new() == ["UpdateItem"]
    worker.settle(slot.demand, Demand(2, 20_000), USED, NO_RATE_LIMITS, refused=False)  # type: ignore[union-attr]
    assert workers.requests.new() == ["UpdateItem"]

    while isinstance(worker.reserve([JOB], "acme"), Granted):
        pass
    workers.requests.new()
    for _ in range(50):
        assert isinstance(worker.reserve([JOB], "acme", lambda: 50), Refused)
    assert workers.requests.new() == []


def test_an_item_with_many_tenants_stays_below_a_write_unit(workers: Workers) -> None:
    worker = workers.one(Rates(6000, 20_000_000))
    told = RateLimits(RateLimit(5000, 0, 60 * SECOND), RateLimit(2_000_000, 0, 60 * SECOND))

    for number in range(100):
        slot = worker.reserve([JOB], f"tenant {number}")
        if isinstance(slot, Granted):
            worker.settle(slot.demand, JOB, USED, told, refused=True)
        workers.clock.advance(SECOND)

    assert size(workers.item()) < 1024


def test_workers_whose_looks_are_stale_get_different_slots(workers: Workers) -> None:
    limits = Rates(requests=600)
    stores = [workers.one(limits) for _ in range(5)]
    for store in stores:
        store.view()  # all of them know a time when nothing was granted yet

    slots = [granted(store.reserve([Demand(60, 0)], "acme")) for store in stores]

    start = workers.clock()
    assert slots == [pytest.approx(start + max(0, 6 * n - BURST) * SECOND, abs=SECOND / 100) for n in range(5)]


def test_a_worker_that_is_refused_asks_again_when_there_is_room(workers: Workers) -> None:
    worker = workers.one(Rates(requests=60))
    while isinstance(got := worker.reserve([JOB], "acme"), Granted):
        pass

    assert got.until > workers.clock()
    workers.clock.advance(30 * SECOND)
    assert isinstance(worker.reserve([JOB], "acme"), Granted)


def test_limits_that_the_server_tells_hold_for_all_workers(workers: Workers) -> None:
    first, second = workers.one(), workers.one()
    told = RateLimits(RateLimit(60, 59, SECOND), RateLimit())

    first.settle(Demand(0, 0), JOB, USED, told, refused=False)

    assert second.view().rates == Rates(60, None)
    slots = [second.reserve([JOB], "acme") for _ in range(100)]
    assert sum(isinstance(slot, Granted) for slot in slots) == int((BURST + HORIZON) / 3) + 1


def test_limits_that_are_lowered_while_jobs_wait_hold_from_the_next_grant_on(workers: Workers) -> None:
    before = workers.one(Rates(requests=600))
    for _ in range(5):
        before.reserve([JOB], "acme")

    after = workers.one(Rates(requests=6))
    slots = [granted(after.reserve([Demand(1, 0)], "acme")) for _ in range(3)]

    assert [slots[2] - slots[1]] == [pytest.approx(10 * SECOND, abs=SECOND / 100)]


def test_workers_whose_clocks_differ_share_the_limit(workers: Workers) -> None:
    limits = Rates(requests=60)
    early = workers.one(limits, lambda: workers.clock() - 5 * SECOND)
    late = workers.one(limits, lambda: workers.clock() + 5 * SECOND)
    given, start = 0, workers.clock()

    for _ in range(120):
        given += sum(isinstance(worker.reserve([Demand(1, 0)], "acme"), Granted) for worker in (early, late))
        workers.clock.advance(SECOND)

    elapsed = (workers.clock() - start).total_seconds()
    assert elapsed * 0.95 <= given <= elapsed + BURST + 10 + 4 * HORIZON


def test_without_the_table_it_says_so(workers: Workers, dynamodb: "DynamoDBClient") -> None:
    worker = workers.one(Rates(requests=60))
    dynamodb.delete_table(TableName=TABLE)

    with pytest.raises(Unavailable):
        worker.reserve([JOB], "acme")
