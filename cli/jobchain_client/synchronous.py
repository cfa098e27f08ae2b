"""The client that waits."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
from jobchain_client.webhook_methods import Webhooks

T = TypeVar("T")


class Jobchain:
    """Talks to one API. Threads may share it.

    A request that got no answer, or a 429, 502, 503 or 504, is tried again, after the seconds that the API asks for,
    for `retry_seconds` in all; then it is the error that it is. A request for a job bears an idempotency key, so that
    this can't make two. Every method may raise JobchainError, and BadArgument for an argument that can't be sent.
    """

    def __init__(
        self,
        url: str,
        api_key: str | None = None,
        *,
        timeout: float = 30.0,
        retry_seconds: float = 30.0,
        insecure_http: bool = False,
        transport: httpx2.BaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`url` is what the API's paths are put behind, `timeout` the seconds for one request.

        A key is not sent over plain http to another machine, unless `insecure_http` says that the network is trusted.
        Redirects are not followed, so that it goes to no other host.
        A test may stand in for the network with `transport`, and for time with `clock` and `sleep`.
        Raises BadArgument for a URL or a key that can't be one, and for a proxy or certificates of the environment that
        can't be used.
        """
        self._flows = Flows(checked_key(api_key), timeout, retry_seconds, clock)
        self._url = checked_url(url)
        check_way(self._url, api_key, insecure_http=insecure_http)
        trust_env = transport is None and trusts_environment(self._url)
        self._http = httpx2.Client(
            follow_redirects=False, transport=transport, trust_env=trust_env, limits=LIMITS, headers=headers()
        )
        self._sleep = sleep
        flows = WebhookFlows(checked_key(api_key), timeout, retry_seconds, clock)
        self.webhooks = Webhooks(flows, self._run, self._stream)

    def submit(
        self,
        content: str | Mapping[str, Any],
        chain: str | None = None,
        metadata: Mapping[str, str] | None = None,
        idempotency_key: str | None = None,
        **options: Any,
    ) -> "JobHandle":
        """Make a job of a text, or of a chain's payload; see `Submission`.

        Give your own `idempotency_key` if the request may be repeated by another process: the same key is the same job.
        `options` are further fields of the request, such as `max_cost_usd` (US dollars), `tier`, `model` or `effort`.
        """
        key = new_key() if idempotency_key is None else idempotency_key
        return self._handle(self._run(self._flows.submit(Submission(content, chain, metadata, key, options))))

    def submit_many(self, submissions: Iterable[Submission | str]) -> "Sequence[JobHandle | JobchainError]":
        """Make many jobs, up to 100 with each request. Gives a handle or the error of each, in order.

        An entry that is refused harms no other. Raises JobchainError if the first request fails as a whole; if a later
        one does, its error takes the place of each of the remaining entries.
        """
        outcomes = self._run(self._flows.submit_many(submissions))
        return [self._handle(outcome) if isinstance(outcome, Created) else outcome for outcome in outcomes]

    def job(self, event_id: str) -> "JobHandle":
        """A handle for a job whose id is known, without asking for it."""
        return JobHandle(event_id, self)

    def get(
        self,
        event_id: str,
        known: Job | None = None,
        *,
        attempts: bool = False,
        include: Iterable[str] = (),
        step: str | None = None,
    ) -> Job:
        """The job as it is now. With the job as it was `known`, that very one if nothing has changed, for a 304.

        `include` names what it has besides: `attempts`, its calls of the model (of the failed ones the newest 1,000);
        `input`, its payload; `prompts`, what the model was asked, or only for `step`. `attempts=True` is short for the
        first.
        """
        wanted = {*include, *(["attempts"] if attempts else [])}
        return self._run(self._flows.get(event_id, known, include=sorted(wanted), step=step))

    def watch(
        self, event_id: str, timeout: float | None = None, *, poll: float | None = None, look_at: float | None = None
    ) -> Iterator[Job]:
        """The job, each time that it is found changed, until it is final.

        `poll` is the seconds between two requests. Without it the API says when to ask again: when the job has probably
        ended. So few of its changes are seen; `poll=1` shows each step. `look_at` is the time of the first request by
        the client's clock, if there is no `poll`: None for at once.
        Raises WaitTimeout if the job is not final after `timeout` seconds; None: never.
        """
        return self._stream(self._flows.watch(event_id, timeout, poll, look_at))

    def events(
        self, event_id: str, after: str | None = None, *, follow: bool = True, poll: float | None = None
    ) -> Iterator[Event]:
        """What has happened to the job, the oldest first: each event once, also over lost answers.

        With `follow` until the job has ended: the API says when to ask again, or `poll`, the seconds between two
        requests. `after` is that of an event that was told before, also to another process: what follows is told then.
        """
        return self._stream(self._flows.events(event_id, after, poll, follow=follow))

    def wait(
        self, event_id: str, timeout: float | None = None, *, poll: float | None = None, look_at: float | None = None
    ) -> Job:
        """The job once it has ended, however it did. As `watch`."""
        return self._run(last(self._flows.watch(event_id, timeout, poll, look_at)))

    def cancel(self, event_id: str) -> Job:
        """Stop the job: at once if no worker has it, else before its next step. Raises Conflict if it has ended.

        If an answer was lost on the way, a job that is found cancelled is a success.
        """
        return self._run(self._flows.cancel(event_id))

    def retry(self, event_id: str) -> Job:
        """Run a failed or cancelled job again, keeping its completed steps. Raises Conflict for any other.

        If an answer was lost on the way, a job that is found under way is a success.
        """
        return self._run(self._flows.retry(event_id))

    def decide(
        self,
        event_id: str,
        step: str,
        decision: Literal["approve", "reject", "edit"],
        value: Any = None,
        *,
        by: str = "",
        comment: str = "",
    ) -> Job:
        """Decide a step that waits for a person: `approve`, `reject`, or `edit` with the `value` that it is to have.

        `by` names who decides, and `comment` says why; both are kept. The same decision again changes nothing. Raises
        Conflict for another one, after the step's deadline, and where it does not wait; InvalidRequest for a value that
        does not fit.
        """
        return self._run(self._flows.decide(event_id, step, decision_body(decision, value, by, comment)))

    def fork(
        self,
        event_id: str,
        from_step: str | None = None,
        payload: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
        **options: Any,
    ) -> "JobHandle":
        """Make a new job that begins with copies of the job's outputs, at no cost, and runs `from_step` again.

        All steps that need that one run too; the others are copied. Without it all are run, and none is copied.
        `payload` is another one, which may change nothing that a copied step worked on. `options` are further fields
        of the request: `title`, `metadata`, `max_cost_usd`, `model`, `effort`, `prompt`, the prompt of `from_step` for
        the fork alone, and `replay`, the id of a replay that it is a part of.
        Raises Conflict if a step before it is not completed.
        """
        key = new_key() if idempotency_key is None else idempotency_key
        return self._handle(self._run(self._flows.fork(event_id, from_step, key, {"payload": payload, **options})))

    def delete(self, event_id: str) -> None:
        """Erase a job that has ended, and all that it stored. Raises Conflict if it has not.

        If an answer was lost on the way, a job that is not there is a success.
        """
        self._run(self._flows.delete(event_id))

    def chains(self) -> Chains:
        """The chains that jobs can run; `unusable` has those of the deployment that can't be used, with the reasons."""
        return self._run(self._flows.chains())

    def stats(self) -> Stats:
        """How your jobs stand, and today's tokens and cost."""
        return self._run(self._flows.stats())

    def usage(self, first: date | None = None, last: date | None = None, by: str | None = None) -> Iterator[DailyUsage]:
        """Your usage day by day (UTC), from the `first` day to the `last`, both included, up to 92 days.

        The last day is today without one, and the first is 29 days before it. `by` is `chain`, `key` or `model`, for
        the groups of each day.
        """
        return self._stream(self._flows.usage(first, last, by))

    def health(self) -> Mapping[str, Any]:
        """What the API says of itself; asked once. Raises Unavailable, Unreachable if it is not well."""
        return self._run(self._flows.health())

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
    ) -> Iterator[Job]:
        """The jobs, the newest first, page after page as they are needed; without steps, results and metadata.

        Only those of a `status` or a `chain`, with `title` as a part of their title in any case, and with all entries
        of `metadata`; created at `created_after` or later, and before `created_before`. A time without a zone is a
        local one. Jobs of replays are listed only with `replays`, and no others with `replays="only"`; with
        the id of a `replay`, its jobs and no others. At most `limit` of them in all.
        """
        wanted = ListFilter(status, chain, title, metadata, created_after, created_before, replays, replay)
        return self._stream(self._flows.jobs(wanted, limit))

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _handle(self, created: Created) -> "JobHandle":
        return JobHandle(created.event_id, self, created.created_at, created.replayed, created.look_at)

    def _run(self, flow: Flow[T]) -> T:
        outcome: Outcome = None
        while True:
            try:
                effect = flow.send(outcome)
            except StopIteration as end:
                result: T = end.value
                return result
            outcome = self._perform(effect)

    def _stream(self, stream: Stream[T]) -> Iterator[T]:
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
                outcome = self._perform(effect)

    def _perform(self, effect: Ask | Pause) -> Outcome:
        if isinstance(effect, Pause):
            self._sleep(effect.seconds)
            return None
        try:
            response = self._http.request(
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
class JobHandle:
    """A job that is somewhere on its way; its methods are those of the client, for this job.

    `created_at` and `replayed` (the idempotency key had made it before) are None if it was not made with this handle.
    `look_at` is when the job has probably ended, by the client's clock: a wait without `poll` asks then for the first
    time. None if the API did not tell.
    """

    event_id: str
    client: Jobchain = field(repr=False, compare=False)
    created_at: datetime | None = None
    replayed: bool | None = None
    look_at: float | None = field(default=None, repr=False, compare=False)

    def get(
        self,
        known: Job | None = None,
        *,
        attempts: bool = False,
        include: Iterable[str] = (),
        step: str | None = None,
    ) -> Job:
        return self.client.get(self.event_id, known, attempts=attempts, include=include, step=step)

    def watch(self, timeout: float | None = None, *, poll: float | None = None) -> Iterator[Job]:
        return self.client.watch(self.event_id, timeout, poll=poll, look_at=self.look_at)

    def events(self, after: str | None = None, *, follow: bool = True, poll: float | None = None) -> Iterator[Event]:
        return self.client.events(self.event_id, after, follow=follow, poll=poll)

    def wait(self, timeout: float | None = None, *, poll: float | None = None) -> Job:
        return self.client.wait(self.event_id, timeout, poll=poll, look_at=self.look_at)

    def result(self, timeout: float | None = None) -> Mapping[str, Any]:
        """The result, once the job has completed. Raises JobNotCompleted, WaitTimeout."""
        return completed(self.wait(timeout)).result

    def cancel(self) -> Job:
        return self.client.cancel(self.event_id)

    def retry(self) -> Job:
        return self.client.retry(self.event_id)

    def fork(
        self,
        from_step: str | None = None,
        payload: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
        **options: Any,
    ) -> "JobHandle":
        return self.client.fork(self.event_id, from_step, payload, idempotency_key, **options)

    def delete(self) -> None:
        self.client.delete(self.event_id)
