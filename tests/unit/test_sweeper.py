"""The sweeper: a job without a worker when it is due is sent again, once, and less and less often."""

from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from aws_lambda_powertools import Logger

from jobchain.aws.items import DISPATCH_GRACE, Due
from jobchain.aws.queue import JobQueue
from jobchain.domain import DueJob, NewJob, Status
from jobchain.errors import Unavailable
from jobchain_sweeper.resending import MAX_CRASHES, MAX_RESEND_GAP
from jobchain_sweeper.sweeper import Sweep, Sweeper
from tests.conftest import Items, Messages, make_sweeper
from tests.fakes import FakeClock
from tests.stores import Stores

if TYPE_CHECKING:
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


def _fail_for(shards: set[int], shard: int, page: Page) -> Page:
    if shard in shards:
        raise Unavailable("throttled")
    return page
