"""The page of a job with a step that a person decides: what is shown, the form, and what was decided."""

import json
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import Visit
from tests.browser.test_dashboard import HOSTILE
from tests.browser.test_job_page import faults
from tests.jobs import raw_job, raw_step

ID = "0b6c2f4e-7d1a-4b53-9a0f-3f1c5b8e2d47"
APPROVAL: dict[str, Any] = {
    "title": "Review the letter",
    "shown": "Dear customer,\nyour refund is on its way.",
    "since": "2026-11-22T10:00:00.000Z",
    "until": "2099-11-29T10:00:00.000Z",
    "on_deadline": "reject",
    "decision": None,
    "value": None,
    "by": None,
    "key_id": None,
    "comment": None,
    "decided_at": None,
    "at_deadline": False,
}
WAITS = {
    "reason": "approval",
    "since": APPROVAL["since"],
    "until": APPROVAL["until"],
    "detail": "a decision on the step review",
    "retryable": False,
}


def job(status: str = "pending", **approval: Any) -> dict[str, Any]:
    """A job whose step `review` waits, or was decided."""
    found = {**APPROVAL, **approval}
    waits = WAITS if status == "pending" and not found["decision"] else None
    steps = [raw_step("draft"), {**raw_step("review", "pending"), "approval": found}]
    more = {"steps": steps, "waiting_for": waits, "result": {"draft": "Dear customer."}, "finished_at": None}
    return raw_job(ID, status=status, failed_attempts=[], answered_calls=[], **more)


class Decisions:
    """The API as the page sees it: a job that waits, and what is sent to decide it."""

    def __init__(self, page: Page, **approval: Any) -> None:
        self.now = job(**approval)
        self.sent: list[Any] = []
        self.answer: dict[str, Any] | None = None
        self.refusal: dict[str, Any] | None = None
        page.route("**/jobs/*", lambda route: route.fulfill(json=self.now))
        page.route("**/steps/review/decision", self._decide)

    def _decide(self, route: Route) -> None:
        self.sent.append(json.loads(route.request.post_data or ""))
        if self.refusal:
            route.fulfill(json=self.refusal, status=self.refusal["status"])
            return
        assert self.answer
        self.now = self.answer
        route.fulfill(json=self.now)


@pytest.fixture
def decisions(visit: Visit) -> Decisions:
    return Decisions(visit.page)


def opened(visit: Visit) -> Page:
    page = visit.open(f"#/jobs/{ID}")
    expect(page.get_by_role("heading", name="Review the letter")).to_be_visible()
    return page


def test_what_is_to_be_decided_is_shown_and_approved(visit: Visit, decisions: Decisions) -> None:
    decisions.answer = job(decision="approve", by="Mia", decided_at="2026-11-22T11:00:00.000Z")
    page = opened(visit)
    expect(page.get_by_role("heading", name="Waits for a decision")).to_be_visible()
    expect(page.get_by_text("without a decision until")).to_contain_text("it is rejected")
    expect(page.get_by_label("What is approved")).to_have_value(APPROVAL["shown"])
    assert faults(page) == []

    page.get_by_label("Your name (optional)").fill("Mia")
    page.get_by_role("button", name="Approve", exact=True).click()

    expect(page.locator("[data-key=decided-review]")).to_contain_text("Approved by Mia")
    assert decisions.sent == [{"decision": "approve", "by": "Mia"}]
    expect(page.get_by_role("button", name="Reject")).to_have_count(0)


def test_a_changed_text_is_an_edit_and_a_look_at_the_job_keeps_what_is_typed(
    visit: Visit, decisions: Decisions
) -> None:
    decisions.answer = job(decision="edit", value="Dear Ms Miller.", decided_at="2026-11-22T11:00:00.000Z")
    page = opened(visit)
    page.get_by_label("What is approved").fill("Dear Ms Miller.")
    page.get_by_label("Comment (optional)").fill("her name")
    decisions.now = job(until="2099-11-30T10:00:00.000Z")
    # (the page is drawn again each second, with what it has read meanwhile)
    expect(page.locator("[data-key=decide-review] time[datetime^='2099-11-30']")).to_be_visible()
    expect(page.get_by_label("What is approved")).to_have_value("Dear Ms Miller.")

    page.get_by_role("button", name="Approve with changes").click()

    decided = page.locator("[data-key=decided-review]")
    expect(decided).to_contain_text("Approved with changes")
    assert decisions.sent == [{"decision": "edit", "value": "Dear Ms Miller.", "comment": "her name"}]
    decided.get_by_text("What was approved").click()
    expect(decided.locator("pre", has_text="Dear Ms Miller.")).to_be_visible()


def test_a_rejection_asks_first(visit: Visit, decisions: Decisions) -> None:
    decisions.answer = job("failed", decision="reject", decided_at="2026-11-22T11:00:00.000Z", key_id="k1")
    page = opened(visit)
    page.get_by_role("button", name="Reject").click()
    page.locator("dialog").get_by_role("button", name="Close").click()
    assert decisions.sent == []

    page.get_by_role("button", name="Reject").click()
    page.locator("dialog").get_by_role("button", name="Reject").click()

    expect(page.locator("[data-key=decided-review]")).to_contain_text("Rejected by key k1")
    assert decisions.sent == [{"decision": "reject"}]


def test_what_is_no_text_is_edited_as_json(visit: Visit) -> None:
    decisions = Decisions(visit.page, shown=[{"text": "Lock."}])
    decisions.answer = job(decision="edit", value=[], decided_at="2026-11-22T11:00:00.000Z")
    page = opened(visit)
    page.get_by_label("What is approved").fill("[{")
    page.get_by_role("button", name="Approve with changes").click()
    expect(page.get_by_role("alert")).to_contain_text("must be JSON")
    assert decisions.sent == []

    page.get_by_label("What is approved").fill('[{"text": "Lock doors."}]')
    page.get_by_role("button", name="Approve with changes").click()
    expect(page.locator("[data-key=decided-review]")).to_be_visible()
    assert decisions.sent == [{"decision": "edit", "value": [{"text": "Lock doors."}]}]


def test_a_refusal_is_told_and_what_is_typed_stays(visit: Visit, decisions: Decisions) -> None:
    decisions.refusal = {"status": 422, "title": "The request is invalid", "detail": "value: has 9 characters too many"}
    page = opened(visit)
    page.get_by_label("What is approved").fill("Too long.")
    page.get_by_role("button", name="Approve with changes").click()
    expect(page.get_by_role("alert")).to_contain_text("has 9 characters too many")
    expect(page.get_by_label("What is approved")).to_have_value("Too long.")
    visit.expect_faults("422")


def test_hostile_texts_are_texts(visit: Visit) -> None:
    decided = {"decision": "edit", "value": HOSTILE, "by": HOSTILE, "comment": HOSTILE}
    Decisions(visit.page, title=HOSTILE, shown=HOSTILE, decided_at="2026-11-22T11:00:00.000Z", **decided)
    page = visit.open(f"#/jobs/{ID}")
    expect(page.locator("[data-key=decided-review]")).to_be_visible()
    assert page.locator("[data-key=decided-review] :is(img, script, svg)").count() == 0


def test_the_list_says_that_a_job_waits_for_a_decision(visit: Visit) -> None:
    visit.page.route("**/jobs?*", lambda route: route.fulfill(json={"jobs": [job()], "next_cursor": None}))
    page = visit.open("#/")
    expect(page.get_by_text("waiting for a decision")).to_be_visible()
