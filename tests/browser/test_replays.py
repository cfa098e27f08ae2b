"""The pages of replays: the list, one replay, and one of its jobs beside the job that it replays."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from playwright.sync_api import Browser, Locator, Page, Route, expect

from jobchain.spending import Usage
from local.settings import Settings
from local.stack import EmbeddedStack
from tests.browser.conftest import WIDE, Visit
from tests.browser.rules import violations
from tests.e2e.conftest import FINAL, LIMIT, poll
from tests.e2e.test_cli import environment
from tests.fake_model.answers import content
from tests.fake_model.journal import Call
from tests.fake_model.replies import Reply, json_reply, output_text, response, usage_of_response
from tests.fake_model.server import ModelServer

OTHER = "us.openai.gpt-6-luna"
"""A model with a price of its own in prices.json: a tenth more."""

REPLAY = "20261129-160000-ab12"
HOSTILE = '<img src=x onerror="alert(1)"><script>alert(2)</script>\u202e ' + "W" * 3_000
TITLES = {f"job-80{number}": title for number, title in enumerate(("Doors.md", "Keys.md", "Guests.md", HOSTILE[:200]))}


def as_other_model(call: Call) -> Reply | None:
    """The answers of the other model: it says more, to one job nothing that can be used, and to one hostile text."""
    request = json.loads(call.body)
    text = content(call.step, call.marker)
    if request["model"] == OTHER:
        text = "{}" if call.marker == "job-802" else text.replace("The summary of", "All that matters of")
        if call.marker == "job-803":
            text = text.replace("All that matters of", json.dumps(HOSTILE)[1:-1])
    usage = usage_of_response(Usage(len(call.body) // 4, output_tokens=len(text) // 4))
    return json_reply("answer", response(output_text(text), model=request["model"], usage=usage))


@pytest.fixture(scope="module")
def model(chromium: str) -> Iterator[ModelServer]:
    with ModelServer() as server:
        server.rule = as_other_model
        yield server


@pytest.fixture(scope="module")
def stack(model: ModelServer) -> Iterator[EmbeddedStack]:
    with EmbeddedStack.start(Settings(openai_base_url=model.base_url)) as stack:
        yield stack


@pytest.fixture(scope="module")
def replayed(stack: EmbeddedStack) -> dict[str, str]:
    """The jobs of a replay with another model, by their markers: one fails there, and all answer otherwise."""
    with httpx2.Client(base_url=stack.api_url, timeout=60, trust_env=False) as client:

        def ended(ids: list[str]) -> list[str]:
            poll(lambda: all(client.get(f"/jobs/{one}").json()["status"] in FINAL for one in ids), LIMIT)
            return ids

        jobs = [{"input_text": f"About {marker}.", "title": title} for marker, title in TITLES.items()]
        made = client.post("/jobs/batch", json={"jobs": jobs}).raise_for_status().json()["results"]
        fork = {"replay": REPLAY, "model": OTHER, "effort": "low"}
        forks = [
            client.post(f"/jobs/{source}/fork", json=fork).raise_for_status().json()["event_id"]
            for source in ended([job["event_id"] for job in made])
        ]
        return dict(zip(TITLES, ended(forks), strict=True))


@pytest.fixture(scope="module")
def cli_page(stack: EmbeddedStack, replayed: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page that the command line writes of the replay."""
    folder = tmp_path_factory.mktemp("replay")
    command = [sys.executable, "-m", "jobchain_cli", "replay", "--of", REPLAY, "--url", stack.api_url]
    said = subprocess.run(
        [*command, "--out", "page.html"],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert said.returncode == 3, said.stderr  # one of the jobs has failed
    return folder / "page.html"


def opened(visit: Visit, query: str = "") -> Page:
    page = visit.open(f"#/replays/{REPLAY}{query}")
    expect(page.locator("#connection")).to_have_text("live")
    return page


def cells(rows: Locator) -> list[list[str]]:
    """The texts of each row."""
    return [row.locator("th, td").all_inner_texts() for row in rows.all()]


def test_a_replay_is_found_from_the_navigation_and_leads_to_its_jobs(visit: Visit, replayed: dict[str, str]) -> None:
    page = visit.open()
    page.get_by_role("navigation", name="Pages").get_by_role("link", name="Replays").click()

    row = page.locator("table.jobs tbody tr")
    expect(row).to_have_count(1)
    expect(row).to_contain_text("4 jobs")
    expect(row).to_contain_text("3 completed, 1 failed", use_inner_text=True)
    expect(row).to_contain_text(f"model {OTHER} · effort low")

    row.get_by_role("link", name=REPLAY).click()
    expect(page.get_by_role("heading", name="Replay of 4 jobs of guideline_checklist")).to_be_visible()
    page.get_by_role("link", name="Doors.md").click()
    expect(page.get_by_role("heading", level=1, name="Doors.md")).to_be_visible()
    page.get_by_role("link", name=replayed["job-800"]).click()
    expect(page.locator(".headline .chip")).to_have_text("completed")


def test_a_job_leads_to_the_one_that_it_replays(visit: Visit, replayed: dict[str, str]) -> None:
    page = visit.open(f"#/jobs/{replayed['job-801']}")
    expect(page.locator("[data-key=details]")).to_contain_text(REPLAY)
    expect(page.locator("[data-key=details]")).to_contain_text("all steps")
    page.get_by_role("link", name="Compare").click()

    expect(page.get_by_role("heading", level=1, name="Keys.md")).to_be_visible()
    expect(page.locator("[aria-current=page]")).to_have_text("Replays")
    sides = page.locator(".side")
    expect(sides.first.locator("del").first).to_have_text("The summary")
    expect(sides.nth(1).locator("ins").first).to_have_text("All that matters")
    boxes = [sides.nth(number).bounding_box() for number in range(2)]
    assert boxes[0]
    assert boxes[1]
    assert (boxes[0]["y"], boxes[0]["x"] < boxes[1]["x"]) == (boxes[1]["y"], True)
    page.get_by_text("What it was given").click()
    expect(page.locator("[data-told='input ']")).to_contain_text("About job-801.")


def test_says_what_the_page_of_the_command_line_says(
    visit: Visit, browser: Browser, cli_page: Path, replayed: dict[str, str]
) -> None:
    page = opened(visit)
    with browser.new_context() as context:
        written = context.new_page()
        written.goto(cli_page.as_uri())

        for text in (*written.locator("header p").all_inner_texts()[:2], written.locator("main > p").inner_text()):
            expect(page.get_by_text(text, exact=True)).to_be_visible()
        assert page.locator("h1").inner_text() == written.locator("h1").inner_text()
        assert cells(page.locator(".sums tbody tr")) == cells(written.locator("table").first.locator("tbody tr"))
        rows, theirs = cells(page.locator(".pairs tbody tr")), cells(written.locator(".jobs tbody tr"))
        assert [[re.sub(r"^\d+\. ", "", row[0])[:9], *row[1:]] for row in theirs] == [
            [row[0][:9], *row[1:]] for row in rows
        ]
        assert rows[0][:2] == ["Guests.md", "worse"]

        for title, marker in (("Doors.md", "job-800"), ("Guests.md", "job-802")):
            opened(visit, f"?job={replayed[marker]}")
            article = written.locator("article", has_text=title)
            expect(page.get_by_role("heading", level=1, name=title)).to_be_visible()
            assert cells(page.locator(".pairs tbody tr")) == cells(article.locator(".facts tbody tr"))
            for mark in ("del", "ins"):
                ours, other = (each.locator(mark).all_text_contents() for each in (page, article))
                assert ours == other
            assert (page.locator(".headline .verdict").inner_text(), title) == (
                article.locator(".verdict").inner_text(),
                title,
            )


def test_its_jobs_can_be_chosen_by_what_became_of_them(visit: Visit, replayed: dict[str, str]) -> None:
    page = opened(visit)
    rows = page.locator(".pairs tbody tr")
    expect(rows).to_have_count(4)
    page.get_by_label("Show").select_option("Not completed")

    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("Guests.md")
    rows.get_by_role("link").click()
    expect(page.get_by_text("Completed, then failed.")).to_be_visible()
    expect(page.locator("[data-key=facts]")).to_contain_text("unusable_answer")
    page.go_back()
    expect(rows).to_have_count(1)


def test_a_job_that_has_not_ended_is_told_apart(visit: Visit, replayed: dict[str, str]) -> None:
    def unfinished(route: Route) -> None:
        body = route.fetch().json()
        for job in body["jobs"]:
            if job["event_id"] == replayed["job-800"]:
                job |= {"status": "processing", "finished_at": None}
        route.fulfill(json=body)

    visit.page.route("**/jobs?replay=*", unfinished)
    page = opened(visit)

    expect(page.get_by_text("1 not ended")).to_be_visible()
    expect(page.locator(".pairs tbody tr").last).to_contain_text("it is processing")


def test_a_prompt_that_was_changed_is_shown_beside_the_one_before(visit: Visit, http: httpx2.Client) -> None:
    source = http.post("/jobs", json={"input_text": "About job-810.", "title": "Prompts.md"}).json()["event_id"]
    poll(lambda: http.get(f"/jobs/{source}").json()["status"] in FINAL)
    fork = {"replay": "prompts", "from_step": "summary", "prompt": "Sum it up in one sentence."}
    made = http.post(f"/jobs/{source}/fork", json=fork).raise_for_status().json()["event_id"]
    poll(lambda: http.get(f"/jobs/{made}").json()["status"] in FINAL)

    page = visit.open("#/replays/prompts")
    expect(page.get_by_text("prompt of step: summary; from step: summary.")).to_be_visible()
    page.get_by_role("link", name="Prompts.md").click()
    page.get_by_text("The prompt of step").click()

    told = page.locator("[data-told='prompt summary']")
    expect(told.locator(".side").last).to_contain_text("Sum it up in one sentence.")
    expect(told.locator("del").first).to_be_visible()


def test_a_replay_that_does_not_exist_is_told_so(visit: Visit) -> None:
    page = visit.open("#/replays/none")

    expect(page.get_by_role("heading", name="There is no such replay")).to_be_visible()


def test_a_replay_whose_jobs_were_deleted_says_so(visit: Visit, replayed: dict[str, str]) -> None:
    source = re.compile(r"/jobs/(?!" + "|".join(replayed.values()) + r")[0-9a-f-]{36}\?")
    visit.page.route(source, lambda route: route.fulfill(status=404, json={"title": "There is no such job"}))
    page = opened(visit)

    expect(page.get_by_text("4 left out: the jobs that they replay were deleted.")).to_be_visible()
    visit.expect_faults("404")


@pytest.mark.parametrize("pixels", [360, 768, 1440, 2560])
def test_fits_the_window_whatever_the_texts_are(visit: Visit, replayed: dict[str, str], pixels: int) -> None:
    visit.page.set_viewport_size({"width": pixels, "height": 900})

    opened(visit)
    assert visit.width <= pixels
    for marker, event_id in replayed.items():
        opened(visit, f"?job={event_id}")
        shown = "[data-key=facts]" if marker == "job-802" else ".side >> nth=0"
        expect(visit.page.locator(shown)).to_be_visible()
        visit.page.locator("details").evaluate_all("all => all.forEach(one => { one.open = true; })")
        assert visit.width <= pixels
    assert visit.page.locator("main img, main script").count() == 0
    visit.open("#/replays")
    expect(visit.page.locator("table.jobs tbody tr").first).to_be_visible()
    assert visit.width <= pixels


@pytest.mark.parametrize(("pixels", "scheme"), [(360, "light"), (1440, "dark")])
def test_axe_finds_nothing(visit: Visit, replayed: dict[str, str], pixels: int, scheme: Any) -> None:
    visit.page.emulate_media(color_scheme=scheme)
    visit.page.set_viewport_size({"width": pixels, "height": WIDE["height"]})
    visit.open("#/replays")
    expect(visit.page.locator("table.jobs tbody tr").first).to_be_visible()
    assert violations(visit.page) == []
    for query in ("", f"?job={replayed['job-800']}", f"?job={replayed['job-802']}"):
        page = opened(visit, query)
        page.locator("details").evaluate_all("all => all.forEach(one => { one.open = true; })")
        assert violations(page) == []
