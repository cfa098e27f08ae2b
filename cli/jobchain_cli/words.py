"""Jobs and problems as a person reads them. Nothing that a server, a caller or a model wrote controls a terminal."""

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from jobchain_client import Attempt, Chains, Estimate, ForkedFrom, Job, JobchainError, Stats, Step, Usage, WaitingFor

MAX_CALLS = 10
"""The most failed calls that are shown of a step."""

# Of a title in a table.
_TITLE_WIDTH = 40

# What turns the direction of a line, and can make it read as another one.
_TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")

_SET_KEY = "set JOBCHAIN_API_KEY to your key, or store the API's URL and your key with `jobchain login`"


def printable(text: object) -> str:
    """The text without control characters, which a terminal obeys, and without what no stream can encode."""
    return "".join(c if _is_printable(c) else "\N{REPLACEMENT CHARACTER}" for c in str(text))


def in_one_line(text: object) -> str:
    """The same, without line breaks."""
    return " ".join(printable(text).split())


def _is_printable(c: str) -> bool:
    if c in "\n\t":
        return True
    number = ord(c)
    return number >= 32 and not 127 <= number < 160 and not 0xD800 <= number < 0xE000 and c not in _TURNING


def json_line(value: Any) -> str:
    """A value as one line of JSON, in ASCII, so that no character of it is a terminal's."""
    return json.dumps(value)


# --- jobs ------------------------------------------------------------------------------------------------------------


def source_lines(job: Job) -> Iterator[str]:
    """Which models answered, their tokens, and the cost."""
    models = {in_one_line(step.model) for step in job.steps if step.model and step.status == "completed"}
    answered = ", ".join(sorted(models)) or "no model"
    yield f"Answered by {answered}: {spent(job.usage, job.cost_usd, job.estimated)}."


def spent(usage: Usage, cost_usd: float | None, estimated: Estimate) -> str:
    """Tokens and their cost, and which part of that is an estimate."""
    if not estimated.calls:
        return f"{usage.input_tokens} tokens in, {usage.output_tokens} out, {price(cost_usd)}"
    calls = "1 call" if estimated.calls == 1 else f"{estimated.calls} calls"
    cost = f", ${estimated.cost_usd:.6f}" if estimated.cost_usd else ""
    return (
        f"at most {usage.input_tokens} tokens in, {usage.output_tokens} out, {price(cost_usd, 'for at most')}; "
        f"of which estimated: {calls}, {estimated.input_tokens} tokens in, {estimated.output_tokens} out{cost}"
    )


def price(cost_usd: float | None, before: str = "for") -> str:
    """A cost in US dollars, in words: None is that of a model whose price is unknown, 0 that of a free one."""
    if cost_usd is None:
        return "at an unknown price"
    return f"{before} ${cost_usd:.6f}" if cost_usd else "at no cost"


def failure(job: Job) -> str:
    """Why a final job did not complete, in one line."""
    if not job.error:
        return f"the job was {in_one_line(job.status)}"
    step = f" in step {job.error.step}" if job.error.step else ""
    return in_one_line(f"the job {job.status}{step}: {job.error.type}: {job.error.message}")


def job_lines(job: Job) -> Iterator[str]:
    """A job and its steps, without its result."""
    yield f"Job {in_one_line(job.event_id)} ({in_one_line(job.job_name)}): {in_one_line(job.status)}"
    if job.title:
        yield f"  {in_one_line(job.title)}"
    moments = {"created": job.created_at, "started": job.started_at, "finished": job.finished_at}
    yield "  " + ", ".join(f"{name} {at:%Y-%m-%d %H:%M:%S}" for name, at in moments.items() if at) + " UTC"
    if job.forked_from:
        yield f"  {_forked(job.forked_from)}"
    if own := _own(job):
        yield f"  {in_one_line(own)}"
    if job.chain_version:
        yield f"  run with version {in_one_line(job.chain_version)} of the chain"
    if job.waiting_for:
        yield f"  {waiting(job.waiting_for)}"
    yield from step_lines(job)
    for name, value in job.metadata.items():
        yield f"  {in_one_line(name)} = {in_one_line(value)}"
    if job.error:
        yield failure(job)


def _forked(fork: ForkedFrom) -> str:
    step = f", at {fork.from_step}" if fork.from_step else ""
    return in_one_line(f"forked from {fork.event_id}{step}" + (f", in replay {fork.replay}" if fork.replay else ""))


def _own(job: Job) -> str:
    """What the job sets in place of its chain."""
    named = {"model": job.model, "effort": job.effort, "its own prompt of": ", ".join(job.changed_prompts)}
    found = ", ".join(f"{name} {value}" for name, value in named.items() if value)
    return found and f"in place of the chain's: {found}"


def waiting(waits: WaitingFor) -> str:
    """Why a job waits, and until when, in one line."""
    left = (waits.until - datetime.now(UTC)).total_seconds() if waits.until else None
    soon = "soon" if left is None else f"in {_span(max(left, 0))}"
    if waits.reason == "queue":
        return "waiting for a worker"
    known = {
        "retry": f"retrying automatically {soon}",
        "budget": f"continuing automatically {soon}",
        "rate_limit": f"waiting for the account's rate limit, continuing {soon}",
        "account": f"waiting until the model's account works again, next probe {soon}",
        "approval": f"waiting for a decision, decided automatically {soon}",
        "deployment": f"waiting for a deployment that can run it, continuing {soon}",
    }
    what = known.get(waits.reason) or f"waiting ({waits.reason}), continuing {soon}"
    at = f" (at {waits.until:%Y-%m-%d %H:%M:%S} UTC)" if waits.until else ""
    return in_one_line(f"{what}{at}: {waits.detail}")


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = int(seconds // 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def step_lines(job: Job) -> Iterator[str]:
    """The steps of a job: the status of each, how long it took, and its failed calls."""
    names = {step.name for step in job.steps}
    for step in job.steps:
        yield f"  {in_one_line(step.name)}: {_progress(job, step)}"
        yield from _approval_lines(job, step)
        calls = [call for call in job.failed_attempts or () if _step_shown(call, names) == step.name]
        if len(calls) > MAX_CALLS:
            yield f"    {len(calls) - MAX_CALLS} earlier failed calls: --json prints them"
        yield from map(_call_line, calls[-MAX_CALLS:])


_DECIDED = {"approve": "approved", "reject": "rejected", "edit": "approved with changes"}


def _approval_lines(job: Job, step: Step) -> Iterator[str]:
    """What a person has to decide of a step, or has decided."""
    approval = step.approval
    if approval is None:
        return
    if approval.decision is None:
        if job.final:
            return
        yield f"    {in_one_line(approval.title)}: decide it with jobchain approve or jobchain reject"
        yield from (f"    | {printable(line)}" for line in text_of(approval.shown).splitlines())
        return
    who = approval.by or (approval.key_id and f"key {approval.key_id}")
    by = " at its deadline," if approval.at_deadline else f" by {who}" if who else ""
    at = f" at {approval.decided_at:%Y-%m-%d %H:%M:%S} UTC" if approval.decided_at else ""
    why = f": {approval.comment}" if approval.comment else ""
    yield "    " + in_one_line(f"{_DECIDED.get(approval.decision, approval.decision)}{by}{at}{why}")


def text_of(value: Any) -> str:
    """A value as a person reads and edits it: a text as it is, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=1)


def _progress(job: Job, step: Step) -> str:
    """The status of a step; of one that is tried again, which try it is."""
    status = in_one_line(step.status)
    next_try = f"try {step.failed_tries + 1}" if step.failed_tries else ""
    if step.copied:
        return f"{status}, copied"
    if status == "completed":
        return status if step.seconds is None else f"{status} in {step.seconds:.1f} s"
    if status == "failed" and step.calls:
        calls = "1 call" if step.calls == 1 else f"{step.calls} calls"
        return f"failed after {calls} of {in_one_line(step.model)}"
    if status == "processing" and next_try:
        return f"{status}, {next_try}"
    if status == "pending" and next_try and not job.final:
        until = job.waiting_for.until if job.waiting_for else None
        return f"{next_try}, at {until:%H:%M:%S} UTC" if until else next_try
    return status


def _step_shown(call: Attempt, names: set[str]) -> str:
    """The step under which a failed call is shown: that of a part under its step, until the part is completed."""
    return call.step if call.step in names else call.step.partition(".")[0]


def _call_line(call: Attempt) -> str:
    seconds = (call.finished_at - call.started_at).total_seconds()
    why = f": {call.cause}" if call.cause else ""
    return "    " + in_one_line(f"failed call at {call.started_at:%H:%M:%S} UTC, {seconds:.1f} s: {call.outcome}{why}")


def list_lines(jobs: Iterable[Job]) -> Iterator[str]:
    """A table of jobs."""
    rows = [
        (
            job.event_id,
            job.status,
            job.job_name,
            _short(in_one_line(job.title or "")),
            f"{job.created_at:%Y-%m-%d %H:%M:%S}",
            _column_price(job),
        )
        for job in jobs
    ]
    return columns([("EVENT ID", "STATUS", "CHAIN", "TITLE", "CREATED (UTC)", "USD"), *rows])


def _short(title: str) -> str:
    return title if len(title) <= _TITLE_WIDTH else f"{title[: _TITLE_WIDTH - 1]}…"


def _column_price(job: Job) -> str:
    if job.cost_usd is None:
        return "unknown"
    return f"{'max ' if job.estimated.calls and job.cost_usd else ''}{job.cost_usd:.6f}"


def chain_lines(chains: Chains) -> Iterator[str]:
    """The chains, their steps, and the fields of their payloads; then those that can't be used, and why."""
    for chain in chains:
        yield f"{in_one_line(chain.name)}: {in_one_line(chain.description)}"
        yield f"  steps: {', '.join(map(in_one_line, chain.steps))}"
        required = chain.payload_schema.get("required", ())
        fields = chain.payload_schema.get("properties", {})
        words = [in_one_line(name) + ("" if name in required else " (optional)") for name in fields]
        yield f"  payload: {', '.join(words)}"
        yield f"  a job may set: {', '.join(map(in_one_line, chain.overrides)) or 'nothing in place of the chain'}"
    for broken in chains.unusable:
        yield f"{in_one_line(broken.name)}: can't be used"
        yield f"  reason: {in_one_line(broken.reason)}"


def stats_lines(stats: Stats) -> Iterator[str]:
    """The numbers."""
    yield "Jobs: " + ", ".join(f"{number} {in_one_line(status)}" for status, number in stats.jobs.items())
    yield (
        f"Today ({in_one_line(stats.date)} UTC): {stats.created} created, "
        f"{spent(stats.usage, stats.cost_usd, stats.estimated)}"
    )
    for title, parts in (("by model", stats.by_model), ("by key", stats.by_key), ("by chain", stats.by_chain)):
        for name, part in sorted(parts.items()):
            calls = "1 call" if part.calls == 1 else f"{part.calls} calls"
            used = spent(part.usage, part.cost_usd, part.estimated)
            yield f"  {title}: {in_one_line(name) or ('(no key)' if title == 'by key' else '(none)')}, {calls}, {used}"
    if stats.replays and (stats.replays.created or stats.replays.whole.spending.calls):
        part = stats.replays.whole.spending
        yield f"  in replays: {stats.replays.created} created, {spent(part.usage, part.cost_usd, part.estimated)}"
    if stats.queue is not None:
        words = (f"{number} {in_one_line(name).replace('_', ' ')}" for name, number in stats.queue.items())
        yield f"Queue: {', '.join(words)}"


def problem_line(error: JobchainError) -> str:
    """A problem in one line, with the id of the request to name when it is reported.

    A 401 also names where the command takes the API key from.
    """
    # Most details name the places already.
    where = [f"{at}: {why}" for at, why in error.errors.items() if at not in error.detail]
    told = "; ".join([error.detail, *where, *([_SET_KEY] if error.status == 401 else [])])
    return in_one_line(f"{told} ({', '.join(filter(None, [error.type, _request(error)]))})")


def _request(error: JobchainError) -> str:
    return f"request {error.request_id}" if error.request_id else ""


def columns(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Rows with aligned columns."""
    clean = [[in_one_line(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*clean, strict=True)]
    for row in clean:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
