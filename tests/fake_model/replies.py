"""What a script can have a call answered with."""

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from jobchain.spending import Usage

MODEL = "gpt-6-luna"
USAGE = Usage(input_tokens=100, cached_tokens=10, output_tokens=20, reasoning_tokens=5)
"""What every call reports that is answered by a response, whatever it says."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer, or a way not to give one."""

    name: str
    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "application/json"
    way: Literal["answer", "right answer", "drop", "half", "hang", "stall"] = "answer"
    delay: float = 0
    """Seconds that it takes on top of the server's latency."""
    parts: Sequence[bytes] = ()
    """The body in parts, in place of `body`. After the last one a "half" breaks the connection, a "stall" hangs."""
    pause: float = 0
    """Seconds before each part."""

    @property
    def retry_after(self) -> float:
        """Seconds that the client is asked to wait; 0 where it is not asked to."""
        return float(self.headers.get("Retry-After", 0))


def json_reply(name: str, body: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
    """Any JSON."""
    return Reply(name, json.dumps(body).encode(), status, headers or {})


def html(text: str, status: int = 200) -> Reply:
    """A page, such as a proxy's."""
    return Reply("HTML", f"<html>{text}</html>".encode(), status, content_type="text/html")


def nothing(status: int = 200) -> Reply:
    """No body, and no header that tells its type."""
    return Reply("nothing", status=status, content_type="")


def answer(text: str, name: str = "answer") -> Reply:
    """A complete response that says `text`."""
    return json_reply(name, response(output_text(text)))


def streamed(parts: Iterable[bytes], **changes: Any) -> Reply:
    """An answer whose body is a stream of events."""
    return replace(Reply("answer", content_type="text/event-stream", parts=tuple(parts)), **changes)


def with_usage(usage: object) -> Reply:
    """The answer of a server that reports `usage`, whatever that is."""
    return json_reply("answer", response(output_text("{}"), usage=usage))


def with_id(reply: Reply, request_id: str) -> Reply:
    """The reply under the provider's id of the call."""
    return replace(reply, headers={**reply.headers, "x-request-id": request_id})


def late(seconds: float) -> Reply:
    """The right answer, this much later."""
    return Reply("late", way="right answer", delay=seconds)


def refused(status: int, code: str | None = None, retry_after: int | None = None, message: str = "scripted") -> Reply:
    """An error of the API's own form."""
    body = {"error": {"message": message, "type": "scripted", "param": None, "code": code}}
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    return json_reply(code or str(status), body, status, headers)


def too_many_requests(retry_after: int | None = None) -> Reply:
    """429; `retry_after` in seconds."""
    return refused(429, retry_after=retry_after)


def output_text(text: str) -> dict[str, Any]:
    """The part of a message that says `text`."""
    return {"type": "output_text", "text": text, "annotations": []}


def message(*parts: dict[str, Any]) -> dict[str, Any]:
    """The model's message."""
    return {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": [*parts]}


def response(*parts: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A complete response whose message has these parts, but for `changes`.

    https://platform.openai.com/docs/api-reference/responses/object
    """
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": int(time.time()),
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "model": MODEL,
        "output": [message(*parts)],
        "parallel_tool_calls": False,
        "tool_choice": "none",
        "tools": [],
        "usage": usage_of_response(USAGE),
        **changes,
    }


def usage_of_response(usage: Usage) -> dict[str, Any]:
    """How a response reports its usage."""
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {
            "cached_tokens": usage.cached_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
        },
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }


def incomplete(reason: str, *parts: dict[str, Any]) -> dict[str, Any]:
    """A response that ended before it was complete."""
    output = [{**message(*parts), "status": "incomplete"}]
    return response(output=output, status="incomplete", incomplete_details={"reason": reason})


SERVER_ERROR = refused(500)
QUOTA_EXCEEDED = refused(429, "insufficient_quota")
HTML = html("<body>502 Bad Gateway</body>")
EMPTY_OBJECT = json_reply("{}", {})
EMPTY_TEXT = answer("", "empty text")
CUT_OFF = json_reply("cut off", incomplete("max_output_tokens", output_text('{"summary": "It beg')))
CONTENT_FILTERED = json_reply("content filter", incomplete("content_filter"))
BREAKS_SCHEMA = answer('{"unexpected": true}', "breaks the schema")
REFUSAL = json_reply("refusal", response({"type": "refusal", "refusal": "I'd rather not."}))
DROPPED = Reply("dropped", way="drop")
"""The connection is closed without an answer."""
HALF = Reply("half", json.dumps(response(output_text('{"summary": "x"}'))).encode(), way="half")
"""The connection is closed in the middle of an answer."""
GATEWAY_TIMEOUT = html("<body>504 Gateway Time-out</body>", 504)
NEVER = Reply("never", way="hang")
"""Holds the call until the client gives up, or `release` is called; then it is answered as it should be."""
