"""Takes the pictures of `docs/pictures`, from a stack with a slow model that has prices: `make pictures`."""

import json
import random
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any, Literal

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
OTHER = "us.openai.gpt-6-luna"
"""The model of the replay, which has a price of its own."""
REPLAY = "20261129-160000-ab12"
# Of one answer. The longest is that of the job that still runs in the pictures.
SECONDS = (0.3, 0.7, 0.5, 1.1, 0.4)
SLOW_SECONDS = 40.0
# The usage page shows this day's usage again for earlier days, each with as many jobs as a random number says.
EARLIER_DAYS = 24


class PricedServer(ModelServer):
    """Answers as the offline model does, under the name of the model that is asked, which has a price."""

    def right_answer(self, path: str, call: Call) -> Reply:
        """The answer to a call without a fault. The other model says "shall", and of one text also in a quote."""
        reply = super().right_answer(path, call)
        model = json.loads(call.body)["model"]
        said = reply.body.decode()
        if model == OTHER and (call.step == "summary" or "Keep logs for 90 days" in call.body):
            said = re.sub(r"\bmust\b", "shall", said, count=0 if call.step == "summary" else 3)
        return Reply(reply.name, json.dumps({**json.loads(said), "model": model}).encode())


@contextmanager
def slow_model() -> Iterator[str]:
    """Answers as long as the context lasts, takes its time, and refuses what says so; gives the base URL."""
    calls = count(1)

    def rule(call: Call) -> Reply:
        if REFUSED in call.body:
            return refused(400)
        return late(SLOW_SECONDS if "Take your time." in call.body else SECONDS[next(calls) % len(SECONDS)])

    with PricedServer(offline=True) as model:
        model.rule = rule
        yield model.base_url


def make_jobs(api: httpx2.Client) -> str:
    """Jobs of every status and chain; gives the id of the one whose page is shown."""

    def create(title: str, payload: dict[str, str], chain: str = "guideline_checklist") -> str:
        body = {"job_name": chain, "payload": payload, "title": title, "metadata": {"team": "security"}}
        return str(api.post("/jobs", json=body).raise_for_status().json()["event_id"])

    review, backup = ((ROOT / "examples" / f"{name}.md").read_text() for name in ("access-review", "backup-policy"))
    readme, security = ((ROOT / name).read_text()[:6_000] for name in ("README.md", "SECURITY.md"))
    ended = []
    for title, chain, payload in (
        ("backup-policy.md", "guideline_checklist", {"guidelines": backup}),
        ("Access review and backups, compared", "compare_guidelines", {"first": review, "second": backup}),
        ("Meeting of 24 November", "extract_actions", {"text": f"{backup}\n\nAnna writes the minutes by Friday."}),
        ("security.md", "guideline_checklist", {"guidelines": security}),
        ("scan-0417.txt", "guideline_checklist", {"guidelines": REFUSED}),
        ("readme.md", "guideline_checklist", {"guidelines": readme}),
        ("Actions of the access review", "extract_actions", {"text": review}),
        ("security.md and backup-policy.md", "compare_guidelines", {"first": security, "second": backup}),
        ("scan-0418.txt", "extract_actions", {"text": REFUSED}),
        ("Retention, second draft", "guideline_checklist", {"guidelines": f"{backup}\n\nKeep logs for 90 days."}),
    ):
        ended.append(create(title, payload, chain))
        time.sleep(1.1)
    poll(lambda: all(api.get(f"/jobs/{one}").json()["status"] in FINAL for one in ended), 120)
    shown = create("access-review.md", {"guidelines": review})
    poll(lambda: api.get(f"/jobs/{shown}").json()["status"] in FINAL, 60)
    create("backup-policy.md, all sites", {"guidelines": f"{backup}\n\nTake your time."})
    create("access-review.md, contractors", {"guidelines": f"{review}\n\nTake your time."})
    time.sleep(1.5)
    return shown


def make_replay(api: httpx2.Client) -> str:
    """A replay of several documents with another model; gives the id of the job whose comparison is shown."""
    wanted = {"status": "completed", "job_name": "guideline_checklist"}
    sources: list[dict[str, str]] = api.get("/jobs", params=wanted).json()["jobs"]
    fork = {"replay": REPLAY, "model": OTHER, "effort": "low"}
    made = {
        job["title"]: api.post(f"/jobs/{job['event_id']}/fork", json=fork).raise_for_status().json()["event_id"]
        for job in sources
    }
    poll(lambda: all(api.get(f"/jobs/{one}").json()["status"] in FINAL for one in made.values()), 120)
    shown: str = made["Retention, second draft"]
    return shown


def make_long(api: httpx2.Client) -> str:
    """A job of a text in some 36 parts; gives its id."""
    documents = [path for folder in ("how-to", "explanation") for path in sorted((ROOT / "docs" / folder).glob("*.md"))]
    whole = "\n\n".join(path.read_text() for path in documents)[:99_000]
    body = {"job_name": "guideline_checklist", "payload": {"guidelines": whole}, "title": "All of the handbook"}
    made: str = api.post("/jobs", json=body).raise_for_status().json()["event_id"]
    poll(lambda: api.get(f"/jobs/{made}").json()["status"] in FINAL, 300)
    return made


def repeat_usage(stack: EmbeddedStack) -> None:
    """Writes this day's usage again for earlier days."""
    table = stack.client("dynamodb")
    today = datetime.now(UTC).date()
    found = table.query(
        TableName=stack.table,
        KeyConditionExpression="pk = :pk AND begins_with(sk, :day)",
        ExpressionAttributeValues={":pk": {"S": "TENANT#local"}, ":day": {"S": f"USAGE#{today}"}},
    )["Items"]
    dice = random.Random(2026)
    for back in range(1, EARLIER_DAYS):
        day = today - timedelta(days=back)
        factor = dice.randint(1, 4) if day.weekday() > 4 else dice.randint(15, 40)
        for item in found:
            sk = {"S": item["sk"]["S"].replace(str(today), str(day))}
            part = max(1, factor + dice.randint(-6, 6))
            table.put_item(TableName=stack.table, Item={**_times(item, part), "pk": item["pk"], "sk": sk})


def _times(item: dict[str, Any], factor: int) -> dict[str, Any]:
    """The item with its numbers multiplied, but for the time at which it is erased."""
    return {
        name: {"N": str(Decimal(value["N"]) * factor)} if "N" in value and name != "expires_at" else value
        for name, value in item.items()
    }


def take(
    browser: Browser,
    url: str,
    name: str,
    size: tuple[int, int],
    scheme: Literal["light", "dark"],
    *,
    steps: bool = False,
) -> None:
    """One picture; of a job with its `steps` open, if they are wanted."""
    width, height = size
    with browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme, reduced_motion="reduce"
    ) as context:
        page = context.new_page()
        page.goto(url)
        expect(page.locator("#connection")).to_have_text("live", timeout=60_000)
        if "/jobs/" in url:
            expect(page.frame_locator("iframe").locator("svg")).to_be_visible(timeout=60_000)
        if steps:
            page.locator(".steps > summary").click()
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
        EmbeddedStack.start(Settings(openai_base_url=base_url, parameters={"MaxInputTokens": "1000"})) as stack,
        httpx2.Client(base_url=stack.api_url, timeout=30, trust_env=False) as api,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        queue = f"{stack.api_url}/queue"
        job = f"{queue}#/jobs/{make_jobs(api)}"
        repeat_usage(stack)
        take(browser, f"{queue}#/", "queue", WIDE, "light")
        take(browser, f"{queue}#/", "queue-dark", WIDE, "dark")
        take(browser, job, "job", WIDE, "light")
        take(browser, job, "job-dark", WIDE, "dark")
        take(browser, f"{queue}#/usage?by=chain", "usage", WIDE, "light")
        replayed = make_replay(api)
        take(browser, f"{queue}#/replays/{REPLAY}", "replay", WIDE, "light")
        take(browser, f"{queue}#/replays/{REPLAY}?job={replayed}", "replay-job", WIDE, "dark")
        take(browser, f"{queue}#/jobs/{make_long(api)}", "long-job", WIDE, "light", steps=True)
        take(browser, f"{queue}#/", "phone-queue", PHONE, "dark")
        take(browser, job, "phone-job", PHONE, "light")
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
