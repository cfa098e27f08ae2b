"""Sends what the outbox has to the broker, and puts due jobs into it: `python -m benchmarks.baseline.hardened.relay`.

A message is sent before the deletion of its row is committed: it may be sent twice, and is not lost. Several relays may
run.
"""

import os
import time

import psycopg

from benchmarks.baseline.hardened.broker import RUN_JOB, app
from benchmarks.baseline.hardened.store import SEND_DUE, TAKE
from benchmarks.baseline.hardened.terms import CHECK_SECONDS

BATCH = 100
DUE_EVERY_SECONDS = 5.0
EMPTY_SECONDS = 0.05


def run() -> None:
    """Until the process is ended."""
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as connection:
        look_again = 0.0
        while True:
            if time.monotonic() >= look_again:
                connection.execute(SEND_DUE, {"most": BATCH, "check": CHECK_SECONDS})
                look_again = time.monotonic() + DUE_EVERY_SECONDS
            if relay(connection) < BATCH:
                # Not LISTEN: with NOTIFY in each of them, Postgres commits the POSTs one after the other.
                time.sleep(EMPTY_SECONDS)


def relay(connection: psycopg.Connection) -> int:
    """Sends a batch of the outbox; returns how many messages."""
    with connection.transaction():
        rows = connection.execute(TAKE, (BATCH,)).fetchall()
        for (job_id,) in rows:
            app.send_task(RUN_JOB, [str(job_id)])
    return len(rows)


if __name__ == "__main__":
    run()
