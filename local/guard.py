"""The guard in front of the embedded emulator: it decides who may reach what. Run by its path, it starts the emulator.

It imports nothing of this project: the emulator's process finds only the installed libraries.

| | a page of the stack | a page of another origin | a program |
|---|---|---|---|
| the API (API Gateway's stage) | may use it | may link to it, no more | may use it, with a known Host |
| the emulator's health | | | may read it, with a known Host |
| every AWS service, `/_ministack/…` | | | must sign with the stack's secret key |

A page's origin is told by `Sec-Fetch-Site`, else by `Origin`. The Host is checked because a page can have its own name
resolve to 127.0.0.1 (DNS rebinding), and so be of the same origin as this server. A signed request may have any Host:
containers know this machine by other names, and the signature covers the header. With an `Origin`, which only pages
have, it needs a known Host too.
"""

import hmac
import json
import os
import re
import shutil
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, quote
from uuid import uuid4

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

HOSTS_VARIABLE = "LOCAL_HOSTS"
"""The environment variable with more names of this machine, separated by commas."""
HEALTH = "/_ministack/health"
CHALLENGE = "x-jobchain-challenge"
"""The header of a request for `HEALTH` whose answer has the `proof` of its value in the header `PROOF`."""
PROOF = "x-jobchain-proof"
LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})

# The URL form in which the emulator serves a stage of API Gateway; every other form needs a signature.
_STAGE = re.compile(r"/_aws/execute-api/[^/]+/[^/]+(?P<path>/.*)?", re.DOTALL)
# Public files. The dashboard's frame for diagrams has no origin, so that it loads them as another site's page does.
_ASSETS = "/assets/"
_READING = ("GET", "HEAD")
_SAME_SITE = ("same-origin", "none")
# Presigned URLs and older signatures are of no use here, and refused.
_SIGNED = "AWS4-HMAC-SHA256 "
# The account of all that is deployed here, which the emulator gives to functions as their access key id.
_ACCOUNT = "000000000000"


@dataclass(frozen=True, slots=True)
class Request:
    """What the guard knows of a request. Names of headers are in lower case."""

    method: str
    path: str
    raw_path: str
    query: Mapping[str, list[str]] = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)

    @classmethod
    def of(cls, scope: Scope) -> "Request":
        """The request of an ASGI scope of HTTP."""
        headers: dict[str, str] = {}
        for raw_name, raw_value in scope["headers"]:
            name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
            headers[name] = f"{headers[name]},{value}" if name in headers else value
        return cls(
            scope["method"],
            scope["path"],
            (scope.get("raw_path") or quote(scope["path"]).encode()).decode("latin-1"),
            parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True),
            headers,
        )

    @property
    def host(self) -> str:
        """The name in the header `Host`, without the port: a forwarded port may have another number."""
        return re.sub(r":\d*$", "", self.headers.get("host", "")).lower()

    @property
    def authorization(self) -> str:
        return self.headers.get("authorization", "")

    @property
    def stage_path(self) -> str | None:
        """The path within a stage of API Gateway; None for all else."""
        found = _STAGE.fullmatch(self.path)
        return (found["path"] or "/") if found else None


def is_foreign(request: Request) -> bool:
    """Whether a browser sent it for a page of another origin.

    As https://pkg.go.dev/net/http#CrossOriginProtection decides. A program sends neither header, and is not foreign.
    """
    if site := request.headers.get("sec-fetch-site"):
        return site not in _SAME_SITE
    origin = request.headers.get("origin")
    return origin is not None and origin.partition("://")[2].lower() != request.headers.get("host", "").lower()


def is_link(request: Request) -> bool:
    """Whether a browser sent it to show the answer to its user, in a window of its own."""
    return (
        request.method in _READING
        and request.headers.get("sec-fetch-mode") == "navigate"
        and request.headers.get("sec-fetch-dest") == "document"
    )


class Guard:
    """An ASGI application in front of another one."""

    def __init__(self, app: App, hosts: frozenset[str] = LOOPBACK) -> None:
        """`hosts` are the names that requests without a signature may be for, in lower case and without a port."""
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand the request on, or refuse it. Answers lose what would let other origins read them."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] != "http":
            # The stack serves no WebSocket.
            await send({"type": "websocket.close", "code": 1008})
        else:
            await self._http(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request.of(scope)
        stage_path = request.stage_path
        if is_foreign(request) and not _may_be_foreign(request, stage_path):
            await _answer(send, 403, *_FOREIGN_ORIGIN)
        elif stage_path is not None or (request.path == HEALTH and request.method in _READING):
            if request.host in self._hosts:
                await self._app(scope, receive, _with_proof(request, _without_cors(send)))
            else:
                await _answer(send, 403, *_unknown_host(request))
        elif "origin" in request.headers and request.host not in self._hosts:
            # A page's, so not worth the memory for its body.
            await _answer(send, 403, *_unknown_host(request))
        elif not request.authorization.startswith(_SIGNED):
            await _answer(send, *_access_denied(request, "the request is not signed"))
        elif (body := await _read(receive)) is not None:
            if (fault := signature_fault(request, body)) is None:
                await self._app(scope, _replay(body, receive), _without_cors(send))
            else:
                await _answer(send, *_access_denied(request, fault))


def _may_be_foreign(request: Request, stage_path: str | None) -> bool:
    if stage_path is None:
        return False
    return is_link(request) or (stage_path.startswith(_ASSETS) and request.method in _READING)


def signature_fault(request: Request, body: bytes) -> str | None:
    """What is wrong with the signature in the header `Authorization` (AWS Signature Version 4); None if nothing is.

    Keys are the stack's own, and those that its STS has given out to who had that one.
    """
    from ministack.core.iam_evaluator import ResolvedCredential, resolve_credential  # noqa: PLC0415
    from ministack.core.sigv4 import (  # noqa: PLC0415
        header_signature_failure,
        parse_header_signature,
        request_time_failure,
    )

    if not request.authorization.isascii():
        return "the header Authorization is not ASCII"
    signature = parse_header_signature(request.headers)
    if isinstance(signature, tuple):
        return str(signature[1])
    key = resolve_credential(signature.access_key_id, _ACCOUNT)
    if not isinstance(key, ResolvedCredential):
        return "the access key is not known"
    if header_signature_failure(
        signature, key.secret_access_key, request.method, request.raw_path, request.query, request.headers, body
    ):
        return "the request is not signed with the secret key of this stack"
    if late := request_time_failure(signature):
        return str(late[1])
    return None


async def _read(receive: Receive) -> bytes | None:
    """The whole body; None if the client has gone."""
    parts: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


def _replay(body: bytes, receive: Receive) -> Receive:
    """Gives the body once more, and then what else comes."""
    left = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return left.pop() if left else await receive()

    return again


def _without_cors(send: Send) -> Send:
    async def send_without(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = [pair for pair in message["headers"] if not pair[0].lower().startswith(b"access-control-")]
            message = {**message, "headers": headers}
        await send(message)

    return send_without


def proof(secret_key: str, challenge: str) -> str:
    """What only a process that has the stack's secret key can answer to a challenge."""
    return hmac.new(secret_key.encode(), f"health {challenge}".encode(), "sha256").hexdigest()


def _with_proof(request: Request, send: Send) -> Send:
    challenge = request.headers.get(CHALLENGE)
    if request.path != HEALTH or challenge is None:
        return send

    async def send_with(message: Message) -> None:
        if message["type"] == "http.response.start":
            proven = proof(os.environ["AWS_SECRET_ACCESS_KEY"], challenge)
            message = {**message, "headers": [*message["headers"], (PROOF.encode(), proven.encode())]}
        await send(message)

    return send_with


def _problem(kind: str, title: str, detail: str) -> tuple[dict[str, str], bytes]:
    """Headers and body of an RFC 9457 problem, as the API's own are."""
    body = {
        "type": f"urn:jobchain:problem:{kind}",
        "title": title,
        "status": 403,
        "detail": detail,
        "request_id": str(uuid4()),
    }
    return {"content-type": "application/problem+json"}, json.dumps(body).encode()


_FOREIGN_ORIGIN = _problem(
    "foreign-origin",
    "The request comes from a page of another origin",
    "the local stack answers its own pages, and programs that send neither Origin nor Sec-Fetch-Site",
)


def _unknown_host(request: Request) -> tuple[dict[str, str], bytes]:
    named = json.dumps(request.host[:100])
    return _problem(
        "unknown-host",
        "The header Host does not name this machine",
        f"the Host is {named}: use 127.0.0.1 or localhost, or start the stack with {HOSTS_VARIABLE} naming it",
    )


def _access_denied(request: Request, reason: str) -> tuple[int, dict[str, str], bytes]:
    """The refusal in the protocol of the service, so that AWS's clients can tell it."""
    from ministack.core.iam_actions import access_denied_response  # noqa: PLC0415
    from ministack.core.router import detect_service  # noqa: PLC0415

    headers = dict(request.headers)
    if headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        service = "sts"  # Any service of AWS's Query protocol: which one is in the body, which may not have been read.
    else:
        service = detect_service(request.method, request.path, headers, dict(request.query))
    message = f'{reason}: eval "$(make -s aws-env)" gives a shell the keys of `make dev`'
    status, headers, body = access_denied_response(
        service, "", "", str(uuid4()), error_code="AccessDenied", message=message, headers=headers
    )
    return status, headers, body


async def _answer(send: Send, status: int, headers: Mapping[str, str], body: bytes) -> None:
    pairs = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
    pairs.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})


def _end_with_parent() -> None:
    """The parent holds the other end of stdin: the emulator ends with it, even with one that was killed."""
    os.read(sys.stdin.fileno(), 1)
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    """Serve the emulator behind the guard until the process is stopped."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    from ministack import app as emulator  # noqa: PLC0415 - half a second, in which the parent may end

    more = filter(None, os.environ.get(HOSTS_VARIABLE, "").lower().split(","))
    emulator.app = Guard(emulator.app, LOOPBACK | frozenset(more))
    try:
        emulator.main()
    finally:
        shutil.rmtree(os.environ["TMPDIR"], ignore_errors=True)


if __name__ == "__main__":
    main()
