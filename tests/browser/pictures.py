"""Takes the pictures of `docs/pictures`, from a stack with a slow model: `make pictures`."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Literal

import httpx2
from playwright.sync_api import Browser, expect, sync_playwright

from evals.chromium import ARGUMENTS, MISSING, find_chromium
from local import signals
from local.settings import Settings
from local.stack import EmbeddedStack
from tests.e2e.conftest import FINAL, poll
from tests.fake_model.journal import Call
from tests.fake_model.replies import Reply, late, refused
from tests.fake_model.server import ModelServer

ROOT = Path(__file__).resolve().parent.parent.parent
FOLDER = ROOT / "docs" / "pictures"
REFUSED = "This text is refused."
WIDE, PHONE = (1440, 900), (390, 844)
# Of one answer. The longest is that of the job that still runs in the pictures.
SECONDS = (0.3, 0.7, 0.5, 1.1, 0.4)
SLOW_SECONDS = 40.0


@contextmanager
def slow_model() -> Iterator[str]:
    """Answers as long as the context lasts, takes its time, and refuses what says so; gives the base URL."""
    calls = count(1)

    def rule(call: Call) -> Reply:
        if REFUSED in call.body:
            return refused(400)
        return late(SLOW_SECONDS if "Take your time." in call.body else SECONDS[next(calls) % len(SECONDS)])

    with ModelServer(offline=True) as model:
        model.rule = rule
        yield model.base_url


def make_jobs(api: httpx2.Client) -> str:
    """Jobs of every status; gives the id of the one whose page is shown."""

    def create(payload: dict[str, str], chain: str = "guideline_checklist") -> str:
        body = {"job_name": chain, "payload": payload}
        return str(api.post("/jobs", json=body).raise_for_status().json()["event_id"])

    review, backup = ((ROOT / "examples" / f"{name}.md").read_text() for name in ("access-review", "backup-policy"))
    ended = []
    for number in range(14):
        text = REFUSED if number in (4, 9) else (review, backup)[number % 2]
        if number % 5 == 3:
            ended.append(create({"text": text}, "extract_actions"))
        elif number % 5 == 2:
            ended.append(create({"first": review, "second": backup}, "compare_guidelines"))
        else:
            ended.append(create({"guidelines": text}))
        time.sleep(1.1)
    poll(lambda: all(api.get(f"/jobs/{one}").json()["status"] in FINAL for one in ended), 120)
    shown = create({"guidelines": review})
    poll(lambda: api.get(f"/jobs/{shown}").json()["status"] in FINAL, 60)
    create({"guidelines": f"{backup}\n\nTake your time."})
    create({"guidelines": f"{review}\n\nTake your time."})
    time.sleep(1.5)
    return shown


def take(browser: Browser, url: str, name: str, size: tuple[int, int], scheme: Literal["light", "dark"]) -> None:
    """One picture."""
    width, height = size
    with browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme, reduced_motion="reduce"
    ) as context:
        page = context.new_page()
        page.goto(url)
        expect(page.locator("#connection")).to_have_text("live")
        if "/jobs/" in url:
            expect(page.frame_locator("iframe").locator("svg")).to_be_visible(timeout=30_000)
        page.wait_for_timeout(1_000)
        path = FOLDER / f"{name}.png"
        page.screenshot(path=path)
        print(f"{path.relative_to(ROOT)}: {path.stat().st_size // 1024} KB")


def main() -> int:
    """The exit status."""
    signals.listen()
    if (chromium := find_chromium()) is None:
        print(f"error: {MISSING}", file=sys.stderr)
        return 1
    FOLDER.mkdir(exist_ok=True)
    with (
        slow_model() as base_url,
        EmbeddedStack.start(Settings(openai_base_url=base_url)) as stack,
        httpx2.Client(base_url=stack.api_url, timeout=30, trust_env=False) as api,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        queue = f"{stack.api_url}/queue"
        job = f"{queue}#/jobs/{make_jobs(api)}"
        take(browser, f"{queue}#/", "queue", WIDE, "light")
        take(browser, f"{queue}#/", "queue-dark", WIDE, "dark")
        take(browser, job, "job", WIDE, "light")
        take(browser, job, "job-dark", WIDE, "dark")
        take(browser, f"{queue}#/", "phone-queue", PHONE, "dark")
        take(browser, job, "phone-job", PHONE, "light")
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
