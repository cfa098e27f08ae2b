"""Runs a chain in this process with the worker's own code, its state kept in memory: no emulator, no AWS."""

import os
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import typer
from pydantic import ValidationError

from jobchain.chains.call_options import CallOptions
from jobchain.chains.chain import Chain, Step
from jobchain.chains.declared import option_faults
from jobchain.domain import Status, WaitingFor, WaitReason
from jobchain.llm import LLM
from jobchain.testing import Run
from jobchain_cli import author_chains, author_decisions, texts
from jobchain_cli.choices import Form
from jobchain_cli.errors import Code, CommandError
from jobchain_cli.payloads import PayloadError, payloads, values
from jobchain_cli.results import markdown_lines, result_lines
from jobchain_cli.run_progress import Progress, WatchedLLM, to_terminal
from jobchain_cli.words import in_one_line, json_line, price
from jobchain_offline.answering import MODEL
from jobchain_offline.llm import OfflineLLM
from jobchain_worker.one_job import OneJob, run_one

Close = Callable[[], Coroutine[Any, Any, None]] | None

_OFFLINE = ("offline", MODEL)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be run: a chain, texts and `key=value` pairs. The model and the effort override those of all steps.

    The steps of `approve` are approved without asking.
    """

    which: str
    sources: Sequence[str]
    model: str | None
    effort: str | None
    values: Sequence[str]
    approve: Sequence[str] = ()


def run(wanted: Wanted, form: Form, step: str | None) -> Code:
    """Runs the chain, or a step with those that it needs, and prints the result."""
    chain = author_chains.one(wanted.which).compiled
    if step is not None:
        chain = _up_to(chain, step)
    source, payload = _payload(wanted, chain)
    done = _run(wanted, chain, payload)
    _print(source, done, form, step)
    return Code.DONE if done.status is Status.COMPLETED else Code.FAILED


def record(wanted: Wanted, to: Path) -> Code:
    """Runs the chain, and keeps the answers in a file where the job completed."""
    if not to.parent.is_dir():
        raise CommandError(f"{to}: there is no folder {to.parent}")
    chain = author_chains.one(wanted.which).compiled
    source, payload = _payload(wanted, chain)
    done = _run(wanted, chain, payload)
    _tell_end(source, done)
    if done.status is not Status.COMPLETED:
        return Code.FAILED
    done.record(to)
    count = sum(call.answer is not None for call in done.calls)
    print(f"{count} {'answer' if count == 1 else 'answers'} in {to}")
    return Code.DONE


def _payload(wanted: Wanted, chain: Chain) -> tuple[str, dict[str, Any]]:
    schema = chain.payload.model_json_schema()
    try:
        found = [texts.read(source) for source in wanted.sources]
        made = list(payloads(found, values(wanted.values, schema, chain.name), schema, chain.name))
    except PayloadError as error:
        raise typer.BadParameter(str(error)) from error
    except texts.SourceError as error:
        raise CommandError(str(error)) from error
    if len(made) > 1:
        raise typer.BadParameter("one job is run at a time: name the texts of one")
    source, payload, _ = made[0]
    return source, payload


def _run(wanted: Wanted, chain: Chain, payload: Mapping[str, Any]) -> Run:
    progress = to_terminal()
    model = (wanted.model or os.environ.get("OPENAI_MODEL", "")).strip()
    is_offline = model in ("", *_OFFLINE)
    llm, close = (OfflineLLM(), None) if is_offline else _real(model, progress)
    watched = WatchedLLM(llm, progress)
    chain = _with_options(chain, wanted, is_offline=is_offline)
    decide = author_decisions.decide_by(chain, payload, wanted.approve, progress.tell)
    try:
        chain.payload.model_validate(payload)
    except ValidationError as error:
        raise CommandError(f"the payload can't be used: {_faults(error)}") from error
    try:
        with progress.shown():
            job = run_one(chain, payload, watched, wait=partial(_wait, progress), decide=decide, close=close)
    except CommandError:
        raise
    except Exception as error:
        raise CommandError(f"{author_chains.place_of(error)}{type(error).__name__}: {error}") from error
    return Run(job, watched.calls)


def _real(model: str, progress: Progress) -> tuple[LLM, Close]:
    from jobchain_cli.real_model import real_model

    return real_model(model, os.environ, progress.watch)


def _with_options(chain: Chain, wanted: Wanted, *, is_offline: bool) -> Chain:
    """The chain with the model and the effort that are wanted; the offline model answers for all others."""
    if faults := list(option_faults(CallOptions(effort=wanted.effort), "--effort")):
        raise typer.BadParameter(faults[0])
    changes: dict[str, Any] = {"model": None, "fallback_model": None} if wanted.model or is_offline else {}
    changes |= {"effort": wanted.effort} if wanted.effort else {}
    return replace(
        chain,
        steps=[
            replace(step, options=step.options._replace(**changes)) if isinstance(step, Step) else step
            for step in chain.steps
        ],
    )


def _up_to(chain: Chain, name: str) -> Chain:
    """The chain without the steps that this one does not need. Raises BadParameter."""
    names = [step.name for step in chain.steps]
    if name not in names:
        raise typer.BadParameter(f"--step {name}: the chain {chain.name} has {in_one_line(', '.join(names))}")
    needed = {name}
    # A step comes after all that it needs.
    for step in reversed(chain.steps):
        if step.name in needed:
            needed.update(step.needs)
    return replace(chain, steps=[step for step in chain.steps if step.name in needed])


def _wait(progress: Progress, wait: timedelta, why: WaitingFor | None) -> None:
    """Waits as the worker's job would. An account that is refused is not waited for. Raises CommandError."""
    if why and why.reason is WaitReason.ACCOUNT:
        raise CommandError(f"the model's account can't be used: {why.detail}")
    reason = f": {why.detail}" if why else ""
    progress.tell(f"waiting for {wait.total_seconds():.0f} s{reason}")
    time.sleep(wait.total_seconds())


def _faults(error: ValidationError) -> str:
    told = ((".".join(map(str, each["loc"])), each["msg"].removeprefix("Value error, ")) for each in error.errors())
    return "; ".join(f"{place or 'it'}: {why}" for place, why in told)


def _print(source: str, done: Run, form: Form, step: str | None) -> None:
    result = _shown(done.job, step)
    if form is Form.JSON:
        print(json_line({"source": source, **_as_json(done, result)}))
    elif done.status is Status.COMPLETED:
        view = done.job.chain.view
        if form is Form.MARKDOWN:
            lines = markdown_lines(result, "Standard input" if source == "-" else source, view)
        else:
            lines = result_lines(result, view)
            # The first line is blank.
            next(lines, None)
        for line in lines:
            print(line)
    _tell_end(source, done)


def _shown(job: OneJob, step: str | None) -> dict[str, Any]:
    """The parts of the result; of one step alone, where it is named."""
    if step is None or step not in job.outputs:
        return job.result
    (found,) = (each for each in job.chain.steps if each.name == step)
    return found.shown(job.outputs[step])


def _as_json(done: Run, result: Mapping[str, Any]) -> dict[str, Any]:
    usage, error = done.spending.usage, done.error
    return {
        "job_name": done.job.chain.name,
        "status": done.status.value,
        "result": result,
        "usage": {
            "input_tokens": usage.input_tokens,
            "cached_tokens": usage.cached_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
            "output_tokens": usage.output_tokens,
            "reasoning_tokens": usage.reasoning_tokens,
        },
        "cost_usd": None if done.cost_usd is None else float(done.cost_usd),
        "error": error and {"type": error.type, "message": error.message, "step": error.step},
    }


def _tell_end(source: str, done: Run) -> None:
    """Why the job failed, or which model answered and for how much."""
    progress = to_terminal()
    if error := done.error:
        step = f" in step {error.step}" if error.step else ""
        progress.tell(f"jobchain: {source}: the job failed{step}: {error.type}: {error.message}")
        return
    models = ", ".join(sorted({step.model for step in done.job.steps if step.model})) or "no model"
    usage, cost = done.spending.usage, done.cost_usd
    told = f"{usage.input_tokens} tokens in, {usage.output_tokens} out, {price(None if cost is None else float(cost))}"
    progress.tell(f"Answered by {models}: {told}.")
