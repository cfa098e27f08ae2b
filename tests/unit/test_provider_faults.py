"""What providers say about a failed call is taken for what it is, whichever status, code, type or words they use."""

import asyncio
import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import httpx2
import pytest

from jobchain.domain import Tier
from jobchain.errors import ModelError, ModelSettingsError, PermanentModelError, TransientModelError
from jobchain.llm import AnswerText, FailedAnswer, ModelAnswer, ModelRequest, UnusableAnswer
from jobchain_worker.dialects import Api
from jobchain_worker.openai_calls import create_client
from jobchain_worker.openai_llm import OpenAILLM
from jobchain_worker.output_limits import OutputLimits
from tests.fake_model.replies import MODEL, Reply, html, json_reply, output_text, response
from tests.fake_model.server import ModelServer
from tests.fake_model.transport import ModelTransport
from tests.shipped import SummaryAnswer
from tests.unit.test_call_reports import HTTPS, REQUEST, TIMEOUT, ask, key

USAGE = {"prompt_tokens": 100, "completion_tokens": 50}


def said(status: int, message: str = "no", headers: dict[str, str] | None = None, **more: Any) -> Reply:
    """An error in OpenAI's form."""
    error = {"message": message, "type": None, "param": None, "code": None, **more}
    return json_reply(message, {"error": error}, status, headers)


def plain(status: int, body: Any) -> Reply:
    """An error in any other form."""
    return json_reply(str(body), body, status)


def failure(reply: Reply, api: Api = "chat", request: ModelRequest = REQUEST) -> ModelError:
    with pytest.raises(ModelError) as caught:
        ask(HTTPS, api=api, request=request, transport=ModelTransport(lambda _: reply))
    return caught.value


MONEY = [
    said(429, "quota exceeded", type="insufficient_quota"),
    said(429, "You exceeded your current quota.", type="insufficient_quota", code="insufficient_quota"),
    said(400, "hard limit", type="invalid_request_error", code="billing_hard_limit_reached"),
    said(429, "Billing hard limit has been reached"),
    said(402, "Insufficient Balance", type="unknown_error", code="invalid_request_error"),
    plain(402, {"error": {"message": "Insufficient credits", "code": 402}}),
    html("Payment Required", 402),
    said(400, "Your credit balance is too low to access the API.", type="invalid_request_error"),
    said(403, "Your team has used all available credits or reached its monthly spending limit."),
    said(403, "gone", type="exceeded_current_quota_error"),
    plain(400, {"code": "Arrearage", "message": "Access denied, your account is overdue."}),
    plain(200, {"error": {"message": "Insufficient credits", "code": 402}}),
    plain(200, {"error": {"message": "over", "type": "insufficient_quota"}}),
]
NO_KEY = [
    said(401, "Incorrect API key provided", code="invalid_api_key"),
    html("Unauthorized", 401),
    plain(400, [{"error": {"code": 400, "message": "API key not valid.", "status": "INVALID_ARGUMENT"}}]),
    plain(200, {"error": {"message": "No auth credentials found", "code": 401}}),
    said(403, "bad key", type="authentication_error"),
]
TOO_LONG = [
    said(400, "context length is 4096", param="messages", code="context_length_exceeded"),
    said(400, "This model's maximum context length is 4096 tokens. However, your messages resulted in 5000 tokens."),
    said(400, "prompt is too long: 210000 tokens > 200000 maximum", type="invalid_request_error"),
    said(400, "the request exceeds the available context size", type="exceed_context_size_error"),
    plain(
        400, {"error": {"code": 400, "message": "The input token count (1100000) exceeds the maximum.", "status": "X"}}
    ),
    plain(
        400, {"object": "error", "message": "The prompt (length 9000) is longer than the maximum model length of 8192"}
    ),
    plain(
        400, {"errors": [{"message": "AiError: maximum context length of 4096 tokens", "code": 8007}], "success": False}
    ),
    said(400, "The input (9000 tokens) is longer than the model's context length (8192 tokens)."),
    html("Request Entity Too Large", 413),
    said(413, "large", type="request_too_large"),
    said(
        429, "Request too large for gpt-5.1 in org-1 on tokens per min (TPM): Limit 30000.", code="rate_limit_exceeded"
    ),
    said(413, "Request too large for model `llama-3.1-8b` on tokens per minute (TPM)", code="rate_limit_exceeded"),
    plain(200, {"error": {"message": "This endpoint's maximum context length is 8192 tokens", "code": 400}}),
]
OVERLOADED = [
    said(529, "Overloaded", type="overloaded_error"),
    said(429, "try later", type="engine_overloaded_error"),
    said(503, "busy", type="overloaded_error"),
    said(400, "busy", code="capacity_exceeded"),
    html("Capacity exceeded", 498),
    plain(200, {"error": {"message": "busy", "type": "overloaded_error"}}),
]
RATE_LIMITED = [
    said(429, "Rate limit reached", code="rate_limit_exceeded"),
    plain(
        429, [{"error": {"code": 429, "message": "You exceeded your current quota.", "status": "RESOURCE_EXHAUSTED"}}]
    ),
    said(402, "in flight", headers={"Retry-After": "7"}),
    plain(200, {"error": {"message": "slow down", "code": 429}}),
    said(403, "slow down", type="rate_limit_error"),
]
FILTERED = [
    said(400, "filtered", code="content_filter"),
    said(400, "filtered", innererror={"code": "ResponsibleAIPolicyViolation"}),
    said(403, "Your chosen model requires moderation and your input was flagged", code=403),
]
FAILED = [
    plain(200, {"id": "gen-1", "error": {"message": "it broke", "code": 502}}),
    plain(200, {"error": {"message": "it broke", "code": "500"}}),
    said(424, "generation failed"),
    said(500, "context length is 4096"),
]
WRONG_PATH = [
    plain(404, {"detail": "Not Found"}),
    html("<h1>404 Not Found</h1>", 404),
    Reply("text", b"404 page not found", 404, content_type="text/plain"),
    Reply("nothing", b"", 404, content_type=""),
    said(404, "Invalid URL (POST /v1/v1/chat/completions)", type="invalid_request_error"),
    said(404, "Resource not found", code="404"),
    plain(404, {"timestamp": 1, "status": 404, "error": "Not Found", "path": "/v1/v1/responses"}),
    plain(404, {"message": "Not Found"}),
    html("Method Not Allowed", 405),
]
NO_MODEL = [
    said(404, "The model 'x' does not exist or you do not have access to it.", code="model_not_found"),
    said(404, "no", type="NotFoundError", code=404),
    plain(404, {"object": "error", "message": "The model `x` does not exist.", "type": "NotFoundError", "code": 404}),
    said(404, "The API deployment for this resource does not exist.", code="DeploymentNotFound"),
    plain(404, {"error": "model 'x' not found, try pulling it first"}),
    said(400, "x is not there", code="model_not_found"),
]
OTHER = [
    said(400, "Unknown parameter: 'store'.", code="unknown_parameter", param="store"),
    said(403, "Country not supported", code="unsupported_country_region_territory"),
]


def cases(*groups: tuple[str, Sequence[Reply]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        ("type_", "reply"),
        [pytest.param(type_, reply, id=f"{type_}-{reply.name[:40]}") for type_, group in groups for reply in group],
    )


class TestAFaultThatStays:
    @pytest.mark.parametrize("api", ["responses", "chat"])
    @cases(
        ("model_quota_exceeded", MONEY),
        ("model_unauthorized", NO_KEY),
        ("text_too_long", TOO_LONG),
        ("content_filtered", FILTERED),
        ("model_misconfigured", WRONG_PATH),
        ("model_not_found", NO_MODEL[:-2] + NO_MODEL[-1:]),
        ("model_request_refused", OTHER[:1]),
        ("model_forbidden", OTHER[1:]),
    )
    def test_is_named_by_what_can_be_done_about_it(self, type_: str, reply: Reply, api: Api) -> None:
        error = failure(reply, api)

        assert isinstance(error, PermanentModelError)
        assert error.type == type_
        assert not error.report.maybe_billed

    @pytest.mark.parametrize("reply", WRONG_PATH, ids=lambda reply: reply.name[:40])
    def test_of_a_wrong_base_path_names_the_setting(self, reply: Reply) -> None:
        error = failure(reply)

        assert isinstance(error, ModelSettingsError)
        assert "correct OPENAI_BASE_URL, which usually ends in /v1" in str(error)

    @pytest.mark.parametrize("reply", TOO_LONG, ids=lambda reply: reply.name[:40])
    def test_of_a_text_that_is_too_long_says_what_to_do(self, reply: Reply) -> None:
        assert "lower MaxInputTokens" in str(failure(reply))

    @pytest.mark.parametrize("words", ["Insufficient balance", "the maximum context length", "API key not valid"])
    def test_is_not_told_by_words_that_the_text_itself_holds(self, words: str) -> None:
        reply = said(400, f"Could not parse: '{words.upper()} of a text'")

        assert failure(reply).type != "model_request_refused"
        request = ModelRequest("You summarize.", f"It has\n{words}.", SummaryAnswer)
        assert failure(reply, request=request).type == "model_request_refused"


class TestAFaultThatPasses:
    @pytest.mark.parametrize("api", ["responses", "chat"])
    @cases(("overloaded", OVERLOADED), ("rate_limited", RATE_LIMITED), ("server_error", FAILED))
    def test_is_named_by_what_it_is(self, type_: str, reply: Reply, api: Api) -> None:
        error = failure(reply, api)

        assert isinstance(error, TransientModelError)
        assert error.type == type_
        assert error.report.maybe_billed is (reply.status == 200 and type_ != "rate_limited")

    def test_has_its_wait_with_a_402_too(self) -> None:
        error = failure(RATE_LIMITED[2])

        assert isinstance(error, TransientModelError)
        assert error.retry_after == timedelta(seconds=7)

    def test_of_flex_is_its_own_at_a_provider_with_a_status_for_it(self) -> None:
        request = ModelRequest("x", "y", SummaryAnswer, tier=Tier.FLEX)

        assert failure(said(498, "Flex tier capacity exceeded"), request=request).type == "flex_unavailable"


def chat(reason: str | None, content: str | None = None, **more: Any) -> ModelAnswer:
    choice = {"index": 0, "finish_reason": reason, "message": {"role": "assistant", "content": content}, **more}
    body = {"choices": [choice], "usage": USAGE}
    return ask(HTTPS, api="chat", transport=ModelTransport(lambda _: json_reply("said", body)))


class TestTheReasonForWhichAChatEnded:
    @pytest.mark.parametrize("reason", ["content_filter", "SAFETY", "PROHIBITED_CONTENT", "RECITATION", "sensitive"])
    def test_may_be_the_filter(self, reason: str) -> None:
        answer = chat(reason)

        assert isinstance(answer, FailedAnswer)
        assert answer.error.type == "content_filtered"
        assert answer.usage is not None

    @pytest.mark.parametrize("reason", ["length", "max_tokens", "MAX_TOKENS", "model_length"])
    def test_may_be_that_there_was_no_room(self, reason: str) -> None:
        answer = chat(reason, '{"summ')

        assert isinstance(answer, UnusableAnswer)
        assert answer.cut_off

    @pytest.mark.parametrize("reason", ["error", "insufficient_system_resource", "network_error", "abort"])
    def test_may_be_that_the_server_failed(self, reason: str) -> None:
        answer = chat(reason, "")

        assert isinstance(answer, FailedAnswer)
        assert isinstance(answer.error, TransientModelError)
        assert answer.error.type == "server_error"
        assert reason in (answer.error.report.cause or "")
        assert answer.usage is not None

    @pytest.mark.parametrize(
        ("error", "type_"),
        [({"code": 429, "message": "busy"}, "rate_limited"), ({"code": 402, "message": "no"}, "model_quota_exceeded")],
    )
    def test_may_be_explained_in_the_choice(self, error: dict[str, Any], type_: str) -> None:
        answer = chat("error", error=error)

        assert isinstance(answer, FailedAnswer)
        assert (answer.error.type, answer.error.report.cause) == (type_, f"{error['message']} (code: {error['code']})")

    def test_may_be_that_the_model_declined(self) -> None:
        answer = chat("refusal", "No.")

        assert isinstance(answer, FailedAnswer)
        assert answer.error.type == "model_refused"


class TestAResponseThatFailed:
    @pytest.mark.parametrize(
        ("error", "type_"),
        [
            ({"code": "insufficient_quota", "message": "no"}, "model_quota_exceeded"),
            ({"code": "rate_limit_exceeded", "message": "no"}, "rate_limited"),
            ({"code": "context_length_exceeded", "message": "no"}, "text_too_long"),
            ({"code": "image_parse_error", "message": "no"}, "model_failed"),
            ({"code": "invalid_prompt", "message": "no"}, "content_filtered"),
        ],
    )
    def test_is_named_by_its_error(self, error: dict[str, Any], type_: str) -> None:
        reply = json_reply("said", response(status="failed", output=[], error=error))

        answer = ask(HTTPS, transport=ModelTransport(lambda _: reply))

        assert isinstance(answer, FailedAnswer)
        assert answer.error.type == type_
        assert answer.usage is not None


# What servers say of an answer's room, for a request of 16,384 tokens, and what is asked for then.
ROOMS = [
    ("max_tokens is too large: 16384. This model supports at most 8192 completion tokens, but 16384 was asked.", 8192),
    ("max_tokens must be in [1, 8192]", 8192),
    ("Invalid max_tokens value, the valid range of max_tokens is [1, 8192]", 8192),
    ("Invalid 'max_output_tokens': integer above maximum value. Expected a value <= 8,192, but got 16384.", 8192),
    ("`max_tokens` must be less than or equal to `8192`, the maximum value is less than the window", 8192),
    ("max_tokens: 16384 > 8192, which is the maximum allowed number of output tokens for some-model", 8192),
    ("the supported range of max_output_tokens is from 1 (inclusive) to 8193 (exclusive)", 8192),
    (
        "This model's maximum context length is 4096 tokens. However, you requested 17384 tokens "
        "(1000 in the messages, 16384 in the completion). Please reduce the length.",
        3096,
    ),
    (
        "'max_tokens' or 'max_completion_tokens' is too large: 16384. This model's maximum context length is 8192 "
        "tokens and your request has 192 input tokens (16384 > 8192 - 192).",
        8000,
    ),
    (
        "Requested token count exceeds the model's maximum context length of 8192 tokens. You requested a total of "
        "16576 tokens: 192 tokens from the input messages and 16384 tokens for the completion.",
        8000,
    ),
    (
        "This model's maximum context length is 8192 tokens. However, you requested 16384 output tokens and your "
        "prompt contains at least 192 input tokens, for a total of at least 16576 tokens.",
        8000,
    ),
    ("`inputs` tokens + `max_new_tokens` must be <= 4096. Given: 96 `inputs` tokens and 16384 `max_new_tokens`", 4000),
    ("input length and `max_tokens` exceed context limit: 1000 + 16384 > 9000", 8000),
    ("This endpoint's maximum context length is 8192 tokens. You requested about 16576 tokens (192 of text input, "
     "16384 in the output).", 8000),
]  # fmt: skip


class Rooms:
    """A server that refuses an answer's room of more than `most` in these words; it notes what it was asked."""

    def __init__(self, words: str, most: int, status: int = 400) -> None:
        self.words, self.most, self.status = words, most, status
        self.asked: list[int] = []

    def choose(self, request: httpx2.Request) -> Reply:
        body = json.loads(request.content)
        names = ("max_tokens", "max_completion_tokens", "max_output_tokens")
        self.asked.append(next(body[name] for name in names if name in body))
        if self.asked[-1] > self.most:
            return said(self.status, self.words, type="invalid_request_error")
        whole = {"choices": [{"message": {"content": "{}"}}], "usage": USAGE}
        return json_reply("whole", response(output_text("{}")) if "input" in body else whole)

    def ask(self, *requests: ModelRequest, api: Api = "chat", configured: int = 16_384) -> tuple[OpenAILLM, Any]:
        async def call() -> tuple[OpenAILLM, Any]:
            async with httpx2.AsyncClient(transport=ModelTransport(self.choose)) as http_client:
                llm = OpenAILLM(create_client(HTTPS, key, TIMEOUT, http_client), MODEL, TIMEOUT, configured, api)
                return llm, [await llm.ask(request) for request in requests]

        return asyncio.run(call())


class TestTheRoomOfAnAnswer:
    @pytest.mark.parametrize("api", ["responses", "chat"])
    @pytest.mark.parametrize(("words", "fits"), ROOMS, ids=[words[:40] for words, _ in ROOMS])
    def test_is_what_the_server_says_once_it_has_refused_more(self, words: str, fits: int, api: Api) -> None:
        server = Rooms(words, fits)

        _, answers = server.ask(REQUEST, api=api)

        assert server.asked == [16_384, fits]
        assert isinstance(answers[0], AnswerText)

    def test_is_remembered(self) -> None:
        server = Rooms(ROOMS[0][0], 8192)

        llm, _ = server.ask(REQUEST, REQUEST)

        assert server.asked == [16_384, 8192, 8192]
        assert llm.max_output_tokens == 8192

    def test_is_remembered_for_a_window_by_what_each_text_leaves_of_it(self) -> None:
        server = Rooms("maximum context length is 8192 tokens (192 in the messages, 16384 in the completion)", 8000)
        longer = ModelRequest("x", "word " * 1_600, SummaryAnswer)

        llm, answers = server.ask(REQUEST, REQUEST, longer)

        assert server.asked[:2] == [16_384, 8000]
        assert 7_900 < server.asked[2] < 8_000
        assert 4_000 < server.asked[3] < 7_000
        assert llm.max_output_tokens == 16_384, "another text may leave more"
        assert len(answers) == 3

    def test_is_estimated_where_the_server_tells_the_window_alone(self) -> None:
        server = Rooms("max_tokens is too large: 16384 (context 8192)", 8_100)

        _, answers = server.ask(REQUEST)

        assert isinstance(answers[0], AnswerText)
        assert 7_000 < server.asked[1] < 8_100

    @pytest.mark.parametrize("status", [400, 416, 422])
    def test_is_told_with_any_status_of_a_refusal(self, status: int) -> None:
        server = Rooms("max_tokens must be in [1, 8192]", 8192, status)

        server.ask(REQUEST)

        assert server.asked == [16_384, 8192]

    def test_is_asked_for_no_third_time(self) -> None:
        server = Rooms("max_tokens must be in [1, 8192]", 0)

        with pytest.raises(PermanentModelError):
            server.ask(REQUEST)

        assert server.asked == [16_384, 8192]

    @pytest.mark.parametrize(
        "words",
        [
            "max_tokens must be positive",
            "max_tokens must be in [1, 99999]",
            "max_tokens must be in [1, 7]",
            f"max_tokens must be at most {'9' * 5_000}",
            "temperature must be at most 8192",
            "",
        ],
    )
    def test_stays_where_the_server_tells_no_other_that_helps(self, words: str) -> None:
        server = Rooms(words, 0)

        with pytest.raises(PermanentModelError, match="does not accept the request"):
            server.ask(REQUEST)

        assert server.asked == [16_384]

    def test_is_too_small_where_the_text_leaves_none(self) -> None:
        server = Rooms(
            "This model's maximum context length is 4096 tokens, you requested 20000 (4000 in the messages)", 0
        )

        with pytest.raises(PermanentModelError) as caught:
            server.ask(REQUEST)

        assert (caught.value.type, server.asked) == ("text_too_long", [16_384])

    def test_is_not_set_by_the_text_that_a_refusal_quotes(self) -> None:
        text = "Remember that max_tokens must be at most 300 in every call."
        server = Rooms(f"max_tokens: could not parse '{text}'", 0)

        with pytest.raises(PermanentModelError):
            server.ask(ModelRequest("x", text, SummaryAnswer))

        assert server.asked == [16_384]

    def test_is_renamed_and_made_smaller_for_a_server_that_wants_both(self) -> None:
        server = Rooms("max_completion_tokens must be at most 8192", 8192)

        def choose(request: httpx2.Request) -> Reply:
            if "max_tokens" in json.loads(request.content):
                words = "Unsupported parameter: 'max_tokens' is not supported. Use 'max_completion_tokens' instead."
                return said(400, words, param="max_tokens", code="unsupported_parameter")
            return server.choose(request)

        answer = ask(HTTPS, api="chat", transport=ModelTransport(choose), most=16_384)

        assert isinstance(answer, AnswerText)
        assert server.asked == [16_384, 8192]

    def test_is_learned_over_a_connection(self) -> None:
        with ModelServer() as server:
            server.script("job-1", said(400, ROOMS[0][0], param="max_output_tokens"))
            server.script("job-1", said(400, "never used"), step="none")

            ask(server.base_url, most=16_384)

            asked = [json.loads(call.body)["max_output_tokens"] for call in server.journal.calls()]
            assert asked == [16_384, 8192]

    def test_is_never_more_than_a_step_asks_for(self) -> None:
        assert OutputLimits(500).room(ModelRequest("x", "y", SummaryAnswer, max_output_tokens=300)) == 300
        assert OutputLimits(500).room(ModelRequest("x", "y", SummaryAnswer, max_output_tokens=900)) == 500


class TestSettings:
    @pytest.mark.parametrize(
        ("variable", "value"), [("OPENAI_ORG_ID", "\u201corg-1\u201d"), ("OPENAI_PROJECT_ID", "proj\n1")]
    )
    def test_of_the_sdk_that_no_header_can_carry_are_named_and_not_tried_again(
        self, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
    ) -> None:
        monkeypatch.setenv(variable, value)

        with ModelServer() as server, pytest.raises(ModelSettingsError, match=variable) as caught:
            ask(server.base_url)

        assert not caught.value.report.maybe_billed
        assert value not in str(caught.value)
