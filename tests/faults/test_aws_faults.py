"""AWS fails between the functions and their table and queue: what was accepted ends, once, and nothing else is left."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import httpx2
import pytest

from jobchain.aws.attributes import from_item
from jobchain.aws.items import spending_of
from tests.e2e.conftest import FINAL, poll
from tests.fake_model.answers import STEPS
from tests.fake_model.replies import SERVER_ERROR
from tests.faults.aws_proxy import (
    ACCESS_DENIED,
    ANSWER_LOST,
    CALL_LOST,
    INTERNAL_ERROR,
    KEY_DISABLED,
    RATE_EXCEEDED,
    TABLE_GONE,
    THROTTLED,
    TRANSACTION_THROTTLED,
    UNAVAILABLE,
    slow,
)
from tests.faults.conftest import FaultyStack, assert_right, used

# They wait for timeouts of real clients: `make faults` has the time.
pytestmark = pytest.mark.faults

API_TIMEOUT = 20  # seconds, well inside the 25 that the function has

ONCE = [(step, "answer") for step in STEPS]


def timed_post(proxied: FaultyStack, marker: str, key: str | None = None) -> tuple[httpx2.Response, float]:
    """The answer, and how many seconds it took."""
    started = time.monotonic()
    answer = proxied.post(marker, key)
    return answer, time.monotonic() - started


def assert_unavailable(answer: httpx2.Response) -> None:
    assert answer.status_code == 503, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["type"] == "urn:jobchain:problem:unavailable"
    assert int(answer.headers["Retry-After"]) > 0


def assert_bought_once(proxied: FaultyStack, marker: str, job: Mapping[str, Any]) -> None:
    """The job is right, each of its steps was asked for once, and counted once."""
    assert_right(job, marker)
    assert proxied.model.journal.replies(marker) == ONCE
    assert job["usage"] == used(3)


# --- POST while the table is in trouble ------------------------------------------------------------

TABLE_TROUBLE = {
    "throttled": THROTTLED,
    "rate exceeded": RATE_EXCEEDED,
    "transaction throttled": TRANSACTION_THROTTLED,
    "500": INTERNAL_ERROR,
    "503": UNAVAILABLE,
    "connection lost": CALL_LOST,
}


@pytest.mark.parametrize("fault", TABLE_TROUBLE)
def test_a_post_while_the_table_fails_is_refused_in_time_and_leaves_nothing_behind(
    proxied: FaultyStack, fault: str
) -> None:
    items = proxied.count_items()

    with proxied.proxy.failing(TABLE_TROUBLE[fault], "DynamoDB"):
        answer, seconds = timed_post(proxied, "job-refused")

    assert_unavailable(answer)
    assert seconds < API_TIMEOUT
    assert proxied.count_items() == items
    assert proxied.proxy.passed("SendMessage") == 0


def test_a_post_while_aws_refuses_connections_is_refused_in_time_and_leaves_nothing_behind(
    proxied: FaultyStack,
) -> None:
    items = proxied.count_items()

    with proxied.proxy.down():
        answer, seconds = timed_post(proxied, "job-refused")

    assert_unavailable(answer)
    assert seconds < API_TIMEOUT
    assert proxied.count_items() == items
    # and the next one is taken
    event_id = proxied.submit("job-after-down")
    assert_bought_once(proxied, "job-after-down", proxied.finished(event_id))


def test_a_post_whose_write_happened_unseen_is_accepted_and_runs_once(proxied: FaultyStack) -> None:
    # given a table that writes, and whose answers are all lost
    with proxied.proxy.failing(ANSWER_LOST, "TransactWriteItems"):
        answer, seconds = timed_post(proxied, "job-unseen")

    # then the job is found to be there, and is accepted
    assert answer.status_code == 201
    assert seconds < API_TIMEOUT
    assert_bought_once(proxied, "job-unseen", proxied.finished(answer.json()["event_id"]))


def test_a_post_to_a_slow_table_is_refused_in_time_and_its_repeat_finds_at_most_one_job(proxied: FaultyStack) -> None:
    # given a table that is too slow to be waited for
    with proxied.proxy.failing(slow(10), "TransactWriteItems"):
        answer, seconds = timed_post(proxied, "job-slow", key="job-slow")
        assert_unavailable(answer)
        assert seconds < API_TIMEOUT
        poll(lambda: proxied.proxy.passed("TransactWriteItems") == 2, 15)

    # when the caller asks again
    repeated = proxied.post("job-slow", key="job-slow")

    # then there is one job, which runs once
    event_id = repeated.json()["event_id"]
    proxied.let_time_pass(event_id)
    proxied.sweep()
    assert_bought_once(proxied, "job-slow", proxied.finished(event_id))


def test_a_large_batch_on_a_slow_table_is_accepted_and_no_job_of_it_is_called_refused(proxied: FaultyStack) -> None:
    jobs = [{"input_text": f"Rule {number} must be kept."} for number in range(100)]

    with proxied.workers_paused(), proxied.proxy.failing(slow(2.5), "TransactWriteItems"):
        answer = proxied.http.post("/jobs/batch", json={"jobs": jobs})

    assert answer.status_code == 200
    assert {result.get("status") for result in answer.json()["results"]} == {"pending"}
    assert proxied.proxy.passed("TransactWriteItems") == 2


def test_a_post_whose_first_answer_is_lost_is_accepted_as_one_new_job(proxied: FaultyStack) -> None:
    proxied.proxy.fault(ANSWER_LOST, "TransactWriteItems", holding="fingerprint")

    answer = proxied.post("job-created-twice")

    assert answer.status_code == 201
    assert proxied.proxy.met("TransactWriteItems", ANSWER_LOST) == 1
    assert_bought_once(proxied, "job-created-twice", proxied.finished(answer.json()["event_id"]))


def test_reading_a_job_while_the_table_fails_is_refused_and_works_again_afterwards(proxied: FaultyStack) -> None:
    event_id = proxied.submit("job-read")
    proxied.finished(event_id)

    with proxied.proxy.failing(THROTTLED, "DynamoDB"):
        assert_unavailable(proxied.http.get(f"/jobs/{event_id}"))
        # An answer of before is given for five seconds.
        poll(lambda: proxied.http.get("/health").status_code == 503)
        assert_unavailable(proxied.http.get("/health"))

    assert proxied.job(event_id)["status"] == "completed"
    assert proxied.http.get("/health").status_code == 200


# --- what AWS refuses until an operator acts --------------------------------------------------------

REFUSALS = {"permission": ACCESS_DENIED, "encryption key": KEY_DISABLED, "missing table": TABLE_GONE}


def assert_refused(answer: httpx2.Response, code: str) -> None:
    assert answer.status_code == 500, answer.text
    assert answer.json()["type"] == "urn:jobchain:problem:internal-error"
    assert "Retry-After" not in answer.headers
    assert code not in answer.text


@pytest.mark.parametrize("kind", REFUSALS)
def test_no_caller_is_told_to_try_again_what_only_an_operator_can_repair(proxied: FaultyStack, kind: str) -> None:
    refusal, items = REFUSALS[kind], proxied.count_items()
    event_id = proxied.submit(f"job-before-{kind.replace(' ', '-')}")
    proxied.finished(event_id)

    with proxied.proxy.failing(refusal, "DynamoDB"):
        assert_refused(proxied.post("job-refused"), refusal.name)
        assert_refused(proxied.http.get(f"/jobs/{event_id}"), refusal.name)
        poll(lambda: proxied.http.get("/health").status_code == 500)
        assert_refused(proxied.http.get("/health"), refusal.name)

    assert proxied.count_items() > items
    assert proxied.http.get("/health").status_code == 200


def test_the_health_sees_a_table_that_can_be_read_and_not_written(proxied: FaultyStack) -> None:
    with proxied.proxy.failing(ACCESS_DENIED, "PutItem"):
        poll(lambda: proxied.http.get("/health").status_code == 500)

    assert proxied.http.get("/health").json()["table"] == "ok"


def test_a_job_outlives_a_permission_that_its_worker_lacks_for_a_while(proxied: FaultyStack) -> None:
    proxied.proxy.fault(ACCESS_DENIED, "PutItem", times=2, holding="STEP#")

    job = proxied.finished(proxied.submit("job-denied"))

    assert proxied.proxy.met("PutItem", ACCESS_DENIED) == 2
    assert_bought_once(proxied, "job-denied", job)


# --- POST while the queue is in trouble ------------------------------------------------------------

QUEUE_TROUBLE = {"throttled": RATE_EXCEEDED, "500": INTERNAL_ERROR, "503": UNAVAILABLE, "connection lost": CALL_LOST}


@pytest.mark.parametrize("fault", QUEUE_TROUBLE)
def test_a_job_posted_while_the_queue_fails_is_accepted_and_completes_after_a_sweep(
    proxied: FaultyStack, fault: str
) -> None:
    # given a queue that takes nothing
    marker = f"job-unsent-{fault.replace(' ', '-')}"
    with proxied.proxy.failing(QUEUE_TROUBLE[fault], "SQS"):
        answer, seconds = timed_post(proxied, marker)
        assert answer.status_code == 201
        assert seconds < API_TIMEOUT

        # when a sweep can't send it either
        event_id = answer.json()["event_id"]
        proxied.sweep()
        assert proxied.job(event_id)["status"] == "pending"

    # then the next one does
    proxied.sweep()
    assert_bought_once(proxied, marker, proxied.finished(event_id))


def test_a_job_posted_while_the_queue_is_slow_is_accepted_in_time_and_runs_once(proxied: FaultyStack) -> None:
    with proxied.proxy.failing(slow(3), "SQS"):
        answer, seconds = timed_post(proxied, "job-slow-queue")

        assert answer.status_code == 201
        assert seconds < API_TIMEOUT
        # the API has given both tries up, and both arrive
        assert_bought_once(proxied, "job-slow-queue", proxied.finished(answer.json()["event_id"]))
    poll(lambda: proxied.proxy.passed("SendMessage") == 2)
    poll(lambda: all_handled(proxied))
    assert proxied.model.journal.replies("job-slow-queue") == ONCE


@pytest.mark.parametrize("times", [1, 2], ids=["one answer lost", "every answer lost"])
def test_a_message_sent_twice_because_its_answer_was_lost_costs_one_set_of_calls(
    proxied: FaultyStack, times: int
) -> None:
    proxied.proxy.fault(ANSWER_LOST, "SendMessage", times=times)

    answer = proxied.post(f"job-sent-{times}")

    assert answer.status_code == 201
    job = proxied.finished(answer.json()["event_id"])
    poll(lambda: all_handled(proxied))
    assert proxied.proxy.passed("SendMessage") == 2
    assert_bought_once(proxied, f"job-sent-{times}", job)
    assert job["attempts"] == 1


def all_handled(proxied: FaultyStack) -> bool:
    return not any(proxied.queued().values())


def test_a_post_is_answered_in_time_even_if_table_and_queue_are_slow_at_once(proxied: FaultyStack) -> None:
    proxied.proxy.fault(slow(3), "TransactWriteItems")
    with proxied.proxy.failing(slow(3), "SQS"), proxied.proxy.failing(slow(3), "UpdateItem"):
        answer, seconds = timed_post(proxied, "job-all-slow")

    assert answer.status_code == 201, answer.text
    assert seconds < API_TIMEOUT
    assert_bought_once(proxied, "job-all-slow", proxied.finished(answer.json()["event_id"]))


# --- answers that are lost on their way to the caller ----------------------------------------------


@pytest.fixture
def waiting(proxied: FaultyStack) -> Iterator[Callable[[str], str]]:
    """Makes jobs that no worker takes before the test is over."""
    with proxied.workers_paused():
        yield proxied.submit


def test_a_cancel_that_meets_its_own_write_is_a_cancel(proxied: FaultyStack, waiting: Callable[[str], str]) -> None:
    event_id = waiting("job-cancelled-twice")
    proxied.proxy.fault(ANSWER_LOST, "TransactWriteItems", holding='"cancelled"')

    answer = proxied.http.post(f"/jobs/{event_id}/cancel")

    assert proxied.proxy.met("TransactWriteItems", ANSWER_LOST) == 1
    assert (answer.status_code, answer.json()["status"]) == (200, "cancelled"), answer.text


def test_a_retry_that_meets_its_own_write_is_a_retry(proxied: FaultyStack, waiting: Callable[[str], str]) -> None:
    event_id = waiting("job-retried-twice")
    proxied.http.post(f"/jobs/{event_id}/cancel").raise_for_status()
    sent = proxied.proxy.passed("SendMessage")
    proxied.proxy.fault(ANSWER_LOST, "TransactWriteItems", holding='":seen"')

    answer = proxied.http.post(f"/jobs/{event_id}/retry")

    assert proxied.proxy.met("TransactWriteItems", ANSWER_LOST) == 1
    assert (answer.status_code, answer.json()["status"]) == (200, "pending"), answer.text
    assert proxied.proxy.passed("SendMessage") == sent + 1


def test_a_delete_that_meets_its_own_write_is_a_delete(proxied: FaultyStack, waiting: Callable[[str], str]) -> None:
    items = proxied.count_items()
    event_id = waiting("job-deleted-twice")
    proxied.http.post(f"/jobs/{event_id}/cancel").raise_for_status()
    proxied.proxy.fault(ANSWER_LOST, "TransactWriteItems")

    answer = proxied.http.delete(f"/jobs/{event_id}")

    assert proxied.proxy.met("TransactWriteItems", ANSWER_LOST) == 1
    assert answer.status_code == 204, answer.text
    assert proxied.count_items() == items


# --- answers that are lost on their way to the worker -----------------------------------------------

WRITES = {
    "save_step": ("PutItem", "STEP#"),
    "save_attempt": ("PutItem", "ATTEMPT#"),
    "claim": ("UpdateItem", "#lease_until = "),
    "release": ("TransactWriteItems", '":not_before"'),
    "finish": ("TransactWriteItems", '"completed"'),
}


@pytest.mark.parametrize("write", WRITES)
def test_a_worker_that_meets_its_own_write_goes_on(proxied: FaultyStack, write: str) -> None:
    # given a write that happens, and whose answer is lost
    operation, holding = WRITES[write]
    marker = f"job-lost-{write.replace('_', '-')}"
    again = write in ("release", "save_attempt")
    if again:
        proxied.model.script(marker, SERVER_ERROR, step="checklist")
    proxied.proxy.fault(ANSWER_LOST, operation, holding=holding)

    # when the SDK repeats it
    job = proxied.finished(proxied.submit(marker))

    # then it is as if it had not been
    assert proxied.proxy.met(operation, ANSWER_LOST) == 1
    assert_right(job, marker)
    asked = [step for step, reply in proxied.model.journal.replies(marker) if reply == "answer"]
    assert asked == list(STEPS)
    assert job["usage"] == used(3)
    assert job["attempts"] == (2 if again else 1)


def test_a_step_whose_every_answer_is_lost_is_stored_once_and_counted_once(proxied: FaultyStack) -> None:
    # The SDK gives up after four tries; the worker's own next try writes the same item.
    proxied.proxy.fault(ANSWER_LOST, "PutItem", times=4, holding="STEP#")

    job = proxied.finished(proxied.submit("job-step-unseen"))

    assert proxied.proxy.met("PutItem", ANSWER_LOST) == 4
    assert_bought_once(proxied, "job-step-unseen", job)


def test_a_claim_that_nobody_learns_of_costs_its_lease_and_not_the_job(proxied: FaultyStack) -> None:
    # given a worker that gives up, while the table says that it has the job
    proxied.proxy.fault(ANSWER_LOST, "UpdateItem", times=4, holding="#lease_until = ")
    event_id = proxied.submit("job-claim-unseen")
    poll(lambda: proxied.proxy.met("UpdateItem", ANSWER_LOST) == 4)
    assert proxied.meta(event_id)["status"]["S"] == "processing"
    assert proxied.model.journal.calls("job-claim-unseen") == []

    # when the lease is over
    proxied.let_time_pass(event_id)
    proxied.sweep()

    # then another one takes it
    job = proxied.finished(event_id)
    assert_right(job, "job-claim-unseen")
    assert proxied.model.journal.replies("job-claim-unseen") == ONCE
    assert job["attempts"] == 2

    # and records an estimate, as it can't know that no call was made
    spent = spending_of(from_item(proxied.meta(event_id)))
    assert (spent.calls, spent.estimated.calls) == (4, 1)
    assert spent.usage.input_tokens - spent.estimated.input_tokens == used(3)["input_tokens"]


def test_a_release_whose_message_can_not_be_sent_costs_time_and_not_the_job(proxied: FaultyStack) -> None:
    # given a step that is put off while the queue is down
    proxied.model.script("job-release-unsent", SERVER_ERROR, step="checklist")
    event_id = proxied.submit("job-release-unsent")
    with proxied.proxy.failing(UNAVAILABLE, "SQS"):
        poll(lambda: proxied.proxy.met("SendMessage", UNAVAILABLE) == 4)

    # when the job falls due
    proxied.let_time_pass(event_id)
    proxied.sweep()

    # then it goes on where it stopped
    assert_right(proxied.finished(event_id), "job-release-unsent")
    assert len(proxied.model.journal.calls("job-release-unsent", "summary")) == 1
    assert len(proxied.model.journal.calls("job-release-unsent")) == 4


def test_a_job_ends_as_soon_as_the_table_takes_transactions_again(proxied: FaultyStack) -> None:
    proxied.proxy.fault(TRANSACTION_THROTTLED, "TransactWriteItems", times=2, holding='"completed"')

    job = proxied.finished(proxied.submit("job-transaction-throttled"))

    assert proxied.proxy.met("TransactWriteItems", TRANSACTION_THROTTLED) == 2
    assert_bought_once(proxied, "job-transaction-throttled", job)
    assert job["attempts"] == 1


def test_a_step_is_stored_as_soon_as_the_table_takes_writes_again(proxied: FaultyStack) -> None:
    # The SDK gives up after four tries, and the worker tries again.
    proxied.proxy.fault(THROTTLED, "PutItem", times=6, holding="STEP#")

    job = proxied.finished(proxied.submit("job-put-throttled"))

    assert proxied.proxy.met("PutItem", THROTTLED) == 6
    assert_bought_once(proxied, "job-put-throttled", job)
    assert job["attempts"] == 1


def test_a_job_that_a_sweep_put_off_unseen_is_sent_all_the_same(
    proxied: FaultyStack, waiting: Callable[[str], str]
) -> None:
    event_id = waiting("job-put-off-unseen")
    proxied.make_due(event_id)
    proxied.proxy.fault(ANSWER_LOST, "UpdateItem", holding='":seen"')

    proxied.sweep()

    assert proxied.proxy.met("UpdateItem", ANSWER_LOST) == 1
    assert proxied.proxy.passed("SendMessageBatch") == 1


def test_a_finish_that_nobody_learns_of_is_a_finish(proxied: FaultyStack) -> None:
    with proxied.visibility_timeout(1):
        proxied.proxy.fault(ANSWER_LOST, "TransactWriteItems", times=4, holding='"completed"')
        job = proxied.finished(proxied.submit("job-finish-unseen"))

        # and the message, which comes back, is dropped
        poll(lambda: proxied.proxy.met("TransactWriteItems", ANSWER_LOST) == 4)
        poll(lambda: not proxied.queued()["in_flight"] and not proxied.queued()["waiting"])
    assert_bought_once(proxied, "job-finish-unseen", job)


# --- while many jobs run ---------------------------------------------------------------------------


@pytest.fixture
def slow_model(proxied: FaultyStack) -> Iterator[None]:
    """Calls take long enough for a fault to meet jobs at every step."""
    proxied.model.latency = 0.3
    yield
    proxied.model.latency = 0


def submit_many(proxied: FaultyStack, name: str, count: int) -> dict[str, str]:
    """The `event_id` of each of the jobs, by its marker."""
    markers = [f"job-{name}-{number}" for number in range(count)]
    with ThreadPoolExecutor(8) as pool:
        return dict(zip(markers, pool.map(proxied.submit, markers), strict=True))


def sweep_until_final(proxied: FaultyStack, event_ids: Iterable[str], limit_seconds: float) -> None:
    """Sweeps again and again. What waits for a worker is due at once, what a worker gave up after its lease."""

    def look() -> bool:
        statuses = {event_id: proxied.meta(event_id)["status"]["S"] for event_id in event_ids}
        for event_id in [event_id for event_id, status in statuses.items() if status == "pending"]:
            with suppress(proxied.stack.client("dynamodb").exceptions.ConditionalCheckFailedException):
                proxied.make_due(event_id)
        proxied.sweep()
        return all(status in FINAL for status in statuses.values())

    poll(look, limit_seconds)


def test_jobs_outlast_a_table_that_throttles_everything_for_a_while(proxied: FaultyStack, slow_model: None) -> None:
    # given thirty jobs of which some are under way
    with proxied.workers_paused():
        ids = submit_many(proxied, "throttled", 30)
    poll(lambda: any(proxied.model.journal.calls(marker, "checklist") for marker in ids))

    # when the table throttles everything until workers have given up
    with proxied.proxy.failing(THROTTLED, "DynamoDB"):
        poll(lambda: sum(proxied.proxy.faults().values()) > 100)
    sweep_until_final(proxied, ids.values(), 55)

    # then all complete, and no step is charged twice
    for marker, event_id in ids.items():
        assert_bought_once(proxied, marker, proxied.job(event_id))


def test_jobs_outlast_a_table_of_which_every_third_answer_is_lost(proxied: FaultyStack) -> None:
    with proxied.workers_paused():
        ids = submit_many(proxied, "every-third", 20)

    with (
        proxied.proxy.failing(ANSWER_LOST, "UpdateItem", every=3),
        proxied.proxy.failing(ANSWER_LOST, "PutItem", every=3),
        proxied.proxy.failing(ANSWER_LOST, "TransactWriteItems", every=3),
    ):
        jobs = proxied.all_finished(ids.values())

    assert proxied.proxy.met("UpdateItem", ANSWER_LOST) > 5
    assert proxied.proxy.met("TransactWriteItems", ANSWER_LOST) > 5
    assert proxied.proxy.met("PutItem", ANSWER_LOST) > 25
    for marker, job in zip(ids, jobs, strict=True):
        assert_bought_once(proxied, marker, job)


# --- messages that are not ours --------------------------------------------------------------------

NOT_OURS = {
    "malformed JSON": '{"event_id": ',
    "no id": '{"name": "job"}',
    "no id of a job": '{"event_id": "job-1"}',
}


@pytest.mark.parametrize("kind", NOT_OURS)
def test_a_poisoned_record_harms_none_of_the_nine_beside_it_and_ends_in_the_dead_letters(
    world: FaultyStack, kind: str
) -> None:
    sqs = world.stack.client("sqs")
    with world.visibility_timeout(1):
        # given a batch of nine jobs and one message that is not ours
        with world.workers_paused():
            ids = submit_many(world, f"beside-{kind.replace(' ', '-')}", 9)
            sqs.send_message(QueueUrl=world.stack.queue_url, MessageBody=NOT_OURS[kind])
            assert world.queued()["waiting"] == 10

        # then the nine complete
        for marker, job in zip(ids, world.all_finished(ids.values()), strict=True):
            assert_right(job, marker)
            assert job["attempts"] == 1
            assert world.model.journal.replies(marker) == ONCE

        # and the tenth comes back until it is put aside, as it was
        (dead,) = poll(
            lambda: sqs.receive_message(
                QueueUrl=world.stack.dead_letter_url, AttributeNames=["ApproximateReceiveCount"]
            ).get("Messages")
        )
    assert dead["Body"] == NOT_OURS[kind]
    assert all_handled(world)
    sqs.delete_message(QueueUrl=world.stack.dead_letter_url, ReceiptHandle=dead["ReceiptHandle"])
