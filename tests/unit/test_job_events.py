"""`GET /jobs/{event_id}/events`: what happened to a job, resumable from any page."""

from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from aws_lambda_powertools import Logger
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobchain.aws import history
from jobchain.aws.attributes import Item
from jobchain.aws.table import Table
from jobchain.domain import Claim, JobError, Status
from jobchain.errors import CallReport, InvalidRequest, JobNotFound, TransientModelError, Unauthorized
from jobchain.spending import NOTHING_SPENT, Spending
from jobchain_api.auth import Caller
from jobchain_api.service import JobService
from tests.deployment import AFTER_LEASE, INVOCATION, TENANT, Deployment
from tests.fake_model.answers import SUMMARY
from tests.gateway import Answer, Api
from tests.unit.test_long_texts import TEXT as LONG_TEXT
from tests.unit.test_long_texts import ReadingLLM
from tests.unit.test_settling import Workers

BUSY = TransientModelError("the model's server answered 503", report=CallReport(cause="overloaded", request_id="req-1"))
REFUSED = {"summary": ""}


@pytest.fixture
def api(service: JobService, logger: Logger) -> Api:
    return Api(service, logger)


@pytest.fixture
def workers(deployment: Deployment) -> Workers:
    deployment.create()
    return Workers(deployment)


class Reader:
    """Reads the events of a job page by page, each time from where the last page ended."""

    def __init__(self, api: Api, event_id: str, limit: int = 1000) -> None:
        self._api = api
        self._path = f"/jobs/{event_id}/events?limit={limit}"
        self.after = ""
        self.told: list[dict[str, Any]] = []

    def page(self, headers: dict[str, str] | None = None) -> Answer:
        """The next page, without going on to it."""
        return self._api("GET", self._path + (f"&after={self.after}" if self.after else ""), headers=headers)

    def read(self) -> list[str]:
        """What was not told yet, up to the last page, as words."""
        new = []
        while True:
            answer = self.page()
            assert answer.status == 200, answer.body
            new += answer.body["events"]
            self.after = answer.body["next_after"]
            if not answer.body["has_more"]:
                self.told += new
                return [words(event) for event in new]

    @property
    def ids(self) -> list[str]:
        return [event["id"] for event in self.told]


def words(event: dict[str, Any]) -> str:
    """An event in short: "call.failed summary 1"."""
    step = f" {event['step']}" if event["step"] else ""
    return f"{event['type']}{step} {event['attempt']}"


CREATED, STARTED = "job.created 0", "job.started 1"
STEPS = ["step.completed summary 1", "step.completed checklist 1", "step.completed diagram 1"]


class TestTheEventsOfAJob:
    def test_are_its_creation_its_start_its_steps_and_its_end(self, deployment: Deployment, api: Api) -> None:
        reader = Reader(api, deployment.create())
        before = reader.read()
        deployment.run()

        assert before == [CREATED]
        assert reader.read() == [STARTED, *STEPS, "job.completed 1"]
        assert reader.read() == []

    def test_say_when_and_what_it_cost(self, deployment: Deployment, api: Api) -> None:
        reader = Reader(api, deployment.create())
        deployment.llm.takes = timedelta(seconds=2)
        deployment.run()
        reader.read()
        job = api("GET", f"/jobs/{deployment.event_id}").body

        _, started, summary, *_, ended = reader.told
        step = job["steps"][0]
        assert (started["at"], ended["at"]) == (job["started_at"], job["finished_at"])
        assert (summary["started_at"], summary["at"]) == (step["started_at"], step["finished_at"])
        assert summary["spending"] == {name: step[name] for name in summary["spending"]}
        assert (summary["model"], summary["tier"]) == (step["model"], "standard")
        assert [event["at"] for event in reader.told] == sorted(event["at"] for event in reader.told)

    def test_tell_failed_calls_with_their_causes_and_what_the_job_waits_for(
        self, deployment: Deployment, api: Api
    ) -> None:
        reader = Reader(api, deployment.create())
        deployment.run(SUMMARY, BUSY)

        assert reader.read() == [CREATED, STARTED, STEPS[0], "call.failed checklist 1", "job.waiting 1"]
        failed, waiting = reader.told[-2:]
        assert (failed["outcome"], failed["cause"], failed["request_id"]) == (
            "model_unavailable",
            "overloaded",
            "req-1",
        )
        assert failed["spending"]["calls"] == 1
        assert (waiting["waiting_for"]["reason"], waiting["at"]) == ("retry", waiting["waiting_for"]["since"])

        deployment.run_until_final()
        assert reader.read() == [
            "step.completed checklist 2",
            "step.completed diagram 2",
            "job.completed 2",
        ]

    def test_tell_why_it_failed(self, deployment: Deployment, api: Api) -> None:
        reader = Reader(api, deployment.create())
        deployment.run(REFUSED, REFUSED, REFUSED)

        assert reader.read()[-1] == "job.failed summary 1"
        job = api("GET", f"/jobs/{deployment.event_id}").body
        assert reader.told[-1]["error"] == job["error"]

    def test_have_no_text_of_the_job_or_of_an_answer(self, deployment: Deployment, api: Api) -> None:
        reader = Reader(api, deployment.create(title="a title", metadata={"team": "legal"}))
        deployment.run({"summary": "<b>SECRET</b>", "x": 1})
        reader.read()

        assert not any(text in str(reader.told) for text in ("SECRET", "a title", "legal", "Passwords"))

    def test_of_a_fork_begin_with_the_copied_steps(self, deployment: Deployment, api: Api) -> None:
        done = deployment.create()
        deployment.run()
        fork = api("POST", f"/jobs/{done}/fork", {"from_step": "diagram"}).body["event_id"]
        reader = Reader(api, fork)
        copied = ["step.copied summary 0", "step.copied checklist 0"]

        assert reader.read() == [CREATED, *copied]
        deployment.run(event_id=fork)
        assert reader.read() == [STARTED, "step.completed diagram 1", "job.completed 1"]
        assert all(event["spending"] is None for event in reader.told[:3])

    def test_of_a_text_in_parts_name_each_part_and_not_the_split(self, deployment: Deployment, api: Api) -> None:
        deployment.create(payload={"guidelines": LONG_TEXT})
        deployment.llm = ReadingLLM()
        deployment.runner = deployment.worker(max_input_tokens=100)
        reader = Reader(api, deployment.event_id)
        deployment.run()
        reader.read()

        names = [event["step"] for event in reader.told if event["step"]]
        assert any(".part" in name for name in names)
        assert not any(name.endswith(".parts") for name in names)

    def test_are_those_of_its_tenant_alone(self, deployment: Deployment, service: JobService, logger: Logger) -> None:
        event_id = deployment.create()
        callers = {"Bearer a": Caller(TENANT), "Bearer b": Caller("another")}

        def authenticate(header: str) -> Caller:
            if header not in callers:
                raise Unauthorized("no")
            return callers[header]

        api = Api(service, logger, authenticate)
        path = f"/jobs/{event_id}/events"
        position = api("GET", path, headers={"Authorization": "Bearer a"}).body["next_after"]

        for url in (path, f"{path}?after={position}"):
            assert api("GET", url, headers={"Authorization": "Bearer b"}).status == 404
        assert api("GET", path).status == 401


class TestAPage:
    @pytest.mark.parametrize("limit", [1, 2, 3, 7])
    def test_of_any_size_leads_to_all_events_once_and_in_the_same_order(
        self, deployment: Deployment, api: Api, limit: int
    ) -> None:
        event_id = deployment.create()
        deployment.run(SUMMARY, BUSY)
        deployment.run_until_final()
        whole, parts = Reader(api, event_id), Reader(api, event_id, limit)
        whole.read()
        parts.read()

        assert parts.ids == whole.ids
        assert len(set(whole.ids)) == len(whole.ids)

    def test_is_a_304_while_nothing_happens(self, deployment: Deployment, api: Api) -> None:
        reader = Reader(api, deployment.create())
        reader.read()
        etag = reader.page().headers["ETag"]

        again = reader.page({"If-None-Match": etag})
        deployment.run()
        later = reader.page({"If-None-Match": etag})

        assert (again.status, again.body) == (304, None)
        assert int(again.headers["Retry-After"]) >= 1
        assert (later.status, later.body["status"]) == (200, "completed")

    def test_says_when_to_ask_again_unless_there_is_more_or_the_job_has_ended(
        self, deployment: Deployment, api: Api
    ) -> None:
        event_id = deployment.create()
        deployment.run(BUSY)
        full, all_of_it = Reader(api, event_id, 1).page(), Reader(api, event_id).page()
        deployment.run_until_final()
        ended = Reader(api, event_id).page()

        assert (full.body["has_more"], "Retry-After" in full.headers) == (True, False)
        assert (all_of_it.body["has_more"], "Retry-After" in all_of_it.headers) == (False, True)
        assert "Retry-After" not in ended.headers

    def test_of_a_running_job_comes_as_often_as_it_has_steps_to_come(self, deployment: Deployment, api: Api) -> None:
        deployment.llm.takes = timedelta(seconds=4)
        for number in range(2, 8):
            deployment.create(number)
            deployment.run()
        workers = Workers(deployment)
        deployment.create()
        workers.claim()

        job = api("GET", f"/jobs/{deployment.event_id}").headers["Retry-After"]
        events = Reader(api, deployment.event_id).page().headers["Retry-After"]

        assert (job, events) == ("12", "4")

    @pytest.mark.parametrize(
        "after", ["", "x", "~~", "0123456789", "01234567~0.0~", "%00", "~0.0~~", "01234567~0.0~1-failed-1", "9" * 4001]
    )
    def test_after_what_is_no_position_of_the_job_is_refused(
        self, deployment: Deployment, api: Api, after: str
    ) -> None:
        deployment.create()

        answer = api("GET", f"/jobs/{deployment.event_id}/events?after={after}")

        assert answer.status == 422
        assert list(answer.body["errors"]) == ["after"]

    def test_after_a_position_of_another_job_is_refused_one_of_the_same_id_too(
        self, deployment: Deployment, api: Api
    ) -> None:
        reader = Reader(api, deployment.create())
        deployment.run()
        reader.read()
        deployment.stores.jobs.delete(TENANT, deployment.event_id)
        assert reader.page().status == 404

        deployment.create()

        answer = reader.page()
        assert (answer.status, list(answer.body["errors"])) == (422, ["after"])
        assert "or none for all events" in answer.body["errors"]["after"]

    @pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "before=1", "after=1&after=2"])
    def test_with_a_wrong_parameter_is_refused(self, deployment: Deployment, api: Api, query: str) -> None:
        deployment.create()

        answer = api("GET", f"/jobs/{deployment.event_id}/events?{query}")

        assert (answer.status, list(answer.body["errors"])) == (422, [query.partition("=")[0]])

    def test_of_no_job_is_a_404(self, api: Api) -> None:
        assert api("GET", "/jobs/0b6c2f4e-0000-4000-8000-000000000009/events").status == 404
        assert api("GET", "/jobs/x/events").status == 404


class TestAWorkerThatLostItsLease:
    def test_is_heard_by_a_reader_that_has_read_on(self, workers: Workers, api: Api) -> None:
        reader = Reader(api, workers.deployment.event_id)
        slow = workers.claim()
        workers.store(slow)
        after = workers.claim()
        workers.store(after, name="checklist")
        assert reader.read() == [CREATED, STARTED, "step.completed summary 1", "step.completed checklist 2"]

        workers.fail_call(slow, 2)

        assert reader.read() == ["call.failed summary 1"]

    def test_is_heard_after_the_end_of_the_job_too(self, workers: Workers, api: Api) -> None:
        reader = Reader(api, workers.deployment.event_id)
        slow = workers.claim()
        after = workers.claim()
        workers.settle(after)
        workers.claims.finish(after)
        assert reader.read()[-1] == "job.completed 2"

        workers.fail_call(slow)

        assert reader.read() == ["call.failed summary 1"]
        assert reader.read() == []

    def test_adds_no_step(self, workers: Workers, api: Api) -> None:
        reader = Reader(api, workers.deployment.event_id)
        slow = workers.claim()
        workers.claim()
        reader.read()

        workers.store(slow)

        assert reader.read() == []
        assert Reader(api, workers.deployment.event_id).read() == [CREATED, STARTED]

    def test_may_have_told_a_step_that_another_worker_tells_again(self, workers: Workers, api: Api) -> None:
        """Its step was stored after the next worker read the job, and read before that worker claimed it."""
        reader = Reader(api, workers.deployment.event_id)
        slow = workers.claim()
        workers.deployment.clock.advance(AFTER_LEASE)

        def store_and_read(*_: object) -> tuple[str, Spending]:
            workers.store(slow)
            reader.read()
            return "m", NOTHING_SPENT

        lease_until = workers.deployment.clock() + INVOCATION
        claim = workers.claims.claim(workers.deployment.event_id, lease_until, store_and_read)
        workers.store(claim)
        reader.read()

        assert [words(event) for event in reader.told] == [
            CREATED,
            STARTED,
            "step.completed summary 1",
            "step.completed summary 2",
        ]
        assert Reader(api, workers.deployment.event_id).read() == [CREATED, STARTED, "step.completed summary 2"]


class TestAReadingThatIsNoSnapshot:
    def test_misses_no_call_that_was_stored_before_a_step_that_it_finds(
        self, workers: Workers, api: Api, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        reader = Reader(api, workers.deployment.event_id)
        claim = workers.claim()

        def between() -> None:
            workers.fail_call(claim, 1)
            workers.store(claim, 2)

        before_reading(monkeypatch, "STEP", between)

        assert reader.read() == [CREATED, STARTED, "call.failed summary 1", "step.completed summary 1"]

    def test_tells_no_end_before_what_led_to_it(
        self, workers: Workers, api: Api, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        reader = Reader(api, workers.deployment.event_id)
        claim = workers.claim()

        def between() -> None:
            workers.fail_call(claim, 1)
            workers.claims.fail(claim, JobError("model_refused", "no", "summary"))

        before_reading(monkeypatch, "STEP", between)
        reader.read()
        reader.read()

        assert [words(event) for event in reader.told] == [
            CREATED,
            STARTED,
            "call.failed summary 1",
            "job.failed summary 1",
        ]

    def test_of_calls_of_which_some_were_replaced_tells_the_others(self, workers: Workers, api: Api) -> None:
        reader = Reader(api, workers.deployment.event_id)
        claim = workers.claim()
        for number in (998, 999, 1000, 1001, 1002):
            workers.fail_call(claim, number)

        reader.read()

        assert [event["id"].split("-", 1)[1] for event in reader.told[2:]] == ["1-998", "1-999", "1-1002"]


def before_reading(monkeypatch: pytest.MonkeyPatch, kind: str, event: Callable[[], None]) -> None:
    """Lets `event` happen once, before the next reading of items of this kind."""
    query, left = Table.query, [event]

    def query_and(self: Table, pk: str, first: str, last: str) -> list[Item]:
        if first == kind and left:
            left.pop()()
        return query(self, pk, first, last)

    monkeypatch.setattr(Table, "query", query_and)


class TestARetriedJob:
    def test_goes_on_where_its_reader_was(self, deployment: Deployment, api: Api) -> None:
        reader = Reader(api, deployment.create())
        deployment.run(REFUSED, REFUSED, REFUSED)
        assert reader.read()[-1] == "job.failed summary 1"
        deployment.stores.jobs.retry(TENANT, deployment.event_id)
        assert reader.read() == []
        deployment.run()

        assert reader.read() == [step.replace("1", "2") for step in (*STEPS, "job.completed 1")]

    def test_that_ends_twice_without_a_worker_in_between_has_two_ends(self, deployment: Deployment, api: Api) -> None:
        reader = Reader(api, deployment.create())
        ends = []
        for _ in range(2):
            deployment.stores.jobs.cancel(TENANT, deployment.event_id)
            ends += reader.read()
            deployment.stores.jobs.retry(TENANT, deployment.event_id)
            deployment.clock.advance(timedelta(milliseconds=1))
            ends += reader.read()

        assert ends == [CREATED, "job.cancelled 0", "job.cancelled 0"]
        assert len(set(reader.ids)) == 3


class Course:
    """A job whose workers, callers and readers do anything in any order. Each move is made if it can be made now."""

    def __init__(self, deployment: Deployment, api: Api, number: int) -> None:
        deployment.create(number)
        self._deployment = deployment
        self._workers = Workers(deployment)
        self._jobs = deployment.stores.jobs
        self._claims: list[Claim] = []
        self._stored = Counter[int]()
        self._api = api
        self.reader = Reader(api, deployment.event_id, 2)

    def move(self, what: str, place: int) -> None:
        """Makes a move; `place` chooses a worker that has lost its lease, if there are several."""
        self._deployment.clock.advance(timedelta(milliseconds=1))
        status = self._deployment.job().status
        if what in ("read", "look"):
            self._read(whole=what == "read")
        elif what.startswith("late"):
            self._late(what, place, held=status is Status.PROCESSING)
        elif what == "claim" and not status.final:
            self._claim()
        elif what in ("retry", "cancel"):
            self._ask(what, status)
        elif status is Status.PROCESSING:
            self._work(what)

    def _read(self, *, whole: bool) -> None:
        if whole:
            self.reader.read()
        else:
            page = self.reader.page().body
            self.reader.told += page["events"]
            self.reader.after = page["next_after"]

    def _late(self, what: str, place: int, *, held: bool) -> None:
        if lost := self._claims[: -1 if held else None]:
            slow = lost[place % len(lost)]
            if what == "late step":
                self._workers.store(slow, self._number(slow), "slow")
            else:
                self._workers.fail_call(slow, self._number(slow))

    def _claim(self) -> None:
        claim = self._workers.claim()
        if claim.unsettled:
            self._workers.settle(claim)
        self._claims.append(claim)

    def _ask(self, what: str, status: Status) -> None:
        if what == "retry" and status in (Status.FAILED, Status.CANCELLED):
            self._jobs.retry(TENANT, self._deployment.event_id)
        elif what == "cancel" and status is Status.PENDING:
            self._jobs.cancel(TENANT, self._deployment.event_id)

    def _work(self, what: str) -> None:
        claim = self._claims[-1]
        if what == "step":
            self._workers.store(claim, self._number(claim), f"step{self._stored.total()}")
        elif what == "call":
            self._workers.fail_call(claim, self._number(claim))
        elif what == "release":
            self._workers.claims.release(claim, timedelta(0), {}, {})
        elif what == "fail":
            self._workers.claims.fail(claim, JobError("t", "m"))

    def _number(self, claim: Claim) -> int:
        self._stored[claim.number] += 1
        return self._stored[claim.number]

    def all_now(self) -> list[str]:
        fresh = Reader(self._api, self._deployment.event_id)
        fresh.read()
        return fresh.ids


MOVES = ("claim", "step", "call", "late step", "late call", "release", "fail", "retry", "cancel", "read", "look")

_courses = Counter[str]()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(moves=st.lists(st.tuples(st.sampled_from(MOVES), st.integers(0, 9)), min_size=5, max_size=20))
def test_a_reader_is_told_all_that_is_there_and_nothing_twice(
    deployment: Deployment, api: Api, moves: list[tuple[str, int]]
) -> None:
    _courses["number"] += 1
    course = Course(deployment, api, _courses["number"])
    for what, place in moves:
        course.move(what, place)
    course.reader.read()

    ids = course.reader.ids
    assert Counter(ids).most_common(1)[0][1] == 1
    # What it was told before may be gone: an end by a retry.
    assert set(course.all_now()) <= set(ids)


def test_a_job_of_the_version_before_has_events_too(deployment: Deployment, api: Api) -> None:
    from tests.unit.test_old_layout import EVENT_ID, new_items, step_item  # noqa: PLC0415

    meta, *others = new_items(deployment.clock())
    steps = [step_item(deployment.clock(), 0, "summary", "s"), step_item(deployment.clock(), 1, "checklist", [])]
    for item in (meta, *others, *steps):
        deployment.table.put(item)
    reader = Reader(api, EVENT_ID)

    assert reader.read() == [CREATED, "step.completed summary 0", "step.completed checklist 0"]
    assert reader.read() == []


class TestTheStore:
    def test_refuses_another_tenant(self, deployment: Deployment) -> None:
        with pytest.raises(JobNotFound):
            deployment.stores.jobs.history("another", deployment.create(), None, 10)

    def test_reads_a_job_whose_position_names_claims_that_are_gone(self, deployment: Deployment) -> None:
        event_id = deployment.create()
        uid = deployment.meta()["uid"]
        page = history.read_history(deployment.table, TENANT, event_id, f"{uid}~0.0_70.3~", 10)

        assert (page.events, str(page.position)) == ((), f"{uid}~0.0~")

    def test_says_how_to_begin_again(self, deployment: Deployment) -> None:
        with pytest.raises(InvalidRequest) as refused:
            deployment.stores.jobs.history(TENANT, deployment.create(), "nonsense", 10)

        assert "next_after" in refused.value.errors["after"]
