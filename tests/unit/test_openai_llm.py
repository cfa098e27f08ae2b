"""The adapter to OpenAI, through the real SDK, with a server that lives in this process.

It is asked in both forms, but for what only one of them has.
"""

import asyncio
import json
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx2
import pytest
from pydantic import BaseModel

from jobchain.domain import Tier
from jobchain.errors import ModelError, PermanentModelError, TransientModelError, UnknownModel
from jobchain.llm import AnswerText, FailedAnswer, ModelAnswer, ModelRequest, UnusableAnswer
from jobchain.spending import Usage
from jobchain_worker.bounded_body import UnreadableBody
from jobchain_worker.dialects import Api
from jobchain_worker.openai_calls import create_client
from jobchain_worker.openai_llm import OpenAILLM
from jobchain_worker.openai_models import find_shutdown
from tests.fake_model.replies import (
    NEVER,
    Reply,
    html,
    json_reply,
    message,
    nothing,
    output_text,
    refused,
    response,
    usage_of_response,
)
from tests.fake_model.transport import ModelTransport

KEY = "sk-made-up-0001"
MARK = "a text that is read by the model alone"
WORDS = f"provider's own words about {MARK} and {KEY}"
TIMEOUT = timedelta(seconds=30)
TINY = timedelta(milliseconds=20)
SERVED = "gpt-6-luna-2026-09-30"
"""The model that answered, as the server names it."""
USAGE = Usage(input_tokens=812, cached_tokens=64, output_tokens=140, reasoning_tokens=32, cache_write_tokens=700)
NESTED = Reply("nested", b"[" * 100_000)
PATIENCE_SECONDS = 60
"""What a call may take here with the tiny timeout, on a busy machine."""


NO_USAGES: list[Any] = [
    None,
    {},
    [],
    [{"input_tokens": 5, "output_tokens": 2}],
    "5",
    7,
    True,
    {"input_tokens": None, "output_tokens": None},
    {"input_tokens": 0, "output_tokens": 0},
    {"input_tokens": 5},
    {"input_tokens": 5, "output_tokens": None},
    {"output_tokens": 2},
    {"input_tokens": -1, "output_tokens": 2},
    {"input_tokens": 12.5, "output_tokens": 2},
    {"input_tokens": 5, "output_tokens": "12.5"},
    {"input_tokens": 5, "output_tokens": "two"},
    {"input_tokens": 5, "output_tokens": ""},
    {"input_tokens": 5, "output_tokens": "\u0665"},
    {"input_tokens": 5, "output_tokens": "1_0"},
    {"input_tokens": True, "output_tokens": 2},
    {"input_tokens": 5, "output_tokens": False},
    {"input_tokens": 10**30, "output_tokens": 2},
    {"input_tokens": 1e300, "output_tokens": 2},
    {"input_tokens": float("inf"), "output_tokens": 2},
    {"input_tokens": float("nan"), "output_tokens": 2},
    {"input_tokens": 5, "output_tokens": "9" * 5000},
    {"input_tokens": [5], "output_tokens": 2},
    {"input_tokens": {"tokens": 5}, "output_tokens": 2},
    {"input_tokens": 5, "output_tokens": 2, "input_tokens_details": 7},
    {"input_tokens": 5, "output_tokens": 2, "input_tokens_details": []},
    {"input_tokens": 5, "output_tokens": 2, "input_tokens_details": {"cached_tokens": -4}},
    {"input_tokens": 5, "output_tokens": 2, "input_tokens_details": {"cache_write_tokens": 0.5}},
    {"input_tokens": 5, "output_tokens": 2, "output_tokens_details": "x"},
    {"input_tokens": 5, "output_tokens": 2, "output_tokens_details": {"reasoning_tokens": [1]}},
]
"""What tells no usage, in the words of the Responses API."""


def in_the_words_of(api: Api, usage: Any) -> Any:
    """A report of usage as this API names its counts."""
    if api == "responses" or not isinstance(usage, dict):
        return usage
    names = {"input": "prompt", "output": "completion"}
    return {"_".join(names.get(part, part) for part in name.split("_")): count for name, count in usage.items()}


class Detail(BaseModel):
    page: int


class Answer(BaseModel):
    summary: str
    details: list[Detail]


class Strict(Answer, extra="forbid"):
    """What an answer's schema is like in a chain."""


REQUEST = ModelRequest("You summarize.", MARK, Strict)


def reply(**changes: Any) -> dict[str, Any]:
    """A response as the Responses API sends it."""
    said = output_text('{"summary": "x", "details": []}')
    return response(said, **{"model": SERVED, "usage": usage_of_response(USAGE), **changes})


def completion(**changes: Any) -> dict[str, Any]:
    """The same as the Chat Completions API sends it."""
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1763805600,
        "model": "gpt-6-luna-2026-09-30",
        "choices": [choice('{"summary": "x", "details": []}')],
        "usage": {
            "prompt_tokens": 812,
            "prompt_tokens_details": {"cached_tokens": 64, "cache_write_tokens": 700},
            "completion_tokens": 140,
            "completion_tokens_details": {"reasoning_tokens": 32},
            "total_tokens": 952,
        },
        **changes,
    }


def choice(content: str | None, finish_reason: str | None = "stop", **more: Any) -> dict[str, Any]:
    return {"index": 0, "message": {"role": "assistant", "content": content, **more}, "finish_reason": finish_reason}


def without(content: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in content.items() if key != name}


def fault(code: str | None) -> dict[str, Any]:
    return {"error": {"message": WORDS, "type": "some_type", "param": None, "code": code}}


async def key() -> str:
    return KEY


class Server:
    """Answers every request with the same `answer`, or raises it."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.whole = completion if api == "chat" else reply
        """Makes a complete answer."""
        self.answer: Reply | httpx2.Response | Exception = json_reply("whole", self.whole())
        self.transport = ModelTransport(lambda _: self.answer)

    def says(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        self.answer = json_reply("said", body, status, headers)

    @property
    def requests(self) -> list[httpx2.Request]:
        return self.transport.requests

    @property
    def body(self) -> dict[str, Any]:
        (request,) = self.requests
        content: dict[str, Any] = json.loads(request.content)
        return content

    async def ask_async(
        self, limit: timedelta = TIMEOUT, api_key: Callable[[], Awaitable[str]] = key, request: ModelRequest = REQUEST
    ) -> ModelAnswer:
        async with httpx2.AsyncClient(transport=self.transport) as http_client:
            client = create_client("https://models.example.com/v1", api_key, limit, http_client)
            return await OpenAILLM(client, "gpt-6-luna", limit, 500, self.api).ask(request)

    def ask(self, limit: timedelta = TIMEOUT, api_key: Callable[[], Awaitable[str]] = key) -> ModelAnswer:
        return asyncio.run(self.ask_async(limit, api_key))

    def answer_text(self) -> AnswerText:
        answer = self.ask()
        assert isinstance(answer, AnswerText)
        return answer

    def unusable(self) -> UnusableAnswer:
        answer = self.ask()
        assert isinstance(answer, UnusableAnswer)
        return answer

    def transient(self) -> TransientModelError:
        error = self._error()
        assert isinstance(error, TransientModelError)
        return error

    def permanent(self) -> PermanentModelError:
        error = self._error()
        assert isinstance(error, PermanentModelError)
        return error

    def _error(self) -> ModelError:
        """The error that `ask` raises, or that came with an answer that is paid for, after a look at what it tells."""
        try:
            answer = self.ask()
        except ModelError as error:
            tells_nothing(error)
            quotes_nothing(error)
            return error
        assert isinstance(answer, FailedAnswer)
        quotes_nothing(answer.error)
        assert not answer.error.report.maybe_billed, "a billed answer is counted once"
        assert answer.usage is not None
        assert answer.usage.output_tokens, "the billed usage is reported"
        return answer.error


def tells_nothing(error: ModelError) -> None:
    """Neither the text nor the key nor the provider's words, not even in a traceback, nor in what a log gets."""
    told = str(error) + repr(error) + "".join(traceback.format_exception(error)) + repr(error.report)
    told += str(error.report.facts)
    assert MARK not in told
    assert KEY not in told
    assert "own words" not in told


def quotes_nothing(error: ModelError) -> None:
    """The provider's words in the report have neither the text nor the key."""
    assert MARK not in (error.report.cause or "")
    assert KEY not in f"{error.report.cause}{error.report.answer}"


@pytest.fixture(params=["responses", "chat"])
def server(request: pytest.FixtureRequest) -> Server:
    return Server(request.param)


by_responses = pytest.mark.parametrize("server", ["responses"], indirect=True)
by_chat = pytest.mark.parametrize("server", ["chat"], indirect=True)


class TestWhatIsSent:
    def test_is_one_post_to_the_configured_server_with_the_key(self, server: Server) -> None:
        server.ask()

        (request,) = server.requests
        path = {"responses": "responses", "chat": "chat/completions"}[server.api]
        assert (request.method, str(request.url)) == ("POST", f"https://models.example.com/v1/{path}")
        assert request.headers["Authorization"] == f"Bearer {KEY}"

    @by_responses
    def test_is_the_instructions_and_the_material_apart(self, server: Server) -> None:
        server.ask()

        assert server.body["instructions"] == "You summarize."
        assert server.body["input"] == MARK

    @by_chat
    def test_is_the_instructions_and_the_material_as_two_messages(self, server: Server) -> None:
        server.ask()

        assert server.body["messages"] == [
            {"role": "system", "content": "You summarize."},
            {"role": "user", "content": MARK},
        ]

    @pytest.mark.parametrize("served", ["flex", "default", None])
    def test_asks_for_flex_where_the_job_does_and_tells_what_was_served(
        self, server: Server, served: str | None
    ) -> None:
        server.says(200, server.whole(service_tier=served))

        answer = asyncio.run(server.ask_async(request=replace(REQUEST, tier=Tier.FLEX)))

        assert server.body["service_tier"] == "flex"
        assert answer.tier is (Tier.FLEX if served == "flex" else Tier.STANDARD)

    def test_says_nothing_of_tiers_for_any_other_job(self, server: Server) -> None:
        assert server.ask().tier is Tier.STANDARD
        assert "service_tier" not in server.body

    def test_has_no_more_room_for_the_answer_than_the_request_leaves(self, server: Server) -> None:
        asyncio.run(server.ask_async(request=replace(REQUEST, max_output_tokens=321)))

        assert server.body[{"responses": "max_output_tokens", "chat": "max_tokens"}[server.api]] == 321

    def test_names_the_model_and_the_most_tokens_to_write(self, server: Server) -> None:
        server.ask()

        limit = {"responses": "max_output_tokens", "chat": "max_tokens"}[server.api]
        assert (server.body["model"], server.body[limit]) == ("gpt-6-luna", 500)

    @by_chat
    def test_names_the_most_tokens_otherwise_from_then_on_where_the_server_wants_it(self, server: Server) -> None:
        # given a server such as OpenAI's own, with a reasoning model
        def choose(request: httpx2.Request) -> Reply:
            if "max_tokens" in json.loads(request.content):
                refusal = {"message": WORDS, "type": "invalid_request_error", "param": "max_tokens"}
                return json_reply("refused", {"error": {**refusal, "code": "unsupported_parameter"}}, 400)
            return json_reply("whole", completion())

        transport = ModelTransport(choose)

        async def ask_twice() -> list[ModelAnswer]:
            async with httpx2.AsyncClient(transport=transport) as http_client:
                client = create_client("https://models.example.com/v1", key, TIMEOUT, http_client)
                llm = OpenAILLM(client, "gpt-6-luna", TIMEOUT, 500, "chat")
                return [await llm.ask(REQUEST), await llm.ask(REQUEST)]

        # when it is asked twice
        answers = asyncio.run(ask_twice())

        # then it is told the limit by the other name, and refuses once
        assert all(isinstance(answer, AnswerText) for answer in answers)
        bodies = [json.loads(request.content) for request in transport.requests]
        limits = [(body.get("max_tokens"), body.get("max_completion_tokens")) for body in bodies]
        assert limits == [(500, None), (None, 500), (None, 500)]

    @by_chat
    def test_is_tried_no_third_time_where_the_server_refuses_either_name(self, server: Server) -> None:
        server.says(400, {"error": {"message": WORDS, "param": "max_tokens", "code": "unsupported_parameter"}})

        with pytest.raises(PermanentModelError) as caught:
            server.ask()

        assert caught.value.type == "model_request_refused"
        assert len(server.requests) == 2

    @by_chat
    def test_has_nothing_that_only_openai_knows(self, server: Server) -> None:
        server.ask()

        assert server.body.keys() == {
            "model",
            "messages",
            "response_format",
            "max_tokens",
            "stream",
            "stream_options",
        }

    @by_responses
    def test_asks_the_server_not_to_store_the_texts(self, server: Server) -> None:
        server.ask()

        assert server.body["store"] is False

    def test_asks_for_strict_json_of_the_answers_schema(self, server: Server) -> None:
        server.ask()

        sent = server.body["response_format"] if server.api == "chat" else server.body["text"]["format"]
        assert sent["type"] == "json_schema"
        sent = sent.get("json_schema", sent)
        assert (sent["strict"], sent["name"]) == (True, "Strict")
        assert sent["schema"]["additionalProperties"] is False
        assert sent["schema"]["required"] == list(sent["schema"]["properties"]) == ["summary", "details"]

    def test_has_time_limits_for_the_connection_and_the_answer(self, server: Server) -> None:
        server.ask(limit=timedelta(seconds=75))

        (request,) = server.requests
        assert request.extensions["timeout"]["connect"] == 5
        assert request.extensions["timeout"]["read"] == 75

    def test_carries_the_key_as_it_is_now(self, server: Server) -> None:
        keys = iter(["old", "new"])

        async def rotated() -> str:
            return next(keys)

        async def ask_twice() -> None:
            async with httpx2.AsyncClient(transport=server.transport) as http_client:
                client = create_client("https://models.example.com/v1", rotated, TIMEOUT, http_client)
                llm = OpenAILLM(client, "gpt-6-luna", TIMEOUT, 500, server.api)
                await llm.ask(REQUEST)
                await llm.ask(REQUEST)

        asyncio.run(ask_twice())

        assert [r.headers["Authorization"] for r in server.requests] == ["Bearer old", "Bearer new"]


class TestAnAnswer:
    def test_is_the_text_with_the_model_that_wrote_it_and_its_tokens(self, server: Server) -> None:
        assert server.ask() == AnswerText(
            model="gpt-6-luna-2026-09-30",
            usage=USAGE,
            text='{"summary": "x", "details": []}',
        )

    @by_responses
    def test_may_come_after_reasoning(self, server: Server) -> None:
        thought = {
            "type": "reasoning",
            "id": "rs_1",
            "summary": [],
            "content": [{"type": "output_text", "text": "hm"}],
        }
        server.says(200, reply(output=[thought, message(output_text("{}"))]))

        assert server.answer_text().text == "{}"

    @by_responses
    def test_may_come_in_parts(self, server: Server) -> None:
        server.says(200, reply(output=[message(output_text('{"a"'), output_text(": 1}"))]))

        assert server.answer_text().text == '{"a": 1}'

    @by_chat
    def test_may_come_after_reasoning_that_is_no_part_of_it(self, server: Server) -> None:
        server.says(200, completion(choices=[choice("{}", reasoning="hm", reasoning_content="hm")]))

        assert server.answer_text().text == "{}"

    @by_chat
    @pytest.mark.parametrize("reason", [None, "stop", "tool_calls", "eos"])
    def test_ends_for_any_reason_but_those_that_spoil_it(self, server: Server, reason: str | None) -> None:
        server.says(200, completion(choices=[choice("{}", reason)]))

        assert server.answer_text().text == "{}"

    @by_chat
    @pytest.mark.parametrize("choices", [[], [choice(None)], [choice("")], [choice(" \n")], [{"message": {}}]])
    def test_without_a_word_is_a_complaint_and_its_tokens_count(self, server: Server, choices: Any) -> None:
        server.says(200, completion(choices=choices))

        answer = server.unusable()

        assert answer.complaint == "it was empty"
        assert answer.usage is not None
        assert answer.usage.output_tokens == 140

    @by_responses
    @pytest.mark.parametrize(
        "output", [[], [message()], [message(output_text(" \n"))], [{"type": "reasoning", "id": "r"}]]
    )
    def test_without_text_is_a_complaint_and_its_tokens_count(self, server: Server, output: Any) -> None:
        server.says(200, reply(output=output))

        answer = server.unusable()

        assert answer.complaint == "it was empty"
        assert answer.usage is not None
        assert answer.usage.output_tokens == 140

    def test_that_was_cut_off_is_a_complaint_and_its_tokens_count(self, server: Server) -> None:
        cut = {
            "responses": reply(
                status="incomplete",
                incomplete_details={"reason": "max_output_tokens"},
                output=[message(output_text('{"su'))],
            ),
            "chat": completion(choices=[choice('{"su', "length")]),
        }
        server.says(200, cut[server.api])

        answer = server.unusable()

        assert answer.complaint == "it was cut off: be shorter"
        assert answer.usage is not None
        assert answer.usage.output_tokens == 140

    @pytest.mark.parametrize("change", [lambda whole: {**whole, "usage": None}, lambda whole: without(whole, "usage")])
    def test_without_usage_is_taken_all_the_same(self, server: Server, change: Callable[[Any], Any]) -> None:
        server.says(200, change(server.whole()))

        answer = server.answer_text()

        assert answer.usage is None, "not reported is not zero"

    @pytest.mark.parametrize("model", [None, 7, "", " ", "x" * 201, "a\nb", "mod\u00e8le", ["gpt"], ...])
    def test_without_the_name_of_its_model_has_the_one_that_was_asked(self, server: Server, model: Any) -> None:
        server.says(200, without(server.whole(), "model") if model is ... else server.whole(model=model))

        answer = server.answer_text()

        assert (answer.model, answer.usage) == ("gpt-6-luna", USAGE)

    @pytest.mark.parametrize("usage", NO_USAGES, ids=lambda usage: repr(usage)[:60])
    def test_is_kept_where_its_usage_can_not_be_true(self, server: Server, usage: Any) -> None:
        server.says(200, server.whole(usage=in_the_words_of(server.api, usage)))

        answer = server.answer_text()

        assert answer.text == '{"summary": "x", "details": []}'
        assert answer.usage is None, "what is not told is estimated"

    @pytest.mark.parametrize(
        "usage",
        [
            {"input_tokens": 5.0, "output_tokens": "2"},
            {"input_tokens": "5", "output_tokens": 2.0},
            {"input_tokens": "5.0", "output_tokens": 2, "input_tokens_details": {"cached_tokens": None}},
            {"input_tokens": 5, "output_tokens": 2, "total_tokens": "many", "input_tokens_details": None},
        ],
    )
    def test_may_write_its_whole_numbers_otherwise(self, server: Server, usage: Any) -> None:
        server.says(200, server.whole(usage=in_the_words_of(server.api, usage)))

        assert server.answer_text().usage == Usage(input_tokens=5, output_tokens=2)

    def test_is_kept_where_a_count_has_more_digits_than_python_reads(self, server: Server) -> None:
        body = json.dumps(server.whole(usage={"input_tokens": 7})).replace("7}", "9" * 5000 + "}")
        server.answer = Reply("said", body.encode())

        assert server.answer_text().usage is None

    @pytest.mark.parametrize("name", ["error", "incomplete_details", "tools", "id", "object", "created"])
    def test_without_what_we_can_spare_is_taken(self, server: Server, name: str) -> None:
        server.says(200, without(server.whole(), name))

        assert server.answer_text().text

    @pytest.mark.parametrize(
        "details",
        [
            {},
            {"in": None, "out": None},
            {"in": {}, "out": {"reasoning_tokens": None}},
        ],
    )
    def test_may_leave_the_details_of_its_usage_out(self, server: Server, details: dict[str, Any]) -> None:
        names = {"responses": ("input_tokens", "output_tokens"), "chat": ("prompt_tokens", "completion_tokens")}
        read, written = names[server.api]
        more = {f"{read}_details": details["in"], f"{written}_details": details["out"]} if details else {}
        server.says(200, server.whole(usage={read: 5, written: 2, **more}))

        assert server.ask().usage == Usage(input_tokens=5, output_tokens=2)


class TestAStatusThatPasses:
    @pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504, 529])
    def test_is_transient_and_named_in_the_error(self, server: Server, status: int) -> None:
        server.says(status, fault(None))

        error = server.transient()

        assert str(error) == f"the model's server answered {status}"
        assert error.retry_after is None

    @pytest.mark.parametrize("status", [408, 409, 429, 500, 503])
    def test_is_not_tried_again_by_the_client(self, server: Server, status: int) -> None:
        server.says(status, fault(None), {"Retry-After": "0"})

        server.transient()

        assert len(server.requests) == 1

    @pytest.mark.parametrize("status", [429, 503])
    def test_tells_how_many_seconds_the_server_asks_us_to_wait(self, server: Server, status: int) -> None:
        server.says(status, fault(None), {"Retry-After": "130"})

        assert server.transient().retry_after == timedelta(seconds=130)

    def test_tells_until_when_the_server_asks_us_to_wait(self, server: Server) -> None:
        until = datetime.now(UTC) + timedelta(minutes=3)
        server.says(429, fault(None), {"Retry-After": format_datetime(until, usegmt=True)})

        waiting = server.transient().retry_after

        assert waiting is not None
        assert timedelta(minutes=2) < waiting <= timedelta(minutes=3)

    @pytest.mark.parametrize(
        ("headers", "seconds"),
        [
            ({"Retry-After": "1.5"}, 1.5),
            ({"retry-after-ms": "1500"}, 1.5),
            ({"retry-after-ms": "1500", "Retry-After": "2"}, 1.5),
            ({"retry-after-ms": "soon", "Retry-After": "2"}, 2),
        ],
    )
    def test_may_ask_for_a_wait_in_parts_of_a_second(
        self, server: Server, headers: dict[str, str], seconds: float
    ) -> None:
        server.says(429, fault(None), headers)

        assert server.transient().retry_after == timedelta(seconds=seconds)

    def test_asks_for_no_wait_until_a_time_that_has_passed(self, server: Server) -> None:
        server.says(429, fault(None), {"Retry-After": "Sun, 06 Nov 1994 08:49:37 GMT"})

        assert server.transient().retry_after == timedelta(0)

    @pytest.mark.parametrize(
        "value",
        [
            "",
            "soon",
            "-5",
            "1e9",
            "12 parsecs",
            "Fri, 32 Nov 2026 10:00:00 GMT",
            "Fri, 20 Nov 99999999999999999999 10:00:00 GMT",
            "Fri, 20 Nov 2026 10:00:00 +9999999999999",
        ],
    )
    def test_with_a_wait_that_nobody_can_read_has_none(self, server: Server, value: str) -> None:
        server.says(429, fault(None), {"Retry-After": value})

        assert server.transient().retry_after is None

    @pytest.mark.parametrize("value", ["9" * 30, "Fri, 31 Dec 9999 23:59:59 GMT"])
    def test_may_ask_for_any_wait(self, server: Server, value: str) -> None:
        server.says(429, fault(None), {"Retry-After": value})

        waiting = server.transient().retry_after

        assert waiting is not None
        assert waiting > timedelta(minutes=15)

    def test_counts_with_any_body(self, server: Server) -> None:
        server.answer = html(WORDS, 502)

        assert str(server.transient()) == "the model's server answered 502"


class TestAStatusThatStays:
    @pytest.mark.parametrize(
        ("status", "type_"),
        [
            (400, "model_request_refused"),
            (401, "model_unauthorized"),
            (403, "model_forbidden"),
            (404, "model_not_found"),
            (402, "model_quota_exceeded"),
            (413, "text_too_long"),
            (422, "model_request_refused"),
        ],
    )
    def test_is_permanent_and_named_in_the_error(self, server: Server, status: int, type_: str) -> None:
        server.says(status, fault("some_code"))

        error = server.permanent()

        assert error.type == type_
        assert f"(it answered {status})" in str(error)
        assert len(server.requests) == 1

    @pytest.mark.parametrize("body", ["text", [], {}, {"error": WORDS}, {"error": {"code": 7}}, None])
    def test_counts_with_any_body(self, server: Server, body: Any) -> None:
        server.says(400, body)

        assert server.permanent().type == "model_request_refused"

    def test_counts_without_a_body(self, server: Server) -> None:
        server.answer = nothing(400)

        assert server.permanent().type == "model_request_refused"

    def test_is_no_quota_where_the_code_says_so(self, server: Server) -> None:
        server.says(429, fault("insufficient_quota"), {"Retry-After": "1"})

        assert server.permanent().type == "model_quota_exceeded"
        assert len(server.requests) == 1

    @pytest.mark.parametrize("code", ["content_filter", "content_policy_violation"])
    def test_is_the_content_filter_where_the_code_says_so(self, server: Server, code: str) -> None:
        server.says(400, fault(code))

        assert server.permanent().type == "content_filtered"


class TestAServerThatCannotBeReached:
    @pytest.mark.parametrize(
        ("error", "says", "type_", "maybe_billed"),
        [
            (httpx2.ConnectError(WORDS), "the model's server can't be reached", "unreachable", False),
            (httpx2.ConnectTimeout(WORDS), "the model's server can't be reached", "unreachable", False),
            (httpx2.PoolTimeout(WORDS), "the model's server can't be reached", "unreachable", False),
            (httpx2.WriteError(WORDS), "the model's server can't be reached", "unreachable", False),
            (httpx2.ProxyError(WORDS), "the model's server can't be reached", "unreachable", False),
            (httpx2.ReadTimeout(WORDS), "the model did not answer in time", "timeout", True),
            (httpx2.ReadError(WORDS), "the connection to the model's server was lost", "connection_lost", True),
            (
                httpx2.RemoteProtocolError(WORDS),
                "the connection to the model's server was lost",
                "connection_lost",
                True,
            ),
            (
                UnreadableBody("it is too large"),
                "did not answer with JSON of the right form",
                "unreadable_answer",
                True,
            ),
        ],
    )
    def test_is_transient_and_asked_once(
        self, server: Server, error: Exception, says: str, type_: str, maybe_billed: bool
    ) -> None:
        server.answer = error

        failed = server.transient()

        assert str(failed).endswith(says)
        assert (failed.type, failed.report.maybe_billed) == (type_, maybe_billed)
        assert failed.report.cause
        assert len(server.requests) == 1

    @pytest.mark.timeout(PATIENCE_SECONDS)
    def test_is_given_up_after_the_timeout_where_it_never_answers(self, server: Server) -> None:
        server.answer = NEVER

        with pytest.raises(TransientModelError, match="did not answer in time"):
            server.ask(limit=TINY)

    @pytest.mark.timeout(PATIENCE_SECONDS)
    def test_is_given_up_after_the_timeout_where_it_trickles(self, server: Server) -> None:
        async def trickle() -> AsyncIterator[bytes]:
            while True:
                yield b" "
                await asyncio.sleep(0)

        server.answer = httpx2.Response(200, headers={"Content-Type": "application/json"}, content=trickle())

        with pytest.raises(TransientModelError, match="did not answer in time"):
            server.ask(limit=TINY)


class TestAnAnswerThatIsNotOne:
    @pytest.mark.parametrize(
        "answer",
        [
            pytest.param(html(WORDS), id="HTML"),
            pytest.param(Reply("said", html(WORDS).body), id="HTML that claims to be JSON"),
            pytest.param(Reply("said", b'{"model": "' + MARK.encode()), id="broken JSON"),
            pytest.param(Reply("said", b'{"model": "\xff\xfe"}'), id="JSON that is not UTF-8"),
            pytest.param(NESTED, id="JSON nested without end"),
            pytest.param(Reply("said", b""), id="nothing"),
            pytest.param(nothing(), id="nothing, of no type"),
            pytest.param(json_reply("said", {}), id="{}"),
            pytest.param(json_reply("said", []), id="[]"),
            pytest.param(json_reply("said", [WORDS]), id="a list"),
            pytest.param(json_reply("said", WORDS), id="a text"),
            pytest.param(json_reply("said", None), id="null"),
            pytest.param(json_reply("said", 7), id="a number"),
            pytest.param(json_reply("said", fault(None)), id="an error"),
        ],
    )
    def test_is_transient_and_quotes_nothing(self, server: Server, answer: Reply) -> None:
        server.answer = answer

        error = server.transient()

        assert str(error).startswith("the model's server did not answer")
        assert (error.type, error.report.maybe_billed) == ("unreadable_answer", True)
        assert error.report.cause

    @by_responses
    @pytest.mark.parametrize("change", [{"output": None}, {"output": WORDS}, {"output": [WORDS]}, {"status": None}])
    def test_counts_all_the_same_where_it_tells_its_tokens(self, server: Server, change: dict[str, Any]) -> None:
        server.says(200, reply(**change))

        assert "in the form of the API" in str(server.transient())
        assert server.ask().usage == USAGE

    @by_chat
    @pytest.mark.parametrize("choices", [None, WORDS, [WORDS], [{}], [{"message": None}], [choice(7)]])  # type: ignore[arg-type]
    def test_of_a_chat_counts_too(self, server: Server, choices: Any) -> None:
        server.says(200, completion(choices=choices))

        assert "in the form of the API" in str(server.transient())
        assert server.ask().usage == USAGE

    @pytest.mark.parametrize("server", ["responses", "chat"], indirect=True)
    def test_is_one_of_the_other_api(self, server: Server) -> None:
        server.says(200, reply() if server.api == "chat" else completion())

        with pytest.raises(TransientModelError, match="that OPENAI_API names"):
            server.ask()


@by_chat
class TestAChatThatDidNotComplete:
    def test_fails_for_good_where_the_content_filter_stopped_it(self, server: Server) -> None:
        server.says(200, completion(choices=[choice("Half a", "content_filter")]))

        assert server.permanent().type == "content_filtered"

    def test_fails_for_good_where_the_model_refused(self, server: Server) -> None:
        server.says(200, completion(choices=[choice(None, refusal=WORDS)]))

        assert server.permanent().type == "model_refused"


@by_responses
class TestAResponseThatDidNotComplete:
    def test_fails_for_good_where_the_content_filter_stopped_it(self, server: Server) -> None:
        server.says(200, reply(status="incomplete", incomplete_details={"reason": "content_filter"}))

        assert server.permanent().type == "content_filtered"

    @pytest.mark.parametrize("code", ["server_error", "rate_limit_exceeded"])
    def test_is_transient_where_the_server_failed(self, server: Server, code: str) -> None:
        server.says(200, reply(status="failed", output=[], error={"code": code, "message": WORDS}))

        assert str(server.transient()) == "the model's server failed"

    @pytest.mark.parametrize("error", [{"code": "image_parse_error", "message": WORDS}, None])
    def test_fails_for_good_where_the_server_gave_it_up(self, server: Server, error: Any) -> None:
        server.says(200, reply(status="failed", output=[], error=error))

        assert server.permanent().type == "model_failed"

    def test_fails_for_good_where_the_model_refused(self, server: Server) -> None:
        server.says(200, reply(output=[message({"type": "refusal", "refusal": WORDS})]))

        assert server.permanent().type == "model_refused"


def test_a_key_that_cannot_be_read_comes_out_as_it_is(server: Server) -> None:
    original = TransientModelError("the model's API key can't be read")

    async def unreadable() -> str:
        raise original

    with pytest.raises(TransientModelError) as caught:
        server.ask(api_key=unreadable)

    assert caught.value is original
    assert server.requests == []


def test_a_cancelled_call_stays_cancelled(server: Server) -> None:
    server.answer = NEVER

    async def cancel() -> None:
        call = asyncio.create_task(server.ask_async())
        await server.transport.holds.wait()
        call.cancel()
        await call

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancel())


JUNK: list[Any] = [{}, [], None, 7, WORDS, {"data": [7]}, {"input_tokens": 0}, {"input_tokens": "x"}]

Routes = dict[str, Reply]


class TestTheCountOfTokens:
    @by_responses
    def test_is_the_servers_own(self, server: Server) -> None:
        server.says(200, {"object": "response.input_tokens", "input_tokens": 17})

        assert count(server) == 17
        (request,) = server.requests
        assert (request.method, request.url.path) == ("POST", "/v1/responses/input_tokens")
        assert json.loads(request.content) == {"model": "gpt-6-luna", "input": MARK}

    @by_chat
    def test_is_not_asked_for_by_chat_which_has_none(self, server: Server) -> None:
        assert count(server) is None
        assert server.requests == []

    @by_responses
    @pytest.mark.parametrize(
        "answer",
        [
            json_reply("said", fault(None), 404),
            html("", 404),
            html(""),
            NESTED,
            nothing(),
            *(json_reply("said", body) for body in JUNK),
            json_reply("said", fault(None), 401),
            json_reply("said", fault(None), 429, {"Retry-After": "60"}),
            json_reply("said", fault(None), 500),
            httpx2.ConnectError(WORDS),
            httpx2.ReadTimeout(WORDS),
        ],
    )
    def test_is_none_where_the_server_does_not_tell(self, server: Server, answer: Reply | Exception) -> None:
        server.answer = answer

        assert count(server) is None
        assert len(server.requests) == 1

    @by_responses
    def test_is_none_where_there_is_no_key(self, server: Server) -> None:
        async def unreadable() -> str:
            raise TransientModelError("the model's API key can't be read")

        assert count(server, api_key=unreadable) is None

    @by_responses
    @pytest.mark.timeout(PATIENCE_SECONDS)
    def test_is_not_waited_for_as_long_as_an_answer(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("jobchain_worker.openai_llm.COUNT_TIMEOUT", TINY)
        server.answer = NEVER

        assert count(server) is None


def count(server: Server, api_key: Callable[[], Awaitable[str]] = key) -> int | None:
    async def ask() -> int | None:
        async with httpx2.AsyncClient(transport=server.transport) as http_client:
            client = create_client("https://models.example.com/v1", api_key, TIMEOUT, http_client)
            return await OpenAILLM(client, "gpt-6-luna", TIMEOUT, 500, server.api).count_tokens(MARK)

    return asyncio.run(ask())


MODEL = {"id": "gpt-6-luna", "object": "model", "created": 1763805600, "owned_by": "openai"}


class TestTheEndOfAModel:
    @pytest.mark.parametrize(
        ("said", "expected"),
        [
            ({}, None),
            ({"shutdown_date": None}, None),
            ({"shutdown_date": "2027-01-23"}, date(2027, 1, 23)),
            ({"shutdown_date": "2027-01-23T18:30:00Z"}, date(2027, 1, 23)),
            ({"shutdown_date": 1800662400}, date(2027, 1, 23)),
        ],
    )
    def test_is_the_day_that_the_server_names(self, said: dict[str, Any], expected: date | None) -> None:
        assert shutdown({"/v1/models/gpt-6-luna": json_reply("said", {**MODEL, **said})}) == expected

    def test_stands_in_the_list_where_a_server_has_nothing_else(self) -> None:
        listed = {"object": "list", "data": [{"id": "other"}, {**MODEL, "shutdown_date": "2027-01-23"}]}

        assert shutdown({"/v1/models": json_reply("said", listed)}) == date(2027, 1, 23)

    def test_is_not_looked_for_where_the_model_is_unknown(self) -> None:
        with pytest.raises(UnknownModel, match="knows no model gpt-6-luna") as caught:
            shutdown({"/v1/models": json_reply("said", {"object": "list", "data": [{"id": "b"}, {"id": "a"}]})})

        assert caught.value.names == ("a", "b")

    @pytest.mark.parametrize(
        ("routes", "says"),
        [
            ({}, "does not tell which models it has"),
            ({"/v1/models/gpt-6-luna": json_reply("said", fault(None), 401)}, "does not accept the API key"),
            ({"/v1/models/gpt-6-luna": json_reply("said", fault(None), 403)}, "may not use the model"),
            ({"/v1/models/gpt-6-luna": json_reply("said", fault(None), 503)}, "answered 503"),
            ({"/v1/models/gpt-6-luna": json_reply("said", {})}, "not answer with JSON of the right form"),
            ({"/v1/models/gpt-6-luna": json_reply("said", [])}, "not answer with JSON of the right form"),
            ({"/v1/models/gpt-6-luna": json_reply("said", WORDS)}, "not answer with JSON of the right form"),
            ({"/v1/models/gpt-6-luna": json_reply("said", {**MODEL, "shutdown_date": "soon"})}, "of the right form"),
            ({"/v1/models": nothing()}, "of the right form"),
            *(({"/v1/models": json_reply("said", body)}, "of the right form") for body in JUNK),
        ],
    )
    def test_is_not_known_where_the_server_does_not_tell(self, routes: Routes, says: str) -> None:
        with pytest.raises(ModelError, match=says) as caught:
            shutdown(routes)

        assert not isinstance(caught.value, UnknownModel)
        tells_nothing(caught.value)

    @pytest.mark.parametrize("path", ["/v1/models/gpt-6-luna", "/v1/models"])
    def test_is_not_known_where_the_server_answers_with_a_page(self, path: str) -> None:
        with pytest.raises(ModelError, match="of the right form"):
            shutdown({path: html("")})


def shutdown(routes: Routes) -> date | None:
    """What is found on a server that has these paths alone."""
    unknown = refused(404, "model_not_found", message=WORDS)
    transport = ModelTransport(lambda request: routes.get(request.url.path, unknown))

    async def find() -> date | None:
        async with httpx2.AsyncClient(transport=transport) as http_client:
            client = create_client("https://models.example.com/v1", key, TIMEOUT, http_client)
            return await find_shutdown(client, "gpt-6-luna", TIMEOUT)

    return asyncio.run(find())
