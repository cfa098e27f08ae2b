"""Many jobs are retried, cancelled or deleted at once: counted before, and told truly after."""

from typing import Any
from uuid import uuid4

import httpx2
import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import Visit
from tests.browser.jobs import make, refuse, wait
from tests.browser.rules import violations
from tests.e2e.conftest import poll
from tests.fake_model.replies import NEVER
from tests.fake_model.server import ModelServer

HOSTILE = '<img src=x onerror="alert(1)"><script>alert(2)</script>'


@pytest.fixture
def team() -> str:
    """The team of this test's jobs."""
    return f"team-{uuid4().hex[:8]}"


@pytest.fixture
def failed(http: httpx2.Client, model: ModelServer, team: str) -> list[str]:
    """The ids of 12 failed jobs of the team."""
    model.rule = refuse
    return make(http, 12, metadata={"team": team})


def choose(page: Page, action: str, number: int) -> None:
    """Chooses what to do with `number` jobs, and confirms it."""
    page.get_by_role("button", name=f"{action} {number}", exact=True).click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("heading")).to_have_text(f"{action} {number} job{'s' if number > 1 else ''}?")
    dialog.get_by_role("button", name=f"{action} {number}", exact=True).click()


def sum_of(page: Page, text: str) -> None:
    """Waits for what was done."""
    expect(page.get_by_role("heading", name=text, exact=True)).to_be_visible()


@pytest.mark.essential
def test_failed_jobs_of_a_filter_are_retried(
    visit: Visit, http: httpx2.Client, model: ModelServer, failed: list[str], team: str
) -> None:
    # given a list with a filter, and a model that works again
    make(http, 3, metadata={"team": "another"})
    model.rule = lambda call: None
    page = visit.open(f"#/?metadata.team={team}")

    # when all that match are retried
    page.get_by_role("link", name="Retry, cancel or delete").click()
    expect(page.get_by_role("heading", name="12 jobs", exact=True)).to_be_visible()
    expect(page.get_by_text(f"team = {team}")).to_be_visible()
    expect(page.get_by_role("button", name="Cancel 0")).to_be_disabled()
    choose(page, "Retry", 12)

    # then they run, and no other
    sum_of(page, "12 retried")
    wait(http)
    jobs = http.get("/jobs", params={"metadata.team": team, "limit": 100}).json()["jobs"]
    assert {job["event_id"] for job in jobs if job["status"] == "completed"} == set(failed)
    assert len(http.get("/jobs", params={"metadata.team": "another", "status": "failed"}).json()["jobs"]) >= 3
    page.get_by_role("link", name="Back to the list").click()
    expect(page.locator("tbody .chip.completed")).to_have_count(12)


def test_nothing_happens_unless_it_is_confirmed(
    visit: Visit, http: httpx2.Client, failed: list[str], team: str
) -> None:
    page = visit.open(f"#/bulk?metadata.team={team}")

    page.get_by_role("button", name="Delete 12").click()
    page.get_by_role("dialog").get_by_role("button", name="Close").click()

    expect(page.get_by_role("button", name="Delete 12")).to_be_enabled()
    assert len(http.get("/jobs", params={"metadata.team": team}).json()["jobs"]) == 12


@pytest.mark.essential
def test_what_could_not_be_done_is_told_with_its_reason(
    visit: Visit, http: httpx2.Client, model: ModelServer, failed: list[str], team: str
) -> None:
    # given that two jobs of those that were counted run again, and a third is gone
    page = visit.open(f"#/bulk?metadata.team={team}")
    expect(page.get_by_role("button", name="Delete 12")).to_be_enabled()
    model.rule = lambda call: NEVER
    for event_id in failed[:2]:
        http.post(f"/jobs/{event_id}/retry").raise_for_status()
    http.delete(f"/jobs/{failed[2]}").raise_for_status()

    choose(page, "Delete", 12)

    sum_of(page, "9 deleted, 3 could not")
    expect(page.locator("li", has_text="2 jobs could not: ")).to_contain_text("the job is")
    expect(page.locator("li", has_text="2 jobs could not: ").get_by_role("link")).to_have_count(2)
    expect(page.locator("li", has_text="1 job could not: ")).to_contain_text("there is no job")
    assert {job["event_id"] for job in http.get("/jobs", params={"metadata.team": team}).json()["jobs"]} == set(
        failed[:2]
    )
    visit.expect_faults("409", "404")

    # when what is left is cancelled, where a model does not answer
    poll(lambda: all(http.get(f"/jobs/{event_id}").json()["status"] == "processing" for event_id in failed[:2]))
    page.get_by_role("button", name="Count again").click()
    choose(page, "Cancel", 2)

    # then it is told that they still run
    sum_of(page, "2 cancelled")
    expect(page.get_by_text("2 of them ran, and end before their next step.")).to_be_visible()
    model.release()
    wait(http)


def test_a_lost_answer_and_a_busy_api_are_no_failure(
    visit: Visit, http: httpx2.Client, failed: list[str], team: str
) -> None:
    seen: list[str] = []

    def trouble(route: Route) -> None:
        if route.request.method != "DELETE":
            return route.fallback()
        seen.append(route.request.url)
        if len(seen) == 1:
            route.fetch()
            return route.abort()
        if len(seen) in (2, 3):
            problem = {"title": "Unavailable", "detail": "try again", "status": 503}
            return route.fulfill(status=503, headers={"Retry-After": "1"}, json=problem)
        return route.continue_()

    visit.page.route("**/jobs/*", trouble)
    page = visit.open(f"#/bulk?metadata.team={team}")
    choose(page, "Delete", 12)

    sum_of(page, "12 deleted")
    assert http.get("/jobs", params={"metadata.team": team}).json()["jobs"] == []
    visit.expect_faults("ERR_FAILED", "503", "404")


def test_it_can_be_stopped_and_goes_on_while_another_page_is_shown(
    visit: Visit, http: httpx2.Client, failed: list[str], team: str
) -> None:
    held: list[Route] = []

    def hold(route: Route) -> None:
        if route.request.method == "DELETE":
            held.append(route)
        else:
            route.fallback()

    def four_are_held() -> bool:
        page.wait_for_timeout(50)
        return len(held) == 4

    page = visit.page
    page.route("**/jobs/*", hold)
    visit.open(f"#/bulk?metadata.team={team}")
    choose(page, "Delete", 12)
    expect(page.get_by_text("0 done, 0 could not, 12 to go")).to_be_visible()
    poll(four_are_held)
    page.get_by_role("link", name="Usage").click()
    expect(page.get_by_role("heading", name="Usage", exact=True)).to_be_visible()
    page.go_back()
    page.get_by_role("button", name="Stop").click()
    for route in held:
        route.continue_()

    sum_of(page, "4 deleted, 8 not tried")
    expect(page.get_by_text("It was stopped.")).to_be_visible()
    assert len(http.get("/jobs", params={"metadata.team": team}).json()["jobs"]) == 8


def test_a_key_that_is_refused_ends_it(visit: Visit, http: httpx2.Client, failed: list[str], team: str) -> None:
    def refuse_the_key(route: Route) -> None:
        problem = {"title": "A valid API key is required", "detail": "invalid API key", "status": 401}
        route.fulfill(status=401, json=problem) if route.request.method == "DELETE" else route.fallback()

    visit.page.route("**/jobs/*", refuse_the_key)
    page = visit.open(f"#/bulk?metadata.team={team}")
    choose(page, "Delete", 12)

    sum_of(page, "0 deleted, 12 not tried")
    expect(page.get_by_text("It ended early: invalid API key")).to_be_visible()
    visit.expect_faults("401")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 2560])
def test_axe_finds_nothing_and_hostile_titles_do_no_harm(
    visit: Visit, http: httpx2.Client, model: ModelServer, team: str, scheme: Any, width: int
) -> None:
    model.rule = refuse
    gone = make(http, 1, metadata={"team": team, HOSTILE: HOSTILE})[0]
    visit.page.emulate_media(color_scheme=scheme)
    visit.page.set_viewport_size({"width": width, "height": 844})
    page = visit.page
    body = {**http.get("/jobs", params={"metadata.team": team}).json()}
    body["jobs"][0]["title"] = HOSTILE + "W" * 200
    page.route("**/jobs?*", lambda route: route.fulfill(json=body))
    visit.open(f"#/bulk?metadata.team={team}&title=%3Cscript%3Ealert(1)%3C/script%3E")
    expect(page.get_by_text("<script>alert(1)</script>")).to_be_visible()
    assert violations(page) == []
    http.delete(f"/jobs/{gone}").raise_for_status()

    choose(page, "Delete", 1)

    sum_of(page, "0 deleted, 1 could not")
    expect(page.get_by_text(HOSTILE)).to_be_visible()
    assert violations(page) == []
    assert visit.width <= width
    assert page.locator("main script, main img").count() == 0
    visit.expect_faults("404")
