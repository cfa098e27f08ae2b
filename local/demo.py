"""The demo: one text through the whole chain, and its result on the terminal."""

import contextlib
import time
from dataclasses import replace
from pathlib import Path
from typing import TextIO

from jobchain_cli import texts, watching
from jobchain_cli.results import result_lines
from jobchain_cli.target import Target
from jobchain_cli.watching import Watched
from jobchain_cli.words import failure, problem_line, source_lines, step_lines
from jobchain_client import Job, Jobchain, JobchainError
from local.errors import LocalError
from local.settings import Settings
from local.signals import Stopped
from local.stack import EmbeddedStack

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

    Raises TextError, SettingsError, JobError and what `EmbeddedStack.start` raises.
    """
    text = read_text(file)

    def say(line: str) -> None:
        out.write(f"{line}\n")
        out.flush()

    # No key is needed: the stack is the demo's own, on this machine, and `jobchain keys` would not find it.
    settings = replace(Settings.load(root), auth_mode="")
    with EmbeddedStack.start(settings, say=say) as stack:
        say(f"Posting {_short(file)} to it ...")
        job = show_job(Target(stack.api_url, None), text, str(_short(file)), out)
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
        "  docs/tutorial/            first-job.md: the same over HTTP; own-chain.md: a chain of your own, in 20 lines",
    )


def show_job(target: Target, text: str, source: str, out: TextIO) -> Job:
    """Submit the text, show its steps on the way, then print the result. Returns the job. Raises JobError."""
    try:
        with Jobchain(target.url) as api:
            event_id = api.submit(text).event_id
    except JobchainError as error:
        raise JobError(problem_line(error)) from error
    out.write(f"Job {event_id}\n")
    out.flush()
    console = watching.terminal()
    (job,) = watching.watch(target, [Watched(source, event_id)], LIMIT, console, poll=POLL_SECONDS)
    if isinstance(job, JobchainError):
        raise JobError(problem_line(job))
    if job.status != "completed":
        raise JobError(failure(job))
    # The terminal shows the steps already.
    steps = () if console else step_lines(job)
    lines = (*steps, *result_lines(job.result, job.result_view), "", *source_lines(job))
    out.write("".join(f"{line}\n" for line in lines))
    return job
