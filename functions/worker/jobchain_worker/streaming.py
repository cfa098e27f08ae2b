"""Reads the body of an answer, whether it is streamed or comes in one piece."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import timedelta

import httpx2

from jobchain_worker.assembling import Assembler, loads
from jobchain_worker.bounded_body import is_stream
from jobchain_worker.call_trace import CallTrace
from jobchain_worker.event_stream import Event, EventParser, looks_like_events

# How long the rest of a body is waited for once the answer is complete. A connection whose body was read is used again.
_DRAIN = timedelta(seconds=0.25)


class BrokenOff(Exception):
    """The stream has ended before the answer was complete."""


async def read_body(response: httpx2.Response, assemble: Callable[[], Assembler], trace: CallTrace) -> object:
    """The response, as it would have come in one piece. Closes it in the end.

    Raises BrokenOff, ValueError, RecursionError, and errors of the HTTP client.
    """
    try:
        if is_stream(response):
            return await _read_stream(response, assemble(), trace)
        content = await response.aread()
        if looks_like_events(content):
            return _read_events(content, assemble(), trace)
        return loads(content)
    finally:
        await response.aclose()


async def _read_stream(response: httpx2.Response, answer: Assembler, trace: CallTrace) -> object:
    trace.answer = answer
    parser = EventParser()
    async with _ending(answer) as ending:
        async for part in response.aiter_bytes():
            if ending.when() is None and _take(parser.feed(part), answer):
                ending.reschedule(asyncio.get_running_loop().time() + _DRAIN.total_seconds())
            trace.hear(token=answer.tokens > 0)
    return _whole(answer, parser)


def _take(events: Iterable[Event], answer: Assembler) -> bool:
    """Takes the events up to the last one of the answer. Whether it is complete."""
    for event in events:
        answer.take(event)
        if answer.complete:
            return True
    return False


@asynccontextmanager
async def _ending(answer: Assembler) -> AsyncIterator[asyncio.Timeout]:
    """Where the answer is complete, neither its end nor a connection that breaks is waited for, or an error."""
    try:
        async with asyncio.timeout(None) as ending:
            yield ending
    except TimeoutError:
        pass
    except httpx2.HTTPError:
        if answer.response() is None:
            raise


def _read_events(content: bytes, answer: Assembler, trace: CallTrace) -> object:
    """The response in a body of events whose server declares another type."""
    trace.answer = answer
    parser = EventParser()
    _take(parser.feed(content), answer)
    return _whole(answer, parser)


def _whole(answer: Assembler, parser: EventParser) -> object:
    if not answer.complete:
        _take(parser.finish(), answer)
    if (response := answer.response()) is None:
        raise BrokenOff
    return response
