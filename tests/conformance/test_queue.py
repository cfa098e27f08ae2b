"""What the queue, the worker and the sweeper's schedule do between a job's acceptance and its end."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from time import sleep
from typing import Any
from uuid import uuid4

import pytest

from tests.conformance.api import FINAL, TEXT, Api, Job
from tests.conformance.faulty_model import RETRY_AFTER, order
from tests.conformance.target import Parts, Target

FOREIGN = f"conformance: not a job's message {uuid4()}"
_NUMBERS = ("", "NotVisible", "Delayed")


class TestAModelCallThatMayGoWellLater:
    @pytest.mark.needs("model_faults")
    def test_is_made_again_after_the_seconds_that_the_server_asked_for(self, api: Api) -> None:
        event_id = api.submit(f"{TEXT} {order('throttle')}")

        waiting, job = put_off(api, event_id), api.finished(event_id)

        assert job["status"] == "completed"
        assert seconds_put_off(waiting, job) >= RETRY_AFTER
        assert (job["attempts"], job["calls"], job["retries"]) == (2, 4, 1)

    @pytest.mark.needs("model_faults", "parts", "alone")
    def test_waits_in_the_queue_and_not_in_a_worker(self, api: Api, target: Target) -> None:
        assert target.parts
        event_id = api.submit(f"{TEXT} {order('break')}")

        api.poll(lambda: count(target.parts)["Delayed"])

        assert api.finished(event_id)["status"] == "completed"

    @pytest.mark.needs("model_faults")
    def test_is_made_again_after_a_backoff_of_the_worker_s_own(self, api: Api, target: Target) -> None:
        event_id = api.submit(f"{TEXT} {order('break')}")

        waiting, job = put_off(api, event_id), api.finished(event_id)

        assert job["status"] == "completed"
        # Give or take a fifth.
        assert seconds_put_off(waiting, job) >= 0.8 * target.first_backoff_seconds
        assert (job["attempts"], job["calls"], job["retries"]) == (2, 4, 1)


def put_off(api: Api, event_id: str) -> Job:
    """The job once a worker has released it, or has ended it."""
    given_back = ("pending", *FINAL)
    job: Job = api.poll(lambda: (job := api.job(event_id))["attempts"] and job["status"] in given_back and job)
    return job


def seconds_put_off(waiting: Job, job: Job) -> float:
    """From when the worker gave the job back to the start of the call that went well."""
    given_back, started = waiting["updated_at"], job["steps"][0]["started_at"]
    return (datetime.fromisoformat(started) - datetime.fromisoformat(given_back)).total_seconds()


@pytest.fixture(scope="module")
def good(api: Api, target: Target) -> Iterator[list[Job]]:
    """Jobs whose messages came in one batch with one that is not ours, once the queue is rid of them all."""
    assert target.parts
    ids = [api.unsent() for _ in range(4)]
    before = sum(count(target.parts).values())
    with short_visibility(target):
        send(target, *map(message, ids[:2]), FOREIGN, *map(message, ids[2:]))
        jobs = [api.finished(event_id) for event_id in ids]
        api.poll(lambda: sum(count(target.parts).values()) <= before)
    yield jobs
    dead_letters(target, FOREIGN, take=True)


@pytest.mark.needs("alone")
class TestABatchOfMessagesWithOneThatIsNotOurs:
    def test_runs_the_others_on_their_first_delivery(self, good: list[Job]) -> None:
        assert [(job["status"], job["attempts"]) for job in good] == [("completed", 1)] * len(good)

    def test_puts_it_alone_among_the_dead_letters_as_it_was(self, api: Api, target: Target, good: list[Job]) -> None:
        letters = api.poll(lambda: (found := dead_letters(target)) and FOREIGN in found and found)

        assert letters.count(FOREIGN) == 1
        assert not [letter for letter in letters if any(job["event_id"] in letter for job in good)]


@pytest.mark.needs("parts")
def test_a_message_that_comes_three_times_runs_its_job_once(api: Api, target: Target) -> None:
    event_id = api.unsent()

    send(target, *[message(event_id)] * 3)

    job = api.finished(event_id)
    assert (job["status"], job["attempts"]) == ("completed", 1)
    assert [step["calls"] for step in job["steps"]] == [1, 1, 1]


# The schedule is that of a minute.
@pytest.mark.thorough
@pytest.mark.needs("parts")
def test_the_schedule_finds_a_job_whose_message_was_never_sent(api: Api, overdue: str) -> None:
    job = api.finished(overdue)

    assert (job["status"], job["attempts"]) == ("completed", 1)


@pytest.mark.thorough
@pytest.mark.needs("parts")
def test_the_health_tells_of_the_sweep_that_found_it(api: Api, overdue: str) -> None:
    api.finished(overdue)

    health = api.poll(lambda: (found := api.http.get("/health").json())["last_sweep_seconds"] is not None and found)

    assert health["last_sweep_seconds"] < 120
    assert health["oldest_due_seconds"] >= 0


def message(event_id: str) -> str:
    """The message that the api sends for a job."""
    return json.dumps({"event_id": event_id})


def send(target: Target, *bodies: str) -> None:
    """Puts these into the queue, all with one request, so that a worker gets them together."""
    assert target.parts
    entries = [
        {"Id": str(number), "MessageBody": body, "MessageGroupId": target.tenant} for number, body in enumerate(bodies)
    ]
    answer = target.parts.client("sqs").send_message_batch(QueueUrl=target.parts.queue_url, Entries=entries)
    assert not answer.get("Failed"), answer["Failed"]


def count(parts: Parts | None) -> dict[str, int]:
    """Messages of the queue: about how many wait, are with a worker, and are delayed."""
    assert parts
    names = {name: f"ApproximateNumberOfMessages{name}" for name in _NUMBERS}
    found = parts.client("sqs").get_queue_attributes(QueueUrl=parts.queue_url, AttributeNames=[*names.values()])
    return {name: int(found["Attributes"][attribute]) for name, attribute in names.items()}


def dead_letters(target: Target, *bodies: str, take: bool = False) -> list[str]:
    """The bodies of the dead letters. To `take` those of `bodies` deletes them; all others stay where they are."""
    assert target.parts
    sqs, queue = target.parts.client("sqs"), {"QueueUrl": target.parts.dead_letter_url}
    found: dict[str, dict[str, Any]] = {}
    while letters := sqs.receive_message(**queue, MaxNumberOfMessages=10, VisibilityTimeout=30).get("Messages"):
        found |= {letter["MessageId"]: letter for letter in letters}
    for letter in found.values():
        handle = {**queue, "ReceiptHandle": letter["ReceiptHandle"]}
        if take and letter["Body"] in bodies:
            sqs.delete_message(**handle)
        else:
            sqs.change_message_visibility(**handle, VisibilityTimeout=0)
    return [letter["Body"] for letter in found.values()]


@contextmanager
def short_visibility(target: Target) -> Iterator[None]:
    """Within, a message that was not handled comes back after a second."""
    assert target.parts
    sqs, queue = target.parts.client("sqs"), {"QueueUrl": target.parts.queue_url}
    before = sqs.get_queue_attributes(**queue, AttributeNames=["VisibilityTimeout"])["Attributes"]
    sqs.set_queue_attributes(**queue, Attributes={"VisibilityTimeout": "1"})
    try:
        # AWS gives no sign of when every part of a queue has followed, just a time.
        sleep(target.settle_seconds)
        yield
    finally:
        sqs.set_queue_attributes(**queue, Attributes=before)
