"""Requests to the table that must succeed, as calls of the model are paid for: repeated until the lease ends."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import ParamSpec, TypeVar

from jobchain.aws.outage_log import log_unavailable
from jobchain.domain import Clock
from jobchain.errors import Unavailable
from jobchain.observability import Logger

P = ParamSpec("P")
R = TypeVar("R")

_PAUSE = timedelta(seconds=1)


class Persistence:
    """Makes the writes of one claim, whose lease ends at `deadline`, and the reads between them."""

    def __init__(self, deadline: datetime, clock: Clock, logger: Logger) -> None:
        self.deadline = deadline
        self._clock = clock
        self._logger = logger

    async def write(self, write: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """What `write` returns, called in a thread, again while the table does not answer.

        Raises Unavailable at the deadline, and what `write` raises.

        A write that is repeated recognizes its own result, where only the answer was lost.
        """
        while True:
            try:
                return await asyncio.to_thread(write, *args, **kwargs)
            except Unavailable as error:
                if self._clock() + _PAUSE > self.deadline:
                    raise
                log_unavailable(self._logger, "the table does not answer, trying again", error, write=write.__name__)
                await asyncio.sleep(_PAUSE.total_seconds())
