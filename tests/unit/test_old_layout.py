"""Jobs that the version before the records by claim has stored: they are read, listed, run on, ended and deleted."""

import json
import zlib
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from jobchain.aws.attributes import Item
from jobchain.aws.listing import JobFilter
from jobchain.domain import Job, JobError, Status, isoformat
from jobchain.errors import JobNotFound
from jobchain.spending import Spending, Usage
from jobchain_sweeper.resending import MAX_CRASHES
from jobchain_sweeper.sweeper import Sweep
from tests.deployment import AFTER_LEASE, INVOCATION, RETENTION, TENANT, TEXT, Deployment
from tests.fake_model.llm import WorkerVanished

EVENT_ID = "0b6c2f4e-0000-4000-8000-00000000001d"
PK = f"JOB#{EVENT_ID}"
STEP_COST = Spending(Usage(100, 10, 20, 5), Decimal("0.0000191"), calls=1)


def new_items(now: datetime) -> list[Item]:
    """The items of a pending job, as that version writes them."""
    expires_at = int((now + RETENTION).timestamp())
    meta = {
        "pk": PK,
        "sk": "META",
        "tenant": TENANT,
        "job_name": "guideline_checklist",
        "status": "pending",
        "created_at": isoformat(now),
        "created_at_id": f"{isoformat(now)}#{EVENT_ID}",
        "updated_at": isoformat(now),
        "fingerprint": "f",
        "claim": 0,
        "dispatches": 1,
        "stalls": 0,
        "tries": {},
        "due_shard": zlib.crc32(EVENT_ID.encode()) % 8,
        "due_at": int((now + timedelta(minutes=5)).timestamp()),
        "expires_at": expires_at,
    }
    payload = {"pk": PK, "sk": "INPUT", "payload": json.dumps({"guidelines": TEXT}), "expires_at": expires_at}
    metadata = {"pk": PK, "sk": "METADATA", "metadata": {"source": "test"}, "expires_at": expires_at}
    return [meta, payload, metadata]


def step_item(now: datetime, position: int, name: str, output: object) -> Item:
    """The item of a completed step, as that version writes it."""
    return {
        "pk": PK,
        "sk": f"STEP#{position:03}#{name}",
        "output": json.dumps(output),
        "model": "gpt-6-luna",
        "prompt_version": "5d0c",
        "started_at": isoformat(now),
        "finished_at": isoformat(now),
        **totals(STEP_COST),
        "expires_at": int((now + RETENTION).timestamp()),
    }


def totals(spending: Spending) -> Item:
    """A sum, as that version writes it."""
    used = spending.usage
    return {
        "input_tokens": used.input_tokens,
        "cached_tokens": used.cached_tokens,
        "output_tokens": used.output_tokens,
        "reasoning_tokens": used.reasoning_tokens,
        "cost_usd": spending.known_cost_usd,
        "unpriced_calls": spending.unpriced_calls,
        "calls": spending.calls,
        "retries": spending.retries,
    }


def claimed(deployment: Deployment, **more: Any) -> Item:
    """The changes of META by a claim of that version and by the step that its worker has stored."""
    lease_until = deployment.clock() + INVOCATION
    return {
        "status": "processing",
        "lease_until": int(lease_until.timestamp() * 1000),
        "due_at": int(lease_until.timestamp()) + 1,
        "started_at": isoformat(deployment.clock()),
        "claim": 1,
        "token": "c0ffee",
        **totals(STEP_COST),
        **more,
    }


class OldJob:
    """A job that the old version has stored."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self.deployment.event_id = EVENT_ID
        self.store(*new_items(deployment.clock()))

    def store(self, *items: Item) -> None:
        """Writes items as they are."""
        self.deployment.table.put_many(items)

    def processing(self, **more: Any) -> None:
        """The old version's worker has claimed the job, and stored its first step."""
        meta, *_ = new_items(self.deployment.clock())
        step = step_item(self.deployment.clock(), 0, "summary", "Passwords must be long.")
        self.store({**meta, **claimed(self.deployment), **more}, step)

    def final(self, status: str, **more: Any) -> None:
        """The old version's worker has ended the job."""
        self.processing()
        now = isoformat(self.deployment.clock())
        ended = {**self.deployment.meta(), "status": status, "finished_at": now, "updated_at": now, **more}
        for name in ("due_shard", "due_at", "lease_until"):
            del ended[name]
        self.store(ended)

    @property
    def listed(self) -> list[Job]:
        return self.deployment.stores.jobs.recent(TENANT, 10)[0]


@pytest.fixture
def old(deployment: Deployment) -> OldJob:
    return OldJob(deployment)


class TestAnOldJob:
    def test_is_read_and_listed_while_it_waits(self, old: OldJob) -> None:
        job = old.deployment.job()

        assert (job.status, job.attempts, job.spending) == (Status.PENDING, 0, Spending())
        assert job.metadata == {"source": "test"}
        assert [listed.status for listed in old.listed] == [Status.PENDING]
        assert old.deployment.stores.jobs.unfinished(TENANT)[Status.PENDING] == 1

    def test_is_read_and_listed_when_it_has_ended(self, old: OldJob) -> None:
        old.final("failed", error={"type": "model_refused", "message": "no", "step": "checklist"})

        job = old.deployment.job()
        assert job.error == JobError("model_refused", "no", "checklist")
        assert [(step.name, step.output, step.total) for step in job.steps] == [
            ("summary", "Passwords must be long.", STEP_COST)
        ]
        assert job.spending == STEP_COST
        (listed,) = old.listed
        assert (listed.status, listed.spending, listed.error) == (Status.FAILED, STEP_COST, job.error)
        found, _ = old.deployment.stores.jobs.recent(TENANT, 10, wanted=JobFilter(Status.FAILED))
        assert len(found) == 1
        assert old.deployment.stores.jobs.recent(TENANT, 10, wanted=JobFilter(Status.COMPLETED))[0] == []

    def test_is_run(self, old: OldJob) -> None:
        job = old.deployment.run()

        assert job.status is Status.COMPLETED
        assert [step.name for step in job.steps] == ["summary", "checklist", "diagram"]
        assert job.spending.calls == 3
        assert old.deployment.spent() == job.spending
        assert [listed.status for listed in old.listed] == [Status.COMPLETED]

    def test_is_run_on_from_the_steps_that_are_stored(self, old: OldJob) -> None:
        old.processing()
        old.deployment.clock.advance(AFTER_LEASE)

        job = old.deployment.run()

        assert (job.status, job.attempts) == (Status.COMPLETED, 2)
        assert [step.name for step in job.steps] == ["summary", "checklist", "diagram"]
        assert len(old.deployment.llm.requests) == 2
        assert job.spending.calls == 3, "what the old version has recorded, and two calls"
        assert old.deployment.day.calls == 2, "the day's part of the old version's calls is in items of its own"

    def test_whose_new_worker_vanishes_too_is_settled_like_any_other(self, old: OldJob) -> None:
        old.processing()
        old.deployment.clock.advance(AFTER_LEASE)
        with pytest.raises(WorkerVanished):
            old.deployment.run(WorkerVanished())
        old.deployment.clock.advance(AFTER_LEASE)

        job = old.deployment.run()

        assert (job.status, job.attempts) == (Status.COMPLETED, 3)
        assert (job.spending.calls, job.spending.estimated.calls) == (4, 1)

    def test_that_waits_for_a_second_try_is_run(self, old: OldJob) -> None:
        meta, *_ = new_items(old.deployment.clock())
        old.store({**meta, "claim": 1, "tries": {"summary": 2}, "token": "c0ffee", "calls": 2, "not_before": 0})

        job = old.deployment.run()

        assert job.status is Status.COMPLETED
        assert (job.spending.calls, job.steps[0].spending.retries) == (5, 1)

    def test_whose_message_was_lost_is_sent_again_less_and_less_often(self, old: OldJob) -> None:
        old.deployment.clock.advance(timedelta(minutes=5))
        assert old.deployment.sweep() == Sweep(sent=1)
        assert old.deployment.sweep() == Sweep()

        old.deployment.clock.advance(timedelta(minutes=10))
        assert old.deployment.sweep() == Sweep(sent=1)

    def test_whose_workers_vanish_again_and_again_fails(self, old: OldJob) -> None:
        old.processing()
        for _ in range(MAX_CRASHES):
            old.deployment.clock.advance(AFTER_LEASE)
            with pytest.raises(WorkerVanished):
                old.deployment.run(WorkerVanished())
        old.deployment.clock.advance(AFTER_LEASE)

        assert old.deployment.sweep() == Sweep(failed=1)
        job = old.deployment.job()
        assert job.error is not None
        assert job.error.type == "worker_lost"
        assert (job.spending.calls, job.spending.estimated.calls) == (1 + MAX_CRASHES, MAX_CRASHES)

    def test_is_cancelled_while_it_waits(self, old: OldJob) -> None:
        recorded: dict[str, Spending] = {}
        job = old.deployment.stores.jobs.cancel(
            TENANT, EVENT_ID, lambda _chain, model, spending: recorded.update({model: spending})
        )

        assert (job.status, recorded) == (Status.CANCELLED, {})
        assert old.deployment.stores.jobs.unfinished(TENANT).total() == 0

    def test_is_cancelled_after_its_old_worker_vanished(self, old: OldJob) -> None:
        old.processing()
        old.deployment.clock.advance(AFTER_LEASE)

        recorded: dict[str, Spending] = {}
        job = old.deployment.stores.jobs.cancel(
            TENANT, EVENT_ID, lambda _chain, model, spending: recorded.update({model: spending})
        )

        assert (job.status, recorded) == (Status.CANCELLED, {})
        assert (job.spending, [step.name for step in job.steps]) == (STEP_COST, ["summary"])

    def test_is_retried_and_completes(self, old: OldJob) -> None:
        old.final("failed", error={"type": "model_refused", "message": "no"})

        old.deployment.stores.jobs.retry(TENANT, EVENT_ID)

        assert old.deployment.run().status is Status.COMPLETED
        assert len(old.deployment.llm.requests) == 2

    @pytest.mark.parametrize("run_on", [False, True])
    def test_is_deleted_with_all_its_items(self, old: OldJob, run_on: bool) -> None:
        if run_on:
            old.processing()
            old.deployment.clock.advance(AFTER_LEASE)
            old.deployment.run({"summary": "not a checklist"})
        else:
            old.final("completed")

        old.deployment.stores.jobs.delete(TENANT, EVENT_ID)

        assert old.deployment.items() == []
        with pytest.raises(JobNotFound):
            old.deployment.job()
