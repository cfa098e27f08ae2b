"""The light client of DynamoDB and SQS, beside botocore's: the same signatures, answers, errors and tries."""

import json
import socket
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any

import botocore.session
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    EndpointConnectionError,
    ReadTimeoutError,
    SSLError,
)
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from jobchain.aws import connections
from jobchain.aws.calling import Patience, create_aws_client
from jobchain.aws.connections import Connections
from jobchain.aws.json_client import DYNAMODB, SQS, JsonClient, Service
from jobchain.aws.signature import Signer
from local.emulator import child_environment
from local.emulator_clients import Credentials as StackCredentials

KEYS = {
    "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "secret/of+it",
    "AWS_DEFAULT_REGION": "eu-central-1",
}
PATIENCE = Patience(connect_seconds=5, read_seconds=5, attempts=3)


@dataclass
class Asked:
    """A request as the server got it."""

    headers: dict[str, str]
    body: bytes


@dataclass
class Server:
    """Answers each request with the next of `answers`: bytes as they are, None by closing the connection."""

    url: str
    answers: list[bytes | None] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    connections: int = 0
    closed: threading.Event = field(default_factory=threading.Event)


def answer(content: Any, status: str = "200 OK", **headers: str) -> bytes:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    named = {"Content-Type": "application/x-amz-json-1.0", "Content-Length": str(len(body)), **headers}
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in named.items())
    return f"HTTP/1.1 {status}\r\n{lines}\r\n".encode() + body


def refusal(code: str, status: str = "400 Bad Request", headers: dict[str, str] | None = None, **more: Any) -> bytes:
    return answer({"__type": f"com.amazonaws.dynamodb.v20120810#{code}", **more}, status, **(headers or {}))


@pytest.fixture
def server() -> Iterator[Server]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        found = Server(f"http://127.0.0.1:{listening.getsockname()[1]}")
        threading.Thread(target=_accept, args=(listening, found), daemon=True).start()
        yield found


def _accept(listening: socket.socket, server: Server) -> None:
    while True:
        try:
            connection, _ = listening.accept()
        except OSError:
            return
        server.connections += 1
        threading.Thread(target=_serve, args=(connection, server), daemon=True).start()


def _serve(connection: socket.socket, server: Server) -> None:
    with connection, connection.makefile("rb") as lines:
        _answer_all(connection, lines, server)
    server.closed.set()


def _answer_all(connection: socket.socket, lines: IO[bytes], server: Server) -> None:
    while lines.readline():
        headers = {}
        while line := lines.readline().decode().strip():
            name, _, value = line.partition(": ")
            headers[name.lower()] = value
        server.asked.append(Asked(headers, lines.read(int(headers["content-length"]))))
        sent = server.answers.pop(0)
        if sent is None:
            return
        connection.sendall(sent)
        if b"Connection: close" in sent or b"X-Then: closes" in sent:
            return


def light(url: str, service: Service = DYNAMODB, attempts: int = 3, read_seconds: float = 5) -> JsonClient:
    """A client that does not pause between its tries."""
    signer = Signer("AKIDEXAMPLE", "secret", "", service.name, "eu-central-1")
    return JsonClient(service, signer, Connections(url, 5, read_seconds), attempts, pause=lambda _: None)


@pytest.fixture(scope="module")
def session() -> botocore.session.Session:
    return botocore.session.Session()


def heavy(session: botocore.session.Session, url: str, service: Service) -> Any:
    """botocore's client, as the worker makes it, which tries once."""
    config = Config(retries={"mode": "standard", "total_max_attempts": 1}, parameter_validation=False)
    return session.create_client(
        service.name, "eu-central-1", endpoint_url=url, config=config, aws_access_key_id="x", aws_secret_access_key="x"
    )


class TestASignature:
    @given(
        body=st.binary(),
        token=st.sampled_from(["", "FwoGZXIvYXdzEJr//////////wEaDA=="]),
        service=st.sampled_from([DYNAMODB, SQS]),
        region=st.sampled_from(["eu-central-1", "us-gov-west-1"]),
    )
    def test_is_that_of_botocore(self, body: bytes, token: str, service: Service, region: str) -> None:
        headers = {"content-type": "application/x-amz-json-1.0", "x-amz-target": "Target.Operation"}
        host = f"{service.name}.{region}.amazonaws.com"
        theirs = AWSRequest(method="POST", url=f"https://{host}/", data=body, headers=headers)
        SigV4Auth(Credentials("AKIDEXAMPLE", "secret/of+it", token or None), service.name, region).add_auth(theirs)
        at = datetime.strptime(theirs.headers["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)

        signer = Signer("AKIDEXAMPLE", "secret/of+it", token, service.name, region)
        ours = signer.signed({**headers, "host": host}, body, at.timestamp())

        assert ours["authorization"] == theirs.headers["Authorization"]
        assert ours.get("x-amz-security-token", "") == token

    def test_has_the_key_of_its_day(self) -> None:
        signer, fresh = (Signer("AKIDEXAMPLE", "secret", "", "sqs", "eu-central-1") for _ in range(2))
        midnight = datetime(2026, 11, 30, tzinfo=UTC).timestamp()
        for _ in range(2):
            signer.signed({"host": "sqs"}, b"", midnight - 1)

        assert signer.signed({"host": "sqs"}, b"", midnight) == fresh.signed({"host": "sqs"}, b"", midnight)


class TestTheClientOfAnEnvironment:
    @pytest.mark.parametrize("service", [DYNAMODB, SQS])
    def test_calls_the_endpoint_that_botocore_would_call(
        self, session: botocore.session.Session, service: Service
    ) -> None:
        found = 0
        for partition in session.get_available_partitions():
            for region in session.get_available_regions(service.name, partition):
                ours = create_aws_client(service, PATIENCE, {**KEYS, "AWS_DEFAULT_REGION": region})
                if isinstance(ours, JsonClient):
                    theirs = session.create_client(
                        service.name, region, aws_access_key_id="x", aws_secret_access_key="x"
                    )
                    assert ours._connections.url == theirs.meta.endpoint_url
                    found += 1
        assert found > 30

    @pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_DYNAMODB"])
    def test_calls_the_endpoint_that_is_set(self, server: Server, name: str) -> None:
        server.answers = [answer({})]

        create_aws_client(DYNAMODB, PATIENCE, {**KEYS, name: server.url}).get_item(TableName="jobs", Key={})

        assert server.asked[0].headers["x-amz-target"] == "DynamoDB_20120810.GetItem"

    def test_is_the_light_one_in_the_embedded_stack(self) -> None:
        environment = child_environment(
            {}, StackCredentials("000000000000", "secret"), {"AWS_ENDPOINT_URL": "http://x:1"}
        )

        assert isinstance(create_aws_client(DYNAMODB, PATIENCE, environment), JsonClient)

    @pytest.mark.parametrize(
        "setting",
        [
            {"AWS_ACCESS_KEY_ID": ""},
            {"AWS_DEFAULT_REGION": "eusc-de-east-1"},
            {"AWS_ENDPOINT_URL": "http://localhost:4566/dynamodb"},
            {"AWS_CA_BUNDLE": "/etc/ssl/cert.pem"},
            {"AWS_PROFILE": "default"},
            {"AWS_USE_FIPS_ENDPOINT": "true"},
            {"AWS_USE_DUALSTACK_ENDPOINT": "true"},
            {"AWS_CREDENTIAL_EXPIRATION": "2026-11-30T00:00:00Z"},
            {"https_proxy": "http://proxy.example.com:3128"},
        ],
    )
    def test_is_botocores_where_the_environment_has_what_this_one_does_not_know(
        self, monkeypatch: pytest.MonkeyPatch, setting: dict[str, str]
    ) -> None:
        monkeypatch.delenv("AWS_PROFILE", raising=False)

        client = create_aws_client(DYNAMODB, PATIENCE, KEYS | setting)

        assert client.meta.config.retries["total_max_attempts"] == 3
        assert client.meta.config.read_timeout == 5


ITEM = {"pk": {"S": "JOB#1"}, "count": {"N": "7"}, "map": {"M": {"B": {"S": "x"}, "on": {"BOOL": True}}}}
ANSWERS: list[tuple[Service, str, bytes]] = [
    (DYNAMODB, "get_item", answer({"Item": ITEM})),
    (DYNAMODB, "get_item", answer({})),
    (DYNAMODB, "get_item", answer({"Item": {"packed": {"B": "AAEC/w=="}, "list": {"L": [{"B": "eA=="}]}, **ITEM}})),
    (DYNAMODB, "query", answer({"Items": [ITEM, ITEM], "Count": 2, "ScannedCount": 2, "LastEvaluatedKey": ITEM})),
    (DYNAMODB, "batch_write_item", answer({"UnprocessedItems": {"jobs": [{"PutRequest": {"Item": ITEM}}]}})),
    (SQS, "send_message", answer({"MessageId": "1", "MD5OfMessageBody": "0" * 32})),
    (SQS, "get_queue_attributes", answer({"Attributes": {"ApproximateNumberOfMessages": "3"}})),
]
REFUSALS: list[tuple[Service, str, bytes]] = [
    (DYNAMODB, "put_item", refusal("ConditionalCheckFailedException", message="The request failed", Item=ITEM)),
    (
        DYNAMODB,
        "transact_write_items",
        refusal(
            "TransactionCanceledException",
            Message="canceled",
            CancellationReasons=[{"Code": "None"}, {"Code": "ConditionalCheckFailed", "Item": {"b": {"B": "eA=="}}}],
        ),
    ),
    (DYNAMODB, "put_item", refusal("ThrottlingException", message="too fast")),
    (DYNAMODB, "put_item", answer({"__type": "ValidationException:http://x/", "message": "no"}, "400 Bad Request")),
    (DYNAMODB, "put_item", answer({"message": "no code"}, "503 Service Unavailable")),
    (DYNAMODB, "put_item", answer(b"<html>Bad Gateway</html>", "502 Bad Gateway")),
    (DYNAMODB, "put_item", answer(b"", "500 Internal Server Error")),
    (
        SQS,
        "send_message",
        answer(
            {"__type": "com.amazonaws.sqs#QueueDoesNotExist", "message": "gone"},
            "400 Bad Request",
            x_amzn_query_error="AWS.SimpleQueueService.NonExistentQueue;Sender",
            x_amzn_RequestId="r-1",
        ),
    ),
]


class TestACall:
    @pytest.mark.parametrize(("service", "operation", "sent"), ANSWERS)
    def test_gives_what_botocore_gives(
        self, server: Server, session: botocore.session.Session, service: Service, operation: str, sent: bytes
    ) -> None:
        server.answers = [sent, sent]

        # botocore looks for the tables of a batch.
        parameters: dict[str, Any] = {"RequestItems": {}} if "batch" in operation else {}

        ours = getattr(light(server.url, service), operation)(**parameters)
        theirs = getattr(heavy(session, server.url, service), operation)(**parameters)

        assert {name: value for name, value in theirs.items() if name != "ResponseMetadata"} == ours

    @pytest.mark.parametrize(("service", "operation", "sent"), REFUSALS)
    def test_raises_what_botocore_raises(
        self, server: Server, session: botocore.session.Session, service: Service, operation: str, sent: bytes
    ) -> None:
        server.answers = [sent, sent]

        with pytest.raises(ClientError) as ours:
            getattr(light(server.url, service, attempts=1), operation)()
        with pytest.raises(ClientError) as theirs:
            getattr(heavy(session, server.url, service), operation)()

        response: dict[str, Any] = dict(theirs.value.response)
        assert ours.value.response["Error"] == response["Error"]
        assert (
            ours.value.response["ResponseMetadata"]["HTTPStatusCode"] == response["ResponseMetadata"]["HTTPStatusCode"]
        )
        for name in ("Item", "CancellationReasons"):
            assert ours.value.response.get(name) == response.get(name)
        assert ours.value.operation_name == theirs.value.operation_name

    def test_sends_what_botocore_sends(self, server: Server, session: botocore.session.Session) -> None:
        server.answers = [answer({})] * 2
        wanted = {"TableName": "jobs", "Item": {"pk": {"S": "Übung"}, "packed": {"B": b"\x00\xff"}, "n": {"N": "1"}}}

        light(server.url).put_item(**wanted)
        heavy(session, server.url, DYNAMODB).put_item(**wanted)

        ours, theirs = server.asked
        assert json.loads(ours.body) == json.loads(theirs.body)
        for name in ("content-type", "x-amz-target", "host"):
            assert ours.headers[name] == theirs.headers[name]

    def test_tells_lambda_which_request_it_belongs_to(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        server.answers = [answer({})]
        monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "worker")
        monkeypatch.setenv("_X_AMZN_TRACE_ID", "Root=1-5759e988-bd862e3fe1be46a994272793;Lineage=a:1")

        light(server.url, SQS).send_message()

        assert server.asked[0].headers["x-amzn-trace-id"] == "Root=1-5759e988-bd862e3fe1be46a994272793;Lineage=a:1"

    def test_is_none_where_the_service_has_no_such_operation(self) -> None:
        with pytest.raises(AttributeError, match="no operation 'put_itme' of dynamodb"):
            light("http://127.0.0.1:1").put_itme()


class TestTries:
    @pytest.mark.parametrize(
        "first",
        [
            refusal("ThrottlingException"),
            refusal("ProvisionedThroughputExceededException"),
            refusal("TransactionInProgressException"),
            refusal("InternalServerError", "500 Internal Server Error"),
            answer(b"<html>", "503 Service Unavailable"),
            answer(b'{"Item": {"pk"'),
            None,
        ],
    )
    def test_are_repeated_where_another_may_succeed(self, server: Server, first: bytes | None) -> None:
        server.answers = [first, answer({"Item": ITEM})]

        assert light(server.url).get_item()["Item"] == ITEM
        assert server.asked[0].body == server.asked[1].body

    @pytest.mark.parametrize(
        "code", ["ConditionalCheckFailedException", "TransactionCanceledException", "ValidationException"]
    )
    def test_are_not_repeated_where_it_cannot(self, server: Server, code: str) -> None:
        server.answers = [refusal(code)]

        with pytest.raises(ClientError, match=code):
            light(server.url).put_item()

        assert len(server.asked) == 1

    def test_end_after_the_last(self, server: Server) -> None:
        server.answers = [None] * 3

        with pytest.raises(ConnectionClosedError):
            light(server.url, attempts=3).put_item()

        assert len(server.asked) == 3

    def test_end_sooner_while_a_service_is_out_for_long(self, server: Server) -> None:
        server.answers = [refusal("ThrottlingException")] * 400
        client = light(server.url)
        for _ in range(60):
            with pytest.raises(ClientError):
                client.put_item()

        # 500 tokens, of which a retry takes five.
        assert len(server.asked) == 60 + 100

    def test_are_short_where_nothing_listens(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            url = f"http://127.0.0.1:{taken.getsockname()[1]}"

        with pytest.raises(EndpointConnectionError):
            light(url).put_item()

    def test_do_not_wait_for_longer_than_they_may(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(ReadTimeoutError):
            light(f"http://127.0.0.1:{silent.getsockname()[1]}", attempts=1, read_seconds=0.05).put_item()


class TestAConnection:
    def test_serves_many_calls(self, server: Server) -> None:
        server.answers = [answer({})] * 5
        client = light(server.url)
        for _ in range(5):
            client.get_item()

        assert server.connections == 1

    @pytest.mark.parametrize("last", [answer({}, Connection="close"), answer({}, X_Then="closes")])
    def test_is_a_new_one_after_the_server_has_closed_it(self, server: Server, last: bytes) -> None:
        server.answers = [last, answer({"Item": ITEM})]
        client = light(server.url, attempts=1)
        client.get_item()
        assert server.closed.wait(10)

        assert client.get_item()["Item"] == ITEM
        assert server.connections == 2

    def test_is_opened_anew_where_all_that_are_kept_have_died_unannounced(
        self, server: Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # As after a freeze of the function, in which the servers' ends of connections were lost.
        monkeypatch.setattr(connections, "_is_readable", lambda _: False)
        server.answers = [answer({"Item": ITEM})]
        client = light(server.url, attempts=2)
        for _ in range(5):
            kept = client._connections._opened()
            kept.sock.shutdown(socket.SHUT_RDWR)
            client._connections._idle.append(kept)

        assert client.get_item()["Item"] == ITEM

    @pytest.mark.parametrize("body", [b'"down"', b"[1]", b"7"])
    def test_is_kept_after_an_answer_of_something_in_between(self, server: Server, body: bytes) -> None:
        server.answers = [answer(body, "503 Service Unavailable")]

        with pytest.raises(ClientError) as raised:
            light(server.url, attempts=1).get_item()

        assert raised.value.response["Error"] == {"Message": "Service Unavailable", "Code": "503"}

    def test_is_kept_after_a_refusal(self, server: Server) -> None:
        server.answers = [refusal("ValidationException"), answer({"Item": ITEM})]
        client = light(server.url, attempts=1)
        with pytest.raises(ClientError):
            client.get_item()

        assert client.get_item()["Item"] == ITEM
        assert server.connections == 1

    def test_belongs_to_one_thread_at_a_time(self, server: Server) -> None:
        server.answers = [answer({"Item": {"n": {"N": str(number)}}}) for number in range(200)]
        client = light(server.url)
        with ThreadPoolExecutor(16) as threads:
            found = [item["Item"]["n"]["N"] for item in threads.map(lambda _: client.get_item(), range(200))]

        assert sorted(found, key=int) == [str(number) for number in range(200)]
        assert server.connections <= 16

    def test_is_encrypted_to_a_server_that_is_trusted(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(connections, "TRUSTED", tmp_path / "server.pem")
        with tls_server(tmp_path, answer({"Item": ITEM})) as port:
            assert light(f"https://localhost:{port}", attempts=1).get_item()["Item"] == ITEM

    def test_is_refused_to_a_server_that_is_not_trusted(self, tmp_path: Path) -> None:
        with tls_server(tmp_path) as port, pytest.raises(SSLError, match="self-signed certificate"):
            light(f"https://localhost:{port}", attempts=1).get_item()

    def test_is_refused_to_a_server_of_another_name(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(connections, "TRUSTED", tmp_path / "server.pem")
        with tls_server(tmp_path) as port, pytest.raises(SSLError, match="IP address mismatch"):
            light(f"https://127.0.0.1:{port}", attempts=1).get_item()


@contextmanager
def tls_server(folder: Path, sent: bytes = b"") -> Iterator[int]:
    """The port of a server that answers once; its certificate, for localhost, is signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    public = key.public_key()
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(public)
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(days=1))
    for extension in (
        x509.SubjectAlternativeName([x509.DNSName("localhost")]),
        x509.BasicConstraints(ca=True, path_length=None),
        x509.SubjectKeyIdentifier.from_public_key(public),
        x509.AuthorityKeyIdentifier.from_issuer_public_key(public),
    ):
        builder = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
    certificate = builder.not_valid_after(now + timedelta(days=1)).sign(key, hashes.SHA256())
    pem = serialization.Encoding.PEM
    plain = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "server.pem").write_bytes(certificate.public_bytes(pem) + plain)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")

    def serve(listening: socket.socket) -> None:
        connection, _ = listening.accept()
        with connection, suppress(OSError), context.wrap_socket(connection, server_side=True) as secure:
            asked = b""
            while not asked.endswith(b"\r\n\r\n{}"):
                asked += secure.recv(65536)
            secure.sendall(sent)

    with socket.create_server(("localhost", 0)) as listening:
        thread = threading.Thread(target=serve, args=(listening,))
        thread.start()
        yield listening.getsockname()[1]
        thread.join(10)
