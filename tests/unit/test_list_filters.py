"""`GET /jobs` with filters: by title, metadata and time; and the query parameters that no route has."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import chain
from typing import Any
from urllib.parse import quote

import pytest
from aws_lambda_powertools import Logger

from jobchain_api.paths import ALLOWED_METHODS
from jobchain_api.service import JobService
from tests.fakes import FakeClock
from tests.gateway import Answer, Api

Post = Callable[..., str]


@pytest.fixture
def api(service: JobService, logger: Logger) -> Api:
    return Api(service, logger)


@pytest.fixture
def post(api: Api, clock: FakeClock) -> Post:
    """Makes a job, a minute after the last one; gives its id."""

    def post(**more: Any) -> str:
        clock.advance(timedelta(minutes=1))
        answer = api("POST", "/jobs", {"input_text": "a", **more})
        assert answer.status == 201, answer.body
        event_id: str = answer.body["event_id"]
        return event_id

    return post


def pages(api: Api, query: str) -> Iterator[list[str]]:
    """The ids of a list, page by page."""
    cursor = ""
    while cursor is not None:
        answer = api("GET", f"/jobs?{query}&cursor={cursor}" if cursor else f"/jobs?{query}")
        assert answer.status == 200, answer.body
        yield [job["event_id"] for job in answer.body["jobs"]]
        cursor = answer.body["next_cursor"]


def found(api: Api, query: str) -> list[str]:
    return [*chain(*pages(api, query))]


class TestTitles:
    def test_are_shown_in_the_job_and_in_lists(self, api: Api, post: Post) -> None:
        event_id = post(title="  Password\npolicy.docx ")

        assert api("GET", f"/jobs/{event_id}").body["title"] == "Password policy.docx"
        assert api("GET", "/jobs").body["jobs"][0]["title"] == "Password policy.docx"

    def test_are_shown_of_jobs_that_have_ended(self, api: Api, post: Post) -> None:
        event_id = post(title="a.md")
        api("POST", f"/jobs/{event_id}/cancel")

        assert api("GET", "/jobs").body["jobs"][0]["title"] == "a.md"

    def test_are_null_without_one(self, api: Api, post: Post) -> None:
        assert api("GET", f"/jobs/{post()}").body["title"] is None

    def test_are_given_to_each_entry_of_a_batch(self, api: Api) -> None:
        entries = [{"input_text": "a", "title": title} for title in ("one", "two")]

        api("POST", "/jobs/batch", {"jobs": entries})

        assert {job["title"] for job in api("GET", "/jobs").body["jobs"]} == {"one", "two"}

    @pytest.mark.parametrize("title", ["", " \n", "a\0b", "a" * 201, 7, "\u200b"])
    def test_that_are_none_are_refused(self, api: Api, title: object) -> None:
        assert_refused(api("POST", "/jobs", {"input_text": "a", "title": title}), "title")

    def test_do_not_make_a_repeated_request_another_one(self, api: Api) -> None:
        key = {"Idempotency-Key": "k"}
        assert api("POST", "/jobs", {"input_text": "a", "title": "one"}, key).status == 201

        replay = api("POST", "/jobs", {"input_text": "a", "title": "two"}, key)

        assert replay.status == 200
        assert api("GET", f"/jobs/{replay.body['event_id']}").body["title"] == "one"

    def test_filter_by_a_part_of_them_in_any_case(self, api: Api, post: Post) -> None:
        first = post(title="Password policy.docx")
        post(title="Leave.docx")
        post()
        last = post(title="STRASSE PASSWORD")

        assert found(api, "title=password") == [last, first]
        assert found(api, "title=POLICY") == [first]
        assert found(api, f"title={quote('straße')}") == [last]
        assert found(api, "title=nothing") == []


class TestMetadata:
    def test_filters_by_each_entry_that_is_given(self, api: Api, post: Post) -> None:
        both = post(metadata={"team": "legal", "source": "a b&c"})
        one = post(metadata={"team": "legal"})
        post(metadata={"team": "sales", "legal": "team"})
        post()

        assert found(api, "metadata.team=legal") == [one, both]
        assert found(api, f"metadata.team=legal&metadata.source={quote('a b&c')}") == [both]
        assert found(api, "metadata.team=Legal") == []

    def test_filters_ended_and_running_jobs_alike(self, api: Api, post: Post) -> None:
        ended, running = post(metadata={"team": "legal"}), post(metadata={"team": "legal"})
        api("POST", f"/jobs/{ended}/cancel")

        assert found(api, "metadata.team=legal") == [running, ended]
        assert found(api, "metadata.team=legal&status=cancelled") == [ended]

    def test_of_any_key_and_value_can_be_asked_for(self, api: Api, post: Post) -> None:
        strange = {"a.b": "", "metadata.": "=", "é\n": "\u202e", "k" * 64: "v" * 512}
        event_id = post(metadata=strange)

        for name, value in strange.items():
            assert found(api, f"metadata.{quote(name)}={quote(value)}") == [event_id]

    def test_that_no_job_can_have_is_refused(self, api: Api) -> None:
        assert_refused(api("GET", f"/jobs?metadata.{'k' * 65}=a"), f"metadata.{'k' * 65}")
        assert_refused(api("GET", f"/jobs?metadata.k={'v' * 513}"), "metadata.k")
        assert_refused(api("GET", "/jobs?" + "&".join(f"metadata.k{n}=v" for n in range(17))), "metadata")


class TestTimes:
    @pytest.fixture
    def jobs(self, post: Post, clock: FakeClock) -> list[tuple[str, str]]:
        """Five jobs, oldest first: when each was created, and its id."""
        made = []
        for _ in range(5):
            event_id = post()
            made.append((f"{clock():%Y-%m-%dT%H:%M:%S.%f}"[:23] + "Z", event_id))
        return made

    def test_are_from_this_one_on_and_before_that_one(self, api: Api, jobs: list[tuple[str, str]]) -> None:
        ids = [event_id for _, event_id in jobs]

        assert found(api, f"created_after={jobs[1][0]}") == ids[:0:-1]
        assert found(api, f"created_before={jobs[3][0]}") == ids[2::-1]
        assert found(api, f"created_after={jobs[1][0]}&created_before={jobs[3][0]}&limit=1") == ids[2:0:-1]
        assert found(api, f"created_after={jobs[3][0]}&created_before={jobs[1][0]}") == []
        assert found(api, f"created_after={jobs[2][0]}&created_before={jobs[2][0]}") == []

    def test_may_be_dates_and_have_a_zone(self, api: Api, jobs: list[tuple[str, str]], clock: FakeClock) -> None:
        today, tomorrow = f"{clock():%Y-%m-%d}", f"{clock() + timedelta(days=1):%Y-%m-%d}"
        assert len(found(api, f"created_after={today}&created_before={tomorrow}")) == 5
        assert found(api, f"created_after={tomorrow}") == []

        moment = jobs[2][0].replace("Z", "%2B00:00")
        assert found(api, f"created_before={moment}") == [jobs[1][1], jobs[0][1]]

    def test_cost_no_reads_of_jobs_outside(self, api: Api, jobs: list[tuple[str, str]], service: JobService) -> None:
        read = []
        pages_of = service._jobs._table.index_pages

        def counting(*args: Any, **options: Any) -> Iterator[Any]:
            for page, last in pages_of(*args, **options):
                read.extend(page)
                yield page, last

        service._jobs._table.index_pages = counting  # type: ignore[method-assign]

        assert found(api, f"created_after={jobs[3][0]}&status=pending") == [jobs[4][1], jobs[3][1]]
        assert len(read) == 2

    @pytest.mark.parametrize(
        "moment",
        [
            "",
            "yesterday",
            "2026-11-31",
            "2026-11-29T10:00",
            "2026-11-29T10:00:00 01:00",
            "20261129",
            "1700000000",
            "2026-11-29T25:00:00Z",
            "0000-01-01",
            "9999-12-31T23:59:59-23:00",
            "٢٠٢٦-11-29",
            "2026-11-29\n",
        ],
    )
    def test_that_are_none_are_refused(self, api: Api, moment: str) -> None:
        for name in ("created_after", "created_before"):
            assert_refused(api("GET", f"/jobs?{name}={quote(moment)}"), name)


class TestPagesOfFilteredLists:
    @pytest.fixture
    def wanted(self, post: Post) -> list[str]:
        """Five jobs among thirty others, the newest first."""
        ids: list[str] = []
        for number in range(35):
            if number % 7 == 3:
                ids.insert(0, post(title=f"wanted {number}", metadata={"wanted": "yes"}))
            else:
                post(title="other")
        return ids

    @pytest.mark.parametrize("query", ["title=wanted", "metadata.wanted=yes", "title=w&metadata.wanted=yes"])
    def test_go_on_where_the_last_one_stopped_reading(
        self, api: Api, wanted: list[str], query: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("jobchain.aws.jobs.MAX_SEEN", 8)

        read = [*pages(api, f"{query}&limit=2")]

        assert [*chain(*read)] == wanted
        assert [] in read
        assert all(len(page) <= 2 for page in read)

    @pytest.mark.parametrize(
        "other",
        [
            "",
            "title=other",
            "metadata.wanted=yes",
            "title=wanted&created_after=2020-01-01",
            "title=wanted&created_before=2030-01-01",
            "title=wanted&metadata.a=b",
        ],
    )
    def test_have_cursors_of_their_own(self, api: Api, wanted: list[str], other: str) -> None:
        cursor = api("GET", "/jobs?title=wanted&limit=1").body["next_cursor"]

        assert api("GET", f"/jobs?title=wanted&cursor={cursor}").status == 200
        assert_refused(api("GET", f"/jobs?{other}&cursor={cursor}"), "cursor")


class TestUnknownQueryParameters:
    @pytest.mark.parametrize(
        ("method", "path"),
        [(method, path) for path, methods in ALLOWED_METHODS.items() for method in methods],
        ids=str,
    )
    def test_are_refused_by_every_route(self, api: Api, method: str, path: str) -> None:
        path = path.replace("<event_id>", "0b6c2f4e-0000-4000-8000-000000000001")
        answer = api(method, f"{path}?Status=failed&date=2026-11-27", {} if method == "POST" else None)

        assert answer.status == 422
        if method != "HEAD":
            assert [*answer.body["errors"]] == ["Status", "date"]

    @pytest.mark.parametrize("query", ["metadata=a", "metadata.=a", "Metadata.a=b", "created=2026-11-29", "=", "a"])
    def test_may_be_close_to_a_known_one(self, api: Api, query: str) -> None:
        assert_refused(api("GET", f"/jobs?{query}"), query.partition("=")[0])

    def test_are_not_found_before_the_path_is(self, api: Api) -> None:
        assert api("GET", "/nowhere?a=b").status == 404
        assert api("PUT", "/jobs?a=b", {}).status == 405

    def test_are_refused_by_their_first_ones_where_there_are_many(self, api: Api) -> None:
        answer = api("GET", "/jobs?" + "&".join(f"{'x' * 300}{number}=1" for number in range(500)))

        assert answer.status == 422
        assert len(str(answer.body)) < 20_000

    def test_that_are_given_twice_are_refused(self, api: Api) -> None:
        assert_refused(api("GET", "/jobs?limit=1&limit=2"), "limit")
        assert_refused(api("GET", "/jobs?metadata.a=1&metadata.a=2"), "metadata.a")


def assert_refused(answer: Answer, field: str) -> None:
    assert answer.status == 422, answer
    assert list(answer.body["errors"]) == [field]
