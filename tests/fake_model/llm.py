"""The fake model without HTTP: the port that the worker calls, for the tests that run in one process."""

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta

from jobchain.llm import AnswerText, ModelAnswer, ModelRequest
from tests.fake_model.answers import CONTENTS
from tests.fake_model.replies import MODEL, USAGE
from tests.fake_model.script import Script, asked
from tests.fakes import FakeClock


class WorkerVanished(BaseException):
    """Ends a worker in the middle of a call, as the end of its process does: no handler of errors runs."""


Said = Mapping[str, object] | Sequence[object] | str | ModelAnswer | BaseException
"""One entry of a script: JSON that is the text of an answer, a whole answer, or an exception that is raised."""


class ScriptedLLM:
    """Answers each call with the next entry of its script."""

    model = MODEL
    usage = USAGE
    max_output_tokens = 16_384

    def __init__(self, script: Iterable[Said] = (), clock: FakeClock | None = None) -> None:
        self.script = Script[Said](*script)
        self._clock = clock
        self.takes = timedelta(0)
        """How far each call moves the clock."""
        self.meanwhile: Callable[[], object] = lambda: None
        """What happens while a call is in flight."""
        self.requests: list[ModelRequest] = []
        self.in_flight = 0
        self.most_in_flight = 0
        self.together = 1
        """How many calls have to arrive before the first of them is answered."""
        self._are_together = asyncio.Event()
        self.counts: Callable[[str], int | None] = lambda _: None
        """The model's count of a text's tokens."""

    def right_answer(self, request: ModelRequest) -> Said:
        """The answer to a call that no script is for."""
        raise AssertionError(f"the script has no answer for a call with the schema {request.answer.__name__}")

    async def count_tokens(self, text: str) -> int | None:
        return self.counts(text)

    async def ask(self, request: ModelRequest) -> ModelAnswer:
        self.requests.append(request)
        scripted = self.script.take(asked(request.input, request.answer.__name__))
        said = self.right_answer(request) if scripted is None else scripted
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        if self.most_in_flight >= self.together:
            self._are_together.set()
        await asyncio.wait_for(self._are_together.wait(), timeout=120)
        await asyncio.sleep(0)
        self.meanwhile()
        if self._clock:
            self._clock.advance(self.takes)
        self.in_flight -= 1
        return self._answer(said, request.model or self.model)

    def _answer(self, said: Said, model: str) -> ModelAnswer:
        if isinstance(said, BaseException):
            raise said
        if isinstance(said, ModelAnswer):
            return said
        return AnswerText(model, self.usage, json.dumps(said))


class SchemaLLM(ScriptedLLM):
    """Answers every step of `guideline_checklist` by its schema, any number of times."""

    def right_answer(self, request: ModelRequest) -> Said:
        return CONTENTS[asked(request.input, request.answer.__name__).step]
