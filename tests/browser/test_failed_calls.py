"""What the dashboard shows of a job that failed, is retried, or waits for its budget."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from playwright.sync_api import Page, expect

from jobchain.aws.admission import AdmissionStore
from jobchain.domain import DailyBudget, NewJob, isoformat, utc_now
from local.stack import EmbeddedStack
from tests.browser.conftest import Visit
from tests.e2e.conftest import poll
from tests.fake_model.replies import DROPPED, answer, refused, with_id
from tests.fake_model.server import ModelServer

HOSTILE = '<script>alert(1)</script><img src=x onerror="alert(2)"> [a](javascript:alert(3)) ' + "W" * 5_000


def create(http: httpx2.Client, marker: str) -> str:
    """The id of a job of the marker."""
    return str(http.post("/jobs", json={"input_text": f"About {marker}."}).raise_for_status().json()["event_id"])


def reach(http: httpx2.Client, event_id: str, is_there: Callable[[Any], Any]) -> str:
    """The id, once the job is so."""
    poll(lambda: is_there(http.get(f"/jobs/{event_id}").json()))
    return event_id


def waits_for(reason: str) -> Callable[[Any], bool]:
    """Whether a job waits for this reason. Before a worker has run it, it waits in the queue."""
    return lambda job: bool(job["waiting_for"]) and job["waiting_for"]["reason"] == reason


def step(page: Page, name: str) -> Any:
    """The line of a step."""
    return page.locator(".timeline li", has_text=name)


def test_a_failed_job_shows_each_failed_call_with_its_cause_and_the_answer_as_text(
    visit: Visit, http: httpx2.Client, model: ModelServer
) -> None:
    model.script("job-801", answer(HOSTILE), answer('{"items": "none"}'), answer("{}"), step="checklist")
    event_id = reach(http, create(http, "job-801"), lambda job: job["status"] == "failed")
    visit.page.set_viewport_size({"width": 390, "height": 844})

    page = visit.open(f"#/jobs/{event_id}")

    panel = page.locator("[data-key=failed-calls]")
    expect(panel.get_by_role("heading", name="Failed calls of the model (3)")).to_be_visible()
    expect(panel.locator("li")).to_have_count(3)
    expect(panel.locator("li").first).to_contain_text("unusable_answer")
    expect(panel.locator("li").first).to_contain_text("checklist: Field required")
    expect(panel.locator("li").first).to_contain_text("100 in")
    expect(panel.get_by_text("<script>")).to_be_hidden()
    panel.locator("li").last.get_by_text("The model's answer").click()
    expect(panel.locator("pre", has_text="<script>alert(1)</script>")).to_be_visible()
    assert page.locator("main script, main img, main a[href*=javascript], main [onerror]").count() == 0
    assert visit.width <= 390
    expect(step(page, "Checklist")).to_contain_text("failed calls: 3, 300 in")
    assert "NaN" not in page.locator("main").inner_text()


def test_a_job_that_is_retried_says_when_and_why(visit: Visit, http: httpx2.Client, model: ModelServer) -> None:
    busy = with_id(refused(429, retry_after=3600, message="The limit is reached."), "req-busy")
    model.script("job-802", busy, step="checklist")
    event_id = reach(http, create(http, "job-802"), waits_for("retry"))

    page = visit.open(f"#/jobs/{event_id}")

    panel = page.locator("[data-key=waiting]")
    expect(panel).to_contain_text("Retrying automatically in 59 min")
    expect(panel).to_contain_text("try 1: the model's server answered 429")
    expect(step(page, "Checklist")).to_contain_text("try 2 at ")
    expect(step(page, "Checklist")).not_to_contain_text("0 in")
    expect(step(page, "Waiting to retry")).to_be_visible()
    call = page.locator("[data-key=failed-calls] li")
    expect(call).to_contain_text("The limit is reached.")
    expect(call).to_contain_text("request req-busy")
    assert "NaN" not in page.locator("main").inner_text()

    page.get_by_role("button", name="Cancel").click()
    expect(page.locator(".headline .chip")).to_have_text("cancelled")
    expect(panel).to_have_count(0)
    expect(call).to_have_count(1)


def test_a_job_that_is_put_off_continues_at_once_where_that_is_asked_for(
    visit: Visit, http: httpx2.Client, model: ModelServer
) -> None:
    model.script("job-806", refused(503, retry_after=3600), step="checklist")
    event_id = reach(http, create(http, "job-806"), waits_for("retry"))

    page = visit.open(f"#/jobs/{event_id}")
    page.get_by_role("button", name="Retry now").click()

    expect(page.locator(".headline .chip")).to_have_text("completed")
    expect(page.get_by_role("button", name="Retry now")).to_have_count(0)


@pytest.mark.parametrize("reason", ["queue", "rate_limit", "account"])
def test_a_job_that_waits_for_its_turn_offers_no_retry(visit: Visit, http: httpx2.Client, reason: str) -> None:
    event_id = reach(http, create(http, "job-807"), lambda job: job["status"] == "completed")
    job = http.get(f"/jobs/{event_id}?include=attempts").json()
    until = None if reason == "queue" else isoformat(utc_now() + timedelta(minutes=5))
    waits = {"reason": reason, "since": job["updated_at"], "until": until, "detail": "It waits.", "retryable": False}
    shown = {**job, "status": "pending", "finished_at": None, "waiting_for": waits}
    visit.page.route("**/jobs/*", lambda route: route.fulfill(json=shown))

    page = visit.open(f"#/jobs/{event_id}")

    panel = page.locator("[data-key=waiting]")
    expect(panel.get_by_role("heading")).to_be_visible()
    # The queue's detail only repeats the heading.
    expect(panel.get_by_text("It waits.")).to_have_count(0 if reason == "queue" else 1)
    expect(page.get_by_role("button", name="Cancel")).to_be_visible()
    expect(page.get_by_role("button", name="Retry now")).to_have_count(0)


def test_a_job_whose_budget_of_the_day_is_used_up_says_when_it_continues(
    visit: Visit, http: httpx2.Client, stack: EmbeddedStack
) -> None:
    event_id = str(uuid4())
    new = NewJob(
        event_id,
        "local",
        "guideline_checklist",
        {"guidelines": "About job-803."},
        "f",
        daily_budget=DailyBudget(tokens=1),
    )
    AdmissionStore(stack.client("dynamodb"), stack.table, utc_now).create(new, timedelta(days=7))
    stack.client("sqs").send_message(QueueUrl=stack.queue_url, MessageBody=json.dumps({"event_id": event_id}))
    reach(http, event_id, waits_for("budget"))

    page = visit.open(f"#/jobs/{event_id}")

    panel = page.locator("[data-key=waiting]")
    expect(panel).to_contain_text("Continuing automatically in ")
    expect(panel).to_contain_text("the key's limit tokens_per_day is used up for today (UTC)")
    expect(step(page, "Waiting for the next day")).to_be_visible()
    expect(page.locator("[data-key=failed-calls]")).to_have_count(0)


def test_an_estimate_is_told_apart_from_what_the_server_told(visit: Visit, http: httpx2.Client) -> None:
    event_id = reach(http, create(http, "job-804"), lambda job: job["status"] == "completed")
    job = http.get(f"/jobs/{event_id}?include=attempts").json()
    job["estimated"] = {"calls": 1, "input_tokens": 310, "output_tokens": 64, "cost_usd": 0.0004}
    job["steps"][0] = {**job["steps"][0], "estimated": {**job["estimated"], "cost_usd": None}, "cost_usd": None}
    job["usage"]["cache_write_tokens"] = 1000
    visit.page.route("**/jobs/*", lambda route: route.fulfill(json=job))

    page = visit.open(f"#/jobs/{event_id}")

    details = page.locator("[data-key=details]")
    expect(details).to_contain_text("1,000 written to a cache)")
    expect(details).to_contain_text("≤ $0.0000")
    expect(details).to_contain_text("(of which estimated: 310 in, 64 out, $0.0004)")
    expect(step(page, "Summary")).to_contain_text("unknown price (of which estimated: 310 in, 64 out)")


def test_a_list_marks_a_cost_that_is_an_upper_bound(visit: Visit, http: httpx2.Client, model: ModelServer) -> None:
    model.script("job-805", DROPPED, step="summary")
    event_id = reach(http, create(http, "job-805"), lambda job: job["status"] == "completed")

    page = visit.open("#/")

    expect(page.locator("tr", has_text=event_id[:8])).to_contain_text("≤ $0.")
    expect(page.locator("[data-key=numbers]")).to_contain_text("≤ $0.")
