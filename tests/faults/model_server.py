"""A model behind real HTTP that does as it is told, and keeps a journal of every call.

It answers the steps of `guideline_checklist` by their schemas, out of the text that it is given: a marker such as
`job-17` in the text comes back in each step's output, so that a result can be checked to belong to its job.
"""

import json
import re
import select
import socket
import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

from pydantic import JsonValue

from jobchain.domain import Usage
from jobchain.mermaid import flowchart

MODEL = "gpt-6-luna"
USAGE = Usage(input_tokens=100, cached_tokens=10, output_tokens=20, reasoning_tokens=5)
"""What every call reports that is answered by a response, whatever it says."""

STEPS = ("summary", "checklist", "diagram")

_STEP_OF_FORMAT = {"SummaryAnswer": "summary", "ChecklistAnswer": "checklist", "DiagramAnswer": "diagram"}
_MARKER = re.compile(r"\bjob-[0-9A-Za-z-]*[0-9A-Za-z]")
_COMPLAINT = re.compile(r"Your last answer could not be used: (.*)", re.DOTALL)


# --- what it answers -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer, or a way not to give one."""

    name: str
    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "application/json"
    way: Literal["answer", "drop", "hang"] = "answer"

    @property
    def retry_after(self) -> float:
        """Seconds that the client is asked to wait; 0 where it is not asked to."""
        return float(self.headers.get("Retry-After", 0))


def answer(text: str, name: str = "answer") -> Reply:
    """A complete response that says `text`."""
    return Reply(name, _response([{"type": "output_text", "text": text, "annotations": []}]))


def refused(status: int, code: str | None = None, retry_after: int | None = None) -> Reply:
    """An error of the API's own form."""
    body = {"error": {"message": "scripted", "type": "scripted", "param": None, "code": code}}
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


def result_of(marker: str) -> dict[str, JsonValue]:
    """The result of the job whose text holds `marker`."""
    items = [f"Do the first of {marker}.", f"Do the second of {marker}."]
    diagram = flowchart([("a", items[0]), ("b", items[1])], [("a", "b", "")])
    return {
        "summary": f"The summary of {marker}.",
        "checklist": [*items],
        "checklist_items": [{**_item(text), "source_found": False} for text in items],
        "diagram": diagram,
    }


def _item(text: str) -> dict[str, JsonValue]:
    return {"source": "No sentence of the text.", "text": text, "category": "Jobs", "priority": "must"}


def _by_the_schema(step: str, marker: str) -> Reply:
    items = [f"Do the first of {marker}.", f"Do the second of {marker}."]
    answers: dict[str, JsonValue] = {
        "summary": {"summary": f"The summary of {marker}."},
        "checklist": {"items": [_item(text) for text in items]},
        "diagram": {
            "nodes": [{"id": name, "label": item, "kind": "step"} for name, item in zip("ab", items, strict=False)],
            "edges": [{"source": "a", "target": "b", "label": ""}],
        },
    }
    return answer(json.dumps(answers[step]))


# --- the journal -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the model. Times are seconds since 1970.

    `reply` is None while the call is held. `client_left` says that nobody was there any more to take the answer;
    of an answer that was sent, it can't be known here whether it was read.
    """

    number: int
    at: float
    step: str
    marker: str
    complaint: str = ""
    reply: Reply | None = None
    ended: float | None = None
    client_left: bool = False

    @property
    def answered(self) -> bool:
        """Whether the step's right answer was sent."""
        return self.reply is not None and self.reply.name == "answer" and not self.client_left


class Journal:
    """Every call, in the order of arrival; all methods may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: list[Call] = []

    def calls(self, marker: str | None = None, step: str | None = None) -> list[Call]:
        """The calls so far: all, or those of a marker, or of a step."""
        with self._lock:
            return [call for call in self._calls if marker in (None, call.marker) and step in (None, call.step)]

    def replies(self, marker: str) -> list[tuple[str, str]]:
        """(step, name of the reply) of each call for the marker."""
        return [(call.step, call.reply.name if call.reply else "held") for call in self.calls(marker)]

    def answers(self) -> Counter[tuple[str, str]]:
        """How often each (marker, step) got its right answer."""
        return Counter((call.marker, call.step) for call in self.calls() if call.answered)

    def open(self, step: str, marker: str, complaint: str) -> Call:
        """Notes a call that begins."""
        with self._lock:
            call = Call(len(self._calls), time.time(), step, marker, complaint)
            self._calls.append(call)
            return call

    def close(self, call: Call, reply: Reply, *, client_left: bool) -> None:
        """Notes how the call ended."""
        with self._lock:
            self._calls[call.number] = replace(call, reply=reply, ended=time.time(), client_left=client_left)


# --- the server ------------------------------------------------------------------------------------


class ModelServer:
    """Serves `/v1/responses` on 127.0.0.1 while it is entered.

    `latency` is how many seconds each call takes. What it answers, first come first served: what `rule` gives for
    the call; the next reply that was scripted for the call's marker; the right answer.
    """

    def __init__(self, latency: float = 0) -> None:
        self.latency = latency
        self.rule: Callable[[Call], Reply | None] = lambda call: None
        self.journal = Journal()
        self._lock = threading.Lock()
        self._scripts: dict[str, deque[tuple[str | None, Reply]]] = defaultdict(deque)
        self._released = threading.Event()
        self._http = _HTTPServer(self)
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True)

    @property
    def base_url(self) -> str:
        """What OPENAI_BASE_URL is set to."""
        return f"http://127.0.0.1:{self._http.server_port}/v1"

    def script(self, marker: str, *replies: Reply, step: str | None = None) -> None:
        """Has the next calls for `marker`, those of `step` if given, answered by `replies`, one each."""
        with self._lock:
            self._scripts[marker].extend((step, reply) for reply in replies)

    def release(self) -> None:
        """Lets go of the calls that are held by NEVER; later ones are held again."""
        self._released.set()
        self._released = threading.Event()

    def __enter__(self) -> "ModelServer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
        self._http.shutdown()
        self._http.server_close()

    def choose(self, call: Call) -> Reply:
        """What the call is to get."""
        return self.rule(call) or self._scripted(call) or _by_the_schema(call.step, call.marker)

    def hold(self, connection: socket.socket, seconds: float | None) -> bool:
        """Waits for as long as a call takes, None for a release. Gives whether the client is still there."""
        released = self._released
        until = time.monotonic() + (float("inf") if seconds is None else seconds)
        while not (gone := _gone(connection)) and (left := until - time.monotonic()) > 0:
            if seconds is None and released.is_set():
                break
            released.wait(min(left, 0.05)) if seconds is None else time.sleep(min(left, 0.05))
        return not gone

    def _scripted(self, call: Call) -> Reply | None:
        with self._lock:
            script = self._scripts[call.marker]
            for entry in script:
                step, reply = entry
                if step in (None, call.step):
                    script.remove(entry)
                    return reply
        return None


class _HTTPServer(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def __init__(self, model: ModelServer) -> None:
        self.model = model
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, *_: Any) -> None:
        """A client that went away is part of the game."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # A header and a body sent as two packets wait for each other (Nagle and delayed acknowledgements): 40 ms.
    wbufsize = -1
    server: _HTTPServer

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path != "/v1/responses":
            self._send(refused(404))
            return
        model = self.server.model
        call = model.journal.open(*_read(body))
        reply = model.choose(call)
        present = model.hold(self.connection, None if reply.way == "hang" else model.latency)
        if present and reply.way == "hang":
            reply = _by_the_schema(call.step, call.marker)
        # Noted before it is sent: whoever has the answer finds it in the journal.
        model.journal.close(call, reply, client_left=not present)
        if not present or reply.way == "drop":
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self._send(reply)

    def log_message(self, *_: Any, **__: Any) -> None:
        """Nothing is logged."""

    def _send(self, reply: Reply) -> None:
        self.send_response(HTTPStatus(reply.status))
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", reply.content_type)
        self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        self.wfile.write(reply.body)


def _read(body: Mapping[str, Any]) -> tuple[str, str, str]:
    """The step, the marker and the complaint of a request."""
    step = _STEP_OF_FORMAT[body["text"]["format"]["name"]]
    marker = _MARKER.search(body["input"])
    complaint = _COMPLAINT.search(body["input"])
    return step, marker[0] if marker else "", complaint[1] if complaint else ""


def _gone(connection: socket.socket) -> bool:
    """Whether the other side has closed its end."""
    try:
        readable, _, _ = select.select([connection], [], [], 0)
        return bool(readable) and connection.recv(1, socket.MSG_PEEK) == b""
    except OSError:
        return True
