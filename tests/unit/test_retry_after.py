"""When callers are told to read an unfinished job again."""

import random
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from jobchain.aws.queue import JobQueue
from jobchain.domain import Job, Status, WaitingFor, WaitReason, isoformat
from jobchain.observability import Logger
from jobchain_api.durations import KEPT, Durations, remaining
from jobchain_api.retry_after import MOST_SECONDS, RetryAfter
from jobchain_api.service import JobService
from jobchain_client import Jobchain
from tests.conftest import make_service
from tests.fakes import FakeClock, silence
from tests.gateway import Api
from tests.stores import Stores

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_sqs import SQSClient

LEASE = timedelta(minutes=5)


@pytest.fixture
def api(service: JobService, logger: Logger) -> Api:
    return Api(service, logger)


@pytest.fixture
def another_environment(stores: Stores, queue: JobQueue, logger: Logger) -> Api:
    """Another environment of the api, which has answered no request yet."""
    return Api(make_service(stores, queue, logger), logger)


class Work:
    """Jobs of one tenant, and a worker that takes as long as a test says."""

    def __init__(self, api: Api, stores: Stores, clock: FakeClock) -> None:
        self._api = api
        self._stores = stores
        self._clock = clock

    def post(self, **more: object) -> tuple[str, int]:
        """The id of a new job, and after how many seconds it is to be read."""
        answer = self._api("POST", "/jobs", {"input_text": "Lock doors.", **more})
        return answer.body["event_id"], int(answer.headers["Retry-After"])

    def read(self, event_id: str) -> int | None:
        """After how many seconds the job is to be read again; None if it is final."""
        headers = self._api("GET", f"/jobs/{event_id}").headers
        return int(headers["Retry-After"]) if "Retry-After" in headers else None

    def done(self, run: float, wait: float = 0, **more: object) -> str:
        """A job that has waited and run for these seconds."""
        event_id, _ = self.post(**more)
        self.pass_by(wait)
        claim = self._stores.claim(event_id, self._clock() + LEASE)
        self.pass_by(run)
        self._stores.claims.finish(claim)
        return event_id

    def pass_by(self, seconds: float) -> None:
        self._clock.advance(timedelta(seconds=seconds))


@pytest.fixture
def work(api: Api, stores: Stores, clock: FakeClock) -> Work:
    return Work(api, stores, clock)


class TestANewJob:
    def test_of_a_chain_that_has_never_run_is_read_after_a_second(self, work: Work) -> None:
        assert work.post()[1] == 1

    def test_is_read_when_jobs_like_it_have_ended(self, work: Work) -> None:
        # given jobs that took 9, 10, 11, 12 and 13 seconds, which their callers have read
        for seconds in range(9, 14):
            assert work.read(work.done(seconds, wait=1)) is None

        # then four of five have ended at the time that is told, their waiting included
        assert work.post()[1] == 13

    def test_is_not_measured_by_jobs_of_another_chain_or_tier(self, work: Work) -> None:
        work.read(work.done(40, job_name="extract_actions", payload={"text": "a"}, input_text=None))
        work.read(work.done(50, tier="flex"))

        assert work.post()[1] == 1

    def test_is_not_measured_by_jobs_that_failed(self, work: Work, stores: Stores, clock: FakeClock) -> None:
        event_id, _ = work.post()
        work.pass_by(30)
        stores.cancel("local", event_id)
        work.read(event_id)

        assert work.post()[1] == 1

    def test_that_is_found_ended_is_read_at_once(self, api: Api, stores: Stores, clock: FakeClock) -> None:
        request = "POST", "/jobs", {"input_text": "a"}, {"Idempotency-Key": "k"}
        event_id = api(*request).body["event_id"]
        stores.claims.finish(stores.claim(event_id, clock() + LEASE))

        assert api(*request).headers["Retry-After"] == "0"

    def test_of_a_batch_is_read_when_the_longest_has_ended(self, api: Api, work: Work) -> None:
        work.read(work.done(5))
        work.read(work.done(20, tier="flex"))

        jobs = [{"input_text": "a"}, {"input_text": "b", "tier": "flex"}, {"input_text": ""}]
        answer = api("POST", "/jobs/batch", {"jobs": jobs})
        refused = api("POST", "/jobs/batch", {"jobs": jobs[2:]})

        assert answer.headers["Retry-After"] == "20"
        assert "Retry-After" not in refused.headers


class TestAJobThatRuns:
    def test_is_read_again_when_the_rest_of_its_time_is_over(
        self, work: Work, stores: Stores, clock: FakeClock
    ) -> None:
        work.read(work.done(12))
        event_id, _ = work.post()
        stores.claim(event_id, clock() + LEASE)
        work.pass_by(4.5)

        assert work.read(event_id) == 8

    def test_and_takes_longer_than_all_others_is_read_again_after_a_quarter_of_its_time(
        self, work: Work, stores: Stores, clock: FakeClock
    ) -> None:
        work.read(work.done(12))
        event_id, _ = work.post()
        stores.claim(event_id, clock() + LEASE)
        told = []
        for seconds in (16, 24, 400):
            work.pass_by(seconds)
            told.append(work.read(event_id))

        assert told == [4, 10, MOST_SECONDS]

    def test_is_measured_by_jobs_that_other_environments_have_answered_for(
        self, work: Work, another_environment: Api, stores: Stores, clock: FakeClock
    ) -> None:
        # given jobs that this environment has not read
        for seconds in range(10, 14):
            work.done(seconds)
        other = Work(another_environment, stores, clock)
        event_id, first = other.post()
        stores.claim(event_id, clock() + LEASE)

        # then it looks them up for the first unfinished job, not for a request that stores one
        assert (first, other.read(event_id), other.post()[1]) == (1, 13, 13)

    def test_is_read_again_though_the_table_does_not_tell_of_others(
        self, work: Work, stores: Stores, clock: FakeClock, monkeypatch: pytest.MonkeyPatch, dynamodb: "DynamoDBClient"
    ) -> None:
        event_id, _ = work.post()
        stores.claim(event_id, clock() + LEASE)
        read = stores.jobs.get

        def read_and_break(tenant: str, event_id: str) -> Job:
            job = read(tenant, event_id)
            silence(dynamodb)
            return job

        monkeypatch.setattr(stores.jobs, "get", read_and_break)

        assert work.read(event_id) == 1


class TestAJobThatWaits:
    @pytest.fixture
    def length(self, queue: JobQueue, monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int], None]:
        """Makes the queue tell how many messages wait, and how many are with workers."""

        def tell(waiting: int, in_flight: int) -> None:
            counts = {
                "ApproximateNumberOfMessages": str(waiting),
                "ApproximateNumberOfMessagesNotVisible": str(in_flight),
                "ApproximateNumberOfMessagesDelayed": "0",
            }
            monkeypatch.setattr(queue._client, "get_queue_attributes", lambda **_: {"Attributes": counts})

        return tell

    def test_is_read_when_the_half_of_the_queue_and_the_job_have_run(
        self, work: Work, length: Callable[[int, int], None]
    ) -> None:
        # given jobs that take 4 seconds, of which workers run 5 at a time, and 21 that wait
        work.read(work.done(4))
        length(21, 5)

        # then the queue is empty in 17 seconds
        assert work.read(work.post()[0]) == 13
        # and a request that comes soon after this knows it too
        assert work.post()[1] == 13

    def test_is_read_within_a_minute_however_long_the_queue_is(
        self, work: Work, length: Callable[[int, int], None]
    ) -> None:
        work.read(work.done(4))
        length(100_000, 5)

        assert work.read(work.post()[0]) == MOST_SECONDS

    def test_is_read_less_often_while_no_worker_takes_jobs(
        self, work: Work, length: Callable[[int, int], None]
    ) -> None:
        work.read(work.done(4))
        event_id, _ = work.post()
        length(100, 0)
        told = []
        for seconds in (0, 100):
            work.pass_by(seconds)
            told.append(work.read(event_id))

        assert told == [4, 25]

    def test_for_a_known_time_is_read_when_it_has_run_after_that(
        self, work: Work, stores: Stores, queue: JobQueue, logger: Logger, clock: FakeClock
    ) -> None:
        retry_after = RetryAfter(jobs=stores.jobs, queue=queue, clock=clock, logger=logger)
        retry_after.learn(stores.jobs.get("local", work.done(12)))
        job = stores.jobs.get("local", work.post()[0])

        def told(reason: WaitReason, seconds: float) -> int:
            waits = WaitingFor(reason, isoformat(clock()), isoformat(clock() + timedelta(seconds=seconds)), "")
            return retry_after.of(_waiting(job, waits))

        assert told(WaitReason.RETRY, 20) == 32
        assert told(WaitReason.RATE_LIMIT, 3600) == MOST_SECONDS

    def test_for_an_unknown_time_is_read_less_often(
        self, work: Work, stores: Stores, queue: JobQueue, logger: Logger, clock: FakeClock
    ) -> None:
        retry_after = RetryAfter(jobs=stores.jobs, queue=queue, clock=clock, logger=logger)
        job = stores.jobs.get("local", work.post()[0])
        waits = WaitingFor(WaitReason.ACCOUNT, isoformat(clock() - timedelta(seconds=100)), None, "")

        assert retry_after.of(_waiting(job, waits)) == 25

    def test_is_read_when_jobs_like_it_have_ended_if_the_queue_does_not_answer(
        self, work: Work, sqs: "SQSClient"
    ) -> None:
        work.read(work.done(10, wait=2))
        event_id, _ = work.post()
        work.pass_by(3)
        silence(sqs)

        assert work.read(event_id) == 9


def _waiting(job: Job, waits: WaitingFor) -> Job:
    return replace(job, waiting_for=waits)


class TestDurations:
    @pytest.mark.parametrize(
        ("seconds", "elapsed", "left"),
        [
            ([], 0, None),
            ([10], 0, 10),
            ([10], 10, None),
            ([10, 11, 12, 13, 14], 0, 13),
            # Of those that took longer than it has so far.
            ([1, 1, 1, 10, 11], 2, 9),
            # Most jobs are short: a caller of one does not wait for a long one, and learns then that it is one.
            ([2, 2, 2, 60, 60], 0, 4),
            ([2, 2, 2, 60, 60], 4, 56),
        ],
    )
    def test_tell_what_is_left(self, seconds: list[float], elapsed: float, left: float | None) -> None:
        assert remaining(seconds, elapsed) == left

    def test_are_those_of_the_jobs_that_ended_last(self) -> None:
        known = Durations()
        for number in random.Random(1).sample(range(KEPT * 2), KEPT * 2):
            known.learn(_ended(number))

        assert sorted(took.run for took in known.of(_ended(0))) == list(range(KEPT, KEPT * 2))

    def test_of_one_tenant_are_not_told_to_another(self) -> None:
        known = Durations()
        known.learn(_ended(5))

        assert known.of(_ended(5, tenant="other")) == []

    def test_are_kept_of_some_tenants_alone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("jobchain_api.durations._TENANTS", 2)
        known = Durations()
        for tenant in ("a", "b", "a", "c"):
            known.learn(_ended(5, tenant=tenant))

        assert [bool(known.of(_ended(5, tenant=tenant))) for tenant in ("a", "c", "b")] == [True, True, False]


def _ended(seconds: int, tenant: str = "local") -> Job:
    made = datetime.fromisoformat("2026-11-22T10:00:00.000Z")
    ended = isoformat(made + timedelta(seconds=seconds))
    return Job(
        f"id-{seconds}",
        tenant,
        "c",
        Status.COMPLETED,
        isoformat(made),
        ended,
        started_at=isoformat(made),
        finished_at=ended,
    )


class TestATypicalJob:
    """Jobs of 10 to 15 seconds, each waited for by the client, in a time of its own."""

    @pytest.fixture
    def polls(self, api: Api, stores: Stores, clock: FakeClock) -> Callable[[float], int]:
        """Runs a job of this length; gives how often its client reads it after it was created."""

        def run(seconds: float) -> int:
            requests: list[httpx2.Request] = []
            schedule: list[tuple[datetime, Callable[[], Any]]] = []

            def handle(request: httpx2.Request) -> httpx2.Response:
                requests.append(request)
                path = request.url.path
                answer = api(request.method, path, request.content.decode() or None, dict(request.headers))
                if request.method == "POST":
                    start(answer.body["event_id"])
                headers = {**answer.headers, "Content-Type": "application/json"}
                return httpx2.Response(answer.status, headers=headers, json=answer.body)

            def start(event_id: str) -> None:
                def claim() -> None:
                    held = stores.claim(event_id, clock() + LEASE)
                    schedule.append((clock() + timedelta(seconds=seconds), lambda: stores.claims.finish(held)))

                schedule.append((clock() + timedelta(seconds=0.3), claim))

            def sleep(pause: float) -> None:
                until = clock() + timedelta(seconds=pause)
                while schedule and schedule[0][0] <= until:
                    clock.now, act = schedule.pop(0)
                    act()
                clock.now = until

            transport = httpx2.MockTransport(handle)
            with Jobchain(
                "http://localhost", transport=transport, clock=lambda: clock().timestamp(), sleep=sleep
            ) as client:
                assert client.submit("Lock doors.").wait().status == "completed"
            return sum(request.method == "GET" for request in requests)

        return run

    def test_is_read_once_or_twice(self, polls: Callable[[float], int]) -> None:
        chance = random.Random(1)
        seconds = [chance.uniform(10, 15) for _ in range(60)]

        counts = [polls(each) for each in seconds]

        # The first job of a chain teaches how long it takes, and the first few how much that differs.
        known = counts[10:]
        assert counts[0] > 2
        assert sum(known) / len(known) <= 1.5
        assert sum(count <= 2 for count in known) / len(known) >= 0.9

    def test_is_read_at_most_twice_where_jobs_take_equally_long(self, polls: Callable[[float], int]) -> None:
        counts = [polls(12) for _ in range(5)]

        assert counts[1:] == [1] * 4
