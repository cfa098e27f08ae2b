"""Several models of one server: jobs may name any, and what one of them refuses changes no call of another."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import httpx2
import pytest

from jobchain.llm import AnswerText, ModelAnswer, ModelRequest
from jobchain_worker.call import most_of
from jobchain_worker.dialects import Api
from jobchain_worker.model_memory import MOST_MODELS
from jobchain_worker.openai_calls import create_client
from jobchain_worker.openai_llm import OpenAILLM
from tests.fake_model.replies import MODEL
from tests.fake_model.transport import ModelTransport
from tests.unit.test_call_reports import TIMEOUT, key
from tests.unit.test_prompt_cache import ALONE, FIRST_SAID, ONE, OPENAI, Server

OTHER = "another-model"
DEEP = {"param": "text.format.schema", "code": "invalid_json_schema", "message": "Too many levels"}


def effort(body: Mapping[str, Any]) -> str | None:
    found: str | None = body.get("reasoning_effort") or body.get("reasoning", {}).get("effort")
    return found


def is_joint(body: Mapping[str, Any]) -> bool:
    return bool(body["text"]["format"]["name"] == "answer")


@pytest.mark.parametrize("api", ["responses", "chat"])
def test_an_effort_that_is_refused_takes_no_other_effort_away(api: Api) -> None:
    name = "reasoning_effort" if api == "chat" else "reasoning.effort"
    said = f"Unsupported value: '{name}' does not support 'minimal' with this model. Supported values are: 'low'."
    error = {"param": name, "code": "unsupported_value", "message": said}
    server = Server(FIRST_SAID, refuses=lambda body: error if effort(body) == "minimal" else None)
    unusual = replace(ALONE, effort="minimal")

    answers = server.ask(ALONE, unusual, ALONE, unusual, api=api)

    assert [effort(body) for body in server.bodies] == ["low", "minimal", None, "low", None]
    assert [answer.without_effort for answer in answers] == [False, True, False, True]


@pytest.mark.parametrize(("api", "name"), [("responses", "stream"), ("chat", "stream"), ("chat", "stream_options")])
def test_what_one_model_refuses_of_a_stream_is_sent_to_another(api: Api, name: str) -> None:
    error = {"param": name, "code": "unsupported_parameter", "message": f"Unsupported parameter: '{name}'"}
    server = Server(FIRST_SAID, refuses=lambda body: error if name in body and body["model"] == OTHER else None)

    server.ask(replace(ALONE, model=OTHER), ALONE, api=api)

    assert [name in body for body in server.bodies] == [True, False, True]


def test_a_joint_format_that_one_model_refuses_is_sent_to_another() -> None:
    server = Server(FIRST_SAID, refuses=lambda body: DEEP if body["model"] == OTHER and is_joint(body) else None)

    server.ask(replace(ONE, model=OTHER), ONE)

    assert [is_joint(body) for body in server.bodies] == [True, False, True]


def run(server: Server, *requests: ModelRequest, is_bedrock: bool = False) -> tuple[OpenAILLM, list[ModelAnswer]]:
    """The adapter after calls at the same time, and their answers."""

    async def calls() -> tuple[OpenAILLM, list[ModelAnswer]]:
        async with httpx2.AsyncClient(transport=ModelTransport(server.choose)) as http_client:
            client = create_client(OPENAI, key, TIMEOUT, http_client)
            llm = OpenAILLM(client, MODEL, TIMEOUT, 16_384, is_bedrock=is_bedrock)
            return llm, await asyncio.gather(*map(llm.ask, requests))

    return asyncio.run(calls())


def test_calls_at_the_same_time_are_all_repeated_where_the_joint_format_is_refused() -> None:
    server = Server(FIRST_SAID, refuses=lambda body: DEEP if is_joint(body) else None)

    _, answers = run(server, *[ONE] * 10)

    assert [isinstance(answer, AnswerText) and answer.text for answer in answers] == [FIRST_SAID] * 10


def test_an_answer_of_bedrock_is_of_the_model_that_was_asked() -> None:
    _, answers = run(Server(FIRST_SAID), replace(ALONE, model=OTHER), ALONE, is_bedrock=True)

    assert [answer.model for answer in answers] == [OTHER, MODEL]


def test_the_room_that_one_model_has_cuts_no_count_of_another() -> None:
    said = "max_output_tokens is too large: use at most 8192 tokens"
    error = {"param": "max_output_tokens", "code": "integer_above_max_value", "message": said}

    def refuses(body: Mapping[str, Any]) -> dict[str, Any] | None:
        return error if body["model"] == MODEL and body["max_output_tokens"] > 8192 else None

    other = replace(ALONE, model=OTHER)
    llm, _ = run(Server(FIRST_SAID, refuses=refuses), ALONE, other)

    assert most_of(other, llm).output_tokens == 16_384


def test_callers_that_name_many_models_take_no_more_room_than_the_last_ones_of_them() -> None:
    # given models that all refuse to stream, the deployment's too
    error = {"param": "stream", "code": "unsupported_parameter", "message": "Unsupported parameter: 'stream'"}
    server = Server(FIRST_SAID, refuses=lambda body: error if "stream" in body else None)
    named = [replace(ALONE, model=f"model-{number}") for number in range(MOST_MODELS + 1)]

    # when the deployment's, the last and the first one are asked again
    server.ask(ALONE, *named, ALONE, named[-1], named[0])

    # then the first one has been forgotten
    assert ["stream" in body for body in server.bodies[-4:]] == [False, False, True, False]
