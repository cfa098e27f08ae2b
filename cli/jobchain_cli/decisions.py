"""Decisions on steps that wait for a person: which step, what is decided, and an edit from a file."""

import json
from typing import Any

import typer

from jobchain_cli.errors import CommandError
from jobchain_cli.words import in_one_line
from jobchain_client import Approval, Job


def waiting_step(job: Job, named: str | None) -> tuple[str, Approval | None]:
    """The step that is meant: the named one, else the one that waits. Raises CommandError where none does."""
    if named is not None:
        return named, next((step.approval for step in job.steps if step.name == named), None)
    waits = job.waiting_for is not None and job.waiting_for.reason == "approval"
    for step in job.steps:
        if waits and step.approval and step.approval.decision is None:
            return step.name, step.approval
    raise CommandError(in_one_line(f"job {job.event_id} is {job.status}: no step of it waits for a decision"))


def edit_of(text: str, shown: Any) -> Any:
    """The value of an edit: the text where what is shown is one, else what it is as JSON. Raises BadParameter."""
    if isinstance(shown, str):
        return text.removesuffix("\n")
    try:
        return json.loads(text)
    except ValueError as error:
        raise typer.BadParameter(f"the edit is no JSON, which the step's value is: {error}") from error
