"""docker-compose.yml with LocalStack's own code, as docs/how-to/docker.md describes it.

LocalStack's image is not to be had everywhere, its code is: `localstack/Dockerfile` beside this file makes an image of
it, with stand-ins for DynamoDB Local and for the init of functions' containers. The tests build on one another: the
stack goes up, is used, gets an update that fails, and goes down.
"""

import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx2
import pytest

import local.deployer
from jobchain.aws.api_keys import ApiKeyStore
from jobchain.domain import utc_now
from jobchain_cli.stack import emulated_url
from local.deployer import STACK_NAME, Deployer, DeployError
from local.emulator_clients import Clients, Credentials
from tests.conftest import ROOT
from tests.e2e.conftest import poll
from tests.targets.conftest import BUILD, START_LIMIT, api, port, python, result, run, running, say, submit
from tests.targets.test_recipes import Recipes

IMAGE = "jobchain-localstack"
PROJECT = "jobchain-localstack-test"
# LocalStack looks at an idle queue ever more rarely. After this time it does so every 10 s, if nothing is set.
IDLE_SECONDS = 20.0
WAIT_SECONDS = 4.0


@dataclass(frozen=True)
class Up:
    """The stack that `docker compose up` made, and the environment that it was called with."""

    settings: dict[str, str] = field(repr=False)
    endpoint_url: str
    key: str = field(repr=False, default="")
    other_key: str = field(repr=False, default="")

    @cached_property
    def clients(self) -> Clients:
        return Clients(self.endpoint_url)

    @cached_property
    def outputs(self) -> dict[str, str]:
        (stack,) = self.client("cloudformation").describe_stacks(StackName=STACK_NAME)["Stacks"]
        return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}

    @property
    def dead_letter_url(self) -> str:
        return self.outputs["DeadLetterUrl"]

    @property
    def credentials(self) -> Credentials:
        return self.clients.credentials

    def client(self, service: str) -> Any:
        return self.clients.get(service)

    @contextmanager
    def api(self) -> Iterator[httpx2.Client]:
        with api(emulated_url(self.outputs["ApiUrl"], self.endpoint_url)) as client:
            client.headers["Authorization"] = f"Bearer {self.key}"
            yield client


@pytest.fixture(scope="module")
def model(docker: str) -> Iterator[str]:
    """The base URL of a model that fails on demand, on this machine: how functions reach it, by the host's name."""
    form = "{{range .IPAM.Config}}{{.Gateway}}{{end}}"
    gateway = run(["docker", "network", "inspect", "bridge", "--format", form]).strip()
    number = port()
    with running(
        python("-m", "tests.conformance.faulty_model", "--host", gateway, "--port", number), cwd=ROOT
    ) as lines:
        poll(lambda: any("listening" in line for line in lines), START_LIMIT)
        yield f"http://host.docker.internal:{number}/v1"


@pytest.fixture(scope="module")
def settings(model: str) -> dict[str, str]:
    return {
        "COMPOSE_PROJECT_NAME": PROJECT,
        "LOCALSTACK_IMAGE": IMAGE,
        "LOCALSTACK_PORT": port(),
        "DOCKER_SOCKET": os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock").removeprefix("unix://"),
        "AUTH_MODE": "api_key",
        "OPENAI_BASE_URL": model,
    }


@pytest.fixture(scope="module")
def stack(settings: dict[str, str]) -> Iterator[Up]:
    """LocalStack with the stack in it, and the keys of two tenants."""
    remove(settings)
    run(["docker", "compose", "build", "embedded"], settings)
    network = os.environ.get("BUILD_NETWORK", "default")
    file = "tests/targets/localstack/Dockerfile"
    run(["docker", "build", "--quiet", "--network", network, "--file", file, "--tag", IMAGE, "."])
    try:
        run(["docker", "compose", "up", "--build", "--wait"], settings)
        endpoint_url = f"http://127.0.0.1:{settings['LOCALSTACK_PORT']}"
        table = Up(settings, endpoint_url).outputs["TableName"]
        keys = ApiKeyStore(Clients(endpoint_url).get("dynamodb"), table, utc_now)
        yield Up(settings, endpoint_url, keys.create("ours", "test")[0], keys.create("theirs", "test")[0])
    except BaseException:
        run(["docker", "compose", "logs", "--no-log-prefix", "--tail", "40"], settings)
        raise
    finally:
        remove(settings)


@pytest.fixture(scope="module")
def event_id(stack: Up) -> str:
    """A job that has completed."""
    with stack.api() as client:
        return str(result(client, submit(client))["event_id"])


def remove(settings: dict[str, str]) -> None:
    """Whatever a run before this one has left, too."""
    run(["docker", "compose", "down", "--volumes"], settings)
    if left := containers():
        run(["docker", "rm", "--force", *left])


def containers() -> list[str]:
    return run(["docker", "ps", "--all", "--quiet", "--filter", f"name={PROJECT}"]).split()


def said_by_deploy(stack: Up, lines: int) -> str:
    return run(["docker", "compose", "logs", "--no-log-prefix", "--tail", str(lines), "deploy"], stack.settings)


class TestUp:
    def test_tells_the_urls_current_form_and_serves_it(self, stack: Up) -> None:
        (url,) = re.findall(r"^API +(http\S+)$", said_by_deploy(stack, 20), re.MULTILINE)

        assert url == f"http://localhost:{stack.settings['LOCALSTACK_PORT']}/_aws/execute-api/jobchain/v1"
        with api(url.replace("localhost", "127.0.0.1")) as client:
            assert client.get("/health").json()["status"] == "ok"

    def test_runs_a_job_with_a_model_of_the_host(self, stack: Up, event_id: str) -> None:
        with stack.api() as client:
            job = client.get(f"/jobs/{event_id}").json()

        assert job["status"] == "completed"
        assert job["result"]["checklist"]

    def test_a_second_time_changes_nothing(self, stack: Up, event_id: str) -> None:
        run(["docker", "compose", "up", "--wait"], stack.settings)

        assert "Already up to date." in said_by_deploy(stack, 6)

    def test_starts_a_job_at_once_after_a_while_without_any(self, stack: Up, event_id: str) -> None:
        time.sleep(IDLE_SECONDS)

        with stack.api() as client:
            began = time.monotonic()
            submitted = submit(client)
            poll(lambda: client.get(f"/jobs/{submitted}").json()["status"] != "pending", START_LIMIT)
            waited = time.monotonic() - began
            result(client, submitted)

        say(f"it waited {waited:.2f} s")
        assert waited < WAIT_SECONDS


class TestTheRecipes(Recipes):
    pass


class TestOperators:
    """The commands of docs/how-to/runbook.md."""

    @pytest.fixture
    def jobchain(self, stack: Up, tmp_path: Path) -> Callable[..., str]:
        """What a command prints, for the stack by its name; `fails`: it must not succeed."""

        def typed(*arguments: str, fails: bool = False) -> str:
            named = python("-m", "jobchain_cli", *arguments, "--stack", STACK_NAME)
            variables = {
                "AWS_ENDPOINT_URL": stack.endpoint_url,
                "AWS_DEFAULT_REGION": stack.clients.region,
                "AWS_ACCESS_KEY_ID": stack.credentials.access_key,
                "AWS_SECRET_ACCESS_KEY": stack.credentials.secret_key,
            }
            return run(named, variables, cwd=tmp_path, fails=fails)

        return typed

    def test_test_the_stack_with_one_job(self, jobchain: Callable[..., str]) -> None:
        assert f"The stack {STACK_NAME} works." in jobchain("smoke")

    def test_pause_and_resume_the_workers(self, stack: Up, jobchain: Callable[..., str]) -> None:
        assert "WorkerFunction was enabled, and is disabled." in jobchain("pause")
        assert "no worker: " in jobchain("smoke", fails=True)
        with stack.api() as client:
            waiting = submit(client)
            assert client.get(f"/jobs/{waiting}").json()["status"] == "pending"

            assert "WorkerFunction was disabled, and is enabled." in jobchain("resume")
            result(client, waiting)

    def test_read_the_logs_of_a_job(self, jobchain: Callable[..., str], event_id: str) -> None:
        said = jobchain("logs", event_id)

        assert re.search(r"  api +INFO +request ", said)
        assert re.search(r"  worker +INFO +job completed", said)
        assert "REPORT RequestId" not in said

    def test_list_and_drop_dead_letters(self, stack: Up, jobchain: Callable[..., str], event_id: str) -> None:
        sqs = stack.client("sqs")
        for body in (json.dumps({"event_id": event_id}), "hello"):
            sqs.send_message(QueueUrl=stack.dead_letter_url, MessageBody=body)

        listed = jobchain("letters", "list", "--json")
        (malformed,) = re.findall(r'"message_id": "([-0-9a-f]+)", "event_id": null', listed)

        assert '"job": "completed"' in listed
        assert "1 dead letter dropped." in jobchain("letters", "drop", malformed, "--yes")
        assert "0 jobs" not in jobchain("retry", "--failed", "--since", "1h", "--dry-run")


def test_the_stack_conforms_with_keys_and_a_model_that_fails(stack: Up) -> None:
    keys = {"JOBCHAIN_API_KEY": stack.key, "JOBCHAIN_OTHER_API_KEY": stack.other_key}

    said = run(
        ["make", "--no-print-directory", "conformance", f"ENDPOINT={stack.endpoint_url}", "ALONE=1", "MODEL_FAULTS=1"],
        keys,
    )

    summary = said.strip().splitlines()[-1]
    assert re.search(r"= \d+ passed in ", summary), summary


SMALL = """
Transform: AWS::Serverless-2016-10-31
Parameters:
  Size: {Type: Number, Default: 30}
Mappings:
  BySize: {"30": {Wait: 31}, "60": {Wait: 61}}
Resources:
  Queue:
    Type: AWS::SQS::Queue
    Properties: {VisibilityTimeout: !FindInMap [BySize, !Ref Size, Wait]}
  Table:
    Type: AWS::DynamoDB::Table
    DeletionPolicy: RetainExceptOnCreate
    Properties:
      BillingMode: PAY_PER_REQUEST
      AttributeDefinitions: [{AttributeName: pk, AttributeType: S}]
      KeySchema: [{AttributeName: pk, KeyType: HASH}]
Outputs:
  TableName: {Value: !Ref Table}
"""
BROKEN = """
  Broken:
    Type: AWS::DynamoDB::Table
    Properties:
      BillingMode: PAY_PER_REQUEST
      AttributeDefinitions: [{AttributeName: pk, AttributeType: S}]
      KeySchema: [{AttributeName: other, KeyType: HASH}]
"""
REFUSED = """
  Refused:
    Type: AWS::SQS::Queue
    Properties: {VisibilityTimeout: !FindInMap [BySize, "90", Wait]}
"""


class TestDeployments:
    """With a small template, in another account: each finds nothing there."""

    @pytest.fixture
    def clients(self, stack: Up, monkeypatch: pytest.MonkeyPatch) -> Iterator[Clients]:
        monkeypatch.setattr(local.deployer, "_BUCKET", "templates-of-another-account")
        # LocalStack takes an access key id of twelve digits for the account.
        clients = Clients(stack.endpoint_url, credentials=Credentials("111111111111", "test"))
        yield clients
        Deployer(clients, Path())._remove()

    @pytest.fixture
    def template(self, tmp_path: Path) -> Path:
        path = tmp_path / "template.yaml"
        path.write_text(SMALL)
        return path

    @staticmethod
    def deploy(clients: Clients, template: Path, **parameters: str) -> str:
        """The table's name."""
        return Deployer(clients, template).deploy_over(parameters, say).outputs["TableName"]

    def test_a_number_names_a_key_of_a_map(self, clients: Clients, template: Path) -> None:
        self.deploy(clients, template, Size="60")

        (queue,) = clients.get("sqs").list_queues()["QueueUrls"]
        attributes = clients.get("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=["VisibilityTimeout"])
        assert attributes["Attributes"] == {"VisibilityTimeout": "61"}

    def test_a_creation_that_was_refused_leaves_nothing(self, clients: Clients, template: Path) -> None:
        template.write_text(with_resource(REFUSED))
        with pytest.raises(DeployError, match="Unable to get mapping for BySize::90::Wait"):
            self.deploy(clients, template)
        assert Deployer(clients, template)._status() is None
        template.write_text(SMALL)

        assert self.deploy(clients, template)

    def test_a_creation_that_failed_is_removed_by_the_next(self, clients: Clients, template: Path) -> None:
        template.write_text(with_resource(BROKEN))
        with pytest.raises(DeployError, match=r"^the creation of the stack jobchain failed \(now \w+\): Broken: "):
            self.deploy(clients, template)
        template.write_text(SMALL)

        assert self.deploy(clients, template)

    def test_an_update_that_failed_keeps_the_table(self, clients: Clients, template: Path) -> None:
        table = self.deploy(clients, template)
        clients.get("dynamodb").put_item(TableName=table, Item={"pk": {"S": "a job"}})
        template.write_text(with_resource(BROKEN))

        with pytest.raises(DeployError, match=r"the update .*failed.* Broken: [^\n]+\nIt was not rolled back"):
            self.deploy(clients, template, Size="60")
        template.write_text(SMALL)
        with pytest.raises(DeployError, match=r"was not rolled back: Broken: [^\n]+\n.*docker compose down --volumes"):
            self.deploy(clients, template)

        assert clients.get("dynamodb").scan(TableName=table)["Items"] == [{"pk": {"S": "a job"}}]

    def test_a_table_that_an_update_takes_out_is_kept(self, clients: Clients, template: Path) -> None:
        table = self.deploy(clients, template)
        clients.get("dynamodb").put_item(TableName=table, Item={"pk": {"S": "a job"}})
        template.write_text(SMALL.replace("  Table:", "  Renamed:").replace("Ref Table", "Ref Renamed"))

        assert self.deploy(clients, template) != table
        assert clients.get("dynamodb").scan(TableName=table)["Items"] == [{"pk": {"S": "a job"}}]


def with_resource(resource: str) -> str:
    return SMALL.replace("\nOutputs:", f"{resource}Outputs:")


class TestDown:
    def test_after_an_update_that_failed_the_jobs_can_still_be_read(
        self, stack: Up, event_id: str, tmp_path: Path
    ) -> None:
        shutil.copytree(BUILD, tmp_path / "build")
        template = tmp_path / "build" / "template.yaml"
        # The first resource, so that nothing else is touched.
        template.write_text(template.read_text().replace("\nResources:\n", f"\nResources:{BROKEN}", 1))
        command = python("-m", "local", "deploy", "--endpoint-url", stack.endpoint_url)

        said = run([*command, "--build", tmp_path / "build"], stack.settings, fails=True)
        again = run(["docker", "compose", "up", "--wait"], stack.settings, fails=True)

        assert "the update of the stack jobchain failed" in said
        assert "docker compose down --volumes" in said_by_deploy(stack, 5)
        assert "didn't complete successfully" in again
        with stack.api() as client:
            assert client.get(f"/jobs/{event_id}").json()["status"] == "completed"

    def test_leaves_no_container_network_or_volume(self, stack: Up) -> None:
        assert len(containers()) > len(run(["docker", "compose", "ps", "--quiet"], stack.settings).split())

        run(["docker", "compose", "down", "--volumes"], stack.settings)

        assert containers() == []
        for kind in ("network", "volume"):
            assert run(["docker", kind, "ls", "--quiet", "--filter", f"name={PROJECT}"]) == ""
