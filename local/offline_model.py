"""A stand-in for the OpenAI API without a key: it extracts from the text it is given, it does not invent.

    python -m local.offline_model --port 0

It answers `POST /v1/responses` and `GET /v1/models`, and names itself so that nobody takes it for a GPT.
Tokens are an estimate: one for every four bytes of UTF-8, rounded up; a limit on them is not looked at.
Requests are not logged.
"""

import argparse
import hashlib
import json
import re
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from local.extract import summarize
from local.schema_answer import fill

MODEL = "offline-extract-1-not-a-gpt"

_OPENING = re.compile(r"<<<(?!end )[^<>\n]{1,40} ([0-9a-f]{12})>>>")


class OfflineModelServer(ThreadingHTTPServer):
    """Listens once it is made, answers while `serve_forever` runs; port 0 takes any free one."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.base_url = f"http://127.0.0.1:{self.server_port}/v1"

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
    if not isinstance(prompt := request.get("input"), str):
        raise ValueError("'input' must be a string.")
    output = _output((request.get("text") or {}).get("format"), material(prompt))
    input_tokens, output_tokens = _tokens((request.get("instructions") or "") + prompt), _tokens(output)
    hashed = hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()[:32]
    content = {"type": "output_text", "text": output, "annotations": []}
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


def material(prompt: str) -> list[str]:
    """The texts between `<<<label mark>>>` and `<<<end mark>>>`, else the whole prompt as one."""
    found = []
    position = 0
    while opening := _OPENING.search(prompt, position):
        end = prompt.find(f"<<<end {opening[1]}>>>", opening.end())
        position = max(end, opening.end())
        if end >= 0:
            found.append(prompt[opening.end() : end].strip("\n"))
    return found or [prompt]


def _output(answer_format: Any, texts: list[str]) -> str:
    match answer_format:
        case None | {"type": "text"}:
            return summarize("\n\n".join(texts))
        case {"type": "json_schema", "schema": dict(schema)}:
            return json.dumps(fill(schema, texts), ensure_ascii=False)
    raise ValueError("'text.format' must be of type 'text', or 'json_schema' with a 'schema'.")


def _tokens(text: str) -> int:
    return -(-len(text.encode(errors="replace")) // 4)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # A header and a body sent as two packets wait for each other (Nagle and delayed acknowledgements): 40 ms.
    wbufsize = -1

    def do_GET(self) -> None:
        if self.path == "/v1/models":
            model = {"id": MODEL, "object": "model", "created": 0, "owned_by": "jobchain"}
            self._send(HTTPStatus.OK, {"object": "list", "data": [model]})
        else:
            self._send_error(HTTPStatus.NOT_FOUND, f"Unknown path {self.path}. Known: GET /v1/models.")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path != "/v1/responses":
            self._send_error(HTTPStatus.NOT_FOUND, f"Unknown path {self.path}. Known: POST /v1/responses.")
            return
        try:
            self._send(HTTPStatus.OK, respond(json.loads(body)))
        except ValueError as error:
            self._send_error(HTTPStatus.BAD_REQUEST, str(error))

    def log_message(self, *_: Any, **__: Any) -> None:
        """Nothing is logged."""

    def _send_error(self, status: HTTPStatus, message: str) -> None:
        error = {"message": message, "type": "invalid_request_error", "param": None, "code": None}
        self._send(status, {"error": error})

    def _send(self, status: HTTPStatus, content: Mapping[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m local.offline_model", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1; 0 takes any free one")
    port = parser.parse_args().port
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with OfflineModelServer(port) as server, suppress(KeyboardInterrupt):
        print(f"listening on {server.base_url}", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
