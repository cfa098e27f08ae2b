"""The dashboard in a real browser, against the whole stack: what people do, what they see, and what can do no harm."""

import itertools
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from playwright.sync_api import Page, Request, Route, expect

from jobchain.mermaid import flowchart
from local.stack import EmbeddedStack
from tests.browser.conftest import WIDE, Visit
from tests.e2e.conftest import FINAL, poll
from tests.fake_model.answers import result_of
from tests.fake_model.replies import NEVER, REFUSAL
from tests.fake_model.server import ModelServer

AXE = next(Path(__file__).parent.glob("vendor/axe-core-*/axe.min.js")).read_text()
NUMBERS = itertools.count(1)


HOSTILE = (
    '<script>alert(1)</script><img src=x onerror="alert(2)"> [a](javascript:alert(3)) https://elsewhere.example/ '
    "\u202eright to left\u202c \u05e9\u05dc\u05d5\u05dd \U0001f469‍\U0001f52c '\"`${7*7}{{7*7}}"
)
LONG = "W" * 10_000


@pytest.fixture
def marker() -> str:
    """What the text of this test's job holds, and so its result."""
    return f"job-{next(NUMBERS)}"


@pytest.fixture
def create(http: httpx2.Client) -> Callable[..., str]:
    """Makes a job of a marker; gives its id."""

    def create(marker: str, **more: Any) -> str:
        return str(
            http.post("/jobs", json={"input_text": f"About {marker}.", **more}).raise_for_status().json()["event_id"]
        )

    return create


@pytest.fixture
def finish(http: httpx2.Client, create: Callable[..., str]) -> Callable[..., str]:
    """Makes a job and waits until it has ended; gives its id."""

    def finish(marker: str, **more: Any) -> str:
        event_id = create(marker, **more)
        poll(lambda: http.get(f"/jobs/{event_id}").json()["status"] in FINAL)
        return event_id

    return finish


def chip(page: Page, status: str) -> None:
    """Waits until the job on the page has the status."""
    expect(page.locator(".headline .chip")).to_have_text(status)


class TestAJob:
    @pytest.mark.essential
    def test_is_submitted_and_watched_to_its_end(self, visit: Visit, marker: str) -> None:
        # when a person writes a text and runs it
        page = visit.open("#/new")
        page.get_by_label("Guidelines", exact=True).fill(f"About {marker}.")
        page.get_by_role("button", name="Run").click()

        # then the page shows the job as it goes, without a reload
        expect(page.locator(".headline .chip")).to_be_visible()
        assert "#/jobs/" in page.url
        expect(page.get_by_text(f"The summary of {marker}.")).to_be_visible()
        chip(page, "completed")
        expect(page.get_by_role("checkbox", name="Do the first")).to_be_visible()
        expect(page.locator(".timeline li")).to_have_count(4)
        expect(page.locator("aside")).to_contain_text("in")

    @pytest.mark.essential
    def test_shows_its_diagram_as_mermaid_draws_it(self, visit: Visit, finish: Callable[..., str], marker: str) -> None:
        page = visit.open(f"#/jobs/{finish(marker)}")

        svg = page.frame_locator("iframe").locator("svg")
        expect(svg).to_be_visible()
        expect(svg).to_contain_text(marker)
        expect(page.locator("iframe")).to_have_attribute("sandbox", "allow-scripts")
        assert page.locator("iframe").bounding_box()["height"] > 100  # type: ignore[index]

    def test_draws_topics_and_decisions_in_their_shapes(
        self, visit: Visit, poison: Callable[[dict[str, Any]], str]
    ) -> None:
        # given a diagram with a topic, a decision and its two branches
        text = flowchart(
            [("a", "Doors"), ("b", "Open?"), ("c", "Close it."), ("d", "Go home.")],
            [("a", "b", ""), ("b", "c", "yes"), ("b", "d", "no"), ("c", "d", "")],
            {"a": "topic", "b": "decision"},
        )

        # when the page draws it
        page = visit.open(f"#/jobs/{poison({'diagram': text})}")

        # then the shapes, their words and the branches' labels are there
        drawing = page.frame_locator("iframe").locator("svg")
        expect(drawing.locator(".node:has(polygon)")).to_have_text(["Open?"])
        expect(drawing.locator(".node")).to_have_count(4)
        expect(drawing.locator(".edgeLabel").filter(has_text="yes").first).to_be_visible()
        expect(drawing.locator(".edgeLabel").filter(has_text="no").first).to_be_visible()

    def test_of_a_free_model_costs_nothing_and_that_of_an_unknown_price_says_so(
        self, visit: Visit, finish: Callable[..., str], http: httpx2.Client, marker: str
    ) -> None:
        job = http.get(f"/jobs/{finish(marker)}").json()
        visit.page.route("**/jobs/*", lambda route: route.fulfill(json=job))
        shown = visit.page.locator("dl.rows div").filter(has_text="Tokens, cost")
        for cost, words in ((0, "$0.00"), (None, "unknown price")):
            job["cost_usd"] = cost

            visit.open(f"#/jobs/{job['event_id']}")

            expect(shown).to_contain_text(words)

    def test_remembers_its_ticks(self, visit: Visit, finish: Callable[..., str], marker: str) -> None:
        route = f"#/jobs/{finish(marker)}"
        visit.open(route).get_by_role("checkbox", name="Do the second").check()

        page = visit.open(route)

        expect(page.get_by_role("checkbox", name="Do the second")).to_be_checked()
        expect(page.get_by_role("checkbox", name="Do the first")).not_to_be_checked()

    def test_is_cancelled_and_run_again(
        self, visit: Visit, create: Callable[..., str], model: ModelServer, marker: str
    ) -> None:
        # given a job whose model does not answer
        model.script(marker, NEVER)
        page = visit.open(f"#/jobs/{create(marker)}")
        chip(page, "processing")

        # when it is cancelled, and then its step ends
        page.get_by_role("button", name="Cancel").click()
        expect(page.get_by_role("status")).to_contain_text("before its next step")
        model.release()

        # then it is cancelled, and a retry completes it
        chip(page, "cancelled")
        page.get_by_role("button", name="Retry").click()
        chip(page, "completed")

    def test_says_why_it_failed(
        self, visit: Visit, finish: Callable[..., str], model: ModelServer, marker: str
    ) -> None:
        model.script(marker, REFUSAL, step="checklist")
        page = visit.open(f"#/jobs/{finish(marker)}")

        chip(page, "failed")
        failure = page.locator("section", has=page.get_by_role("heading", name="Why it failed"))
        expect(failure).to_contain_text("model_refused")
        expect(failure).to_contain_text("in step checklist")
        expect(page.get_by_text(f"The summary of {marker}.")).to_be_visible()

    def test_is_deleted_once_that_is_confirmed(
        self, visit: Visit, finish: Callable[..., str], http: httpx2.Client, marker: str
    ) -> None:
        event_id = finish(marker)
        page = visit.open(f"#/jobs/{event_id}")
        page.get_by_role("button", name="Delete").click()
        page.get_by_role("dialog").get_by_role("button", name="Close").click()
        assert http.get(f"/jobs/{event_id}").status_code == 200

        page.get_by_role("button", name="Delete").click()
        page.get_by_role("dialog").get_by_role("button", name="Delete").click()

        expect(page.get_by_role("heading", name="Jobs", exact=True)).to_be_visible()
        assert http.get(f"/jobs/{event_id}").status_code == 404
        visit.expect_faults("404")

    def test_is_copied_as_curl_without_a_key(self, visit: Visit, finish: Callable[..., str], marker: str) -> None:
        event_id = finish(marker)
        visit.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        page = visit.open(f"#/jobs/{event_id}")

        page.get_by_role("button", name="Copy as curl").click()

        expect(page.get_by_role("status")).to_have_text("Copied")
        copied = page.evaluate("navigator.clipboard.readText()")
        assert copied.endswith(f"""/jobs/{event_id}' -H "Authorization: Bearer $API_KEY\"""")

    def test_is_downloaded_as_markdown(self, visit: Visit, finish: Callable[..., str], marker: str) -> None:
        page = visit.open(f"#/jobs/{finish(marker)}")

        with page.expect_download() as download:
            page.get_by_role("button", name="Download Markdown").click()

        text = Path(download.value.path()).read_text()
        assert "## Checklist\n\n- [ ] Do the first of" in text
        assert f"```mermaid\n{str(result_of(marker)['diagram']).strip()}\n```" in text

    def test_that_is_not_there_has_a_face(self, visit: Visit) -> None:
        page = visit.open("#/jobs/00000000-0000-4000-8000-000000000000")

        expect(page.get_by_role("heading", name="There is no such job")).to_be_visible()
        visit.expect_faults("404")


class TestTheForm:
    def test_takes_a_file(self, visit: Visit) -> None:
        page = visit.open("#/new")
        file = page.locator("input[type=file]")

        file.set_input_files({"name": "rules.md", "mimeType": "text/markdown", "buffer": "# Rules – é".encode()})

        expect(page.get_by_label("Guidelines", exact=True)).to_have_value("# Rules – é")
        expect(page.get_by_text("11 of 100,000 characters")).to_be_visible()

    @pytest.mark.parametrize(
        ("name", "content", "why"),
        [
            ("rules.pdf", b"%PDF", "rules.pdf is neither .txt nor .md: jobchain submit reads PDF, Word"),
            ("rules.txt", b"\xff\xfe\x00", "not a text in UTF-8"),
            ("rules.txt", b"x" * 100_001, "100,001 characters"),
            ("rules.txt", b"x" * 300_000, "256 KiB"),
            ("rules.txt", b" \n ", "0 characters"),
        ],
    )
    def test_refuses_a_file_that_would_not_do(self, visit: Visit, name: str, content: bytes, why: str) -> None:
        page = visit.open("#/new")
        file = page.locator("input[type=file]")

        file.set_input_files({"name": name, "mimeType": "text/plain", "buffer": content})

        expect(page.get_by_text(why)).to_be_visible()

    def test_is_made_of_the_chains_schema(self, visit: Visit, http: httpx2.Client) -> None:
        for chain in http.get("/chains").json()["chains"]:
            page = visit.open("#/new")
            page.get_by_label("Chain").select_option(chain["name"])

            names = {field.get_attribute("name") for field in page.locator("form [id^=field-][name]").all()}
            assert names == set(chain["payload_schema"]["properties"])

    @pytest.mark.essential
    def test_makes_one_job_of_a_request_whose_answer_was_lost(self, visit: Visit, marker: str) -> None:
        keys: list[str | None] = []

        def lose_the_first(route: Route) -> None:
            keys.append(route.request.headers.get("idempotency-key"))
            if len(keys) == 1:
                route.fetch()
                route.abort()
            else:
                route.continue_()

        page = visit.open("#/new")
        page.route("**/jobs", lose_the_first)
        page.get_by_label("Guidelines", exact=True).fill(f"About {marker}.")
        page.get_by_role("button", name="Run").click()
        expect(page.get_by_role("alert")).to_contain_text("does not answer")
        page.get_by_role("button", name="Run").click()

        expect(page.locator(".headline .chip")).to_be_visible()
        assert len(set(keys)) == 1
        assert keys[0]
        visit.expect_faults("ERR_FAILED")

    def test_says_what_the_api_refuses(self, visit: Visit) -> None:
        page = visit.open("#/new")
        page.get_by_label("Guidelines", exact=True).fill("   ")
        page.get_by_role("button", name="Run").click()

        expect(page.get_by_role("alert")).to_contain_text("payload")
        visit.expect_faults("422")


class TestTheList:
    def test_shows_the_queue_and_the_day(self, visit: Visit, finish: Callable[..., str], marker: str) -> None:
        event_id = finish(marker)
        page = visit.open()

        for name in ("Pending", "Waiting", "Dead letters", "Completed", "Tokens", "Cost"):
            expect(page.locator(".numbers").get_by_text(name, exact=True)).to_be_visible()
        row = page.locator("tr", has_text=event_id[:8])
        expect(row).to_contain_text("completed")
        row.get_by_role("link").click()
        chip(page, "completed")

    def test_shows_a_new_job_and_its_end_by_itself(self, visit: Visit, create: Callable[..., str], marker: str) -> None:
        page = visit.open()
        expect(page.locator(".numbers")).to_be_visible()

        event_id = create(marker)

        row = page.locator("tr", has_text=event_id[:8])
        expect(row).to_be_visible()
        expect(row).to_contain_text("completed")

    def test_filters(self, visit: Visit, finish: Callable[..., str], model: ModelServer, marker: str) -> None:
        model.script(marker, REFUSAL)
        finish(marker)
        finish(f"{marker}-done")
        page = visit.open()

        page.get_by_label("Status").focus()
        page.get_by_label("Status").select_option("failed")

        expect(page.locator("tbody .chip.completed")).to_have_count(0)
        expect(page.locator("tbody .chip.failed").first).to_be_visible()
        assert page.url.endswith("#/?status=failed")
        expect(page.get_by_label("Status")).to_be_focused()
        page.go_back()
        expect(page.locator("tbody .chip.completed").first).to_be_visible()

    def test_says_that_nothing_passes_the_filters(self, visit: Visit) -> None:
        page = visit.open("#/?job_name=nothing_of_the_kind")

        expect(page.get_by_role("heading", name="No such jobs")).to_be_visible()

    def test_says_that_there_is_nothing_yet(self, visit: Visit) -> None:
        empty: dict[str, Any] = {"jobs": [], "next_cursor": None}
        visit.page.route("**/jobs?*", lambda route: route.fulfill(json=empty))

        expect(visit.open().get_by_role("heading", name="No jobs yet")).to_be_visible()

    def test_goes_on_page_by_page(self, visit: Visit, http: httpx2.Client) -> None:
        texts = [f"About job-{next(NUMBERS)}." for _ in range(60)]
        batch = http.post("/jobs/batch", json={"jobs": [{"input_text": text} for text in texts]}).raise_for_status()
        made = [result["event_id"] for result in batch.json()["results"]]
        # Only final jobs keep their places: one that changes can be missing from a page that is read at that moment.
        poll(lambda: all(http.get(f"/jobs/{event_id}").json()["status"] in FINAL for event_id in made))
        first = http.get("/jobs", params={"limit": 50}).json()
        second = http.get("/jobs", params={"limit": 50, "cursor": first["next_cursor"]}).json()
        ids = [job["event_id"] for job in (*first["jobs"], *second["jobs"])]
        assert {*made} == {*ids[:60]}
        page = visit.open()
        rows = page.locator("tbody code")
        expect(rows).to_have_text([event_id[:8] for event_id in ids[:50]])

        page.get_by_role("button", name="More").click()

        expect(rows).to_have_text([event_id[:8] for event_id in ids])

    def test_draws_its_charts(self, visit: Visit, finish: Callable[..., str], marker: str) -> None:
        finish(marker)
        finish(f"{marker}-2")
        page = visit.open()

        expect(page.locator(".chart canvas")).to_have_count(2)
        ended = page.get_by_role("img", name="Jobs ended")
        assert re.fullmatch(
            r"Jobs ended: \d+ jobs of this list, [\d:]+ to [\d:]+, \d+ (s|min|h) per bar",
            str(ended.get_attribute("aria-label")),
        )
        # The time and the values are in the legend while the cursor is over the chart.
        expect(ended.get_by_text("From")).to_be_hidden()
        expect(ended.locator(".u-value").locator("visible=true")).to_have_count(0)
        ended.locator(".u-over").hover()
        expect(ended.get_by_text("From")).to_be_visible()
        expect(ended.locator(".u-value").first).to_have_text(re.compile(r"\d\d:\d\d:\d\d"))

    def test_hides_the_queue_from_who_is_no_operator(self, visit: Visit, http: httpx2.Client) -> None:
        numbers = {**http.get("/stats").json(), "queue": None}
        visit.page.route("**/stats", lambda route: route.fulfill(json=numbers))

        page = visit.open()

        expect(page.locator(".numbers")).to_be_visible()
        expect(page.get_by_text("Dead letters")).to_have_count(0)


class TestTheKey:
    @pytest.mark.essential
    def test_is_asked_for_sent_and_kept_by_the_tab_alone(self, visit: Visit) -> None:
        def authenticate(route: Route) -> None:
            if route.request.headers.get("authorization") == "Bearer jc_right":
                route.continue_()
            else:
                problem = {"title": "A valid API key is required", "detail": "invalid API key", "status": 401}
                route.fulfill(status=401, json=problem)

        for path in ("**/stats", "**/jobs?*", "**/chains"):
            visit.page.route(path, authenticate)
        page = visit.open()
        expect(page.get_by_role("heading", name="An API key is required")).to_be_visible()

        page.get_by_label("API key").fill("jc_wrong")
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name="Invalid API key")).to_be_visible()
        page.get_by_label("API key").fill("jc_right")
        page.get_by_role("button", name="Sign in").click()

        expect(page.locator(".numbers")).to_be_visible()
        assert "jc_right" not in page.evaluate("JSON.stringify(localStorage) + document.cookie + location.href")
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_role("heading", name="An API key is required")).to_be_visible()
        assert page.evaluate("sessionStorage.length") == 0
        visit.expect_faults("401")


class TestPolling:
    def test_asks_for_changes_only_never_twice_at_once_and_seldom_when_nothing_moves(
        self, visit: Visit, finish: Callable[..., str], marker: str
    ) -> None:
        finish(marker)
        open_now: list[Request] = []
        overlaps: list[str] = []

        def begin(request: Request) -> None:
            overlaps.extend(other.url for other in open_now if other.url == request.url)
            open_now.append(request)

        page = visit.open()
        expect(page.locator(".numbers")).to_be_visible()
        page.on("request", begin)
        page.on("response", lambda answer: open_now.remove(answer.request) if answer.request in open_now else None)
        visit.requests.clear()
        with page.expect_request(lambda request: request.url.endswith("/stats")) as stats:
            pass
        page.wait_for_timeout(6_000)

        assert stats.value.header_value("If-None-Match")
        assert 2 <= len([url for url in visit.requests if url.endswith("/stats")]) <= 4
        assert overlaps == []

    def test_waits_as_long_as_it_is_asked_to(self, visit: Visit) -> None:
        full = {"title": "Too many requests", "detail": "try again in a moment", "status": 429}
        visit.page.route("**/stats", lambda route: route.fulfill(status=429, headers={"Retry-After": "60"}, json=full))
        page = visit.open()
        expect(page.locator(".banner")).to_contain_text("try again in a moment")
        visit.requests.clear()

        page.keyboard.press("Tab")
        page.wait_for_timeout(4_000)

        assert visit.requests == []
        visit.expect_faults("429")

    def test_reads_a_job_when_it_has_probably_ended_or_when_a_person_is_there(
        self, visit: Visit, http: httpx2.Client, finish: Callable[..., str], marker: str
    ) -> None:
        # given a job that runs, and has probably ended in a minute
        event_id = finish(marker)
        running = {**http.get(f"/jobs/{event_id}").json(), "status": "processing", "finished_at": None}
        page = visit.page
        page.route("**/jobs/*", lambda route: route.fulfill(headers={"Retry-After": "60"}, json=running))
        visit.open(f"#/jobs/{event_id}")
        chip(page, "processing")
        visit.requests.clear()

        page.wait_for_timeout(4_000)
        assert not [url for url in visit.requests if "/jobs/" in url]

        with page.expect_request("**/jobs/*"):
            page.keyboard.press("Tab")

    def test_finds_back_by_itself_when_the_api_was_gone(
        self, visit: Visit, finish: Callable[..., str], marker: str
    ) -> None:
        page = visit.open(f"#/jobs/{finish(marker)}")
        chip(page, "completed")

        page.route("**/jobs/*", lambda route: route.abort())
        expect(page.locator("#connection")).to_have_text("reconnecting")
        expect(page.get_by_text(f"The summary of {marker}.")).to_be_visible()
        page.unroute("**/jobs/*")

        expect(page.locator("#connection")).to_have_text("live")
        visit.expect_faults("ERR_FAILED")


class TestColours:
    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_follow_the_system_until_they_are_set(self, visit: Visit, scheme: Any) -> None:
        visit.page.emulate_media(color_scheme=scheme)
        page = visit.open()
        brightness = "parseInt(getComputedStyle(document.documentElement).backgroundColor.slice(4))"
        assert (page.evaluate(brightness) < 128) == (scheme == "dark")

        page.get_by_role("button", name="Colours: auto").click()
        assert page.evaluate(brightness) > 128
        page.get_by_role("button", name="Colours: light").click()
        assert page.evaluate(brightness) < 128

        page.reload()
        assert page.evaluate(brightness) < 128

    def test_reach_the_diagram(self, visit: Visit, finish: Callable[..., str], marker: str) -> None:
        page = visit.open(f"#/jobs/{finish(marker)}")
        drawing = page.frame_locator("iframe").locator("svg")
        expect(drawing).to_be_visible()
        colour = "(svg) => getComputedStyle(svg.querySelector('.nodeLabel')).color"
        light = drawing.evaluate(colour)

        page.emulate_media(color_scheme="dark")

        poll(lambda: drawing.evaluate(colour) != light)


def serious(page: Page) -> list[str]:
    """What axe finds wrong that keeps people out."""
    page.evaluate(AXE)
    found = page.evaluate("axe.run(document, {iframes: false})")["violations"]
    return [
        f"{one['id']}: {node['html']}: {node['failureSummary']}"
        for one in found
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]


class TestForAll:
    @pytest.mark.parametrize("scheme", ["light", "dark"])
    @pytest.mark.parametrize("width", [390, 1440])
    def test_axe_finds_nothing_serious(
        self, visit: Visit, finish: Callable[..., str], model: ModelServer, marker: str, scheme: Any, width: int
    ) -> None:
        model.script(marker, REFUSAL, step="diagram")
        routes = ["#/", "#/new", f"#/jobs/{finish(marker)}", f"#/jobs/{finish(marker + '-2')}", "#/nowhere"]
        visit.page.emulate_media(color_scheme=scheme)
        visit.page.set_viewport_size({"width": width, "height": 844})
        for route in routes:
            page = visit.open(route)
            expect(page.locator("#connection")).not_to_have_text("loading")
            page.wait_for_timeout(300)

            assert serious(page) == []
            assert visit.width <= width
        visit.expect_faults("404")

    def test_the_keyboard_reaches_the_content_first_and_sees_where_it_is(self, visit: Visit) -> None:
        page = visit.open()
        expect(page.locator(".numbers")).to_be_visible()

        page.keyboard.press("Tab")
        expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
        expect(page.get_by_role("link", name="Skip to the content")).to_be_in_viewport()
        page.keyboard.press("Enter")
        expect(page.locator("main")).to_be_focused()
        page.keyboard.press("Tab")
        expect(page.get_by_label("Status")).to_be_focused()
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"

    def test_the_focus_and_what_is_open_outlive_an_update(
        self, visit: Visit, create: Callable[..., str], model: ModelServer, marker: str
    ) -> None:
        model.script(marker, NEVER, step="checklist")
        page = visit.open(f"#/jobs/{create(marker)}")
        page.get_by_role("button", name="Copy as curl").focus()
        expect(page.get_by_text(f"The summary of {marker}.")).to_be_visible()

        expect(page.get_by_role("button", name="Copy as curl")).to_be_focused()
        model.release()
        chip(page, "completed")
        expect(page.get_by_role("button", name="Copy as curl")).to_be_focused()


@pytest.fixture
def poison(stack: EmbeddedStack, finish: Callable[..., str], marker: str) -> Callable[[dict[str, Any]], str]:
    """Makes a job, and puts into the table what no honest model or caller would send; gives its id."""

    def poison(outputs: dict[str, Any]) -> str:
        event_id = finish(marker, metadata={HOSTILE[:60]: HOSTILE[:500]})
        table = stack.client("dynamodb")

        def change(sk: str, name: str, value: Any) -> None:
            table.update_item(
                TableName=stack.table,
                Key={"pk": {"S": f"JOB#{event_id}"}, "sk": {"S": sk}},
                UpdateExpression="SET #name = :value",
                ExpressionAttributeNames={"#name": name},
                ExpressionAttributeValues={":value": value},
            )

        found = table.query(
            TableName=stack.table,
            KeyConditionExpression="pk = :pk AND begins_with(sk, :step)",
            ExpressionAttributeValues={":pk": {"S": f"JOB#{event_id}"}, ":step": {"S": "STEP#"}},
        )
        for item in found["Items"]:
            sk = item["sk"]["S"]
            if (name := item["name"]["S"]) in outputs:
                change(sk, "output", {"S": json.dumps(outputs[name])})
                change(sk, "model", {"S": HOSTILE})
        error = {"type": HOSTILE, "message": f"{HOSTILE} {LONG}", "step": HOSTILE}
        change("META", "status", {"S": "failed"})
        change("META", "error", {"M": {name: {"S": text} for name, text in error.items()}})
        return event_id

    return poison


LABELS = (
    'flowchart TD\n    n1["<img src=x onerror=alert(1)><script>alert(2)</script>"]\n    n2["**b** `code` <b>x</b>"]\n'
    '    n1 --> n2\n    click n1 href "javascript:alert(3)" _top\n    click n2 call alert(4)\n'
)
DIRECTIVE = '%%{init: {"securityLevel": "loose", "themeCSS": "* {background: url(https://elsewhere.example/)}"}}%%\n'


class TestHostileContents:
    @pytest.mark.essential
    @pytest.mark.parametrize("width", [390, 1440])
    def test_do_no_harm_and_break_no_layout(
        self, visit: Visit, poison: Callable[[dict[str, Any]], str], width: int
    ) -> None:
        checklist = [
            {
                "source": HOSTILE,
                "text": f"{HOSTILE} {LONG}",
                "category": LONG,
                "priority": "must",
                "source_found": False,
            }
        ]
        event_id = poison({"summary": f"{HOSTILE} {LONG}", "checklist": checklist, "diagram": LABELS})
        visit.page.set_viewport_size({"width": width, "height": 844})

        page = visit.page
        for route in ("#/", f"#/jobs/{event_id}"):
            visit.open(route)
            expect(page.get_by_text("<script>alert(1)</script>").first).to_be_visible()
            assert visit.width <= width
            assert page.locator("main script, main img, main a[href*=javascript], main [onerror]").count() == 0

        with page.expect_download() as download:
            page.get_by_role("button", name="Download Markdown").click()
        assert "\\<script\\>" in Path(download.value.path()).read_text()
        # Mermaid's purifier reads the labels' markup, and the frame's policy complains of what that would run.
        expect(page.frame_locator("iframe").locator("svg")).to_be_visible()
        visit.expect_faults("Content Security Policy")

    @pytest.mark.parametrize("text", [LABELS, DIRECTIVE + LABELS])
    def test_in_a_diagram_are_drawn_as_text_and_go_nowhere(
        self, visit: Visit, poison: Callable[[dict[str, Any]], str], text: str
    ) -> None:
        page = visit.open(f"#/jobs/{poison({'diagram': text})}")
        drawing = page.frame_locator("iframe").locator("svg")

        expect(drawing).to_be_visible()
        assert drawing.locator("script, img, [onerror], a[href^='javascript']").count() == 0
        drawing.locator(".node").first.click()
        page.wait_for_timeout(300)
        assert "#/jobs/" in page.url
        visit.expect_faults("Content Security Policy")

    def test_in_headings_and_tables_are_shown_as_they_are(
        self, visit: Visit, finish: Callable[..., str], http: httpx2.Client, marker: str
    ) -> None:
        job = http.get(f"/jobs/{finish(marker)}").json()
        entries = [
            {"say": "One", "of": "__proto__", "how": "must"},
            {"say": "Two", "of": "7"},
            {"say": "Three", "of": "__proto__"},
        ]
        fields = [
            {"name": name, "form": form} for name, form in (("say", "line"), ("of", "heading"), ("how", "choice"))
        ]
        job["result"] = {
            "todo": entries,
            "todo_short": ["One"],
            "rows": "| A&#124;B | C |\n| --- | --- |\n| &#60;b&#62; | 1 |\n",
        }
        job["result_view"] = [
            {"name": "todo", "form": "checklist", "fields": fields},
            {"name": "todo_short", "form": "list", "same_as": "todo"},
            {"name": "rows", "form": "table"},
        ]
        visit.page.route("**/jobs/*", lambda route: route.fulfill(json=job))

        page = visit.open(f"#/jobs/{job['event_id']}")

        expect(page.locator(".checklist h3")).to_have_text(["__proto__", "7"])
        assert [text[:5] for text in page.locator(".checklist label").all_text_contents()] == ["Onemu", "Three", "Two"]
        assert page.locator("h2").all_text_contents().count("Todo short") == 0
        assert page.locator("th").all_text_contents() == ["A|B", "C"]
        assert page.locator("td").all_text_contents() == ["<b>", "1"]

    @pytest.mark.parametrize("text", ["no diagram at all", "flowchart TD\n  n1 --"])
    def test_that_are_no_diagram_are_shown_as_text(
        self, visit: Visit, poison: Callable[[dict[str, Any]], str], text: str
    ) -> None:
        page = visit.open(f"#/jobs/{poison({'diagram': text})}")

        expect(page.get_by_text("can't be drawn")).to_be_visible()

    @pytest.mark.parametrize(
        "value", [None, 7, "text", [], {}, [1, None], {"a": {"b": [{"c": HOSTILE}]}}, [[["deep"]]]]
    )
    def test_of_any_shape_are_shown(
        self, visit: Visit, finish: Callable[..., str], http: httpx2.Client, marker: str, value: Any
    ) -> None:
        job = http.get(f"/jobs/{finish(marker)}").json()
        few = {name: job[name] for name in ("event_id", "job_name", "status", "created_at")}
        names = ("summary", "checklist", "checklist_items", "diagram", "actions", "comparison", HOSTILE)
        strange = {**few, "result": dict.fromkeys(names, value), "unheard_of": {"of": 1}, "calls": 3, "tier": "flex"}
        forms = ("text", "checklist", "checklist", "diagram", "table", "records", "x")
        fields = [{"name": name, "form": form} for name, form in (("a", "heading"), ("b", "line"), ("c", "quote"))]
        strange["result_view"] = [
            *({"name": name, "form": form, "fields": fields} for name, form in zip(names, forms, strict=True)),
            {"name": "constructor", "form": "text", "same_as": "toString"},
        ]
        visit.page.route("**/jobs/*", lambda route: route.fulfill(json=strange))
        visit.page.set_viewport_size({**WIDE, "width": 390})

        page = visit.open(f"#/jobs/{job['event_id']}")

        chip(page, "completed")
        expect(page.get_by_role("heading", name="Comparison")).to_be_visible()
        expect(page.get_by_text("flex")).to_be_visible()
        assert visit.width <= 390


def test_the_dashboard_is_one_request_to_the_web_function(visit: Visit, stack: EmbeddedStack) -> None:
    page = visit.open()

    expect(page.locator("#connection")).to_have_text("live")
    asked = [
        urlsplit(url).path.removeprefix(urlsplit(stack.api_url).path)
        for url in visit.requests
        if url.startswith("http")
    ]
    assert {path for path in asked if path not in ("/jobs", "/stats", "/chains")} == {"/queue"}
    assert asked.count("/queue") == 1
