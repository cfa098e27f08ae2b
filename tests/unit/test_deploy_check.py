"""What `make deploy` looks at before it builds."""

import json
import re
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest

from local import deploy_check
from local.deploy_check import DeployCheckError, check_account, check_model, deployment, revision
from local.model_report import Report
from local.preflight import Target
from tests.conftest import ROOT

PARAMETERS = {"OpenAISecretName": "jobchain/key", "OpenAIModel": "gpt-6-luna", "OpenAIBaseUrl": ""}


def write_project(folder: Path, overrides: str) -> None:
    (folder / "template.yaml").write_text(
        "Parameters: {OpenAIModel: {Default: one}, Flag: {Default: 'false'}, Empty: {Default: ''}, Other: {Default: 4}}"
    )
    (folder / "samconfig.toml").write_text(
        f"version = 0.1\n[default.deploy.parameters]\nstack_name = 'mine'\nparameter_overrides = {overrides}\n"
    )


class TestTheDeployment:
    def test_has_the_templates_parameters_with_the_overrides_of_its_environment(self) -> None:
        found = deployment(ROOT, "prod")

        assert found.settings["stack_name"] == "jobchain-prod"
        assert found.parameters["OpenAISecretName"] == "jobchain-prod/openai-api-key"
        assert found.parameters["OpenAIModel"] == "gpt-6-luna"

    @pytest.mark.parametrize("environment", ["default", "prod"])
    def test_pins_no_default(self, environment: str) -> None:
        assert deployment(ROOT, environment).pinned == ()

    @pytest.mark.parametrize(
        "written",
        [
            """'OpenAIModel="two" Flag="true" Empty=""'""",
            """['OpenAIModel=two', 'Flag="true"', 'Empty=']""",
            """['OpenAIModel=two Flag=true', {Empty = ''}]""",
            """{OpenAIModel = 'two', Flag = true, Empty = ''}""",
        ],
    )
    def test_reads_overrides_however_they_are_written(self, tmp_path: Path, written: str) -> None:
        write_project(tmp_path, written)

        found = deployment(tmp_path, "default")

        assert found.parameters == {"OpenAIModel": "two", "Flag": "true", "Empty": "", "Other": "4"}
        assert found.pinned == ("Empty",)

    @pytest.mark.parametrize(
        ("written", "said"),
        [
            ("'OpenAIModle=two'", "sets OpenAIModle: the template has no such parameter"),
            ("'file://parameters.yaml'", "'file://parameters.yaml': write it as Name=value"),
            ("'ParameterKey=OpenAIModel,ParameterValue=two'", "sets ParameterKey: the template has no such parameter"),
            ("'OpenAIModel'", "'OpenAIModel': write it as Name=value"),
            ("[7]", "7: write it as Name=value"),
        ],
    )
    def test_refuses_an_override_that_it_can_not_read(self, tmp_path: Path, written: str, said: str) -> None:
        write_project(tmp_path, written)

        with pytest.raises(DeployCheckError, match=said):
            deployment(tmp_path, "default")

    def test_reads_what_a_guided_deployment_has_written(self, tmp_path: Path) -> None:
        (tmp_path / "template.yaml").write_text(
            "Parameters: {OpenAIModel: {Default: one}, OpenAIBaseUrl: {Default: ''}, X: {Default: !Ref Y}}"
        )
        (tmp_path / "samconfig.toml").write_text(
            "version = 0.1\n[default.global.parameters]\nstack_name = 'mine'\n[default.deploy.parameters]\n"
            """region = "eu-central-1"\nparameter_overrides = 'OpenAIModel="two" OpenAIBaseUrl=""'\n"""
        )

        found = deployment(tmp_path, "default")

        assert found.settings["region"] == "eu-central-1"
        assert (found.parameters["OpenAIModel"], found.parameters["OpenAIBaseUrl"]) == ("two", "")

    @pytest.mark.parametrize("name", ["staging", "version"])
    def test_of_an_environment_that_is_not_there_names_those_that_are(self, name: str) -> None:
        with pytest.raises(DeployCheckError, match=rf"no environment {name}: use one of default, prod"):
            deployment(ROOT, name)


class TestTheAccount:
    def test_is_named_with_the_region(self, aws: None) -> None:
        said = check_account(boto3.Session(region_name="eu-central-1"))

        assert said.startswith("Account 123456789012, region eu-central-1, as arn:")

    def test_without_a_region_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("AWS_DEFAULT_REGION")
        monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")

        with pytest.raises(DeployCheckError, match="no AWS region is set: run `export AWS_DEFAULT_REGION="):
            check_account(boto3.Session())

    def test_without_credentials_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
        for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
            monkeypatch.setenv(name, "/dev/null")

        with pytest.raises(DeployCheckError, match=r"Unable to locate credentials.*aws configure"):
            check_account(boto3.Session(region_name="eu-central-1"))


class TestTheModel:
    def test_without_a_secret_is_refused_with_the_command_that_makes_it(self, aws: None) -> None:
        with pytest.raises(
            DeployCheckError, match="aws secretsmanager create-secret --region us-east-1 --name jobchain/key"
        ):
            check_model(boto3.Session(), PARAMETERS)

    def test_with_an_empty_secret_is_refused(self, aws: None) -> None:
        boto3.client("secretsmanager").create_secret(Name="jobchain/key", SecretString=" \n")

        with pytest.raises(DeployCheckError, match=r"^the secret jobchain/key holds no API key"):
            check_model(boto3.Session(), PARAMETERS)

    @pytest.mark.parametrize(
        ("url", "asked"), [("", "https://api.openai.com/v1"), ("https://m.example/v1", "https://m.example/v1")]
    )
    def test_is_asked_for_with_the_stacks_key_on_the_stacks_server(
        self, aws: None, monkeypatch: pytest.MonkeyPatch, url: str, asked: str
    ) -> None:
        boto3.client("secretsmanager").create_secret(Name="jobchain/key", SecretString="sk-1\n")
        targets: list[Target] = []

        def note(target: Target, today: Any) -> Report:
            targets.append(target)
            return Report(("there",))

        monkeypatch.setattr(deploy_check, "preflight", note)

        assert check_model(boto3.Session(), {**PARAMETERS, "OpenAIBaseUrl": url}).facts == ("there",)
        assert targets == [Target("gpt-6-luna", asked, "sk-1")]


def test_a_refusal_ends_with_an_error_and_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert deploy_check.main(["staging"]) == 1
    assert capsys.readouterr().err.startswith("deploy: samconfig.toml has no environment staging")


def test_what_has_to_be_built_is_what_is_deployed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    shutil.copy(ROOT / "template.yaml", tmp_path)
    (tmp_path / "samconfig.toml").write_text(
        "[default.deploy.parameters]\n"
        'stack_name = "jobchain"\n'
        'parameter_overrides = "Architecture=\\"x86_64\\" LogLevel=INFO"\n'
    )
    monkeypatch.setattr(deploy_check, "ROOT", tmp_path)

    assert deploy_check.main(["default", "--architecture"]) == 0
    assert capsys.readouterr().out == "x86_64\n"


def test_every_parameter_is_written_for_sam(capsys: pytest.CaptureFixture[str]) -> None:
    assert deploy_check.main(["prod", "--parameters"]) == 0

    written = json.loads(capsys.readouterr().out)
    assert {**written, "Revision": "0"} == deployment(ROOT, "prod").parameters
    assert {type(value) for value in written.values()} == {str}


def test_each_deployment_has_a_revision_that_sorts_behind_the_last_one_and_fits(template: dict[str, Any]) -> None:
    first = datetime(2026, 11, 29, 8, tzinfo=UTC)
    names = [revision(first + timedelta(seconds=seconds)) for seconds in (0, 1, 2, 35, 36, 86_400, 10 * 365 * 86_400)]

    assert names == sorted(set(names))
    assert all(re.fullmatch(template["Parameters"]["Revision"]["AllowedPattern"], name) for name in names)


def test_a_revision_that_is_set_by_hand_is_kept(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    shutil.copy(ROOT / "template.yaml", tmp_path)
    (tmp_path / "samconfig.toml").write_text(
        '[default.deploy.parameters]\nstack_name = "jobchain"\nparameter_overrides = "Revision=mine"\n'
    )
    monkeypatch.setattr(deploy_check, "ROOT", tmp_path)

    assert deploy_check.main(["default", "--parameters"]) == 0
    assert json.loads(capsys.readouterr().out)["Revision"] == "mine"


def test_values_that_are_no_more_than_the_defaults_are_warned_of(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    write_project(tmp_path, """'OpenAIModel="one" Flag="true" Empty=""'""")
    monkeypatch.setattr(deploy_check, "ROOT", tmp_path)
    monkeypatch.setattr(deploy_check, "check_account", lambda session: "Account.")
    monkeypatch.setattr(deploy_check, "check_model", lambda session, parameters: Report(("there",)))

    assert deploy_check.main(["default"]) == 0
    assert "warning: samconfig.toml sets OpenAIModel, Empty to the template's defaults" in capsys.readouterr().err


def test_an_environment_without_a_stack_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "samconfig.toml").write_text("[bare]\n")
    monkeypatch.setattr(deploy_check, "ROOT", tmp_path)

    assert deploy_check.main(["bare"]) == 1
    assert "names no stack_name for bare" in capsys.readouterr().err


def test_what_was_deployed_is_to_be_tested(capsys: pytest.CaptureFixture[str]) -> None:
    assert deploy_check.main(["prod", "--next"]) == 0

    assert capsys.readouterr().out == "Test it: .venv/bin/jobchain smoke --stack jobchain-prod\n"
