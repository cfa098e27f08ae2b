"""What an operator does about an alarm: test, pause, retry, look into logs and dead letters."""

import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import typer

from jobchain.aws.items import job_key
from jobchain.aws.table import Table
from jobchain.connection import UnusableSetting, checked_key, checked_url
from jobchain.domain import EVENT_ID, Job, isoformat, utc_now
from jobchain_cli import job_logs, pausing
from jobchain_cli import letters as dead_letters
from jobchain_cli.errors import Code, CommandError
from jobchain_cli.failed_jobs import LONGEST_RUN, FailedJobs, Found, Outcome, Wanted, checked_type
from jobchain_cli.keys import checked_tenant
from jobchain_cli.operate import told
from jobchain_cli.slow import told_when_slow
from jobchain_cli.smoke import Options, Smoke
from jobchain_cli.spans import span
from jobchain_cli.stack import Stack
from jobchain_cli.words import columns, in_one_line, json_line, printable
from jobchain_client import BadArgument

UNASKED = 20
"""The most jobs or letters that are changed without a confirmation."""

_WITHOUT_JOB = timedelta(days=7)
_RECENT = timedelta(hours=1)
_EARLIER = timedelta(minutes=1)


# --- test ------------------------------------------------------------------------------------------------------------


def smoke(stack_name: str | None, api_key: str | None, url: str | None, limit_seconds: float) -> None:
    """Run a job through the stack, and say which step works. Raises CommandError at the first one that does not."""
    try:
        options = Options(
            checked_key("--api-key", api_key) if api_key else None,
            checked_url("--url", url) if url else None,
            limit_seconds,
        )
    except UnusableSetting as error:
        raise CommandError(str(error), Code.USAGE) from error
    try:
        with told():
            stack = Stack.find(stack_name)
            Smoke(stack, options, lambda words: print(f"ok  {printable(words)}", flush=True)).run()
    except BadArgument as error:
        raise CommandError(str(error), Code.USAGE) from error
    print(f"The stack {stack.name} works.")


# --- pause -----------------------------------------------------------------------------------------------------------


def pause(stack_name: str | None) -> None:
    """Pause the workers."""
    with told():
        stack = Stack.find(stack_name)
        with told_when_slow("the workers to be paused"):
            for line in pausing.switch(stack, enabled=False):
                print(line, flush=True)
    print("The API still accepts jobs; they wait. Jobs that a worker holds run to the end of its invocation.")
    print("Deadlines are not moved: a job whose deadline passes meanwhile fails as deadline_exceeded.")
    print("A deployment that changes WorkerConcurrency, FlexConcurrency or BatchSize may resume the workers.")
    print(f"Continue with: jobchain resume{_named(stack)}")


def resume(stack_name: str | None) -> None:
    """Resume the workers."""
    with told(), told_when_slow("the workers to be resumed"):
        for line in pausing.switch(Stack.find(stack_name), enabled=True):
            print(line, flush=True)
    print("Waiting jobs run as soon as workers get their messages.")


def _named(stack: Stack) -> str:
    return "" if stack.endpoint_url else f" --stack {stack.name}"


# --- failed jobs -----------------------------------------------------------------------------------------------------


def retry_failed(wanted: dict[str, Any], stack_name: str | None, *, dry_run: bool, yes: bool, as_json: bool) -> Code:
    """Retry all failed jobs of options as they were typed; gives ERROR if some could not be retried."""
    chosen = _wanted(**wanted)
    with told():
        stack = Stack.find(stack_name)
        jobs = FailedJobs(
            stack.client("dynamodb"),
            stack.client("sqs"),
            stack.table,
            stack.queue_url,
            stack.flex_queue_url,
            utc_now,
        )
        with told_when_slow("the failed jobs"):
            found = jobs.find(chosen)
        _tell_found(found, chosen, as_json=as_json)
        if dry_run or not found.jobs:
            if as_json:
                _print_jobs([Outcome(job) for job in found.jobs], "found")
            return Code.DONE
        _confirm(len(found.jobs), "Retry", "failed job", yes=yes)
        outcomes: list[Outcome] = []
        try:
            for part in jobs.retry(found.jobs):
                outcomes += part
                if as_json:
                    _print_jobs(part, "retried")
        finally:
            # Also of a run that an error or Ctrl-C has ended.
            code = _tell_outcomes(outcomes)
    return code


def _wanted(since: str, created_since: str | None, types: Sequence[str], tenant: str | None) -> Wanted:
    ago = span("--since", since)
    now = utc_now()
    age = span("--created-since", created_since) if created_since else ago + LONGEST_RUN
    if age < ago:
        raise CommandError(f"--created-since {created_since!r}: use a span that is longer than --since", Code.USAGE)
    with told():
        return Wanted(
            now - ago,
            now - age,
            tuple(map(checked_type, types)),
            None if tenant is None else checked_tenant(tenant),
        )


def _tell_found(found: Found, wanted: Wanted, *, as_json: bool) -> None:
    """Says which jobs were found; beside JSON on standard error."""
    out = sys.stderr if as_json else sys.stdout
    since = f"since {wanted.since:%Y-%m-%d %H:%M:%S} UTC"
    if found.jobs:
        counts = Counter((_type(job), job.tenant) for job in found.jobs)
        rows = [(kind, tenant, str(number)) for (kind, tenant), number in counts.most_common()]
        print(*columns([("ERROR", "TENANT", "JOBS"), *rows]), sep="\n", file=out)
    print(
        f"{_counted(len(found.jobs), 'failed job')} {since}, created since {wanted.created_since:%Y-%m-%d}.", file=out
    )
    if found.others:
        others = ", ".join(f"{number} {in_one_line(kind)}" for kind, number in found.others.most_common())
        print(f"Of other types: {others}.", file=out)


def _type(job: Job) -> str:
    return job.error.type if job.error else "-"


def _print_jobs(outcomes: Sequence[Outcome], done: str) -> None:
    for outcome in outcomes:
        job = outcome.job
        known = {"event_id": job.event_id, "tenant": job.tenant, "job_name": job.job_name}
        refused = {"refused": str(outcome.refused)} if outcome.refused else {}
        print(json_line({**known, "outcome": "refused" if refused else done, **refused}), flush=True)


def _tell_outcomes(outcomes: Sequence[Outcome]) -> Code:
    refused = [outcome for outcome in outcomes if outcome.refused]
    moved = [outcome for outcome in refused if outcome.has_moved]
    left = f", {len(moved)} were changed by another caller meanwhile" if moved else ""
    print(f"{_counted(len(outcomes) - len(refused), 'job')} retried{left}.", file=sys.stderr)
    failed = [outcome for outcome in refused if not outcome.has_moved]
    if not failed:
        return Code.DONE
    cause = failed[0].refused
    said = cause.__cause__ or cause if cause else ""
    print(f"jobchain: {_counted(len(failed), 'job')} not retried: {in_one_line(said)}. Run it again", file=sys.stderr)
    return Code.ERROR


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _confirm(number: int, verb: str, noun: str, *, yes: bool, always: bool = False) -> None:
    """Asks whether to change that many. Raises CommandError without a terminal, typer.Abort for a no."""
    if yes or (number <= UNASKED and not always):
        return
    what = _counted(number, noun)
    if not sys.stdin.isatty():
        raise CommandError(f"{verb.lower()} {what}? Without a terminal to confirm on, give --yes", Code.USAGE)
    typer.confirm(f"{verb} {what}?", abort=True, err=True)


# --- logs ------------------------------------------------------------------------------------------------------------


def logs(event_id: str, since: str | None, stack_name: str | None, *, as_json: bool) -> Code:
    """Print a job's log lines, or those of a request; gives ERROR if there are none."""
    if not re.fullmatch(EVENT_ID, event_id):
        raise CommandError(
            "EVENT_ID: use the event_id of a job or the request_id of an answer, such as "
            "3f0e1c7a-5d2b-4a7e-9c61-0b8f2d4e6a19",
            Code.USAGE,
        )
    ago = span("--since", since) if since else None
    with told():
        stack = Stack.find(stack_name)
        start = utc_now() - ago if ago else None
        if start is None:
            created = _created(stack, event_id)
            start = created - _EARLIER if created else utc_now() - _WITHOUT_JOB
        with told_when_slow("the logs"):
            found = job_logs.lines(stack, event_id, start)
    _print_lines(found, as_json=as_json)
    if found:
        return Code.DONE
    print(
        f"jobchain: no line of the logs of {stack.name} since {isoformat(start)} has {event_id}: a line takes some "
        "seconds to arrive, and an older one needs --since",
        file=sys.stderr,
    )
    return Code.ERROR


def errors(since: str | None, stack_name: str | None, *, as_json: bool) -> None:
    """Print the errors in the logs of all functions."""
    start = utc_now() - (span("--since", since) if since else _RECENT)
    with told():
        stack = Stack.find(stack_name)
        with told_when_slow("the logs"):
            found = job_logs.errors(stack, start)
    _print_lines(found, as_json=as_json)
    print(f"{_counted(len(found), 'error')} since {isoformat(start)}.", file=sys.stderr)


def _print_lines(found: Sequence[job_logs.Line], *, as_json: bool) -> None:
    for line in found:
        print(json_line(job_logs.as_json(line)) if as_json else job_logs.readable(line))


def _created(stack: Stack, event_id: str) -> datetime | None:
    """When the job was created; None if it does not exist."""
    found = Table(stack.client("dynamodb"), stack.table).get(job_key(event_id), ["created_at"])
    return datetime.fromisoformat(found["created_at"]) if found else None


# --- dead letters ----------------------------------------------------------------------------------------------------


def list_letters(stack_name: str | None, limit: int, *, as_json: bool) -> None:
    """Print the dead letters."""
    with told():
        stack = Stack.find(stack_name)
        with _read(stack, limit) as found:
            if as_json:
                print(
                    *(json_line(dead_letters.as_json(letter)) for letter in found), sep="\n", end="\n" if found else ""
                )
                return
            if found:
                print(*columns(list(dead_letters.rows(found, utc_now()))), sep="\n")
            more = f" There may be more: --limit {limit * 10}" if len(found) == limit else ""
            print(f"{_counted(len(found), 'dead letter')}.{more}", file=sys.stderr)


def drop_letters(stack_name: str | None, names: Sequence[str], *, yes: bool) -> None:
    """Delete dead letters: those with these names, or all."""
    with told():
        stack = Stack.find(stack_name)
        with _read(stack, 10_000) as found:
            wanted = dead_letters.chosen(found, names) if names else list(found)
            if wanted:
                _confirm(len(wanted), "Drop", "dead letter", yes=yes, always=True)
            dropped = dead_letters.drop(stack, wanted)
            for letter in wanted:
                found.remove(letter)
    print(f"{_counted(dropped, 'dead letter')} dropped.")


@contextmanager
def _read(stack: Stack, most: int) -> Iterator[list[dead_letters.Letter]]:
    """The dead letters; those that are in the list at the end are visible again."""
    with told_when_slow("the dead letters"):
        found = dead_letters.read(stack, most)
    try:
        yield found
    finally:
        dead_letters.put_back(stack, found)
