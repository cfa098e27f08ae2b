"""A stand-in for the OpenAI API without a key: it extracts from the text it is given, it does not invent.

    python -m local.offline_model --port 0

It answers `POST /v1/responses` and `/v1/chat/completions`, as a stream of events where that is asked for,
`POST /v1/responses/input_tokens`, and `GET /v1/models` and `/v1/models/{id}`, and names itself so that no one takes it
for a GPT.
Tokens are an estimate: one for every four bytes of UTF-8, rounded up; a limit on them is not looked at.
Requests are not logged.
"""

import argparse
import hashlib
import json
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import unquote

from jobchain_offline.answering import MODEL, estimated_tokens, output
from local.events import events_of

__all__ = ["MODEL", "OfflineModelServer", "complete", "count", "respond", "running"]


class OfflineModelServer(ThreadingHTTPServer):
    """Listens once it is made, answers while `serve_forever` runs; port 0 takes any free one."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int = 0, host: str = "127.0.0.1") -> None:
        super().__init__((host, port), _Handler)
        self.base_url = f"http://{host}:{self.server_port}/v1"

    def handle_error(self, *_: Any, **__: Any) -> None:
        """A client that hung up is no news; anything else is reported without the request's text."""
        if not isinstance(error := sys.exception(), ConnectionError):
            print(f"offline model: {type(error).__name__}", file=sys.stderr)


@contextmanager
def running() -> Iterator[str]:
    """Answer in a thread of this process for as long as the context lasts; gives the base URL, `…/v1`."""
    with OfflineModelServer() as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield server.base_url
        finally:
            server.shutdown()
            thread.join()


def respond(request: Mapping[str, Any]) -> dict[str, Any]:
    """The Response object for the body of a `POST /v1/responses`.

    https://platform.openai.com/docs/api-reference/responses/object. Raises ValueError, which says what is wrong.
    """
    prompt = _prompt(request)
    match (request.get("text") or {}).get("format"):
        case None | {"type": "text"}:
            text = output(None, prompt)
        case {"type": "json_schema", "schema": dict(schema)}:
            text = output(schema, prompt)
        case _:
            raise ValueError("'text.format' must be of type 'text', or 'json_schema' with a 'schema'.")
    input_tokens, output_tokens = count(request)["input_tokens"], estimated_tokens(text)
    hashed = _hash(request)
    content = {"type": "output_text", "text": text, "annotations": []}
    message = {
        "id": f"msg_{hashed}",
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": [content],
    }
    return {
        "id": f"resp_{hashed}",
        "object": "response",
        "created_at": int(time.time()),
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "model": MODEL,
        "output": [message],
        "parallel_tool_calls": False,
        "tool_choice": "none",
        "tools": [],
        "usage": {
            "input_tokens": input_tokens,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": output_tokens,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": input_tokens + output_tokens,
        },
    }


def complete(request: Mapping[str, Any]) -> dict[str, Any]:
    """The ChatCompletion object for the body of a `POST /v1/chat/completions`: its user's messages are the prompt.

    https://platform.openai.com/docs/api-reference/chat/object. Raises ValueError, which says what is wrong.
    """
    texts = _texts(request.get("messages"))
    prompt = "\n\n".join(text for role, text in texts if role == "user")
    match request.get("response_format"):
        case None | {"type": "text"}:
            text = output(None, prompt)
        case {"type": "json_schema", "json_schema": {"schema": dict(schema)}}:
            text = output(schema, prompt)
        case _:
            raise ValueError("'response_format' must be of type 'text', or 'json_schema' with a 'json_schema.schema'.")
    input_tokens, output_tokens = estimated_tokens("".join(text for _, text in texts)), estimated_tokens(text)
    message = {"role": "assistant", "content": text, "refusal": None}
    return {
        "id": f"chatcmpl-{_hash(request)}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": MODEL,
        "choices": [{"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}],
        "usage": {
            "prompt_tokens": input_tokens,
            "prompt_tokens_details": {"cached_tokens": 0},
            "completion_tokens": output_tokens,
            "completion_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": input_tokens + output_tokens,
        },
    }


def count(request: Mapping[str, Any]) -> dict[str, Any]:
    """The tokens of the body of a `POST /v1/responses/input_tokens`. Raises ValueError, which says what is wrong."""
    tokens = estimated_tokens((request.get("instructions") or "") + _prompt(request))
    return {"object": "response.input_tokens", "input_tokens": tokens}


def _prompt(request: Mapping[str, Any]) -> str:
    if not isinstance(prompt := request.get("input"), str):
        raise ValueError("'input' must be a string.")
    return prompt


def _texts(messages: Any) -> list[tuple[str, str]]:
    """The role and the text of each message."""
    match messages:
        case [_, *_] if all(isinstance(m, dict) and isinstance(m.get("content"), str) for m in messages):
            return [(str(message.get("role")), message["content"]) for message in messages]
    raise ValueError("'messages' must be a list of messages, each with a string as its 'content'.")


def _hash(request: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()[:32]


_THE_MODEL = {"id": MODEL, "object": "model", "created": 0, "owned_by": "jobchain", "shutdown_date": None}
_ANSWERS: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "/v1/responses": respond,
    "/v1/responses/input_tokens": count,
    "/v1/chat/completions": complete,
}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # A header and a body sent as two packets wait for each other (Nagle and delayed acknowledgements): 40 ms.
    wbufsize = -1

    def do_GET(self) -> None:
        match unquote(self.path).split("/", 3):
            case ["", "v1", "models"]:
                self._send(HTTPStatus.OK, {"object": "list", "data": [_THE_MODEL]})
            case ["", "v1", "models", model] if model == MODEL:
                self._send(HTTPStatus.OK, _THE_MODEL)
            case ["", "v1", "models", model]:
                self._send_error(HTTPStatus.NOT_FOUND, f"The model '{model}' does not exist.", "model_not_found")
            case _:
                self._send_unknown("GET /v1/models")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if (answer := _ANSWERS.get(self.path)) is None:
            self._send_unknown("POST " + ", ".join(_ANSWERS))
            return
        try:
            request = json.loads(body)
            if not isinstance(request, dict):
                raise ValueError("The body must be a JSON object.")
            self._answer(answer(request), streamed=request.get("stream") is True)
        except ValueError as error:
            self._send_error(HTTPStatus.BAD_REQUEST, str(error))

    def log_message(self, *_: Any, **__: Any) -> None:
        """Nothing is logged."""

    def _answer(self, content: Mapping[str, Any], *, streamed: bool) -> None:
        if streamed and not content.keys().isdisjoint(("output", "choices")):
            self._send_body(HTTPStatus.OK, b"".join(events_of(content)), "text/event-stream")
        else:
            self._send(HTTPStatus.OK, content)

    def _send_unknown(self, known: str) -> None:
        self._send_error(HTTPStatus.NOT_FOUND, f"Unknown path {self.path}. Known: {known}.")

    def _send_error(self, status: HTTPStatus, message: str, code: str | None = None) -> None:
        error = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
        self._send(status, {"error": error})

    def _send(self, status: HTTPStatus, content: Mapping[str, Any]) -> None:
        self._send_body(status, json.dumps(content).encode(), "application/json")

    def _send_body(self, status: HTTPStatus, body: bytes, content_type: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m local.offline_model", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="the port; 0 takes any free one")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (default: %(default)s)")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with OfflineModelServer(options.port, options.host) as server, suppress(KeyboardInterrupt):
        print(f"listening on {server.base_url}", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
