"""`GET /usage`: a tenant's usage day by day, and by chain, key or model."""

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import pytest
from aws_lambda_powertools import Logger

from jobchain.aws.usage import UsageRecord
from jobchain.aws.writes import key, put
from jobchain.domain import JobError
from jobchain.spending import Spending, Usage
from jobchain_api.auth import Caller
from jobchain_api.service import JobService
from tests.deployment import INVOCATION, Deployment
from tests.fake_model.answers import SUMMARY
from tests.fake_model.replies import MODEL, USAGE
from tests.gateway import Answer, Api

FAILED = JobError("model_refused", "no")
COUNTS = ("created", "completed", "failed", "cancelled")


@pytest.fixture
def api(service: JobService, logger: Logger) -> Api:
    return Api(service, logger)


def read(api: Api, query: str = "") -> Any:
    answer = api("GET", f"/usage{query}")
    assert answer.status == 200, answer.body
    return answer.body


def counts(day: Any) -> list[int]:
    return [day[name] for name in COUNTS if name in day]


@pytest.fixture
def fortnight(deployment: Deployment) -> Deployment:
    """A deployment that has run two jobs, and four days later three more of two chains, keys and models."""
    deployment.create(1, key_id="k1")
    deployment.run()
    deployment.create(2, key_id="k1")
    deployment.stores.cancel("local", deployment.event_id)
    deployment.clock.advance(timedelta(days=4))
    deployment.create(3, key_id="k2")
    deployment.run()
    deployment.create(4)
    claim = deployment.stores.claim(deployment.event_id, deployment.clock() + INVOCATION)
    bill = {"gpt-6-sol": Spending(Usage(7), calls=1), MODEL: Spending(Usage(5), calls=1)}
    deployment.stores.claims.fail(claim, FAILED, bill)
    deployment.create(5, job_name="extract_actions", payload={"minutes": "a"}, key_id="k2")
    claim = deployment.stores.claim(deployment.event_id, deployment.clock() + INVOCATION)
    deployment.stores.claims.finish(claim, {MODEL: Spending(Usage(11), calls=1)})
    return deployment


class TestTheDays:
    def test_are_each_told_once_with_what_was_used(self, fortnight: Deployment, api: Api) -> None:
        usage = read(api)
        days = {day["date"]: day for day in usage["days"]}

        assert (usage["from"], usage["to"], usage["by"], usage["next_from"]) == ("2026-10-28", "2026-11-26", None, None)
        assert [*days] == [str(date(2026, 10, 28) + timedelta(days=number)) for number in range(30)]
        first, last = days["2026-11-22"], days["2026-11-26"]
        assert (counts(first), counts(last)) == ([2, 1, 0, 1], [3, 2, 1, 0])
        assert first["usage"]["input_tokens"] == 3 * USAGE.input_tokens
        assert last["usage"]["input_tokens"] == 3 * USAGE.input_tokens + 7 + 5 + 11
        assert (first["calls"], last["calls"], first["groups"]) == (3, 6, None)
        assert days["2026-11-24"] == {
            **dict.fromkeys(COUNTS, 0),
            **{name: days["2026-11-24"][name] for name in ("usage", "estimated")},
            "date": "2026-11-24",
            "calls": 0,
            "retries": 0,
            "cost_usd": 0,
            "groups": None,
            "replays": usage["replays"],
        }
        total = usage["total"]
        assert (counts(total), total["calls"]) == ([3, 1, 1], 9)
        assert total["cost_usd"] == pytest.approx(first["cost_usd"] + last["cost_usd"])

    def test_agree_with_the_numbers_of_today(self, fortnight: Deployment, api: Api) -> None:
        today = api("GET", "/stats").body["today"]
        (day,) = read(api, "?from=2026-11-26")["days"]

        shared = ("date", "created", "usage", "calls", "retries", "cost_usd", "estimated")
        assert {name: day[name] for name in shared} == {name: today[name] for name in shared}

    def test_can_be_chosen(self, fortnight: Deployment, api: Api) -> None:
        def dates(query: str) -> list[str]:
            return [day["date"] for day in read(api, query)["days"]]

        assert dates("?from=2026-11-22&to=2026-11-23") == ["2026-11-22", "2026-11-23"]
        assert dates("?to=2026-11-22")[0] == "2026-10-24"
        assert dates("?from=2026-11-25&to=2030-01-01") == ["2026-11-25", "2026-11-26"]
        assert len(dates("?from=2026-08-27")) == 92
        assert read(api, "?from=2026-11-22&to=2026-11-22")["total"]["completed"] == 1

    @pytest.mark.parametrize(
        ("query", "field"),
        [
            ("from=2026-11-27", "from"),
            ("from=2026-11-23&to=2026-11-22", "from"),
            ("from=2026-08-26", "from"),
            ("from=2020-01-01&to=2026-01-01", "from"),
            ("from=yesterday", "from"),
            ("from=2026-11-31", "from"),
            ("from=20261122", "from"),
            ("to=", "to"),
            ("to=2026-11-22T00:00:00Z", "to"),
            ("to=٢٠٢٦-11-22", "to"),
            ("by=tenant", "by"),
            ("by=", "by"),
            ("day=2026-11-22", "day"),
        ],
    )
    def test_that_can_not_be_told_are_refused(self, fortnight: Deployment, api: Api, query: str, field: str) -> None:
        answer = api("GET", f"/usage?{query}")

        assert (answer.status, [*answer.body["errors"]]) == (422, [field])

    def test_are_the_tenants_alone(self, fortnight: Deployment, service: JobService, logger: Logger) -> None:
        other = Api(service, logger, lambda _: Caller("other"))

        assert read(other)["total"]["calls"] == 0


class TestTheGroups:
    @pytest.mark.parametrize(
        ("by", "groups"),
        [
            ("chain", {"guideline_checklist": ([1, 1, 0], 5), "extract_actions": ([1, 0, 0], 1)}),
            ("key", {"k2": ([2, 0, 0], 4), "": ([0, 1, 0], 2)}),
            ("model", {MODEL: ([2, 0, 0], 5), "gpt-6-sol": ([0, 1, 0], 1)}),
        ],
    )
    def test_add_up_to_the_day(
        self, fortnight: Deployment, api: Api, by: str, groups: dict[str, tuple[list[int], int]]
    ) -> None:
        usage = read(api, f"?from=2026-11-26&by={by}")
        (day,) = usage["days"]

        assert usage["by"] == by
        assert {name: (counts(group), group["calls"]) for name, group in day["groups"].items()} == groups
        for name in ("completed", "failed", "cancelled", "calls"):
            assert sum(group[name] for group in day["groups"].values()) == day[name]
        tokens = [group["usage"]["input_tokens"] for group in day["groups"].values()]
        assert sum(tokens) == day["usage"]["input_tokens"]

    def test_are_empty_on_a_day_without_usage(self, fortnight: Deployment, api: Api) -> None:
        assert read(api, "?from=2026-11-24&to=2026-11-24&by=chain")["days"][0]["groups"] == {}

    def test_are_told_in_the_numbers_of_today_too(self, fortnight: Deployment, api: Api) -> None:
        today = api("GET", "/stats").body["today"]

        assert {name: group["calls"] for name, group in today["by_chain"].items()} == {
            "guideline_checklist": 5,
            "extract_actions": 1,
        }

    def test_have_what_an_earlier_version_recorded_under_no_chain(self, deployment: Deployment, api: Api) -> None:
        old = key("TENANT#local", f"USAGE#2026-11-22#k1#{MODEL}#03")
        item = {**old, "model": MODEL, "key_id": "k1", "jobs_completed": 1, "calls": 3, "input_tokens": 9}
        deployment.table.transact(lambda: [put(item)])
        deployment.create()
        deployment.run()

        groups = read(api, "?by=chain")["days"][-1]["groups"]

        assert {name: group["calls"] for name, group in groups.items()} == {"": 3, "guideline_checklist": 3}

    def test_follow_a_job_through_crashes_waits_and_late_reports(self, deployment: Deployment, api: Api) -> None:
        # given a worker that vanished, whose estimate its own report replaces
        event_id = deployment.create()
        now = deployment.clock()
        risk = (MODEL, Spending(Usage(1000), calls=1))
        slow = deployment.stores.claims.claim(event_id, now + INVOCATION, lambda *_: risk)
        deployment.clock.advance(INVOCATION * 2)
        deployment.run(SUMMARY)
        deployment.stores.claims.report_late(slow, {MODEL: Spending(Usage(40), calls=1)})

        (day,) = read(api, "?from=2026-11-22&by=chain")["days"]

        assert [*day["groups"]] == ["guideline_checklist"]
        whole = {name: day[name] for name in day["groups"]["guideline_checklist"]}
        assert day["groups"]["guideline_checklist"] == whole
        assert day["usage"]["input_tokens"] == 3 * USAGE.input_tokens + 40


class TestManyItems:
    @pytest.fixture
    def busy(self, deployment: Deployment) -> Deployment:
        """Ten days with the usage of five models each."""
        for _ in range(10):
            for number in range(5):
                record = UsageRecord(spent={f"m{number}": Spending(Usage(1), calls=1)}, chain="c")
                deployment.table.transact(lambda record=record: record.writes("local", "", deployment.clock()))  # type: ignore[misc]
            deployment.clock.advance(timedelta(days=1))
        return deployment

    @pytest.fixture
    def small_pages(self, busy: Deployment, service: JobService, monkeypatch: pytest.MonkeyPatch) -> None:
        """Pages of three items in place of 1 MB, of which each answer reads seven items."""
        table = service._usage._table
        pages_of = table.query_pages

        def three_each(*args: Any, **options: Any) -> Iterator[Any]:
            items = [item for page in pages_of(*args, **options) for item in page]
            yield from (items[start : start + 3] for start in range(0, len(items), 3))

        monkeypatch.setattr(table, "query_pages", three_each)
        monkeypatch.setattr("jobchain.aws.usage._MAX_ITEMS", 7)

    def test_are_told_in_several_answers_of_whole_days(self, small_pages: None, api: Api) -> None:
        days, first = [], "2026-11-22"
        answers = 0
        while first:
            usage = read(api, f"?from={first}&to=2026-12-01&by=model")
            days += usage["days"]
            first = usage["next_from"]
            answers += 1

        assert [day["date"] for day in days] == [str(date(2026, 11, 22) + timedelta(days=n)) for n in range(10)]
        assert all(day["calls"] == len(day["groups"]) == 5 for day in days)
        assert answers > 3

    def test_of_one_day_are_told_together(self, small_pages: None, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("jobchain.aws.usage._MAX_ITEMS", 2)

        usage = read(api, "?from=2026-11-24&to=2026-11-24")

        assert (usage["total"]["calls"], usage["next_from"]) == (5, None)


def test_usage_that_has_not_changed_costs_no_body(fortnight: Deployment, api: Api) -> None:
    etag = api("GET", "/usage").headers["ETag"]

    same: Answer = api("GET", "/usage", headers={"If-None-Match": etag})

    assert (same.status, same.body) == (304, None)
