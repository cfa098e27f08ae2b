"""The offline model, which fails where the text that it is given tells it to: a caller can provoke a model's faults.

    python -m tests.conformance.faulty_model --port 8089

A stack whose parameter OpenAIBaseUrl is this server's can be tested with `make conformance MODEL_FAULTS=1`. What a text
orders (see `order`) happens to the first call whose prompt holds it, and a delay to each; all other calls are answered
as they should be.
"""

import argparse
import io
import json
import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from http.server import ThreadingHTTPServer
from threading import Lock, Thread
from uuid import uuid4

from local import offline_model

RETRY_AFTER = 6
"""Seconds that a call which is refused with 429 is asked to wait: clearly more than a backoff of the embedded stack."""

SLOW_SECONDS = 3
"""Less than the shortest time that the template gives a model call."""

KINDS = ("throttle", "break", "unauthorize", "delay")

_ORDER = re.compile(rf"model-fault-({'|'.join(KINDS)})-[0-9a-f]{{32}}")


def order(kind: str) -> str:
    """A new order, for a job's text. `kind`:

    `throttle` is 429 with a `Retry-After` of RETRY_AFTER, `break` is 500, `unauthorize` is 401, `delay` is the right
    answer after SLOW_SECONDS.
    """
    assert kind in KINDS
    return f"model-fault-{kind}-{uuid4().hex}"


class FaultyModelServer(offline_model.OfflineModelServer):
    """Listens once it is made, answers while `serve_forever` runs; port 0 takes any free one."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        ThreadingHTTPServer.__init__(self, (host, port), _Handler)
        self.base_url = f"http://{host}:{self.server_port}/v1"
        self._carried_out: set[str] = set()
        self._lock = Lock()

    def take_order(self, prompt: str) -> str | None:
        """The kind of the prompt's order, if it has one that was not carried out yet."""
        with self._lock:
            for found in _ORDER.finditer(prompt):
                if found[0] not in self._carried_out:
                    if found[1] != "delay":
                        self._carried_out.add(found[0])
                    return found[1]
        return None


class _Handler(offline_model._Handler):
    server: FaultyModelServer

    def do_POST(self) -> None:  # noqa: N802  # http.server's own name
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        match self.server.take_order(body.decode(errors="replace")):
            case "throttle":
                self._refuse(HTTPStatus.TOO_MANY_REQUESTS, {"Retry-After": str(RETRY_AFTER)})
            case "break":
                self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR)
            case "unauthorize":
                self._refuse(HTTPStatus.UNAUTHORIZED)
            case "delay":
                time.sleep(SLOW_SECONDS)
                self._answer(body)
            case _:
                self._answer(body)

    def _answer(self, body: bytes) -> None:
        connection, self.rfile = self.rfile, io.BytesIO(body)
        try:
            super().do_POST()
        finally:
            self.rfile = connection

    def _refuse(self, status: HTTPStatus, headers: dict[str, str] | None = None) -> None:
        error = {"message": "ordered by the text", "type": "ordered", "param": None, "code": None}
        body = json.dumps({"error": error}).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def running() -> Iterator[str]:
    """Answer in a thread of this process for as long as the context lasts; gives the base URL, `…/v1`."""
    with FaultyModelServer() as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield server.base_url
        finally:
            server.shutdown()
            thread.join()


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance.faulty_model", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; 0.0.0.0 lets containers in")
    parser.add_argument("--port", type=int, default=0, help="0 takes any free one")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with FaultyModelServer(options.host, options.port) as server, suppress(KeyboardInterrupt):
        print(f"listening on {server.base_url}", flush=True)  # noqa: T201  # it talks to a terminal
        server.serve_forever()


if __name__ == "__main__":
    main()
