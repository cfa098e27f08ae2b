"""The scriptable fake model: its faces take the same scripts, and the worker reads its replies as what they are."""

import asyncio
import json
from collections.abc import Callable
from datetime import timedelta

import httpx2
import pytest

from jobchain.errors import ModelError, PermanentModelError
from jobchain.llm import AnswerText, FailedAnswer, ModelAnswer, ModelRequest, UnusableAnswer
from jobchain_worker.openai_calls import create_client
from jobchain_worker.openai_llm import OpenAILLM
from tests.fake_model.answers import SUMMARY, content
from tests.fake_model.llm import SchemaLLM, ScriptedLLM
from tests.fake_model.replies import (
    BREAKS_SCHEMA,
    CONTENT_FILTERED,
    CUT_OFF,
    DROPPED,
    EMPTY_OBJECT,
    EMPTY_TEXT,
    GATEWAY_TIMEOUT,
    HALF,
    HTML,
    MODEL,
    QUOTA_EXCEEDED,
    REFUSAL,
    SERVER_ERROR,
    USAGE,
    Reply,
    too_many_requests,
    with_id,
    with_usage,
)
from tests.fake_model.script import Asked, Script, asked
from tests.fake_model.server import ModelServer
from tests.fake_model.transport import ModelTransport
from tests.shipped import SummaryAnswer

TIMEOUT = timedelta(seconds=30)
REQUEST = ModelRequest("You summarize.", "The text of job-1.", SummaryAnswer)


async def ask(base_url: str, transport: httpx2.AsyncBaseTransport | None = None) -> ModelAnswer:
    """The worker's reading of what the fake model answers."""

    async def key() -> str:
        return "sk-made-up"

    async with httpx2.AsyncClient(transport=transport, trust_env=False) as http_client:
        client = create_client(base_url, key, TIMEOUT, http_client)
        return await OpenAILLM(client, MODEL, TIMEOUT, 500).ask(REQUEST)


def by_server(reply: Reply) -> ModelAnswer:
    with ModelServer() as server:
        server.script("job-1", reply, step="summary")
        return asyncio.run(ask(server.base_url))


def by_transport(reply: Reply) -> ModelAnswer:
    return asyncio.run(ask("http://models.example.com/v1", ModelTransport(lambda _: reply)))


Face = Callable[[Reply], ModelAnswer]
faces = pytest.mark.parametrize("face", [by_server, by_transport])


class TestAReply:
    @faces
    @pytest.mark.parametrize("reply", [EMPTY_TEXT, CUT_OFF])
    def test_without_a_usable_text_is_a_complaint_and_is_billed(self, face: Face, reply: Reply) -> None:
        answer = face(reply)

        assert isinstance(answer, UnusableAnswer)
        assert answer.usage == USAGE

    @faces
    @pytest.mark.parametrize(("reply", "type_"), [(CONTENT_FILTERED, "content_filtered"), (REFUSAL, "model_refused")])
    def test_that_declines_ends_the_call_and_is_billed(self, face: Face, reply: Reply, type_: str) -> None:
        answer = face(reply)

        assert isinstance(answer, FailedAnswer)
        assert isinstance(answer.error, PermanentModelError)
        assert (answer.error.type, answer.usage) == (type_, USAGE)

    @faces
    def test_that_breaks_the_schema_is_a_text_like_any_other(self, face: Face) -> None:
        assert face(BREAKS_SCHEMA) == AnswerText(MODEL, USAGE, '{"unexpected": true}')

    @faces
    @pytest.mark.parametrize(
        "reply",
        [SERVER_ERROR, QUOTA_EXCEEDED, HTML, EMPTY_OBJECT, DROPPED, HALF, GATEWAY_TIMEOUT, too_many_requests(5)],
        ids=lambda r: r.name,
    )
    def test_that_is_no_answer_is_an_error(self, face: Face, reply: Reply) -> None:
        with pytest.raises(ModelError):
            face(reply)

    @faces
    @pytest.mark.parametrize("usage", [None, "many", {"input_tokens": 12.5, "output_tokens": 1}])
    def test_may_tell_any_usage(self, face: Face, usage: object) -> None:
        assert face(with_usage(usage)) == AnswerText(MODEL, None, "{}")

    @faces
    def test_may_have_an_id(self, face: Face) -> None:
        assert face(with_id(with_usage(None), "req_1")).request_id == "req_1"


class TestAScript:
    def test_gives_each_reply_once_and_in_order(self) -> None:
        script = Script("first", "second")
        call = Asked("summary", "job-1", "")

        assert [script.take(call) for _ in range(3)] == ["first", "second", None]

    def test_keeps_what_is_for_another_job_or_step(self) -> None:
        script = Script[str]()
        script.add("of job-1", marker="job-1")
        script.add("of a summary", step="summary")

        assert script.take(Asked("diagram", "job-2", "")) is None
        assert script.take(Asked("summary", "job-2", "")) == "of a summary"
        assert script.take(Asked("diagram", "job-1", "")) == "of job-1"

    def test_knows_a_call_by_its_schema_and_its_text(self) -> None:
        prompt = "The text of job-17-x. Your last answer could not be used: it was empty"

        assert asked(prompt, "DiagramAnswer") == Asked("diagram", "job-17-x", "it was empty")
        assert asked("A text.", "OtherAnswer") == Asked("OtherAnswer", "", "")


class TestTheRightAnswer:
    def test_of_the_server_holds_the_marker_of_the_job(self) -> None:
        with ModelServer() as server:
            answer = asyncio.run(ask(server.base_url))

        assert answer == AnswerText(MODEL, USAGE, content("summary", "job-1"))

    def test_without_http_is_by_schema(self) -> None:
        assert asyncio.run(SchemaLLM().ask(REQUEST)) == AnswerText(MODEL, USAGE, json.dumps(SUMMARY))

    def test_comes_after_what_is_scripted(self) -> None:
        llm = SchemaLLM(["scripted"])

        answers = [asyncio.run(llm.ask(REQUEST)) for _ in range(2)]

        assert answers == [AnswerText(MODEL, USAGE, text) for text in ('"scripted"', json.dumps(SUMMARY))]

    def test_is_missing_where_a_script_has_to_name_every_answer(self) -> None:
        with pytest.raises(AssertionError, match="no answer for a call with the schema SummaryAnswer"):
            asyncio.run(ScriptedLLM().ask(REQUEST))


class TestTheListOfModels:
    def test_is_what_the_server_is_given(self) -> None:
        with ModelServer(models=[{"id": "qwen"}]) as server:
            listed = httpx2.get(f"{server.base_url}/models", trust_env=False).json()
            known, unknown = (httpx2.get(f"{server.base_url}/models/{name}", trust_env=False) for name in ("qwen", "x"))

        assert listed == {"object": "list", "data": [{"id": "qwen"}]}
        assert (known.json(), unknown.status_code) == ({"id": "qwen"}, 404)

    def test_has_every_model_by_name_else(self) -> None:
        with ModelServer() as server:
            assert httpx2.get(f"{server.base_url}/models/any", trust_env=False).json()["id"] == "any"
