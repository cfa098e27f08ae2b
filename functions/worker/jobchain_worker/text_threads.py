"""Threads for work on whole texts, which can take seconds: the event loop and the batch's other jobs continue."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

TEXT_THREADS = 10
"""One thread for each job of the largest batch."""

A = ParamSpec("A")
R = TypeVar("R")


class JobThread:
    """One job's work on its texts: one piece of work at a time, so that no job delays the texts of another."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self._pool = pool
        self._free = asyncio.Lock()

    async def run(self, work: Callable[A, R], *args: A.args, **kwargs: A.kwargs) -> R:
        """The result of `work`, done in a thread.

        Everything that calls a chain's own functions, splits a text, or reads an answer runs here.
        """
        async with self._free:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._pool, _without_stop_iteration(partial(work, *args, **kwargs)))


class TextThreads:
    """A pool of its own: a long text never delays calls to the table and the queue."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(TEXT_THREADS, thread_name_prefix="text")

    def for_job(self) -> JobThread:
        """The thread of one job."""
        return JobThread(self._pool)


def _without_stop_iteration(work: Callable[[], R]) -> Callable[[], R]:
    """The same work, but a StopIteration becomes a RuntimeError: no future takes the first, so the job would hang."""

    def run() -> R:
        try:
            return work()
        except StopIteration as stop:
            raise RuntimeError("a chain's function raised StopIteration") from stop

    return run
