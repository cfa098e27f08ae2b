"""A proxy between the functions and AWS that fails on demand, and counts what it did."""

import http.client
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

_HOST = "127.0.0.1"
# The Host goes on as it came: the call's signature covers it.
_HOP_BY_HOP = {"connection", "content-length", "keep-alive", "transfer-encoding"}


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to a call: it is answered with an error, waits, or loses its connection."""

    name: str
    status: int = 0
    body: bytes = b""
    seconds: float = 0
    lost: Literal["", "call", "answer"] = ""


def refusal(kind: str, status: int = 400, **attributes: Any) -> Fault:
    """An error of AWS's JSON protocols: https://smithy.io/2.0/aws/protocols/aws-json-1_0-protocol.html"""
    error = {"__type": f"com.amazonaws#{kind}", "message": "scripted", **attributes}
    return Fault(kind, status, json.dumps(error).encode())


def slow(seconds: float) -> Fault:
    """The call is passed on after that time, whether or not its client has given up."""
    return Fault(f"slow {seconds:g} s", seconds=seconds)


THROTTLED = refusal("ProvisionedThroughputExceededException")
RATE_EXCEEDED = refusal("ThrottlingException")
TRANSACTION_THROTTLED = refusal(
    "TransactionCanceledException", CancellationReasons=[{"Code": "ThrottlingError"}, {"Code": "None"}]
)
"""How DynamoDB throttles one item of a transaction."""
ACCESS_DENIED = refusal("AccessDeniedException")
KEY_DISABLED = refusal("KMSDisabledException")
TABLE_GONE = refusal("ResourceNotFoundException")
INTERNAL_ERROR = refusal("InternalServerError", 500)
UNAVAILABLE = Fault("503", 503, b"")
CALL_LOST = Fault("call lost", lost="call")
"""The connection breaks before the call is passed on."""
ANSWER_LOST = Fault("answer lost", lost="answer")
"""The call is passed on, and the connection breaks before its answer."""


@dataclass(slots=True)
class _Rule:
    """A fault for every `every`th of some calls, `left` more times; None is without end."""

    fault: Fault
    target: str
    left: int | None
    holding: bytes = b""
    every: int = 1
    seen: int = 0

    def takes(self, service: str, operation: str, body: bytes) -> bool:
        if self.left == 0 or self.target not in ("", operation, service) or self.holding not in body:
            return False
        self.seen += 1
        if self.seen % self.every:
            return False
        self.left = None if self.left is None else self.left - 1
        return True


class AwsProxy:
    """Stands before an AWS endpoint while it is entered.

    A target is an operation such as `TransactWriteItems`, a service (`DynamoDB`, `SQS`), or empty for all; `holding`
    is what a call's body has to hold, which tells a claim from a release.
    """

    def __init__(self, upstream_host: str, upstream_port: int) -> None:
        self._upstream = (upstream_host, upstream_port)
        self._lock = threading.Lock()
        self._rules: list[_Rule] = []
        self._passed: Counter[str] = Counter()
        self._faults: Counter[tuple[str, str]] = Counter()
        self._http = self._listen(0)
        self._port = int(self._http.server_address[1])

    @property
    def url(self) -> str:
        return f"http://{_HOST}:{self._port}"

    def fault(self, fault: Fault, target: str = "", times: int = 1, holding: str = "") -> None:
        """Has the next `times` calls of `target` meet the fault. First come, first met."""
        with self._lock:
            self._rules.append(_Rule(fault, target, times, holding.encode()))

    def calm(self) -> None:
        """Drops every fault and count."""
        with self._lock:
            self._rules.clear()
            self._passed.clear()
            self._faults.clear()

    @contextmanager
    def failing(self, fault: Fault, target: str = "", every: int = 1) -> Iterator[None]:
        """Every `every`th call of `target` meets the fault within."""
        rule = _Rule(fault, target, None, every=every)
        with self._lock:
            self._rules.append(rule)
        try:
            yield
        finally:
            with self._lock:
                self._rules = [other for other in self._rules if other is not rule]

    @contextmanager
    def down(self) -> Iterator[None]:
        """Connections are refused within, and those that stand are cut at their next call."""
        with self.failing(CALL_LOST):
            self._close()
            try:
                yield
            finally:
                self._http = self._listen(self._port)

    def passed(self, operation: str) -> int:
        """Calls of an operation that reached AWS, their answers lost or not."""
        with self._lock:
            return self._passed[operation]

    def met(self, operation: str, fault: Fault) -> int:
        """Calls of an operation that met the fault."""
        with self._lock:
            return self._faults[operation, fault.name]

    def faults(self) -> dict[tuple[str, str], int]:
        """Every (operation, name of a fault), and how often it was met."""
        with self._lock:
            return dict(self._faults)

    def __enter__(self) -> "AwsProxy":
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def fault_for(self, service: str, operation: str, body: bytes) -> Fault | None:
        """The fault that a call meets, which counts as met."""
        with self._lock:
            rule = next((rule for rule in self._rules if rule.takes(service, operation, body)), None)
            if rule is None:
                return None
            self._faults[operation, rule.fault.name] += 1
            return rule.fault

    def forward(self, operation: str, method: str, path: str, headers: dict[str, str], body: bytes) -> "Answer":
        """What AWS answers. Raises OSError, http.client.HTTPException."""
        connection = http.client.HTTPConnection(*self._upstream, timeout=60)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        with self._lock:
            self._passed[operation] += 1
        return Answer(
            answer.status, [pair for pair in answer.getheaders() if pair[0].lower() not in _HOP_BY_HOP], content
        )

    def _listen(self, port: int) -> "_HTTPServer":
        server = _HTTPServer(self, port)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        return server

    def _close(self) -> None:
        self._http.shutdown()
        self._http.server_close()


@dataclass(frozen=True, slots=True)
class Answer:
    """What AWS answered."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


class _HTTPServer(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def __init__(self, proxy: AwsProxy, port: int) -> None:
        self.proxy = proxy
        super().__init__((_HOST, port), _Handler)

    def handle_error(self, *_: Any) -> None:
        """A client that went away is part of the game."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # A header and a body sent as two packets wait for each other (Nagle and delayed acknowledgements): 40 ms.
    wbufsize = -1
    server: _HTTPServer

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        # DynamoDB_20120810.PutItem, AmazonSQS.SendMessage
        prefix, _, operation = self.headers.get("X-Amz-Target", "").partition(".")
        service = prefix.partition("_")[0].removeprefix("Amazon")
        fault = self.server.proxy.fault_for(service, operation, body) or Fault("none")
        time.sleep(fault.seconds)
        if fault.status:
            self._send(Answer(fault.status, [("Content-Type", "application/x-amz-json-1.0")], fault.body))
            return
        if fault.lost == "call":
            self._hang_up()
            return
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP_BY_HOP}
        try:
            answer = self.server.proxy.forward(operation, self.command, self.path, headers, body)
        except (OSError, http.client.HTTPException):
            self._hang_up()
            return
        if fault.lost == "answer":
            self._hang_up()
            return
        self._send(answer)

    def log_message(self, *_: Any, **__: Any) -> None:
        """Nothing is logged."""

    def _hang_up(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        for name, value in answer.headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)
