#!/var/lang/bin/python3
"""The stand-in for LocalStack's init of a function's container, a program in Go.

LocalStack starts it as the container's first process. It serves Lambda's runtime API to the function's runtime, takes
invocations from LocalStack, one at a time, and tells LocalStack what came of each. It knows no extensions, X-Ray, hot
reloading or streamed answers.
https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Empty, SimpleQueue
from typing import Any

FOR_RUNTIME = ("127.0.0.1", 9001)
FOR_LOCALSTACK = ("0.0.0.0", 9563)
LAMBDA_USER, LAMBDA_GROUP = 993, 990
LOG_SECONDS = 0.01  # how long the last lines of an invocation may take to arrive

# Variables that are for this program, and not for the function.
_PRIVATE = ("RUNTIME_ENDPOINT", "RUNTIME_ID", "USER", "FUNCTION_ACCOUNT_ID", "MAX_PAYLOAD_SIZE", "CHMOD_PATHS")
PRIVATE = {"HOME", "HOSTNAME", *(f"LOCALSTACK_{name}" for name in _PRIVATE)}


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of a start or an invocation: the body of the answer, or of the error if it `failed`."""

    body: bytes
    failed: bool = False


READY = Outcome(b"")


def error(kind: str, message: str) -> Outcome:
    return Outcome(json.dumps({"errorType": kind, "errorMessage": message}).encode(), failed=True)


class Log:
    """What the function prints: to the container's log at once, and to LocalStack by invocation."""

    def __init__(self) -> None:
        self._lines: list[bytes] = []

    def add(self, line: bytes) -> None:
        self._lines.append(line)
        sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()

    def take(self) -> str:
        lines, self._lines = self._lines, []
        return b"".join(lines).decode(errors="replace")


class Runtime:
    """One process of the function's runtime, from its start to its end."""

    def __init__(self, log: Log) -> None:
        self.invocations: SimpleQueue[dict[str, Any]] = SimpleQueue()
        self.outcomes: SimpleQueue[Outcome] = SimpleQueue()
        self._asked = False
        host, port = FOR_RUNTIME
        variables = {name: value for name, value in os.environ.items() if name not in PRIVATE}
        self.process = subprocess.Popen(
            ["/var/runtime/bootstrap"],
            cwd="/var/task",
            env={**variables, "AWS_LAMBDA_RUNTIME_API": f"{host}:{port}"},
            user=LAMBDA_USER,
            group=LAMBDA_GROUP,
            extra_groups=[],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        threading.Thread(target=self._follow, args=(log,), daemon=True).start()

    def next_invocation(self) -> dict[str, Any]:
        """What the runtime is to do next; that it asks for the first time says that it is ready."""
        if not self._asked:
            self._asked = True
            self.outcomes.put(READY)
        return self.invocations.get()

    def end(self) -> None:
        """Stop it, and whatever it has started."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def _follow(self, log: Log) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            log.add(line)
        status = self.process.wait()
        how = f"exit status {status}" if status >= 0 else f"signal: {signal.Signals(-status).name}"
        self.outcomes.put(error("Runtime.ExitError", f"Runtime exited with error: {how}"))


class Function:
    """The function of this container: its runtime starts again after it has ended or timed out."""

    def __init__(self) -> None:
        self.log = Log()
        self.seconds = int(os.environ["AWS_LAMBDA_FUNCTION_TIMEOUT"])
        self.runtime = Runtime(self.log)

    def invoke(self, invocation: dict[str, Any]) -> Outcome:
        if self.runtime.process.poll() is not None:
            self.runtime = Runtime(self.log)
            if (started := self.runtime.outcomes.get()).failed:
                return started
        invocation["deadline"] = str(int((time.time() + self.seconds) * 1000))
        self.runtime.invocations.put(invocation)
        try:
            return self.runtime.outcomes.get(timeout=self.seconds)
        except Empty:
            self.runtime.end()
            message = f"{invocation['invoke-id']} Task timed out after {self.seconds}.00 seconds"
            return error("Sandbox.Timedout", message)


FUNCTION: Function


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status: HTTPStatus, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        content = b""
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            content += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return content

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the name that http.server has
        """The container's log is the function's."""


class RuntimeApi(Handler):
    """What the function's runtime asks, and tells."""

    def do_GET(self) -> None:
        invocation = FUNCTION.runtime.next_invocation()
        headers = {
            "Content-Type": "application/json",
            "Lambda-Runtime-Aws-Request-Id": invocation["invoke-id"],
            "Lambda-Runtime-Deadline-Ms": invocation["deadline"],
            "Lambda-Runtime-Invoked-Function-Arn": invocation["invoked-function-arn"],
            "Lambda-Runtime-Trace-Id": invocation.get("trace-id") or "",
        }
        self.answer(HTTPStatus.OK, invocation["payload"].encode(), headers)

    def do_POST(self) -> None:
        body = self.body()
        most = int(os.environ["LOCALSTACK_MAX_PAYLOAD_SIZE"])
        if self.path.endswith("/response") and len(body) > most:
            message = f"Response payload size ({len(body)} bytes) exceeded maximum allowed payload size ({most} bytes)."
            FUNCTION.runtime.outcomes.put(error("Function.ResponseSizeTooLarge", message))
            return self.answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        FUNCTION.runtime.outcomes.put(Outcome(body, failed=self.path.endswith("/error")))
        return self.answer(HTTPStatus.ACCEPTED)


class Invocations(Handler):
    """What LocalStack asks. It wants its answer at once, and the outcome by a call of its own."""

    def do_POST(self) -> None:
        threading.Thread(target=run, args=(json.loads(self.body()),)).start()
        self.answer(HTTPStatus.OK)


def run(invocation: dict[str, Any]) -> None:
    request_id, began = invocation["invoke-id"], time.monotonic()
    log = FUNCTION.log
    log.add(f"START RequestId: {request_id} Version: {os.environ['AWS_LAMBDA_FUNCTION_VERSION']}\n".encode())
    outcome = FUNCTION.invoke(invocation)
    time.sleep(LOG_SECONDS)
    took = (time.monotonic() - began) * 1000
    memory = os.environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]
    log.add(f"END RequestId: {request_id}\n".encode())
    log.add(
        f"REPORT RequestId: {request_id}\tDuration: {took:.2f} ms\tBilled Duration: {int(took) + 1} ms\t"
        f"Memory Size: {memory} MB\tMax Memory Used: {memory} MB\t\n".encode()
    )
    tell(f"invocations/{request_id}/logs", json.dumps({"logs": log.take()}).encode())
    tell(f"invocations/{request_id}/{'error' if outcome.failed else 'response'}", outcome.body)


def tell(path: str, body: bytes) -> None:
    """Tell LocalStack, past any proxy that the function's variables name."""
    url = f"{os.environ['LOCALSTACK_RUNTIME_ENDPOINT']}/{path}"
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30).close()


def main() -> None:
    global FUNCTION  # noqa: PLW0603 - one container is one function
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    os.chown("/tmp", LAMBDA_USER, LAMBDA_GROUP)
    servers = ThreadingHTTPServer(FOR_RUNTIME, RuntimeApi), ThreadingHTTPServer(FOR_LOCALSTACK, Invocations)
    FUNCTION = Function()
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    started = FUNCTION.runtime.outcomes.get()
    container = os.environ["LOCALSTACK_RUNTIME_ID"]
    if started.failed:
        tell(f"status/{container}/error", started.body)
        sys.exit(1)
    tell(f"status/{container}/ready", b"")
    threading.Event().wait()


if __name__ == "__main__":
    main()
