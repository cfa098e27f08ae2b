"""What works on whole texts takes time that grows with their length, and not much of it, whatever they hold.

Processor time says what no count can: how far a regular expression goes back. It is told from a busy machine by what
four times the text takes: about four times as long, where anything quadratic takes sixteen times.
"""

import gc
import json
import time
from collections.abc import Callable

import pytest
from pydantic import BaseModel, JsonValue

from jobchain.chains import CHAINS
from jobchain.chains.chain import Chain, Step, StepContext, fence
from jobchain.chains.planning import plan
from jobchain.chains.quotes import Original
from jobchain.chains.splitting import split
from jobchain.chains.step_keys import PartsKey, SplitKey, read_key
from jobchain.markdown import table
from jobchain.mermaid import flowchart
from jobchain_cli.documents import kind_of
from jobchain_cli.texts import _decoded
from jobchain_offline.answering import material
from jobchain_offline.extract import read
from jobchain_offline.schema_answer import fill
from jobchain_worker.answers import read_answer
from tests.hostile import MOST_CHARACTERS, hostile_texts
from tests.shipped import ChecklistAnswer, ComparisonAnswer

pytestmark = pytest.mark.faults

DEFAULT = CHAINS[CHAINS.default]
ITEMS = 50


def _cut(text: str) -> None:
    # As small as MaxInputTokens can be.
    split(text, lambda part: len(part.encode()) <= 1000)


def _look_up(text: str) -> None:
    """As many quotes as an answer can have, each as long as it can be, in a text of its own kind."""
    original = Original(text)
    for number in range(ITEMS):
        original.holds(text[number:][:1000] + "?!")
        original.has_words_of(text[number:][:1000])
        original.has_words_of(" ".join(text[-width:] for width in range(1, 11)))


def _draw(text: str) -> None:
    flowchart([(text[:1000], text)] * ITEMS, [(text[:1000], text[:1000], text)] * ITEMS)


def _extract(text: str) -> None:
    """What the offline model does with a step that reads a whole text."""
    read.cache_clear()
    fill(ChecklistAnswer.model_json_schema(), [text])


def _compare(text: str) -> None:
    read.cache_clear()
    half = len(text) // 2
    fill(ComparisonAnswer.model_json_schema(), [text[:half], text[half:]])


def _payload(chain: Chain, text: str) -> BaseModel:
    required = [name for name, field in chain.payload.model_fields.items() if field.is_required()]
    return chain.payload.model_validate(dict.fromkeys(required, text))


def _refuse(text: str) -> None:
    """Answers of which nothing is right."""
    for step in DEFAULT.calls:
        field = next(iter(step.answer.model_fields))
        answers: list[JsonValue] = [[text[:3]] * (len(text) // 8), [{}] * (len(text) // 20), text[: len(text) // 2]]
        for answer in answers:
            read_answer(
                step,
                json.dumps({field: answer}, ensure_ascii=False),
                StepContext(_payload(DEFAULT, text), {}),
            )


def _plan(text: str) -> None:
    """The parts that a text is worked on in, and what is asked about each."""
    bounds: JsonValue = [[start, start + 1000] for start in range(0, len(text), 1000)]
    for chain in CHAINS.values():
        payload = _payload(chain, text)
        for part in plan(chain, payload, {SplitKey(step.name).stored: bounds for step in chain.steps}, 1000):
            if isinstance(part, Step) and isinstance(read_key(part.name), PartsKey):
                part.request(StepContext(payload, {}))


WORK: dict[str, Callable[[str], object]] = {
    "quotes": _look_up,
    "cut": _cut,
    "plan": _plan,
    "answers": _refuse,
    "table": lambda text: table(("A", text), [(text, text)]),
    "diagram": _draw,
    "file": lambda text: (kind_of("a file", text.encode()), _decoded("a file", text.encode(), "utf-8-sig")),
    "material": lambda text: (material(text), material(fence("document", text))),
    "offline extraction": _extract,
    "offline comparison": _compare,
}


def seconds(work: Callable[[str], object], text: str) -> float:
    """The least processor time of two runs, without collecting the garbage of earlier tests."""
    taken = []
    gc.disable()
    try:
        for _ in range(2):
            started = time.process_time()
            work(text)
            taken.append(time.process_time() - started)
    finally:
        gc.enable()
    return min(taken)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("work", WORK.values(), ids=WORK)
def test_time_grows_with_the_length_of_any_text(work: Callable[[str], object]) -> None:
    short = hostile_texts(MOST_CHARACTERS // 4)
    too_slow = {}
    for name, text in hostile_texts().items():
        taken = seconds(work, text)
        if (taken > 0.1 and taken > 9 * seconds(work, short[name])) or taken > 1:
            too_slow[name] = taken

    assert not too_slow
