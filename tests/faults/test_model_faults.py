"""A model that does all that it can do wrong. Its faults, and those of its account, are waited out, or end the job."""

import json
from collections.abc import Mapping
from functools import partial
from itertools import pairwise
from typing import Any

import pytest

from jobchain.aws.attributes import from_item
from jobchain.aws.items import spending_of
from tests.e2e.conftest import poll
from tests.fake_model.answers import result_of
from tests.fake_model.replies import (
    BREAKS_SCHEMA,
    CONTENT_FILTERED,
    CUT_OFF,
    DROPPED,
    EMPTY_OBJECT,
    EMPTY_TEXT,
    HTML,
    NEVER,
    QUOTA_EXCEEDED,
    REFUSAL,
    SERVER_ERROR,
    Reply,
    refused,
    too_many_requests,
)
from tests.faults.conftest import KNOWN_LIMIT, FaultyStack, assert_right, faulty_stack, used
from tests.faults.ledger import UNKNOWN

Jobs = Mapping[str, dict[str, Any]]

# Each of them once or twice, at the second step, so that the first one is stored when it happens.
TRANSIENT: dict[str, tuple[Reply, ...]] = {
    "429 without Retry-After": (too_many_requests(),),
    "429 with Retry-After 2": (too_many_requests(2),),
    "429 with Retry-After 2, twice": (too_many_requests(2), too_many_requests(2)),
    "408": (refused(408),),
    "409": (refused(409),),
    "500": (SERVER_ERROR,),
    "503": (refused(503),),
    "HTML with status 200": (HTML,),
    "{}": (EMPTY_OBJECT,),
    "dropped connection": (DROPPED,),
    "never answering": (NEVER,),
    "one after another": (SERVER_ERROR, HTML),
}
PERMANENT = {
    "400": (refused(400), "model_request_refused", "does not accept the request"),
    "refusal": (REFUSAL, "model_refused", "declined to work on this text"),
    "content filter": (CONTENT_FILTERED, "content_filtered", "content filter stopped"),
}
# Of the account or of the deployment's settings: no job fails of them.
ACCOUNT = {
    "insufficient_quota": (QUOTA_EXCEEDED, "model_quota_exceeded", "no quota left"),
    "401": (refused(401), "model_unauthorized", "does not accept the API key"),
    "403": (refused(403), "model_forbidden", "may not use the model"),
    "404": (refused(404), "model_not_found", "knows no such model"),
}
BROKEN = {
    "empty text": (EMPTY_TEXT, "it was empty"),
    "cut off": (CUT_OFF, "it was cut off"),
    "breaks the schema": (BREAKS_SCHEMA, "summary: Field required"),
}


def marker_of(fault: str) -> str:
    return "job-" + "".join(letter if letter.isalnum() else "-" for letter in fault).strip("-") + "-x"


def has_tried(world: FaultyStack, event_id: str, tries: str) -> bool:
    return bool(world.meta(event_id)["tries"]["M"].get("checklist") == {"N": tries})


def run(world: FaultyStack, faults: Mapping[str, tuple[Reply, ...]], step: str) -> Jobs:
    """One job for each fault, all at once, which meets its replies at `step`; the jobs as they end."""
    ids = {}
    for fault, replies in faults.items():
        world.model.script(marker_of(fault), *replies, step=step)
        ids[fault] = world.submit(marker_of(fault))
    return dict(zip(ids, world.all_finished(ids.values()), strict=True))


# Of the session: pytest-xdist mixes the tests of modules, and a second time would find the markers in the journal.
@pytest.fixture(scope="session")
def after_transient(shared_world: FaultyStack) -> Jobs:
    return run(shared_world, TRANSIENT, "checklist")


@pytest.fixture(scope="session")
def after_permanent(shared_world: FaultyStack) -> Jobs:
    return run(shared_world, {fault: (reply,) for fault, (reply, *_) in PERMANENT.items()}, "checklist")


@pytest.fixture(scope="session")
def after_broken(shared_world: FaultyStack) -> Jobs:
    return run(shared_world, {fault: (reply,) for fault, (reply, _) in BROKEN.items()}, "summary")


@pytest.mark.parametrize("fault", TRANSIENT)
def test_a_job_completes_after_a_fault_that_passes_and_no_finished_step_is_asked_again(
    world: FaultyStack, after_transient: Jobs, fault: str
) -> None:
    job = after_transient[fault]

    assert_right(job, marker_of(fault))
    assert world.model.journal.replies(marker_of(fault)) == [
        ("summary", "answer"),
        *(("checklist", reply.name) for reply in TRANSIENT[fault]),
        ("checklist", "answer"),
        ("diagram", "answer"),
    ]
    assert job["attempts"] == 1 + len(TRANSIENT[fault]), "the job is released, and claimed again"


@pytest.mark.parametrize("fault", TRANSIENT)
def test_what_the_server_did_not_tell_is_estimated_and_all_else_is_exact(
    world: FaultyStack, after_transient: Jobs, fault: str
) -> None:
    spent = spending_of(from_item(world.meta(after_transient[fault]["event_id"])))

    assert spent.calls == 3 + len(TRANSIENT[fault])
    assert spent.estimated.calls == sum(reply in UNKNOWN for reply in TRANSIENT[fault])
    assert spent.usage.input_tokens - spent.estimated.input_tokens == used(3)["input_tokens"]
    assert spent.usage.output_tokens - spent.estimated.output_tokens == used(3)["output_tokens"]
    assert after_transient[fault]["usage"]["input_tokens"] == spent.usage.input_tokens


@pytest.mark.parametrize("fault", TRANSIENT)
def test_no_call_is_sent_before_its_retry_after(world: FaultyStack, after_transient: Jobs, fault: str) -> None:
    calls = world.model.journal.calls(marker_of(fault), "checklist")

    for call, following in pairwise(calls):
        assert call.reply
        assert call.ended
        assert following.at >= call.ended + call.reply.retry_after


def test_a_model_that_never_answers_costs_one_timeout_and_not_the_job(
    world: FaultyStack, after_transient: Jobs
) -> None:
    held, answered = world.model.journal.calls(marker_of("never answering"), "checklist")

    assert held.client_left, "the worker gave up"
    assert held.ended
    assert 4.5 < held.ended - held.at < 10, "a call may take 5 seconds"
    assert answered.answered


def test_a_wait_of_130_seconds_is_kept_whatever_comes_in_between(world: FaultyStack) -> None:
    # given a model whose Retry-After is 130 s
    world.model.script("job-130-s", too_many_requests(130), step="checklist")
    event_id = world.submit("job-130-s")
    meta = poll(lambda: "not_before" in (meta := world.meta(event_id)) and meta)
    (refused_call,) = world.model.journal.calls("job-130-s", "checklist")
    assert refused_call.ended

    # then the job is free again after that time, and due not much later
    wait = int(meta["not_before"]["N"]) / 1000 - refused_call.ended
    assert 130 <= wait < 135
    assert 130 <= int(meta["due_at"]["N"]) - refused_call.ended < 130 + 2 * 300

    # when a sweep and a second message come in between
    world.sweep()
    poll(lambda: world.queued()["waiting"] == 0)
    delayed = world.queued()["delayed"]
    body = json.dumps({"event_id": event_id})
    world.stack.client("sqs").send_message(QueueUrl=world.stack.queue_url, MessageBody=body, MessageGroupId="local")
    poll(lambda: world.queued()["delayed"] > delayed)

    # then nothing was called, and the job waits as it did
    assert world.model.journal.replies("job-130-s") == [("summary", "answer"), ("checklist", "429")]
    assert world.meta(event_id)["not_before"] == meta["not_before"]

    # and once the time is over it completes
    world.let_time_pass(event_id)
    world.sweep()
    assert_right(world.finished(event_id), "job-130-s")
    assert len(world.model.journal.calls("job-130-s")) == 4


def test_a_step_whose_model_stays_down_is_tried_until_the_deadline_and_fails_with_the_finished_steps_kept(
    world: FaultyStack,
) -> None:
    # given a model that is down for one step
    world.model.script("job-down", *[SERVER_ERROR] * 7, step="checklist")
    event_id = world.submit("job-down")

    # when time passes after each try
    for tries in map(str, range(1, 7)):
        poll(partial(has_tried, world, event_id, tries))
        world.let_time_pass(event_id)
        world.sweep()
    poll(partial(has_tried, world, event_id, "7"))

    # then it still waits, and says for what
    job = world.job(event_id)
    assert (job["status"], job["error"], job["waiting_for"]["reason"]) == ("pending", None, "retry")
    assert job["waiting_for"]["detail"] == "try 7: the model's server answered 500"

    # and it fails at its deadline
    world.let_deadline_pass(event_id)
    world.sweep()
    job = world.finished(event_id)
    assert (job["status"], job["error"]["type"]) == ("failed", "deadline_exceeded")
    assert job["error"]["message"].endswith("is over: try 7: the model's server answered 500")
    assert job["result"] == {"summary": result_of("job-down")["summary"]}
    assert len(world.model.journal.calls("job-down")) == 8

    # and a retry, once the model is well, asks for the missing steps alone
    world.http.post(f"/jobs/{event_id}/retry").raise_for_status()
    assert_right(world.finished(event_id), "job-down")
    assert len(world.model.journal.calls("job-down", "summary")) == 1


@pytest.mark.parametrize("fault", PERMANENT)
def test_a_fault_that_stays_fails_the_job_at_once(world: FaultyStack, after_permanent: Jobs, fault: str) -> None:
    reply, type_, words = PERMANENT[fault]
    job = after_permanent[fault]

    assert (job["status"], job["error"]["type"], job["error"]["step"]) == ("failed", type_, "checklist")
    assert words in job["error"]["message"]
    assert "scripted" not in job["error"]["message"], "that is the provider's own text"
    assert world.model.journal.replies(marker_of(fault)) == [("summary", "answer"), ("checklist", reply.name)]
    assert job["attempts"] == 1
    assert [step["status"] for step in job["steps"]] == ["completed", "failed", "pending"]


@pytest.mark.thorough
@pytest.mark.parametrize("fault", ACCOUNT)
def test_a_job_whose_model_s_account_is_refused_waits_and_completes_once_that_works(fault: str) -> None:
    reply, outcome, words = ACCOUNT[fault]
    # a stack of its own, as an open breaker stops all jobs
    with faulty_stack() as world:
        # given an account that is refused once
        world.model.script("job-refused", reply, step="checklist")
        event_id = world.submit("job-refused")
        poll(lambda: "waiting_for" in world.meta(event_id))

        # then the job waits, says why, and no call is made
        job = world.job(event_id)
        waits = job["waiting_for"]
        assert (job["status"], job["error"]) == ("pending", None)
        assert (waits["reason"], waits["retryable"]) == ("account", True)
        assert words in waits["detail"]
        assert "scripted" not in waits["detail"], "that is the provider's own text"
        refusal = [("summary", "answer"), ("checklist", reply.name)]
        assert world.model.journal.replies("job-refused") == refusal

        # and completes by itself a minute later, which is made to pass, with the refusal on record
        world.let_probe_be_due()
        world.let_time_pass(event_id)
        world.sweep()
        assert_right(world.finished(event_id), "job-refused")
        assert world.model.journal.replies("job-refused") == [*refusal, ("checklist", "answer"), ("diagram", "answer")]
        (call,) = world.http.get(f"/jobs/{event_id}?include=attempts").json()["failed_attempts"]
        assert call["outcome"] == outcome


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_answer_is_asked_again_with_the_complaint(world: FaultyStack, after_broken: Jobs, fault: str) -> None:
    first, second = world.model.journal.calls(marker_of(fault), "summary")

    assert_right(after_broken[fault], marker_of(fault))
    assert first.complaint == ""
    assert BROKEN[fault][1] in second.complaint
    assert after_broken[fault]["attempts"] == 1, "within one claim"


@pytest.mark.parametrize("fault", BROKEN)
def test_the_tokens_of_a_broken_answer_are_counted(after_broken: Jobs, fault: str) -> None:
    assert after_broken[fault]["steps"][0]["usage"] == used(2)
    assert after_broken[fault]["usage"] == used(4)


@pytest.mark.parametrize("fault", PERMANENT)
def test_a_refusal_is_paid_for_and_an_error_is_not(after_permanent: Jobs, fault: str) -> None:
    answered = PERMANENT[fault][0].status == 200

    assert after_permanent[fault]["usage"] == used(2 if answered else 1)


def test_three_broken_answers_in_a_row_fail_the_job_and_their_tokens_are_counted(world: FaultyStack) -> None:
    world.model.script("job-thrice", EMPTY_TEXT, CUT_OFF, BREAKS_SCHEMA, step="checklist")

    job = world.finished(world.submit("job-thrice"))

    assert (job["status"], job["error"]["type"], job["error"]["step"]) == ("failed", "unusable_answer", "checklist")
    assert job["usage"] == used(4)
    assert [call.complaint[:8] for call in world.model.journal.calls("job-thrice", "checklist")] == [
        "",
        "it was e",
        "it was c",
    ]


def test_broken_answers_before_a_fault_that_passes_are_counted_too(world: FaultyStack) -> None:
    world.model.script("job-broken-then-500", EMPTY_TEXT, SERVER_ERROR, step="checklist")

    job = world.finished(world.submit("job-broken-then-500"))

    assert_right(job, "job-broken-then-500")
    assert job["usage"] == used(4)


def test_a_job_whose_model_hangs_does_not_hold_up_the_others_of_its_batch() -> None:
    # a stack of its own: refusals of other tests do not slow it down, and a busy machine has 35 seconds for the nine
    with faulty_stack(parameters={"WorkerTimeoutSeconds": "120", **KNOWN_LIMIT}) as world:
        # given ten jobs in one batch, and a model that never answers one of them
        world.model.script("job-hangs", NEVER)
        with world.workers_paused():
            hanging = world.submit("job-hangs")
            others = [world.submit(f"job-beside-{number}") for number in range(9)]

        # then the nine are done before the call for the tenth has been given up
        for number, job in enumerate(world.all_finished(others)):
            assert_right(job, f"job-beside-{number}")
        (held,) = world.model.journal.calls("job-hangs")
        assert held.ended is None
        world.model.release()
        assert_right(world.finished(hanging), "job-hangs")
