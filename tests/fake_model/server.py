"""A fake model behind HTTP that follows a script and keeps a journal of every call.

It answers the steps of `guideline_checklist` by their schemas, out of the text that it is given: a marker such as
`job-17` in the text comes back in each step's output, so that a result can be checked to belong to its job.
"""

import json
import select
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from http.server import ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import unquote

from local import offline_model
from local.events import events_of
from tests.fake_model.answers import about_models, by_marker, by_offline_model
from tests.fake_model.journal import Call, Journal
from tests.fake_model.replies import Reply, refused, streamed
from tests.fake_model.script import Asked, Script, asked


class ModelServer:
    """Serves `/v1/responses` and `/v1/models` while it is entered; port 0 takes any free one.

    `latency` is how many seconds each call takes. A call is answered with the first of: what `rule` gives for it; the
    next reply that was scripted for its marker; the right answer, which is the offline model's where it is `offline`.
    An offline one has all of the offline model's paths; any other tells about `models`, or knows any model by name.
    """

    def __init__(
        self,
        latency: float = 0,
        *,
        offline: bool = False,
        models: Sequence[Mapping[str, Any]] | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        handler: "type[ModelHandler] | None" = None,
    ) -> None:
        self.latency = latency
        self.offline = offline
        self.models = models
        self.rule: Callable[[Call], Reply | None] = lambda call: None
        self.journal = Journal()
        self._script = Script[Reply]()
        self._released = threading.Event()
        self._host = host
        self._http = _HTTPServer(self, host, port, handler or ModelHandler)
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True)

    @property
    def base_url(self) -> str:
        """What OPENAI_BASE_URL is set to."""
        return f"http://{self._host}:{self._http.server_port}/v1"

    def script(self, marker: str, *replies: Reply, step: str | None = None) -> None:
        """Has the next calls for `marker`, those of `step` if given, answered by `replies`, one each."""
        self._script.add(*replies, marker=marker, step=step)

    def release(self) -> None:
        """Lets go of the calls that are held by NEVER; later ones are held again."""
        self._released.set()
        self._released = threading.Event()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
        self._http.shutdown()
        self._http.server_close()

    def choose(self, call: Call) -> Reply | None:
        """What the script has for the call; None for the right answer."""
        return self.rule(call) or self._script.take(Asked(call.step, call.marker, call.complaint))

    def right_answer(self, path: str, call: Call) -> Reply:
        """The answer to a call without a fault."""
        return by_offline_model(path, json.loads(call.body)) if self.offline else by_marker(call.step, call.marker)

    def hold(self, connection: socket.socket, seconds: float | None) -> bool:
        """Waits for as long as a call takes, None for a release. Gives whether the client is still there."""
        released = self._released
        until = time.monotonic() + (float("inf") if seconds is None else seconds)
        while not (gone := _gone(connection)) and (left := until - time.monotonic()) > 0:
            if seconds is None and released.is_set():
                break
            released.wait(min(left, 0.05)) if seconds is None else time.sleep(min(left, 0.05))
        return not gone


class _HTTPServer(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def __init__(self, model: ModelServer, host: str, port: int, handler: "type[ModelHandler]") -> None:
        self.model = model
        super().__init__((host, port), handler)

    def handle_error(self, *_: Any) -> None:
        """A client that went away is no error."""


class ModelHandler(offline_model._Handler):
    """Answers as the server that it belongs to chooses."""

    server: _HTTPServer

    def do_GET(self) -> None:  # noqa: N802  # named by http.server
        model = self.server.model
        if model.offline:
            super().do_GET()
        else:
            self._reply(about_models(unquote(self.path), model.models))

    def do_POST(self) -> None:  # noqa: N802  # named by http.server
        model = self.server.model
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        if not model.offline and self.path != "/v1/responses":
            self._reply(refused(404))
            return
        call = model.journal.open(*_read(json.loads(body)), body, self.client_address[1])
        scripted = model.choose(call)
        way, delay = (scripted.way, scripted.delay) if scripted else ("right answer", 0)
        present = model.hold(self.connection, None if way == "hang" else model.latency + delay)
        if scripted and (way in ("answer", "drop", "half", "stall") or not present):
            reply = scripted
        else:
            reply = _as_asked(model.right_answer(self.path, call), body)
        # Noted before it is sent: a client that has the answer finds it in the journal.
        model.journal.close(call, reply, client_left=not present)
        if not present or way == "drop":
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self._reply(reply)
        if way == "half":
            self.wfile.flush()
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)

    def _reply(self, reply: Reply) -> None:
        # Some gateways have statuses of their own, such as 524.
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if reply.content_type:
            self.send_header("Content-Type", reply.content_type)
        if reply.parts:
            self._reply_in_parts(reply)
            return
        self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        self.wfile.write(reply.body[: len(reply.body) // 2] if reply.way == "half" else reply.body)

    def _reply_in_parts(self, reply: Reply) -> None:
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.flush()
        for part in reply.parts:
            if not self.server.model.hold(self.connection, reply.pause):
                return
            self.wfile.write(b"%x\r\n%b\r\n" % (len(part), part))
            self.wfile.flush()
        if reply.way == "stall":
            self.server.model.hold(self.connection, None)
        elif reply.way != "half":
            self.wfile.write(b"0\r\n\r\n")


def _as_asked(reply: Reply, body: str) -> Reply:
    """The answer as a stream, where the request asks for one."""
    if reply.status != HTTPStatus.OK or json.loads(body).get("stream") is not True:
        return reply
    answer = json.loads(reply.body)
    return streamed(events_of(answer)) if "output" in answer or "choices" in answer else reply


def _read(body: Mapping[str, Any]) -> Asked:
    schema = (body.get("text") or {}).get("format", {}).get("name", "")
    return asked(str(body.get("input", "")), schema)


def _gone(connection: socket.socket) -> bool:
    """Whether the other side has closed its end."""
    try:
        readable, _, _ = select.select([connection], [], [], 0)
        return bool(readable) and connection.recv(1, socket.MSG_PEEK) == b""
    except OSError:
        return True
