"""What the relay and the workers share: the broker with its settings, and the task's name.

https://docs.celeryq.dev/en/stable/getting-started/backends-and-brokers/redis.html
https://docs.celeryq.dev/en/stable/userguide/configuration.html
"""

import os

from celery import Celery

from benchmarks.baseline.hardened.terms import VISIBILITY_SECONDS

RUN_JOB = "run_job"

app = Celery("hardened", broker=os.environ["REDIS_URL"])
app.conf.update(
    # The row tells how a job stands; a second copy in Redis would cost each job more.
    task_ignore_result=True,
    task_acks_late=True,
    # Of a prefork pool: the parent gives back the message of a child that was killed. Other pools have no parent.
    task_reject_on_worker_lost=True,
    # A worker takes no more messages than it can run: those that wait in it would wait for its visibility timeout.
    worker_prefetch_multiplier=1,
    broker_transport_options={
        "visibility_timeout": VISIBILITY_SECONDS,
        # Look for such messages each 10 seconds, and not each 100.
        "unacked_restore_throttle": 1,
    },
    broker_connection_retry_on_startup=True,
    worker_enable_remote_control=False,
)
