"""A deployment to an emulator in which one may stand already, wholly or in part."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from local import deployment
from local.aws import Clients
from local.deployer import STACK_NAME, Deployer
from local.deployment import EndpointError, Target
from local.emulator import Emulator, free_port
from local.packages import BUILD, BuildError
from local.settings import Settings
from tests.integration.test_local_stack import TEMPLATE


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    emulator = Emulator(tmp_path_factory.mktemp("emulator"), free_port())
    emulator.launch()
    emulator.wait()
    yield emulator
    emulator.stop()


@pytest.fixture
def clients(emulator: Emulator) -> Iterator[Clients]:
    clients = Clients(emulator.url)
    yield clients
    cloudformation = clients.get("cloudformation")
    cloudformation.delete_stack(StackName=STACK_NAME)
    Deployer(clients, Path())._wait()


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def template(tmp_path: Path) -> Path:
    (tmp_path / "function" / "tiny_function").mkdir(parents=True)
    (tmp_path / "layer").mkdir()
    (tmp_path / "template.yaml").write_text(TEMPLATE)
    return tmp_path / "template.yaml"


def deploy(clients: Clients, template: Path, said: list[str], **parameters: str) -> dict[str, str]:
    """As another process each time: nothing is remembered. Gives the outputs."""
    return dict(Deployer(clients, template).deploy_over(parameters, said.append).outputs)


class TestASecondDeployment:
    def test_of_the_same_changes_nothing(self, clients: Clients, template: Path, said: list[str]) -> None:
        first = deploy(clients, template, said)
        events = count_events(clients)

        assert deploy(clients, template, said) == first
        assert said == ["Deploying the stack jobchain …", "Already up to date."]
        assert count_events(clients) == events

    def test_of_something_else_updates_it_and_keeps_its_table(
        self, clients: Clients, template: Path, said: list[str]
    ) -> None:
        first = deploy(clients, template, said)

        second = deploy(clients, template, said, Greeting="good day")

        assert second["TableName"] == first["TableName"]
        assert said[-1] == "Deploying the stack jobchain …"
        assert "good day" in json.dumps([*functions(clients)])


class TestWhatDidNotEndWell:
    def test_is_removed_and_deployed_anew(self, clients: Clients, template: Path, said: list[str]) -> None:
        broken = {"Resources": {"Q": {"Type": "AWS::SQS::Queue", "Properties": {"VisibilityTimeout": 999999}}}}
        clients.get("cloudformation").create_stack(StackName=STACK_NAME, TemplateBody=json.dumps(broken))
        status = Deployer(clients, template)._wait()
        assert status not in (None, "CREATE_COMPLETE")

        deploy(clients, template, said)

        assert said == [
            f"The stack jobchain is {status}, left over from a deployment that did not end: removing it.",
            "Deploying the stack jobchain …",
        ]
        assert Deployer(clients, template)._status() == "CREATE_COMPLETE"

    def test_is_removed_if_it_seems_to_go_on_for_ever(
        self, clients: Clients, template: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        deployer = Deployer(clients, template, limit=0.1)
        deploy(clients, template, said)
        real = deployer._stack
        stuck = iter(["CREATE_IN_PROGRESS"] * 3)

        def stack() -> Any:
            found = real()
            if deployer._limit == 0.1 and not removed:
                found["StackStatus"] = next(stuck, "CREATE_IN_PROGRESS")
            return found

        removed: list[bool] = []
        remove = deployer._remove

        def removing() -> None:
            removed.append(True)
            deployer._limit = 30
            remove()

        monkeypatch.setattr(deployer, "_stack", stack)
        monkeypatch.setattr(deployer, "_remove", removing)
        said.clear()

        deployer.deploy_over({}, said.append)

        assert removed
        assert said[0] == "The stack jobchain is CREATE_IN_PROGRESS: waiting up to 0.1 s for it."
        assert Deployer(clients, template)._status() == "CREATE_COMPLETE"


def test_a_project_that_is_not_built_is_told_so(tmp_path: Path, said: list[str]) -> None:
    target = Target("http://127.0.0.1:1", "http://127.0.0.1:1", "")

    with pytest.raises(BuildError, match="nothing is built in"):
        deployment.run(tmp_path, None, target, Settings(), said.append)


def test_an_emulator_that_does_not_answer_is_named(
    tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deployment, "_ANSWERS_WITHIN", 0)
    url = f"http://127.0.0.1:{free_port()}"

    with pytest.raises(EndpointError, match=f"no emulator answers at {url}: is it up"):
        deployment.run(tmp_path, tmp_path / BUILD, Target(url, url, ""), Settings(), said.append)


def test_a_build_runs_from_packages_that_hold_the_layer(
    clients: Clients, template: Path, said: list[str], tmp_path: Path
) -> None:
    build = tmp_path / "build"
    (build / "function" / "tiny_function").mkdir(parents=True)
    (build / "layer" / "python").mkdir(parents=True)
    (build / "layer" / "python" / "shared.py").write_text("WORD = 'of the layer'\n")
    handler = "import shared\ndef handle(event, context):\n    return {'statusCode': 200, 'body': shared.WORD}\n"
    (build / "function" / "tiny_function" / "handler.py").write_text(handler)
    declared = "Parameters:\n  Architecture: {Type: String}\n  OpenAISecretName: {Type: String, Default: the/key}\n"
    (build / "template.yaml").write_text(TEMPLATE.replace("Parameters:\n", declared))
    target = Target(clients.endpoint_url, "http://localhost:1", "http://model/v1")

    url = deployment.run(tmp_path, build, target, Settings(openai_api_key="sk-made-up"), said.append)

    assert url == "http://localhost:1/_aws/execute-api/jobchain/v1"
    assert said[0] == "Deploying the stack jobchain …"
    with httpx2.Client(trust_env=False, timeout=30) as client:
        answer = client.get(f"{url.replace('http://localhost:1', clients.endpoint_url)}/x")
    assert answer.text == "of the layer"
    assert clients.get("secretsmanager").get_secret_value(SecretId="the/key")["SecretString"] == "sk-made-up"


def functions(clients: Clients) -> Iterator[dict[str, str]]:
    for function in clients.get("lambda").list_functions()["Functions"]:
        yield function["Environment"]["Variables"]


def count_events(clients: Clients) -> int:
    events = clients.get("cloudformation").describe_stack_events(StackName=STACK_NAME)["StackEvents"]
    return len(events)
