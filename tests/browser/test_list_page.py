"""The list of jobs: what it calls them, how they are found, and that the way back finds them again."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, unquote

import httpx2
import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Visit
from tests.browser.jobs import make, refuse
from tests.browser.rules import violations
from tests.fake_model.server import ModelServer

NUMBER = 500
ROWS = "table.jobs tbody tr"
HOSTILE = '<img src=x onerror="alert(1)"><script>alert(2)</script> \u202e"&=#?; ' + "W" * 120


@pytest.fixture(scope="module")
def many(http: httpx2.Client, model: ModelServer) -> list[str]:
    """The ids of 500 jobs that have ended, the newest first."""
    model.rule = refuse
    made = make(http, NUMBER, metadata={"team": "legal"})
    listed: list[str] = []
    cursor = None
    while len(listed) < NUMBER:
        params = {"limit": 100, **({"cursor": cursor} if cursor else {})}
        page = http.get("/jobs", params=params).raise_for_status().json()
        listed += [job["event_id"] for job in page["jobs"]]
        cursor = page["next_cursor"]
    assert set(listed) == set(made)
    return listed


@pytest.fixture
def named(http: httpx2.Client, many: list[str]) -> str:
    """The id of a job with a name of its own; its title and metadata are not those of others."""
    body = {"input_text": "About names.", "title": "Travel policy 2026.md", "metadata": {"team": "travel", "a=b": "c"}}
    return str(http.post("/jobs", json=body).raise_for_status().json()["event_id"])


def show_more(page: Page, times: int) -> None:
    """Reads further pages of the list."""
    for _ in range(times):
        before = page.locator(ROWS).count()
        page.get_by_role("button", name="More", exact=True).click()
        expect(page.locator(ROWS)).not_to_have_count(before)


class TestAList:
    @pytest.mark.essential
    def test_names_its_jobs(self, visit: Visit, named: str) -> None:
        page = visit.open()

        row = page.locator("tr", has_text=named[:8])
        expect(row.get_by_role("link")).to_contain_text("Travel policy 2026.md")
        expect(row).to_contain_text("Guideline checklist")

    def test_tells_how_far_its_jobs_are_and_what_they_cost(self, visit: Visit, many: list[str]) -> None:
        page = visit.open("#/?metadata.team=legal")

        expect(page.locator(".totals")).to_contain_text("Newest 100 jobs: 100 failed")
        expect(page.locator(".totals")).to_contain_text("$0.00")

    @pytest.mark.essential
    def test_of_500_jobs_is_found_again_on_the_way_back(
        self, visit: Visit, http: httpx2.Client, many: list[str]
    ) -> None:
        # given a list with all jobs, of which one far below is opened
        page = visit.open("#/?metadata.team=legal")
        expect(page.locator(ROWS)).to_have_count(100)
        show_more(page, 4)
        expect(page.locator(ROWS)).to_have_count(NUMBER)
        job = page.locator("tr", has_text=many[420][:8]).get_by_role("link")
        job.scroll_into_view_if_needed()
        page.evaluate("addEventListener('click', () => (window.height = scrollY), true)")
        job.click()
        height = page.evaluate("height")
        assert height > 10_000
        expect(page.locator(".headline .chip")).to_be_visible()
        assert page.evaluate("scrollY") == 0

        # when the person goes back
        page.go_back()

        # then all is as it was, at once
        expect(page.locator(ROWS)).to_have_count(NUMBER)
        expect(job).to_be_focused()
        expect(job).to_be_in_viewport()
        assert page.evaluate("scrollY") == height

    def test_does_not_show_a_deleted_job_on_the_way_back(
        self, visit: Visit, http: httpx2.Client, many: list[str]
    ) -> None:
        gone = make(http, 1, metadata={"team": "gone"})[0]
        make(http, 120, metadata={"team": "gone"})
        page = visit.open("#/?metadata.team=gone")
        show_more(page, 1)
        expect(page.locator(ROWS)).to_have_count(121)
        page.locator("tr", has_text=gone[:8]).get_by_role("link").click()
        page.get_by_role("button", name="Delete").click()
        page.get_by_role("dialog").get_by_role("button", name="Delete").click()
        expect(page.get_by_role("heading", name="Jobs", exact=True)).to_be_visible()

        page.go_back()
        page.go_back()

        expect(page.locator(ROWS)).to_have_count(120)
        expect(page.locator("tr", has_text=gone[:8])).to_have_count(0)
        visit.expect_faults("404")


class TestASearch:
    @pytest.mark.essential
    def test_finds_jobs_by_title_and_metadata_and_its_address_can_be_shared(self, visit: Visit, named: str) -> None:
        page = visit.open()
        page.get_by_label("Title or id").fill("TRAVEL")
        page.keyboard.press("Enter")
        expect(page.locator(ROWS).filter(has_text=named[:8])).to_be_visible()
        page.get_by_text("More filters").click()
        page.get_by_label("Metadata").fill("a=b=c")
        page.get_by_label("Metadata").press("Enter")
        expect(page.get_by_role("heading", name="No such jobs")).to_be_visible()
        page.get_by_role("button", name="Remove the filter: a = b=c").click()
        page.get_by_label("Metadata").fill("team=travel")
        page.get_by_role("button", name="Search").click()
        expect(page.get_by_role("button", name="Remove the filter: team = travel")).to_be_visible()

        expect(page.locator(ROWS).first).to_contain_text(named[:8])
        assert unquote(page.url).endswith("#/?title=TRAVEL&metadata.team=travel")
        other = visit.open(page.url.partition("/queue")[2])
        expect(other.locator(ROWS).first).to_contain_text(named[:8])
        expect(other.get_by_label("Title or id")).to_have_value("TRAVEL")

    def test_for_an_id_opens_the_job(self, visit: Visit, many: list[str]) -> None:
        for text in (many[450][:8], many[450], many[3].upper()):
            page = visit.open()
            page.get_by_label("Title or id").fill(text)
            page.get_by_role("button", name="Search").click()

            expect(page.locator("code", has_text=text.lower()[:8]).first).to_be_visible()
            expect(page.locator(".headline .chip")).to_be_visible()

    def test_for_what_is_no_id_looks_for_a_title(self, visit: Visit, many: list[str]) -> None:
        page = visit.open()
        page.get_by_label("Title or id").fill("deadbeef")
        page.get_by_role("button", name="Search").click()

        expect(page.get_by_role("heading", name="No such jobs")).to_be_visible()
        assert page.url.endswith("#/?title=deadbeef")

    def test_by_time_has_the_last_hours_and_any_times(self, visit: Visit, named: str) -> None:
        page = visit.open()
        page.get_by_role("combobox", name="Created").select_option("last hour")
        expect(page.get_by_role("button", name="Remove the filter: created from")).to_be_visible()
        expect(page.locator(ROWS).first).to_be_visible()
        found = re.search(r"created_after=([^&]+)", page.url)
        assert found
        since = datetime.fromisoformat(unquote(found[1]))
        assert timedelta(minutes=59) < datetime.now(UTC) - since < timedelta(minutes=62)

        page.get_by_text("More filters").click()
        page.get_by_role("textbox", name="Created from").fill("")
        page.get_by_role("textbox", name="before").fill("2026-01-02T03:04")
        page.get_by_role("button", name="Search").click()

        expect(page.get_by_role("heading", name="No such jobs")).to_be_visible()
        assert "created_after" not in page.url
        assert "created_before=2026-01-0" in page.url

    def test_whose_filters_are_gone_on_the_way_back_shows_none_in_its_fields(self, visit: Visit, named: str) -> None:
        page = visit.open()
        page.get_by_label("Status").select_option("failed")
        expect(page.locator("tbody .chip.failed").first).to_be_visible()
        page.get_by_label("Title or id").fill("policy")
        page.get_by_role("button", name="Search").click()
        expect(page.get_by_role("button", name="Remove the filter: title has")).to_be_visible()

        page.go_back()
        expect(page.get_by_label("Title or id")).to_have_value("")
        expect(page.get_by_label("Status")).to_have_value("failed")
        page.go_back()

        expect(page.get_by_label("Status")).to_have_value("")

    def test_keeps_what_is_typed_while_the_list_changes(
        self, visit: Visit, http: httpx2.Client, many: list[str]
    ) -> None:
        page = visit.open()
        expect(page.locator(ROWS).first).to_be_visible()
        page.get_by_label("Title or id").fill("half of a wo")

        made = make(http, 1)[0]

        expect(page.locator("tr", has_text=made[:8])).to_be_visible()
        expect(page.get_by_label("Title or id")).to_have_value("half of a wo")
        expect(page.get_by_label("Title or id")).to_be_focused()

    def test_that_the_api_refuses_says_why(self, visit: Visit) -> None:
        page = visit.open("#/?created_after=yesterday")

        expect(page.locator(".face")).to_contain_text("created_after")
        visit.expect_faults("422")


@pytest.mark.parametrize("width", [360, 1440])
def test_hostile_titles_and_filters_do_no_harm(visit: Visit, http: httpx2.Client, many: list[str], width: int) -> None:
    body: dict[str, Any] = {"input_text": "About harm.", "title": HOSTILE, "metadata": {HOSTILE[:60]: HOSTILE}}
    event_id = http.post("/jobs", json=body).raise_for_status().json()["event_id"]
    visit.page.set_viewport_size({"width": width, "height": 844})

    page = visit.open(
        f"#/?metadata.{quote(HOSTILE[:60], safe='')}={quote(HOSTILE, safe='')}&title={quote(HOSTILE, safe='')}"
    )

    expect(page.locator("tr", has_text=event_id[:8])).to_contain_text("<script>alert(2)</script>")
    assert page.locator("main script, main img, main [onerror]").count() == 0
    assert visit.width <= width
    expect(page.get_by_role("button", name="Remove the filter: title has")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1440, 2560])
def test_axe_finds_nothing_and_nothing_is_wider_than_the_window(
    visit: Visit, named: str, scheme: Any, width: int
) -> None:
    visit.page.emulate_media(color_scheme=scheme)
    visit.page.set_viewport_size({"width": width, "height": 844})
    page = visit.open("#/?metadata.team=travel&created_after=2026-01-01")
    expect(page.locator(ROWS).first).to_be_visible()
    page.get_by_text("More filters").click()

    assert violations(page) == []
    assert visit.width <= width
