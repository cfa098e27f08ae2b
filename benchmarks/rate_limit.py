"""A backlog on an account with a limit of requests: which calls are refused, and how much of the limit is used.

    python -m benchmarks.rate_limit --jobs 400 --per-minute 600

The embedded stack runs the jobs against a model whose server refuses what is above the limit, and tells it in the
headers of its answers. Ends with 1 if a job failed, if more than 2 % of the calls were refused, or if less than 95 % of
the limit was used in a full minute.
"""

import argparse
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from benchmarks import client, ours
from benchmarks.model_account import Reply, ended_jobs, judge, serving, wait_for_jobs
from benchmarks.simulation.account import Bucket

WORKERS = 10
MOST_REFUSED = 0.02
LEAST_USED = 0.95

RATE_LIMITED = {
    "message": "Rate limit reached for requests. Please try again later.",
    "type": "requests",
    "param": None,
    "code": "rate_limit_exceeded",
}
"""https://platform.openai.com/docs/guides/error-codes"""


@dataclass(slots=True)
class Account:
    """A limit that fills up continuously to a minute's requests; and when calls were answered and refused."""

    bucket: Bucket
    tells: bool = True
    answered: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def call(self) -> Reply:
        """Counts a call; gives how it is taken."""
        with self._lock:
            now = time.monotonic()
            accepted = self.bucket.has(1, now)
            if accepted:
                self.bucket.take(1)
            (self.answered if accepted else self.refused).append(now)
            return Reply(None if accepted else RATE_LIMITED, self._headers(now) if self.tells else {})

    def _headers(self, now: float) -> dict[str, str]:
        """https://platform.openai.com/docs/guides/rate-limits#rate-limits-in-headers"""
        return {
            "x-ratelimit-limit-requests": str(int(self.bucket.most)),
            "x-ratelimit-remaining-requests": str(int(self.bucket.level)),
            "x-ratelimit-reset-requests": f"{self.bucket.reset(now):.3f}s",
        }


@dataclass(frozen=True, slots=True)
class Run:
    """What came of it; times in seconds after the first call."""

    statuses: Counter[str]
    errors: Counter[str]
    per_minute: int
    answered: Sequence[float]
    refused: Sequence[float]

    @property
    def refused_share(self) -> float:
        return len(self.refused) / (len(self.refused) + len(self.answered))

    @property
    def full_minutes(self) -> list[int]:
        """The calls answered in each minute, but for the last one, in which the backlog ends."""
        minutes = Counter(int(at // 60) for at in self.answered)
        return [minutes[minute] for minute in range(int(max(self.answered) // 60))]

    @property
    def is_good(self) -> bool:
        """Whether every goal is met."""
        used = all(calls >= LEAST_USED * self.per_minute for calls in self.full_minutes)
        return set(self.statuses) == {"completed"} and self.refused_share <= MOST_REFUSED and used

    def lines(self) -> Iterator[str]:
        """The result, in words."""
        yield f"jobs: {dict(self.statuses)}, errors: {dict(self.errors)}"
        yield f"calls: {len(self.answered)} answered, {len(self.refused)} refused ({self.refused_share:.2%})"
        yield f"when refused: {[round(at, 1) for at in self.refused]}"
        used = [f"{calls / self.per_minute:.1%}" for calls in self.full_minutes]
        yield f"of the limit used, in each full minute: {', '.join(used)}"
        yield f"the last call came after {max(self.answered):.0f} s"
        tens = Counter(int(at // 10) for at in self.answered)
        yield f"calls in each ten seconds: {[tens[ten] for ten in range(max(tens) + 1)]}"


def measure(jobs: int, per_minute: int, *, configured: bool, tells: bool) -> Run:
    """Runs the jobs. Raises BenchmarkError where they do not end."""
    account = Account(Bucket(per_minute), tells)
    parameters = {"ModelRequestsPerMinute": str(per_minute)} if configured else {}
    with serving(account) as base_url, ours.start(base_url, workers=WORKERS, parameters=parameters) as side:
        client.post(side.url, range(jobs))
        wait_for_jobs(side)
        found = ended_jobs(side, jobs)
    first = min(account.answered)
    return Run(
        Counter(str(job["status"]) for job in found),
        Counter(str(job["error"]["type"]) for job in found if job.get("error")),
        per_minute,
        [at - first for at in account.answered],
        [at - first for at in account.refused],
    )


def main() -> int:
    """The exit status: 0 as promised, 1 not (argparse: 2), 128 + n if signal n ended it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rate_limit", description=__doc__)
    parser.add_argument("--jobs", type=int, default=400)
    parser.add_argument("--per-minute", type=int, default=600, metavar="REQUESTS")
    parser.add_argument("--configured", action="store_true", help="the limit is a parameter, too")
    parser.add_argument("--silent", action="store_true", help="the server does not tell its limit")
    options = parser.parse_args()
    return judge(
        lambda: measure(options.jobs, options.per_minute, configured=options.configured, tells=not options.silent)
    )


if __name__ == "__main__":
    sys.exit(main())
