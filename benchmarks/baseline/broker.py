"""What the HTTP side and the worker share: the broker, and the task's name.

A task is sent by its name, so that the web processes load neither the chain nor the model's library.
"""

import os

from celery import Celery

RUN_JOB = "run_job"

app = Celery("baseline", broker=os.environ["REDIS_URL"])
# The row tells how a job stands; a second copy in Redis would cost each job more.
app.conf.task_ignore_result = True
