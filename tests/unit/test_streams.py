"""Answers that are streamed: how they are put together, and when a call is given up."""

import asyncio
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx2
import pytest

from jobchain.errors import ModelError, PermanentModelError, TransientModelError
from jobchain.llm import AnswerText, FailedAnswer, ModelAnswer, ModelRequest, UnusableAnswer
from jobchain.spending import Usage
from jobchain_worker import event_stream
from jobchain_worker.dialects import Api
from jobchain_worker.event_stream import EventParser
from jobchain_worker.openai_calls import create_client
from jobchain_worker.openai_llm import OpenAILLM
from local.events import DONE, completion_events, response_events
from tests.fake_model.replies import MODEL, USAGE, Reply, json_reply, output_text, refused, response, streamed
from tests.fake_model.server import ModelServer
from tests.fake_model.transport import ModelTransport
from tests.shipped import SummaryAnswer

KEY = "sk-made-up-0001"
REQUEST = ModelRequest("You summarize.", "The text of job-1.", SummaryAnswer)
TEXT = '{"summary": "Züge fahren."}'
HTTPS = "https://models.example.com/v1"
LOCAL = "http://127.0.0.1:9/v1"
LONG = timedelta(seconds=30)
SHORT = timedelta(seconds=0.3)

WHOLE = response(output_text(TEXT))
COMPLETION = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1763805600,
    "model": MODEL,
    "choices": [{"index": 0, "message": {"role": "assistant", "content": TEXT}, "finish_reason": "stop"}],
    "usage": {
        "prompt_tokens": USAGE.input_tokens,
        "prompt_tokens_details": {"cached_tokens": USAGE.cached_tokens},
        "completion_tokens": USAGE.output_tokens,
        "completion_tokens_details": {"reasoning_tokens": USAGE.reasoning_tokens},
    },
}
ANSWER = AnswerText(MODEL, USAGE, TEXT)


async def key() -> str:
    return KEY


Choose = Callable[[httpx2.Request], Reply | httpx2.Response | Exception]


def ask(
    answer: Reply | Choose,
    api: Api = "responses",
    *,
    limit: timedelta = LONG,
    idle: timedelta | None = None,
    base_url: str = HTTPS,
    times: int = 1,
) -> ModelAnswer:
    """The answer to the last of `times` calls."""
    transport = ModelTransport(answer if callable(answer) else lambda _: answer)

    async def call() -> ModelAnswer:
        async with httpx2.AsyncClient(transport=transport) as http_client:
            client = create_client(base_url, key, limit, http_client)
            llm = OpenAILLM(client, MODEL, limit, 500, api, idle=idle)
            return [await llm.ask(REQUEST) for _ in range(times)][-1]

    return asyncio.run(call())


def ask_server(server: ModelServer, limit: timedelta, idle: timedelta) -> ModelAnswer:
    """An answer over a real connection."""

    async def call() -> ModelAnswer:
        async with create_client(server.base_url, key, limit) as client:
            return await OpenAILLM(client, MODEL, limit, 500, idle=idle).ask(REQUEST)

    return asyncio.run(call())


def failure(answer: Reply | Choose, api: Api = "responses", **options: Any) -> ModelError:
    with pytest.raises(ModelError) as caught:
        ask(answer, api, **options)
    return caught.value


def chunk(delta: Mapping[str, Any], finish: str | None = None, **more: Any) -> bytes:
    choices = [{"index": 0, "delta": delta, "finish_reason": finish}]
    return event({"model": MODEL, "choices": choices, **more})


def event(content: object) -> bytes:
    return b"data: %b\n\n" % json.dumps(content).encode()


def events(api: Api, characters: int = 3) -> list[bytes]:
    """The right answer as a stream."""
    found = response_events(WHOLE, characters) if api == "responses" else completion_events(COMPLETION, characters)
    return list(found)


def parsed(body: bytes, size: int) -> list[tuple[bytes, bytes]]:
    """The events of a body that arrives in parts of `size` bytes."""
    parser = EventParser()
    found = [one for start in range(0, len(body), size) for one in parser.feed(body[start : start + size])]
    return [(one.name, one.data) for one in (*found, *parser.finish())]


class TestTheEvents:
    @pytest.mark.parametrize("size", [1, 2, 3, 7, 10_000])
    @pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
    def test_are_found_however_the_body_is_cut(self, size: int, end: bytes) -> None:
        lines = (b": ping", b"", b"event: a", b"data: 1", b"data:2", b"id: 7", b"", b"", b"data", b"", b"retry: 1")

        found = parsed(end.join((*lines, b"data: \xc3\xbc", b"", b"")), size)

        assert found == [(b"a", b"1\n2"), (b"", b""), (b"", b"\xc3\xbc")]

    def test_need_no_empty_line_at_the_end(self) -> None:
        assert parsed(b"data: 1\n\ndata: 2", 4) == [(b"", b"1"), (b"", b"2")]


@pytest.mark.parametrize("api", ["responses", "chat"])
class TestAStreamedAnswer:
    def test_is_what_it_would_be_in_one_piece(self, api: Api) -> None:
        assert ask(streamed(events(api)), api) == ANSWER

    def test_is_asked_for_with_its_usage(self, api: Api) -> None:
        bodies: list[dict[str, Any]] = []

        def choose(request: httpx2.Request) -> Reply:
            bodies.append(json.loads(request.content))
            return streamed(events(api))

        ask(choose, api)

        options = None if api == "responses" else {"include_usage": True}
        assert [(body["stream"], body.get("stream_options")) for body in bodies] == [(True, options)]

    @pytest.mark.parametrize("size", [1, 5, 64])
    def test_may_be_cut_anywhere(self, api: Api, size: int) -> None:
        body = b"".join(events(api))
        parts = [body[start : start + size] for start in range(0, len(body), size)]

        assert ask(streamed(parts), api) == ANSWER

    @pytest.mark.parametrize("content_type", ["", "text/plain", "application/json"])
    def test_is_known_by_its_form_where_the_server_declares_another(self, api: Api, content_type: str) -> None:
        body = b": hello\n\n" + b"".join(events(api))

        assert ask(Reply("answer", body, content_type=content_type), api) == ANSWER

    def test_may_come_in_one_piece_from_a_server_that_does_not_stream(self, api: Api) -> None:
        assert ask(json_reply("answer", WHOLE if api == "responses" else COMPLETION), api) == ANSWER

    def test_may_have_comments_and_progress_in_between(self, api: Api) -> None:
        first, *rest = events(api)
        between = [b": OPENROUTER PROCESSING\n\n", b":\n\n", b'event: ping\ndata: {"type": "ping"}\n\n']
        if api == "chat":
            between = [*between[:2], chunk({"content": None}, prompt_progress={"total": 9, "processed": 3})]

        assert ask(streamed([*between, first, *between, *rest]), api) == ANSWER

    def test_is_not_waited_for_once_it_is_complete(self, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("jobchain_worker.streaming._DRAIN", timedelta(milliseconds=10))

        assert ask(streamed(events(api), way="stall"), api) == ANSWER

    def test_stays_where_the_connection_breaks_behind_it(self, api: Api) -> None:
        assert ask(streamed(events(api), way="half"), api) == ANSWER

    def test_tells_how_long_its_first_token_took(self, api: Api) -> None:
        assert (ask(streamed(events(api)), api).first_token_seconds or 0) > 0
        assert ask(json_reply("answer", WHOLE if api == "responses" else COMPLETION), api).first_token_seconds is None

    def test_is_cut_off_where_it_ends_too_early(self, api: Api) -> None:
        begun = events(api)[:6]

        error = failure(streamed(begun), api)

        assert isinstance(error, TransientModelError)
        assert (error.type, error.report.maybe_billed) == ("connection_lost", True)
        assert error.report.answer
        assert TEXT.startswith(error.report.answer)

    def test_is_kept_as_far_as_it_came_where_the_connection_breaks(self, api: Api) -> None:
        begun = events(api)[:6]

        error = failure(streamed(begun, way="half", headers={"x-request-id": "req_1"}), api)

        assert error.type == "connection_lost"
        assert error.report.answer
        assert TEXT.startswith(error.report.answer)
        assert (error.report.request_id, error.report.status) == ("req_1", 200)
        characters = f"{len(error.report.answer)} characters of the answer had come"
        assert characters in (error.report.cause or "")

    @pytest.mark.parametrize("parts", [[b"data: {broken\n\n"], [b"data: [" * 50_000], [b"data: \xff\xfe\n\n"]])
    def test_can_not_be_read_where_its_events_are_no_json(self, api: Api, parts: Sequence[bytes]) -> None:
        error = failure(streamed(parts), api)

        assert (error.type, error.report.maybe_billed) == ("unreadable_answer", True)

    def test_is_nothing_where_no_event_comes(self, api: Api) -> None:
        error = failure(streamed([b"<html>\n\n", b": ping\n\n"]), api)

        assert (error.type, error.report.maybe_billed) == ("connection_lost", True)

    @pytest.mark.parametrize(
        ("code", "type_"),
        [
            ("server_error", "server_error"),
            ("rate_limit_exceeded", "rate_limited"),
            ("insufficient_quota", "model_quota_exceeded"),
            (502, "server_error"),
        ],
    )
    @pytest.mark.parametrize("begun", [0, 6])
    def test_may_be_an_error_in_its_middle(self, api: Api, code: Any, type_: str, begun: int) -> None:
        fault = event({"error": {"message": "no", "code": code}})

        error = failure(streamed([*events(api)[:begun], fault], way="stall"), api)

        assert error.type == type_
        assert (error.report.cause or "").startswith("no (code: ")
        assert bool(error.report.answer) == bool(begun), "what had come is kept"

    def test_has_a_bound_for_each_event(self, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(event_stream, "MOST_BODY_BYTES", 2**20)

        for parts in ([b"data: "] + [b"x" * 2**19] * 4, [b"data: " + b"x" * 2**18 + b"\n"] * 5):
            error = failure(streamed(parts), api)
            assert error.report.cause == "the answer can't be read: an event has more than 1 MB"

    def test_has_a_bound_for_all_of_it(self, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("jobchain_worker.bounded_body.MOST_STREAM_BYTES", 2**20)

        error = failure(streamed([b": ping\n\n" * 2**14] * 10), api)

        assert error.report.cause == "the answer can't be read: it has more than 1 MB"


class TestAStreamedResponse:
    @pytest.mark.parametrize("status", ["failed", "incomplete"])
    def test_may_end_otherwise(self, status: str) -> None:
        details = {"reason": "max_output_tokens"}
        error = {"code": "server_error", "message": "no"}
        ended = {**WHOLE, "status": status, "error": error, "incomplete_details": details}

        answer = ask(streamed(response_events(ended)))

        assert isinstance(answer, FailedAnswer if status == "failed" else UnusableAnswer)
        assert answer.usage == USAGE

    def test_needs_no_names_of_its_events(self) -> None:
        nameless = [part.partition(b"\n")[2] for part in events("responses")]

        assert ask(streamed(nameless)) == ANSWER

    def test_may_have_an_error_of_its_own_form(self) -> None:
        said = {"type": "error", "code": "server_error", "message": "no", "param": None, "sequence_number": 3}

        error = failure(streamed([b"event: error\n" + event(said)]))

        assert (error.type, error.report.code) == ("server_error", "server_error")


def text_of(parts: Iterable[bytes]) -> ModelAnswer:
    return ask(streamed([*parts, DONE]), "chat")


class TestAStreamedChat:
    def test_may_leave_its_end_and_its_usage_out(self) -> None:
        assert ask(streamed([chunk({"content": "{}"}), chunk({}, "stop")]), "chat") == AnswerText(MODEL, None, "{}")
        assert text_of([chunk({"content": "{}"})]) == AnswerText(MODEL, None, "{}")

    def test_may_come_in_hundreds_of_chunks(self) -> None:
        parts = [chunk({"content": f"{number} "}) for number in range(1_000)]

        answer = text_of([*parts, chunk({}, "stop", usage=COMPLETION["usage"])])

        assert answer == AnswerText(MODEL, USAGE, "".join(f"{number} " for number in range(1_000)))

    def test_may_be_in_parts_of_which_some_are_thoughts(self) -> None:
        thought = {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}

        answer = text_of([chunk({"content": [thought]}), chunk({"content": [{"type": "text", "text": "{}"}]}, "stop")])

        assert answer == AnswerText(MODEL, None, "{}")

    def test_may_be_the_arguments_of_a_tool(self) -> None:
        calls = [
            {"index": 0, "id": "call_1", "function": {"name": "answer", "arguments": ""}},
            {"index": 0, "function": {"arguments": '{"summary": '}},
            {"index": 0, "function": {"arguments": '"x"}'}},
        ]

        answer = text_of([*(chunk({"tool_calls": [call]}) for call in calls), chunk({}, "tool_calls")])

        assert answer == AnswerText(MODEL, None, '{"summary": "x"}')

    def test_may_be_all_in_its_thoughts(self) -> None:
        assert text_of([chunk({"reasoning_content": "{"}), chunk({"reasoning_content": "}"}, "stop")]) == AnswerText(
            MODEL, None, "{}"
        )

    def test_may_be_refused_filtered_or_cut_off(self) -> None:
        refused_answer = text_of([chunk({"refusal": "I'd "}), chunk({"refusal": "rather not."}, "stop")])
        filtered = text_of([chunk({"content": "x"}), chunk({}, "content_filter")])
        cut_off = text_of([chunk({"content": '{"su'}), chunk({}, "length")])

        assert isinstance(refused_answer, FailedAnswer)
        assert (refused_answer.error.type, refused_answer.error.report.answer) == ("model_refused", "I'd rather not.")
        assert isinstance(filtered, FailedAnswer)
        assert isinstance(cut_off, UnusableAnswer)
        assert cut_off.text == '{"su'

    @pytest.mark.parametrize("content", [7, {"a": 1}, True])
    def test_can_not_be_read_where_its_text_is_none(self, content: Any) -> None:
        error = failure(streamed([chunk({"content": content}, "stop"), DONE]), "chat")

        assert error.type == "unreadable_answer"

    def test_is_of_the_other_api_where_it_has_no_choices(self) -> None:
        with pytest.raises(TransientModelError, match="that OPENAI_API names"):
            ask(streamed([*events("responses"), DONE]), "chat")

    def test_tells_the_tokens_so_far_where_it_breaks_off_and_the_server_counts(self) -> None:
        usage = {"prompt_tokens": 40, "completion_tokens": 1, "total_tokens": 41}

        error = failure(streamed([chunk({"content": "{"}, usage=usage)], way="half"), "chat")

        assert error.report.usage == Usage(40, output_tokens=1)

    def test_asks_a_server_on_this_machine_how_far_it_has_read(self) -> None:
        bodies: list[dict[str, Any]] = []

        def choose(request: httpx2.Request) -> Reply:
            bodies.append(json.loads(request.content))
            return streamed(events("chat"))

        ask(choose, "chat", base_url=LOCAL)
        ask(choose, "chat", base_url=HTTPS)

        assert [body.get("return_progress") for body in bodies] == [True, None]


REFUSALS: list[tuple[str, dict[str, Any], int]] = [
    ("stream_options", {"error": {"message": "Unrecognized request argument supplied: stream_options"}}, 400),
    ("stream_options", {"detail": [{"loc": ["body", "stream_options"], "msg": "Extra inputs are not permitted"}]}, 422),
    ("stream_options", {"error": {"message": "no", "param": "stream_options", "code": "unsupported_parameter"}}, 400),
    ("return_progress", {"error": {"message": "unknown field `return_progress`"}}, 400),
    ("stream", {"error": {"message": "Streaming is not supported with response_format"}}, 400),
    ("stream", {"error": {"message": "stream must be false", "param": "stream", "code": None}}, 422),
]


class TestAServerThatRefusesToStream:
    @pytest.mark.parametrize(("parameter", "body", "status"), REFUSALS)
    def test_is_asked_without_from_then_on(self, parameter: str, body: dict[str, Any], status: int) -> None:
        asked: list[frozenset[str]] = []
        names = {"stream", "stream_options", "return_progress"}

        def choose(request: httpx2.Request) -> Reply:
            sent = json.loads(request.content)
            asked.append(frozenset(names & sent.keys()))
            if parameter in sent:
                return json_reply("refused", body, status)
            return streamed(events("chat")) if sent.get("stream") else json_reply("answer", COMPLETION)

        answer = ask(choose, "chat", base_url=LOCAL, times=2)

        left = frozenset() if parameter == "stream" else frozenset(names - {parameter})
        assert answer == ANSWER
        assert asked == [frozenset(names), left, left]

    def test_is_refused_for_good_where_it_refuses_something_else(self) -> None:
        with pytest.raises(PermanentModelError) as caught:
            ask(refused(400, message="the schema is not supported"))

        assert caught.value.type == "model_request_refused"

    def test_may_be_silent_for_the_whole_call(self) -> None:
        def choose(request: httpx2.Request) -> Reply:
            if "stream" in json.loads(request.content):
                return json_reply("refused", REFUSALS[-2][1], 400)
            return replace(json_reply("answer", WHOLE), delay=0.2)

        assert ask(choose, idle=timedelta(seconds=0.01)) == ANSWER


@pytest.mark.timeout(60)
class TestACallIsGivenUp:
    def test_not_for_its_length_over_a_real_connection(self) -> None:
        """A model of two tokens a second, ten times as fast."""
        parts = events("responses", characters=1)
        with ModelServer() as server:
            server.script("job-1", streamed(parts, pause=0.05))

            answer = ask_server(server, limit=LONG, idle=timedelta(seconds=0.4))

        assert answer == ANSWER
        assert len(parts) * 0.05 > 3 * 0.4

    def test_for_silence_in_the_middle_of_an_answer(self) -> None:
        with ModelServer() as server:
            server.script("job-1", streamed(events("responses")[:8], way="stall"))

            with pytest.raises(TransientModelError, match="did not answer in time") as caught:
                ask_server(server, limit=LONG, idle=SHORT)

        error = caught.value
        assert (error.type, error.report.maybe_billed) == ("timeout", True)
        assert error.report.answer
        assert TEXT.startswith(error.report.answer)
        assert re.match(r"the server was silent for [0-9.]+ s, which is longer than", error.report.cause or "")
        assert f"{len(error.report.answer)} characters of the answer had come" in (error.report.cause or "")
        assert (error.report.first_token_seconds or 0) > 0

    @pytest.mark.parametrize("sign", [b":\n\n", b": OPENROUTER PROCESSING\n\n"])
    def test_not_while_the_server_says_that_it_reads_the_prompt(self, sign: bytes) -> None:
        reply = streamed([*[sign] * 30, b"".join(events("responses"))], pause=0.05)

        assert ask(reply, idle=timedelta(seconds=0.15)) == ANSWER, "though 1.5 s are longer than five times 0.15 s"

    def test_later_before_its_first_token(self) -> None:
        slow, silent = (streamed([b"".join(events("responses"))], pause=seconds) for seconds in (0.4, 60))

        assert ask(slow, idle=timedelta(seconds=0.2)) == ANSWER
        error = failure(silent, idle=timedelta(seconds=0.05))
        assert error.type == "timeout"
        assert error.report.answer is None
        seconds = re.search(r"silent for ([0-9.]+) s", error.report.cause or "")
        assert seconds
        assert 0.25 <= float(seconds[1]) < 30

    def test_after_its_whole_time_however_much_comes(self) -> None:
        endless = [chunk({"content": "x"})] * 2_000

        error = failure(streamed(endless, pause=0.01), "chat", limit=SHORT, idle=LONG)

        assert error.type == "timeout"
        assert (error.report.cause or "").startswith("no complete answer within 0.3 s: ")
        assert set(error.report.answer or "") == {"x"}
