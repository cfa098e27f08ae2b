"""What pages of other origins can do to a stack that runs on this machine, in a real browser: nothing."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx2
import pytest
from playwright.sync_api import Browser, Page, Playwright, expect

from evals.chromium import ARGUMENTS
from local.stack import EmbeddedStack
from tests.browser.conftest import Visit

REBOUND = "evil.example"
JOB = json.dumps({"input_text": "A page made this job."})
FUNCTION = json.dumps(
    {
        "FunctionName": "theirs",
        "Runtime": "python3.13",
        "Role": "arn:aws:iam::000000000000:role/any",
        "Handler": "x.y",
        "Code": {"ZipFile": "UEsFBgAAAAAAAAAAAAAAAAAAAAAAAA=="},
    }
)

# Calls it, and tells what the page may know of it: its status and text, or that the browser kept it all back.
CALL = """async ([url, options]) => {
  try {
    const answer = await fetch(url, options);
    return { type: answer.type, status: answer.status, text: await answer.text() };
  } catch (error) {
    return { type: "error", status: 0, text: "" };
  }
}"""


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    with browser.new_context() as context:
        yield context.new_page()


@pytest.fixture
def elsewhere(page: Page, stack: EmbeddedStack) -> Iterator[Page]:
    """A page of another port of 127.0.0.1, with a link to the dashboard and a form that makes a job."""
    # A form of this type sends its field as `name=value`, which can be JSON.
    html = f"""<!doctype html><title>Elsewhere</title><link rel="icon" href="data:,">
      <a href="{stack.api_url}/queue">the dashboard</a>
      <form method="post" enctype="text/plain" action="{stack.api_url}/jobs">
        <input type="hidden" name='{{"input_text": "' value='A form made this job."}}'><button>Send</button>
      </form>"""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(html.encode())

        def log_message(self, *_: object) -> None:
            """Nothing is logged."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        page.goto(f"http://127.0.0.1:{server.server_port}/")
        yield page
        server.shutdown()


def call(page: Page, url: str, **options: Any) -> dict[str, Any]:
    """What a page learns of its request."""
    found: dict[str, Any] = page.evaluate(CALL, [url, options])
    return found


def jobs(http: httpx2.Client) -> int:
    return len(http.get("/jobs", params={"limit": 100}).raise_for_status().json()["jobs"])


def functions(stack: EmbeddedStack) -> set[str]:
    return {function["FunctionName"] for function in stack.client("lambda").list_functions()["Functions"]}


@pytest.mark.parametrize("mode", ["no-cors", "cors"])
@pytest.mark.parametrize("content_type", ["", "text/plain", "application/json"])
def test_a_page_of_another_port_makes_no_job(
    elsewhere: Page, stack: EmbeddedStack, http: httpx2.Client, mode: str, content_type: str
) -> None:
    before = jobs(http)
    headers = {"Content-Type": content_type} if content_type else {}

    answer = call(elsewhere, f"{stack.api_url}/jobs", method="POST", mode=mode, body=JOB, headers=headers)

    assert answer["type"] in ("error", "opaque")
    assert jobs(http) == before


def test_nor_does_its_form(elsewhere: Page, http: httpx2.Client) -> None:
    before = jobs(http)

    elsewhere.get_by_role("button").click()

    expect(elsewhere.get_by_text("urn:jobchain:problem:foreign-origin")).to_be_visible()
    assert jobs(http) == before


@pytest.mark.parametrize("mode", ["no-cors", "cors"])
def test_it_creates_no_function_and_resets_nothing(elsewhere: Page, stack: EmbeddedStack, mode: str) -> None:
    before = functions(stack)

    for path in ("/2015-03-31/functions", "/_ministack/reset"):
        answer = call(elsewhere, f"{stack.endpoint_url}{path}", method="POST", mode=mode, body=FUNCTION)
        assert answer["type"] in ("error", "opaque")

    assert functions(stack) == before
    assert stack.client("dynamodb").describe_table(TableName=stack.table)


def test_it_reads_neither_the_table_nor_the_jobs_nor_whether_a_stack_is_up(
    elsewhere: Page, stack: EmbeddedStack
) -> None:
    scan = {
        "method": "POST",
        "headers": {"X-Amz-Target": "DynamoDB_20120810.Scan", "Content-Type": "application/x-amz-json-1.0"},
        "body": json.dumps({"TableName": stack.table}),
    }

    answers = [
        call(elsewhere, f"{stack.endpoint_url}/", **scan),
        call(elsewhere, f"{stack.endpoint_url}/jobchain-templates/template.json"),
        call(elsewhere, f"{stack.endpoint_url}/_ministack/health"),
        call(elsewhere, f"{stack.api_url}/jobs"),
        call(elsewhere, f"{stack.api_url}/assets/queue/diagram.js"),
    ]

    assert [answer["type"] for answer in answers] == ["error"] * len(answers)


def test_its_link_to_the_dashboard_works(elsewhere: Page, stack: EmbeddedStack) -> None:
    elsewhere.get_by_role("link").click()

    expect(elsewhere).to_have_url(f"{stack.api_url}/queue")
    expect(elsewhere.get_by_role("heading").first).to_be_visible()


def test_a_name_that_leads_to_this_machine_is_refused_to_its_page(
    playwright: Playwright, chromium: str, stack: EmbeddedStack, http: httpx2.Client
) -> None:
    # given a browser for which the name leads here, as after DNS rebinding
    before = jobs(http)
    arguments = [*ARGUMENTS, f"--host-resolver-rules=MAP {REBOUND} 127.0.0.1"]
    there = stack.endpoint_url.replace("127.0.0.1", REBOUND)
    path = stack.api_url.removeprefix(stack.endpoint_url)
    browser = playwright.chromium.launch(executable_path=chromium, args=arguments)
    try:
        page = browser.new_page()
        page.goto(f"{there}{path}/queue")

        # when its page, which is of the same origin as the stack then, calls it
        answers = [
            call(page, f"{path}/jobs"),
            call(page, f"{path}/jobs", method="POST", body=JOB, headers={"Content-Type": "application/json"}),
            call(page, "/_ministack/health"),
            call(page, "/2015-03-31/functions", method="POST", body=FUNCTION),
            call(page, "/_ministack/reset", method="POST"),
        ]
    finally:
        browser.close()

    # then all is refused, and says nothing of what is here
    assert [answer["status"] for answer in answers] == [403] * len(answers)
    assert "theirs" not in functions(stack)
    assert jobs(http) == before


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_the_stacks_own_pages_work(page: Page, stack: EmbeddedStack, http: httpx2.Client, name: str) -> None:
    there = stack.api_url.replace("127.0.0.1", name)
    before = jobs(http)
    page.goto(f"{there}/docs")
    expect(page.get_by_text("Create a job", exact=False).first).to_be_visible()

    answer = call(page, f"{there}/jobs", method="POST", body=JOB, headers={"Content-Type": "application/json"})

    assert answer["status"] == 201
    assert jobs(http) == before + 1


def test_the_frame_without_an_origin_gets_its_files(visit: Visit, http: httpx2.Client) -> None:
    event_id = http.post("/jobs", json={"input_text": "Doors must be locked."}).raise_for_status().json()["event_id"]

    page = visit.open(f"#/jobs/{event_id}")

    expect(page.frame_locator("iframe").locator("svg").first).to_be_visible(timeout=120_000)
