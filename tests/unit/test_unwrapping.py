"""Right JSON inside what models and servers put around it is taken; what is not exactly one answer is not."""

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobchain.chains import CHAINS
from jobchain.chains.chain import StepContext
from jobchain.llm import AnswerText, UnusableAnswer
from jobchain_worker.answers import Complaint, Output, read_answer
from jobchain_worker.unwrapping import objects_in
from tests.fake_model.replies import json_reply, response
from tests.unit.test_call_reports import in_process

GUIDELINE_CHECKLIST = CHAINS["guideline_checklist"]

STEP = GUIDELINE_CHECKLIST.calls[0]
CONTEXT = StepContext(GUIDELINE_CHECKLIST.payload.model_validate({"guidelines": "x"}), {})
RIGHT = '{"summary": "A summary."}'
DRAFT = '{"summary": "A draft."}'
FUNCTION = {"name": "json_tool_call", "arguments": RIGHT}
CALL = {"id": "c", "type": "function", "function": FUNCTION}


def read(text: str) -> Output | Complaint:
    return read_answer(STEP, text, CONTEXT)


class TestTheTextOfAnAnswer:
    @pytest.mark.parametrize(
        "text",
        [
            f"\ufeff{RIGHT}",
            f"```json\n{RIGHT}\n```",
            f"```\n{RIGHT}\n```",
            f"Here it is:\n{RIGHT}\nAnything else?",
            f"<think>\nhm\n</think>\n{RIGHT}",
            f"<think>\nPerhaps {DRAFT}?\n</think>\n```json\n{RIGHT}\n```",
            f"Perhaps {DRAFT}?</think>{RIGHT}",
            f"<THINKING>{DRAFT}</THINKING>{RIGHT}",
            f"{RIGHT}<|im_end|>",
            f"In {{curly}} words: {RIGHT}",
            f'The schema has {{"properties": {{}}}}, so: {RIGHT}',
            f"[{RIGHT}]",
            f'{RIGHT}\n\n{{"confidence": 1}}',
        ],
    )
    def test_may_have_something_around_its_one_object(self, text: str) -> None:
        assert read(text) == Output("A summary.")

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            (f"{DRAFT}\n{RIGHT}", "2 JSON objects that fit"),
            (f"{RIGHT}\n{RIGHT}", "2 JSON objects that fit"),
            (f"<think>{RIGHT}</think>", "Invalid JSON"),
            ('```json\n{"summary": 5}\n```', "summary: Input should be a valid string"),
            (f'{{"answer": {RIGHT}}}', "summary: Field required"),
            ('{"summary": "A summ', "Invalid JSON"),
            ("It can't be done.", "Invalid JSON"),
            ("", "Invalid JSON"),
        ],
    )
    def test_is_refused_where_it_is_not_clear_what_the_answer_is(self, text: str, words: str) -> None:
        refused = read(text)

        assert isinstance(refused, Complaint)
        assert words in refused.text

    @pytest.mark.parametrize(
        "text", ["{" * 90_000, '{"a":' * 18_000, "[" * 90_000, '{"a":1}' * 12_000, "</think>" * 9_000]
    )
    def test_is_read_in_a_short_time_whatever_it_is(self, text: str) -> None:
        begun = time.process_time()

        assert isinstance(read(text), Complaint)
        assert time.process_time() - begun < 2

    @given(st.text(), st.text())
    def test_is_found_between_any_words_without_an_object(self, before: str, after: str) -> None:
        if not objects_in(before) and not objects_in(after) and before.count("{") < 20:
            assert "{" in before or read(f"{before}\n{RIGHT}\n{after}") == Output("A summary.")


def chat(message: dict[str, Any], reason: str = "stop") -> Any:
    usage = {"prompt_tokens": 100, "completion_tokens": 50}
    choice = {"index": 0, "finish_reason": reason, "message": {"role": "assistant", **message}}
    return in_process(json_reply("said", {"choices": [choice], "usage": usage}), api="chat")


class TestTheMessageOfAnAnswer:
    @pytest.mark.parametrize(
        "message",
        [
            {"content": RIGHT, "reasoning_content": DRAFT},
            {"content": RIGHT, "reasoning_content": [7], "tool_calls": None},
            {"content": None, "reasoning_content": RIGHT},
            {"content": "", "reasoning_content": f"\n{RIGHT}\n"},
            {"content": None, "tool_calls": [CALL]},
            {"content": [{"type": "thinking", "thinking": DRAFT}, {"type": "text", "text": RIGHT}]},
            {"content": [{"type": "text", "text": RIGHT[:9]}, {"type": "text", "text": RIGHT[9:]}]},
        ],
    )
    def test_may_have_its_text_elsewhere(self, message: dict[str, Any]) -> None:
        answer = chat(message)

        assert isinstance(answer, AnswerText)
        assert answer.text.strip() == RIGHT
        assert answer.usage is not None

    @pytest.mark.parametrize(
        "message",
        [
            {"content": None, "reasoning_content": f"I might say {RIGHT}"},
            {"content": None, "tool_calls": [CALL, CALL]},
            {"content": None, "tool_calls": [{"function": {"arguments": 7}}, "x", None, {"function": None}]},
            {"content": None, "tool_calls": "x"},
            {"content": [{"type": "image"}, "x", {"type": "text", "text": 7}]},
        ],
    )
    def test_is_empty_where_what_is_elsewhere_is_not_one_answer(self, message: dict[str, Any]) -> None:
        answer = chat(message)

        assert isinstance(answer, UnusableAnswer)
        assert answer.usage is not None

    def test_may_be_the_arguments_of_a_function_in_a_response(self) -> None:
        call = {"type": "function_call", "call_id": "c", **FUNCTION}

        answer = in_process(json_reply("said", response(output=[call])))

        assert isinstance(answer, AnswerText)
        assert json.loads(answer.text) == {"summary": "A summary."}
