"""What the first visit of the dashboard starts, on a stack on which nothing has been asked yet."""

import re
from pathlib import Path

from playwright.sync_api import Browser, expect

from local.stack import EmbeddedStack
from tests.browser.conftest import Visit


def test_a_first_visit_waits_for_one_process_of_the_pages_and_one_for_each_request_of_the_api(
    browser: Browser, tmp_path: Path
) -> None:
    with EmbeddedStack.start(folder=tmp_path) as stack, browser.new_context() as context:
        visit = Visit(context.new_page(), stack.api_url)

        page = visit.open()
        expect(page.get_by_text("No jobs yet")).to_be_visible()

        started = re.findall(r"Lambda worker spawned for \S*?(Web|Api)Function", stack.emulator.log_file.read_text())
        asked = [url for url in visit.requests if url.startswith(stack.api_url)]
        assert started.count("Web") == 1
        assert started.count("Api") <= len(asked) - 1 <= 3
        assert visit.faults == []
