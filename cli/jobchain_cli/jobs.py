"""Jobs of the command line: submitted, followed, and printed."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jobchain_cli import watching
from jobchain_cli.advice import advice_lines
from jobchain_cli.choices import Form
from jobchain_cli.details import call_lines, input_lines, prompt_lines
from jobchain_cli.errors import Code
from jobchain_cli.out_folder import OutFolder
from jobchain_cli.results import markdown_lines, result_lines
from jobchain_cli.target import Target
from jobchain_cli.watching import Watched
from jobchain_cli.words import (
    failure,
    in_one_line,
    job_lines,
    json_line,
    problem_line,
    source_lines,
)
from jobchain_client import Job, JobchainError, JobHandle, Submission, WaitTimeout


@dataclass(frozen=True, slots=True)
class Entry:
    """A job to be made, the name of what it is made of, and what it is called; `name` is that of its result's file."""

    source: str
    content: str | Mapping[str, Any]
    title: str | None = None
    name: str = "job"


@dataclass(frozen=True, slots=True)
class Common:
    """What all jobs of a command share."""

    chain: str | None
    metadata: Mapping[str, str]
    options: Mapping[str, Any]
    idempotency_key: str | None

    def submissions(self, entries: Sequence[Entry]) -> Iterator[Submission]:
        for number, entry in enumerate(entries, start=1):
            key = {}
            if self.idempotency_key is not None:
                numbered = f"{self.idempotency_key}-{number}"
                key = {"idempotency_key": self.idempotency_key if len(entries) == 1 else numbered}
            options = {"title": entry.title, **self.options}
            yield Submission(entry.content, self.chain, self.metadata, options=options, **key)


def submit(
    target: Target,
    entries: Sequence[Entry],
    common: Common,
    form: Form,
    *,
    watch: bool,
    limit_seconds: float | None,
    poll: float | None = None,
    out: OutFolder | None = None,
) -> Code:
    """Make the jobs, and follow them if that is wanted; many go in batches. `out` has a file for each entry."""
    submissions = list(common.submissions(entries))
    outcomes: Sequence[JobHandle | JobchainError]
    with target.client() as client:
        if len(submissions) == 1:
            (one,) = submissions
            outcomes = [client.submit(one.content, one.chain, one.metadata, one.idempotency_key, **one.options)]
        else:
            outcomes = client.submit_many(submissions)
    if not watch:
        return _print_ids(entries, outcomes, form)
    sources = [entry.source for entry in entries]
    made = [
        (place, Watched(entry.source, outcome.event_id, outcome.look_at))
        for place, (entry, outcome) in enumerate(zip(entries, outcomes, strict=True))
        if isinstance(outcome, JobHandle)
    ]
    writer = _Writer(out, form, [place for place, _ in made], sources) if out else None
    ends = iter(_watch(target, [watched for _, watched in made], limit_seconds, poll, writer))
    states = [next(ends) if isinstance(outcome, JobHandle) else outcome for outcome in outcomes]
    return _print_states(sources, states, form, writer)


def follow(
    target: Target,
    event_ids: Sequence[str],
    form: Form,
    limit_seconds: float | None,
    poll: float | None,
    out: OutFolder | None = None,
) -> Code:
    """Watch jobs to their ends, and print their results, or write them to `out`."""
    writer = _Writer(out, form, range(len(event_ids)), event_ids) if out else None
    states = _watch(target, [Watched(event_id, event_id) for event_id in event_ids], limit_seconds, poll, writer)
    return _print_states(event_ids, states, form, writer)


class _Writer:
    """Writes the result of each job when it ends, so that those of before are kept whatever comes after."""

    def __init__(self, out: OutFolder, form: Form, places: Sequence[int], sources: Sequence[str]) -> None:
        """`places` are those of the watched jobs among `sources`."""
        self._out, self._form, self._places, self._sources = out, form, places, sources
        self.files: dict[int, str] = {}

    def __call__(self, watched: int, job: Job) -> None:
        if job.status != "completed":
            return
        place = self._places[watched]
        source = self._sources[place]
        if self._form is Form.JSON:
            lines = iter([json_line({"source": source, **job.raw})])
        else:
            lines = _result(source, job, self._form, titled=False)
        self.files[place] = str(self._out.write(place, lines))


def follow_made(
    target: Target, made: JobHandle, form: Form, *, watch: bool, limit_seconds: float | None, poll: float | None = None
) -> Code:
    """Print the id of a job that was made, or follow it to its end and print its result."""
    if not watch:
        return _print_ids([Entry(made.event_id, "")], [made], form)
    states = _watch(target, [Watched(made.event_id, made.event_id, made.look_at)], limit_seconds, poll)
    return _print_states([made.event_id], states, form)


def show(job: Job, form: Form, *, calls: bool = False) -> None:
    """Print a job as it is, with what was read of it: its payload, its prompts, and its calls if they are wanted."""
    if form is Form.JSON:
        print(json_line(job.raw))
    elif form is Form.MARKDOWN:
        _write(markdown_lines(job.result, job.event_id, job.result_view))
    else:
        parts = (*input_lines(job), *prompt_lines(job), *(call_lines(job) if calls else ()))
        result = (*result_lines(job.result, job.result_view), "", *source_lines(job))
        _write((*job_lines(job), *advice_lines(job), *parts, *result))


def _watch(
    target: Target,
    jobs: Sequence[Watched],
    limit_seconds: float | None,
    poll: float | None,
    ended: _Writer | None = None,
) -> Sequence[Job | JobchainError]:
    try:
        return watching.watch(target, jobs, limit_seconds, watching.terminal(), poll=poll, ended=ended)
    except KeyboardInterrupt:
        ids = " ".join(in_one_line(job.event_id) for job in jobs)
        print(f"jobchain: stopped watching; the jobs continue: jobchain watch {ids}", file=sys.stderr)
        raise


def _print_ids(entries: Sequence[Entry], outcomes: Sequence[JobHandle | JobchainError], form: Form) -> Code:
    code = Code.DONE
    for entry, outcome in zip(entries, outcomes, strict=True):
        if isinstance(outcome, JobchainError):
            code = Code.ERROR
            _tell_problem(entry.source, outcome, form)
        elif form is Form.JSON:
            made = {"event_id": outcome.event_id, "replayed": outcome.replayed}
            print(json_line({"source": entry.source, **made}))
        else:
            print(in_one_line(outcome.event_id))
    return code


def _print_states(
    sources: Sequence[str], states: Sequence[Job | JobchainError], form: Form, writer: _Writer | None = None
) -> Code:
    many = len(sources) > 1
    advised: set[str] = set()
    for place, (source, state) in enumerate(zip(sources, states, strict=True)):
        if isinstance(state, JobchainError):
            _tell_problem(source, state, form)
            continue
        if writer and place in writer.files:
            _print_file(source, state, writer.files[place], form)
        elif form is Form.JSON:
            print(json_line({"source": source, **state.raw}))
        elif state.status == "completed":
            _write(_result(source, state, form, titled=many))
        if state.status != "completed":
            print(
                f"jobchain: {in_one_line(source)}: {failure(state)} (job {in_one_line(state.event_id)})",
                file=sys.stderr,
            )
            # Of many jobs that fail alike it is told once.
            kind = state.error.type if state.error else ""
            for line in advice_lines(state) if kind not in advised else ():
                print(f"jobchain: {line}", file=sys.stderr)
            advised.add(kind)
        elif not many:
            print(*source_lines(state), file=sys.stderr)
    if many:
        jobs = [state for state in states if isinstance(state, Job)]
        told = watching.totals([job.status for job in jobs], len(states), len(states) - len(jobs))
        print(f"jobchain: {told}{_cost(jobs)}", file=sys.stderr)
    return _code(states)


def _print_file(source: str, job: Job, file: str, form: Form) -> None:
    if form is Form.JSON:
        print(json_line({"source": source, "event_id": job.event_id, "status": job.status, "file": file}))
    else:
        print(in_one_line(file))


def _cost(jobs: Sequence[Job]) -> str:
    """What the jobs cost together, as far as that is known."""
    known = [job.cost_usd for job in jobs if job.cost_usd is not None]
    return f", ${sum(known):.6f}" if known and len(known) == len(jobs) else ""


def _result(source: str, job: Job, form: Form, *, titled: bool) -> Iterator[str]:
    if form is Form.MARKDOWN:
        yield from markdown_lines(job.result, "Standard input" if source == "-" else source, job.result_view)
    else:
        lines = result_lines(job.result, job.result_view)
        if titled:
            yield f"=== {in_one_line(source)} ==="
        else:
            # The first line is blank.
            next(lines, None)
        yield from lines
    if titled:
        yield ""


def _tell_problem(source: str, error: JobchainError, form: Form) -> None:
    if form is Form.JSON:
        problem = error.problem
        known = {"type": problem.type, "status": problem.status, "detail": problem.detail, **problem.raw}
        print(json_line({"source": source, "problem": known}))
    print(f"jobchain: {in_one_line(source)}: {problem_line(error)}", file=sys.stderr)


def _code(states: Sequence[Job | JobchainError]) -> Code:
    """The first of these that happened: an error, a failed job, a timeout, a cancelled job."""
    found = {_code_of(state) for state in states}
    return next((code for code in (Code.ERROR, Code.FAILED, Code.TIMEOUT, Code.CANCELLED) if code in found), Code.DONE)


def _code_of(state: Job | JobchainError) -> Code:
    if isinstance(state, WaitTimeout):
        return Code.TIMEOUT
    if isinstance(state, JobchainError):
        return Code.ERROR
    return {"completed": Code.DONE, "cancelled": Code.CANCELLED}.get(state.status, Code.FAILED)


def _write(lines: "Iterator[str] | Sequence[str]") -> None:
    for line in lines:
        print(line)
