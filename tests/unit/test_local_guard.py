"""The guard in front of the emulator, by itself: what it lets through to the application behind it."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from local.guard import CHALLENGE, PROOF, Guard, Message, Receive, Scope, Send, proof

SECRET = "a-secret-key-that-is-not-guessed"
HOST = "127.0.0.1:4566"
STAGE = "/_aws/execute-api/jobchain/v1"
NAVIGATION = {"sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
FOREIGN = [
    {"origin": "http://127.0.0.1:8000", "sec-fetch-site": "same-site"},
    {"origin": "https://evil.example", "sec-fetch-site": "cross-site"},
    {"origin": "https://evil.example"},
    {"origin": "null"},
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
]


@dataclass
class Seen:
    """What came out of the guard, and what reached the application."""

    status: int | None
    headers: dict[str, str]
    body: bytes
    bodies: list[bytes]

    @property
    def let_through(self) -> bool:
        return bool(self.bodies)


@pytest.fixture(autouse=True)
def _emulators_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)


def knock(
    path: str,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    *,
    body: bytes = b"",
    query: str = "",
    kind: str = "http",
) -> Seen:
    """Send a request through the guard to an application that answers as the emulator does."""
    bodies: list[bytes] = []
    sent: list[Message] = []
    # As a server does: the body in pieces.
    pieces = [body[:2], body[2:]]

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        message = await receive()
        bodies.append(message["body"])
        while message.get("more_body"):
            message = await receive()
            bodies[-1] += message["body"]
        answer = [(b"access-control-allow-origin", b"*"), (b"Access-Control-Max-Age", b"1"), (b"x-kept", b"1")]
        await send({"type": "http.response.start", "status": 200, "headers": answer})
        await send({"type": "http.response.body", "body": b"let through"})

    async def receive() -> Message:
        return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}

    async def send(message: Message) -> None:
        sent.append(message)

    given = {"host": HOST, **(headers or {})}
    scope = {
        "type": kind,
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in given.items() if value],
    }
    asyncio.run(Guard(app)(scope, receive, send))
    start: Any = sent[0]
    pairs = {name.decode().lower(): value.decode() for name, value in start.get("headers", [])}
    return Seen(start.get("status"), pairs, b"".join(message.get("body", b"") for message in sent), bodies)


def signed(
    path: str, method: str = "GET", body: bytes = b"", *, secret: str = SECRET, host: str = HOST, key: str = "test"
) -> dict[str, str]:
    """The headers of a request that is signed."""
    request = AWSRequest(method, f"http://{host}{path}", data=body)
    SigV4Auth(Credentials(key, secret), "dynamodb", "us-east-1").add_auth(request)
    return {"host": host, **{name.lower(): value for name, value in request.headers.items()}}


class TestTheApi:
    @pytest.mark.parametrize("host", ["127.0.0.1:4566", "localhost:4566", "LOCALHOST:1", "[::1]:4566", "localhost"])
    def test_is_open_to_programs_on_this_machine(self, host: str) -> None:
        assert knock(f"{STAGE}/jobs", "POST", {"host": host}, body=b"{}").bodies == [b"{}"]

    @pytest.mark.parametrize(
        "host", ["evil.example:4566", "127.0.0.1.evil.example", "localhost.evil.example:4566", "x@localhost", ""]
    )
    def test_is_closed_to_another_host(self, host: str) -> None:
        answer = knock(f"{STAGE}/jobs", headers={"host": host})

        assert (answer.status, answer.let_through) == (403, False)
        assert b"urn:jobchain:problem:unknown-host" in answer.body

    @pytest.mark.parametrize("headers", FOREIGN, ids=str)
    @pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "OPTIONS"])
    def test_is_closed_to_pages_of_other_origins(self, headers: dict[str, str], method: str) -> None:
        answer = knock(f"{STAGE}/jobs", method, headers)

        assert (answer.status, answer.let_through) == (403, False)
        assert b"urn:jobchain:problem:foreign-origin" in answer.body

    @pytest.mark.parametrize(
        "headers",
        [
            {"origin": f"http://{HOST}", "sec-fetch-site": "same-origin"},
            {"origin": f"http://{HOST}"},
            {"sec-fetch-site": "none"},
        ],
    )
    def test_is_open_to_its_own_pages(self, headers: dict[str, str]) -> None:
        assert knock(f"{STAGE}/jobs", "POST", headers).let_through

    def test_may_be_linked_to_but_not_be_posted_a_form(self) -> None:
        foreign = {"sec-fetch-site": "cross-site", **NAVIGATION}

        assert knock(f"{STAGE}/queue", headers=foreign).let_through
        assert not knock(f"{STAGE}/jobs", "POST", foreign).let_through
        assert not knock(f"{STAGE}/queue", headers={**foreign, "sec-fetch-dest": "iframe"}).let_through

    def test_gives_the_frame_without_an_origin_its_files(self) -> None:
        script = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "script"}

        assert knock(f"{STAGE}/assets/queue/diagram.js", headers=script).let_through
        assert not knock(f"{STAGE}/assets/queue/diagram.js", "POST", script).let_through

    def test_answers_without_what_lets_others_read(self) -> None:
        answer = knock(f"{STAGE}/jobs")

        assert answer.headers == {"x-kept": "1"}

    @pytest.mark.parametrize(
        "path",
        [
            "/restapis",
            "/_aws/execute-api",
            "/_aws/execute-api/jobchain",
            "/_aws/execute-api//v1/jobs",
            "/x/_aws/execute-api/jobchain/v1/jobs",
            "/_aws/execute-apis/jobchain/v1/jobs",
            "/restapis/jobchain/v1/_user_request_/jobs",
        ],
    )
    def test_is_no_other_path(self, path: str) -> None:
        assert not knock(path).let_through


class TestEverythingElse:
    @pytest.mark.parametrize(
        "path", ["/", "/_ministack/reset", "/_localstack/health", "/health", "/2015-03-31/functions"]
    )
    def test_needs_a_signature(self, path: str) -> None:
        assert knock(path, "POST").status == 403

    def test_opens_to_the_stacks_secret_key_under_any_host(self) -> None:
        body = b'{"TableName": "jobs"}'

        assert knock("/", "POST", signed("/", "POST", body), body=body).bodies == [body]
        container = signed("/", "POST", body, host="172.17.0.1:4567")
        assert knock("/", "POST", container, body=body).let_through

    def test_opens_to_functions_whose_access_key_is_their_account(self) -> None:
        assert knock("/", headers=signed("/", key="000000000000")).let_through

    @pytest.mark.parametrize("key", ["test", "000000000000", "111111111111", "AKIAX", "ASIAX"])
    @pytest.mark.parametrize("secret", ["test", "", SECRET[:-1]])
    def test_stays_closed_to_another_secret_key(self, key: str, secret: str) -> None:
        answer = knock("/", headers=signed("/", key=key, secret=secret))

        assert (answer.status, answer.let_through) == (403, False)
        assert b"make -s aws-env" in answer.body

    def test_stays_closed_to_a_signature_of_something_else(self) -> None:
        headers = signed("/", "POST", b"a")

        assert not knock("/", "POST", headers, body=b"b").let_through
        assert not knock("/other", "POST", headers, body=b"a").let_through
        assert not knock("/", "PUT", headers, body=b"a").let_through
        assert not knock("/", "POST", headers, body=b"a", query="x=1").let_through
        assert not knock("/", "POST", {**headers, "host": "evil.example"}, body=b"a").let_through

    def test_stays_closed_to_a_signature_of_yesterday(self) -> None:
        headers = signed("/")
        yesterday = {**headers, "x-amz-date": "20200101T000000Z"}

        assert not knock("/", headers=yesterday).let_through

    @pytest.mark.parametrize(
        "authorization", ["", "Bearer jc_key", "AWS4-HMAC-SHA256 ", "AWS4-HMAC-SHA256 Credential=é/1/2/3/4", "AWS a:b"]
    )
    def test_stays_closed_to_what_is_no_signature(self, authorization: str) -> None:
        assert knock("/", headers={"authorization": authorization}).status == 403

    @pytest.mark.parametrize("headers", FOREIGN, ids=str)
    def test_stays_closed_to_pages_even_where_they_sign(self, headers: dict[str, str]) -> None:
        assert not knock("/", headers={**signed("/"), **headers}).let_through
        assert not knock("/", headers={**signed("/"), **headers, **NAVIGATION}).let_through

    def test_stays_closed_to_a_page_of_a_name_that_leads_here(self) -> None:
        rebound = {"host": "evil.example:4566", "origin": "http://evil.example:4566"}

        answer = knock("/", "POST", {**signed("/", "POST", host=rebound["host"]), **rebound})

        assert (answer.status, answer.let_through) == (403, False)
        assert b"urn:jobchain:problem:unknown-host" in answer.body


class TestHealth:
    def test_proves_that_the_stack_of_the_secret_key_answers(self) -> None:
        answer = knock("/_ministack/health", headers={CHALLENGE: "a challenge"})

        assert answer.headers[PROOF] == proof(SECRET, "a challenge") != proof("guessed", "a challenge")
        assert PROOF not in knock("/_ministack/health").headers
        assert PROOF not in knock(f"{STAGE}/jobs", headers={CHALLENGE: "a challenge"}).headers

    def test_is_open_to_programs_on_this_machine(self) -> None:
        assert knock("/_ministack/health").let_through

    def test_is_closed_to_all_else(self) -> None:
        assert not knock("/_ministack/health", "POST").let_through
        assert not knock("/_ministack/health", headers={"host": "evil.example"}).let_through
        assert not knock("/_ministack/health", headers=FOREIGN[0]).let_through


def test_a_websocket_is_refused() -> None:
    answer = knock(f"{STAGE}/jobs", kind="websocket")

    assert (answer.status, answer.let_through) == (None, False)
