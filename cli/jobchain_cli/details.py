"""What is behind a job, as a person reads it: its payload, its prompts, and its calls of the model."""

import json
from collections.abc import Iterator

from jobchain_cli.words import columns, in_one_line, printable
from jobchain_client import Attempt, Call, Job, Prompt

_CALLS = (
    *("STARTED (UTC)", "SECONDS", "STEP", "MODEL", "TIER", "EFFORT", "IN", "CACHED", "WRITTEN", "OUT", "REASONING"),
    *("USD", "OUTCOME", "REQUEST ID"),
)


def input_lines(job: Job) -> Iterator[str]:
    """The payload: a text under the name of its field, anything else as JSON."""
    if job.input is None:
        return
    for name, value in job.input.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        yield from ("", f"Input: {in_one_line(name)}", "", printable(text).rstrip("\n"))


def prompt_lines(job: Job) -> Iterator[str]:
    """What the model was asked, step by step."""
    for prompt in job.prompts or ():
        yield from ("", f"Prompt of {in_one_line(prompt.step)}{_sent(prompt)}", "")
        if prompt.instructions is not None:
            yield from (printable(prompt.instructions).rstrip("\n"), "")
        yield in_one_line(prompt.problem) if prompt.problem else printable(prompt.input).rstrip("\n")


def _sent(prompt: Prompt) -> str:
    version = f" (version {in_one_line(prompt.chain_version)})" if prompt.chain_version else ""
    changed = " (the chain has changed since: this is not what was sent)" if prompt.same_as_sent is False else ""
    return version + changed


def call_lines(job: Job) -> Iterator[str]:
    """A table of the calls, in the order of their beginning, and the answers of those that failed, with the causes."""
    calls = sorted((*(job.failed_attempts or ()), *(job.answered_calls or ())), key=lambda call: call.started_at)
    if calls:
        yield ""
        yield from columns([_CALLS, *map(_row, calls)])
    for call in calls:
        if isinstance(call, Attempt) and call.answer:
            title = f"Answer of the failed call at {call.started_at:%H:%M:%S} UTC, step {call.step}: {call.outcome}"
            yield from ("", in_one_line(title), in_one_line(call.cause or ""), "", printable(call.answer).rstrip("\n"))


def _row(call: Call) -> tuple[str, ...]:
    usage = call.usage
    most = "max " if call.estimated else ""
    return (
        f"{call.started_at:%Y-%m-%d %H:%M:%S}",
        f"{call.seconds:.1f}",
        call.step,
        call.model,
        call.tier,
        call.effort or "",
        f"{most}{usage.input_tokens}",
        str(usage.cached_tokens),
        str(usage.cache_write_tokens),
        f"{most}{usage.output_tokens}",
        str(usage.reasoning_tokens),
        "unknown" if call.cost_usd is None else f"{most}{call.cost_usd:.6f}",
        call.outcome if isinstance(call, Attempt) else "answered",
        call.request_id or "",
    )
