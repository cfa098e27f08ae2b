"""The page of a job: its steps over time, what each was asked and answered, its files, and a fork of it."""

import csv
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from playwright.sync_api import Page, Route, expect

from jobchain.domain import isoformat, utc_now
from tests.browser.conftest import Visit
from tests.browser.test_dashboard import AXE, DIRECTIVE, HOSTILE, LABELS, LONG
from tests.e2e.conftest import FINAL, poll
from tests.fake_model.replies import answer, json_reply, response
from tests.fake_model.server import ModelServer

Made = Callable[..., dict[str, Any]]
NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)


@pytest.fixture
def made(http: httpx2.Client) -> Made:
    """Makes a job and waits until it has ended; gives it with its calls."""

    def made(marker: str, **more: Any) -> dict[str, Any]:
        event_id = (
            http.post("/jobs", json={"input_text": f"About {marker}.", **more}).raise_for_status().json()["event_id"]
        )
        poll(lambda: http.get(f"/jobs/{event_id}").json()["status"] in FINAL)
        job: dict[str, Any] = http.get(f"/jobs/{event_id}?include=attempts").json()
        return job

    return made


def at(seconds: float) -> str:
    return isoformat(NOW + timedelta(seconds=seconds))


def show(visit: Visit, job: dict[str, Any], **more: Any) -> Page:
    """Opens the job's page, with `more` in place of what the API says, also when the page asks for more of it."""
    if more:
        visit.page.route("**/jobs/*", lambda route: route.fulfill(json={**job, **more}))
    page = visit.open(f"#/jobs/{job['event_id']}")
    expect(page.locator(".headline .chip")).to_be_visible()
    return page


def faults(page: Page) -> list[str]:
    page.evaluate(AXE)
    found = page.evaluate("axe.run(document, {iframes: false})")["violations"]
    return [f"{one['id']}: {node['html'][:200]}: {node['failureSummary']}" for one in found for node in one["nodes"]]


def saved(page: Page, button: str) -> Path:
    """The file that a button of the menu downloads."""
    page.locator(".menu summary").click()
    with page.expect_download() as download:
        page.get_by_role("button", name=button, exact=True).click()
    return Path(download.value.path())


class TestAStep:
    def test_that_is_opened_shows_its_prompt_its_input_its_answer_and_its_calls(self, visit: Visit, made: Made) -> None:
        page = show(visit, made("job-901", title="Rules of the house"))
        expect(page.get_by_role("heading", name="Rules of the house")).to_be_visible()
        assert not [url for url in visit.requests if "prompts" in url]

        page.locator(".steps > summary").click()
        page.get_by_role("button", name="Summary").click()

        opened = page.locator("[data-step=summary]")
        expect(opened.get_by_text("This is what was sent.")).to_be_visible()
        expect(opened.locator("pre", has_text="The summary of job-901")).to_be_visible()
        expect(opened.locator("pre", has_text="About job-901.")).to_be_visible()
        expect(opened.get_by_role("heading", name="Calls of the model (1)")).to_be_visible()
        expect(opened.locator(".calls")).to_contain_text("answered")
        assert len([url for url in visit.requests if "prompts" in url]) == 1
        page.get_by_role("button", name="Summary").click()
        expect(opened).to_have_count(0)

    def test_is_run_again_with_another_payload(self, visit: Visit, made: Made, http: httpx2.Client) -> None:
        job = made("job-902")
        page = show(visit, job)
        page.locator(".steps > summary").click()
        page.get_by_role("button", name="Summary").click()
        page.get_by_text("Run again from this step").click()

        page.get_by_label("Title", exact=True).fill("Another try")
        page.get_by_role("textbox", name="Guidelines", exact=True).fill("About job-903.")
        page.get_by_role("button", name="Run the fork").click()

        expect(page.get_by_role("heading", name="Another try")).to_be_visible()
        expect(page.get_by_text("The summary of job-903.")).to_be_visible()
        fork = page.url.rpartition("/")[2]
        forked = {"event_id": job["event_id"], "from_step": "summary", "replay": None}
        assert http.get(f"/jobs/{fork}").json()["forked_from"] == forked
        expect(page.locator("[data-key=details]")).to_contain_text(f"{job['event_id'][:8]}, step summary")

    def test_offers_for_another_run_what_the_chain_allows(self, visit: Visit, made: Made) -> None:
        def strict(route: Route) -> None:
            chains = route.fetch().json()
            for chain in chains["chains"]:
                chain["overrides"] = ["effort"]
            route.fulfill(json=chains)

        visit.page.route("**/chains", strict)
        page = show(visit, made("job-907"))
        page.locator(".steps > summary").click()
        page.get_by_role("button", name="Summary").click()
        page.get_by_text("Run again from this step").click()

        expect(page.get_by_label("Effort of reasoning")).to_be_visible()
        expect(page.get_by_label("Model of its calls")).to_have_count(0)
        expect(page.get_by_label("Prompt of this step")).to_have_count(0)
        page.get_by_label("Effort of reasoning").select_option("low")
        page.get_by_role("button", name="Run the fork").click()
        expect(page.locator("[data-key=details]")).to_contain_text("effort low")

    def test_that_a_fork_changed_is_told_with_what_else_the_job_sets(self, visit: Visit, made: Made) -> None:
        job = made("job-908")
        own = {"model": "gpt-6-luna", "effort": "high", "changed_prompts": ["summary", "checklist"]}
        page = show(visit, job, **own, chain_version="0123456789abcdef")

        details = page.locator("[data-key=details]")
        expect(details).to_contain_text("model gpt-6-luna, effort high, its own prompt of Summary, Checklist")
        expect(details).to_contain_text("0123456789abcdef")

    def test_says_why_it_can_not_be_run_again_so(self, visit: Visit, made: Made) -> None:
        page = show(visit, made("job-904"))
        page.locator(".steps > summary").click()
        page.get_by_role("button", name="Diagram", exact=True).click()
        page.get_by_text("Run again from this step").click()
        page.get_by_role("textbox", name="Guidelines", exact=True).fill("About something else.")
        page.get_by_role("button", name="Run the fork").click()

        expect(page.get_by_role("alert")).to_contain_text("changes what these steps work on")
        expect(page.get_by_role("textbox", name="Guidelines", exact=True)).to_have_value("About something else.")
        visit.expect_faults("422")


class TestTheStepsOverTime:
    def test_of_a_failed_job_show_calls_in_red_and_say_what_to_do(
        self, visit: Visit, made: Made, model: ModelServer
    ) -> None:
        model.script("job-905", *[answer('{"list": []}')] * 3, step="checklist")

        page = show(visit, made("job-905"))

        error = page.locator("[data-key=error]")
        expect(error).to_contain_text("What to do: Each answer was not what the step has to give")
        expect(error).to_contain_text("The last cause: list: Extra inputs are not permitted; checklist: Field required")
        expect(page.locator(".timeline li", has_text="Checklist").locator(".track .failed")).to_have_count(3)
        expect(page.get_by_text("What to do: Each answer was not what")).to_have_count(1)

    def test_of_a_failed_job_lead_to_another_run_of_the_step_where_a_retry_would_fail_again(
        self, visit: Visit, made: Made, model: ModelServer, http: httpx2.Client
    ) -> None:
        model.script("job-909", *[answer('{"list": []}')] * 3, step="checklist")
        page = show(visit, made("job-909"))
        retry = page.get_by_role("button", name="Retry", exact=True)
        expect(retry).not_to_have_class(re.compile("primary"))

        page.locator("[data-key=error]").get_by_role("button", name="Run again from this step").click()

        form = page.locator("[data-step=checklist] form")
        expect(form.get_by_label("Title", exact=True)).to_be_focused()
        form.get_by_role("button", name="Run the fork").click()
        expect(page.locator(".headline .chip")).to_have_text("completed")
        expect(page.locator("[data-key=details]")).to_contain_text("step checklist")

    def test_of_a_job_that_ran_out_of_time_offer_a_retry_first(self, visit: Visit, made: Made) -> None:
        error = {"type": "deadline_exceeded", "message": "it waited", "step": "summary"}
        page = show(visit, made("job-911"), status="failed", error=error)

        expect(page.get_by_role("button", name="Retry", exact=True)).to_have_class(re.compile("primary"))
        expect(page.locator("[data-key=error]").get_by_role("button")).to_have_count(0)

    def test_of_a_refused_text_show_what_the_model_said(self, visit: Visit, made: Made, model: ModelServer) -> None:
        refusal = response({"type": "refusal", "refusal": HOSTILE})
        model.script("job-912", json_reply("refusal", refusal), step="checklist")
        page = show(visit, made("job-912"))

        expect(page.locator("[data-key=error]")).to_contain_text("Its answer: ")
        assert page.locator("[data-key=error] :is(script, img)").count() == 0

    def test_show_waits_as_waits_and_tell_them_from_work(self, visit: Visit, made: Made) -> None:
        # given a job that worked for 6 of 106 seconds: it waited for a worker, and for a person to retry it
        job = made("job-906")
        call = {**job["answered_calls"][0], "outcome": "server_error", "cause": None, "answer": None}
        steps = [{**step, "started_at": at(103), "finished_at": at(106)} for step in job["steps"]]
        answered = [{**one, "started_at": at(103), "finished_at": at(106)} for one in job["answered_calls"]]
        failed = [{**call, "started_at": at(1), "finished_at": at(4)}]
        times = {"created_at": at(0), "started_at": at(1), "finished_at": at(106)}

        page = show(visit, job, **times, steps=steps, failed_attempts=failed, answered_calls=answered)

        expect(page.locator("[data-key=details]")).to_contain_text("1 min 46 s, of it at work: 6.0 s")
        page.locator(".steps > summary").click()
        waiting = page.locator(".timeline li", has_text="Waiting")
        expect(waiting).to_contain_text("1 min 40 s")
        expect(waiting.locator(".track .wait")).to_have_count(2)
        expect(page.locator(".timeline li", has_text="Summary").locator(".track .wait")).to_have_count(1)

    def test_of_a_long_job_are_folded(self, visit: Visit, made: Made) -> None:
        # given a chain of 40 steps, of which one has a long text
        job = made("job-907")
        done = {**job["steps"][0], "parts": None}
        ready = [{**done, "name": f"step_{number}"} for number in range(30)]
        parts = [{**done, "name": f"long.part{number:02}"} for number in range(1, 24)]
        pending = {"status": "pending", "failed_tries": 0, "parts": None, "usage": None}
        left = [{**pending, "name": f"later_{number}"} for number in range(9)]
        long = {**pending, "name": "long", "status": "processing", "parts": 37}

        page = show(
            visit, job, status="processing", finished_at=None, steps=[*ready, *parts, long, *left], answered_calls=[]
        )

        expect(page.get_by_role("heading", name="Steps: 30 of 40")).to_be_visible()
        rows = page.locator(".timeline > li")
        expect(rows).to_have_count(1 + 1 + 2 + 1 + 9)
        page.get_by_role("button", name="23 of 37 parts").click()
        expect(rows).to_have_count(1 + 1 + 2 + 1 + 23 + 9)
        page.get_by_role("button", name="Show 28 completed steps").click()
        expect(rows).to_have_count(1 + 30 + 1 + 23 + 9)

    @pytest.mark.parametrize("zone", ["local", "UTC"])
    def test_are_in_one_zone_and_by_the_servers_clock(self, visit: Visit, made: Made, zone: str) -> None:
        # given a browser whose clock is an hour behind
        job = made("job-908")
        visit.page.clock.install(time=utc_now() - timedelta(hours=1))
        created = isoformat(utc_now() - timedelta(minutes=5))

        def answer_now(route: Route) -> None:
            date = datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
            route.fulfill(json={**job, "created_at": created}, headers={"Date": date})

        visit.page.route("**/jobs/*", answer_now)
        page = visit.open(f"#/jobs/{job['event_id']}")

        expect(page.locator("[data-key=details]")).to_contain_text("5 min ago")
        if zone == "UTC":
            page.get_by_role("button", name="Times: local").click()
            page = visit.open(f"#/jobs/{job['event_id']}")
        expect(page.get_by_role("button", name=f"Times: {zone}")).to_be_visible()
        page.locator(".steps > summary").click()
        clock = page.locator(".scale span").first.text_content()
        if zone == "UTC":
            assert clock == created[11:19]


class TestFiles:
    ROWS = (
        {"item": "=1+2", "why": 'say "so"'},
        {"item": "@user, see #12", "why": "-x\n<b>"},
    )

    def shown(self, visit: Visit, made: Made) -> Page:
        fields = [{"name": "item", "form": "line"}, {"name": "why", "form": "quote"}]
        view = [
            {"name": "tasks", "form": "checklist", "fields": fields},
            {"name": "pairs", "form": "records", "fields": []},
            {"name": "compared", "form": "record", "same_as": "overview", "fields": []},
            {"name": "overview", "form": "table"},
        ]
        table = "|  | First |\n| --- | --- |\n| A&#124;B | ✓ |\n"
        result = {"tasks": self.ROWS, "pairs": self.ROWS[:1], "compared": {"both": ["A|B"]}, "overview": table}
        return show(visit, made("job-909"), result=result, result_view=view)

    def test_are_spreadsheets_that_run_no_formula(self, visit: Visit, made: Made) -> None:
        page = self.shown(visit, made)
        page.get_by_role("checkbox", name="=1+2").check()

        text = saved(page, "Tasks as CSV").read_text(encoding="utf-8-sig")

        assert [*csv.reader(text.splitlines(keepends=True))] == [
            ["done", "item", "why"],
            ["true", "'=1+2", 'say "so"'],
            ["false", "'@user, see #12", "'-x\n<b>"],
        ]
        assert saved(page, "Overview as CSV").read_text(encoding="utf-8-sig").split() == ['"","First"', '"A|B","✓"']

    def test_are_markdown_with_tables_and_lists_for_github_that_notify_nobody(self, visit: Visit, made: Made) -> None:
        page = self.shown(visit, made)
        page.get_by_role("checkbox", name="=1+2").check()
        with page.expect_download() as download:
            page.get_by_role("button", name="Download Markdown").click()
        markdown = Path(download.value.path()).read_text()

        assert '## Pairs\n\n| Item | Why |\n| --- | --- |\n| \\=1\\+2 | say "so" |\n' in markdown
        assert "| A&#124;B | ✓ |" in markdown
        assert '- [x] \\=1\\+2\n  > say "so"\n- [ ] @user, see \\#12\n  > \\-x \\<b\\>' in markdown
        tasks = saved(page, "Checklist for GitHub").read_text()
        assert "- [ ] @<!-- -->user, see \\#<!-- -->12" in tasks
        assert "Pairs" not in tasks

    def test_are_json_of_all_that_is_stored(self, visit: Visit, made: Made) -> None:
        page = show(visit, made("job-910"))

        job = json.loads(saved(page, "All of the job as JSON").read_text())

        assert job["input"] == {"guidelines": "About job-910."}
        assert len(job["prompts"]) == len(job["answered_calls"]) == 3

    def test_on_paper_hold_the_result_only(self, visit: Visit, made: Made) -> None:
        page = self.shown(visit, made)

        page.emulate_media(media="print")

        for hidden in ("header", ".buttons", "aside", "[data-key=input]"):
            expect(page.locator(hidden).first).to_be_hidden()
        expect(page.get_by_role("heading", name="Tasks")).to_be_visible()
        expect(page.locator("td", has_text="A|B")).to_be_visible()


class TestADiagram:
    def test_can_be_made_larger_and_fill_the_window(self, visit: Visit, made: Made) -> None:
        page = show(visit, made("job-911"))
        frame = page.locator("iframe")
        expect(page.frame_locator("iframe").locator("svg")).to_be_visible()
        before = frame.bounding_box()
        assert before

        page.get_by_role("button", name="Larger").click()
        page.get_by_role("button", name="Larger").click()
        after = frame.bounding_box()
        assert after
        assert after["width"] > 1.5 * before["width"]

        page.get_by_role("button", name="Full window").click()
        box = page.locator(".diagram").bounding_box()
        assert box
        assert (box["x"], box["y"], box["width"], box["height"]) == (0, 0, 1440, 900)
        page.keyboard.press("Escape")
        expect(page.locator(".diagram[popover]")).to_have_count(0)
        expect(page.frame_locator("iframe").locator("svg")).to_be_visible()

    def test_of_twenty_boxes_can_be_read_as_a_whole_in_the_window(self, visit: Visit, made: Made) -> None:
        rules = [
            f'n0 --> n{number}["Rule {number} must be kept by every team, in all its parts."]'
            for number in range(1, 21)
        ]
        text = "\n    ".join(["flowchart LR", 'n0["Second"]', *rules])
        page = show(
            visit, made("job-916"), result={"diagram": text}, result_view=[{"name": "diagram", "form": "diagram"}]
        )
        page.set_viewport_size({"width": 1440, "height": 1080})
        page.get_by_role("button", name="Full window").click()

        expect(page.frame_locator("iframe").locator("p", has_text="Rule 20 must")).to_be_in_viewport(ratio=1)
        # Letters of half their size, 8 pixels, can be read.
        zoom = re.search(r"(\d+) %", page.locator(".diagram").inner_text())
        assert zoom
        assert int(zoom[1]) >= 50

    def test_is_a_picture_with_its_words(self, visit: Visit, made: Made) -> None:
        text = 'flowchart TD\n    n1["access#59; a colleague & b"]\n    n2["two words"]\n    n1 -->|"#lt;yes#gt;"| n2\n'
        page = show(
            visit, made("job-912"), result={"diagram": text}, result_view=[{"name": "diagram", "form": "diagram"}]
        )
        expect(page.frame_locator("iframe").locator("svg")).to_be_visible()

        with page.expect_download() as download:
            page.get_by_role("button", name="Download the diagram as SVG").click()
        svg = Path(download.value.path()).read_text()
        with page.expect_download() as download:
            page.get_by_role("button", name="Download the diagram as PNG").click()
        png = Path(download.value.path()).read_bytes()

        words = " ".join(re.findall(r"<text[^>]*>([^<]*)</text>", svg))
        assert words in (
            "access; a colleague &amp; b two words &lt;yes&gt;",
            "&lt;yes&gt; access; a colleague &amp; b two words",
        )
        assert "foreignObject" not in svg
        assert png[:8] == b"\x89PNG\r\n\x1a\n"
        assert int.from_bytes(png[16:20], "big") > 200
        assert len(png) > 2_000

    @pytest.mark.parametrize(
        "style",
        [
            "fill:ururl(x)l(https://elsewhere.example/)",
            "fill:url(https://elsewhere.example/",
            "@im@import;port 'https://elsewhere.example/';",
        ],
    )
    def test_that_a_frame_under_an_attackers_control_sends_loads_nothing(
        self, visit: Visit, made: Made, style: str
    ) -> None:
        text = 'flowchart TD\n    n1["a"]\n'
        page = show(
            visit, made("job-915"), result={"diagram": text}, result_view=[{"name": "diagram", "form": "diagram"}]
        )
        expect(page.frame_locator("iframe").locator("svg")).to_be_visible()
        drawing = f'<style>{style}</style><rect style="{style}"/>'
        svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9">{drawing}</svg>'

        with page.expect_download() as download:
            page.frames[1].evaluate("svg => parent.postMessage({ svg }, '*')", svg)

        saved = Path(download.value.path()).read_text()
        assert not re.search(r"url\(\W*h|@import", saved)

    @pytest.mark.parametrize("text", [LABELS, DIRECTIVE + LABELS])
    def test_of_hostile_words_is_a_picture_that_runs_and_loads_nothing(
        self, visit: Visit, made: Made, text: str
    ) -> None:
        page = show(
            visit, made("job-913"), result={"diagram": text}, result_view=[{"name": "diagram", "form": "diagram"}]
        )
        expect(page.frame_locator("iframe").locator("svg")).to_be_visible()

        with page.expect_download() as download:
            page.get_by_role("button", name="Download the diagram as SVG").click()

        svg = Path(download.value.path()).read_text()
        assert not re.search(r"<script|<img|<a[ >]|\son\w+=|href|elsewhere|@import", svg)
        visit.expect_faults("Content Security Policy")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 2560])
def test_all_that_is_hostile_is_harmless_and_axe_finds_nothing_with_all_open(
    visit: Visit, made: Made, scheme: Any, width: int
) -> None:
    # given a job whose every text is hostile
    job = made("job-914")
    bad = f"{HOSTILE} {LONG}"
    call = {
        **job["answered_calls"][0],
        "step": "checklist",
        "model": bad[:300],
        "effort": HOSTILE,
        "request_id": bad[:200],
    }
    failed = {**call, "outcome": HOSTILE, "cause": bad, "answer": bad}
    steps = [{**step, "request_id": HOSTILE, "prompt_version": HOSTILE} for step in job["steps"]]
    steps[1] |= {"status": "failed", "model": bad[:300]}
    prompts = [
        {"step": step["name"], "instructions": bad, "input": bad, "same_as_sent": False, "problem": None}
        for step in steps
    ]
    prompts[2] |= {"instructions": None, "input": None, "problem": HOSTILE}
    error = {"type": "unusable_answer", "message": bad, "step": "checklist"}
    more = {
        "title": bad[:300],
        "steps": steps,
        "failed_attempts": [failed],
        "prompts": prompts,
        "error": error,
        "status": "failed",
    }
    visit.page.set_viewport_size({"width": width, "height": 844})
    visit.page.emulate_media(color_scheme=scheme)

    # when all of its page is opened
    page = show(
        visit,
        job,
        **more,
        answered_calls=[call],
        input={HOSTILE: bad, "n": [{"a": bad}]},
        metadata={HOSTILE: bad[:500]},
    )
    for name in ("Summary", "Checklist", "Diagram"):
        page.locator(".timeline").get_by_role("button", name=name, exact=True).click()
    for summary in page.locator("summary", has_text="Run again").all():
        summary.click()
    page.locator("[data-key=input] > summary").click()
    page.locator("summary", has_text="The model's answer").first.click()

    # then each text is a text, and the page keeps its width
    expect(page.locator("pre", has_text="<script>alert(1)</script>").first).to_be_visible()
    expect(page.frame_locator("iframe").locator("svg")).to_be_visible()
    assert page.locator("main script, main img, main a[href*=javascript], main [onerror]").count() == 0
    assert visit.width <= width
    assert faults(page) == []
