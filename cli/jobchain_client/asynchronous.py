"""The client for asyncio: the same methods as the other one's, with the same logic, that of `flows`."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

import httpx2

from jobchain_client.errors import JobchainError, completed
from jobchain_client.events import Event
from jobchain_client.flows import (
    Answer,
    Ask,
    Emit,
    Flow,
    Flows,
    Outcome,
    Pause,
    Stream,
    check_way,
    checked_key,
    checked_url,
    decision_body,
    last,
)
from jobchain_client.resources import Chains, Created, DailyUsage, Job, ListFilter, Stats, Submission, new_key
from jobchain_client.transport import LIMITS, headers, no_answer, pool_timeout, trusts_environment
from jobchain_client.webhook_flows import WebhookFlows
from jobchain_client.webhook_methods import AsyncWebhooks

T = TypeVar("T")


class AsyncJobchain:
    """`Jobchain` for asyncio: the same methods with the same promises, to be awaited, or iterated with `async for`.

    Any number of tasks may share one; they take turns at 10 connections.
    """

    def __init__(
        self,
        url: str,
        api_key: str | None = None,
        *,
        timeout: float = 30.0,
        retry_seconds: float = 30.0,
        insecure_http: bool = False,
        transport: httpx2.AsyncBaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """As `Jobchain`."""
        self._flows = Flows(checked_key(api_key), timeout, retry_seconds, clock)
        self._url = checked_url(url)
        check_way(self._url, api_key, insecure_http=insecure_http)
        trust_env = transport is None and trusts_environment(self._url)
        self._http = httpx2.AsyncClient(
            follow_redirects=False, transport=transport, trust_env=trust_env, limits=LIMITS, headers=headers()
        )
        self._sleep = sleep
        flows = WebhookFlows(checked_key(api_key), timeout, retry_seconds, clock)
        self.webhooks = AsyncWebhooks(flows, self._run, self._stream)

    async def submit(
        self,
        content: str | Mapping[str, Any],
        chain: str | None = None,
        metadata: Mapping[str, str] | None = None,
        idempotency_key: str | None = None,
        **options: Any,
    ) -> "AsyncJobHandle":
        key = new_key() if idempotency_key is None else idempotency_key
        return self._handle(await self._run(self._flows.submit(Submission(content, chain, metadata, key, options))))

    async def submit_many(self, submissions: Iterable[Submission | str]) -> "Sequence[AsyncJobHandle | JobchainError]":
        outcomes = await self._run(self._flows.submit_many(submissions))
        return [self._handle(outcome) if isinstance(outcome, Created) else outcome for outcome in outcomes]

    def job(self, event_id: str) -> "AsyncJobHandle":
        return AsyncJobHandle(event_id, self)

    async def get(
        self,
        event_id: str,
        known: Job | None = None,
        *,
        attempts: bool = False,
        include: Iterable[str] = (),
        step: str | None = None,
    ) -> Job:
        wanted = {*include, *(["attempts"] if attempts else [])}
        return await self._run(self._flows.get(event_id, known, include=sorted(wanted), step=step))

    def watch(
        self, event_id: str, timeout: float | None = None, *, poll: float | None = None, look_at: float | None = None
    ) -> AsyncIterator[Job]:
        return self._stream(self._flows.watch(event_id, timeout, poll, look_at))

    def events(
        self, event_id: str, after: str | None = None, *, follow: bool = True, poll: float | None = None
    ) -> AsyncIterator[Event]:
        return self._stream(self._flows.events(event_id, after, poll, follow=follow))

    async def wait(
        self,
        event_id: str,
        timeout: float | None = None,  # noqa: ASYNC109  # it raises WaitTimeout
        *,
        poll: float | None = None,
        look_at: float | None = None,
    ) -> Job:
        return await self._run(last(self._flows.watch(event_id, timeout, poll, look_at)))

    async def cancel(self, event_id: str) -> Job:
        return await self._run(self._flows.cancel(event_id))

    async def retry(self, event_id: str) -> Job:
        return await self._run(self._flows.retry(event_id))

    async def decide(
        self,
        event_id: str,
        step: str,
        decision: Literal["approve", "reject", "edit"],
        value: Any = None,
        *,
        by: str = "",
        comment: str = "",
    ) -> Job:
        return await self._run(self._flows.decide(event_id, step, decision_body(decision, value, by, comment)))

    async def fork(
        self,
        event_id: str,
        from_step: str | None = None,
        payload: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
        **options: Any,
    ) -> "AsyncJobHandle":
        key = new_key() if idempotency_key is None else idempotency_key
        return self._handle(
            await self._run(self._flows.fork(event_id, from_step, key, {"payload": payload, **options}))
        )

    async def delete(self, event_id: str) -> None:
        await self._run(self._flows.delete(event_id))

    async def chains(self) -> Chains:
        return await self._run(self._flows.chains())

    async def stats(self) -> Stats:
        return await self._run(self._flows.stats())

    def usage(
        self, first: date | None = None, last: date | None = None, by: str | None = None
    ) -> AsyncIterator[DailyUsage]:
        return self._stream(self._flows.usage(first, last, by))

    async def health(self) -> Mapping[str, Any]:
        return await self._run(self._flows.health())

    def list(
        self,
        status: str | None = None,
        chain: str | None = None,
        limit: int | None = None,
        *,
        title: str | None = None,
        metadata: Mapping[str, str] | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        replays: bool | Literal["only"] = False,
        replay: str | None = None,
    ) -> AsyncIterator[Job]:
        wanted = ListFilter(status, chain, title, metadata, created_after, created_before, replays, replay)
        return self._stream(self._flows.jobs(wanted, limit))

    async def close(self) -> None:
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def _handle(self, created: Created) -> "AsyncJobHandle":
        return AsyncJobHandle(created.event_id, self, created.created_at, created.replayed, created.look_at)

    async def _run(self, flow: Flow[T]) -> T:
        outcome: Outcome = None
        while True:
            try:
                effect = flow.send(outcome)
            except StopIteration as end:
                result: T = end.value
                return result
            outcome = await self._perform(effect)

    async def _stream(self, stream: Stream[T]) -> AsyncIterator[T]:
        outcome: Outcome = None
        while True:
            try:
                effect = stream.send(outcome)
            except StopIteration:
                return
            outcome = None
            if isinstance(effect, Emit):
                yield effect.value
            else:
                outcome = await self._perform(effect)

    async def _perform(self, effect: Ask | Pause) -> Outcome:
        if isinstance(effect, Pause):
            await self._sleep(effect.seconds)
            return None
        try:
            response = await self._http.request(
                effect.method,
                self._url + effect.path,
                params=dict(effect.query) or None,
                headers=dict(effect.headers),
                content=effect.content,
                timeout=pool_timeout(effect.timeout),
            )
        except httpx2.RequestError as error:
            return no_answer(error, self._url)
        return Answer(response.status_code, response.headers, response.content)


@dataclass(frozen=True, slots=True)
class AsyncJobHandle:
    """`JobHandle` for asyncio."""

    event_id: str
    client: AsyncJobchain = field(repr=False, compare=False)
    created_at: datetime | None = None
    replayed: bool | None = None
    look_at: float | None = field(default=None, repr=False, compare=False)

    async def get(
        self,
        known: Job | None = None,
        *,
        attempts: bool = False,
        include: Iterable[str] = (),
        step: str | None = None,
    ) -> Job:
        return await self.client.get(self.event_id, known, attempts=attempts, include=include, step=step)

    def watch(self, timeout: float | None = None, *, poll: float | None = None) -> AsyncIterator[Job]:
        return self.client.watch(self.event_id, timeout, poll=poll, look_at=self.look_at)

    def events(
        self, after: str | None = None, *, follow: bool = True, poll: float | None = None
    ) -> AsyncIterator[Event]:
        return self.client.events(self.event_id, after, follow=follow, poll=poll)

    async def wait(self, timeout: float | None = None, *, poll: float | None = None) -> Job:  # noqa: ASYNC109  # as above
        return await self.client.wait(self.event_id, timeout, poll=poll, look_at=self.look_at)

    async def result(self, timeout: float | None = None) -> Mapping[str, Any]:  # noqa: ASYNC109  # as above
        return completed(await self.wait(timeout)).result

    async def cancel(self) -> Job:
        return await self.client.cancel(self.event_id)

    async def retry(self) -> Job:
        return await self.client.retry(self.event_id)

    async def fork(
        self,
        from_step: str | None = None,
        payload: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
        **options: Any,
    ) -> "AsyncJobHandle":
        return await self.client.fork(self.event_id, from_step, payload, idempotency_key, **options)

    async def delete(self) -> None:
        await self.client.delete(self.event_id)
