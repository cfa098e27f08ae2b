"""A key that was rotated: the call that finds out is made again, and no job fails."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import boto3
import botocore
import httpx2
import pytest

from jobchain.aws.calling import Patience
from jobchain.aws.json_client import JsonClient
from jobchain.breaker import scope_of
from jobchain.errors import ModelError, ModelSettingsError, TransientModelError
from jobchain.llm import AnswerText, ModelAnswer, ModelRequest
from jobchain_worker.api_key import ApiKey, FixedKey, SecretKey
from jobchain_worker.openai_calls import create_client
from jobchain_worker.openai_llm import OpenAILLM
from jobchain_worker.secret import Secret
from tests.fake_model.replies import MODEL, Reply, answer, json_reply, refused
from tests.fake_model.transport import ModelTransport
from tests.fakes import silence
from tests.shipped import SummaryAnswer

NAME = "jobchain/key"
REQUEST = ModelRequest("You summarize.", "a text", SummaryAnswer)
LIMIT = timedelta(seconds=30)


class CountedSecret(Secret):
    """Counts how often the secret is fetched."""

    fetched = 0

    def read(self) -> str:
        self.fetched += time.monotonic() >= self._cached_until
        return super().read()


@pytest.fixture
def secret(aws: None, monkeypatch: pytest.MonkeyPatch) -> CountedSecret:
    # With certificates of one's own the client is botocore's, which moto answers.
    monkeypatch.setenv("AWS_CA_BUNDLE", str(Path(botocore.__file__).with_name("cacert.pem")))
    boto3.client("secretsmanager").create_secret(Name=NAME, SecretString="sk-first-key")
    return CountedSecret(NAME, Patience(1, 1, 1), max_age_seconds=300)


def rotate(key: str) -> None:
    boto3.client("secretsmanager").put_secret_value(SecretId=NAME, SecretString=key)


class Server:
    """Answers calls that carry `accepted`, and refuses all others."""

    def __init__(self, accepted: str, refusal: Reply) -> None:
        self.accepted = accepted
        self.refusal = refusal
        self.transport = ModelTransport(self._choose)

    def _choose(self, request: httpx2.Request) -> Reply:
        return answer("{}") if request.headers["Authorization"] == f"Bearer {self.accepted}" else self.refusal

    @property
    def keys(self) -> list[str]:
        return [request.headers["Authorization"].removeprefix("Bearer ") for request in self.transport.requests]

    def ask(
        self, key: ApiKey, times: int = 1, between: Callable[[], Any] = lambda: None
    ) -> list[ModelAnswer | BaseException]:
        """The answers to calls made at once, after a first one that is followed by what happens `between`."""

        async def call() -> list[ModelAnswer | BaseException]:
            async with httpx2.AsyncClient(transport=self.transport) as http_client:
                client = create_client("https://models.example.com/v1", key.read, LIMIT, http_client)
                llm = OpenAILLM(client, MODEL, LIMIT, 500, key=key)
                first = await asyncio.gather(llm.ask(REQUEST), return_exceptions=True)
                await asyncio.to_thread(between)
                return [
                    *first,
                    *await asyncio.gather(*(llm.ask(REQUEST) for _ in range(times)), return_exceptions=True),
                ]

        return asyncio.run(call())


UNAUTHORIZED = refused(401, "invalid_api_key")


@pytest.mark.parametrize(
    "refusal",
    [
        UNAUTHORIZED,
        json_reply("refused", {"error": {"code": 400, "message": "API key not valid. Pass a valid one."}}, 400),
    ],
    ids=["401", "400 of Gemini"],
)
def test_ten_calls_that_are_refused_together_read_the_rotated_key_once_and_are_answered(
    secret: CountedSecret, refusal: Reply
) -> None:
    server = Server("sk-first-key", refusal)

    def rotated() -> None:
        rotate("sk-second-key")
        server.accepted = "sk-second-key"

    answers = server.ask(SecretKey(secret, NAME), 10, rotated)

    assert all(isinstance(found, AnswerText) for found in answers)
    assert sorted(server.keys) == ["sk-first-key"] * 11 + ["sk-second-key"] * 10
    assert secret.fetched == 2


def test_a_key_that_has_not_changed_is_read_again_once_and_the_call_is_not_repeated(secret: CountedSecret) -> None:
    server = Server("sk-other-key", UNAUTHORIZED)

    answers = server.ask(SecretKey(secret, NAME), 10)

    assert {found.type for found in answers if isinstance(found, ModelError)} == {"model_unauthorized"}
    assert server.keys == ["sk-first-key"] * 11
    assert secret.fetched == 3, "once for the first call, and once for each round of refusals"


def test_a_key_of_the_environment_is_not_read_again() -> None:
    server = Server("sk-other-key", UNAUTHORIZED)

    (found, _) = server.ask(FixedKey("sk-first-key"))

    assert isinstance(found, ModelError)
    assert found.type == "model_unauthorized"
    assert len(server.keys) == 2


def test_other_refusals_leave_the_key_alone(secret: CountedSecret) -> None:
    for status in (400, 403, 404, 429, 500):
        Server("sk-other-key", refused(status)).ask(SecretKey(secret, NAME))

    assert secret.fetched == 1


def test_a_secret_that_can_not_be_read_again_passes_by_waiting(secret: CountedSecret) -> None:
    server = Server("sk-other-key", UNAUTHORIZED)

    _, found = server.ask(SecretKey(secret, NAME), 1, lambda: silence(secret._client))

    assert isinstance(found, TransientModelError)
    assert (found.type, found.report.maybe_billed) == ("secret_unreadable", False)
    assert json.dumps(str(found)) == "\"the model's API key can't be read from Secrets Manager\""


def test_a_secret_that_the_worker_may_not_read_opens_the_breaker(secret: CountedSecret) -> None:
    server = Server("sk-other-key", UNAUTHORIZED)
    gone = lambda: boto3.client("secretsmanager").delete_secret(SecretId=NAME, ForceDeleteWithoutRecovery=True)  # noqa: E731

    _, found = server.ask(SecretKey(secret, NAME), 1, gone)

    assert isinstance(found, ModelSettingsError)
    assert scope_of(found.type) is not None


class SecretsManager(BaseHTTPRequestHandler):
    """Answers as the service does, for one secret."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        signed_for = "/secretsmanager/aws4_request" in self.headers["Authorization"]
        known = asked == {"SecretId": NAME} and self.headers["X-Amz-Target"] == "secretsmanager.GetSecretValue"
        kind = self.headers["Content-Type"] == "application/x-amz-json-1.1"
        if signed_for and known and kind:
            self._send(200, {"Name": NAME, "SecretString": "sk-first-key"})
        else:
            self._send(400, {"__type": "ResourceNotFoundException", "Message": "can't find the specified secret."})

    def _send(self, status: int, content: dict[str, str]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def secrets_manager(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Secrets Manager, over HTTP, in an environment as Lambda has it."""
    with HTTPServer(("127.0.0.1", 0), SecretsManager) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        for name in ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"):
            monkeypatch.delenv(name, raising=False)
        yield url
        server.shutdown()


def test_the_secret_is_read_without_botocores_client(secrets_manager: str) -> None:
    # Given Secrets Manager, and no certificates or proxies that only botocore knows
    secret = Secret(NAME, Patience(1, 1, 1), max_age_seconds=300)

    # When the key is read
    found = asyncio.run(SecretKey(secret, NAME).read())

    # Then it is the stored one, and the client is the light one
    assert (found, type(secret._client)) == ("sk-first-key", JsonClient)


def test_a_secret_that_the_light_client_does_not_find_opens_the_breaker(secrets_manager: str) -> None:
    # Given a name that no secret has
    key = SecretKey(Secret("other", Patience(1, 1, 1), max_age_seconds=300), "other")

    # When it is read
    with pytest.raises(ModelSettingsError, match="the secret other can't be read") as caught:
        asyncio.run(key.read())

    # Then jobs wait for the operator
    assert scope_of(caught.value.type) is not None


def test_secrets_manager_may_have_an_endpoint_of_its_own(secrets_manager: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given an endpoint for Secrets Manager alone, by the name that botocore has for it
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", secrets_manager)

    # When the key is read
    found = Secret(NAME, Patience(1, 1, 1), max_age_seconds=300).read()

    # Then it comes from there
    assert found == "sk-first-key"
