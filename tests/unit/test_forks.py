"""`POST /jobs/{event_id}/fork`: a job that begins with copies of another one's outputs."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from aws_lambda_powertools import Logger
from pydantic import JsonValue

from jobchain import Chain, Text
from jobchain.aws.attributes import Item, from_item
from jobchain.chains import CHAINS
from jobchain.chains.planning import stored_step
from jobchain.domain import Job, NewJob, Status
from jobchain.errors import TransientModelError
from jobchain.limits import Limits
from jobchain.spending import NOTHING_SPENT
from jobchain_api.auth import Caller
from jobchain_api.forking import _differs
from jobchain_api.service import JobService
from tests.conftest import make_service
from tests.deployment import RETENTION, TEXT, Deployment
from tests.fake_model.answers import CHECKLIST, SUMMARY
from tests.gateway import Answer, Api
from tests.unit.test_long_texts import TEXT as LONG_TEXT
from tests.unit.test_long_texts import ReadingLLM

BUSY = TransientModelError("the model's server answered 503")
COMPARED = {"first": "Lock doors.", "second": "Lock windows.", "first_name": "A", "second_name": "B"}


@pytest.fixture
def api(service: JobService, logger: Logger) -> Api:
    return Api(service, logger)


def fork(api: Api, event_id: str, from_step: str, key: str = "", **more: Any) -> Answer:
    headers = {"Idempotency-Key": key} if key else None
    return api("POST", f"/jobs/{event_id}/fork", {"from_step": from_step, **more}, headers)


def forked(api: Api, event_id: str, from_step: str, **more: Any) -> str:
    """The id of a fork that is accepted."""
    answer = fork(api, event_id, from_step, **more)
    assert answer.status == 201, answer.body
    made: str = answer.body["event_id"]
    return made


def outputs(job: Job) -> dict[str, Any]:
    return {step.name: step.output for step in job.steps}


@pytest.fixture
def done(deployment: Deployment) -> str:
    """A job that has completed."""
    event_id = deployment.create(metadata={"team": "legal"}, title="a.md")
    assert deployment.run().status is Status.COMPLETED
    return event_id


class TestAFork:
    def test_runs_the_step_and_those_that_need_it_alone(self, deployment: Deployment, api: Api, done: str) -> None:
        before = len(deployment.llm.requests)
        items: Any = CHECKLIST["checklist"]
        other = {**CHECKLIST, "checklist": items[:1]}

        event_id = forked(api, done, "checklist")
        job = deployment.run(other, event_id=event_id)

        assert job.status is Status.COMPLETED
        assert [request.answer.__name__ for request in deployment.llm.requests[before:]] == [
            "ChecklistAnswer",
            "DiagramAnswer",
        ]
        source = deployment.job(done)
        assert outputs(job)["summary"] == outputs(source)["summary"]
        assert len(outputs(job)["checklist"]) == 1 < len(outputs(source)["checklist"])
        # The model was given the copied summary.
        assert deployment.llm.requests[before].input == deployment.llm.requests[1].input

    def test_says_what_it_is_and_that_copies_cost_nothing(self, deployment: Deployment, api: Api, done: str) -> None:
        event_id = forked(api, done, "diagram")

        created = api("GET", f"/jobs/{event_id}?include=attempts").body
        assert created["forked_from"] == {"event_id": done, "from_step": "diagram", "replay": None}
        assert (created["status"], created["calls"], created["cost_usd"]) == ("pending", 0, 0)
        assert [*created["result"]] == ["summary", "checklist", "checklist_items"]
        assert [(step["name"], step["status"], step["copied"]) for step in created["steps"]] == [
            ("summary", "completed", True),
            ("checklist", "completed", True),
            ("diagram", "pending", False),
        ]
        summary = created["steps"][0]
        assert (summary["calls"], summary["cost_usd"], summary["started_at"], summary["finished_at"]) == (
            0,
            0,
            None,
            None,
        )
        assert summary["usage"]["input_tokens"] == 0
        assert summary["model"]

        job = deployment.run(event_id=event_id)
        ended = api("GET", f"/jobs/{event_id}?include=attempts").body
        assert (ended["status"], ended["calls"]) == ("completed", 1)
        assert [call["step"] for call in ended["answered_calls"]] == ["diagram"]
        assert ended["forked_from"] == created["forked_from"]
        (listed,) = [job for job in api("GET", "/jobs").body["jobs"] if job["event_id"] == event_id]
        assert listed["forked_from"] == created["forked_from"]
        assert api("GET", f"/jobs/{done}").body["forked_from"] is None
        assert job.spending.calls == 1

    def test_is_in_the_usage_records_with_its_own_calls_alone(
        self, deployment: Deployment, api: Api, done: str
    ) -> None:
        event_id = forked(api, done, "diagram")
        deployment.run(event_id=event_id)

        assert deployment.spent(done, event_id).calls == 3 + 1
        assert deployment.stores.usage.today("local").created == 2

    def test_is_as_the_job_but_for_what_the_request_says(self, deployment: Deployment, api: Api, done: str) -> None:
        same = api("GET", f"/jobs/{forked(api, done, 'diagram')}").body
        other = api(
            "GET",
            f"/jobs/{forked(api, done, 'diagram', title='b', metadata={}, max_cost_usd=0.5)}",
        ).body

        assert (same["title"], same["metadata"], same["max_cost_usd"]) == ("a.md", {"team": "legal"}, None)
        assert (same["tier"], same["deadline_seconds"]) == ("standard", 86_400)
        assert (other["title"], other["metadata"], other["max_cost_usd"]) == ("b", {}, 0.5)

    def test_answers_with_its_place(self, api: Api, done: str) -> None:
        answer = fork(api, done, "diagram")
        slashed = api("POST", f"/jobs/{done}/fork/", {"from_step": "diagram"})

        assert answer.headers["Location"] == f"../{answer.body['event_id']}"
        assert slashed.headers["Location"] == f"../../{slashed.body['event_id']}"
        assert "Retry-After" in answer.headers

    def test_can_be_forked_cancelled_retried_and_deleted(self, deployment: Deployment, api: Api, done: str) -> None:
        first = forked(api, done, "checklist")
        assert api("POST", f"/jobs/{first}/cancel").body["steps"][0]["copied"] is True
        second = forked(api, first, "checklist")
        assert api("POST", f"/jobs/{first}/retry").status == 200

        for event_id in (first, second):
            assert deployment.run(event_id=event_id).status is Status.COMPLETED
        assert deployment.job(second).spending.calls == 2
        assert api("DELETE", f"/jobs/{first}").status == 204
        assert deployment.items(first) == []

    def test_outlives_the_job(self, deployment: Deployment, api: Api, done: str) -> None:
        event_id = forked(api, done, "diagram")

        assert api("DELETE", f"/jobs/{done}").status == 204

        assert deployment.run(event_id=event_id).status is Status.COMPLETED

    def test_of_a_job_that_failed_or_runs_has_what_is_completed(self, deployment: Deployment, api: Api) -> None:
        event_id = deployment.create()
        deployment.run(SUMMARY, *[{"nonsense": 1}] * 3)
        failed = forked(api, event_id, "checklist")
        waiting = deployment.create(2)
        deployment.run(SUMMARY, BUSY)
        again = forked(api, waiting, "checklist")

        for fork_id in (failed, again):
            assert deployment.run(event_id=fork_id).status is Status.COMPLETED
            assert deployment.job(fork_id).spending.calls == 2

    def test_from_the_first_step_copies_nothing(self, deployment: Deployment, api: Api, done: str) -> None:
        event_id = forked(api, done, "summary", payload={"guidelines": "Something else."})

        job = deployment.run(event_id=event_id)

        assert (job.status, job.spending.calls) == (Status.COMPLETED, 3)
        assert "Something else." in deployment.llm.requests[3].input

    def test_survives_a_worker_that_vanishes(self, deployment: Deployment, api: Api, done: str) -> None:
        event_id = forked(api, done, "checklist")
        deployment.stores.claim(event_id, deployment.clock() + timedelta(minutes=5))
        deployment.clock.advance(timedelta(minutes=6))

        job = deployment.run(event_id=event_id)

        assert job.status is Status.COMPLETED
        assert [step.copied for step in job.steps] == [True, False, False]
        assert job.steps[0].total == NOTHING_SPENT


class TestTheParts:
    """Of a long text whose summary and checklist are made in parts."""

    @pytest.fixture
    def long(self, deployment: Deployment) -> str:
        deployment.llm = ReadingLLM()
        deployment.runner = deployment.worker(max_input_tokens=100)
        event_id = deployment.create(payload={"guidelines": LONG_TEXT})
        assert deployment.run().status is Status.COMPLETED
        return event_id

    def test_of_earlier_steps_are_copied(self, deployment: Deployment, api: Api, long: str) -> None:
        before = len(deployment.llm.requests)
        event_id = forked(api, long, "checklist")

        job = deployment.run(event_id=event_id)

        assert job.status is Status.COMPLETED
        assert outputs(job) == outputs(deployment.job(long))
        asked = [request.answer.__name__ for request in deployment.llm.requests[before:]]
        assert asked == ["ChecklistPartAnswer"] * 3 + ["DiagramAnswer"]
        copied = {step.name for step in job.steps if step.copied}
        assert copied == {"summary.parts", "summary.part01", "summary.part02", "summary.part03", "summary"}

    def test_of_another_payload_are_not_copied(self, api: Api, long: str) -> None:
        changed = {"guidelines": f"{LONG_TEXT} And more."}

        assert_refused(fork(api, long, "checklist", payload=changed), 422, "payload")


def first_words(value: list[str], most: int) -> list[str]:
    return value[:most]


class TestAPayload:
    def test_may_not_change_what_an_answer_was_read_with(self) -> None:
        # given a step whose answer is cut to as many words as the payload says: the model is not told the number
        chain = Chain("words")

        @chain.ask(then=first_words)
        def words(document: Text) -> list[str]:
            """List the words."""
            raise NotImplementedError

        @chain.ask
        def summary(words: list[str]) -> str:
            """Summarize."""
            raise NotImplementedError

        three, same, one = (chain.compiled.payload(document="a b c", most=most) for most in (3, 3, 1))

        assert not _differs(chain.compiled, three, same, {}, "words")
        assert _differs(chain.compiled, three, one, {}, "words")

    def test_may_change_what_no_copied_step_worked_on(self, deployment: Deployment, api: Api) -> None:
        # given two guidelines, each of which a step of its own reads; their names are for the last step
        deployment.llm = ReadingLLM()
        deployment.runner = deployment.worker()
        event_id = deployment.create(job_name="compare_guidelines", payload=COMPARED)
        assert deployment.run().status is Status.COMPLETED
        names = [step.name for step in CHAINS["compare_guidelines"].steps]
        second = next(name for name in names if "second" in name)
        changed = {**COMPARED, "second": "Lock the safe."}

        refused = fork(api, event_id, names[-1], payload=changed)
        made = forked(api, event_id, second, payload=changed)

        assert_refused(refused, 422, "payload")
        assert second in refused.body["errors"]["payload"]
        before = len(deployment.llm.requests)
        assert deployment.run(event_id=made).status is Status.COMPLETED
        assert "Lock the safe." in deployment.llm.requests[before].input
        assert len(deployment.llm.requests) == before + 2

    def test_that_is_the_same_changes_nothing(self, api: Api, done: str) -> None:
        assert fork(api, done, "diagram", payload={"guidelines": f" {TEXT}\n"}).status == 201

    def test_that_changes_a_copied_step_is_refused(self, api: Api, done: str) -> None:
        answer = fork(api, done, "diagram", payload={"guidelines": "Something else."})

        assert_refused(answer, 422, "payload")
        assert "summary, checklist" in answer.body["errors"]["payload"]

    def test_that_the_chain_does_not_take_is_refused(self, api: Api, done: str) -> None:
        assert_refused(fork(api, done, "summary", payload={"guidelines": ""}), 422, "payload.guidelines")
        assert [*fork(api, done, "summary", payload={"text": "a"}).body["errors"]] == [
            "payload.guidelines",
            "payload.text",
        ]
        too_long = {"guidelines": "\N{GRINNING FACE}" * 70_000}
        assert fork(api, done, "summary", payload=too_long).status == 413


class TestARefusal:
    @pytest.mark.parametrize("step", ["nothing", "", "summary.part01", "Summary", "x" * 100])
    def test_of_a_step_that_the_chain_does_not_have(self, api: Api, done: str, step: str) -> None:
        answer = fork(api, done, step)

        assert_refused(answer, 422, "from_step")
        assert answer.body["errors"]["from_step"] == "unknown step: use one of summary, checklist, diagram"

    def test_of_a_step_before_which_not_all_are_completed(self, deployment: Deployment, api: Api) -> None:
        event_id = deployment.create()
        deployment.run(SUMMARY, BUSY)

        answer = fork(api, event_id, "diagram")

        assert_refused(answer, 409)
        assert "checklist is not completed" in answer.body["detail"]
        assert fork(api, deployment.create(2), "diagram").body["detail"].count("summary, checklist are") == 1

    @pytest.mark.parametrize(
        "body",
        [{"from_step": ""}, {"from_step": 1}, {"from_step": "diagram", "tier": "flex"}, {"from_step": "x" * 101}],
    )
    def test_of_what_is_no_request(self, api: Api, done: str, body: dict[str, Any]) -> None:
        assert api("POST", f"/jobs/{done}/fork", body).status == 422

    def test_of_another_tenants_job(self, deployment: Deployment, api: Api) -> None:
        new = NewJob("0b6c2f4e-0000-4000-8000-000000000009", "theirs", "guideline_checklist", {}, "f")
        deployment.stores.admission.create(new, RETENTION)

        assert_refused(fork(api, new.event_id, "summary"), 404)
        assert_refused(fork(api, "0b6c2f4e-0000-4000-8000-00000000000a", "summary"), 404)
        assert_refused(fork(api, "nonsense", "summary", key="k"), 404)

    def test_of_a_job_whose_chain_was_removed(self, deployment: Deployment, logger: Logger, done: str) -> None:
        service = make_service(deployment.stores, deployment.queue, logger, chains={})

        assert_refused(fork(Api(service, logger), done, "summary"), 409)

    def test_of_a_job_whose_payload_the_chain_does_not_take_any_more(self, deployment: Deployment, api: Api) -> None:
        event_id = deployment.create(payload={"old": "a"})

        assert_refused(fork(api, event_id, "summary"), 409)
        assert fork(api, event_id, "summary", payload={"guidelines": "a"}).status == 201

    def test_leaves_nothing_behind(self, deployment: Deployment, api: Api, done: str) -> None:
        before = everything(deployment)

        fork(api, done, "nothing")
        fork(api, done, "diagram", payload={"guidelines": "Something else."})

        assert everything(deployment) == before

    def test_by_a_limit_leaves_nothing_behind(
        self, deployment: Deployment, service: JobService, logger: Logger, done: str
    ) -> None:
        limited = Api(service, logger, lambda _: Caller("local", limits=Limits(jobs_per_minute=8)))
        for _ in range(8):
            forked(limited, done, "diagram")
        before = everything(deployment)

        assert fork(limited, done, "diagram").status == 429
        assert everything(deployment) == before


class TestARepeatedRequest:
    def test_is_one_fork(self, deployment: Deployment, api: Api, done: str) -> None:
        first, second = (fork(api, done, "diagram", key="k", title=title) for title in ("a", "b"))

        assert (first.status, second.status) == (201, 200)
        assert second.headers["Idempotent-Replayed"] == "true"
        assert first.body["event_id"] == second.body["event_id"]
        copies = [item for item in deployment.items(first.body["event_id"]) if item["sk"].startswith("STEP#")]
        assert len(copies) == 2

    def test_is_answered_after_the_job_was_deleted(self, api: Api, done: str) -> None:
        first = fork(api, done, "diagram", key="k")
        api("DELETE", f"/jobs/{done}")

        assert fork(api, done, "diagram", key="k").body["event_id"] == first.body["event_id"]
        assert fork(api, done, "diagram", key="other").status == 404

    @pytest.mark.parametrize("more", [{"from_step": "checklist"}, {"metadata": {"a": "b"}}, {"max_cost_usd": 1}])
    def test_with_another_request_is_a_conflict(self, api: Api, done: str, more: dict[str, Any]) -> None:
        fork(api, done, "diagram", key="k")

        answer = api("POST", f"/jobs/{done}/fork", {"from_step": "diagram", **more}, {"Idempotency-Key": "k"})

        assert answer.body["type"].endswith("idempotency-conflict")

    def test_of_another_job_or_of_a_new_one_is_a_conflict(self, deployment: Deployment, api: Api, done: str) -> None:
        fork(api, done, "diagram", key="k")
        other = deployment.create(2)
        deployment.run()

        assert fork(api, other, "diagram", key="k").body["type"].endswith("idempotency-conflict")
        created = api("POST", "/jobs", {"input_text": "a"}, {"Idempotency-Key": "k"})
        assert created.body["type"].endswith("idempotency-conflict")


class TestFaults:
    """Of the table, at each of the calls that a fork makes."""

    @pytest.mark.parametrize("fault", ["refused", "lost"])
    @pytest.mark.parametrize("number", range(6))
    def test_leave_the_whole_fork_or_none(
        self, deployment: Deployment, api: Api, done: str, fault: Any, number: int
    ) -> None:
        # given a table that fails at one of its calls, and at botocore's own repetitions of it
        called: list[str] = []

        def at_one_call(operation: str) -> Any:
            called.append(operation)
            return fault if number * 2 <= len(called) - 1 < number * 2 + 2 else None

        deployment.faults.choose = at_one_call
        answer = fork(api, done, "diagram", key="k")
        deployment.faults.choose = lambda _: None

        made = [item for item in everything(deployment) if item["sk"] == "META"]
        metas = [meta for meta in made if "forked_from" in meta.get("about", {})]
        assert len(metas) <= 1
        if answer.status == 201:
            assert metas
        for meta in metas:
            assert [step.name for step in deployment.job(event_id_of(meta)).steps] == ["summary", "checklist"]
        # A repetition is the same fork, and it runs.
        again = fork(api, done, "diagram", key="k")
        assert again.status in (200, 201)
        job = deployment.run(event_id=again.body["event_id"])
        assert (job.status, job.spending.calls) == (Status.COMPLETED, 1)

    def test_in_between_leave_no_fork_that_can_be_seen(self, deployment: Deployment, api: Api, done: str) -> None:
        # given an api that ends after the copies were written
        deployment.faults.choose = lambda operation: "refused" if operation == "TransactWriteItems" else None
        assert fork(api, done, "diagram", key="k").status == 503
        deployment.faults.choose = lambda _: None

        assert len(api("GET", "/jobs").body["jobs"]) == 1
        left = [item for item in everything(deployment) if "stored_at" in item and "copied" in item]
        assert len(left) == 2
        assert all("expires_at" in item for item in left)


class TestADeletionAtTheSameTime:
    def test_wins_if_it_comes_before_the_fork_is_stored(
        self, deployment: Deployment, api: Api, service: JobService, done: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self._before_the_transaction(service, lambda: api("DELETE", f"/jobs/{done}"), monkeypatch)

        answer = fork(api, done, "diagram")

        assert_refused(answer, 404)
        assert not [item for item in everything(deployment) if item["pk"].startswith("JOB#")]

    def test_wins_too_if_another_job_took_the_id(
        self, deployment: Deployment, api: Api, service: JobService, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        request = "POST", "/jobs", {"input_text": TEXT}, {"Idempotency-Key": "k"}
        event_id = api(*request).body["event_id"]
        deployment.run(event_id=event_id)

        def replaced() -> None:
            assert api("DELETE", f"/jobs/{event_id}").status == 204
            deployment.clock.advance(timedelta(seconds=1))
            assert api(*request).status == 201

        self._before_the_transaction(service, replaced, monkeypatch)

        assert_refused(fork(api, event_id, "diagram"), 404)

    def test_of_an_earlier_fork_with_the_same_key_leaves_the_copies_of_the_new_one(
        self, deployment: Deployment, api: Api, service: JobService, done: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # given a fork that is deleted just while a request with its key is storing it again
        first = forked(api, done, "diagram", key="k")
        deployment.run(event_id=first)
        stored: list[Item] = []
        monkeypatch.setattr(service._submitter, "replay", lambda *_: None)
        self._before_the_transaction(service, lambda: api("DELETE", f"/jobs/{first}"), monkeypatch)

        again = fork(api, done, "diagram", key="k")

        assert again.status == 201
        stored += deployment.items(first)
        assert [step.name for step in deployment.job(first).steps] == ["summary", "checklist"]
        assert deployment.run(event_id=first).status is Status.COMPLETED

    def _before_the_transaction(
        self, service: JobService, do: Callable[[], object], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Does something once the copies are written."""
        table = service._submitter._admission._table
        put_many = table.put_many

        def then(items: Any) -> None:
            put_many(items)
            monkeypatch.setattr(table, "put_many", put_many)
            do()

        monkeypatch.setattr(table, "put_many", then)


class TestStoredSteps:
    def test_of_every_chain_are_found_by_their_names(self) -> None:
        payload = CHAINS["guideline_checklist"].payload.model_validate({"guidelines": TEXT})

        for step in CHAINS["guideline_checklist"].steps:
            assert stored_step(CHAINS["guideline_checklist"], payload, {}, step.name) is step

    @pytest.mark.parametrize("name", ["nothing", "nothing.parts", "nothing.part01", "summary.part09", "a b"])
    def test_are_none_for_a_name_that_no_step_has(self, name: str) -> None:
        chain = CHAINS["guideline_checklist"]
        payload = chain.payload.model_validate({"guidelines": TEXT})
        parts: list[dict[str, JsonValue]] = [{}, {"summary.parts": [[0, 3], [3, 6]]}]

        assert [stored_step(chain, payload, known, name) for known in parts] == [None, None]


def everything(deployment: Deployment) -> list[Item]:
    """All items of the table but those of the daily usage and of counters."""
    found = deployment.stores.client.scan(TableName=deployment.stores.table, ConsistentRead=True)["Items"]
    items = [from_item(item) for item in found]
    return sorted(
        (item for item in items if not item["pk"].startswith("TENANT#")), key=lambda item: str(item["pk"] + item["sk"])
    )


def event_id_of(meta: Item) -> str:
    return str(meta["pk"]).removeprefix("JOB#")


def assert_refused(answer: Answer, status: int, field: str = "") -> None:
    assert answer.status == status, answer
    if field:
        assert list(answer.body["errors"]) == [field]
    if status == 409:
        assert answer.body["type"] == "urn:jobchain:problem:job-cannot-be-forked"
