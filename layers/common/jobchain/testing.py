"""Tests of chains: a job in this process, without AWS and in milliseconds, run by the worker's own code.

    run = run_chain(chain, {"document": "Doors must be locked."}, answers={"summary": "Lock the doors."})
    assert run.result["summary"] == "Lock the doors."

It is for the machine of a chain's author: it needs the worker, which the extra `chains` brings.
"""

import hashlib
import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, JsonValue

from jobchain.approvals import Approval, Decided, Decision
from jobchain.chains.approving import ApprovalStep, EditDoesNotFit
from jobchain.chains.authoring import Chain
from jobchain.chains.chain import Chain as CompiledChain
from jobchain.chains.chain import StepContext
from jobchain.chains.step_keys import read_key
from jobchain.domain import JobError, Status
from jobchain.errors import ModelError
from jobchain.llm import AnswerText, ModelAnswer, ModelRequest
from jobchain.prices import PriceList
from jobchain.spending import Spending, Usage
from jobchain.strict_schema import strict_schema
from jobchain_worker.demand import BYTES_PER_TOKEN
from jobchain_worker.one_job import MAX_INPUT_TOKENS, OneJob, run_one

MODEL = "gpt-6-luna"
"""The model that answers for steps that name none, so that a run has a cost."""

# English has four characters a token: https://help.openai.com/en/articles/4936856


@dataclass(frozen=True)
class Raw:
    """The text of an answer as it is, such as one that does not fit."""

    text: str


class InTurn(tuple[Any, ...]):
    """Several answers of one step, one for each call: `InTurn([first, second])`."""

    __slots__ = ()


Said = Any
"""What a step is answered: a value of its type, a model, JSON, a `Raw` text, a ModelError that the call raises, or a
function that makes one of these of the ModelRequest."""

Answers = Mapping[str, Said | InTurn]
"""Answers by the names of steps; of a part of a long text by its own name, `summary.part01`, or by that of its step."""


class Edit(NamedTuple):
    """A value that a person gives in place of the one that is shown."""

    value: Any


Decisions = Mapping[str, Literal["approve", "reject"] | Edit]
"""What a person decides, by the names of steps."""


@dataclass(frozen=True)
class Call:
    """One call of the model: what was asked, and the text of the answer, None where it failed."""

    step: str
    request: ModelRequest
    answer: str | None

    @property
    def prompt(self) -> str:
        """Everything that the model reads but the schema."""
        return f"{self.request.instructions}\n\n{self.request.input}"


@dataclass(frozen=True)
class Run:
    """A job that has ended."""

    job: OneJob
    calls: Sequence[Call]

    @property
    def status(self) -> Status:
        """`completed` or `failed`."""
        return self.job.status

    @property
    def error(self) -> JobError | None:
        """Why the job failed."""
        return self.job.error

    @property
    def result(self) -> dict[str, JsonValue]:
        """The result, as the job's caller reads it."""
        return self.job.result

    @property
    def outputs(self) -> dict[str, JsonValue]:
        """What was stored of each step."""
        return self.job.outputs

    @property
    def spending(self) -> Spending:
        """What the calls used and cost: tokens are estimated, a quarter of the bytes."""
        return self.job.spending

    @property
    def cost_usd(self) -> Decimal | None:
        """The cost in US dollars; None where the price of a model is not known."""
        return self.job.spending.cost_usd

    def calls_of(self, step: str) -> list[Call]:
        """The calls of a step, those for the parts of a long text among them."""
        return [call for call in self.calls if read_key(call.step).step == step or call.step == step]

    def record(self, path: Path) -> None:
        """Writes the answers to a file, from which `recorded` reads them, with hashes of what was asked for."""
        found: dict[str, dict[str, Any]] = {}
        for call in self.calls:
            if call.answer is not None:
                step = found.setdefault(call.step, {**_asked(call.request), "answers": []})
                step["answers"].append(call.answer)
        path.write_text(json.dumps(found, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


class RecordingOutdated(UserWarning):
    """A step is asked with another prompt, or for another schema, than when its answer was recorded."""


class _Recorded(InTurn):
    """The recorded answers of a step: where they are, and what was asked for when they were given."""

    where: str = ""
    asked: Mapping[str, str] = {}

    def compare(self, request: ModelRequest) -> None:
        """Warns where the request asks for something else than the recorded one."""
        now = _asked(request)
        if changed := [name for name, known in self.asked.items() if now.get(name, known) != known]:
            parts = " and ".join(changed)
            told = f"the {parts} of the step {request.step} {'has' if len(changed) == 1 else 'have'} changed"
            message = f"{self.where}: {told} since its answers were recorded: record them again with jobchain record"
            warnings.warn(message, RecordingOutdated, stacklevel=2)


def _asked(request: ModelRequest) -> dict[str, str]:
    schema = json.dumps(strict_schema(request.answer), sort_keys=True)
    return {
        name: hashlib.sha256(text.encode()).hexdigest()[:12]
        for name, text in (("prompt", request.instructions), ("schema", schema))
    }


def recorded(path: Path | str) -> Answers:
    """The answers that `jobchain record` or `Run.record` wrote to a file.

    The run that they are given to warns of each step whose prompt or schema is another one now (RecordingOutdated).
    """
    steps: Mapping[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
    return {step: _answers_of(str(path), found) for step, found in steps.items()}


def _answers_of(where: str, found: Any) -> InTurn:
    if isinstance(found, list):  # of a version that kept the answers alone
        return InTurn(map(Raw, found))
    answers = _Recorded(map(Raw, found["answers"]))
    answers.where, answers.asked = where, {name: found[name] for name in ("prompt", "schema")}
    return answers


@dataclass
class ScriptedModel:
    """Answers as it is told, and remembers what it was asked."""

    answers: Answers
    model: str = MODEL
    max_output_tokens: int = 16_384
    calls: list[Call] = field(default_factory=list)
    _used: dict[str, int] = field(default_factory=dict)

    async def count_tokens(self, text: str) -> int | None:
        """See `jobchain.llm.LLM`."""
        return _tokens(text)

    async def ask(self, request: ModelRequest) -> ModelAnswer:
        """See `jobchain.llm.LLM`. Raises AssertionError for a call without an answer."""
        said = self._next(request)
        if not isinstance(said, type) and callable(said):
            said = said(request)
        if isinstance(said, ModelError):
            self.calls.append(Call(request.step, request, None))
            raise said
        text = said.text if isinstance(said, Raw) else json.dumps(_answer(request.answer, said), ensure_ascii=False)
        self.calls.append(Call(request.step, request, text))
        usage = Usage(input_tokens=-(-request.size // BYTES_PER_TOKEN), output_tokens=_tokens(text))
        return AnswerText(request.model or self.model, usage, text)

    def _next(self, request: ModelRequest) -> Said:
        step = request.step
        name = step if step in self.answers else read_key(step).step
        if name not in self.answers:
            raise AssertionError(f"there is no answer for the step {step}: give one, as in answers={{{step!r}: …}}")
        said = self.answers[name]
        if not isinstance(said, InTurn):
            return said
        number = self._used.get(name, 0)
        self._used[name] = number + 1
        if isinstance(said, _Recorded) and number == 0:
            # A later call of the step has what was wrong with the answer before in its prompt.
            said.compare(request)
        if number >= len(said):
            raise AssertionError(f"the step {step} was asked {number + 1} times, and has {len(said)} answers")
        return said[number]


def _answer(answer: type[BaseModel], said: Any) -> Any:
    """The value as the model would answer it: in the one field of the answer, where its schema has one for it."""
    value = _as_json(said)
    fields = list(strict_schema(answer)["properties"])
    whole = isinstance(value, dict) and set(fields) <= value.keys()
    return value if whole or len(fields) != 1 else {fields[0]: value}


def _as_json(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    return [_as_json(each) for each in value] if isinstance(value, list) else value


def _decided(chain: CompiledChain, payload: BaseModel, decisions: Decisions, approval: Approval) -> Decided:
    """The decision on a step. Raises AssertionError where there is none, or one that does not fit."""
    step = approval.step
    if step not in decisions:
        raise AssertionError(f"the step {step} waits for a decision: give one, as in decisions={{{step!r}: 'approve'}}")
    said = decisions[step]
    if not isinstance(said, Edit):
        return Decided(Decision(said), by="a test")
    (found,) = (each for each in chain.steps if each.name == step)
    assert isinstance(found, ApprovalStep)
    try:
        value = found.edited(_as_json(said.value), StepContext(payload, {}))
    except EditDoesNotFit as error:
        raise AssertionError(f"the edit of the step {step} does not fit: {error}") from None
    return Decided(Decision.EDIT, value, by="a test")


def _tokens(text: str) -> int:
    return -(-len(text.encode()) // BYTES_PER_TOKEN)


def run_chain(
    chain: Chain | CompiledChain,
    payload: BaseModel | Mapping[str, Any],
    answers: Answers | None = None,
    *,
    prices: PriceList | None = None,
    max_input_tokens: int = MAX_INPUT_TOKENS,
    max_cost_usd: Decimal | None = None,
    done: Mapping[str, JsonValue] | None = None,
    decisions: Decisions | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> Run:
    """The job of a chain with this payload, run until it ends; waits between tries take no time.

    `answers` are what the model says to each step, and `decisions` what a person decides: "approve", "reject", or an
    Edit. `done` are outputs of steps that need not run. A text of more than `max_input_tokens` is split into parts.
    Raises ChainError for a chain that can't be used, pydantic's ValidationError for a payload that it does not take,
    AssertionError for a call without an answer or a step without a decision, and what the chain's code raises.
    """
    model = ScriptedModel(answers or {})
    compiled = chain.compiled if isinstance(chain, Chain) else chain
    checked = compiled.payload.model_validate(payload)
    job = run_one(
        compiled,
        payload,
        model,
        prices=prices,
        max_input_tokens=max_input_tokens,
        max_cost_usd=max_cost_usd,
        done=done,
        tell=tell,
        decide=lambda approval: _decided(compiled, checked, decisions or {}, approval),
    )
    return Run(job, model.calls)
