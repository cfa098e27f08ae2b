"""Jobs in Postgres: a row each with its claim, lease and checkpoints, and the outbox of what must be sent."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from psycopg.rows import dict_row
from psycopg.types.json import Jsonb
from psycopg_pool import ConnectionPool

from benchmarks.baseline.hardened.terms import CHECK_SECONDS, LEASE_SECONDS

SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    id uuid PRIMARY KEY,
    idempotency_key text UNIQUE,
    status text NOT NULL DEFAULT 'pending',
    input_text text NOT NULL,
    steps jsonb NOT NULL DEFAULT '{}',
    usage jsonb NOT NULL DEFAULT '{}',
    error text,
    claim integer NOT NULL DEFAULT 0,
    tries integer NOT NULL DEFAULT 0,
    locked_until timestamptz NOT NULL DEFAULT '-infinity',
    due_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    started_at timestamptz,
    finished_at timestamptz
);
CREATE INDEX IF NOT EXISTS jobs_by_time ON jobs (created_at);
CREATE INDEX IF NOT EXISTS jobs_due ON jobs (due_at) WHERE finished_at IS NULL;
CREATE TABLE IF NOT EXISTS outbox (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, job_id uuid NOT NULL);
"""

# One statement is one transaction: the job and its message, or neither.
_CREATE = """
WITH job AS (
    INSERT INTO jobs (id, idempotency_key, input_text, due_at)
    VALUES (%(id)s, %(key)s, %(text)s, clock_timestamp() + make_interval(secs => %(check)s))
    ON CONFLICT (idempotency_key) DO NOTHING RETURNING id, status, created_at
), message AS (INSERT INTO outbox (job_id) SELECT id FROM job)
SELECT id, status, created_at FROM job
"""

_CLAIM = """
UPDATE jobs SET status = 'processing', claim = claim + 1, tries = tries + 1,
    started_at = coalesce(started_at, clock_timestamp()),
    locked_until = clock_timestamp() + make_interval(secs => %(lease)s),
    due_at = clock_timestamp() + make_interval(secs => %(lease)s)
WHERE id = %(id)s AND finished_at IS NULL AND locked_until < clock_timestamp()
RETURNING id, claim, tries, input_text, steps
"""

_EXTEND = """
UPDATE jobs SET locked_until = clock_timestamp() + make_interval(secs => %(lease)s),
    due_at = clock_timestamp() + make_interval(secs => %(lease)s)
FROM unnest(%(ids)s::uuid[], %(claims)s::integer[]) AS held (id, claim)
WHERE jobs.id = held.id AND jobs.claim = held.claim AND status = 'processing'
"""

_SAVE = """
UPDATE jobs SET steps = steps || %(output)s, usage = usage || %(usage)s, tries = 0,
    status = CASE WHEN %(last)s THEN 'completed' ELSE status END,
    finished_at = CASE WHEN %(last)s THEN clock_timestamp() END
WHERE id = %(id)s AND claim = %(claim)s AND status = 'processing'
"""

_RELEASE = """
UPDATE jobs SET status = 'pending', locked_until = clock_timestamp() + make_interval(secs => %(after)s),
    due_at = clock_timestamp() + make_interval(secs => %(after)s)
WHERE id = %(id)s AND claim = %(claim)s AND status = 'processing'
"""

_FAIL = """
UPDATE jobs SET status = 'failed', error = %(error)s, finished_at = clock_timestamp()
WHERE id = %(id)s AND claim = %(claim)s AND status = 'processing'
"""

TAKE = """
DELETE FROM outbox WHERE id IN (SELECT id FROM outbox ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED) RETURNING job_id
"""

SEND_DUE = """
WITH due AS (
    UPDATE jobs SET due_at = clock_timestamp() + make_interval(secs => %(check)s)
    WHERE id IN (
        SELECT id FROM jobs WHERE finished_at IS NULL AND due_at < clock_timestamp()
        ORDER BY due_at LIMIT %(most)s FOR UPDATE SKIP LOCKED
    ) RETURNING id
)
INSERT INTO outbox (job_id) SELECT id FROM due
"""

_NEWEST = """
SELECT id, status, created_at, started_at, finished_at FROM jobs
WHERE created_at < coalesce(%s::timestamptz, 'infinity') ORDER BY created_at DESC LIMIT %s
"""


class KeyUsedError(Exception):
    """An idempotency key came with another text before."""


class LostLeaseError(Exception):
    """Another worker has the job, or it has ended: this one must not go on."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A job that this worker may run, until it loses its lease."""

    job_id: UUID
    number: int
    tries: int
    """How often the job was claimed since its last completed step, this claim included."""
    text: str
    outputs: Mapping[str, Any]
    """Of the steps that are completed."""


class Store:
    """Reads and writes jobs; each call is one statement, and one round trip."""

    def __init__(self, most: int) -> None:
        """`most` connections at a time, kept open, to the database that DATABASE_URL names."""
        self._pool = ConnectionPool(
            os.environ["DATABASE_URL"], min_size=1, max_size=most, open=True, kwargs={"autocommit": True}
        )

    def create_tables(self) -> None:
        with self._pool.connection() as connection:
            connection.execute(SCHEMA)

    def create(self, text: str, key: str | None) -> tuple[UUID, str, datetime, bool]:
        """The job's id, its status, when it was made, and whether that was now. Raises KeyUsedError."""
        with self._pool.connection() as connection:
            new = {"id": uuid4(), "key": key, "text": text, "check": CHECK_SECONDS}
            row = connection.execute(_CREATE, new).fetchone()
            if row is not None:
                return row[0], row[1], row[2], True
            old = connection.execute(
                "SELECT id, status, created_at, input_text FROM jobs WHERE idempotency_key = %s", (key,)
            ).fetchone()
        assert old is not None
        if old[3] != text:
            raise KeyUsedError
        return old[0], old[1], old[2], False

    def get(self, job_id: UUID) -> dict[str, Any] | None:
        """The job's columns, None where there is no such job."""
        with self._pool.connection() as connection:
            cursor = connection.cursor(row_factory=dict_row)
            row: dict[str, Any] | None = cursor.execute("SELECT * FROM jobs WHERE id = %s", (job_id,)).fetchone()
            return row

    def newest(self, limit: int, before: datetime | None) -> list[dict[str, Any]]:
        """The newest jobs, or those that were made before a time; without their texts."""
        with self._pool.connection() as connection:
            cursor = connection.cursor(row_factory=dict_row)
            rows: list[dict[str, Any]] = cursor.execute(_NEWEST, (before, limit)).fetchall()
            return rows

    def claim(self, job_id: UUID) -> Claim | None:
        """The job with a new lease; None where it has ended, or another worker has it, or it must wait."""
        with self._pool.connection() as connection:
            row = connection.execute(_CLAIM, {"id": job_id, "lease": LEASE_SECONDS}).fetchone()
        return Claim(*row) if row else None

    def extend(self, claims: Sequence[Claim]) -> None:
        """New leases for those of the claims that still hold."""
        held = {"ids": [one.job_id for one in claims], "claims": [one.number for one in claims]}
        with self._pool.connection() as connection:
            connection.execute(_EXTEND, {**held, "lease": LEASE_SECONDS})

    def save_step(self, claim: Claim, step: str, output: object, usage: object, *, last: bool) -> None:
        """Keeps a completed step; with the last one the job is completed. Raises LostLeaseError."""
        self._write(claim, _SAVE, output=Jsonb({step: output}), usage=Jsonb({step: usage}), last=last)

    def release(self, claim: Claim, after: float) -> None:
        """Gives the job back, to be taken again after some seconds. Raises LostLeaseError."""
        self._write(claim, _RELEASE, after=after)

    def fail(self, claim: Claim, error: str) -> None:
        """Ends the job. Raises LostLeaseError."""
        self._write(claim, _FAIL, error=error)

    def _write(self, claim: Claim, statement: str, **values: object) -> None:
        with self._pool.connection() as connection:
            done = connection.execute(statement, {"id": claim.job_id, "claim": claim.number, **values})
        if done.rowcount != 1:
            raise LostLeaseError
