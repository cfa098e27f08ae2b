"""A counter of a limit is several items, so that transactions seldom meet; together they keep the limit to the job."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobchain.aws import quotas
from jobchain.aws.admission import AdmissionStore
from jobchain.aws.quotas import SHARDS, QuotaCounter, Room, quota_counters, remaining_quota
from jobchain.aws.table import Table, TransactionCanceled
from jobchain.aws.writes import Write, key, put, update
from jobchain.domain import Job, NewJob, Status
from jobchain.errors import LimitReached
from jobchain.limits import Limits
from tests.conftest import TABLE
from tests.fakes import FakeClock
from tests.stores import Stores

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

RETENTION = timedelta(days=30)
NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)


def counter(most: int, *, recounted: bool = False) -> QuotaCounter:
    return QuotaCounter("jobs_per_minute", most, key("TENANT#acme", "X"), timedelta(0), NOW, recounted)


def counted_by(writes: Sequence[Write]) -> Counter[str]:
    """How many jobs each item counts."""
    return Counter(
        {
            write.parameters["Key"]["sk"]["S"]: int(write.parameters["ExpressionAttributeValues"][":taken"]["N"])
            for write in writes
        }
    )


@given(st.integers(1, 100_000))
def test_the_shares_are_the_limit(most: int) -> None:
    shares = counter(most).shares

    assert sum(shares) == most
    assert max(shares) - min(shares) <= 1


@given(st.lists(st.integers(0, 30), min_size=SHARDS, max_size=SHARDS), st.data())
def test_jobs_are_counted_once_each_and_where_there_is_room(room: list[int], data: st.DataObject) -> None:
    jobs = data.draw(st.integers(0, sum(room)))

    counted = counted_by(counter(400).admit(jobs, tuple(room)))

    assert counted.total() == jobs
    assert all(counted[f"X#{shard}"] <= free for shard, free in enumerate(room))
    assert len(counted) == 1 or jobs > max(room) or not jobs


def test_many_requests_meet_at_no_single_item() -> None:
    met = Counter[str]()
    for _ in range(800):
        met += Counter(counted_by(counter(10_000).admit(1, counter(10_000).shares)).keys())

    assert len(met) == SHARDS
    assert max(met.values()) < 800 / SHARDS * 1.6


class TestARecount:
    @pytest.fixture
    def table(self, dynamodb: "DynamoDBClient") -> Table:
        return Table(dynamodb, TABLE)

    @pytest.fixture
    def admit(self, stores: Stores) -> Any:
        numbers = iter(range(10_000))

        def admit(jobs: int, **limits: Any) -> int:
            """How many of `jobs` are admitted."""
            new = [
                NewJob(f"0b6c2f4e-0000-4000-8000-{next(numbers):012}", "acme", "guideline_checklist", {}, "f")
                for _ in range(jobs)
            ]
            outcomes = stores.admission.create_many(new, RETENTION, Limits(**limits))
            assert all(isinstance(outcome, Job | LimitReached) for outcome in outcomes)
            return sum(isinstance(outcome, Job) for outcome in outcomes)

        return admit

    def test_counts_jobs_that_an_earlier_version_admitted(self, admit: Any, table: Table) -> None:
        assert admit(6) == 6
        table.transact(lambda: [put({**key("TENANT#acme", "UNFINISHED"), "taken": 6, "token": "t"})])

        assert admit(10, unfinished_jobs=8) == 2

    @pytest.mark.parametrize("most", [1, 5, 8, 30, 100])
    def test_of_any_limit_admits_as_many_as_it_says(self, admit: Any, most: int) -> None:
        assert sum(admit(1, unfinished_jobs=most) for _ in range(10)) == min(10, most)
        assert admit(99, unfinished_jobs=most) == most - min(10, most)

    def test_of_another_limit_is_kept_to_as_well(self, admit: Any) -> None:
        assert admit(40, unfinished_jobs=40) == 40

        assert admit(10, unfinished_jobs=20) == 0
        assert admit(30, unfinished_jobs=60) == 20

    def test_after_a_key_of_a_higher_limit_leaves_no_more_than_its_own(self, admit: Any) -> None:
        # A batch that fits is counted by one shard, which is far beyond the lower limit's share of it.
        assert admit(1, unfinished_jobs=100) == 1
        assert admit(5, unfinished_jobs=100) == 5

        assert admit(8, unfinished_jobs=8) == 2
        assert admit(1, unfinished_jobs=8) == 0

    def test_that_meets_an_admission_changes_nothing(
        self, admit: Any, table: Table, stores: Stores, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert admit(8, unfinished_jobs=8) == 8
        (limited,) = quota_counters(Limits(unfinished_jobs=8), "acme", stores.clock())
        count = quotas.count_unfinished
        before: list[Any] = []

        def meanwhile(table: Table, tenant: str, most: int) -> Counter[Status]:
            # One shard is written between the read and the change.
            where = limited.shard_key(3)
            table.write(update(where, "attribute_exists(pk)", {}, {}, added={"taken": 0}))
            before[:] = shards(table, limited)
            monkeypatch.setattr(quotas, "count_unfinished", count)
            return Counter({Status.PENDING: 1})

        monkeypatch.setattr(quotas, "count_unfinished", meanwhile)

        assert remaining_quota(table, "acme", limited, 1) == (0,) * SHARDS
        assert shards(table, limited) == before


def shards(table: Table, limited: QuotaCounter) -> list[Any]:
    return [table.get(limited.shard_key(shard)) for shard in range(SHARDS)]


def test_a_transaction_that_conflicts_is_not_waited_for(
    dynamodb: "DynamoDBClient", clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = Table(dynamodb, TABLE)
    monkeypatch.setattr("jobchain.aws.table.time.sleep", lambda _: pytest.fail("it waited"))
    taken = update(key("JOB#1", "META"), "attribute_exists(pk)", {}, {"a": 1})

    assert table.transact_if_calm([taken]) is False
    with pytest.raises(TransactionCanceled):
        table.transact(lambda: [taken])


@pytest.mark.parametrize(
    "limits",
    [Limits(jobs_per_minute=60), Limits(unfinished_jobs=60), Limits(jobs_per_minute=60, unfinished_jobs=70)],
    ids=["minute", "unfinished", "both"],
)
def test_environments_that_admit_in_turn_keep_the_limit_together(
    dynamodb: "DynamoDBClient", clock: FakeClock, limits: Limits
) -> None:
    environments = [AdmissionStore(dynamodb, TABLE, clock) for _ in range(3)]
    admitted = 0
    for turn, size in enumerate([1, 7, 20, 3, 25, 9, 1, 30, 2, 2, 1, 1]):
        new = [
            NewJob(f"0b6c2f4e-0000-4000-{turn:04}-{number:012}", "acme", "guideline_checklist", {}, "f")
            for number in range(size)
        ]
        outcomes = environments[turn % 3].create_many(new, RETENTION, limits)
        admitted += sum(isinstance(outcome, Job) for outcome in outcomes)

    assert admitted == 60


def test_room_is_what_the_shards_say(dynamodb: "DynamoDBClient") -> None:
    limited = counter(16)
    table = Table(dynamodb, TABLE)
    table.transact(lambda: [put({**limited.shard_key(2), "taken": 2}), put({**limited.shard_key(5), "taken": 1})])

    expected: Room = (2, 2, 0, 2, 2, 1, 2, 2)
    assert remaining_quota(table, "acme", limited, 14) == expected


@pytest.mark.parametrize(("earlier", "expected"), [(12, 0), (5, 3), (1, 7)])
def test_a_minute_in_which_a_key_of_a_higher_limit_filled_a_shard_has_no_more_room_than_is_left(
    dynamodb: "DynamoDBClient", earlier: int, expected: int
) -> None:
    limited = counter(8)
    table = Table(dynamodb, TABLE)
    table.transact(lambda: [put({**limited.shard_key(2), "taken": earlier})])

    room = remaining_quota(table, "acme", limited, 8)

    assert sum(room) == expected
    assert room[2] == 0
