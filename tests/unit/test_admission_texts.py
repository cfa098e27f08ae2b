"""What a caller sends is stored beside its job: nothing of it stays without one, and nothing overwrites it."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from jobchain.aws.attributes import Item
from jobchain.domain import FinishedStep, Job, NewJob, Status
from jobchain.errors import JobExists, JobNotFound, LimitReached, Unavailable
from jobchain.limits import NO_LIMITS, Limits
from jobchain.spending import Spending
from tests.deployment import AFTER_LEASE, INVOCATION, RETENTION, TENANT, Deployment, Fault

KEPT = {"source": "test"}
REFUSED: list[Fault | None] = ["refused"] * 9


def new(number: int = 1, text: str = "Be careful.", **changes: Any) -> NewJob:
    given: dict[str, Any] = {"metadata": KEPT, **changes}
    event_id = f"0b6c2f4e-0000-4000-8000-{number:012}"
    return NewJob(event_id, TENANT, "guideline_checklist", {"guidelines": text}, fingerprint=text, **given)


def post(deployment: Deployment, *jobs: NewJob, limits: Limits = NO_LIMITS) -> Sequence[object]:
    deployment.event_id = jobs[0].event_id
    return deployment.stores.admission.create_many(jobs, RETENTION, limits)


def payload(deployment: Deployment, event_id: str) -> object:
    """What a worker reads."""
    return deployment.stores.claim(event_id, deployment.clock() + INVOCATION).payload


def texts(deployment: Deployment, event_id: str | None = None) -> list[Item]:
    return [item for item in deployment.items(event_id) if item["sk"].startswith(("INPUT#", "METADATA#"))]


class TestARefusedJob:
    def test_that_exists_already_leaves_no_text_and_overwrites_none(self, deployment: Deployment) -> None:
        post(deployment, new(text="first"))
        before = deployment.items()

        (outcome,) = post(deployment, new(text="second", metadata={"source": "other"}))

        assert isinstance(outcome, JobExists)
        assert outcome.fingerprint == "first"
        assert deployment.items() == before
        assert payload(deployment, deployment.event_id) == {"guidelines": "first"}
        assert deployment.job().metadata == KEPT

    def test_by_a_limit_leaves_no_text(self, deployment: Deployment) -> None:
        outcomes = post(deployment, new(1), new(2), new(3), limits=Limits(jobs_per_minute=1))

        assert [type(outcome) for outcome in outcomes] == [Job, LimitReached, LimitReached]
        for number in (2, 3):
            assert deployment.items(new(number).event_id) == []

    def test_whose_text_can_not_be_erased_leaves_it_to_expire_and_shows_it_to_nobody(
        self, deployment: Deployment
    ) -> None:
        # given a table that refuses the deletion of a duplicate's text
        post(deployment, new(text="first"))
        deployment.faults.script("BatchWriteItem", None, *REFUSED)
        (outcome,) = post(deployment, new(text="second", metadata={"source": "other"}))
        deployment.faults.choose = lambda _: None
        assert isinstance(outcome, JobExists)

        # then its items stay until they expire
        orphans = [item for item in texts(deployment) if item["uid"] != deployment.meta()["uid"]]
        assert [item["sk"].split("#")[0] for item in orphans] == ["INPUT", "METADATA"]
        assert {item["expires_at"] for item in orphans} == {deployment.meta()["expires_at"]}

        # and no reader sees them
        assert deployment.job().metadata == KEPT
        assert payload(deployment, deployment.event_id) == {"guidelines": "first"}
        assert len(deployment.stores.jobs.recent(TENANT, 10)[0]) == 1

        # and they are erased with the job
        deployment.clock.advance(AFTER_LEASE)
        deployment.stores.jobs.cancel(TENANT, deployment.event_id)
        deployment.stores.jobs.delete(TENANT, deployment.event_id)
        assert deployment.items() == []

    def test_whose_text_stays_alone_is_no_job(self, deployment: Deployment) -> None:
        # given a limit that refuses a job, whose text can't be erased
        deployment.faults.script("BatchWriteItem", None, *REFUSED)
        (outcome,) = post(deployment, new(), limits=Limits(jobs_per_minute=0))
        deployment.faults.choose = lambda _: None
        assert isinstance(outcome, LimitReached)
        assert len(texts(deployment)) == 2

        with pytest.raises(JobNotFound):
            deployment.job()
        with pytest.raises(JobNotFound):
            payload(deployment, deployment.event_id)
        assert deployment.stores.jobs.recent(TENANT, 10) == ([], None)

        # and it is not taken for that of a job that is created later
        post(deployment, new(text="later", metadata={}))
        assert payload(deployment, deployment.event_id) == {"guidelines": "later"}
        assert deployment.job().metadata == {}


class TestATableThatDoesNotAnswer:
    @pytest.mark.parametrize("fault", ["refused", "lost"])
    def test_when_texts_are_stored_makes_no_job(self, deployment: Deployment, fault: Fault) -> None:
        deployment.faults.script("BatchWriteItem", fault)

        (outcome,) = post(deployment, new())

        assert isinstance(outcome, Unavailable)
        assert deployment.meta() == {}
        assert deployment.stores.usage.today(TENANT).created == 0

        (outcome,) = post(deployment, new())
        assert isinstance(outcome, Job)
        assert payload(deployment, deployment.event_id) == {"guidelines": "Be careful."}

    def test_when_the_job_is_stored_gives_it_as_a_new_one_with_its_text(self, deployment: Deployment) -> None:
        deployment.faults.script("TransactWriteItems", "lost")

        (outcome,) = post(deployment, new())

        assert isinstance(outcome, Job)
        assert outcome.metadata == KEPT
        assert len(texts(deployment)) == 2
        assert payload(deployment, deployment.event_id) == {"guidelines": "Be careful."}
        assert deployment.stores.usage.today(TENANT).created == 1

    def test_when_the_job_is_not_stored_leaves_text_that_expires(self, deployment: Deployment) -> None:
        deployment.faults.script("TransactWriteItems", "refused")

        (outcome,) = post(deployment, new())

        assert isinstance(outcome, Unavailable)
        assert deployment.meta() == {}
        assert all(item["expires_at"] for item in texts(deployment))

    def test_for_one_chunk_of_a_batch_harms_no_other(self, deployment: Deployment) -> None:
        jobs = [new(number, metadata={}) for number in range(150)]
        deployment.faults.script("TransactWriteItems", None, "lost")

        outcomes = post(deployment, *jobs)

        assert all(isinstance(outcome, Job) for outcome in outcomes)
        assert payload(deployment, jobs[-1].event_id) == {"guidelines": "Be careful."}


def test_two_posts_of_one_job_at_once_keep_the_text_of_the_one_that_is_stored(deployment: Deployment) -> None:
    # given a post whose texts are stored before another post of the same job, and whose META comes after it
    put_many = deployment.stores.admission._table.put_many
    others = [new(text="other")]

    def stored_in_between(items: Sequence[Item]) -> None:
        put_many(items)
        if others:
            post(deployment, others.pop())

    deployment.stores.admission._table.put_many = stored_in_between  # type: ignore[method-assign]

    (outcome,) = post(deployment, new(text="late"))

    assert isinstance(outcome, JobExists)
    assert payload(deployment, deployment.event_id) == {"guidelines": "other"}
    assert len(texts(deployment)) == 2


def test_deleting_erases_every_item_of_the_job_those_that_no_reader_sees_too(deployment: Deployment) -> None:
    # given a job with steps, stale steps, failed calls, and items of an earlier job of the same id
    post(deployment, new())
    first = deployment.stores.claim(deployment.event_id, deployment.clock() + INVOCATION)
    deployment.clock.advance(AFTER_LEASE)
    deployment.stores.jobs.cancel(TENANT, deployment.event_id)
    deployment.stores.jobs.delete(TENANT, deployment.event_id)
    post(deployment, new())
    step = FinishedStep("summary", "stale", "m", "v", "s", "f", Spending())
    deployment.stores.save_step(first, 0, step)
    slow = deployment.stores.claim(deployment.event_id, deployment.clock() + INVOCATION)
    deployment.clock.advance(AFTER_LEASE)
    assert deployment.run({"summary": ""}).status is Status.COMPLETED
    deployment.stores.save_step(slow, 0, step)
    kinds = {item["sk"].split("#")[0] for item in deployment.items()}
    assert kinds == {"ATTEMPT", "INPUT", "META", "METADATA", "STEP"}
    assert [step.output for step in deployment.job().steps if step.output == "stale"] == []

    deployment.stores.jobs.delete(TENANT, deployment.event_id)

    assert deployment.items() == []


@pytest.mark.parametrize("length", [0, 1, 1000, 1024, 1025, 100_000])
def test_a_text_of_any_length_is_read_as_it_was_sent(deployment: Deployment, length: int) -> None:
    text = ("\N{PILE OF POO}\x00 \u0f75ä" * length)[:length]
    post(deployment, new(text=text))

    assert payload(deployment, deployment.event_id) == {"guidelines": text}


def test_a_text_is_still_there_when_the_job_is_retried_weeks_later(deployment: Deployment) -> None:
    post(deployment, new())
    deployment.stores.jobs.cancel(TENANT, deployment.event_id)
    deployment.clock.advance(timedelta(days=20))
    deployment.stores.jobs.retry(TENANT, deployment.event_id)

    assert payload(deployment, deployment.event_id) == {"guidelines": "Be careful."}
