"""What a script can have a call answered with."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from pydantic import JsonValue

from jobchain.domain import Usage

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
    way: Literal["answer", "right answer", "drop", "hang"] = "answer"
    delay: float = 0
    """Seconds that it takes on top of the server's latency."""

    @property
    def retry_after(self) -> float:
        """Seconds that the client is asked to wait; 0 where it is not asked to."""
        return float(self.headers.get("Retry-After", 0))


def answer(text: str, name: str = "answer") -> Reply:
    """A complete response that says `text`."""
    return Reply(name, _response([{"type": "output_text", "text": text, "annotations": []}]))


def late(seconds: float) -> Reply:
    """The right answer, this much later."""
    return Reply("late", way="right answer", delay=seconds)


def refused(status: int, code: str | None = None, retry_after: int | None = None, message: str = "scripted") -> Reply:
    """An error of the API's own form."""
    body = {"error": {"message": message, "type": "scripted", "param": None, "code": code}}
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    return Reply(code or str(status), json.dumps(body).encode(), status, headers)


def too_many_requests(retry_after: int | None = None) -> Reply:
    """429; `retry_after` in seconds."""
    return refused(429, retry_after=retry_after)


def _response(
    content: list[dict[str, JsonValue]], status: str = "completed", incomplete: Mapping[str, str] | None = None
) -> bytes:
    """https://platform.openai.com/docs/api-reference/responses/object"""
    message = {"id": "msg_1", "type": "message", "role": "assistant", "status": status, "content": content}
    body = {
        "id": "resp_1",
        "object": "response",
        "created_at": int(time.time()),
        "status": status,
        "error": None,
        "incomplete_details": incomplete,
        "model": MODEL,
        "output": [message],
        "parallel_tool_calls": False,
        "tool_choice": "none",
        "tools": [],
        "usage": {
            "input_tokens": USAGE.input_tokens,
            "input_tokens_details": {"cached_tokens": USAGE.cached_tokens},
            "output_tokens": USAGE.output_tokens,
            "output_tokens_details": {"reasoning_tokens": USAGE.reasoning_tokens},
            "total_tokens": USAGE.input_tokens + USAGE.output_tokens,
        },
    }
    return json.dumps(body).encode()


SERVER_ERROR = refused(500)
QUOTA_EXCEEDED = refused(429, "insufficient_quota")
HTML = Reply("HTML", b"<html><body>502 Bad Gateway</body></html>", content_type="text/html")
EMPTY_OBJECT = Reply("{}", b"{}")
EMPTY_TEXT = answer("", "empty text")
CUT_OFF = Reply(
    "cut off",
    _response(
        [{"type": "output_text", "text": '{"summary": "It beg', "annotations": []}],
        "incomplete",
        {"reason": "max_output_tokens"},
    ),
)
CONTENT_FILTERED = Reply("content filter", _response([], "incomplete", {"reason": "content_filter"}))
BREAKS_SCHEMA = answer('{"unexpected": true}', "breaks the schema")
REFUSAL = Reply("refusal", _response([{"type": "refusal", "refusal": "I'd rather not."}]))
DROPPED = Reply("dropped", way="drop")
NEVER = Reply("never", way="hang")
"""Holds the call until the client gives up, or `release` is called; then it is answered as it should be."""
