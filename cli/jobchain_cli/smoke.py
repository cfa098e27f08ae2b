"""Runs one small job through a deployed stack, and says in words what does not work.

Each step raises CommandError: what is wrong, which value, and what to do.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import NoReturn

from jobchain.aws.api_keys import ApiKeyStore
from jobchain.connection import shown
from jobchain.domain import utc_now
from jobchain.errors import JobchainError as StoreError
from jobchain_cli import job_logs, pausing
from jobchain_cli.errors import Code, CommandError
from jobchain_cli.slow import told_when_slow
from jobchain_cli.stack import Description, Stack
from jobchain_cli.target import trusts_network
from jobchain_cli.words import in_one_line, price, waiting
from jobchain_client import (
    BadAnswer,
    Job,
    Jobchain,
    JobchainError,
    LimitReached,
    NotFound,
    Stats,
    Unauthorized,
    Unavailable,
    Unreachable,
    WaitTimeout,
)

TENANT = "smoke-test"
"""Whose job it is, if the key is made for it."""

TEXT = "Doors must be locked at night. Badges must be worn."
LIMIT_SECONDS = 180.0
"""How long the job may take by default."""

_KEY_VALID = timedelta(hours=2)
_RETRY_SECONDS = 10.0
_CANCEL_SECONDS = 15.0
# A job whose next try is after its deadline fails at once, and would not tell what it waits for.
_DEADLINE_LATER = 900  # seconds
_NEVER_WORKED = ("CREATE_FAILED", "ROLLBACK_COMPLETE", "ROLLBACK_FAILED")
_WORKS = ("CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE", "IMPORT_COMPLETE")
_UNDER_WAY = "_IN_PROGRESS"


@dataclass(frozen=True, slots=True)
class Options:
    """How to test. Without an `api_key` one is made. `url` takes the place of the stack's own."""

    api_key: str | None = field(default=None, repr=False)
    url: str | None = None
    limit_seconds: float = LIMIT_SECONDS


class Smoke:
    """The test of one stack. `say` is told each step that worked."""

    def __init__(self, stack: Stack, options: Options, say: Callable[[str], None]) -> None:
        self._stack = stack
        self._options = options
        self._say = say

    def run(self) -> None:
        """All steps; what they made is removed, also if one fails. Raises CommandError, ClientError, BotoCoreError."""
        described = self._check_stack()
        url = self._options.url or self._stack.api_url(described)
        self._check_workers()
        with ExitStack() as cleanup:
            key = self._key(described, cleanup)
            with told_when_slow(f"the stack {self._stack.name}"):
                trusted = trusts_network(os.environ)
                client = cleanup.enter_context(Jobchain(url, key, retry_seconds=_RETRY_SECONDS, insecure_http=trusted))
                with self._telling("GET /health", url):
                    client.health()
            self._say(f"The API answers: {shown(url, quoted=False)}")
            with self._telling("GET /stats", url):
                before = client.stats()
            with self._telling("POST /jobs", url):
                handle = client.submit(TEXT, deadline_seconds=int(self._options.limit_seconds) + _DEADLINE_LATER)
            cleanup.callback(_clear, client, handle.event_id, self._say)
            self._say(f"Job {handle.event_id} was accepted.")
            with self._telling("GET /jobs/{event_id}", url):
                job = self._completed(client, handle.event_id)
                self._check_usage(job, before, client.stats())
            with self._telling("DELETE /jobs/{event_id}", url):
                self._delete(client, handle.event_id)

    # --- the stack -----------------------------------------------------------------------------------

    def _check_stack(self) -> Description:
        described = self._stack.describe()
        status = described.status
        if status.endswith(_UNDER_WAY):
            raise CommandError(f"the stack {self._stack.name} is {status}: wait until its deployment has ended")
        if status not in _WORKS:
            # CloudFormation updates no stack whose first deployment failed.
            first = f"run `sam delete --stack-name {self._stack.name}`, and " if status in _NEVER_WORKED else ""
            raise CommandError(
                f"the stack {self._stack.name} is {status}: the last deployment failed. Its events say why: "
                f"`aws cloudformation describe-stack-events --stack-name {self._stack.name}`. Then {first}deploy again"
            )
        self._say(f"The stack {self._stack.name} is {status}.")
        return described

    def _check_workers(self) -> None:
        if off := pausing.paused(pausing.sources(self._stack)):
            raise CommandError(
                f"no worker: {' and '.join(off)} take{'s' if len(off) == 1 else ''} no messages. "
                f"Run `jobchain resume{self._named()}`"
            )
        self._say("The workers take messages from their queues.")

    def _named(self) -> str:
        """The option that names the stack, as the user has to type it."""
        return "" if self._stack.endpoint_url else f" --stack {self._stack.name}"

    def _key(self, described: Description, cleanup: ExitStack) -> str | None:
        if self._options.api_key or described.parameters.get("AuthMode") == "none":
            return self._options.api_key
        store = ApiKeyStore(self._stack.client("dynamodb"), self._stack.table, utc_now)
        try:
            key, made = store.create(TENANT, "jobchain smoke", valid_for=_KEY_VALID)
        except StoreError as error:
            said = error.__cause__ or error
            raise CommandError(
                f"no API key could be made in the table {self._stack.table} ({in_one_line(said)}): "
                "use credentials that may write to it, or give a key with --api-key"
            ) from error
        cleanup.callback(store.remove, made.key_id)
        self._say(f"A key of the tenant {TENANT} was made for this test; it is removed afterwards.")
        return key

    # --- the job -------------------------------------------------------------------------------------

    def _completed(self, client: Jobchain, event_id: str) -> Job:
        started, told = time.monotonic(), ""
        job = client.get(event_id)
        try:
            for job in client.watch(event_id, self._options.limit_seconds):
                if job.waiting_for and job.waiting_for.reason == "account":
                    self._account_refused(job)
                if job.waiting_for and job.waiting_for.reason != "queue" and told != job.waiting_for.detail:
                    told = job.waiting_for.detail
                    self._say(f"Meanwhile: {waiting(job.waiting_for)}")
        except WaitTimeout as error:
            self._not_ended(error.job)
        if job.status == "failed" and job.error:
            raise CommandError(
                f"the job failed: {job.error.type}: {job.error.message}. docs/reference/http-api.md says what to do, "
                f"and `jobchain logs {event_id}{self._named()}` what happened",
                Code.FAILED,
            )
        if job.status != "completed":
            raise CommandError(f"the job was {job.status} by another caller: run this again", Code.CANCELLED)
        outputs = ", ".join(name for name, value in job.result.items() if value)
        if not outputs:
            raise CommandError(
                f"the job completed without a result: `jobchain logs {event_id}{self._named()}`", Code.FAILED
            )
        self._say(f"It completed in {time.monotonic() - started:.1f} s: {in_one_line(outputs)}.")
        return job

    def _account_refused(self, job: Job) -> NoReturn:
        detail = job.waiting_for.detail if job.waiting_for else ""
        raise CommandError(
            f"the model's server refuses the account: {detail}. Correct that, and jobs continue by themselves "
            "(docs/how-to/runbook.md#breaker)",
            Code.FAILED,
        )

    def _not_ended(self, job: Job) -> NoReturn:
        after = f"after {self._options.limit_seconds:g} s"
        if job.status == "pending" and (not job.waiting_for or job.waiting_for.reason == "queue"):
            raise CommandError(f"no worker: none has claimed the job {after}. {self._worker_errors()}", Code.TIMEOUT)
        if job.waiting_for:
            raise CommandError(f"the job still waits {after}: {waiting(job.waiting_for)}", Code.TIMEOUT)
        done = sum(step.status == "completed" for step in job.steps)
        raise CommandError(
            f"the job is still {job.status} {after}, with {done} of {len(job.steps)} steps completed: "
            "the model is slow. Give a longer --timeout",
            Code.TIMEOUT,
        )

    def _worker_errors(self) -> str:
        """What the worker's log says, or where to look if it says nothing."""
        since = datetime.now(UTC) - timedelta(seconds=self._options.limit_seconds + 60)
        if found := job_logs.errors(self._stack, since, "WorkerFunction"):
            return f"Its log says: {job_logs.readable(found[-1])}"
        return (
            "Its log has no error: the account's limit of concurrent functions is reached, or other jobs are before "
            "this one (docs/how-to/runbook.md#oldest-job)"
        )

    def _check_usage(self, job: Job, before: Stats, after: Stats) -> None:
        """Raises CommandError where the usage records do not have the job."""
        if not job.calls or not job.usage.input_tokens:
            raise CommandError(
                f"the job has no usage ({job.calls or 0} calls): the model's server told none, and no estimate was "
                f"recorded. `jobchain logs {job.event_id}{self._named()}` shows the calls"
            )
        # At midnight (UTC) the records of the day begin again.
        same_day = after.date == before.date
        added = after.usage.input_tokens - (before.usage.input_tokens if same_day else 0)
        if same_day and added < job.usage.input_tokens:
            raise CommandError(
                f"the usage records are incomplete: those of {after.date} grew by {added} input tokens, and the job "
                f"used {job.usage.input_tokens}. `jobchain logs {job.event_id}{self._named()}` shows the calls"
            )
        tokens = f"{job.usage.input_tokens} tokens in, {job.usage.output_tokens} out"
        self._say(f"Its usage is recorded: {job.calls} calls, {tokens}, {price(job.cost_usd)}.")

    def _delete(self, client: Jobchain, event_id: str) -> None:
        client.delete(event_id)
        with suppress(NotFound):
            client.get(event_id)
            raise CommandError(f"the job {event_id} can still be read after it was deleted: report this")
        self._say("It was deleted.")

    # --- what went wrong -----------------------------------------------------------------------------

    @contextmanager
    def _telling(self, request: str, url: str) -> Iterator[None]:
        """Turns an error of the API at `url` into a CommandError that says what to do."""
        try:
            yield
        except JobchainError as error:
            raise CommandError(
                f"{request}: {in_one_line(error)}: {self._advice(error, shown(url, quoted=False))}"
            ) from error

    def _advice(self, error: JobchainError, url: str) -> str:
        match error:
            case Unreachable():
                return f"{url} is not reachable from here: check the network, and a proxy (HTTPS_PROXY)"
            case Unauthorized(status=403):
                return (
                    "this machine's address is not among the stack's AllowedAddresses, or the host is not the API's: "
                    "correct that parameter, or give the API's own URL with --url"
                )
            case Unauthorized() if self._options.api_key:
                return "the API refuses the key: give another one with --api-key, or none, so that one is made"
            case Unauthorized():
                table = self._stack.table
                return f"a key that was just made in {table} is refused: the API uses another table. Deploy again"
            case LimitReached():
                return "the API takes no more requests for now: try again later, or with another key"
            case BadAnswer() | NotFound():
                return f"the answer is not one of this API: is {url} the URL of the stack?"
            case Unavailable(status=502 | 504):
                return f"the api function did not answer: `jobchain logs --errors --since 15m{self._named()}` shows why"
            case Unavailable():
                return f"the API could not work. {self._see_log(error)}"
            case _:
                return f"that is an error of the API. {self._see_log(error)}"

    def _see_log(self, error: JobchainError) -> str:
        if error.request_id is None:
            return "The log of the api function says why"
        return f"`jobchain logs {in_one_line(error.request_id)}{self._named()}` shows why"


def _clear(client: Jobchain, event_id: str, say: Callable[[str], None]) -> None:
    """Removes the job as far as it can be removed now."""
    try:
        if not client.get(event_id).final and not client.cancel(event_id).final:
            # A worker has it, and cancels it before its next step.
            client.wait(event_id, _CANCEL_SECONDS)
        client.delete(event_id)
    except NotFound:
        return
    except JobchainError as error:
        say(f"The job {event_id} is left: {in_one_line(error)}")
