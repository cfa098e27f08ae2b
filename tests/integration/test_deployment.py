"""A deployment to an emulator in which one may stand already, wholly or in part."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

import local.deployer
from local import running_emulator
from local.architecture import BuildError
from local.deployer import STACK_NAME, Deployer, DeployError, StackGone
from local.emulator import Emulator, free_port
from local.emulator_clients import Clients
from local.function_zips import BUILD
from local.running_emulator import EndpointError, Target
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
    clients = Clients(emulator.url, credentials=emulator.credentials)
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


BROKEN_QUEUE = "  Broken:\n    Type: AWS::SQS::Queue\n    Properties: {VisibilityTimeout: 999999}\n"


class TestACreationThatFailed:
    def test_says_the_first_cause_and_what_to_do(self, clients: Clients, template: Path, said: list[str]) -> None:
        break_(template)

        with pytest.raises(DeployError) as raised:
            deploy(clients, template, said)

        first, advice = str(raised.value).splitlines()
        assert first.startswith("the creation of the stack jobchain failed (now ROLLBACK_COMPLETE): Broken: ")
        assert "no reason given" not in first
        assert advice == "Correct the cause and deploy again: what is left of this attempt is removed first."

    def test_is_removed_and_deployed_anew(self, clients: Clients, template: Path, said: list[str]) -> None:
        break_(template)
        with pytest.raises(DeployError):
            deploy(clients, template, said)
        said.clear()
        template.write_text(TEMPLATE)

        deploy(clients, template, said)

        assert said == [
            "The creation of the stack jobchain failed (ROLLBACK_COMPLETE): removing what it left.",
            "Deploying the stack jobchain …",
        ]
        assert Deployer(clients, template)._status() == "CREATE_COMPLETE"

    def test_that_goes_on_for_ever_is_removed(
        self, clients: Clients, template: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        deploy(clients, template, said)
        said.clear()
        deployer = Deployer(clients, template, limit=0.1)
        seems(deployer, "CREATE_IN_PROGRESS", monkeypatch)

        deployer.deploy_over({}, said.append)

        assert said == [
            "The stack jobchain is CREATE_IN_PROGRESS: waiting up to 0.1 s for it.",
            "The creation of the stack jobchain failed (CREATE_IN_PROGRESS): removing what it left.",
            "Deploying the stack jobchain …",
        ]
        assert Deployer(clients, template)._status() == "CREATE_COMPLETE"

    def test_can_be_left_where_it_can_not_be_removed(
        self, clients: Clients, template: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        break_(template)
        with pytest.raises(DeployError):
            deploy(clients, template, said)
        deployer = Deployer(clients, template)
        monkeypatch.setattr(local.deployer, "_PASSES_WITHIN", 0)
        monkeypatch.setattr(deployer, "_status", lambda: "DELETE_FAILED")

        with pytest.raises(
            DeployError, match=r"can't be removed, it is DELETE_FAILED: .*\n.*docker compose down --vol"
        ):
            deployer.deploy_over({}, said.append)


class TestAnUpdateThatFailed:
    """It keeps the table, whatever the stack's status is after it."""

    @pytest.fixture
    def table(self, clients: Clients, template: Path, said: list[str]) -> str:
        """The name of the stack's table, with an item in it."""
        table = deploy(clients, template, said)["TableName"]
        clients.get("dynamodb").put_item(TableName=table, Item={"pk": {"S": "a job"}})
        return table

    def test_says_why_and_that_the_jobs_are_kept(
        self, clients: Clients, template: Path, said: list[str], table: str
    ) -> None:
        break_(template)

        with pytest.raises(DeployError) as raised:
            deploy(clients, template, said)

        first, advice = str(raised.value).splitlines()
        assert first.startswith("the update of the stack jobchain failed (now UPDATE_ROLLBACK_COMPLETE): Broken: ")
        assert advice == "The stack's table and its jobs are kept. Correct the cause, and deploy again."
        assert items(clients, table) == ["a job"]

    def test_is_tried_again(self, clients: Clients, template: Path, said: list[str], table: str) -> None:
        break_(template)
        with pytest.raises(DeployError):
            deploy(clients, template, said)
        said.clear()
        template.write_text(TEMPLATE)

        outputs = deploy(clients, template, said, Greeting="good day")

        assert said[0].startswith("The last update of the stack jobchain failed, and is tried again: Broken: ")
        assert "good day" in json.dumps([*functions(clients)])
        assert outputs["TableName"] == table
        assert items(clients, table) == ["a job"]

    def test_is_undone_by_the_template_from_before_it(
        self, clients: Clients, template: Path, said: list[str], table: str
    ) -> None:
        break_(template)
        with pytest.raises(DeployError):
            deploy(clients, template, said)
        template.write_text(TEMPLATE)

        outputs = deploy(clients, template, said)

        assert outputs["TableName"] == table
        assert items(clients, table) == ["a job"]
        assert deploy(clients, template, said, Greeting="good day") == outputs
        assert "good day" in json.dumps([*functions(clients)])

    def test_is_left_alone_where_the_emulator_did_not_roll_it_back(
        self, clients: Clients, template: Path, said: list[str], table: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As LocalStack, which calls such a stack UPDATE_COMPLETE, and fails at every update after it."""
        break_(template)
        with pytest.raises(DeployError):
            deploy(clients, template, said)
        deployer = Deployer(clients, template)
        monkeypatch.setattr(deployer, "_status", lambda: "UPDATE_COMPLETE")
        events = count_events(clients)

        with pytest.raises(
            DeployError, match=r"failed, and was not rolled back: Broken: .*\n.*docker compose down --vol"
        ):
            deployer.deploy_over({}, said.append)

        assert count_events(clients) == events
        assert items(clients, table) == ["a job"]

    @pytest.mark.parametrize(
        "status",
        ["DELETE_FAILED", "DELETE_IN_PROGRESS", "ROLLBACK_COMPLETE", "UPDATE_IN_PROGRESS", "UPDATE_ROLLBACK_FAILED"],
    )
    def test_removes_nothing_and_says_what_to_type(
        self,
        clients: Clients,
        template: Path,
        said: list[str],
        table: str,
        monkeypatch: pytest.MonkeyPatch,
        status: str,
    ) -> None:
        deployer = Deployer(clients, template, limit=0.1)
        monkeypatch.setattr(deployer, "_status", lambda: status)
        events = count_events(clients)

        with pytest.raises(
            DeployError, match=rf"is {status}, in which .*\n.* jobs are kept.*docker compose down --vol"
        ):
            deployer.deploy_over({"Greeting": "good day"}, said.append)

        assert count_events(clients) == events
        assert items(clients, table) == ["a job"]


def test_a_change_set_that_was_not_executed_is_refused_at_once_with_what_to_type(
    clients: Clients, template: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a stack as `sam deploy` leaves it where its question gets no answer
    clients.get("cloudformation").create_change_set(
        StackName=STACK_NAME, ChangeSetName="first", ChangeSetType="CREATE", TemplateBody='{"Resources": {}}'
    )
    deployer = Deployer(clients, template)
    assert deployer._status() == "REVIEW_IN_PROGRESS"
    monkeypatch.setattr(deployer, "_wait", lambda: pytest.fail("it waits"))

    # then a deployment says what to type
    with pytest.raises(DeployError) as raised:
        deployer.deploy_over({}, said.append)

    command = f"aws --endpoint-url {clients.endpoint_url} cloudformation delete-stack --stack-name jobchain"
    assert str(raised.value).endswith(f"Delete it, and deploy again: {command}")
    assert said == []

    # and after that it deploys
    clients.get("cloudformation").delete_stack(StackName=STACK_NAME)
    assert deploy(clients, template, said)["TableName"]


@pytest.mark.parametrize("kind", ["creation", "update"])
def test_a_stack_that_another_process_deletes_meanwhile_is_told_with_what_to_type(
    clients: Clients, template: Path, said: list[str], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    if kind == "update":
        deploy(clients, template, said)
    deployer = Deployer(clients, template)
    wait = deployer._wait

    def deleted() -> str | None:
        clients.get("cloudformation").delete_stack(StackName=STACK_NAME)
        return wait()

    monkeypatch.setattr(deployer, "_wait", deleted)

    with pytest.raises(StackGone, match=rf"deleted during its {kind}, .* Deploy again.*: docker compose up") as raised:
        deployer.deploy_over({"Greeting": "good day"}, said.append)

    assert "jobs are kept" not in str(raised.value)


def test_a_stack_in_progress_is_looked_at_ever_more_rarely(
    clients: Clients, template: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[float] = []
    deployer = Deployer(clients, template, limit=3)

    def look() -> str:
        looks.append(time.monotonic())
        return "CREATE_IN_PROGRESS"

    monkeypatch.setattr(deployer, "_status", look)

    with pytest.raises(DeployError, match="is still CREATE_IN_PROGRESS after 3 s"):
        deployer._wait()

    assert len(looks) < 60
    assert looks[-1] - looks[-2] > 0.1


def test_a_project_that_is_not_built_is_told_so(tmp_path: Path, said: list[str]) -> None:
    target = Target("http://127.0.0.1:1", "http://127.0.0.1:1", "")

    with pytest.raises(BuildError, match="there is no build in"):
        running_emulator.run(tmp_path, None, target, Settings(), said.append)


def test_an_emulator_that_does_not_answer_is_named(
    tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running_emulator, "_ANSWERS_WITHIN", 0)
    url = f"http://127.0.0.1:{free_port()}"

    with pytest.raises(EndpointError, match=f"no emulator answers at {url}: is it up"):
        running_emulator.run(tmp_path, tmp_path / BUILD, Target(url, url, ""), Settings(), said.append)


@pytest.fixture
def build(template: Path, tmp_path: Path) -> Path:
    build = tmp_path / "build"
    (build / "function" / "tiny_function").mkdir(parents=True)
    (build / "layer" / "python").mkdir(parents=True)
    (build / "layer" / "python" / "shared.py").write_text("WORD = 'of the layer'\n")
    handler = "import shared\ndef handle(event, context):\n    return {'statusCode': 200, 'body': shared.WORD}\n"
    (build / "function" / "tiny_function" / "handler.py").write_text(handler)
    declared = "Parameters:\n  Architecture: {Type: String}\n  OpenAISecretName: {Type: String, Default: the/key}\n"
    (build / "template.yaml").write_text(TEMPLATE.replace("Parameters:\n", declared))
    return build


def test_what_to_type_has_the_url_that_the_user_has_for_the_emulator(
    clients: Clients, build: Path, said: list[str], tmp_path: Path
) -> None:
    clients.get("cloudformation").create_change_set(
        StackName=STACK_NAME, ChangeSetName="first", ChangeSetType="CREATE", TemplateBody='{"Resources": {}}'
    )
    target = Target(clients.endpoint_url, "http://localhost:1", "http://model/v1", clients.credentials)

    with pytest.raises(DeployError, match="aws --endpoint-url http://localhost:1 cloudformation delete-stack"):
        running_emulator.run(tmp_path, build, target, Settings(openai_api_key="sk-made-up"), said.append)


def test_a_build_runs_from_packages_that_hold_the_layer(
    clients: Clients, build: Path, said: list[str], tmp_path: Path
) -> None:
    target = Target(clients.endpoint_url, "http://localhost:1", "http://model/v1", clients.credentials)

    url = running_emulator.run(tmp_path, build, target, Settings(openai_api_key="sk-made-up"), said.append)

    assert url == "http://localhost:1/_aws/execute-api/jobchain/v1"
    assert said[0] == "Deploying the stack jobchain …"
    with httpx2.Client(trust_env=False, timeout=30) as client:
        answer = client.get(f"{url.replace('http://localhost:1', clients.endpoint_url)}/x")
    assert answer.text == "of the layer"
    assert clients.get("secretsmanager").get_secret_value(SecretId="the/key")["SecretString"] == "sk-made-up"


def test_a_function_that_localstack_finds_no_image_for_has_a_hint() -> None:
    assert "is there a network?" in running_emulator._hint(
        "… failed (now CREATE_FAILED): Fn: Error while creating lambda: "
    )
    assert running_emulator._hint("… failed (now CREATE_FAILED): Queue: too long") == ""


def break_(template: Path) -> None:
    template.write_text(TEMPLATE.replace("Outputs:\n", f"{BROKEN_QUEUE}Outputs:\n"))


def seems(deployer: Deployer, status: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The deployer sees the stack in this status until it removes it."""
    real, remove = deployer._status, deployer._remove

    def removing() -> None:
        monkeypatch.setattr(deployer, "_status", real)
        monkeypatch.setattr(deployer, "_limit", 30)
        remove()

    monkeypatch.setattr(deployer, "_status", lambda: status)
    monkeypatch.setattr(deployer, "_remove", removing)


def items(clients: Clients, table: str) -> list[str]:
    return [item["pk"]["S"] for item in clients.get("dynamodb").scan(TableName=table)["Items"]]


def functions(clients: Clients) -> Iterator[dict[str, str]]:
    for function in clients.get("lambda").list_functions()["Functions"]:
        yield function["Environment"]["Variables"]


def count_events(clients: Clients) -> int:
    events = clients.get("cloudformation").describe_stack_events(StackName=STACK_NAME)["StackEvents"]
    return len(events)
