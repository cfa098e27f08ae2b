"""A real browser in front of the whole stack. Without one its tests are left out, and the end of the run says so."""

from collections.abc import Iterator
from contextlib import suppress
from urllib.parse import urlsplit

import httpx2
import pytest
from playwright.sync_api import Browser, Page, Playwright, Request, ViewportSize, expect, sync_playwright

from evals.chromium import ARGUMENTS, MISSING, find_chromium, is_required
from local.settings import Settings
from local.stack import EmbeddedStack
from tests.fake_model.server import ModelServer

PATIENCE_MS = 60_000
"""What anything may take on a busy machine."""

WIDE: ViewportSize = {"width": 1440, "height": 900}

expect.set_options(timeout=PATIENCE_MS)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Says at the very end which tests were left out, and how to get them."""
    reporter: pytest.TerminalReporter | None = config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter else []
    if reporter and (left_out := [report for report in skipped if MISSING in str(report.longrepr)]):
        reporter.write_line(f"Left out: the {len(left_out)} tests of tests/browser, as {MISSING}.", yellow=True)


@pytest.fixture(scope="module")
def chromium() -> str:
    """The path of the browser. Where there is none, the test is skipped, or fails with REQUIRE_BROWSER=1."""
    if (path := find_chromium()) is None:
        if is_required():
            pytest.fail(MISSING)
        pytest.skip(MISSING)
    return path


@pytest.fixture(scope="module")
def model(chromium: str) -> Iterator[ModelServer]:
    with ModelServer(latency=0.3) as server:
        yield server


@pytest.fixture(scope="module")
def stack(model: ModelServer) -> Iterator[EmbeddedStack]:
    with EmbeddedStack.start(Settings(openai_base_url=model.base_url)) as stack:
        yield stack


@pytest.fixture(scope="module")
def http(stack: EmbeddedStack) -> Iterator[httpx2.Client]:
    # trust_env: without the developer's proxy, as the stack is on this machine
    with httpx2.Client(base_url=stack.api_url, timeout=30, trust_env=False) as client:
        yield client


# For a module, not for the session: while it is up, no other test of this process could run an event loop.
@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="module")
def browser(playwright: Playwright, chromium: str) -> Iterator[Browser]:
    browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
    yield browser
    browser.close()


class Visit:
    """A browser's window at the dashboard, and what has gone wrong in it."""

    def __init__(self, page: Page, api_url: str) -> None:
        self.page = page
        self.url = f"{api_url}/queue"
        self.faults: list[str] = []
        self.requests: list[str] = []
        self._host = urlsplit(api_url).netloc
        page.set_default_timeout(PATIENCE_MS)
        page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))
        page.on("console", lambda line: self.faults.append(line.text) if line.type == "error" else None)
        page.on("dialog", lambda dialog: self.faults.append(f"dialog: {dialog.message}"))
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("requestfinished", self._check)
        page.on("requestfailed", self._check)

    def _check(self, request: Request) -> None:
        """What the page's policy has held back was never sent."""
        parts = urlsplit(request.url)
        if request.failure != "csp" and parts.scheme not in ("blob", "data") and parts.netloc != self._host:
            self.faults.append(f"asked another host: {request.url}")

    def open(self, route: str = "#/") -> Page:
        """Opens a route of the dashboard in a new page."""
        self.page.goto("about:blank")
        self.page.goto(self.url + route)
        return self.page

    def expect_faults(self, *texts: str) -> None:
        """Forgets what was to be expected, such as the browser's own line about a 404."""
        self.faults = [fault for fault in self.faults if not any(text in fault for text in texts)]

    @property
    def width(self) -> int:
        """How wide the page's content is, in pixels."""
        return int(self.page.evaluate("document.documentElement.scrollWidth"))


@pytest.fixture
def visit(browser: Browser, stack: EmbeddedStack) -> Iterator[Visit]:
    """A fresh window, at the end of which nothing may have gone wrong."""
    with browser.new_context(viewport=WIDE, reduced_motion="reduce") as context:
        visit = Visit(context.new_page(), stack.api_url)
        yield visit
        with suppress(Exception):
            visit.page.wait_for_timeout(50)
        assert visit.faults == []
