"""The breakers' items: who opens, probes and closes one, as several workers see it."""

from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from jobchain.aws.attributes import Item
from jobchain.aws.breakers import MAX_AGE, BreakerStore
from jobchain.aws.table import Table
from jobchain.breaker import PROBE_EVERY, ModelAccount, OpenBreaker, Scope
from jobchain.domain import Clock
from tests.conftest import TABLE
from tests.fakes import FakeClock, Requests

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

ACCOUNT = ModelAccount.of("https://api.openai.com/v1", "jobchain/openai-api-key", "gpt-6-luna")
QUOTA = "model_quota_exceeded"
SECOND = timedelta(seconds=1)


class Workers:
    """Workers of one deployment, each with its own store."""

    def __init__(self, client: "DynamoDBClient", clock: FakeClock) -> None:
        self.clock = clock
        self.requests = Requests(client)
        self._client = client

    def one(self, account: ModelAccount = ACCOUNT, clock: Clock | None = None) -> BreakerStore:
        return BreakerStore(self._client, TABLE, account, clock or self.clock)

    def opened(self) -> tuple[BreakerStore, OpenBreaker]:
        """A worker that has opened the key's breaker."""
        worker = self.one()
        breaker = worker.open(QUOTA, self.clock())
        assert breaker
        return worker, breaker

    def items(self) -> list[Item]:
        found: Any = self._client.scan(TableName=TABLE, Select="ALL_ATTRIBUTES")["Items"]
        return [item for item in found if item["pk"]["S"].startswith("BREAKER#")]

    def stored(self, pk: str) -> Item | None:
        return Table(self._client, TABLE).get({"pk": pk, "sk": "META"})


@pytest.fixture
def workers(dynamodb: "DynamoDBClient", clock: FakeClock) -> Workers:
    return Workers(dynamodb, clock)


def test_without_a_fault_nothing_is_open_and_nothing_is_written(workers: Workers) -> None:
    worker = workers.one()

    assert worker.look() is None
    assert not worker.is_open()
    assert workers.requests.new() == ["BatchGetItem"]


def test_a_fault_of_the_account_opens_the_breaker_for_all_workers(workers: Workers, clock: FakeClock) -> None:
    other = workers.one()
    assert other.look() is None

    _, opened = workers.opened()

    assert (opened.type, opened.scope, opened.refusals) == (QUOTA, Scope.KEY, 1)
    assert (opened.opened_at, opened.next_probe_at) == (clock(), clock() + PROBE_EVERY)
    clock.advance(MAX_AGE)
    assert other.look() == opened


def test_the_worker_that_opened_it_knows_at_once_and_without_a_read(workers: Workers) -> None:
    worker, opened = workers.opened()
    workers.requests.new()

    assert worker.is_open()
    assert worker.look() == opened
    assert workers.requests.new() == []


def test_a_look_is_cached_for_three_seconds(workers: Workers, clock: FakeClock) -> None:
    worker = workers.one()
    for _ in range(10):
        worker.look()
    assert workers.requests.new() == ["BatchGetItem"]

    clock.advance(MAX_AGE)
    worker.look()

    assert workers.requests.new() == ["BatchGetItem"]
    assert timedelta(seconds=3) >= MAX_AGE


def test_the_keys_name_the_provider_and_the_secret_or_the_model(workers: Workers, clock: FakeClock) -> None:
    workers.one().open(QUOTA, clock())
    workers.one().open("model_not_found", clock())

    assert workers.stored("BREAKER#api.openai.com#key#jobchain/openai-api-key")
    assert workers.stored("BREAKER#api.openai.com#model#gpt-6-luna")


def test_another_model_and_another_secret_are_not_concerned(workers: Workers, clock: FakeClock) -> None:
    workers.one().open("model_not_found", clock())
    workers.one().open(QUOTA, clock())

    assert workers.one(ModelAccount(ACCOUNT.host, "another", "gpt-6-sol")).look() is None
    seen = workers.one(ModelAccount(ACCOUNT.host, ACCOUNT.secret_name, "gpt-6-sol")).look()
    assert seen
    assert seen.scope is Scope.KEY
    seen = workers.one(ModelAccount(ACCOUNT.host, "another", ACCOUNT.model)).look()
    assert seen
    assert seen.scope is Scope.MODEL


def test_of_a_minute_one_job_of_all_workers_is_the_probe(workers: Workers, clock: FakeClock) -> None:
    workers.opened()
    clock.advance(PROBE_EVERY)
    for _minute in range(3):
        won = 0
        for worker in [workers.one() for _ in range(5)]:
            for _job in range(10):
                seen = worker.look()
                assert seen
                won += worker.probe(seen)
        assert won == 1
        clock.advance(PROBE_EVERY)


def test_before_the_minute_is_over_nobody_probes_and_nobody_writes(workers: Workers, clock: FakeClock) -> None:
    worker, opened = workers.opened()
    clock.advance(PROBE_EVERY - SECOND)
    workers.requests.new()

    assert not worker.probe(opened)

    assert workers.requests.new() == []


def test_a_thousand_refused_jobs_write_nothing(workers: Workers, clock: FakeClock) -> None:
    workers.opened()
    worker = workers.one()
    workers.requests.new()

    for _ in range(1000):
        seen = worker.look()
        assert seen
        assert not worker.probe(seen)

    assert workers.requests.new() == ["BatchGetItem"]


def test_a_probe_whose_worker_crashes_is_followed_by_another_one(workers: Workers, clock: FakeClock) -> None:
    _, opened = workers.opened()
    clock.advance(PROBE_EVERY)
    assert _looked(workers.one()).opened_at == opened.opened_at
    crashing = workers.one()
    assert crashing.probe(_looked(crashing))

    clock.advance(PROBE_EVERY)

    another = workers.one()
    assert another.probe(_looked(another))


def test_two_workers_that_see_the_probe_due_at_once_have_one_winner(workers: Workers, clock: FakeClock) -> None:
    workers.opened()
    clock.advance(PROBE_EVERY)
    one, other = workers.one(), workers.one()
    seen_by_one, seen_by_other = _looked(one), _looked(other)

    assert (one.probe(seen_by_one), other.probe(seen_by_other)) == (True, False)

    # The loser knows from its refusal when the next one is due.
    assert _looked(other).next_probe_at == clock() + PROBE_EVERY


def test_a_probe_that_succeeds_closes_the_breaker(workers: Workers, clock: FakeClock) -> None:
    _, opened = workers.opened()
    clock.advance(PROBE_EVERY)
    worker = workers.one()
    assert worker.probe(_looked(worker))
    began_at = clock()
    clock.advance(2 * SECOND)

    (closed,) = worker.close(began_at)

    assert closed.opened_at == opened.opened_at
    assert worker.look() is None
    assert workers.one().look() is None


def test_one_success_closes_both_breakers(workers: Workers, clock: FakeClock) -> None:
    worker, _ = workers.opened()
    worker.open("model_forbidden", clock())
    clock.advance(PROBE_EVERY)

    assert len(worker.close(clock())) == 2
    assert workers.one().look() is None


def test_a_probe_that_fails_keeps_it_open_and_tells_the_newest_type(workers: Workers, clock: FakeClock) -> None:
    worker, opened = workers.opened()
    clock.advance(PROBE_EVERY)
    assert worker.probe(_looked(worker))

    still = worker.open("model_unauthorized", clock(), probing=True)

    assert still
    assert (still.type, still.refusals, still.opened_at) == ("model_unauthorized", 2, opened.opened_at)
    assert (still.refused_at, still.next_probe_at) == (clock(), clock() + PROBE_EVERY)
    assert workers.one().look() == still


def test_a_probe_that_fails_of_the_model_opens_the_other_breaker_too(workers: Workers, clock: FakeClock) -> None:
    worker, opened = workers.opened()
    clock.advance(PROBE_EVERY)
    assert worker.probe(_looked(worker))

    other = worker.open("model_not_found", clock(), probing=True)

    assert other
    assert other.scope is Scope.MODEL
    assert other.refusals == 1
    seen = worker.look()
    assert seen
    assert (seen.scope, seen.refusals) == (Scope.KEY, opened.refusals)


@pytest.mark.parametrize("fault", ["server_error", "rate_limited", "timeout", "content_filtered", "text_too_long"])
def test_any_other_fault_neither_opens_nor_closes(workers: Workers, clock: FakeClock, fault: str) -> None:
    worker = workers.one()
    assert worker.open(fault, clock()) is None
    assert worker.look() is None

    worker, opened = workers.opened()
    assert worker.open(fault, clock(), probing=True) is None
    assert worker.look() == opened


def test_jobs_in_flight_that_fail_later_change_and_write_nothing(workers: Workers, clock: FakeClock) -> None:
    worker, opened = workers.opened()
    other = workers.one()
    began_at = clock()
    clock.advance(40 * SECOND)
    workers.requests.new()

    # Of each worker, the first one finds out by a write that is refused.
    assert [worker.open(QUOTA, began_at) for _ in range(9)] == [None] * 9
    assert workers.requests.new() == []
    assert [other.open(QUOTA, began_at) for _ in range(9)] == [None] * 9
    assert workers.requests.new() == ["UpdateItem"]

    assert workers.one().look() == opened


def test_a_call_from_before_the_closing_does_not_open_it_again(workers: Workers, clock: FakeClock) -> None:
    worker, _ = workers.opened()
    late = workers.one()
    began_at = clock()
    clock.advance(PROBE_EVERY)
    assert worker.close(clock())

    clock.advance(30 * SECOND)

    assert late.open(QUOTA, began_at) is None
    assert workers.one().look() is None


def test_a_call_from_after_the_closing_opens_it_again(workers: Workers, clock: FakeClock) -> None:
    worker, first = workers.opened()
    clock.advance(PROBE_EVERY)
    assert worker.close(clock())
    clock.advance(SECOND)

    second = workers.one().open("model_unauthorized", clock())

    assert second
    assert (second.opened_at, second.refusals, second.type) == (clock(), 1, "model_unauthorized")
    assert second.opened_at > first.opened_at
    assert workers.one().look() == second


def test_an_answer_to_a_call_from_before_the_opening_does_not_close_it(workers: Workers, clock: FakeClock) -> None:
    began_at = clock()
    clock.advance(SECOND)
    worker, opened = workers.opened()
    clock.advance(SECOND)

    assert worker.close(began_at) == []
    assert workers.one().look() == opened


def test_a_probe_of_the_last_opening_is_not_one_of_this_opening(workers: Workers, clock: FakeClock) -> None:
    # given a worker that has seen the first opening, and another one that closes it and opens it again
    slow, first = workers.opened()
    clock.advance(PROBE_EVERY)
    other = workers.one()
    other.look()
    began_at = clock()
    other.close(began_at)
    clock.advance(SECOND)
    second = other.open(QUOTA, clock())

    # then the slow one neither wins the probe of the first one nor closes the second one
    assert not slow.probe(first)
    assert slow.close(began_at) == []
    assert slow.look() == second


def test_items_of_an_abandoned_breaker_expire(workers: Workers, clock: FakeClock) -> None:
    workers.opened()

    (item,) = workers.items()

    assert int(item["expires_at"]["N"]) == int((clock() + timedelta(days=7)).timestamp())


def test_after_a_quiet_night_the_first_job_is_the_probe(workers: Workers, clock: FakeClock) -> None:
    workers.opened()
    clock.advance(timedelta(hours=14))
    worker = workers.one()
    seen = _looked(worker)

    assert worker.probe(seen)
    # and the others wait a minute at most, and not as if calls had been refused all night
    assert _looked(worker).delay(1) == timedelta(minutes=1)


def test_clocks_ten_seconds_apart_cost_a_few_seconds_and_no_probe(workers: Workers, clock: FakeClock) -> None:
    ahead = workers.one(clock=lambda: clock() + 10 * SECOND)
    exact = workers.one()
    assert exact.open(QUOTA, clock())
    start, probes = clock(), []

    while clock() < start + timedelta(minutes=10):
        for worker in (exact, ahead):
            seen = worker.look()
            if seen and worker.probe(seen):
                probes.append(clock() - start)
        clock.advance(SECOND)

    pauses = [later - earlier for earlier, later in pairwise(probes)]
    assert len(probes) in (9, 10)
    assert min(pauses) >= PROBE_EVERY - 10 * SECOND
    # whose call is answered closes it, whichever clock it had opened it by
    assert ahead.close(clock() + 10 * SECOND)
    assert workers.one().look() is None


def test_a_lost_answer_of_the_table_leaves_the_probe_with_its_winner(
    dynamodb: "DynamoDBClient", workers: Workers, clock: FakeClock
) -> None:
    worker, opened = workers.opened()
    clock.advance(PROBE_EVERY)
    update_item = dynamodb.update_item

    def twice(**parameters: Any) -> Any:
        update_item(**parameters)
        return update_item(**parameters)  # as the SDK repeats a request whose answer was lost

    dynamodb.update_item = twice  # type: ignore[method-assign]

    assert worker.probe(opened)


def _looked(worker: BreakerStore) -> OpenBreaker:
    seen = worker.look()
    assert seen
    return seen


def test_a_probe_that_is_given_back_late_takes_none_from_a_later_one(workers: Workers, clock: FakeClock) -> None:
    worker, _ = workers.opened()
    clock.advance(PROBE_EVERY)
    slow = workers.one()
    assert slow.probe(_looked(slow))
    mine = _looked(slow)
    clock.advance(PROBE_EVERY + MAX_AGE)
    assert worker.probe(_looked(worker))

    slow.give_back(mine)

    assert _looked(workers.one()).next_probe_at == clock() + PROBE_EVERY
