"""Decisions of a chain's author in a run on this machine: asked for at the terminal, or given on the command line."""

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import typer

from jobchain.approvals import Approval, Decided, Decision
from jobchain.chains.approving import ApprovalStep, EditDoesNotFit
from jobchain.chains.chain import Chain, StepContext
from jobchain_cli.decisions import edit_of
from jobchain_cli.editor import edited
from jobchain_cli.errors import CommandError
from jobchain_cli.words import in_one_line, printable, text_of

_BY = "the terminal"


def decide_by(
    chain: Chain, payload: Mapping[str, Any], approved: Sequence[str], tell: Callable[[str], None]
) -> Callable[[Approval], Decided]:
    """What decides the chain's steps: those of `approved` are approved, and the others asked for at the terminal.

    Raises BadParameter for a name of another step. What it gives raises CommandError without a terminal.
    """
    steps = {step.name: step for step in chain.steps if isinstance(step, ApprovalStep)}
    if unknown := [name for name in approved if name not in steps]:
        known = ", ".join(steps) or "no such step"
        raise typer.BadParameter(f"--approve {unknown[0]}: of the steps that a person decides, the chain has {known}")

    def decide(approval: Approval) -> Decided:
        if approval.step in approved:
            tell(f"{approval.step}: approved by --approve")
            return Decided(Decision.APPROVE, by="--approve")
        if not sys.stdin.isatty():
            what = f"give --approve {approval.step}, or run it in a terminal"
            raise CommandError(f"the step {approval.step} waits for a decision: {what}")
        return _asked(steps[approval.step], payload, chain, approval)

    return decide


def _asked(step: ApprovalStep, payload: Mapping[str, Any], chain: Chain, approval: Approval) -> Decided:
    typer.echo(f"\n{in_one_line(approval.title)}\n", err=True)
    typer.echo(printable(text_of(approval.shown)), err=True)
    while True:
        choice = typer.prompt("\n[a]pprove, [e]dit or [r]eject", err=True).strip().lower()
        if choice in ("a", "approve"):
            return Decided(Decision.APPROVE, by=_BY)
        if choice in ("r", "reject"):
            return Decided(Decision.REJECT, by=_BY)
        if choice not in ("e", "edit"):
            continue
        text = edited(text_of(approval.shown), ".txt" if isinstance(approval.shown, str) else ".json")
        if text is None:
            typer.echo("nothing was saved", err=True)
            continue
        try:
            value = edit_of(text, approval.shown)
            return Decided(Decision.EDIT, step.edited(value, _context(chain, payload)), by=_BY)
        except (EditDoesNotFit, typer.BadParameter) as error:
            typer.echo(in_one_line(f"the edit does not fit: {error}"), err=True)


def _context(chain: Chain, payload: Mapping[str, Any]) -> StepContext[Any]:
    return StepContext(chain.payload.model_validate(payload), {})
