"""Calls of Bedrock: signed with the credentials of the role, by the worker's own code, and checked as AWS does."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from datetime import date, timedelta
from importlib.metadata import requires
from typing import Any, TypeVar

import pytest
from botocore.credentials import Credentials
from packaging.requirements import Requirement

from jobchain.aws.calling import Patience
from jobchain.breaker import Scope, scope_of
from jobchain.errors import ModelError, ModelSettingsError, PermanentModelError, TransientModelError, UnknownModel
from jobchain.llm import LLM, AnswerText, ModelRequest
from jobchain_worker.model_end import find_model_end
from jobchain_worker.openai_llm import OpenAILLM
from jobchain_worker.worker_settings import WorkerSettings, create_llm, model_account
from tests.conftest import ROOT
from tests.fake_model.bedrock import FOUNDATION, PROFILE, REGION, BedrockServer
from tests.fake_model.replies import Reply, json_reply
from tests.fake_model.signatures import Signatures, aws_refusal
from tests.shipped import SummaryAnswer

T = TypeVar("T")

FIRST = Credentials("ASIAFIRSTEXAMPLE1234", "first-secret", "IQoJfirst/token+of+the+role==")
SECOND = Credentials("ASIASECONDEXAMPLE123", "second-secret", "IQoJsecond/token+of+the+role==")
REQUEST = ModelRequest("You summarize.", "the text of job-1", SummaryAnswer)
LIMIT = timedelta(seconds=30)
PATIENCE = Patience(connect_seconds=2, read_seconds=5, attempts=4)


@pytest.fixture
def server() -> Iterator[BedrockServer]:
    signatures = Signatures(REGION)
    signatures.accept(FIRST)
    with BedrockServer(signatures) as running:
        yield running


@pytest.fixture(autouse=True)
def role(monkeypatch: pytest.MonkeyPatch) -> Callable[[Credentials], None]:
    """Gives the function's process the credentials of its role, as Lambda does; at first the first ones."""

    def give(credentials: Credentials) -> None:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", credentials.access_key)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", credentials.secret_key)
        monkeypatch.setenv("AWS_SESSION_TOKEN", credentials.token or "")

    # It would be sent in place of a signature.
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", "a-token-of-the-environment")
    give(FIRST)
    return give


def take_away_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a function starts from a snapshot: a server of its environment gives the credentials, and it is down."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1:1/")
    monkeypatch.setattr("botocore.utils.ContainerMetadataFetcher.SLEEP_TIME", 0)


def settings_for(server: BedrockServer, **changes: Any) -> WorkerSettings:
    settings = WorkerSettings(
        table_name="t",
        queue_url="q",
        flex_queue_url="f",
        webhook_queue_url="w",
        openai_model=PROFILE,
        first_backoff_seconds=1,
        model_timeout_seconds=30,
        max_input_tokens=8_000,
        openai_base_url=server.base_url,
        model_provider="bedrock",
        aws_default_region=REGION,
    )
    return replace(settings, **changes)


def model_of(server: BedrockServer, **changes: Any) -> LLM:
    return create_llm(settings_for(server, **changes), PATIENCE)


async def ask_times(llm: LLM, times: int) -> list[Any]:
    return await asyncio.gather(*(llm.ask(REQUEST) for _ in range(times)), return_exceptions=True)


def run(llm: LLM, calls: Callable[[LLM], Awaitable[T]]) -> T:
    """What the calls give, by a client that is closed after them."""

    async def all_of_them() -> T:
        try:
            return await calls(llm)
        finally:
            if isinstance(llm, OpenAILLM):
                await llm._client.close()

    return asyncio.run(all_of_them())


def ask(llm: LLM) -> Any:
    return run(llm, lambda model: model.ask(REQUEST))


def refused(server: BedrockServer, reply: Reply | None = None) -> ModelError:
    """The error of a call that is answered so."""
    if reply is not None:
        server.rule = lambda _: reply
    with pytest.raises(ModelError) as caught:
        ask(model_of(server))
    return caught.value


class TestASignedCall:
    def test_is_answered_and_needs_no_key_and_no_token(self, server: BedrockServer) -> None:
        answer = ask(model_of(server))

        assert isinstance(answer, AnswerText)
        assert "job-1" in answer.text
        assert answer.model == PROFILE, "prices are by what is asked, whatever name the answer has"
        assert (server.unsigned, server.paths) == ([], ["/openai/v1/responses"])

    def test_asks_for_no_number_of_tokens_which_bedrock_does_not_tell(self, server: BedrockServer) -> None:
        assert run(model_of(server), lambda llm: llm.count_tokens("a text")) is None
        assert server.paths == []

    @pytest.mark.parametrize("api", ["responses", "chat"])
    def test_may_use_either_api(self, server: BedrockServer, api: Any) -> None:
        server.offline = True

        assert isinstance(ask(model_of(server, openai_api=api)), AnswerText)

    def test_is_refused_where_the_secret_is_wrong_and_its_report_holds_no_token(self, server: BedrockServer) -> None:
        server.signatures.accept(Credentials(FIRST.access_key, "another-secret", FIRST.token))

        error = refused(server)

        assert isinstance(error, PermanentModelError)
        assert (error.type, scope_of(error.type)) == ("model_unauthorized", Scope.KEY)
        assert error.report.code == "InvalidSignatureException"
        assert error.report.cause
        assert "Canonical String" in error.report.cause
        for secret in (str(FIRST.token), FIRST.access_key, "first-secret"):
            assert secret not in f"{error.report}{error}"

    @pytest.mark.parametrize("region", ["eu-central-1", "us-west-2"])
    def test_is_refused_by_another_region_than_the_one_that_it_is_signed_for(
        self, server: BedrockServer, region: str
    ) -> None:
        server.signatures.region = region

        assert refused(server).type == "model_unauthorized"

    def test_waits_for_the_settings_where_the_function_has_no_credentials(
        self, server: BedrockServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
            monkeypatch.delenv(name)
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")

        error = refused(server)

        assert isinstance(error, ModelSettingsError)
        assert "worker's role" in str(error)
        assert (server.paths, error.report.maybe_billed) == ([], False)

    def test_is_tried_again_where_the_credentials_can_not_be_read(
        self, server: BedrockServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        take_away_credentials(monkeypatch)

        error = refused(server)

        assert isinstance(error, TransientModelError)
        assert (error.type, error.report.maybe_billed, server.paths) == ("credentials_unreadable", False, [])


class TestCredentials:
    def test_that_expired_are_read_anew_once_and_every_call_is_made_again(
        self, server: BedrockServer, role: Callable[[Credentials], None]
    ) -> None:
        async def over_the_end(llm: LLM) -> list[Any]:
            before = await ask_times(llm, 1)
            role(SECOND)
            server.signatures.accept(SECOND)
            server.signatures.expired.add(FIRST.access_key)
            return [*before, *await ask_times(llm, 5), *await ask_times(llm, 1)]

        answers = run(model_of(server), over_the_end)

        assert all(isinstance(answer, AnswerText) for answer in answers)
        assert {reply.name for reply in server.unsigned} == {"ExpiredTokenException"}
        assert len(server.paths) == 7 + len(server.unsigned)
        assert len(server.unsigned) <= 5, "the last call is signed with the new ones at once"

    def test_that_expired_and_can_not_be_read_anew_have_the_call_tried_later(
        self, server: BedrockServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def over_the_end(llm: LLM) -> list[Any]:
            before = await ask_times(llm, 1)
            server.signatures.expired.add(FIRST.access_key)
            take_away_credentials(monkeypatch)
            return [*before, *await ask_times(llm, 1)]

        _, error = run(model_of(server), over_the_end)

        assert isinstance(error, TransientModelError)
        assert error.type == "credentials_unreadable"

    def test_that_expired_without_others_are_the_accounts_fault(self, server: BedrockServer) -> None:
        server.signatures.expired.add(FIRST.access_key)

        error = refused(server)

        assert (error.type, error.report.code) == ("model_unauthorized", "ExpiredTokenException")
        assert len(server.unsigned) == 1, "the same credentials are not tried twice"


def said(status: int, exception: str, message: str = "no") -> Reply:
    return aws_refusal(status, exception, message)


def in_openai_form(status: int, type_: str, message: str = "no") -> Reply:
    return json_reply(type_, {"error": {"message": message, "type": type_, "code": str(status)}}, status)


NO_ACTION = (
    "User: arn:aws:sts::123456789012:assumed-role/worker/w is not authorized to perform: bedrock:InvokeModel on "
    "resource: arn:aws:bedrock:us-east-1:123456789012:project/default"
)


@pytest.mark.parametrize(
    ("reply", "type_", "scope"),
    [
        (said(403, "AccessDeniedException", NO_ACTION), "model_forbidden", Scope.MODEL),
        (said(403, "AccessDeniedException", "You don't have access to the model."), "model_forbidden", Scope.MODEL),
        # The API in OpenAI's form answers 401 where IAM refuses.
        (in_openai_form(401, "authentication_error", NO_ACTION), "model_forbidden", Scope.MODEL),
        (json_reply("IAM", {"Message": NO_ACTION}, 403), "model_forbidden", Scope.MODEL),
        (said(400, "ValidationException", "Operation not allowed"), "model_forbidden", Scope.MODEL),
        (said(403, "UnrecognizedClientException"), "model_unauthorized", Scope.KEY),
        (said(403, "InvalidSignatureException"), "model_unauthorized", Scope.KEY),
        (said(404, "ResourceNotFoundException"), "model_not_found", Scope.MODEL),
        (said(400, "ValidationException", "The provided model identifier is invalid."), "model_not_found", Scope.MODEL),
        (
            said(400, "ValidationException", "Invocation of model ID x with on-demand throughput isn’t supported."),
            "model_not_found",
            Scope.MODEL,
        ),
        (
            in_openai_form(400, "validation_error", "The model 'x' does not support the '/openai/v1/responses' API"),
            "model_not_found",
            Scope.MODEL,
        ),
        (said(404, "UnknownOperationException"), "model_misconfigured", Scope.KEY),
        (said(400, "ValidationException", "Input is too long for requested model."), "text_too_long", None),
        (said(400, "ValidationException", "text.format is not well formed"), "model_request_refused", None),
    ],
)
def test_a_refusal_of_aws_is_what_it_says(server: BedrockServer, reply: Reply, type_: str, scope: Scope | None) -> None:
    error = refused(server, reply)

    assert isinstance(error, PermanentModelError)
    assert (error.type, scope_of(error.type)) == (type_, scope)


@pytest.mark.parametrize(
    ("reply", "type_"),
    [
        (said(429, "ThrottlingException", "Too many tokens, please wait before trying again."), "rate_limited"),
        (said(400, "ThrottlingException", "Too many requests"), "rate_limited"),
        (said(400, "ServiceQuotaExceededException"), "rate_limited"),
        (said(429, "ModelNotReadyException"), "overloaded"),
        (said(503, "ServiceUnavailableException"), "overloaded"),
        (said(408, "ModelTimeoutException"), "timeout"),
        (said(424, "ModelErrorException"), "server_error"),
        (said(500, "InternalServerException"), "server_error"),
        (in_openai_form(429, "ThrottlingException:http://internal.amazon.com/coral/"), "rate_limited"),
        (json_reply("namespaced", {"__type": "com.amazon.coral.service#ThrottlingException"}, 400), "rate_limited"),
    ],
)
def test_what_passes_by_itself_is_tried_again(server: BedrockServer, reply: Reply, type_: str) -> None:
    error = refused(server, reply)

    assert isinstance(error, TransientModelError)
    assert error.type == type_


class TestTheModelsEnd:
    def found(self, server: BedrockServer, model: str = PROFILE) -> date | None:
        settings = settings_for(server, openai_model=model)
        return asyncio.run(find_model_end(settings, PATIENCE, LIMIT))

    @pytest.mark.parametrize("model", [PROFILE, FOUNDATION])
    def test_is_its_end_of_life_by_the_signed_word_of_the_control_plane(
        self, server: BedrockServer, model: str
    ) -> None:
        server.ends = {FOUNDATION: "2027-03-01T00:00:00Z"}

        assert self.found(server, model) == date(2027, 3, 1)
        assert server.unsigned == []

    def test_is_unknown_where_none_is_announced(self, server: BedrockServer) -> None:
        assert self.found(server) is None

    def test_is_not_asked_for_a_model_that_there_is_not(self, server: BedrockServer) -> None:
        with pytest.raises(UnknownModel):
            self.found(server, "us.openai.gpt-7")

    def test_is_not_told_to_a_role_that_may_not_know(self, server: BedrockServer) -> None:
        server.signatures.accepted.clear()

        with pytest.raises(PermanentModelError, match="403") as caught:
            self.found(server)
        assert caught.value.type == "model_unauthorized"


class TestTheAccount:
    def test_is_of_the_endpoint_and_the_model_and_of_no_secret(self, server: BedrockServer) -> None:
        settings = settings_for(server, openai_base_url=None, openai_secret_name="jobchain/openai-api-key")

        account = model_account(settings)

        assert (account.host, account.secret_name, account.model) == (
            "bedrock-runtime.us-east-1.amazonaws.com",
            "",
            PROFILE,
        )

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"aws_default_region": "", "openai_base_url": None}, "Bedrock needs one such as us-east-1"),
            ({"openai_base_url": "https://bedrock-mantle.us-east-1.api.aws/openai/v1"}, "other permissions"),
            ({"openai_base_url": "bedrock-runtime.us-east-1.amazonaws.com"}, "it has no scheme"),
        ],
    )
    def test_of_settings_that_can_not_work_has_jobs_wait(
        self, server: BedrockServer, changes: dict[str, Any], words: str
    ) -> None:
        llm = model_of(server, **changes)

        with pytest.raises(ModelSettingsError, match=re.escape(words)):
            ask(llm)


def test_the_layer_has_what_the_extra_of_the_sdk_needs() -> None:
    # The worker's own requirements name the SDK without it: botocore would be in the function a second time.
    locked = dict(
        re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / "layers/common/requirements.txt").read_text(), re.MULTILINE)
    )

    needed = [Requirement(line) for line in requires("openai") or () if re.search(r"extra == .bedrock", line)]

    assert {requirement.name for requirement in needed} == {"botocore", "urllib3"}
    assert all(requirement.specifier.contains(locked[requirement.name]) for requirement in needed)
