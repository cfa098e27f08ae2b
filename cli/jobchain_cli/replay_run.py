"""Runs a replay: makes a fork of each job within the budget, and waits until all have ended."""

import asyncio
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from jobchain_cli.replay_budget import Budget
from jobchain_cli.replay_estimate import UNKNOWN, Estimate
from jobchain_cli.target import Target
from jobchain_cli.watching import TOLD_SECONDS
from jobchain_cli.words import problem_line
from jobchain_client import AsyncJobchain, Job, JobchainError, NotFound

PARALLEL = 8
"""How many jobs of a replay run at the same time, unless it is said otherwise."""

_RETRY_SECONDS = 120.0
"""A minute's limit of a key is over by then."""

# These refuse each job of the replay alike: a key, a model, a prompt, a limit.
_REFUSES_ALL = frozenset({401, 403, 422, 429})
# Jobs fail with these before their first call, as all others would.
_FAILS_ALL = frozenset({"budget_unknown", "model_not_found", "model_forbidden"})
# A job fails with this where its budget is too small: a later one, which gets no more, would too.
_TOO_LITTLE = "budget_exceeded"


def read_jobs(target: Target, event_ids: Sequence[str]) -> list[Job | NotFound]:
    """The jobs with their calls and payloads, in order; NotFound for one that does not exist. Raises JobchainError."""

    async def read_all() -> list[Job | NotFound]:
        async with _client(target) as client:
            return list(await asyncio.gather(*(read(client, event_id) for event_id in event_ids)))

    async def read(client: AsyncJobchain, event_id: str) -> Job | NotFound:
        try:
            return await client.get(event_id, include=("attempts", "input"))
        except NotFound as error:
            return error

    return asyncio.run(read_all())


def _client(target: Target) -> AsyncJobchain:
    return AsyncJobchain(target.url, target.api_key, retry_seconds=_RETRY_SECONDS, insecure_http=target.insecure_http)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the forks of a replay have: its id, the step from which they run, and further fields of the request."""

    replay_id: str
    from_step: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Run:
    """The replay of one job, as far as it is.

    `job` is the last that is known of it, `problem` why it goes no further. One that was `refused` was not made.
    """

    source: Job
    estimate: Estimate = UNKNOWN
    event_id: str = ""
    job: Job | None = None
    problem: str = ""
    refused: bool = False

    @property
    def ended(self) -> bool:
        """Whether the replay's job has ended."""
        return self.job is not None and self.job.final


@dataclass(slots=True)
class Runner:
    """Runs the replays of jobs, a few at a time. `stopped` is why some of them were not made."""

    target: Target
    wanted: Wanted
    budget: Budget
    parallel: int = PARALLEL
    tell: Callable[[str], None] = lambda line: print(line, file=sys.stderr, flush=True)
    stopped: str = ""

    def run(self, runs: Sequence[Run], limit_seconds: float | None) -> None:
        """Fills in `runs`. After `limit_seconds` it stops waiting; the jobs that were made continue."""
        asyncio.run(self._run_all(runs, limit_seconds))

    async def _run_all(self, runs: Sequence[Run], limit_seconds: float | None) -> None:
        async with _client(self.target) as client:
            with suppress(TimeoutError):
                async with asyncio.timeout(limit_seconds):
                    await self._make_and_wait(client, runs)
        for run in runs:
            if not run.ended and not run.problem:
                made = "it had not ended in time, and continues" if run.event_id else "not made in time"
                run.problem = (self.stopped or made) if not run.event_id else made

    async def _make_and_wait(self, client: AsyncJobchain, runs: Sequence[Run]) -> None:
        waiting = deque(runs)
        running: dict[asyncio.Task[None], tuple[Run, Decimal]] = {}
        teller = asyncio.create_task(self._tell_now_and_then(runs))
        try:
            while waiting or running:
                # Where no price is known, the first one shows whether jobs with a budget can run at all.
                first = runs[0].estimate.cost_usd is None and not any(run.ended or run.problem for run in runs)
                while waiting and not self.stopped and len(running) < (1 if first else self.parallel):
                    slots = min(self.parallel - len(running), len(waiting))
                    amount = self.budget.reserve(waiting[0].estimate, slots)
                    if amount is None:
                        break
                    run = waiting.popleft()
                    running[asyncio.create_task(self._replay(client, run, amount))] = run, amount
                if not running:
                    self.stopped = self.stopped or self._used_up()
                    return
                done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    self._settle(*running.pop(task))
                    task.result()
        finally:
            for task in (teller, *running):
                task.cancel()
            await asyncio.gather(teller, *running, return_exceptions=True)

    async def _replay(self, client: AsyncJobchain, run: Run, amount: Decimal) -> None:
        wanted = self.wanted
        try:
            made = await client.fork(
                run.source.event_id,
                wanted.from_step,
                idempotency_key=f"{wanted.replay_id}:{run.source.event_id}",
                replay=wanted.replay_id,
                max_cost_usd=float(amount),
                **wanted.options,
            )
            run.event_id = made.event_id
            await made.wait()
            run.job = await made.get(include=("attempts",))
        except JobchainError as error:
            run.problem = problem_line(error)
            run.refused = not run.event_id and error.status is not None and 400 <= error.status < 500
            if not run.event_id and (error.status is None or error.status in _REFUSES_ALL):
                self.stopped = self.stopped or run.problem

    def _settle(self, run: Run, amount: Decimal) -> None:
        """Gives back to the budget what the job did not use; of one that is not known to have ended, nothing."""
        if not (run.ended and run.job):
            self.budget.settle(amount, Decimal(0) if run.refused else None)
            return
        cost, error = run.job.cost_usd, run.job.error
        self.budget.settle(amount, None if cost is None else Decimal(str(cost)))
        if error and error.type in _FAILS_ALL:
            self.stopped = self.stopped or f"{error.type}: {error.message}"
        elif error and error.type == _TOO_LITTLE and self.budget.left + self.budget.reserved <= amount:
            self.stopped = self.stopped or self._used_up()

    def _used_up(self) -> str:
        return f"the budget of {self.budget.total} US dollars is used up"

    async def _tell_now_and_then(self, runs: Sequence[Run]) -> None:
        while True:
            await asyncio.sleep(TOLD_SECONDS)
            ended = sum(run.ended for run in runs)
            self.tell(f"jobchain: {ended} of {len(runs)} jobs replayed, ${self.budget.spent:.6f} spent")
