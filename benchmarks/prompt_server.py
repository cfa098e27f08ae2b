"""A model's server that answers as the offline model does, and accounts for prompts as OpenAI does.

It takes `POST /v1/responses` alone, and answers in one piece.
"""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any

from benchmarks.prompt_account import Account
from jobchain_offline.answering import estimated_tokens, output

_WANTED = re.compile(r"Answer with `(\w+)`\.$")


def respond(body: Mapping[str, Any], account: Account) -> dict[str, Any]:
    """The response to a call."""
    text = _answer(body)
    used, written = account.usage(body), estimated_tokens(text)
    details = {"cached_tokens": used["cached_tokens"], "cache_write_tokens": used["cache_write_tokens"]}
    usage = {"input_tokens": used["input_tokens"], "input_tokens_details": details, "output_tokens": written}
    message = {"type": "message", "content": [{"type": "output_text", "text": text}]}
    return {"model": body["model"], "status": "completed", "output": [message], "usage": usage}


def _answer(body: Mapping[str, Any]) -> str:
    """The answer, in the branch of a joint format that the instructions ask for."""
    schema, said = body["text"]["format"]["schema"], body["input"]
    if isinstance(said, str):
        return output(schema, said)
    texts = "\n\n".join(_text(message) for message in said if message["role"] == "user")
    wanted = _WANTED.search("\n".join(_text(message) for message in said if message["role"] == "developer"))
    assert wanted
    branches = schema["properties"]["answer"]["anyOf"]
    own = next(each["properties"][wanted[1]] for each in branches if wanted[1] in each["properties"])
    answer = output({**own, "$defs": schema.get("$defs", {})}, texts)
    return f'{{"answer": {{"{wanted[1]}": {answer}}}}}'


def _text(message: Mapping[str, Any]) -> str:
    content = message["content"]
    return content if isinstance(content, str) else "\n\n".join(part["text"] for part in content)


class Server(ThreadingHTTPServer):
    """Listens at a free port of this machine once it is made; `account` is its own."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.account = Account()
        self.lock = Lock()
        self.base_url = f"http://127.0.0.1:{self.server_port}/v1"


@contextmanager
def running() -> Iterator[Server]:
    """Answers in a thread of this process for as long as the context lasts."""
    with Server() as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path != "/v1/responses":
            self._send(404, {"error": {"message": "there is no such path"}})
            return
        with self.server.lock:
            self._send(200, respond(body, self.server.account))

    def _send(self, status: int, content: Mapping[str, Any]) -> None:
        sent = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(sent)))
        self.end_headers()
        self.wfile.write(sent)

    def log_message(self, *_: object) -> None:
        """Nothing: requests hold texts."""
