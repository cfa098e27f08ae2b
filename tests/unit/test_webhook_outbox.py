"""The events of jobs are written with their end: one for each receiver, whatever crashes, and none without one."""

import json
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.capacity import Meter, Units, indexes
from jobchain import Chain, Text
from jobchain.approvals import Decided, Decision
from jobchain.aws.attributes import Item
from jobchain.aws.items import unpacked
from jobchain.aws.outbox import GRACE, SHARDS, DeliveryKey
from jobchain.aws.writes import epoch
from jobchain.domain import JobError, Status, WaitingFor, WaitReason, isoformat
from jobchain.errors import ClaimLost, JobIsFinal, PermanentModelError, Unavailable
from jobchain.webhooks.events import EventType, Receiver
from jobchain_sweeper.resending import MAX_CRASHES
from tests.conftest import TABLE
from tests.deployment import AFTER_LEASE, INVOCATION, TENANT, Deployment, Fault

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

ALL = Receiver("ep_all")
FAILURES = Receiver("ep_failures", (EventType.FAILED, EventType.CANCELLED))
OWN = Receiver("jobs", (), "https://hooks.example.com/in")
ABOUT: dict[str, Any] = {"title": "policy.md", "metadata": {"source": "Zürich"}}
REFUSED = PermanentModelError("model_refused", "the model refuses this text")


def deliveries(deployment: Deployment) -> list[Item]:
    return deployment.table.query(f"WEBHOOKS#{TENANT}", "!", "~")


def bodies(deployment: Deployment) -> list[dict[str, Any]]:
    return [json.loads(unpacked(item["body"])) for item in deliveries(deployment)]


def keys(deployment: Deployment) -> set[DeliveryKey]:
    return {DeliveryKey(TENANT, item["sk"]) for item in deliveries(deployment)}


@pytest.fixture
def meter(dynamodb: "DynamoDBClient", template: dict[str, Any]) -> Meter:
    return Meter(dynamodb, boto3.client("dynamodb"), TABLE, indexes(template["Resources"]["JobTable"]["Properties"]))


def cost_of_the_end(deployment: Deployment, meter: Meter) -> Units:
    claim = deployment.stores.claim(deployment.event_id, deployment.clock() + INVOCATION)
    with meter.counting() as cost:
        deployment.stores.claims.finish(claim)
    return cost


def create(deployment: Deployment, *receivers: Receiver, **changes: Any) -> None:
    deployment.create(receivers=receivers or (ALL,), **{**ABOUT, **changes})


def complete(deployment: Deployment) -> None:
    assert deployment.run().status is Status.COMPLETED


def fail(deployment: Deployment) -> None:
    assert deployment.run(REFUSED).status is Status.FAILED


def cancel_while_it_waits(deployment: Deployment) -> None:
    assert deployment.stores.jobs.cancel(TENANT, deployment.event_id).status is Status.CANCELLED


def cancel_while_it_runs(deployment: Deployment) -> None:
    claims = deployment.stores.claims
    claim = deployment.stores.claim(deployment.event_id, deployment.clock() + INVOCATION)
    deployment.stores.jobs.cancel(TENANT, deployment.event_id)
    assert not claims.release(claim, timedelta(0), {}, {})


def crash_until_the_sweeper_fails_it(deployment: Deployment) -> None:
    for _ in range(MAX_CRASHES):
        deployment.stores.claim(deployment.event_id, deployment.clock() + INVOCATION)
        deployment.clock.advance(AFTER_LEASE)
    assert deployment.sweep().failed == 1


checked_twice = Chain("checked_twice", description="")


@checked_twice.approve(deadline_seconds=3600)
def first(document: Text) -> str:
    return document


@checked_twice.approve(deadline_seconds=3600)
def second(first: str) -> str:
    return first


def wait(deployment: Deployment, reason: WaitReason, until: str | None = None) -> None:
    """A worker claims the job, and releases it again as it has to wait."""
    claim = deployment.stores.claim(deployment.event_id, deployment.clock() + INVOCATION)
    waiting = WaitingFor(reason, isoformat(deployment.clock()), until, "the account is refused", retryable=True)
    assert deployment.stores.claims.release(claim, timedelta(minutes=2), {}, {}, waiting)
    deployment.clock.advance(timedelta(minutes=3))


class TestAWait:
    @pytest.mark.parametrize("reason", [WaitReason.APPROVAL, WaitReason.ACCOUNT, WaitReason.BUDGET])
    def test_that_people_may_have_to_see_to_is_told_without_the_reasons_text(
        self, deployment: Deployment, reason: WaitReason
    ) -> None:
        create(deployment)
        began, until = deployment.clock(), "2026-11-30T00:00:00.000Z"

        wait(deployment, reason, until)

        (body,) = bodies(deployment)
        assert body["type"] == "job.waiting"
        assert body["timestamp"] == isoformat(began)
        assert body["data"] == {
            "event_id": deployment.event_id,
            "status": "pending",
            "job_name": "guideline_checklist",
            "title": "policy.md",
            "metadata": {"source": "Zürich"},
            "created_at": deployment.job().created_at,
            "waiting_for": {"reason": reason, "until": until},
        }
        assert set(deployment.stores.announced) == keys(deployment)

    @pytest.mark.parametrize("reason", [WaitReason.RETRY, WaitReason.RATE_LIMIT, WaitReason.DEPLOYMENT])
    def test_that_ends_by_itself_is_not_told(self, deployment: Deployment, reason: WaitReason) -> None:
        create(deployment)

        wait(deployment, reason)

        assert deliveries(deployment) == []

    def test_is_told_once_however_often_the_job_is_tried_meanwhile(self, deployment: Deployment) -> None:
        create(deployment)
        for _ in range(3):
            wait(deployment, WaitReason.ACCOUNT)
        wait(deployment, WaitReason.BUDGET)

        assert [body["data"]["waiting_for"]["reason"] for body in bodies(deployment)] == ["account", "budget"]

    def test_for_one_approval_after_the_other_is_told_each_time(self, deployment: Deployment) -> None:
        deployment.runner = deployment.worker(chains={"checked_twice": checked_twice.compiled})
        create(deployment, job_name="checked_twice", payload={"document": "Refund."})

        for step in ("first", "second"):
            deployment.run()
            approved = Decided(Decision.APPROVE)
            deployment.stores.decisions.decide(TENANT, deployment.event_id, step, approved)
        deployment.run()

        told = [(body["type"], body["data"].get("waiting_for", {}).get("reason")) for body in bodies(deployment)]
        assert sorted(told, key=str) == [
            ("job.completed", None),
            ("job.waiting", "approval"),
            ("job.waiting", "approval"),
        ]

    def test_is_told_to_those_alone_who_want_it(self, deployment: Deployment) -> None:
        create(deployment, FAILURES)
        wait(deployment, WaitReason.ACCOUNT)

        assert deliveries(deployment) == []

    def test_is_told_once_where_the_answer_of_the_table_is_lost(self, deployment: Deployment) -> None:
        create(deployment)
        claim = deployment.stores.claim(deployment.event_id, deployment.clock() + INVOCATION)
        waiting = WaitingFor(WaitReason.ACCOUNT, isoformat(deployment.clock()), None, "")
        deployment.faults.script("TransactWriteItems", "lost")
        with pytest.raises(Unavailable):
            deployment.stores.claims.release(claim, timedelta(minutes=2), {}, {}, waiting)

        assert deployment.stores.claims.release(claim, timedelta(minutes=2), {}, {}, waiting)
        assert len(deliveries(deployment)) == 1

    def test_of_a_job_whose_caller_cancels_it_is_its_end(self, deployment: Deployment) -> None:
        create(deployment)
        claim = deployment.stores.claim(deployment.event_id, deployment.clock() + INVOCATION)
        deployment.stores.jobs.cancel(TENANT, deployment.event_id)
        waiting = WaitingFor(WaitReason.ACCOUNT, isoformat(deployment.clock()), None, "")

        assert not deployment.stores.claims.release(claim, timedelta(minutes=2), {}, {}, waiting)
        assert [body["type"] for body in bodies(deployment)] == ["job.cancelled"]


ENDS = [
    (complete, "job.completed", None),
    (fail, "job.failed", {"type": "model_refused", "step": "summary"}),
    (cancel_while_it_waits, "job.cancelled", None),
    (cancel_while_it_runs, "job.cancelled", None),
    (crash_until_the_sweeper_fails_it, "job.failed", {"type": "worker_lost", "step": None}),
]


@pytest.mark.parametrize(("end", "event", "error"), ENDS)
def test_each_end_of_a_job_writes_its_event_and_announces_it(
    deployment: Deployment, end: Callable[[Deployment], None], event: str, error: dict[str, str | None] | None
) -> None:
    create(deployment)

    end(deployment)

    job = deployment.job()
    assert bodies(deployment) == [
        {
            "type": event,
            "timestamp": job.finished_at,
            "data": {
                "event_id": job.event_id,
                "status": job.status,
                "job_name": "guideline_checklist",
                "title": "policy.md",
                "metadata": {"source": "Zürich"},
                "created_at": job.created_at,
                "finished_at": job.finished_at,
                **({"error": error} if error else {}),
            },
        }
    ]
    assert set(deployment.stores.announced) == keys(deployment)


def test_an_event_is_due_in_a_minute_in_shards_of_its_own(deployment: Deployment) -> None:
    create(deployment, ALL, OWN)

    complete(deployment)

    first, own = deliveries(deployment)
    assert (first["endpoint_id"], own["endpoint_id"]) == ("ep_all", "jobs")
    assert "url" not in first
    assert own["url"] == "https://hooks.example.com/in"
    for item in (first, own):
        assert int(item["due_shard"]) in SHARDS
        assert int(item["due_at"]) == epoch(deployment.clock() + GRACE)
        assert item["webhook_id"].startswith("evt_")
        # The indexes of jobs have this key.
        assert "tenant" not in item
    assert first["webhook_id"] != own["webhook_id"]


def test_no_job_is_due_because_of_an_event(deployment: Deployment) -> None:
    create(deployment)
    complete(deployment)
    deployment.clock.advance(timedelta(hours=1))

    assert deployment.sweep().sent == 0


def test_an_event_that_only_a_later_version_knows_hinders_no_job(deployment: Deployment) -> None:
    """After a rollback, the workers of this version run jobs that the later one has created."""
    create(deployment, ALL, Receiver("ep_later", ("job.postponed",)))

    complete(deployment)
    deployment.stores.jobs.delete(TENANT, deployment.event_id)
    create(deployment, Receiver("ep_later", ("job.postponed", "job.cancelled")))
    cancel_while_it_runs(deployment)

    # One that wants only what this version does not know does not get all.
    told = [(item["endpoint_id"], item["type"]) for item in deliveries(deployment)]
    assert told == [("ep_all", "job.completed"), ("ep_later", "job.cancelled")]


def test_only_those_are_told_who_want_the_event(deployment: Deployment) -> None:
    create(deployment, ALL, FAILURES)

    complete(deployment)

    assert [item["endpoint_id"] for item in deliveries(deployment)] == ["ep_all"]


@pytest.mark.parametrize("receivers", [(), (FAILURES,)])
def test_a_job_whose_end_no_receiver_wants_to_know_costs_what_any_job_costs(
    deployment: Deployment, meter: Meter, receivers: tuple[Receiver, ...]
) -> None:
    deployment.create(receivers=receivers)

    cost = cost_of_the_end(deployment, meter)

    assert (cost.writes, cost.calls) == (7, 1)
    assert deliveries(deployment) == []
    assert deployment.stores.announced == []


@pytest.mark.parametrize("receivers", [(ALL,), (OWN,), (ALL, OWN)])
def test_an_event_costs_three_units_for_each_receiver_at_the_end_of_the_job(
    deployment: Deployment, meter: Meter, receivers: tuple[Receiver, ...]
) -> None:
    deployment.create(receivers=receivers)

    cost = cost_of_the_end(deployment, meter)

    # The item in the transaction, and its entry in `due`.
    assert (cost.writes, cost.calls) == (7 + 3 * len(receivers), 1)


def test_receivers_cost_nothing_when_a_job_is_created(deployment: Deployment, meter: Meter) -> None:
    with meter.counting() as without:
        deployment.create(1)
    with meter.counting() as with_receivers:
        deployment.create(2, receivers=[Receiver(f"ep_{number:08}", (EventType.FAILED,)) for number in range(5)])

    assert with_receivers.writes == without.writes


def test_the_text_of_a_job_and_the_message_of_its_error_are_in_no_event(deployment: Deployment) -> None:
    create(deployment, payload={"guidelines": "A secret text."})
    fail(deployment)

    written = json.dumps(bodies(deployment))
    assert "secret" not in written
    assert "refuses this text" not in written


@pytest.mark.parametrize("end", [cancel_while_it_waits, crash_until_the_sweeper_fails_it, complete])
def test_an_end_whose_answer_is_lost_has_one_event(deployment: Deployment, end: Callable[[Deployment], None]) -> None:
    create(deployment)
    deployment.faults.script("TransactWriteItems", "lost")

    end(deployment)

    assert len(deliveries(deployment)) == 1


def test_an_end_that_is_refused_has_no_event(deployment: Deployment) -> None:
    create(deployment)
    deployment.faults.script("TransactWriteItems", "refused", "refused", "refused")

    with pytest.raises(Unavailable):
        deployment.stores.jobs.cancel(TENANT, deployment.event_id)

    assert deployment.job().status is Status.PENDING
    assert deliveries(deployment) == []
    assert deployment.stores.announced == []


def test_a_worker_that_has_lost_its_claim_writes_no_event(deployment: Deployment) -> None:
    create(deployment)
    slow = deployment.stores.claim(deployment.event_id, deployment.clock() + INVOCATION)
    deployment.clock.advance(AFTER_LEASE)
    deployment.stores.claim(deployment.event_id, deployment.clock() + INVOCATION)

    with pytest.raises(ClaimLost):
        deployment.stores.claims.fail(slow, JobError("any", "any"))

    assert deliveries(deployment) == []


def test_a_job_that_is_retried_has_an_event_of_each_end(deployment: Deployment) -> None:
    create(deployment)
    fail(deployment)
    deployment.stores.jobs.retry(TENANT, deployment.event_id)
    deployment.clock.advance(timedelta(seconds=1))

    complete(deployment)

    assert [body["type"] for body in bodies(deployment)] == ["job.failed", "job.completed"]
    assert len({item["webhook_id"] for item in deliveries(deployment)}) == 2


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(faults=st.lists(st.sampled_from([None, "lost", "refused"]), max_size=8))
def test_a_job_has_ended_if_and_only_if_its_events_are_written(
    deployment: Deployment, faults: list[Fault | None]
) -> None:
    # given a job of its own
    deployment.clock.advance(timedelta(minutes=1))
    deployment.faults.script("none")
    create(deployment, ALL, OWN, FAILURES, number=int(deployment.clock().timestamp()))

    # when it is cancelled until that is answered
    deployment.faults.script("TransactWriteItems", *faults)
    with suppress(JobIsFinal):
        for _ in range(6):
            with suppress(Unavailable):
                deployment.stores.jobs.cancel(TENANT, deployment.event_id)
                break

    # then each receiver has one event of it
    own = [item for item in deliveries(deployment) if item["event_id"] == deployment.event_id]
    assert deployment.job().status.final
    assert [item["endpoint_id"] for item in own] == ["ep_all", "ep_failures", "jobs"]
