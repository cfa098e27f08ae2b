"""What open dashboards cost: `python -m benchmarks.dashboards`. Linux only, as processor time comes from /proc.

Ten real browsers on two processors would show what ten browsers cost. So one light process asks what the page asks, as
often as it does, with the intervals of the page's own `poll.js`; and one real Chromium, where there is one, shows that
the page does ask so.

    python -m benchmarks.dashboards replay URL COUNT

is that process: `on` and `off` come in, and a line of counts goes out.
"""

import argparse
import asyncio
import json
import os
import re
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

import httpx2
from playwright.sync_api import Request, sync_playwright

from benchmarks.report import Fragment, table
from benchmarks.simulation.emulated import PROCESSORS, processor_seconds
from evals.chromium import ARGUMENTS, find_chromium
from local.settings import Settings
from local.stack import LocalStack
from tests.fake_model.server import ModelServer

PAGES = 10
ROUNDS = 4  # without pages, and as many with them, by turns
ROUND_SECONDS = 6.0
OPENING_SECONDS = 1.0
SETTLE_SECONDS = 2.0
# As Lambda does, the emulator starts a process for each request that comes while all are busy: a second of work each.
WARM_UP_SECONDS = 20.0
POSTS_PER_SECOND = 8
WATCH_SECONDS = 15.0
LOAD = 2000
LOOKS = 40
# So slow that jobs stay unfinished: pages look as often as they ever do, and no worker takes the processors.
HELD_SECONDS = 600.0
CALL_SECONDS = 0.5

_STATIC = Path(__file__).resolve().parent.parent / "functions/web/jobchain_web/static/queue"
_PAUSE = re.compile(r"const (BUSY|IDLE|FAILING) = \{ first: ([\d_]+), most: ([\d_]+), growth: ([\d.]+) \};")
_TEXT = "Doors of {} must be locked at night. Each visitor must be met at the door."


# --- the page, without a browser -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Pause:
    """How long the page waits before it looks again; seconds."""

    first: float
    most: float
    growth: float

    def after(self, times: int) -> float:
        """The wait after so many looks that saw nothing new."""
        return min(self.first * self.growth**times, self.most)


def pauses() -> dict[str, Pause]:
    """The page's own intervals, by name. Raises LookupError where `poll.js` does not have them any more."""
    source = (_STATIC / "poll.js").read_text(encoding="utf-8")
    found = {
        name: Pause(int(first) / 1000, int(most) / 1000, float(growth))
        for name, first, most, growth in _PAUSE.findall(source)
    }
    if len(found) != 3:
        raise LookupError("poll.js has no BUSY, IDLE and FAILING any more: read them anew in benchmarks/dashboards.py")
    return found


def list_path() -> str:
    """What the page asks for its list. Raises LookupError."""
    if (found := re.search(r"const LIVE = (\d+);", (_STATIC / "list.js").read_text(encoding="utf-8"))) is None:
        raise LookupError("list.js has no LIVE any more: read it anew in benchmarks/dashboards.py")
    return f"jobs?limit={found[1]}"


@dataclass
class Page:
    """One open page: looks as `poll.js` and `list.js` do, until it is cancelled."""

    http: httpx2.AsyncClient
    asked: Counter[str]
    pauses: dict[str, Pause] = field(default_factory=pauses)
    path: str = field(default_factory=list_path)
    _known: dict[str, tuple[str, Any]] = field(default_factory=dict)
    _quiet: int = 0
    _chains: bool = False

    async def live(self) -> None:
        """Looks again and again."""
        failures = 0
        while True:
            try:
                busy, changed, retry_after = await self._look()
            except httpx2.HTTPError:
                failures += 1
                self._quiet += 1
                await asyncio.sleep(self.pauses["FAILING"].after(failures - 1))
                continue
            failures = 0
            self._quiet = 0 if changed else self._quiet + 1
            await asyncio.sleep(max(self.pauses["BUSY" if busy else "IDLE"].after(self._quiet), retry_after))

    async def _look(self) -> tuple[bool, bool, float]:
        """Whether something is still to come, whether something is new, and the seconds that it shall wait."""
        paths = ["stats", self.path, *([] if self._chains else ["chains"])]
        (stats, new_stats, wait), (jobs, new_jobs, wait_too), *_ = await asyncio.gather(*map(self._get, paths))
        self._chains = True
        unfinished = any(job["status"] in ("pending", "processing") for job in jobs["jobs"])
        busy = stats["jobs"]["pending"] + stats["jobs"]["processing"] > 0 or unfinished
        return busy, new_stats or new_jobs, max(wait, wait_too)

    async def _get(self, path: str) -> tuple[Any, bool, float]:
        etag, data = self._known.get(path, ("", None))
        self.asked[path] += 1
        answer = await self.http.get(path, headers={"If-None-Match": etag} if etag else {})
        wait = float(answer.headers.get("Retry-After", 0))
        if answer.status_code == HTTPStatus.NOT_MODIFIED:
            self.asked["not modified"] += 1
            return data, False, wait
        data = answer.raise_for_status().json()
        if etag := answer.headers.get("ETag", ""):
            self._known[path] = (etag, data)
        return data, True, wait


async def replay(url: str, count: int) -> None:
    """Opens `count` pages at `on`, closes them at `off` and tells what they asked, until the input ends."""
    commands: asyncio.Queue[str] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    loop.add_reader(sys.stdin, lambda: commands.put_nowait(sys.stdin.readline().strip()))
    async with httpx2.AsyncClient(base_url=f"{url}/", timeout=30, trust_env=False) as http:
        open_pages: list[asyncio.Task[None]] = []
        asked: Counter[str] = Counter()
        while command := await commands.get():
            for page in open_pages:
                page.cancel()
            open_pages = []
            if command == "on":
                asked = Counter()
                for number in range(count):
                    open_pages.append(asyncio.create_task(Page(http, asked).live()))
                    # People don't open them all at the same moment.
                    await asyncio.sleep(OPENING_SECONDS if number < count - 1 else 0)
            print(json.dumps(asked), flush=True)


class Pages:
    """The process that stands for open pages."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def tell(self, command: str) -> Counter[str]:
        """Opens them (`on`) or closes them (`off`); gives what was asked since they were opened."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(f"{command}\n")
        stdin.flush()
        return Counter(json.loads(_line(stdout)))

    @classmethod
    @contextmanager
    def of(cls, url: str, count: int) -> Iterator["Pages"]:
        """The process while the context lasts."""
        command = [sys.executable, "-m", "benchmarks.dashboards", "replay", url, str(count)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            try:
                yield cls(process)
            finally:
                process.kill()


def _line(stream: IO[str]) -> str:
    if not (line := stream.readline()):
        raise RuntimeError("the process that stands for open pages has ended; its error is above")
    return line


# --- what is measured ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Round:
    """Posts of one round, in milliseconds, and how many processors all of the stack took.

    `failed` are those that the stack did not take: on a machine that is very busy the emulator gives up functions.
    """

    posts: list[float]
    processor: float
    failed: int


def post_for(http: httpx2.Client, seconds: float) -> Round:
    """Posts jobs at an even pace."""
    taken: list[float] = []
    began, processor = time.monotonic(), processor_seconds()
    number = failed = 0
    while (now := time.monotonic()) < began + seconds:
        answer = http.post("/jobs", json={"input_text": _TEXT.format(number)})
        if answer.status_code == HTTPStatus.CREATED:
            taken.append((time.monotonic() - now) * 1000)
        else:
            failed += 1
            say(f"POST: {answer.status_code} {answer.text[:200]}")
        number += 1
        time.sleep(max(0.0, began + number / POSTS_PER_SECOND - time.monotonic()))
    return Round(taken, (processor_seconds() - processor) / (time.monotonic() - began), failed)


@contextmanager
def stack_with(latency: float) -> Iterator[tuple[LocalStack, httpx2.Client]]:
    """An embedded stack whose model takes so many seconds for a call."""
    with (
        ModelServer(latency=latency) as model,
        LocalStack.start(Settings(openai_base_url=model.base_url), parameters={"WorkerConcurrency": "4"}) as stack,
        httpx2.Client(base_url=stack.api_url, timeout=60, trust_env=False) as http,
    ):
        yield stack, http


def posts_beside_pages() -> tuple[str, dict[str, Any]]:
    """Posts without pages and with them, by turns."""
    without: list[Round] = []
    beside: list[Round] = []
    asked: Counter[str] = Counter()
    with stack_with(HELD_SECONDS) as (stack, http), Pages.of(stack.api_url, PAGES) as pages:
        pages.tell("on")
        time.sleep(WARM_UP_SECONDS)
        pages.tell("off")
        post_for(http, ROUND_SECONDS)
        for number in range(ROUNDS):
            without.append(post_for(http, ROUND_SECONDS))
            pages.tell("on")
            time.sleep(SETTLE_SECONDS)
            beside.append(post_for(http, ROUND_SECONDS))
            asked += pages.tell("off")
            time.sleep(0.5)
            say(f"round {number + 1}: {_median([without[-1]]):.1f} ms, with pages {_median([beside[-1]]):.1f} ms")
        alone = requests_alone(http)
        watched = watch(stack.api_url, http)
    ratios = [_median([on]) / _median([off]) for off, on in zip(without, beside, strict=True)]
    open_seconds = ROUNDS * (PAGES * OPENING_SECONDS + SETTLE_SECONDS + ROUND_SECONDS)
    requests = sum(count for name, count in asked.items() if name != "not modified")
    data = {
        "ratio_of_medians": _median(beside) / _median(without),
        "median_of_ratios": statistics.median(ratios),
        "rounds": ratios,
        "requests_per_second": requests / open_seconds,
    }
    rows: list[list[object]] = [
        [
            name,
            f"{_median(rounds):.1f} ms",
            f"{_high(rounds):.1f} ms",
            f"{statistics.median(r.processor for r in rounds):.2f}",
            sum(one.failed for one in rounds),
        ]
        for name, rounds in (("no page", without), (f"{PAGES} pages", beside))
    ]
    body = "\n\n".join(
        [
            table(["`POST /jobs`", "p50", "p95", "processors in use", "failed"], rows),
            f"Ratio of the p50: **{data['ratio_of_medians']:.2f}**; of the {ROUNDS} pairs of rounds"
            f" {min(ratios):.2f} to {max(ratios):.2f}, median {data['median_of_ratios']:.2f}. The pages asked"
            f" {data['requests_per_second']:.0f} times a second, and {asked['not modified'] / requests:.0%} of it was"
            " unchanged.",
            alone,
            "Most of the second and third is the emulator's, which is slow to query an index. It also starts a process"
            " for each request that comes while all others are busy.",
            watched,
        ]
    )
    return body, data


def requests_alone(http: httpx2.Client) -> str:
    """What each request takes of the processors, one after the other."""
    rows: list[list[object]] = []
    for path in ("chains", "stats", list_path()):
        known = {"If-None-Match": http.get(f"/{path}").headers["ETag"]}
        cost = _processor_ms(partial(http.get, f"/{path}", headers=known))
        rows.append([f"`GET /{path}`, unchanged", f"{cost:.0f} ms"])
    cost = _processor_ms(partial(http.post, "/jobs", json={"input_text": _TEXT}))
    rows.append(["`POST /jobs`", f"{cost:.0f} ms"])
    return table(["one request", "of all processors"], rows)


def _processor_ms(ask: Callable[[], httpx2.Response]) -> float:
    ask()
    used = processor_seconds()
    for _ in range(LOOKS):
        ask()
    return (processor_seconds() - used) * 1000 / LOOKS


def watch(url: str, http: httpx2.Client) -> str:
    """A real page beside a replayed one, while jobs come in."""
    if (chromium := find_chromium()) is None:
        return "No Chromium was there to hold the replay against."
    asked: Counter[str] = Counter()
    conditional = 0

    def note(request: Request) -> None:
        nonlocal conditional
        parts = urlsplit(request.url)
        name = f"{parts.path.rpartition('/')[2]}{'?' + parts.query if parts.query else ''}"
        if request.resource_type == "fetch":
            asked[name] += 1
            conditional += "if-none-match" in request.headers

    with sync_playwright() as playwright, Pages.of(url, 1) as pages:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        tab = browser.new_page()
        tab.on("request", note)
        tab.goto(f"{url}/queue")
        tab.wait_for_timeout(3000)
        asked.clear()
        conditional = 0
        pages.tell("on")
        began = time.monotonic()
        while time.monotonic() < began + WATCH_SECONDS:
            http.post("/jobs", json={"input_text": _TEXT.format(0)}).raise_for_status()
            tab.wait_for_timeout(1000 / POSTS_PER_SECOND)
        replayed = pages.tell("off")
        browser.close()
    real = sum(asked.values())
    replayed_sum = sum(count for name, count in replayed.items() if name not in ("not modified", "chains"))
    names = ", ".join(f"`{name}` {count}" for name, count in sorted(asked.items()))
    same = sorted(asked) == sorted(name for name in replayed if name not in ("not modified", "chains"))
    return (
        f"The page itself, in Chromium, for {WATCH_SECONDS:g} seconds beside one replayed page, while jobs came in: it"
        f" asked {real} times ({names}), {conditional / max(real, 1):.0%} with `If-None-Match`; the replay"
        f" {replayed_sum} times, {'for the same addresses' if same else f'for OTHER addresses: {list(replayed)}'}."
    )


def page_under_load() -> tuple[str, dict[str, Any]]:
    """The page's calls on a stack at rest, and while 2,000 jobs run."""
    paths = ("queue", "stats", list_path())
    with stack_with(CALL_SECONDS) as (_, http):
        _load(http, 100)
        _wait_for_rest(http)
        rest = {path: _looks(http, path) for path in paths}
        _load(http, LOAD)
        before = _unfinished(http)
        running = {path: _looks(http, path) for path in paths}
        after = _unfinished(http)
    rows: list[list[object]] = []
    data: dict[str, Any] = {"unfinished": [before, after]}
    for path in paths:
        ratio = statistics.median(running[path]) / statistics.median(rest[path])
        data[path] = ratio
        rows.append(
            [
                f"`GET /{path}`",
                *(f"{value:.0f} ms" for value in (*_quantiles(rest[path]), *_quantiles(running[path]))),
                f"{ratio:.1f}",
            ]
        )
    heads = ["", "at rest, p50", "p95", f"{LOAD:,} jobs, p50", "p95", "ratio of p50"]
    return "\n\n".join(
        [table(heads, rows), f"Unfinished at the first of these looks {before:,}, at the last {after:,}."]
    ), data


def _looks(http: httpx2.Client, path: str) -> list[float]:
    taken = []
    for _ in range(LOOKS):
        began = time.monotonic()
        http.get(f"/{path}").raise_for_status()
        taken.append((time.monotonic() - began) * 1000)
        time.sleep(0.05)
    return taken


def _load(http: httpx2.Client, jobs: int) -> None:
    for start in range(0, jobs, 100):
        entries = [{"input_text": _TEXT.format(f"job-{start + number}")} for number in range(100)]
        http.post("/jobs/batch", json={"jobs": entries}).raise_for_status()


def _unfinished(http: httpx2.Client) -> int:
    jobs = http.get("/stats").raise_for_status().json()["jobs"]
    return int(jobs["pending"] + jobs["processing"])


def _wait_for_rest(http: httpx2.Client) -> None:
    deadline = time.monotonic() + 300
    while _unfinished(http):
        if time.monotonic() > deadline:
            raise TimeoutError("the embedded stack has not ended 100 jobs within 300 s")
        time.sleep(1)


def _quantiles(values: list[float]) -> tuple[float, float]:
    ordered = sorted(values)
    return statistics.median(ordered), ordered[int(0.95 * (len(ordered) - 1))]


def _median(rounds: list[Round]) -> float:
    """The median of the rounds' medians."""
    return statistics.median(statistics.median(one.posts) for one in rounds)


def _high(rounds: list[Round]) -> float:
    return statistics.median(_quantiles(one.posts)[1] for one in rounds)


def say(text: str) -> None:
    """Tells how far it is."""
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """Measures all, and keeps the section."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dashboards", description=__doc__)
    commands = parser.add_subparsers(dest="command")
    replayed = commands.add_parser("replay", help="stand for open pages")
    replayed.add_argument("url")
    replayed.add_argument("count", type=int)
    chosen = parser.parse_args()
    if chosen.command == "replay":
        with suppress(KeyboardInterrupt):
            asyncio.run(replay(chosen.url, chosen.count))
        return
    posts, posts_data = posts_beside_pages()
    load, load_data = page_under_load()
    body = "\n\n".join(
        [
            f"Embedded stack, {PROCESSORS} processors, which the emulator, the functions and whoever asks share (load"
            f" average {os.getloadavg()[1]:.0f}, other programs included); each number has the emulator's own 9 ms a"
            " request in it. On AWS functions share no processor.",
            f"### {PAGES} open pages and `POST /jobs`",
            f"{ROUNDS} rounds of {ROUND_SECONDS:g} seconds without pages and with them, by turns, at {POSTS_PER_SECOND}"
            " posts a second. All jobs stay unfinished, so that the pages look as often as they ever do.",
            posts,
            f"### The page while {LOAD:,} jobs run",
            load,
        ]
    )
    Fragment("Dashboards", body, data={"posts": posts_data, "load": load_data}).write("70-dashboards")
    print(body)


if __name__ == "__main__":
    main()
