"""Stand-ins for what costs money or time: a scripted model and a clock that tests move."""

import asyncio
import itertools
import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta

from pydantic import JsonValue

from jobchain.domain import Usage
from jobchain.llm import AnswerText, ModelAnswer, ModelRequest

SUMMARY: dict[str, JsonValue] = {"summary": "Passwords must be long."}
ITEMS: list[dict[str, JsonValue]] = [
    {
        "source": "Passwords must be long.",
        "text": "Make passwords long.",
        "category": "Passwords",
        "priority": "must",
    },
    {
        "source": "They must be stored hashed.",
        "text": "Store them hashed.",
        "category": "Passwords",
        "priority": "must",
    },
]
CHECKLIST: dict[str, JsonValue] = {"items": [*ITEMS]}
DIAGRAM: dict[str, JsonValue] = {
    "nodes": [
        {"id": "a", "label": "Make passwords long", "kind": "step"},
        {"id": "b", "label": "Store them hashed", "kind": "step"},
    ],
    "edges": [{"source": "a", "target": "b", "label": ""}],
}

_BY_SCHEMA = {"SummaryAnswer": SUMMARY, "ChecklistAnswer": CHECKLIST, "DiagramAnswer": DIAGRAM}

Script = JsonValue | ModelAnswer | Exception


class ScriptedLLM:
    """Answers from a queue of scripted answers; an exception is raised, a JSON value is sent as text."""

    model = "gpt-6-luna"
    usage = Usage(input_tokens=100, cached_tokens=10, output_tokens=20, reasoning_tokens=5)

    def __init__(self, script: Iterable[Script] = (), clock: "FakeClock | None" = None) -> None:
        self.script = list(script)
        self._clock = clock
        self.takes = timedelta(0)
        """How far each call moves the clock."""
        self.meanwhile: Callable[[], object] = lambda: None
        """What happens while a call is in flight."""
        self.requests: list[ModelRequest] = []
        self.in_flight = 0
        self.most_in_flight = 0
        self.together = 1
        """So many calls are waited for before the first of them is answered."""
        self._are_together = asyncio.Event()
        self.counts: Callable[[str], int | None] = lambda _: None
        """The model's count of a text's tokens."""

    async def count_tokens(self, text: str) -> int | None:
        return self.counts(text)

    async def ask(self, request: ModelRequest) -> ModelAnswer:
        self.requests.append(request)
        answer = self.script.pop(0)
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
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, ModelAnswer):
            return answer
        return AnswerText(self.model, self.usage, json.dumps(answer))


class SchemaLLM(ScriptedLLM):
    """Answers every step of `guideline_checklist` by its schema, any number of times."""

    async def ask(self, request: ModelRequest) -> ModelAnswer:
        self.script = [_BY_SCHEMA[request.answer.__name__]]
        return await super().ask(request)


class FakeClock:
    """Stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, by: timedelta) -> None:
        self.now += by


class FakeContext:
    """The Lambda context, with time left to spare unless a test says otherwise."""

    function_name = "function"
    memory_limit_in_mb = 1024
    invoked_function_arn = "arn:aws:lambda:us-east-1:000000000000:function:function"

    def __init__(self, remaining: timedelta = timedelta(minutes=5)) -> None:
        self._remaining = remaining
        self.aws_request_id = f"request-{next(_request_numbers)}"

    def get_remaining_time_in_millis(self) -> int:
        return int(self._remaining.total_seconds() * 1000)


_request_numbers = itertools.count(1)
