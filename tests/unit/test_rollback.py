"""`make rollback`: which versions it goes back to, in which order, and when it refuses."""

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from local import rollback
from local.rollback import Live, Move, RollbackError, Stack, deployed_versions, moves_back, moves_to

STACK_ID = "arn:aws:cloudformation:us-east-1:000000000000:stack/jobchain/1f0d"
API, WORKER = "jobchain-ApiFunction-A1", "jobchain-WorkerFunction-B2"


def of_stack(status: str) -> dict[str, str]:
    return {
        "ResourceType": "AWS::CloudFormation::Stack",
        "LogicalResourceId": "jobchain",
        "PhysicalResourceId": STACK_ID,
        "StackId": STACK_ID,
        "ResourceStatus": status,
    }


def of_version(function: str, version: int, status: str = "CREATE_COMPLETE") -> dict[str, str]:
    arn = f"arn:aws:lambda:us-east-1:000000000000:function:{function}:{version}"
    return {
        "ResourceType": "AWS::Lambda::Version",
        "LogicalResourceId": "AnyVersion",
        "PhysicalResourceId": arn,
        "StackId": STACK_ID,
        "ResourceStatus": status,
    }


def deployment(*versions: dict[str, str]) -> list[dict[str, str]]:
    """The events of a deployment that succeeded, the oldest first."""
    return [
        of_stack("UPDATE_IN_PROGRESS"),
        *versions,
        of_stack("UPDATE_COMPLETE_CLEANUP_IN_PROGRESS"),
        of_stack("UPDATE_COMPLETE"),
    ]


def failed_deployment(*versions: dict[str, str]) -> list[dict[str, str]]:
    return [
        of_stack("UPDATE_IN_PROGRESS"),
        *versions,
        of_stack("UPDATE_ROLLBACK_IN_PROGRESS"),
        of_stack("UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS"),
        of_stack("UPDATE_ROLLBACK_COMPLETE"),
    ]


def newest_first(*deployments: list[dict[str, str]]) -> list[dict[str, str]]:
    return [event for events in deployments for event in events][::-1]


class TestTheVersionsThatWereDeployed:
    def test_are_those_of_deployments_that_succeeded(self) -> None:
        events = newest_first(
            [of_stack("CREATE_IN_PROGRESS"), of_version(API, 1), of_version(WORKER, 1), of_stack("CREATE_COMPLETE")],
            failed_deployment(of_version(API, 2), of_version(WORKER, 2)),
            deployment(of_version(API, 3, "UPDATE_COMPLETE")),
            deployment(of_version(WORKER, 3)),
        )

        assert deployed_versions(events) == {API: {1, 3}, WORKER: {1, 3}}

    def test_are_none_of_one_that_is_still_going_on_or_that_failed_to_go_back(self) -> None:
        going = [of_stack("UPDATE_IN_PROGRESS"), of_version(API, 5)]
        stuck = [of_stack("UPDATE_IN_PROGRESS"), of_version(API, 4), of_stack("UPDATE_ROLLBACK_FAILED")]

        assert deployed_versions(newest_first(stuck, going)) == {}

    def test_are_no_other_resources(self) -> None:
        function = {**of_version(API, 2), "ResourceType": "AWS::Lambda::Function", "PhysicalResourceId": API}

        assert deployed_versions(newest_first(deployment(function))) == {}


class TestTheMoves:
    LIVE = (Live("WorkerFunctionAliaslive", WORKER, 4), Live("ApiFunctionAliaslive", API, 7))

    def test_go_to_the_last_version_before_the_one_that_is_live_the_api_first(self) -> None:
        assert moves_back(self.LIVE, {API: {5, 6, 7, 8}, WORKER: {1, 2, 4}}) == [
            Move(self.LIVE[1], 6),
            Move(self.LIVE[0], 2),
        ]

    def test_leave_a_function_that_has_no_older_version(self) -> None:
        assert moves_back(self.LIVE, {API: {7}, WORKER: {2, 4}}) == [Move(self.LIVE[0], 2)]

    def test_go_to_a_revision_in_either_direction(self) -> None:
        described = {API: {7: "tlt1 arm64", 8: "tlt2 arm64"}, WORKER: {3: "tlt2 x", 4: "tlt1 x"}}

        assert moves_to(self.LIVE, described, "tlt2") == [Move(self.LIVE[1], 8), Move(self.LIVE[0], 3)]
        assert moves_to(self.LIVE, described, "tlt1") == []


class Session:
    """moto's Lambda, and a CloudFormation that says what it is told to."""

    def __init__(self, formation: Any) -> None:
        self._formation = formation

    def client(self, service: str) -> Any:
        return self._formation if service == "cloudformation" else boto3.client("lambda")


def resources(*arns: str) -> dict[str, Any]:
    found = [
        {
            "LogicalResourceId": "ApiFunctionAliaslive",
            "PhysicalResourceId": arn,
            "ResourceType": "AWS::Lambda::Alias",
            "ResourceStatus": "UPDATE_COMPLETE",
            "LastUpdatedTimestamp": 0,
        }
        for arn in arns
    ]
    return {"StackResourceSummaries": found}


class TestAStack:
    @pytest.fixture
    def functions(self, aws: None) -> Any:
        """Lambda with an api of three versions, of which the last one is live."""
        client = boto3.client("lambda")
        code = io.BytesIO()
        with zipfile.ZipFile(code, "w") as archive:
            archive.writestr("index.py", "")
        assumed = '{"Version": "2012-10-17", "Statement": []}'
        role = boto3.client("iam").create_role(RoleName="any", AssumeRolePolicyDocument=assumed)["Role"]["Arn"]
        client.create_function(
            FunctionName=API, Runtime="python3.13", Role=role, Handler="index.h", Code={"ZipFile": code.getvalue()}
        )
        for number in (1, 2, 3):
            client.update_function_configuration(FunctionName=API, Environment={"Variables": {"REVISION": str(number)}})
            client.publish_version(FunctionName=API, Description=f"r{number} arm64")
        client.create_alias(FunctionName=API, Name="live", FunctionVersion="3")
        return client

    @pytest.fixture
    def formation(self, functions: object) -> Iterator[Stubber]:
        client = boto3.client("cloudformation")
        with Stubber(client) as stub:
            yield stub

    def told(self, formation: Stubber, functions: Any, status: str = "UPDATE_COMPLETE") -> Stack:
        stacks = [{"StackName": "jobchain", "StackStatus": status, "CreationTime": 0}]
        formation.add_response("describe_stacks", {"Stacks": stacks})
        arn = functions.get_alias(FunctionName=API, Name="live")["AliasArn"]
        formation.add_response("list_stack_resources", resources(arn))
        return Stack(Session(formation.client), "jobchain")

    def live(self, functions: Any) -> str:
        return str(functions.get_alias(FunctionName=API, Name="live")["FunctionVersion"])

    def events(self, formation: Stubber) -> None:
        """Of three deployments, of which the second one failed."""
        happened = newest_first(
            deployment(of_version(API, 1)), failed_deployment(of_version(API, 2)), deployment(of_version(API, 3))
        )
        told = [{**event, "EventId": "1", "StackName": "jobchain", "Timestamp": 0} for event in happened]
        formation.add_response("describe_stack_events", {"StackEvents": told})

    def test_goes_back_to_the_version_before_past_one_that_failed(self, formation: Stubber, functions: Any) -> None:
        stack = self.told(formation, functions)
        self.events(formation)

        assert list(rollback.rollback(stack, "jobchain", None)) == [f"{API}: version 3 -> 1 (revision r1)"]
        assert self.live(functions) == "1"

    def test_goes_to_a_revision(self, formation: Stubber, functions: Any) -> None:
        stack = self.told(formation, functions)

        assert list(rollback.rollback(stack, "jobchain", "r2")) == [f"{API}: version 3 -> 2 (revision r2)"]
        assert self.live(functions) == "2"

    def test_stays_where_a_revision_is_unknown(self, formation: Stubber, functions: Any) -> None:
        stack = self.told(formation, functions)

        with pytest.raises(RollbackError, match="another version of the revision r9"):
            list(rollback.rollback(stack, "jobchain", "r9"))
        assert self.live(functions) == "3"

    def published(self, functions: Any, number: int, auth_mode: str) -> None:
        """A newer version with this way to authenticate, which is live."""
        variables = {"REVISION": str(number), "AUTH_MODE": auth_mode}
        functions.update_function_configuration(FunctionName=API, Environment={"Variables": variables})
        version = functions.publish_version(FunctionName=API, Description=f"r{number} arm64")["Version"]
        functions.update_alias(FunctionName=API, Name="live", FunctionVersion=version)

    def test_does_not_go_back_to_an_api_without_keys_where_no_network_rule_is_left(
        self, formation: Stubber, functions: Any
    ) -> None:
        self.published(functions, 4, "none")
        self.published(functions, 5, "api_key")
        stack = self.told(formation, functions)
        self.network(formation, "")

        with pytest.raises(RollbackError, match="version 4 needs no API keys, and AllowedAddresses is empty"):
            list(rollback.rollback(stack, "jobchain", "r4"))
        assert self.live(functions) == "5"

    def test_goes_back_to_an_api_without_keys_behind_a_network_rule(self, formation: Stubber, functions: Any) -> None:
        self.published(functions, 4, "none")
        self.published(functions, 5, "api_key")
        stack = self.told(formation, functions)
        self.network(formation, "203.0.113.0/24")

        list(rollback.rollback(stack, "jobchain", "r4"))

        assert self.live(functions) == "4"

    def test_goes_back_from_an_api_that_is_open_already(self, formation: Stubber, functions: Any) -> None:
        self.published(functions, 4, "none")
        self.published(functions, 5, "none")

        list(rollback.rollback(self.told(formation, functions), "jobchain", "r4"))

        assert self.live(functions) == "4"

    def network(self, formation: Stubber, addresses: str) -> None:
        parameters = [{"ParameterKey": "AllowedAddresses", "ParameterValue": addresses}]
        stack = {"StackName": "jobchain", "StackStatus": "UPDATE_COMPLETE", "CreationTime": 0, "Parameters": parameters}
        formation.add_response("describe_stacks", {"Stacks": [stack]})

    def test_says_that_an_emulators_functions_have_no_versions(self, formation: Stubber, functions: Any) -> None:
        functions.update_alias(FunctionName=API, Name="live", FunctionVersion="$LATEST")
        stack = self.told(formation, functions)

        with pytest.raises(RollbackError, match=r"have no versions, as in an emulator: .* unset AWS_ENDPOINT_URL"):
            list(rollback.rollback(stack, "jobchain", None))

    def test_does_not_interfere_with_a_deployment(self, formation: Stubber, functions: Any) -> None:
        stack = self.told(formation, functions, "UPDATE_IN_PROGRESS")

        with pytest.raises(RollbackError, match="cancel-update-stack --stack-name jobchain"):
            list(rollback.rollback(stack, "jobchain", None))
        assert self.live(functions) == "3"


def test_an_error_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for name in ("AWS_DEFAULT_REGION", "AWS_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))

    assert rollback.main(["jobchain"]) == 1

    error = capsys.readouterr().err
    assert error.startswith("rollback: no AWS region is set")
    assert error.count("\n") == 1
