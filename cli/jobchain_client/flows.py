"""What the clients do, without doing it: generators that yield what is to be sent and waited for.

A client sends each `Ask`, sleeps each `Pause`, hands each `Emit` to its caller, and sends the outcome back in. So
the logic is here once, for both kinds of client, and a test needs neither a network nor time.
"""

import json
import random
import re
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any, Generic, TypeAlias, TypeVar
from urllib.parse import quote

from jobchain import connection
from jobchain_client.errors import (
    Conflict,
    JobchainError,
    NotFound,
    Problem,
    Unavailable,
    WaitTimeout,
    bad_answer,
    error_of,
    unreachable,
)
from jobchain_client.events import Event, EventPage
from jobchain_client.resources import (
    BadArgument,
    Chain,
    Chains,
    Created,
    DailyUsage,
    Job,
    ListFilter,
    Stats,
    Submission,
)

MAX_BATCH = 100
"""The most jobs of one request: docs/reference/http-api.md."""

MAX_BATCH_BYTES = 5_000_000
"""The longest body: docs/reference/http-api.md."""

MAX_PAGE = 100
"""The most jobs of one page of a list: docs/reference/http-api.md."""

# Of one page: docs/reference/http-api.md.
_MAX_EVENTS = 500

_RETRIED = frozenset({429, 502, 503, 504})
# After these it is unknown whether the request was carried out.
_UNCERTAIN = frozenset({502, 503, 504})
_FIRST_PAUSE, _LAST_PAUSE = 0.5, 8.0  # seconds between tries, doubled each time
_FIRST_POLL, _LAST_POLL = 0.5, 10.0  # seconds between looks at a job that does not change

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Ask:
    """Send this request. Its outcome is an Answer or a NoAnswer."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    content: bytes | None
    timeout: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server said; `headers` are found in any case."""

    status: int
    headers: Mapping[str, str]
    content: bytes


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """Why there was none, and whether the request may have reached the server."""

    why: str
    sent: bool


@dataclass(frozen=True, slots=True)
class Pause:
    """Sleep for this many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Emit(Generic[T]):
    """Hand this to the caller."""

    value: T


Outcome: TypeAlias = Answer | NoAnswer | None
Flow: TypeAlias = Generator[Ask | Pause, Outcome, T]
Stream: TypeAlias = Generator[Ask | Pause | Emit[T], Outcome, None]


def checked_url(url: str) -> str:
    """The URL that the API's paths are put behind. Raises BadArgument."""
    try:
        return connection.checked_url("the API's URL", url).rstrip("/")
    except connection.UnusableSetting as error:
        raise BadArgument(str(error)) from error


def checked_key(api_key: str | None) -> str | None:
    """The key, if a header can bear it. Raises BadArgument, which does not repeat it."""
    try:
        return api_key if api_key is None else connection.checked_key("api_key", api_key)
    except connection.UnusableSetting as error:
        raise BadArgument(str(error)) from error


def check_way(url: str, api_key: str | None, *, insecure_http: bool) -> None:
    """Refuses to send a key over plain http to another machine, where it can be read on its way. Raises BadArgument."""
    if api_key and not insecure_http and not connection.hides_keys(url):
        raise BadArgument(
            f"the API's URL is {connection.shown(url)}, plain http: the API key could be read on its way, and is not "
            "sent. Use https. In a trusted network, say so: insecure_http=True, for the command "
            "JOBCHAIN_INSECURE_HTTP=1"
        )


def checked_idempotency_key(key: str) -> str:
    """The key, if the API takes it: docs/reference/http-api.md. Raises BadArgument."""
    if not re.fullmatch(r"[!-~]{1,255}", key):
        raise BadArgument(f"the idempotency key {key!a} can't be used: it has 1 to 255 visible ASCII characters")
    return key


def last(stream: Stream[T]) -> Flow[T]:
    """The last of what a stream emits; it must emit something."""
    values: list[T] = []
    outcome: Outcome = None
    while True:
        try:
            effect = stream.send(outcome)
        except StopIteration:
            return values[-1]
        if isinstance(effect, Emit):
            values[:] = [effect.value]
            outcome = None
        else:
            outcome = yield effect


@dataclass(frozen=True, slots=True)
class _Reply:
    answer: Answer
    # Whether an earlier try may have been carried out.
    repeated: bool


@dataclass(slots=True)
class Flows:
    """The flows of one API. `timeout` is for one request, `retry_seconds` for all tries of it together."""

    api_key: str | None
    timeout: float
    retry_seconds: float
    clock: Callable[[], float]
    _chains: dict[str, Chain] = field(default_factory=dict)

    # --- jobs --------------------------------------------------------------------------------------------------------

    def submit(self, submission: Submission) -> Flow[Created]:
        key = checked_idempotency_key(submission.idempotency_key)
        body = yield from self._body(submission)
        reply = yield from self._ask("POST", "/jobs", body=body, headers={"Idempotency-Key": key})
        return self._created(reply.answer)

    def fork(self, event_id: str, from_step: str | None, key: str, options: Mapping[str, Any]) -> Flow[Created]:
        given = {"from_step": from_step, **options}
        body = {name: value for name, value in given.items() if value is not None}
        headers = {"Idempotency-Key": checked_idempotency_key(key)}
        reply = yield from self._ask("POST", f"{_path(event_id)}/fork", body=body, headers=headers)
        return self._created(reply.answer)

    def _created(self, answer: Answer) -> Created:
        replayed = answer.headers.get("Idempotent-Replayed") == "true"
        return _read(answer, lambda raw: Created.of(raw, replayed=replayed, look_at=self._look_at(answer)))

    def _look_at(self, answer: Answer) -> float | None:
        asked = _retry_after(answer)
        return None if asked is None else self.clock() + asked

    def submit_many(self, submissions: Iterable[Submission | str]) -> Flow[list[Created | JobchainError]]:
        entries: list[bytes] = []
        for entry in submissions:
            submission = Submission(entry) if isinstance(entry, str) else entry
            body = yield from self._body(submission)
            entries.append(_json({**body, "idempotency_key": submission.idempotency_key}))
        outcomes: list[Created | JobchainError] = []
        for batch in _batches(entries):
            try:
                outcomes += yield from self._submit_batch(batch)
            except JobchainError as error:
                if not outcomes:
                    raise
                # What came before is accepted: the caller must learn its ids.
                return outcomes + [error] * (len(entries) - len(outcomes))
        return outcomes

    def _submit_batch(self, entries: list[bytes]) -> Flow[list[Created | JobchainError]]:
        """The outcomes of up to `MAX_BATCH` entries. One answered 502, 503 or 504 is sent again, with its own key."""
        deadline = self.clock() + self.retry_seconds
        outcomes = yield from self._submit_once(entries)
        own = _FIRST_PAUSE
        while unsure := [place for place, outcome in enumerate(outcomes) if isinstance(outcome, Unavailable)]:
            pause = own * random.uniform(0.5, 1)  # noqa: S311
            if self.clock() + pause > deadline:
                break
            yield Pause(pause)
            own = min(own * 2, _LAST_PAUSE)
            try:
                again = yield from self._submit_once([entries[place] for place in unsure])
            except JobchainError:
                # The others of the batch are accepted, and these have an error already.
                break
            for place, outcome in zip(unsure, again, strict=True):
                outcomes[place] = outcome
        return outcomes

    def _submit_once(self, entries: list[bytes]) -> Flow[list[Created | JobchainError]]:
        content = b'{"jobs":[' + b",".join(entries) + b"]}"
        reply = yield from self._ask("POST", "/jobs/batch", content=content)
        look_at = self._look_at(reply.answer)
        outcomes = _read(reply.answer, lambda raw: [_outcome(result, look_at) for result in raw["results"]])
        if len(outcomes) != len(entries):
            raise bad_answer(200, f"{len(entries)} jobs were sent, {len(outcomes)} answered", _request_id(reply.answer))
        return outcomes

    def _body(self, submission: Submission) -> Flow[dict[str, Any]]:
        content = submission.content
        body: dict[str, Any] = {}
        if submission.chain is None:
            body["input_text"] = content
        else:
            if isinstance(content, str):
                content = {(yield from self._only_text(submission.chain)): content}
            body |= {"job_name": submission.chain, "payload": content}
        if submission.metadata:
            body["metadata"] = submission.metadata
        return body | {name: value for name, value in submission.options.items() if value is not None}

    def _only_text(self, name: str) -> Flow[str]:
        if name not in self._chains:
            for chain in (yield from self.chains()):
                self._chains[chain.name] = chain
        if name not in self._chains:
            raise BadArgument(f"there is no chain {name!r}: there are {', '.join(sorted(self._chains))}")
        texts = self._chains[name].texts
        if len(texts) != 1:
            raise BadArgument(f"the chain {name!r} takes no single text: give a payload with {', '.join(texts)}")
        return texts[0]

    def get(
        self, event_id: str, known: Job | None, *, include: Iterable[str] = (), step: str | None = None
    ) -> Flow[Job]:
        query = {"include": ",".join(include), "step": step or ""}
        query = {name: value for name, value in query.items() if value}
        job, _ = yield from self._look(event_id, known, until=None, query=query)
        return job

    def _look(
        self, event_id: str, known: Job | None, until: float | None, query: Mapping[str, str] | None = None
    ) -> Flow[tuple[Job, float | None]]:
        """The job, which is `known` itself if it has not changed, and in how many seconds to look again."""
        headers = {"If-None-Match": known.etag} if known and known.etag else {}
        answer = (yield from self._ask("GET", _path(event_id), query=query, headers=headers, until=until)).answer
        if answer.status == 304 and known:
            return known, _retry_after(answer)
        return _read(answer, lambda raw: Job.of(raw, answer.headers.get("ETag"))), _retry_after(answer)

    def watch(
        self, event_id: str, timeout: float | None, poll: float | None, look_at: float | None = None
    ) -> Stream[Job]:
        deadline = None if timeout is None else self.clock() + timeout
        if poll is None and look_at is not None:
            first = (look_at if deadline is None else min(look_at, deadline)) - self.clock()
            if first > 0:
                yield Pause(first)
        known: Job | None = None
        own = _FIRST_POLL
        while True:
            job, asked = yield from self._look(event_id, known, until=deadline)
            if job is not known:
                own = _FIRST_POLL
                yield Emit(job)
            if job.final:
                return
            pause = max(own, asked or 0.0) if poll is None else poll
            if deadline is not None:
                left = deadline - self.clock()
                if left <= 0:
                    raise WaitTimeout(job, timeout or 0.0)
                pause = min(pause, left)
            yield Pause(pause)
            known, own = job, min(own * 1.5, _LAST_POLL)

    def events(self, event_id: str, after: str | None, poll: float | None, *, follow: bool) -> Stream[Event]:
        own = _FIRST_POLL
        while True:
            query = {"limit": str(_MAX_EVENTS), **({} if after is None else {"after": after})}
            answer = (yield from self._ask("GET", f"{_path(event_id)}/events", query=query)).answer
            page = _read(answer, lambda raw: EventPage.of(raw, after))  # noqa: B023  # read at once
            for event in page.events:
                yield Emit(event)
            after = page.next_after
            if page.has_more:
                continue
            if page.ended or not follow:
                return
            own = _FIRST_POLL if page.events else min(own * 1.5, _LAST_POLL)
            yield Pause(max(own, _retry_after(answer) or 0.0) if poll is None else poll)

    def jobs(self, wanted: ListFilter, limit: int | None) -> Stream[Job]:
        left = limit
        query = wanted.query
        while left is None or left > 0:
            query["limit"] = str(MAX_PAGE if left is None else min(left, MAX_PAGE))
            reply = yield from self._ask("GET", "/jobs", query=query)
            jobs, cursor = _read(
                reply.answer, lambda raw: ([Job.of(job) for job in raw["jobs"]], raw.get("next_cursor"))
            )
            for job in jobs[:left]:
                yield Emit(job)
            if not cursor:
                return
            query["cursor"] = cursor
            left = None if left is None else left - len(jobs)

    # --- moves: a try whose answer was lost may have moved the job, and then the next one is refused ------------------

    def cancel(self, event_id: str) -> Flow[Job]:
        return (yield from self._move(event_id, "cancel", lambda job: job.status == "cancelled"))

    def retry(self, event_id: str) -> Flow[Job]:
        return (yield from self._move(event_id, "retry", lambda job: not job.final))

    def decide(self, event_id: str, step: str, body: Mapping[str, Any]) -> Flow[Job]:
        # The same decision again changes nothing.
        reply = yield from self._ask("POST", f"{_path(event_id)}/steps/{_part(step)}/decision", body=body)
        return _read(reply.answer, Job.of)

    def _move(self, event_id: str, verb: str, has_moved: Callable[[Job], bool]) -> Flow[Job]:
        reply = yield from self._try("POST", f"{_path(event_id)}/{verb}")
        error = _error_in(reply.answer)
        if reply.repeated and isinstance(error, Conflict):
            job = yield from self.get(event_id, None)
            if has_moved(job):
                return job
        if error:
            raise error
        return _read(reply.answer, Job.of)

    def delete(self, event_id: str) -> Flow[None]:
        reply = yield from self._try("DELETE", _path(event_id))
        error = _error_in(reply.answer)
        if error and not (reply.repeated and isinstance(error, NotFound)):
            raise error

    # --- the system --------------------------------------------------------------------------------------------------

    def chains(self) -> Flow[Chains]:
        reply = yield from self._ask("GET", "/chains")
        return _read(reply.answer, Chains.of)

    def stats(self) -> Flow[Stats]:
        reply = yield from self._ask("GET", "/stats")
        return _read(reply.answer, Stats.of)

    def usage(self, first: date | None, last: date | None, by: str | None) -> Stream[DailyUsage]:
        given = {"from": first and first.isoformat(), "to": last and last.isoformat(), "by": by}
        query = {name: value for name, value in given.items() if value}
        while True:
            reply = yield from self._ask("GET", "/usage", query=query)
            days, end, following = _read(
                reply.answer,
                lambda raw: ([DailyUsage.of(day) for day in raw["days"]], raw["to"], raw.get("next_from")),
            )
            for day in days:
                yield Emit(day)
            if not following:
                return
            # The day of the first answer: a day may have begun since.
            query |= {"from": following, "to": end}

    def health(self) -> Flow[dict[str, Any]]:
        # Not tried again: how it is now is the question.
        reply = yield from self._ask("GET", "/health", once=True)
        return _read(reply.answer, dict)

    # --- requests ----------------------------------------------------------------------------------------------------

    def _ask(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        content: bytes | None = None,
        until: float | None = None,
        once: bool = False,
        unsure: str | None = None,
    ) -> Flow[_Reply]:
        """A good answer. Raises JobchainError.

        With `unsure` a request that may have been carried out is not sent again, and the error says so in these words.
        """
        if body is not None:
            content = _json(body)
        reply = yield from self._try(method, path, query, headers, content, until, once=once, unsure=unsure)
        if error := _error_in(reply.answer):
            raise error
        return reply

    def _try(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        until: float | None = None,
        *,
        once: bool = False,
        unsure: str | None = None,
    ) -> Flow[_Reply]:
        """The first answer that another try would not change. Raises JobchainError if time is up."""
        _check_characters(query or {})
        sent = {**self._headers(content), **(headers or {})}
        deadline = self.clock() + (0.0 if once else self.retry_seconds)
        if until is not None:
            deadline = min(deadline, until)
        repeated, own = False, _FIRST_PAUSE
        while True:
            outcome = yield Ask(method, path, query or {}, sent, content, self._time_for_one(until))
            assert outcome is not None
            if isinstance(outcome, Answer) and outcome.status not in _RETRIED:
                return _Reply(outcome, repeated)
            repeated = repeated or (outcome.sent if isinstance(outcome, NoAnswer) else outcome.status in _UNCERTAIN)
            if unsure and repeated:
                raise _told(outcome, unsure)
            asked = None if isinstance(outcome, NoAnswer) else _retry_after(outcome)
            # Spread, so that many clients do not come back together.
            pause = max(asked or 0.0, own * random.uniform(0.5, 1))  # noqa: S311
            if self.clock() + pause > deadline:
                raise unreachable(outcome.why) if isinstance(outcome, NoAnswer) else _error_of(outcome)
            yield Pause(pause)
            own = min(own * 2, _LAST_PAUSE)

    def _time_for_one(self, until: float | None) -> float:
        if until is None:
            return self.timeout
        return min(self.timeout, max(until - self.clock(), 1.0))

    def _headers(self, content: bytes | None) -> dict[str, str]:
        headers = {"Accept": "application/json"}
        if self.api_key:
            headers["Authorization"] = f"Bearer {self.api_key}"
        if content is not None:
            headers["Content-Type"] = "application/json"
        return headers


def _check_characters(query: Mapping[str, str]) -> None:
    for name, value in query.items():
        try:
            f"{name}{value}".encode()
        except UnicodeEncodeError:
            shown = name.encode("ascii", "backslashreplace").decode()
            raise BadArgument(f"{shown} is {value!a}, which can't be sent: it is not UTF-8") from None


def _path(event_id: str) -> str:
    return f"/jobs/{_segment(event_id, 'a job')}"


def _segment(name: str, what: str) -> str:
    """The id of `what` as a part of a path. Raises BadArgument."""
    try:
        path = quote(name, safe="")
    except UnicodeEncodeError:
        # Half a character, as an argument that is not UTF-8 has.
        path = ""
    if not path.strip("."):
        raise BadArgument(f"{name!r} is not the id of {what}")
    return path


def decision_body(decision: str, value: Any, by: str, comment: str) -> dict[str, Any]:
    """The body of a decision: only an edit has a value."""
    edit = {"value": value} if decision == "edit" else {}
    said = {name: text for name, text in {"by": by, "comment": comment}.items() if text}
    return {"decision": decision, **edit, **said}


def _part(step: str) -> str:
    try:
        part = quote(step, safe="")
    except UnicodeEncodeError:
        part = ""
    if not part.strip("."):
        raise BadArgument(f"{step!r} is not the name of a step")
    return part


def _json(value: Mapping[str, Any]) -> bytes:
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, default=dict)
        # The API takes the bare character for a sign of bytes that were no UTF-8.
        return text.replace("\N{REPLACEMENT CHARACTER}", "\\ufffd").encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise BadArgument(f"{_unsendable(value)} can't be sent as JSON: {error}") from error


def _unsendable(value: Mapping[str, Any]) -> str:
    """The name of the first field that is none of JSON."""
    for name, part in value.items():
        try:
            json.dumps(part, ensure_ascii=False, allow_nan=False, default=dict).encode()
        except (TypeError, ValueError, RecursionError):
            return ascii(name)
    return "this"


def _batches(entries: list[bytes]) -> Iterable[list[bytes]]:
    batch: list[bytes] = []
    size = 0
    for entry in entries:
        if batch and (len(batch) == MAX_BATCH or size + len(entry) > MAX_BATCH_BYTES - MAX_BATCH):
            yield batch
            batch, size = [], 0
        batch.append(entry)
        size += len(entry)
    if batch:
        yield batch


def _outcome(raw: Mapping[str, Any], look_at: float | None) -> Created | JobchainError:
    if "event_id" in raw:
        return Created.of(raw, replayed=bool(raw.get("replayed")), look_at=look_at)
    return error_of(Problem.of(raw, int(raw["status"])))


def _error_in(answer: Answer) -> JobchainError | None:
    if 200 <= answer.status < 300 or answer.status == 304:
        return None
    if answer.status < 400:
        where = answer.headers.get("Location", "")
        return bad_answer(answer.status, f"the server sends us on to {where!r}: use that URL", _request_id(answer))
    return _error_of(answer)


def _told(outcome: Answer | NoAnswer, unsure: str) -> JobchainError:
    """The error of a request that may have been carried out."""
    if isinstance(outcome, NoAnswer):
        return unreachable(f"{outcome.why}; {unsure}")
    error = _error_of(outcome)
    return error_of(replace(error.problem, detail=f"{error.detail}; {unsure}"), error.retry_after)


def _error_of(answer: Answer) -> JobchainError:
    try:
        raw = json.loads(answer.content)
    except ValueError:
        raw = None
    problem = Problem.of(raw if isinstance(raw, dict) else {}, answer.status, _request_id(answer))
    return error_of(problem, _retry_after(answer))


def _read(answer: Answer, read: Callable[[Any], T]) -> T:
    try:
        return read(json.loads(answer.content))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise bad_answer(
            answer.status, "the answer is not one of this API: is the URL right?", _request_id(answer)
        ) from error


def _request_id(answer: Answer) -> str | None:
    return answer.headers.get("x-amzn-RequestId")


def _retry_after(answer: Answer) -> float | None:
    text = answer.headers.get("Retry-After", "")
    return float(text) if text.isascii() and text.isdigit() and len(text) < 10 else None
