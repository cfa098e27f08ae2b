"""Watches jobs, all at once, and shows each on a line of the terminal."""

import asyncio
import math
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

from jobchain_cli.errors import Code, CommandError
from jobchain_cli.target import RETRY_SECONDS, Target
from jobchain_cli.words import in_one_line, waiting
from jobchain_client import AsyncJobchain, BadArgument, Job, JobchainError

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

TOLD_SECONDS = 4.0
"""The seconds between two lines of progress where no terminal shows it."""

_STYLES = {"completed": "green", "failed": "red", "cancelled": "yellow", "processing": "cyan", "pending": "dim"}
_MARKS = {"completed": "✓", "failed": "✗", "cancelled": "–", "processing": "…", "pending": " ", "": " "}


# Which lines are left out last.
_ORDER = {"processing": 0, "failed": 1, "cancelled": 1, "pending": 2, "completed": 3}
_FINAL = ("completed", "failed", "cancelled")


def totals(statuses: Sequence[str], jobs: int, refused: int = 0) -> str:
    """How many of `jobs` have ended, and how many of them badly, such as "37/100, 2 failed"."""
    counts = Counter(statuses)
    bad = {"failed": counts["failed"], "cancelled": counts["cancelled"], "with an error": refused}
    words = [f"{number} {what}" for what, number in bad.items() if number]
    return ", ".join([f"{sum(counts[status] for status in _FINAL) + refused}/{jobs}", *words])


@dataclass(frozen=True, slots=True)
class Watched:
    """A job, and the name of its text; `look_at` as of a JobHandle."""

    source: str
    event_id: str
    look_at: float | None = None


def watch(
    target: Target,
    jobs: Sequence[Watched],
    limit_seconds: float | None,
    console: "Console | None",
    *,
    poll: float | None = None,
    ended: Callable[[int, Job], None] | None = None,
) -> list[Job | JobchainError]:
    """Each job once it is final, or why that is not known, in order. `ended` is called with the place of each that is.

    Progress goes to the console. Without one, it is a line on standard error every `TOLD_SECONDS`.

    `poll` is the seconds between two requests for a job; None takes what the API says.
    """
    board = Board(jobs)
    try:
        with _live(board, console):
            return asyncio.run(_watch_all(target, board, limit_seconds, poll, ended))
    except BadArgument as error:
        raise CommandError(str(error), Code.USAGE) from error


async def _watch_all(
    target: Target,
    board: "Board",
    limit_seconds: float | None,
    poll: float | None,
    ended: Callable[[int, Job], None] | None,
) -> list[Job | JobchainError]:
    async with AsyncJobchain(
        target.url, target.api_key, retry_seconds=RETRY_SECONDS, insecure_http=target.insecure_http
    ) as client:

        async def watch_one(place: int) -> Job | JobchainError:
            try:
                watched = board.jobs[place]
                async for job in client.watch(watched.event_id, limit_seconds, poll=poll, look_at=watched.look_at):
                    board.show(place, job)
            except JobchainError as error:
                board.lose(place)
                return error
            if ended is not None:
                ended(place, board.states[place])
            return board.states[place]

        return await asyncio.gather(*(watch_one(place) for place in range(len(board.jobs))))


def terminal() -> "Console | None":
    """Where progress can be shown: standard error, if it is a terminal that can move its cursor."""
    if not sys.stderr.isatty():
        return None
    from rich.console import Console  # only a terminal pays for the import

    console = Console(stderr=True, markup=False, highlight=False, emoji=False)
    return None if console.is_dumb_terminal else console


def _live(board: "Board", console: "Console | None") -> AbstractContextManager[Any]:
    if console is None:
        return _told(board)
    from rich.live import Live

    def render() -> "RenderableType":
        # Two lines for what the shell has there.
        return board.render(console.size.height - 2)

    return Live(get_renderable=render, console=console, refresh_per_second=8)


@contextmanager
def _told(board: "Board") -> Iterator[None]:
    ended = Event()

    def tell() -> None:
        while not ended.wait(TOLD_SECONDS):
            print(f"jobchain: {in_one_line(board.summary())}", file=sys.stderr, flush=True)

    thread = Thread(target=tell, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@dataclass(slots=True)
class Board:
    """The state of all jobs: one job has a line for each step, several have one line each, and one for all."""

    jobs: Sequence[Watched]
    states: dict[int, Job] = field(default_factory=dict)
    lost: set[int] = field(default_factory=set)
    _since: dict[int, float] = field(default_factory=dict)

    def show(self, place: int, job: Job) -> None:
        """Stores the new state of a job."""
        self.states[place] = job
        self._since[place] = time.monotonic()

    def lose(self, place: int) -> None:
        """A job can't be watched any longer; the reason is told at the end."""
        self.lost.add(place)

    def summary(self) -> str:
        """All jobs in one line."""
        if len(self.jobs) == 1:
            status, source, steps = self._job(0)
            return f"{source}: {status} {steps}".rstrip()
        # A copy: `show` may add a state meanwhile, in another thread.
        return totals([job.status for job in tuple(self.states.values())], len(self.jobs), len(self.lost))

    def render(self, height: int = 1_000) -> "RenderableType":
        """The lines as they are now. All that comes from a server is text: none of it is markup."""
        from rich.table import Table
        from rich.text import Text

        grid = Table.grid(padding=(0, 1))
        for status, *words in self._lines(height):
            style = _STYLES.get(status, "")
            cells = [Text(in_one_line(word), overflow="ellipsis", no_wrap=True) for word in words]
            grid.add_row(Text(_MARKS.get(status, "?"), style=style), *cells, Text(in_one_line(status), style=style))
        return grid

    def _lines(self, height: int) -> list[tuple[str, ...]]:
        if len(self.jobs) == 1 and self.states:
            job = self.states[0]
            lines = [self._step(step.name, step.status, step.seconds) for step in job.steps]
            return [*lines, (job.status, waiting(job.waiting_for), "")] if job.waiting_for else lines
        lines = [self._job(place) for place in range(len(self.jobs))]
        if len(lines) == 1:
            return lines
        room = max(height - 2, 1)
        if len(lines) > room:
            # What is under way says more than what has ended, and that more than what has not begun.
            shown = sorted(range(len(lines)), key=lambda place: _ORDER.get(lines[place][0], 0))[:room]
            lines = [lines[place] for place in sorted(shown)]
        more = len(self.jobs) - len(lines)
        return [*lines, ("", self.summary(), f"({more} more)" if more else "")]

    def _step(self, name: str, status: str, seconds: float | None) -> tuple[str, ...]:
        if seconds is None and status == "processing":
            seconds = time.monotonic() - self._since[0]
        return status, name, "" if seconds is None else f"{seconds:.1f} s"

    def _job(self, place: int) -> tuple[str, ...]:
        source = self.jobs[place].source
        job = self.states.get(place)
        if job is None:
            left = (self.jobs[place].look_at or 0.0) - time.monotonic()
            return "pending", source, f"(expected to end in {math.ceil(left)} s)" if left > 0 else ""
        if job.waiting_for:
            return job.status, source, waiting(job.waiting_for)
        done = sum(step.status == "completed" for step in job.steps)
        at = next((step.name for step in job.steps if step.status == "processing"), "")
        return job.status, source, f"{done}/{len(job.steps)} {at}"
