"""Who may reach a stack that runs, and who may not: other programs of this machine, and names that lead to it."""

import json
import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import httpx2
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

from local.dev import StackFile
from local.settings import Settings
from local.stack import EmbeddedStack
from tests.integration.test_local_stack import developing, local_command, make_project

# What the stack uses, by a call of each that reads or does harm.
CALLS: dict[str, tuple[str, dict[str, Any]]] = {
    "apigateway": ("get_rest_apis", {}),
    "cloudformation": ("describe_stacks", {}),
    "cloudwatch": ("list_metrics", {}),
    "dynamodb": ("list_tables", {}),
    "events": ("list_rules", {}),
    "iam": ("list_roles", {}),
    "lambda": ("list_functions", {}),
    "logs": ("describe_log_groups", {}),
    "s3": ("list_buckets", {}),
    "secretsmanager": ("list_secrets", {}),
    "sqs": ("list_queues", {}),
    "sts": ("assume_role", {"RoleArn": "arn:aws:iam::000000000000:role/any", "RoleSessionName": "any"}),
}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStack]:
    project = make_project(tmp_path_factory.mktemp("guarded"))
    with EmbeddedStack.start(Settings(hosts=("box",)), template=project / "template.yaml") as stack:
        yield stack


@pytest.fixture
def http(stack: EmbeddedStack) -> Iterator[httpx2.Client]:
    """A program without the stack's keys."""
    with httpx2.Client(base_url=stack.endpoint_url, timeout=60, trust_env=False) as client:
        yield client


def client_of(stack: EmbeddedStack, service: str, keys: tuple[str, ...] | None) -> Any:
    """A client with an access key, its secret key and perhaps a session token; without keys an anonymous one."""
    config = Config(proxies={}, retries={"total_max_attempts": 1}, signature_version=None if keys else UNSIGNED)
    key, secret, token = (*(keys or ()), None, None, None)[:3]
    session: Any = boto3.session.Session(key, secret, token, region_name=stack.region)
    return session.client(service, endpoint_url=stack.endpoint_url, config=config)


class TestAnotherProgram:
    @pytest.mark.parametrize("service", CALLS)
    @pytest.mark.parametrize(
        "keys", [("test", "test"), ("000000000000", "test"), ("AKIAIOSFODNN7EXAMPLE", "guessed"), None], ids=str
    )
    def test_is_refused_by_each_service(self, stack: EmbeddedStack, service: str, keys: tuple[str, str] | None) -> None:
        operation, arguments = CALLS[service]

        with pytest.raises(ClientError) as refused:
            getattr(client_of(stack, service, keys), operation)(**arguments)

        assert refused.value.response["Error"]["Code"].startswith("AccessDenied")
        assert "make -s aws-env" in refused.value.response["Error"]["Message"]

    @pytest.mark.parametrize("service", sorted(set(CALLS) - {"sts"}))
    def test_is_let_in_with_the_stacks_keys(self, stack: EmbeddedStack, service: str) -> None:
        operation, arguments = CALLS[service]

        assert getattr(stack.client(service), operation)(**arguments)

    def test_that_was_given_a_role_has_its_keys(self, stack: EmbeddedStack) -> None:
        role = stack.client("iam").list_roles()["Roles"][0]["Arn"]
        made = stack.client("sts").assume_role(RoleArn=role, RoleSessionName="any")["Credentials"]
        keys = (made["AccessKeyId"], made["SecretAccessKey"], made["SessionToken"])

        assert client_of(stack, "sqs", keys).list_queues()
        with pytest.raises(ClientError, match="AccessDenied"):
            client_of(stack, "sqs", (keys[0], "guessed", keys[2])).list_queues()

    def test_can_neither_reset_the_emulator_nor_read_what_it_keeps(
        self, http: httpx2.Client, stack: EmbeddedStack
    ) -> None:
        (function, *_) = stack.client("lambda").list_functions()["Functions"]
        paths = [
            ("POST", "/_ministack/reset"),
            ("GET", f"/_ministack/lambda-code/{function['FunctionName']}"),
            ("GET", "/_aws/sqs/messages"),
            ("GET", "/_aws/ses/messages"),
            ("POST", f"/2015-03-31/functions/{function['FunctionName']}/invocations"),
            ("GET", "/jobchain-templates/template.json"),
            ("PUT", "/bucket"),
            ("GET", "/restapis"),
            ("OPTIONS", "/"),
        ]

        answers = {(method, path): http.request(method, path) for method, path in paths}

        assert {answer.status_code for answer in answers.values()} == {403}, answers
        assert stack.client("dynamodb").describe_table(TableName=stack.table)

    def test_gets_nothing_by_a_presigned_link(self, http: httpx2.Client, stack: EmbeddedStack) -> None:
        where = {"Bucket": "jobchain-templates", "Key": "template.json"}
        own = (stack.credentials.access_key, stack.credentials.secret_key)
        for keys in (("test", "test"), own):
            link = client_of(stack, "s3", keys).generate_presigned_url("get_object", Params=where)

            assert http.get(link).status_code == 403

    def test_may_use_the_api_and_see_whether_the_emulator_is_up(
        self, http: httpx2.Client, stack: EmbeddedStack
    ) -> None:
        assert http.post(f"{stack.api_url}/x", json={}).status_code == 200
        assert http.get("/_ministack/health").status_code == 200


class TestTheHost:
    @pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "LocalHost", "box"])
    def test_that_names_this_machine_is_answered(self, http: httpx2.Client, stack: EmbeddedStack, name: str) -> None:
        host = f"{name}:{stack.emulator.port}"

        assert http.get(f"{stack.api_url}/x", headers={"Host": host}).status_code == 200

    @pytest.mark.parametrize("name", ["evil.example", "127.0.0.1.evil.example", "jobchain.execute-api.localhost"])
    def test_that_names_another_is_refused(self, http: httpx2.Client, stack: EmbeddedStack, name: str) -> None:
        host = {"Host": f"{name}:{stack.emulator.port}"}

        answers = [
            http.get(f"{stack.api_url}/x", headers=host),
            http.post("/", headers={**host, "X-Amz-Target": "DynamoDB_20120810.ListTables"}, content=b"{}"),
            http.post("/_ministack/reset", headers=host),
            http.get("/_ministack/health", headers=host),
            http.get("/v1/x", headers=host),
        ]

        assert {answer.status_code for answer in answers} == {403}


@pytest.mark.parametrize("path", ["/_ministack/health", "/x"])
def test_no_answer_lets_pages_of_other_origins_read_it(http: httpx2.Client, stack: EmbeddedStack, path: str) -> None:
    url = f"{stack.api_url}{path}" if path == "/x" else path

    for headers in ({}, {"Origin": stack.endpoint_url}, {"Origin": "http://localhost:1"}):
        answer = http.get(url, headers=headers)
        assert not [name for name in answer.headers if name.startswith("access-control-")]


class TestTheFileOfTheStack:
    def test_is_the_users_own_and_its_keys_open_the_stack(self, tmp_path: Path) -> None:
        project = make_project(tmp_path)
        (project / ".local").mkdir()
        # An older one that everybody could read.
        (project / ".local" / "stack.json").write_text('{"pid": 4194305}')
        with developing(project) as (_, said):
            file = project / ".local" / "stack.json"
            folder = project / ".local" / "emulator"

            assert stat.S_IMODE(file.stat().st_mode) == 0o600
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
            assert [path.name for path in folder.parent.glob("*.tmp")] == []
            session = boto3.session.Session(said["access_key"], said["secret_key"], region_name=said["region"])
            assert session.client("sqs", endpoint_url=said["endpoint_url"]).list_queues()["QueueUrls"]
            assert StackFile(project / ".local").read() == said

    def test_gives_a_shell_what_awss_tools_need(self, tmp_path: Path) -> None:
        project = make_project(tmp_path)
        with developing(project) as (_, said), local_command(project, "aws-env") as process:
            printed, _ = process.communicate(timeout=120)
            show = f"{printed}\nenv -0"
            caller = {"PATH": os.environ["PATH"], "AWS_PROFILE": "production", "AWS_SESSION_TOKEN": "real"}
            shell = subprocess.run(["sh", "-euc", show], env=caller, capture_output=True, text=True, check=True)
            found = dict(line.split("=", 1) for line in shell.stdout.split("\0") if line)

        assert found["AWS_ENDPOINT_URL"] == said["endpoint_url"]
        assert found["LOCALSTACK_HOST"] == said["endpoint_url"].removeprefix("http://")
        assert (found["AWS_ACCESS_KEY_ID"], found["AWS_SECRET_ACCESS_KEY"]) == (said["access_key"], said["secret_key"])
        assert not {"AWS_PROFILE", "AWS_SESSION_TOKEN"} & found.keys()

    def test_is_missed_where_no_stack_is_up(self, tmp_path: Path) -> None:
        with local_command(make_project(tmp_path), "aws-env") as process:
            printed, errors = process.communicate(timeout=120)

        assert (process.returncode, printed) == (1, "")
        assert "no stack is running here: start one with `make dev`" in errors


def test_the_keys_are_in_no_log(stack: EmbeddedStack) -> None:
    assert stack.credentials.secret_key not in stack.emulator.log_file.read_text()
    assert stack.credentials.secret_key not in json.dumps(stack.client("lambda").list_functions()["Functions"])
