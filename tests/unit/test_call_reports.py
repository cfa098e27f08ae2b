"""What is known of a call that failed: over real connections, where what breaks is the connection."""

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx2
import pytest

from jobchain.domain import Tier
from jobchain.errors import CallReport, ModelError, PermanentModelError, TransientModelError
from jobchain.llm import AnswerText, FailedAnswer, ModelAnswer, ModelRequest, UnusableAnswer
from jobchain_worker.dialects import Api
from jobchain_worker.openai_calls import create_client
from jobchain_worker.openai_llm import OpenAILLM
from tests.fake_model.replies import (
    CONTENT_FILTERED,
    CUT_OFF,
    DROPPED,
    EMPTY_TEXT,
    GATEWAY_TIMEOUT,
    HALF,
    HTML,
    MODEL,
    NEVER,
    REFUSAL,
    Reply,
    answer,
    html,
    json_reply,
    refused,
    response,
    with_id,
)
from tests.fake_model.server import ModelServer
from tests.fake_model.transport import ModelTransport
from tests.shipped import SummaryAnswer

KEY = "sk-made-up-0001"
TEXT = "The text of job-1: the patient Anna Example takes 20 mg of it daily."
REQUEST = ModelRequest("You summarize what a clinic has written.", TEXT, SummaryAnswer)
TIMEOUT = timedelta(seconds=30)
SHORT = timedelta(seconds=0.4)
HTTPS = "https://models.example.com/v1"


async def key() -> str:
    return KEY


def ask(
    base_url: str,
    *,
    limit: timedelta = TIMEOUT,
    api: Api = "responses",
    request: ModelRequest = REQUEST,
    transport: httpx2.AsyncBaseTransport | None = None,
    api_key: Callable[[], Awaitable[str]] = key,
    seen: Callable[[httpx2.Request], object] = lambda _: None,
    most: int = 500,
) -> ModelAnswer:
    async def see(request: httpx2.Request) -> None:
        seen(request)

    async def call() -> ModelAnswer:
        hooks = {"request": [see]}
        # As OpenAI's own client is: it follows redirects.
        async with httpx2.AsyncClient(
            transport=transport, trust_env=False, follow_redirects=True, event_hooks=hooks
        ) as http_client:
            client = create_client(base_url, api_key, limit, http_client)
            return await OpenAILLM(client, MODEL, limit, most, api).ask(request)

    return asyncio.run(call())


def failure(base_url: str, **options: Any) -> TransientModelError:
    with pytest.raises(TransientModelError) as caught:
        ask(base_url, **options)
    assert_redacted(caught.value)
    return caught.value


def by_server(reply: Reply, limit: timedelta = TIMEOUT, request: ModelRequest = REQUEST) -> TransientModelError:
    """The error of a call that a server behind a socket answers so."""
    with ModelServer() as server:
        server.script("job-1", reply)
        return failure(server.base_url, limit=limit, request=request)


def in_process(reply: Reply, api: Api = "responses", request: ModelRequest = REQUEST) -> ModelAnswer:
    return ask(HTTPS, api=api, request=request, transport=ModelTransport(lambda _: reply))


def error_in_process(reply: Reply, api: Api = "responses", request: ModelRequest = REQUEST) -> ModelError:
    with pytest.raises(ModelError) as caught:
        in_process(reply, api, request)
    assert_redacted(caught.value)
    return caught.value


def assert_redacted(error: ModelError) -> None:
    cause = error.report.cause or ""
    assert "Anna" not in cause
    assert "clinic" not in cause
    assert KEY not in f"{cause}{error.report.answer}{error.report.facts}{error}"
    assert len(cause) <= 1_000
    assert cause.isprintable()


@contextmanager
def busy_server() -> Iterator[str]:
    """The base URL of a server that has no room for another connection, so that connecting takes forever."""
    with socket.socket() as listening, socket.socket() as first, socket.socket() as second:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        for waiting in (first, second):
            waiting.setblocking(False)
            waiting.connect_ex(listening.getsockname())
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/v1"


class TestACallThatMayBeBilled:
    def test_is_one_whose_connection_is_dropped(self) -> None:
        error = by_server(DROPPED)

        assert error.type == "connection_lost"
        assert error.report == CallReport(
            maybe_billed=True, cause="the connection broke before the answer was complete"
        )

    def test_is_one_whose_connection_is_dropped_in_the_middle_of_the_answer(self) -> None:
        error = by_server(with_id(HALF, "req_1"))

        assert (error.type, error.report.maybe_billed) == ("connection_lost", True)
        assert (error.report.status, error.report.request_id) == (200, "req_1")

    def test_is_one_that_is_never_answered(self) -> None:
        error = by_server(NEVER, limit=SHORT)

        assert error.type == "timeout"
        assert error.report == CallReport(maybe_billed=True, cause="no complete answer within 0.4 s")

    def test_is_one_after_another_that_the_server_refused(self) -> None:
        # given a server that wants the limit of tokens under another name, and then never answers
        def choose(sent: httpx2.Request) -> Reply:
            return refused_parameter if "max_tokens" in json.loads(sent.content) else NEVER

        refusal = {"message": "no", "type": "invalid_request_error", "param": "max_tokens", "code": "unsupported"}
        refused_parameter = json_reply("refused", {"error": refusal}, 400)

        error = failure(HTTPS, limit=SHORT, api="chat", transport=ModelTransport(choose))

        assert error.type == "timeout"
        assert error.report == CallReport(maybe_billed=True, cause="no complete answer within 0.4 s")

    @pytest.mark.parametrize("status", [504, 524])
    def test_is_one_that_a_gateway_gave_up(self, status: int) -> None:
        error = by_server(replace(GATEWAY_TIMEOUT, status=status))

        assert (str(error), error.type) == (f"the model's server answered {status}", "server_error")
        assert error.report == CallReport(maybe_billed=True, cause="504 Gateway Time-out", status=status)

    @pytest.mark.parametrize(
        "reply",
        [
            HTML,
            Reply("said", b'{"id": "resp_1", "output": [{"type": "message", "content": [{"te'),
            Reply("said", b"\xff\xfe\xfd"),
            json_reply("said", {"answer": 42}),
            json_reply("said", []),
        ],
        ids=lambda reply: repr(reply.body[:20]),
    )
    def test_is_one_whose_answer_can_not_be_read(self, reply: Reply) -> None:
        error = by_server(with_id(reply, "req_1"))

        assert (error.type, error.report.maybe_billed, error.report.status) == ("unreadable_answer", True, 200)
        assert error.report.request_id == "req_1"
        assert error.report.answer == reply.body.decode(errors="replace")
        assert error.report.cause

    def test_is_one_whose_answer_can_not_be_unpacked(self) -> None:
        error = by_server(Reply("said", b"no gzip at all", headers={"Content-Encoding": "gzip"}))

        assert (error.type, error.report.maybe_billed) == ("unreadable_answer", True)
        assert error.report.cause == "the answer can't be read: its compression is broken"

    def test_is_one_with_an_error_in_a_200_that_it_explains(self) -> None:
        error = by_server(json_reply("said", {"id": "gen-1", "error": {"message": "overloaded", "code": 502}}))

        assert (error.type, error.report.maybe_billed) == ("server_error", True)
        assert (error.report.cause, error.report.code) == ("overloaded (code: 502)", "502")


class TestACallThatIsNotBilled:
    def test_is_one_whose_connection_is_refused(self) -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            error = failure(f"http://127.0.0.1:{unused.getsockname()[1]}/v1")

        assert (str(error), error.type) == ("the model's server can't be reached", "unreachable")
        assert error.report == CallReport(cause="the connection was refused")

    def test_is_one_to_a_name_that_is_unknown(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def unknown(*_: object, **__: object) -> None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        monkeypatch.setattr(socket, "getaddrinfo", unknown)

        error = failure("http://models.example.invalid/v1")

        assert error.type == "unreachable"
        assert error.report == CallReport(cause="the server's name can't be resolved")

    def test_is_one_to_a_server_without_tls(self) -> None:
        with ModelServer() as server:
            error = failure(server.base_url.replace("http:", "https:"))

        assert (error.type, error.report.maybe_billed) == ("unreachable", False)
        assert (error.report.cause or "").startswith("no TLS connection: ")

    def test_is_one_whose_connection_takes_too_long(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("jobchain_worker.openai_calls.CONNECT_TIMEOUT", SHORT)

        with busy_server() as base_url:
            error = failure(base_url)

        assert error.type == "unreachable"
        assert error.report == CallReport(cause="no connection in time")

    def test_is_one_that_runs_out_of_time_while_it_connects(self) -> None:
        with busy_server() as base_url:
            error = failure(base_url, limit=SHORT)

        assert error.type == "timeout"
        assert error.report == CallReport(cause="no complete answer within 0.4 s: the request was not sent")

    def test_is_one_that_runs_out_of_time_while_the_key_is_read(self) -> None:
        async def slow() -> str:
            await asyncio.sleep(60)
            return KEY

        with ModelServer() as server:
            error = failure(server.base_url, limit=SHORT, api_key=slow)

        assert (error.type, error.report.maybe_billed) == ("timeout", False)

    def test_is_one_that_the_server_throttles_and_its_message_quotes_no_prompt(self) -> None:
        quoted = json.dumps(f"{REQUEST.instructions} {TEXT}")
        message = f"Rate limit reached for {quoted} on key {KEY}: \x1b[31mtry later\x1b[0m."

        error = by_server(with_id(refused(429, "rate_limit_exceeded", 7, message), "req_1"))

        assert (str(error), error.type) == ("the model's server answered 429", "rate_limited")
        assert error.retry_after == timedelta(seconds=7)
        assert not error.report.maybe_billed
        cause = error.report.cause or ""
        assert cause.startswith("Rate limit reached for ")
        assert cause.endswith("on key [API key]: try later. (code: rate_limit_exceeded, type: scripted)")
        assert error.report.facts == {
            "provider_status": 429,
            "provider_code": "rate_limit_exceeded",
            "provider_type": "scripted",
            "provider_request_id": "req_1",
        }

    def test_is_one_with_an_error_whose_body_never_came(self) -> None:
        error = by_server(replace(HALF, status=429, headers={"Retry-After": "7"}))

        assert error.type == "rate_limited"
        assert error.retry_after == timedelta(seconds=7)
        assert error.report == CallReport(status=429)


class TestTheFault:
    @pytest.mark.parametrize(
        ("status", "type_"),
        [(408, "timeout"), (409, "conflict"), (429, "rate_limited"), (500, "server_error"), (503, "server_error")],
    )
    def test_is_named_by_the_status(self, status: int, type_: str) -> None:
        error = error_in_process(refused(status))

        assert isinstance(error, TransientModelError)
        assert error.type == type_
        assert not error.report.maybe_billed

    @pytest.mark.parametrize(
        "reply", [refused(429, "resource_unavailable"), refused(429, message="Resource Unavailable: try again")]
    )
    def test_of_flex_without_room_has_a_name_of_its_own(self, reply: Reply) -> None:
        flex = replace(REQUEST, tier=Tier.FLEX)

        assert error_in_process(reply, request=flex).type == "flex_unavailable"
        assert error_in_process(reply).type == "rate_limited"
        assert error_in_process(refused(429), request=flex).type == "rate_limited"


class TestTheCause:
    @pytest.mark.parametrize(
        ("body", "cause"),
        [
            ({"error": {"message": "m", "type": "t", "param": "p", "code": "c"}}, "m (code: c, type: t, param: p)"),
            ({"error": {"message": "m", "type": None, "param": None, "code": None}}, "m"),
            ({"object": "error", "message": "too large", "code": 400}, "too large (code: 400)"),
            ({"error": "model 'x' not found"}, "model 'x' not found"),
            ([{"error": {"message": "m", "code": 400}}], "m (code: 400)"),
            ({"detail": "Not Found"}, "Not Found"),
            ({"detail": [{"loc": ["body"], "msg": "field required", "input": TEXT}]}, "field required"),
            ({"error": {"message": ["m"], "code": True, "type": {}}}, None),
            ({}, None),
            ([], None),
            (None, None),
            (7, None),
        ],
    )
    def test_is_what_the_provider_says_in_any_of_the_usual_forms(self, body: object, cause: str | None) -> None:
        error = error_in_process(json_reply("said", body, 400))

        assert isinstance(error, PermanentModelError)
        assert error.report.cause == cause

    def test_may_be_a_page(self) -> None:
        assert error_in_process(html("<body><h1>502</h1>\n<p>Bad  Gateway</p>", 502)).report.cause == "502 Bad Gateway"

    @pytest.mark.parametrize("code", ["two words", "x" * 65, "a\nb", KEY, {"a": 1}, True, None])
    def test_has_a_code_for_the_log_only_if_it_is_a_name(self, code: Any) -> None:
        report = error_in_process(json_reply("said", {"error": {"message": "m", "code": code}}, 400)).report

        assert report.code is None
        assert report.facts == {"provider_status": 400}

    @pytest.mark.parametrize("code", ["server_error", "image_parse_error"])
    def test_is_the_providers_where_a_response_failed(self, code: str) -> None:
        failed = response(status="failed", output=[], error={"code": code, "message": f"It is about: {TEXT}"})

        answer = in_process(json_reply("said", failed))

        assert isinstance(answer, FailedAnswer)
        assert_redacted(answer.error)
        assert (answer.error.report.cause or "").startswith("It is about")
        assert answer.error.report.code == code


def said(api: Api, text: str | None, finish: str, **more: Any) -> Reply:
    """A chat completion that ends so."""
    assert api == "chat"
    message = {"role": "assistant", "content": text, **more}
    return json_reply("said", {"model": MODEL, "choices": [{"message": message, "finish_reason": finish}]})


class TestTheModelsText:
    @pytest.mark.parametrize(
        ("api", "reply", "text"),
        [
            ("responses", REFUSAL, "I'd rather not."),
            ("responses", CONTENT_FILTERED, None),
            ("chat", said("chat", None, "stop", refusal="I'd rather\0 not."), "I'd rather not."),
            ("chat", said("chat", "Half a", "content_filter"), "Half a"),
        ],
    )
    def test_is_kept_of_an_answer_that_declines(self, api: Api, reply: Reply, text: str | None) -> None:
        answer = in_process(with_id(reply, "req_1"), api)

        assert isinstance(answer, FailedAnswer)
        report = answer.error.report
        assert (report.answer, report.request_id, answer.request_id) == (text, "req_1", "req_1")
        assert (report.maybe_billed, report.status) == (False, 200)
        assert report.cause

    @pytest.mark.parametrize(
        ("api", "reply", "text"),
        [
            ("responses", CUT_OFF, '{"summary": "It beg'),
            ("responses", EMPTY_TEXT, ""),
            ("chat", said("chat", '{"su\0' + "x" * 30_000, "length"), '{"su' + "x" * 19_996),
            ("chat", said("chat", " \n", "stop"), " \n"),
        ],
    )
    def test_is_kept_of_an_answer_that_can_not_be_used(self, api: Api, reply: Reply, text: str) -> None:
        answer = in_process(with_id(reply, "req_1"), api)

        assert isinstance(answer, UnusableAnswer)
        assert (answer.text, answer.request_id) == (text, "req_1")

    def test_is_kept_without_the_key_that_a_page_repeats(self) -> None:
        error = error_in_process(html(f"<pre>Authorization: Bearer {KEY}</pre>"))

        assert error.report.answer == "<html><pre>Authorization: Bearer [API key]</pre></html>"


class TestTheIdOfTheCall:
    @pytest.mark.parametrize(
        ("headers", "request_id"),
        [
            ({"x-request-id": "req_1"}, "req_1"),
            ({"apim-request-id": "a-1"}, "a-1"),
            ({"apim-request-id": "a-1", "x-request-id": "req_1"}, "req_1"),
            ({"x-amzn-requestid": "b-1"}, "b-1"),
            ({"x-request-id": "", "apim-request-id": "a-1"}, "a-1"),
            ({"x-request-id": "x" * 300}, "x" * 200),
            ({"x-request-id": f"id of {KEY}"}, None),
            ({}, None),
        ],
    )
    @pytest.mark.parametrize("status", [200, 400, 503])
    def test_is_the_providers(self, headers: dict[str, str], request_id: str | None, status: int) -> None:
        reply = replace(answer("{}"), status=status, headers=headers)
        if status != 200:
            assert error_in_process(reply).report.request_id == request_id
            return
        answered = in_process(reply)
        assert isinstance(answered, AnswerText)
        assert answered.request_id == request_id

    def test_is_its_own_where_many_calls_are_made_at_once(self) -> None:
        # given a server that answers late, and names the id after the text
        def choose(sent: httpx2.Request) -> Reply:
            number = json.loads(sent.content)["input"]
            return replace(with_id(refused(503), number), delay=0.001 * (int(number) % 7))

        async def ask_all() -> list[ModelAnswer | BaseException]:
            async with httpx2.AsyncClient(transport=ModelTransport(choose)) as http_client:
                llm = OpenAILLM(create_client(HTTPS, key, TIMEOUT, http_client), MODEL, TIMEOUT, 500)
                calls = [llm.ask(replace(REQUEST, input=str(number))) for number in range(20)]
                return await asyncio.gather(*calls, return_exceptions=True)

        # when many calls are made at once
        errors = asyncio.run(ask_all())

        # then each error has the id of its own call
        ids = [error.report.request_id for error in errors if isinstance(error, ModelError)]
        assert ids == [str(number) for number in range(20)]
