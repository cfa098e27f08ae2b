"""Jobs in Postgres: one row each."""

import os
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from psycopg.rows import dict_row
from psycopg.types.json import Jsonb
from psycopg_pool import ConnectionPool

SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    id uuid PRIMARY KEY,
    status text NOT NULL DEFAULT 'pending',
    input_text text NOT NULL,
    steps jsonb NOT NULL DEFAULT '{}',
    error text,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    started_at timestamptz,
    finished_at timestamptz
);
CREATE INDEX IF NOT EXISTS jobs_by_time ON jobs (created_at);
"""

_NEWEST = """
SELECT id, status, created_at, started_at, finished_at FROM jobs
WHERE created_at < coalesce(%s::timestamptz, 'infinity') ORDER BY created_at DESC LIMIT %s
"""


class Store:
    """Reads and writes jobs; each call is a transaction of its own."""

    def __init__(self, most: int) -> None:
        """`most` connections at a time, kept open, to the database that DATABASE_URL names."""
        self._pool = ConnectionPool(os.environ["DATABASE_URL"], min_size=1, max_size=most, open=True)

    def create_tables(self) -> None:
        with self._pool.connection() as connection:
            connection.execute(SCHEMA)

    def create(self, text: str) -> tuple[UUID, datetime]:
        """A new job's id, and when it was made."""
        with self._pool.connection() as connection:
            row = connection.execute(
                "INSERT INTO jobs (id, input_text) VALUES (%s, %s) RETURNING id, created_at", (uuid4(), text)
            ).fetchone()
        assert row is not None
        return row[0], row[1]

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

    def start(self, job_id: UUID) -> str:
        """Marks the job as taken, and gives its text."""
        with self._pool.connection() as connection:
            row = connection.execute(
                "UPDATE jobs SET status = 'processing', started_at = clock_timestamp() WHERE id = %s"
                " RETURNING input_text",
                (job_id,),
            ).fetchone()
        assert row is not None
        return str(row[0])

    def save_step(self, job_id: UUID, step: str, output: object) -> None:
        with self._pool.connection() as connection:
            connection.execute("UPDATE jobs SET steps = steps || %s WHERE id = %s", (Jsonb({step: output}), job_id))

    def end(self, job_id: UUID, status: str, error: str | None = None) -> None:
        with self._pool.connection() as connection:
            connection.execute(
                "UPDATE jobs SET status = %s, error = %s, finished_at = clock_timestamp() WHERE id = %s",
                (status, error, job_id),
            )
