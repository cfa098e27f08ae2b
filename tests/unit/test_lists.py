"""`GET /jobs`: every job once, newest first, and cursors that can't be made up."""

import base64
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from decimal import Decimal
from itertools import chain, product

import pytest
from aws_lambda_powertools import Logger

from jobchain.aws.attributes import Item
from jobchain.aws.queue import JobQueue
from jobchain.domain import JobError, NewJob, Status, WaitingFor, WaitReason
from jobchain.spending import Spending, Usage
from jobchain_api.auth import Caller
from jobchain_api.cursor import Cursors
from jobchain_api.service import JobService
from tests.conftest import make_service
from tests.fakes import FakeClock
from tests.gateway import Answer, Api
from tests.stores import Stores

LEASE = timedelta(minutes=5)
RETENTION = timedelta(days=30)

SPENT = Spending(Usage(100, 10, 20, 5), Decimal("0.001"), calls=1)
ERROR = JobError("model_refused", "no", "summary")
WAITING = WaitingFor(WaitReason.RETRY, "2026-11-22T10:00:00.000Z", None, "try 1: 503", retryable=True)

Create = Callable[..., str]


@pytest.fixture
def api(service: JobService, logger: Logger) -> Api:
    return Api(service, logger)


@pytest.fixture
def create(stores: Stores, clock: FakeClock) -> Create:
    """Stores a job, a millisecond after the last one; gives its id."""
    numbers = iter(range(10_000))

    def create(tenant: str = "local", job_name: str = "guideline_checklist") -> str:
        clock.advance(timedelta(milliseconds=1))
        event_id = f"0b6c2f4e-0000-4000-8000-{next(numbers):012}"
        stores.admission.create(NewJob(event_id, tenant, job_name, {}, "f"), RETENTION)
        return event_id

    return create


def pages(api: Api, query: str = "") -> Iterator[list[str]]:
    """The ids of a list, page by page."""
    cursor = ""
    while cursor is not None:
        answer = api("GET", f"/jobs?{query}&cursor={cursor}" if cursor else f"/jobs?{query}")
        assert answer.status == 200, answer.body
        yield [job["event_id"] for job in answer.body["jobs"]]
        cursor = answer.body["next_cursor"]


def test_jobs_come_newest_first(api: Api, create: Create) -> None:
    ids = [create() for _ in range(3)]

    answer = api("GET", "/jobs")

    assert [job["event_id"] for job in answer.body["jobs"]] == ids[::-1]
    assert answer.body["next_cursor"] is None


def test_a_list_shows_what_is_small_and_no_more(api: Api) -> None:
    event_id = api("POST", "/jobs", {"input_text": "a", "metadata": {"b": "c"}}).body["event_id"]
    (listed,) = api("GET", "/jobs").body["jobs"]
    read = api("GET", f"/jobs/{event_id}").body

    more = (
        "deadline_at",
        "deadline_seconds",
        "steps",
        "result",
        "result_view",
        "metadata",
        "chain_version",
        "failed_attempts",
        "answered_calls",
        "input",
        "prompts",
    )
    assert listed == {name: value for name, value in read.items() if name not in more}


def test_every_job_comes_once_even_while_new_ones_arrive(api: Api, create: Create) -> None:
    ids = [create() for _ in range(25)]
    seen = []
    for page in pages(api, "limit=4"):
        assert len(page) <= 4
        seen += page
        create()

    assert seen == ids[::-1]


def test_a_last_page_that_is_full_has_no_next_one(api: Api, create: Create) -> None:
    for _ in range(4):
        create()

    assert [len(page) for page in pages(api, "limit=2")] == [2, 2]


def test_nobodys_jobs_are_an_empty_list(api: Api) -> None:
    assert api("GET", "/jobs").body == {"jobs": [], "next_cursor": None}


class TestFilters:
    @pytest.fixture
    def jobs(self, create: Create, stores: Stores, clock: FakeClock) -> dict[str, list[str]]:
        """Jobs by status, many pending ones between two failed ones."""
        failed = [create()]
        pending = [create() for _ in range(40)]
        failed.append(create())
        for event_id in failed:
            stores.claims.fail(stores.claim(event_id, clock() + LEASE), JobError("model_refused", "no"))
        other = [create(job_name="other")]
        return {"failed": failed[::-1], "pending": (pending + other)[::-1], "other": other}

    def test_choose_a_status(self, api: Api, jobs: dict[str, list[str]]) -> None:
        assert [*pages(api, "status=failed")] == [jobs["failed"]]
        assert [*chain(*pages(api, "status=pending&limit=7"))] == jobs["pending"]
        assert [*pages(api, "status=cancelled")] == [[]]

    def test_choose_a_chain(self, api: Api, jobs: dict[str, list[str]]) -> None:
        assert [*pages(api, "job_name=other")] == [jobs["other"]]
        assert [*pages(api, "job_name=other&status=failed")] == [[]]

    def test_that_few_jobs_pass_end_a_page_early_and_lose_none(
        self, api: Api, jobs: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("jobchain.aws.jobs.MAX_SEEN", 12)

        found = [*pages(api, "status=failed&limit=1")]

        assert [*chain(*found)] == jobs["failed"]
        assert [] in found


@pytest.mark.thorough
class TestJobsOfEveryStatus:
    """The index tells how jobs have ended; of the others META is read."""

    @pytest.fixture
    def jobs(self, create: Create, stores: Stores, clock: FakeClock) -> dict[Status, list[str]]:
        """Eight of each status, mixed; their ids by status, the newest first."""
        ids: dict[Status, list[str]] = {status: [] for status in Status}
        for _ in range(8):
            for status in Status:
                ids[status].insert(0, create())
        for status in (Status.PROCESSING, Status.COMPLETED, Status.FAILED):
            for event_id in ids[status]:
                claim = stores.claim(event_id, clock() + LEASE)
                if status is Status.COMPLETED:
                    stores.claims.finish(claim, {"m": SPENT})
                if status is Status.FAILED:
                    stores.claims.fail(claim, ERROR, {"m": SPENT})
        for event_id in ids[Status.CANCELLED]:
            stores.jobs.cancel("local", event_id)
        return ids

    def test_are_chosen_in_pages(self, api: Api, jobs: dict[Status, list[str]]) -> None:
        for status, limit in product(Status, (3, 8, 100)):
            found = [*pages(api, f"status={status}&limit={limit}")]

            assert [*chain(*found)] == jobs[status]
            assert all(len(page) == limit for page in found[:-1])

    def test_are_shown_as_they_are_read_one_by_one(self, api: Api, jobs: dict[Status, list[str]]) -> None:
        listed = api("GET", "/jobs?limit=100").body["jobs"]

        assert {job["status"] for job in listed} == {*Status}
        for job in listed[:10]:
            read = api("GET", f"/jobs/{job['event_id']}").body
            assert job == {name: read[name] for name in job}

    def test_are_listed_as_they_are_now_not_as_the_index_has_them(
        self, api: Api, create: Create, stores: Stores, clock: FakeClock
    ) -> None:
        event_id = create()
        claim = stores.claim(event_id, clock() + LEASE)
        assert api("GET", "/jobs?status=processing").body["jobs"][0]["event_id"] == event_id

        stores.claims.release(claim, timedelta(hours=1), {}, {"m": SPENT}, WAITING)
        (waiting,) = api("GET", "/jobs").body["jobs"]
        assert (waiting["status"], waiting["attempts"], waiting["usage"]["input_tokens"]) == ("pending", 1, 100)

        stores.jobs.cancel("local", event_id)
        stores.jobs.retry("local", event_id)
        (again,) = api("GET", "/jobs").body["jobs"]
        assert (again["status"], again["finished_at"]) == ("pending", None)
        assert api("GET", "/jobs?status=cancelled").body["jobs"] == []

    def test_whose_deletion_the_index_has_not_seen_are_left_out(
        self, api: Api, create: Create, stores: Stores, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first, second = create(), create()
        table = stores.jobs._table
        get_many = table.get_many

        def deleted_meanwhile(keys: Sequence[Item]) -> list[Item]:
            stores.jobs.cancel("local", first)
            stores.jobs.delete("local", first)
            return get_many(keys)

        monkeypatch.setattr(table, "get_many", deleted_meanwhile)

        assert [job["event_id"] for job in api("GET", "/jobs").body["jobs"]] == [second]


class TestBadQueries:
    @pytest.mark.parametrize("limit", ["0", "101", "-1", "1e9", "ten", "", "1.5", "99999999999999999999"])
    def test_a_limit_that_is_none(self, api: Api, limit: str) -> None:
        assert_refused(api("GET", f"/jobs?limit={limit}"), "limit")

    @pytest.mark.parametrize("status", ["done", "PENDING", "", "pending,failed", "null"])
    def test_a_status_that_is_none(self, api: Api, status: str) -> None:
        assert_refused(api("GET", f"/jobs?status={status}"), "status")

    def test_a_name_that_is_too_long(self, api: Api) -> None:
        assert_refused(api("GET", f"/jobs?job_name={'a' * 65}"), "job_name")


class TestCursors:
    @pytest.fixture
    def cursor(self, api: Api, create: Create) -> str:
        for _ in range(3):
            create()
        cursor: str = api("GET", "/jobs?limit=1").body["next_cursor"]
        return cursor

    def test_that_were_changed_are_refused(self, api: Api, cursor: str) -> None:
        for place in range(len(cursor)):
            other = "A" if cursor[place] != "A" else "B"
            answer = api("GET", f"/jobs?cursor={cursor[:place]}{other}{cursor[place + 1 :]}")
            # The last character has bits that mean nothing.
            assert answer.status == 422 or place == len(cursor) - 1

    def test_that_were_cut_are_refused(self, api: Api, cursor: str) -> None:
        for length in range(len(cursor)):
            assert_refused(api("GET", f"/jobs?cursor={cursor[:length]}"), "cursor")

    @pytest.mark.parametrize("forged", ["x", "%00", "%F0%9F%92%A9", "a" * 512, "a" * 513, "..", "' OR 1=1", "e30"])
    def test_that_were_made_up_are_refused(self, api: Api, forged: str) -> None:
        assert_refused(api("GET", f"/jobs?cursor={forged}"), "cursor")

    def test_that_a_caller_has_signed_are_refused(self, api: Api) -> None:
        ours = Cursors(b"guess").write("2026-11-22T10:00:00.000Z#x", "local", "", "")

        assert_refused(api("GET", f"/jobs?cursor={ours}"), "cursor")

    def test_of_other_filters_are_refused(self, api: Api, cursor: str) -> None:
        assert_refused(api("GET", f"/jobs?status=pending&cursor={cursor}"), "cursor")
        assert_refused(api("GET", f"/jobs?job_name=other&cursor={cursor}"), "cursor")

    def test_of_another_tenant_are_refused(self, service: JobService, logger: Logger, cursor: str) -> None:
        other = Api(service, logger, lambda _: Caller("other"))

        assert_refused(other("GET", f"/jobs?cursor={cursor}"), "cursor")

    def test_hold_in_every_process(
        self, api: Api, cursor: str, stores: Stores, queue: JobQueue, logger: Logger
    ) -> None:
        fresh = Api(make_service(stores, queue, logger), logger)

        assert fresh("GET", f"/jobs?cursor={cursor}").status == 200
        assert stores.jobs.cursor_secret() == stores.jobs.cursor_secret()

    def test_show_nothing_of_the_secret(self, cursor: str, stores: Stores) -> None:
        content = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))

        assert stores.jobs.cursor_secret() not in content


def test_a_list_that_has_not_changed_costs_no_body(api: Api, create: Create) -> None:
    create()
    etag = api("GET", "/jobs").headers["ETag"]

    same = api("GET", "/jobs", headers={"If-None-Match": etag})
    create()
    changed = api("GET", "/jobs", headers={"If-None-Match": etag})

    assert (same.status, same.body, changed.status) == (304, None, 200)


def assert_refused(answer: Answer, field: str) -> None:
    assert answer.status == 422, answer
    assert list(answer.body["errors"]) == [field]
