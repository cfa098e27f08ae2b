"""The scripts that the dashboard loads when it needs them."""

import httpx2
from playwright.sync_api import expect

from tests.browser.conftest import Visit
from tests.e2e.conftest import FINAL, poll

DOWNLOAD = "Download Markdown"


def ended(http: httpx2.Client, text: str) -> str:
    """The route of a job that has ended."""
    event_id = http.post("/jobs", json={"input_text": text}).raise_for_status().json()["event_id"]
    poll(lambda: http.get(f"/jobs/{event_id}").json()["status"] in FINAL)
    return f"#/jobs/{event_id}"


def test_a_script_is_requested_when_it_is_needed_and_once(visit: Visit, http: httpx2.Client) -> None:
    def scripts(name: str) -> int:
        return sum(f"/assets/later/{name}." in url for url in visit.requests)

    page = visit.open(ended(http, "About scripts."))
    expect(page.frame_locator("iframe").locator("svg")).to_be_visible()
    assert (scripts("diagrams"), scripts("exports")) == (1, 0)

    for _ in range(2):
        with page.expect_download():
            page.get_by_role("button", name=DOWNLOAD).click()

    assert (scripts("diagrams"), scripts("exports")) == (1, 1)


def test_a_page_of_an_older_version_says_that_it_has_to_be_reloaded(visit: Visit, http: httpx2.Client) -> None:
    page = visit.open(ended(http, "About versions."))
    page.route("**/assets/later/exports.*", lambda route: route.fulfill(status=404, json={"title": "not found"}))

    page.get_by_role("button", name=DOWNLOAD).click()

    expect(page.get_by_role("status")).to_have_text("A newer version of the dashboard is deployed: reload the page.")
    visit.expect_faults("404")


def test_a_script_of_another_text_does_not_run(visit: Visit, http: httpx2.Client) -> None:
    page = visit.open(ended(http, "About texts."))
    script = "document.currentScript.make = () => ({ markdown: () => alert(1) });"
    page.route("**/assets/later/exports.*", lambda route: route.fulfill(body=script))

    page.get_by_role("button", name=DOWNLOAD).click()

    expect(page.get_by_role("status")).to_contain_text("reload the page")
    visit.expect_faults("Content Security Policy")
