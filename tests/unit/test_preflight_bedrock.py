"""What `make preflight` and `make deploy` say of a model of Bedrock: by signed requests that a fake of AWS checks."""

from collections.abc import Iterator
from datetime import date
from typing import Any

import boto3
import pytest
from botocore.credentials import Credentials

from local.deploy_check import DeployCheckError, check_model
from local.errors import SettingsError
from local.model_report import Report
from local.preflight import target_of, target_of_stack
from local.preflight_bedrock import BedrockTarget, preflight
from tests.fake_model import bedrock
from tests.fake_model.bedrock import FOUNDATION, PROFILE, REGION, BedrockServer
from tests.fake_model.signatures import Signatures, aws_refusal
from tests.unit.test_preflight import Session

TODAY = date(2026, 11, 29)


@pytest.fixture
def server(aws: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[BedrockServer]:
    """Bedrock's control plane; all else of AWS is moto's."""
    signatures = Signatures(REGION)
    found = boto3.Session().get_credentials()
    assert found is not None
    signatures.accept(Credentials(found.access_key, found.secret_key, found.token))
    with BedrockServer(signatures) as running:
        monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK", running.base_url.removesuffix("/openai/v1"))
        yield running


def look(model: str = PROFILE) -> Report:
    return preflight(BedrockTarget(model, "", boto3.Session(region_name=REGION)), TODAY)


class TestTheReport:
    def test_says_where_the_model_is_who_asked_and_that_the_account_may_use_it(self, server: BedrockServer) -> None:
        report = look()

        assert (report.warnings, report.failures) == ((), ())
        has, leads, access, asked = report.facts
        assert has == f"Bedrock in us-east-1 has {PROFILE}, and names no shutdown date."
        assert leads == f"{PROFILE} leads to {FOUNDATION} in us-east-1."
        assert access == f"The account has access to {FOUNDATION}."
        assert asked.startswith("Asked as arn:aws:")
        assert server.unsigned == []

    def test_warns_of_an_end_that_is_near_and_of_a_missing_price(self, server: BedrockServer) -> None:
        server.profiles["apac.openai.gpt-6-luna"] = FOUNDATION
        server.ends = {FOUNDATION: "2026-12-24T00:00:00Z"}

        report = look("apac.openai.gpt-6-luna")

        ending, price = report.warnings
        assert ending == (
            "apac.openai.gpt-6-luna will be shut down on 2026-12-24, in 25 days: move to another, and compare its "
            "answers first: jobchain replay --last 50 --model OTHER --max-cost-usd 1"
        )
        assert price.startswith("prices.json has no price for apac.openai.gpt-6-luna")

    def test_names_the_nearest_of_an_unknown_model(self, server: BedrockServer) -> None:
        (failure,) = look("us.openai.gpt-6-lunar").failures

        assert failure == (
            "Bedrock in us-east-1 knows no model or inference profile us.openai.gpt-6-lunar; the nearest that it has: "
            f"{PROFILE}, {FOUNDATION}"
        )

    @pytest.mark.parametrize(
        ("said", "words"),
        [
            ({"regionAvailability": "NOT_AVAILABLE"}, "does not offer"),
            ({"authorizationStatus": "NOT_AUTHORIZED"}, "bedrock:InvokeModel is not allowed"),
            ({"entitlementAvailability": "NOT_AVAILABLE"}, "aws-marketplace:Subscribe"),
            ({"agreementAvailability": {"status": "NOT_AVAILABLE"}}, "has no access"),
        ],
    )
    def test_fails_in_words_where_the_account_has_no_access(
        self, server: BedrockServer, monkeypatch: pytest.MonkeyPatch, said: dict[str, Any], words: str
    ) -> None:
        monkeypatch.setattr(bedrock, "AVAILABLE", {**bedrock.AVAILABLE, **said})

        (failure,) = look().failures

        assert words in failure

    def test_fails_where_a_model_is_asked_that_only_profiles_lead_to(
        self, server: BedrockServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(server, "inference_types", ["INFERENCE_PROFILE"])

        assert look(FOUNDATION).failures == (
            f"{FOUNDATION} can be asked by an inference profile alone, such as {PROFILE}",
        )

    def test_fails_where_bedrock_does_not_tell(self, server: BedrockServer, monkeypatch: pytest.MonkeyPatch) -> None:
        no = "User: arn:aws:iam::1:user/me is not authorized to perform: bedrock:GetInferenceProfile"
        monkeypatch.setattr(server, "about", lambda _: aws_refusal(403, "AccessDeniedException", no))

        (failure,) = look().failures

        assert failure.startswith(f"Bedrock in us-east-1 does not tell about {PROFILE}: ")
        assert "bedrock:GetInferenceProfile" in failure


class TestTheTarget:
    def test_is_bedrock_where_the_settings_say_so(self, aws: None) -> None:
        target = target_of({"MODEL_PROVIDER": "bedrock", "OPENAI_MODEL": PROFILE, "OPENAI_API_KEY": "sk-unused"})

        assert target == BedrockTarget(PROFILE, "", None)

    def test_is_bedrock_where_the_stack_says_so_and_no_secret_is_read(self) -> None:
        class NoSecret(Session):
            def get_secret_value(self, SecretId: str) -> Any:  # noqa: N803
                raise AssertionError(SecretId)

        session = NoSecret(ModelProvider="bedrock", OpenAIModel=PROFILE)

        assert target_of_stack(session, "jobchain", {}) == BedrockTarget(PROFILE, "", None)
        assert target_of_stack(session, "jobchain", {"OPENAI_MODEL": "x"}) == BedrockTarget("x", "", None)

    @pytest.mark.parametrize(
        ("url", "region"), [("", ""), ("https://bedrock-mantle.us-east-1.api.aws/openai/v1", "us-east-1")]
    )
    def test_is_refused_where_no_call_could_be_made(self, url: str, region: str) -> None:
        class Here:
            region_name = region

        with pytest.raises(SettingsError):
            preflight(BedrockTarget(PROFILE, url, Here()), TODAY)


PARAMETERS = {
    "ModelProvider": "bedrock",
    "OpenAISecretName": "jobchain/key",
    "OpenAIModel": PROFILE,
    "OpenAIBaseUrl": "",
}


class TestADeployment:
    def test_needs_no_secret(self, server: BedrockServer) -> None:
        report = check_model(boto3.Session(region_name=REGION), PARAMETERS)

        assert (report.warnings, report.failures) == ((), ())

    def test_is_stopped_by_a_url_that_can_not_work(self, server: BedrockServer) -> None:
        parameters = {**PARAMETERS, "OpenAIBaseUrl": "https://bedrock-mantle.us-east-1.api.aws/openai/v1"}

        with pytest.raises(DeployCheckError, match="other permissions"):
            check_model(boto3.Session(region_name=REGION), parameters)
