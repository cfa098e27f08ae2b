"""A job whose text takes long to work on, and its neighbour in the same batch: what happens in which order."""

import asyncio
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Annotated, Any

import pytest
from aws_lambda_powertools import Logger
from pydantic import AfterValidator, JsonValue

from jobchain.aws.queue import JobQueue
from jobchain.chains import CHAINS
from jobchain.chains.chain import Chain, LongText, Prompt, Step, fence
from jobchain.chains.fields import Answer, Payload
from jobchain.chains.splitting import Bounds, split
from jobchain.domain import NewJob, Status
from jobchain.llm import AnswerText, ModelAnswer, ModelRequest
from jobchain_worker.runner import Runner
from tests.conftest import make_runner
from tests.fake_model.llm import SchemaLLM
from tests.fakes import FakeClock
from tests.stores import Stores

SLOW = "0b6c2f4e-0000-4000-8000-000000000001"
NEIGHBOUR = "0b6c2f4e-0000-4000-8000-000000000002"
INVOCATION = timedelta(minutes=5)
LIMIT = 100
"""Tokens of a call, each of them a byte."""


class SlowAnswer(Answer):
    """The only step's answer."""

    text: str


class EchoingLLM(SchemaLLM):
    """Answers the slow chain too."""

    async def ask(self, request: ModelRequest) -> ModelAnswer:
        if request.answer is SlowAnswer:
            return AnswerText(self.model, self.usage, '{"text": "x"}')
        return await super().ask(request)


class Stage:
    """The slow job and its neighbour, and a chain that goes on at one place only when the neighbour has ended."""

    def __init__(self, stores: Stores, queue: JobQueue, clock: FakeClock, logger: Logger) -> None:
        self.stores = stores
        self.clock = clock
        self.is_over = threading.Event()
        self.waited: list[bool] = []
        self.chains = dict(CHAINS)
        self.runner: Runner = make_runner(
            stores, queue, EchoingLLM(), logger, max_input_tokens=LIMIT, chains=self.chains
        )

    def wait(self) -> None:
        """Code that waits here on the event loop waits in vain."""
        self.waited.append(self.is_over.wait(timeout=30))

    def slow(self, where: str) -> Chain:
        """A chain that waits in one of its functions."""

        def check(text: str) -> str:
            return str(at("payload", str)(text))

        def at(place: str, function: Callable[..., Any]) -> Callable[..., Any]:
            def waiting(*args: Any) -> Any:
                if place == where and not self.waited:
                    self.wait()
                return function(*args)

            return waiting

        class SlowPayload(Payload):
            text: Annotated[str, AfterValidator(check)]

        def merge(parts: list[Any]) -> JsonValue:
            return [*parts]

        step = Step(
            name="step",
            prompt=Prompt("extract_actions/actions.md"),
            answer=SlowAnswer,
            write_input=at("write_input", lambda context: fence("document", context.payload.text)),
            read_answer=at("read_answer", lambda answer, context: answer.text),
            long=LongText(
                text=at("text", lambda payload: payload.text),
                label="document",
                prompt=Prompt("extract_actions/actions_part.md"),
                merge=at("merge", merge),
            ),
        )
        return Chain("slow", "Waits.", SlowPayload, (step,))

    def create(self, event_id: str, job_name: str, payload: dict[str, JsonValue]) -> None:
        new = NewJob(event_id, "local", job_name, payload, fingerprint="f")
        self.stores.admission.create(new, retention=timedelta(days=30))

    async def run_both(self) -> None:
        deadline = self.clock() + INVOCATION

        async def run_neighbour() -> None:
            await self.runner.run(NEIGHBOUR, deadline)
            self.is_over.set()

        await asyncio.gather(self.runner.run(SLOW, deadline), run_neighbour())


@pytest.fixture
def stage(stores: Stores, queue: JobQueue, clock: FakeClock, logger: Logger) -> Stage:
    return Stage(stores, queue, clock, logger)


@pytest.mark.parametrize(
    ("where", "text"),
    [
        ("payload", "A short text."),
        ("text", "A short text."),
        ("write_input", "A short text."),
        ("read_answer", "A short text."),
        ("split", "A long text. " * 20),
        ("merge", "A long text. " * 20),
    ],
)
def test_a_neighbour_ends_while_a_text_is_worked_on(
    stage: Stage, event_loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch, where: str, text: str
) -> None:
    # given
    stage.chains["slow"] = stage.slow(where)
    if where == "split":

        def waiting_split(text: str, fits: Callable[[str], bool]) -> list[Bounds]:
            stage.wait()
            return split(text, fits)

        monkeypatch.setattr("jobchain_worker.step_executor.split", waiting_split)
    stage.create(SLOW, "slow", {"text": text})
    stage.create(NEIGHBOUR, "guideline_checklist", {"guidelines": "Rules must be kept."})

    # when
    event_loop.run_until_complete(stage.run_both())

    # then
    assert stage.waited == [True], "the neighbour ended first"
    jobs = [stage.stores.jobs.get("local", event_id) for event_id in (SLOW, NEIGHBOUR)]
    assert [job.status for job in jobs] == [Status.COMPLETED] * 2
