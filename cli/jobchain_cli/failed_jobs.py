"""Retries the failed jobs of all tenants, as an operator."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from jobchain.approvals import REJECTED
from jobchain.aws.api_keys import ApiKeyStore
from jobchain.aws.due import DueStore
from jobchain.aws.jobs import JobStore
from jobchain.aws.meta import listed_job_of
from jobchain.aws.queue import JobQueue, batches
from jobchain.aws.table import Table
from jobchain.domain import Clock, Job, Status, Tier, isoformat, tier_at
from jobchain.errors import JobchainError, JobIsFinal, JobIsNotFinal, JobNotFound, Unavailable
from jobchain_cli.errors import Code, CommandError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_sqs import SQSClient

ALL_ALIKE = "local"
"""The tenant of every caller of a stack without keys."""

LONGEST_RUN = timedelta(days=8)
"""The longest that a job which was never retried takes: the longest deadline, and a day to spare."""

THREADS = 8
_PAGE = 250
_TYPE = re.compile(r"[a-z][a-z_]*\*?|\*")


def checked_type(text: str) -> str:
    """A type of error, or the start of one and `*`. Raises CommandError."""
    if not _TYPE.fullmatch(text):
        raise CommandError(
            f"--type {text!r}: use the type of an error, or its start and *, such as --type 'model_*'", Code.USAGE
        )
    return text


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which failed jobs: those that failed from `since` on and were created from `created_since` on.

    `types` may end with `*`; without any, all types are wanted but that of a rejection, which is a
    person's decision. Without a tenant, all tenants are.
    """

    since: datetime
    created_since: datetime
    types: tuple[str, ...] = ()
    tenant: str | None = None

    def has(self, job: Job) -> bool:
        """Whether a failed job is one of them, by its error's type."""
        found = job.error.type if job.error else ""
        if not self.types:
            return found != REJECTED
        return any(found.startswith(wanted[:-1]) if wanted.endswith("*") else found == wanted for wanted in self.types)


@dataclass(frozen=True, slots=True)
class Found:
    """Failed jobs that are wanted, and how many failed at that time with other types of errors."""

    jobs: list[Job]
    others: Counter[str]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a job: `refused` says why it was not retried, None if it was."""

    job: Job
    refused: JobchainError | None = None

    @property
    def has_moved(self) -> bool:
        """Whether another caller retried or deleted it in between."""
        return isinstance(self.refused, JobIsNotFinal | JobIsFinal | JobNotFound)


class FailedJobs:
    """Finds and retries the failed jobs of a stack. Every method raises Unavailable where a service does not answer."""

    def __init__(
        self,
        dynamodb: "DynamoDBClient",
        sqs: "SQSClient",
        table: str,
        queue_url: str,
        flex_queue_url: str,
        clock: Clock,
        threads: int = THREADS,
    ) -> None:
        self._table = Table(dynamodb, table)
        self._keys = ApiKeyStore(dynamodb, table, clock)
        self._jobs = JobStore(dynamodb, table, clock)
        self._due = DueStore(dynamodb, table, clock)
        self._queue = JobQueue(sqs, queue_url, flex_queue_url or None)
        self._clock = clock
        self._threads = threads

    def find(self, wanted: Wanted) -> Found:
        """The wanted jobs of each tenant, the oldest first.

        No index has the failed jobs of all tenants. So each tenant's part of `recent` is read, from `created_since` on,
        and a filter in DynamoDB leaves the failed ones. Tenants are those that ever had a key, and `ALL_ALIKE`.
        """
        found = Found([], Counter())
        for tenant in self._tenants(wanted):
            for job in self._failed(tenant, wanted):
                if wanted.has(job):
                    found.jobs.append(job)
                else:
                    found.others[job.error.type if job.error else ""] += 1
        return found

    def _tenants(self, wanted: Wanted) -> Iterable[str]:
        if wanted.tenant is not None:
            return [wanted.tenant]
        return sorted({ALL_ALIKE, *(api_key.tenant for api_key in self._keys.list())})

    def _failed(self, tenant: str, wanted: Wanted) -> Iterator[Job]:
        values = {":tenant": tenant, ":created": isoformat(wanted.created_since)}
        filtered = {":failed": Status.FAILED, ":since": isoformat(wanted.since)}
        pages = self._table.index_pages(
            "recent",
            "tenant = :tenant AND created_at_id >= :created",
            {**values, **filtered},
            _PAGE * 4,
            FilterExpression="final_status = :failed AND finished_at >= :since",
        )
        for page, _ in pages:
            yield from (job for job in map(listed_job_of, page) if job)

    def retry(self, jobs: Sequence[Job]) -> Iterator[list[Outcome]]:
        """Retries jobs as their callers would, but for their keys' limits on jobs, and gives the outcomes, in parts.

        A job keeps its daily budget. One that was changed in between is not retried. A job whose message is not sent is
        left to the sweeper.
        """
        with ThreadPoolExecutor(self._threads) as pool:
            for start in range(0, len(jobs), _PAGE):
                outcomes = list(pool.map(self._retry_one, jobs[start : start + _PAGE]))
                self._send([outcome.job for outcome in outcomes if not outcome.refused])
                yield outcomes

    def _retry_one(self, job: Job) -> Outcome:
        try:
            return Outcome(self._jobs.retry(job.tenant, job.event_id, limits=None))
        except JobchainError as error:
            return Outcome(job, error)

    def _send(self, jobs: Sequence[Job]) -> None:
        now = self._clock()
        for tier in Tier:
            for batch in batches([job for job in jobs if tier_at(job.flex_until, now) is tier]):
                for event_id in self._unsent(batch, tier):
                    self._due.mark_due(event_id, now)

    def _unsent(self, jobs: Sequence[Job], tier: Tier) -> list[str]:
        try:
            return self._queue.send_batch([(job.event_id, job.tenant) for job in jobs], tier)
        except Unavailable:
            # They are pending already: the sweeper sends the messages.
            return [job.event_id for job in jobs]
