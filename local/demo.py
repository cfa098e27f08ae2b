"""The demo: one text through the whole chain, and its result on the terminal."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO

from local.api_client import ApiClient
from local.errors import LocalError
from local.settings import Settings
from local.signals import Stopped
from local.stack import LocalStack

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "access-review.md"
MAX_CHARACTERS = 100_000
POLL_SECONDS = 0.1
LIMIT = 900.0  # seconds; a job's worst case with a slow model, far more than the demo's usual second
FINAL = ("completed", "failed", "cancelled")


class TextError(LocalError):
    """The file can't be posted; says why."""


class JobError(LocalError):
    """The job did not complete; says why."""


def read_text(path: Path) -> str:
    """The file's text, fit to be posted. Raises TextError."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise TextError(f"{path}: {error.strerror}. Name a text file, as in `make demo FILE=notes.md`") from error
    except UnicodeDecodeError as error:
        raise TextError(f"{path}: not UTF-8 (byte {error.start}). Convert it first, for instance with iconv") from error
    if not (length := len(text.strip())):
        raise TextError(f"{path}: empty. The API takes texts of 1 to {MAX_CHARACTERS:,} characters")
    if length > MAX_CHARACTERS:
        raise TextError(f"{path}: {length:,} characters. The API takes at most {MAX_CHARACTERS:,}")
    return text


def run(root: Path, file: Path, out: TextIO, *, keep: bool) -> None:
    """Start a stack, run the file's text through it and stop it; with `keep` only once a signal says so.

    Raises TextError, SettingsError, JobError, ApiError and what `LocalStack.start` raises.
    """
    text = read_text(file)
    # No key is needed: the stack is the demo's own, on this machine, and `make key` would not find it.
    settings = replace(Settings.load(root), auth_mode="")
    with LocalStack.start(settings) as stack:
        show_job(ApiClient(stack.api_url), text, out)
        if keep:
            with contextlib.suppress(Stopped):
                out.write(f"\nThe stack stays up until Ctrl-C: {stack.api_url}\n")
                out.flush()
                # Not signal.pause(): a signal that comes just before it would be waited for in vain.
                while True:
                    time.sleep(POLL_SECONDS)


def show_job(api: ApiClient, text: str, out: TextIO) -> None:
    """Post the text, show each step as it goes, then print the result. Raises ApiError, JobError."""
    event_id = api.create_job(text)
    out.write(f"Job {event_id}\n")
    progress = Progress(out)
    deadline = time.monotonic() + LIMIT
    while (job := api.job(event_id))["status"] not in FINAL:
        progress.show(job)
        if time.monotonic() > deadline:
            raise JobError(f"the job is still {job['status']} after {LIMIT:g} s")
        time.sleep(POLL_SECONDS)
    progress.show(job)
    if job["status"] != "completed":
        raise JobError(failure(job))
    out.write("".join(f"{line}\n" for line in (*result_lines(job["result"]), *source_lines(job))))


class Progress:
    """A line when a step starts and one when it ends; on a terminal the second takes the first one's place."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._terminal = out.isatty()
        self._started: dict[str, float] = {}
        self._ended: set[str] = set()

    def show(self, job: dict[str, Any]) -> None:
        """Print what has changed since the last call."""
        for step in job["steps"]:
            name, status = printable(step["name"]), step["status"]
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


def result_lines(result: dict[str, Any]) -> Iterator[str]:
    """The result as a person reads it: summary, checklist, and the diagram's Mermaid text."""
    yield from ("", "Summary", "", printable(result["summary"]))
    yield from ("", "Checklist", "", *(f"[ ] {printable(item)}" for item in result["checklist"]))
    yield from ("", "Diagram (Mermaid)", "", printable(result["diagram"]))


def source_lines(job: dict[str, Any]) -> Iterator[str]:
    """Who answered, and what it took."""
    # A step that puts together what the parts of a long text gave has asked no model.
    models = ", ".join(sorted({printable(step["model"]) for step in job["steps"] if step["model"]}))
    usage, cost = job["usage"], job["cost_usd"]
    price = "at a price that is not known" if cost is None else f"for ${cost:.6f}"
    yield f"Answered by {models}: {usage['input_tokens']} tokens in, {usage['output_tokens']} out, {price}."


def printable(text: str) -> str:
    """The text without control characters: a terminal obeys some of them, and a model wrote this."""
    return "".join(
        c if c in "\n\t" or (ord(c) >= 32 and not 127 <= ord(c) < 160) else "\N{REPLACEMENT CHARACTER}" for c in text
    )


def _seconds(step: dict[str, Any], seen: float | None) -> float:
    """How long a finished step took by its own times, else since it was first seen."""
    if step.get("started_at") and step.get("finished_at"):
        return (
            datetime.fromisoformat(step["finished_at"]) - datetime.fromisoformat(step["started_at"])
        ).total_seconds()
    return time.monotonic() - seen if seen else 0.0


def failure(job: dict[str, Any]) -> str:
    """Why a final job did not complete, in one line."""
    if not (error := job.get("error")):
        return f"the job was {job['status']}"
    step = f" in step {error['step']}" if error.get("step") else ""
    return printable(f"the job {job['status']}{step}: {error['type']}: {error['message']}")
