"""The demo: one text through the whole chain, and its result on the terminal."""

import contextlib
import time
from dataclasses import replace
from pathlib import Path
from typing import TextIO

from jobchain_cli import texts
from jobchain_cli.words import failure, printable, problem_line, result_lines, source_lines
from jobchain_client import FINAL, Job, Jobchain, JobchainError, JobHandle, Step
from local.errors import LocalError
from local.settings import Settings
from local.signals import Stopped
from local.stack import LocalStack

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "access-review.md"
POLL_SECONDS = 0.1
LIMIT = 900.0  # seconds; a job's worst case with a slow model, far more than the demo's usual second


class TextError(LocalError):
    """The file can't be posted; says why."""


class JobError(LocalError):
    """The job did not complete; says why."""


def read_text(path: Path) -> str:
    """The file's text, fit to be posted. Raises TextError."""
    try:
        return texts.read_file(path)
    except texts.SourceError as error:
        raise TextError(f"{error}. Another file: `make demo FILE=notes.md`") from error


def run(root: Path, file: Path, out: TextIO, *, keep: bool) -> None:
    """Start a stack, run the file's text through it and stop it; with `keep` only once a signal says so.

    Raises TextError, SettingsError, JobError and what `LocalStack.start` raises.
    """
    text = read_text(file)

    def say(line: str) -> None:
        out.write(f"{line}\n")
        out.flush()

    # No key is needed: the stack is the demo's own, on this machine, and `make key` would not find it.
    settings = replace(Settings.load(root), auth_mode="")
    with LocalStack.start(settings, say=say) as stack:
        say(f"Posting {_short(file)} to it ...")
        with Jobchain(stack.api_url) as api:
            job = show_job(api, text, out)
        say("\n".join(["", *_explained(settings), *(() if keep else _next())]))
        if keep:
            with contextlib.suppress(Stopped):
                say(f"\nThe dashboard shows this job: {stack.api_url}/queue#/jobs/{job.event_id}")
                say(f"The stack stays up until Ctrl-C: {stack.api_url}")
                stack.warm_up()
                # Not signal.pause(): a signal that comes just before it would be waited for in vain.
                while True:
                    time.sleep(POLL_SECONDS)


def _short(file: Path) -> Path:
    """The file's path as short as it can be written here."""
    return file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file


def _explained(settings: Settings) -> tuple[str, ...]:
    """What to think of the result."""
    if not settings.offline:
        return ()
    return (
        "The offline model picks sentences out of the text, by rules. For the answers of a real model put",
        "OPENAI_API_KEY or OPENAI_BASE_URL into .env: docs/how-to/models.md.",
    )


def _next() -> tuple[str, ...]:
    """What to do after the demo."""
    return (
        "",
        "Next:",
        "  make demo FILE=notes.md   the same with a text of your own",
        "  make dev                  a stack that stays up: its dashboard draws the diagram, and takes new jobs",
    )


def show_job(api: Jobchain, text: str, out: TextIO) -> Job:
    """Submit the text, show each step as it goes, then print the result. Returns the job. Raises JobError."""
    try:
        handle = api.submit(text)
        out.write(f"Job {handle.event_id}\n")
        job = _follow(handle, Progress(out))
    except JobchainError as error:
        raise JobError(problem_line(error)) from error
    if job.status != "completed":
        raise JobError(failure(job))
    out.write("".join(f"{line}\n" for line in (*result_lines(job.result), "", *source_lines(job))))
    return job


def _follow(handle: JobHandle, progress: "Progress") -> Job:
    """The job once it has ended. Not `watch`: its steps' seconds are to be seen going by."""
    deadline = time.monotonic() + LIMIT
    job = handle.get()
    while not job.final:
        progress.show(job)
        if time.monotonic() > deadline:
            raise JobError(f"the job is still {job.status} after {LIMIT:g} s")
        time.sleep(POLL_SECONDS)
        job = handle.get(job)
    progress.show(job)
    return job


class Progress:
    """A line when a step starts and one when it ends; on a terminal the second takes the first one's place."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._terminal = out.isatty()
        self._started: dict[str, float] = {}
        self._ended: set[str] = set()

    def show(self, job: Job) -> None:
        """Print what has changed since the last call."""
        for step in job.steps:
            name, status = printable(step.name), step.status
            if name in self._ended:
                continue
            if status in FINAL:
                self._ended.add(name)
                self._write(f"  {name}: {status} in {_seconds(step, self._started.get(name)):.1f} s", "\n")
            elif status == "processing":
                if name not in self._started:
                    self._started[name] = time.monotonic()
                    self._write(f"  {name}: started", "" if self._terminal else "\n")
                elif self._terminal:
                    self._write(f"  {name}: {time.monotonic() - self._started[name]:.1f} s", "")

    def _write(self, text: str, end: str) -> None:
        start = "\r\x1b[K" if self._terminal else ""
        self._out.write(f"{start}{text}{end}")
        self._out.flush()


def _seconds(step: Step, seen: float | None) -> float:
    """How long a finished step took by its own times, else since it was first seen."""
    if step.seconds is not None:
        return step.seconds
    return time.monotonic() - seen if seen else 0.0
