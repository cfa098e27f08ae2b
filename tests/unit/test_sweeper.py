"""The sweeper: a job without a worker when it is due is sent again, once, and less and less often."""

import importlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import botocore
import pytest
from aws_lambda_powertools import Logger

from benchmarks.capacity import Meter, indexes
from jobchain.aws.claims import NO_BILL
from jobchain.aws.items import DISPATCH_GRACE, Due, job_key
from jobchain.aws.outbox import SHARDS
from jobchain.aws.queue import JobQueue, QueueDepth
from jobchain.aws.table import Table
from jobchain.aws.writes import epoch, update
from jobchain.domain import NewJob, Status, Tier, utc_now
from jobchain.due_job import DueJob
from jobchain.errors import Unavailable
from jobchain_sweeper.resending import MAX_CRASHES, MAX_RESEND_GAP
from jobchain_sweeper.sweeper import BACKLOG, MOST_OVERDUE, Sweep, Sweeper
from tests.conftest import TABLE, Items, Messages, make_sweeper
from tests.fakes import FakeClock, FakeContext
from tests.stores import Stores

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_sqs import SQSClient

LEASE = timedelta(minutes=5)
SECOND = timedelta(seconds=1)
PAGE_SIZE = 5

Create = Callable[[], str]
Run = Callable[[], Sweep]
Page = tuple[list[DueJob], bool]


@pytest.fixture
def create(stores: Stores) -> Create:
    """Stores a job whose message is lost; gives its id."""
    numbers = iter(range(10_000))

    def create() -> str:
        event_id = f"0b6c2f4e-0000-4000-8000-{next(numbers):012}"
        stores.admission.create(NewJob(event_id, "local", "guideline_checklist", {}, "f"), timedelta(days=30))
        return event_id

    return create


@pytest.fixture
def sweeper(stores: Stores, queue: JobQueue, logger: Logger) -> Sweeper:
    return make_sweeper(stores, queue, logger, page_size=PAGE_SIZE)


@pytest.fixture
def sweep(sweeper: Sweeper, clock: FakeClock) -> Run:
    return lambda: sweeper.sweep(clock() + timedelta(minutes=1))


def test_a_job_whose_message_was_lost_is_sent_again(
    create: Create, sweep: Run, clock: FakeClock, messages: Messages
) -> None:
    event_id = create()
    clock.advance(DISPATCH_GRACE)

    assert sweep() == Sweep(sent=1)
    assert messages.waiting() == [{"event_id": event_id}]


def test_a_job_that_is_not_due_is_left_alone(create: Create, sweep: Run, clock: FakeClock, messages: Messages) -> None:
    create()
    clock.advance(DISPATCH_GRACE - SECOND)

    assert sweep() == Sweep()
    assert messages.count() == 0


def test_a_job_whose_worker_died_is_sent_when_its_lease_has_ended(
    create: Create, sweep: Run, stores: Stores, clock: FakeClock
) -> None:
    event_id = create()
    stores.claim(event_id, clock() + LEASE)

    clock.advance(LEASE)
    assert sweep() == Sweep()
    clock.advance(SECOND)
    assert sweep() == Sweep(sent=1)
    assert stores.claim(event_id, clock() + LEASE).number == 2


def test_a_final_job_is_never_sent(create: Create, sweep: Run, stores: Stores, clock: FakeClock) -> None:
    event_id = create()
    stores.claims.finish(stores.claim(event_id, clock() + LEASE))
    clock.advance(timedelta(days=1))

    assert sweep() == Sweep()


def test_a_waiting_job_is_sent_half_as_often_each_time(create: Create, sweep: Run, clock: FakeClock) -> None:
    create()
    minutes_of_sending = []
    for minute in range(5, 24 * 60, 5):
        clock.advance(timedelta(minutes=5))
        if sweep().sent:
            minutes_of_sending.append(minute)

    gaps = [after - before for before, after in pairwise(minutes_of_sending)]
    assert minutes_of_sending[0] == 5
    assert gaps[:6] == [10, 20, 40, 80, 160, 320]
    assert all(gap == MAX_RESEND_GAP / timedelta(minutes=1) for gap in gaps[6:])


def test_a_queue_that_is_down_for_hours_does_not_stop_the_sweeper(
    create: Create, sweep: Run, clock: FakeClock, sqs: "SQSClient", queue_url: str
) -> None:
    create()
    clock.advance(DISPATCH_GRACE)
    sqs.delete_queue(QueueUrl=queue_url)
    for _ in range(50):
        sweep()

    sqs.create_queue(QueueName="jobs")
    assert sweep() == Sweep(sent=1)


def test_a_sweep_sends_a_bounded_number(
    create: Create, stores: Stores, queue: JobQueue, clock: FakeClock, logger: Logger
) -> None:
    for _ in range(30):
        create()
    clock.advance(DISPATCH_GRACE)
    sweeper = make_sweeper(stores, queue, logger, page_size=1, most=10)

    sweeps = [sweeper.sweep(clock() + timedelta(minutes=1)) for _ in range(4)]

    assert all(sweep.sent <= 10 + 8 for sweep in sweeps)
    assert sum(sweep.sent for sweep in sweeps) == 30
    assert sweeps[0].unfinished


def test_two_sweepers_do_not_both_send(
    create: Create, sweep: Run, stores: Stores, clock: FakeClock, messages: Messages
) -> None:
    # given two sweepers that have both read the same due job
    create()
    clock.advance(DISPATCH_GRACE)
    (due,) = (job for shard in range(8) for job in stores.due.due_jobs(shard, 10)[0])

    # when both put it off
    outcomes = [stores.due.postpone(due, clock() + LEASE), stores.due.postpone(due, clock() + LEASE)]

    # then only one of them may send it
    assert outcomes == [True, False]


def test_a_backlog_is_seen_to_the_end_in_pages(
    create: Create, sweep: Run, clock: FakeClock, messages: Messages
) -> None:
    count = 10 * PAGE_SIZE
    for _ in range(count):
        create()
    clock.advance(DISPATCH_GRACE)

    assert sweep() == Sweep(sent=count)
    assert messages.count() == count
    assert sweep() == Sweep()


def test_a_sweep_that_runs_out_of_time_says_so(create: Create, sweeper: Sweeper, clock: FakeClock) -> None:
    create()
    clock.advance(DISPATCH_GRACE)

    assert sweeper.sweep(clock()) == Sweep(unfinished=True)


def test_a_job_that_takes_its_workers_down_fails_in_the_end(
    create: Create, sweep: Run, stores: Stores, clock: FakeClock, items: Items
) -> None:
    event_id = create()
    for _ in range(MAX_CRASHES):
        stores.claim(event_id, clock() + LEASE)
        clock.advance(LEASE + SECOND)

    assert sweep() == Sweep(failed=1)
    job = stores.jobs.get("local", event_id)
    assert job.status is Status.FAILED
    assert job.error is not None
    assert job.error.type == "worker_lost"
    assert items.due() == []


@pytest.mark.parametrize("had_a_worker", [False, True])
def test_what_the_queue_does_not_take_is_due_at_once_again(
    create: Create,
    sweep: Run,
    stores: Stores,
    clock: FakeClock,
    sqs: "SQSClient",
    queue_url: str,
    had_a_worker: bool,
) -> None:
    event_id = create()
    if had_a_worker:
        stores.claim(event_id, clock() + LEASE)
    clock.advance(LEASE + SECOND)
    sqs.delete_queue(QueueUrl=queue_url)

    assert sweep() == Sweep(unfinished=True)

    sqs.create_queue(QueueName="jobs")
    assert sweep() == Sweep(sent=1)


def test_one_job_that_the_table_does_not_answer_for_harms_no_other(
    create: Create, sweep: Run, stores: Stores, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    unlucky, _ = create(), create()
    clock.advance(DISPATCH_GRACE)
    postpone = stores.due.postpone

    def flaky(due: DueJob, until: datetime, sends: int = 0) -> bool:
        if due.event_id == unlucky:
            raise Unavailable("throttled")
        return postpone(due, until, sends)

    monkeypatch.setattr(stores.due, "postpone", flaky)

    assert sweep().sent == 1


def test_a_delivery_that_can_not_be_read_keeps_no_job_from_being_sent(
    monkeypatch: pytest.MonkeyPatch, dynamodb: "DynamoDBClient", queue_url: str, messages: Messages
) -> None:
    for name in ("QUEUE_URL", "FLEX_QUEUE_URL", "WEBHOOK_QUEUE_URL"):
        monkeypatch.setenv(name, queue_url)
    monkeypatch.setenv("TABLE_NAME", TABLE)
    # With certificates of one's own its clients are botocore's, which moto answers.
    monkeypatch.setenv("AWS_CA_BUNDLE", str(Path(botocore.__file__).with_name("cacert.pem")))
    handler = importlib.reload(importlib.import_module("jobchain_sweeper.handler"))
    stores = Stores(dynamodb, TABLE, lambda: utc_now() - timedelta(hours=1))
    stores.admission.create(NewJob("0b6c2f4e-0000-4000-8000-000000000001", "local", "c", {}, "f"), timedelta(days=30))
    Table(dynamodb, TABLE).put({"pk": "WEBHOOKS#local", "sk": "DELIVERY#1", "due_shard": SHARDS[0], "due_at": 1})

    with pytest.raises(KeyError, match="webhook_id"):
        handler.lambda_handler({}, FakeContext())
    assert messages.count() == 1, "the run fails, so that its alarm rings, when the jobs are swept"


def test_a_shard_that_can_not_be_read_is_left_for_the_next_sweep(
    create: Create, sweep: Run, stores: Stores, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    create()
    clock.advance(DISPATCH_GRACE)
    (due,) = (shard for shard in Due.SENT.value if stores.due.due_jobs(shard, 1)[0])
    other = (due + 1) % len(Due.SENT.value)
    due_jobs = stores.due.due_jobs
    monkeypatch.setattr(
        stores.due, "due_jobs", lambda shard, limit, since: _fail_for({other}, shard, due_jobs(shard, limit, since))
    )

    assert sweep() == Sweep(sent=1, unfinished=True)


def test_a_sweep_that_can_read_nothing_fails(
    create: Create, sweep: Run, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stores.due, "due_jobs", lambda shard, limit, since: _fail_for({*range(20)}, shard, ([], False)))

    with pytest.raises(Unavailable):
        sweep()


class TestWhatHasNoMessage:
    def test_is_sent_in_the_next_sweep(
        self, create: Create, sweep: Run, stores: Stores, clock: FakeClock, messages: Messages
    ) -> None:
        event_id = create()
        stores.due.mark_due(event_id, clock())

        assert sweep() == Sweep(sent=1)
        assert messages.waiting() == [{"event_id": event_id}]
        # From now on it is a job as any other whose message was sent.
        assert sweep() == Sweep()
        clock.advance(DISPATCH_GRACE)
        assert sweep() == Sweep(sent=1)

    def test_is_sent_when_a_wait_is_over_that_the_queue_cannot_delay(
        self, create: Create, sweep: Run, stores: Stores, clock: FakeClock, messages: Messages
    ) -> None:
        event_id = create()
        wait = timedelta(hours=8, seconds=0.5)
        stores.claims.release(stores.claim(event_id, clock() + LEASE), wait, {}, NO_BILL)

        clock.advance(wait)
        assert sweep() == Sweep(), "it would come back: a worker refuses it"
        clock.advance(SECOND / 2)
        assert sweep() == Sweep(sent=1)
        assert stores.claim(event_id, clock() + LEASE).number == 2

    def test_is_due_when_its_lease_ends_once_a_worker_has_it_all_the_same(
        self, create: Create, sweep: Run, stores: Stores, clock: FakeClock
    ) -> None:
        event_id = create()
        stores.due.mark_due(event_id, clock())
        stores.claim(event_id, clock() + LEASE)

        assert sweep() == Sweep()
        clock.advance(LEASE + SECOND)
        assert sweep() == Sweep(sent=1)

    def test_is_not_sent_twice_though_a_worker_takes_it_while_it_is_sent(
        self,
        create: Create,
        sweep: Run,
        stores: Stores,
        queue: JobQueue,
        clock: FakeClock,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        event_id = create()
        stores.due.mark_due(event_id, clock())
        send_batch = queue.send_batch

        def claimed_at_once(jobs: Sequence[tuple[str, str]], tier: Tier) -> list[str]:
            refused = send_batch(jobs, tier)
            stores.claim(event_id, clock() + LEASE)
            return refused

        monkeypatch.setattr(queue, "send_batch", claimed_at_once)

        assert sweep() == Sweep(sent=1)
        assert sweep() == Sweep()

    def test_stays_due_while_the_queue_refuses_it(
        self, create: Create, sweep: Run, stores: Stores, clock: FakeClock, queue: JobQueue, messages: Messages
    ) -> None:
        event_id = create()
        stores.due.mark_due(event_id, clock())
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(queue, "send_batch", refuse)
            assert sweep() == Sweep(unfinished=True)

        assert sweep() == Sweep(sent=1)
        assert messages.waiting() == [{"event_id": event_id}]

    def test_comes_before_what_may_have_lost_its_message(
        self, create: Create, stores: Stores, queue: JobQueue, clock: FakeClock, logger: Logger
    ) -> None:
        # given a sweep that the queue lets send one message
        for _ in range(10):
            create()
        clock.advance(2 * DISPATCH_GRACE)
        event_id = create()
        stores.due.mark_due(event_id, clock())
        asked: list[str] = []

        def take_one(jobs: Sequence[tuple[str, str]], _: Tier) -> list[str]:
            asked.extend(job for job, _ in jobs)
            return [job for job, _ in jobs][1:]

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(queue, "send_batch", take_one)
            make_sweeper(stores, queue, logger).sweep(clock() + timedelta(minutes=1))

        assert asked[0] == event_id

    def test_may_be_so_much_that_it_takes_several_sweeps_and_delays_nothing_else(
        self, create: Create, stores: Stores, clock: FakeClock, queue: JobQueue, logger: Logger
    ) -> None:
        # given more of it than a sweep has time for, and a job whose worker vanished
        vanished = create()
        stores.claim(vanished, clock())
        for _ in range(60):
            stores.due.mark_due(create(), clock())
        clock.advance(SECOND)
        send_batch = queue.send_batch
        sent: list[str] = []

        def slow(jobs: Sequence[tuple[str, str]], tier: Tier) -> list[str]:
            sent.extend(job for job, _ in jobs)
            clock.advance(10 * SECOND)
            return send_batch(jobs, tier)

        # when
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(queue, "send_batch", slow)
            sweep = make_sweeper(stores, queue, logger, page_size=1).sweep(clock() + timedelta(minutes=1))

        # then
        assert sweep.unfinished
        assert vanished in sent
        assert len(sent) < 60


def test_what_the_queue_refuses_of_jobs_that_are_sent_again_has_no_message(
    create: Create, sweep: Run, clock: FakeClock, queue: JobQueue, items: Items
) -> None:
    event_id = create()
    clock.advance(DISPATCH_GRACE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(queue, "send_batch", refuse)
        assert sweep() == Sweep(unfinished=True)

    assert int(items.meta(event_id)["due_shard"]["N"]) in Due.UNSENT.value
    assert sweep() == Sweep(sent=1)


def test_jobs_whose_workers_vanished_are_sent_before_those_that_may_have_lost_their_messages(
    create: Create, sweep: Run, stores: Stores, clock: FakeClock, messages: Messages
) -> None:
    waiting = [create() for _ in range(3)]
    vanished = create()
    stores.claim(vanished, clock() + timedelta(minutes=1))
    clock.advance(DISPATCH_GRACE)

    assert sweep() == Sweep(sent=4)
    first, *others = [message["event_id"] for message in messages.waiting()]
    assert (first, sorted(others)) == (vanished, waiting)


class Backlog:
    """Many jobs that wait, each with its message in the queue, and have been due for long.

    The queue only tells of the messages: moto takes minutes for thousands.
    """

    SIZE = 5000

    def __init__(
        self,
        dynamodb: "DynamoDBClient",
        queue: JobQueue,
        create: Create,
        clock: FakeClock,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        table = Table(dynamodb, TABLE)
        meta = table.get(job_key(create()))
        assert meta
        ids = [f"0b6c2f4e-0000-4000-8000-1{number:011}" for number in range(self.SIZE)]
        table.put_many(
            [{**meta, **job_key(event_id), "due_shard": Due.SENT.shard(event_id), "uid": event_id} for event_id in ids]
        )
        depth = queue.depth
        monkeypatch.setattr(
            queue, "depth", lambda tier: replace(found := depth(tier), waiting=found.waiting + self.SIZE)
        )
        clock.advance(2 * DISPATCH_GRACE)


class TestABacklog:
    @pytest.fixture(autouse=True)
    def backlog(
        self,
        dynamodb: "DynamoDBClient",
        queue: JobQueue,
        create: Create,
        clock: FakeClock,
        monkeypatch: pytest.MonkeyPatch,
    ) -> Backlog:
        return Backlog(dynamodb, queue, create, clock, monkeypatch)

    def test_hides_no_known_loss_and_gets_no_copies(
        self,
        dynamodb: "DynamoDBClient",
        template: dict[str, Any],
        create: Create,
        stores: Stores,
        queue: JobQueue,
        clock: FakeClock,
        logger: Logger,
        messages: Messages,
    ) -> None:
        # given a job whose send failed, one whose worker vanished, and one whose worker has it for long
        unsent, vanished, held = create(), create(), create()
        stores.claim(vanished, clock() + LEASE)
        stores.claim(held, clock() + timedelta(hours=1))
        clock.advance(2 * LEASE)
        stores.due.mark_due(unsent, clock())
        schema = template["Resources"]["JobTable"]["Properties"]
        meter = Meter(dynamodb, boto3.client("dynamodb"), TABLE, indexes(schema))

        # when
        with meter.counting() as cost:
            done = make_sweeper(stores, queue, logger, page_size=25).sweep(clock() + timedelta(minutes=1))

        # then the first two are sent, and the jobs that wait have cost no message and no write
        assert done == Sweep(sent=2, backlog=Backlog.SIZE + 1), "the first message is counted already"
        assert messages.count() == 2
        assert cost.by_item == Counter(META=2, due=2 * 2, unfinished=2 * 2)
        # Each shard of `due`, META of the three, and half a unit for each 4 KB of `unfinished`: 49 of its entries.
        assert cost.reads == 20 * 0.5 + 3 + 51
        # Neither is due any more, and neither are the copies.
        assert make_sweeper(stores, queue, logger).sweep(clock() + timedelta(minutes=1)).sent == 0

    def test_lets_a_job_that_is_overdue_for_hours_be_sent_again_a_few_at_a_time(
        self, create: Create, sweep: Run, stores: Stores, clock: FakeClock
    ) -> None:
        clock.advance(MAX_RESEND_GAP)

        sweeps = [sweep() for _ in range(2)]

        assert all(MOST_OVERDUE <= done.sent < MOST_OVERDUE + 8 * PAGE_SIZE for done in sweeps)
        assert all(done.unfinished for done in sweeps)


@pytest.mark.parametrize(("waiting", "delayed", "in_flight", "sent"), [(499, 0, 10_000, 1), (250, 250, 0, 0)])
def test_a_backlog_is_what_waits_for_a_worker_and_not_what_workers_have(
    create: Create,
    stores: Stores,
    queue: JobQueue,
    clock: FakeClock,
    logger: Logger,
    monkeypatch: pytest.MonkeyPatch,
    waiting: int,
    delayed: int,
    in_flight: int,
    sent: int,
) -> None:
    create()
    clock.advance(DISPATCH_GRACE)
    monkeypatch.setattr(queue, "depth", lambda tier: QueueDepth(waiting, in_flight, delayed))

    assert make_sweeper(stores, queue, logger).sweep(clock() + timedelta(minutes=1)).sent == sent


def test_a_job_that_an_earlier_version_let_wait_for_hours_is_sent_though_there_is_a_backlog(
    create: Create,
    sweep: Run,
    stores: Stores,
    queue: JobQueue,
    dynamodb: "DynamoDBClient",
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # given a job that has no message, and is due as others that have one
    event_id = create()
    stores.claims.release(stores.claim(event_id, clock() + LEASE), timedelta(hours=8), {}, NO_BILL)
    due_at = epoch(clock() + timedelta(hours=8) + DISPATCH_GRACE)
    changes = {"due_shard": Due.SENT.shard(event_id), "due_at": due_at, "sends": 1}
    Table(dynamodb, TABLE).write(update(job_key(event_id), "attribute_exists(pk)", {}, changes))
    monkeypatch.setattr(queue, "depth", lambda tier: QueueDepth(waiting=100_000, in_flight=0, delayed=0))

    # when
    clock.advance(timedelta(hours=8) + DISPATCH_GRACE + MAX_RESEND_GAP - SECOND)
    before = sweep()
    clock.advance(SECOND)

    # then
    assert before == Sweep(backlog=100_000)
    assert sweep() == Sweep(sent=1, backlog=100_000)


def test_the_flex_queues_backlog_hides_no_loss_of_a_standard_job(
    create: Create, stores: Stores, sqs: "SQSClient", queue_url: str, clock: FakeClock, logger: Logger
) -> None:
    flex_url = sqs.create_queue(QueueName="flex")["QueueUrl"]
    queue = JobQueue(sqs, queue_url, flex_url)
    for number in range(BACKLOG):
        queue.send(f"0b6c2f4e-0000-4000-8000-1{number:011}", "local", tier=Tier.FLEX)
    create()
    clock.advance(DISPATCH_GRACE)

    assert make_sweeper(stores, queue, logger).sweep(clock() + timedelta(minutes=1)) == Sweep(sent=1)


def refuse(jobs: Sequence[tuple[str, str]], _: Tier) -> list[str]:
    """A queue that takes no message."""
    return [event_id for event_id, _ in jobs]


def _fail_for(shards: set[int], shard: int, page: Page) -> Page:
    if shard in shards:
        raise Unavailable("throttled")
    return page
