"""A model that leaves a caller time to cancel a job, and fails some jobs, so that there are some to run again."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

from tests.fake_model.replies import refused
from tests.fake_model.server import ModelServer

SECONDS = 0.3
"""How long an answer takes."""

REFUSES = 10
"""One in this many answers is a refusal, which ends a job."""


@contextmanager
def running() -> Iterator[str]:
    """Answers in a thread of this process for as long as the context lasts; gives the base URL, `…/v1`."""
    calls = count(1)
    with ModelServer(SECONDS, offline=True) as model:
        model.rule = lambda _: None if next(calls) % REFUSES else refused(400)
        yield model.base_url
