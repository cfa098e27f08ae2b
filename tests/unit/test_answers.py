"""What the worker says of an answer that does not fit: enough for the model, and no text of the answer."""

import json

import pytest
from pydantic import JsonValue

from jobchain.chains import CHAINS
from jobchain.chains.chain import StepContext
from jobchain_worker.answers import Complaint, read_answer

GUIDELINE_CHECKLIST = CHAINS["guideline_checklist"]

SECRET = "The patient Anna Example takes 20 mg of it."
STEPS = {step.name: step for step in GUIDELINE_CHECKLIST.calls}


def complaint(step: str, answer: JsonValue | str) -> Complaint:
    text = answer if isinstance(answer, str) else json.dumps(answer)
    payload = GUIDELINE_CHECKLIST.payload.model_validate({"guidelines": SECRET})
    read = read_answer(STEPS[step], text, StepContext(payload, {"summary": SECRET}))
    assert isinstance(read, Complaint)
    return read


class TestAComplaint:
    @pytest.mark.parametrize(
        ("step", "answer"),
        [
            ("summary", SECRET),
            ("summary", f'{{"summary": "{SECRET}'),
            ("summary", {}),
            ("summary", {"summary": [SECRET]}),
            ("summary", {"summary": "x", SECRET: 1}),
            ("summary", {"summary": "x", SECRET * 1_000: 1}),
            ("summary", {"summary": SECRET * 10_000}),
            ("checklist", {"checklist": [{SECRET: SECRET}]}),
            ("checklist", {"checklist": [{"source": "x", "text": "x", "category": "x", "priority": SECRET}]}),
            ("diagram", {"nodes": [{"id": SECRET, "label": SECRET, "kind": SECRET}], "edges": SECRET}),
        ],
    )
    def test_has_no_text_of_the_answer_and_is_short(self, step: str, answer: JsonValue | str) -> None:
        said = complaint(step, answer)

        assert "Anna" not in said.text
        assert 0 < len(said.text) < 1_000

    def test_names_the_field(self) -> None:
        assert complaint("summary", {"summary": "x", "more": 1}).text == "more: Extra inputs are not permitted"
        assert complaint("summary", {"summary": "x", SECRET: 1}).text.startswith("(another field): ")

    def test_does_not_come_into_a_log_with_what_holds_it(self) -> None:
        assert repr(complaint("summary", {})) == "Complaint()"
