"""The commands of docs/how-to/deploy.md as they are typed there, with AWS's own `sam` and answers from a pipe.

CloudFormation is the embedded emulator's. What it can't tell: whether AWS accepts the rights, alarms and CodeDeploy.
"""

import re
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local import emulator
from local.emulator import Emulator, free_port
from local.emulator_clients import Clients, Credentials
from tests.conftest import ROOT
from tests.fake_model.server import ModelServer
from tests.targets.conftest import run

BOOT = "import tests.targets.deployable\n"
SECRET = "jobchain/openai-api-key"
# Where the project is as it is; what a deployment reads or writes is copied.
LINKED = (".venv", ".venv-sam", ".cache/uv", "requirements", "functions", "layers")
COPIED = ("Makefile", "pyproject.toml", "template.yaml", "samconfig.toml")


class Project:
    """A copy of the project, an empty account, and a model's server."""

    def __init__(self, folder: Path, endpoint: str, credentials: Credentials, model_url: str) -> None:
        self.folder = folder
        self.clients = Clients(endpoint, credentials=credentials)
        self._environment = {
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ACCESS_KEY_ID": credentials.access_key,
            "AWS_SECRET_ACCESS_KEY": credentials.secret_key,
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
            "HOME": str(folder / "home"),
            "PYTHONPATH": str(folder),
            "SAM_CLI_POLL_DELAY": "1",
        }
        for name in LINKED:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).symlink_to(ROOT / name)
        for name in COPIED:
            shutil.copy2(ROOT / name, folder / name)
        shutil.copytree(ROOT / "local", folder / "local")
        # No test reaches the network: the model is asked for here.
        self.configure(f'resolve_s3 = true\nparameter_overrides = ["OpenAIBaseUrl={model_url}"]\n')

    def configure(self, deploy: str) -> None:
        """Replaces the first `resolve_s3` of samconfig.toml, which is the default environment's."""
        file = self.folder / "samconfig.toml"
        file.write_text(file.read_text().replace("resolve_s3 = true\n", deploy, 1))

    @property
    def config(self) -> str:
        return (self.folder / "samconfig.toml").read_text()

    def change_default(self, parameter: str, value: str) -> None:
        """As a later version of the project does."""
        file = self.folder / "template.yaml"
        changed, times = re.subn(
            rf"(  {parameter}:\n(?:    .*\n)*?    Default: ).*", rf"\g<1>{value}", file.read_text()
        )
        assert times == 1
        file.write_text(changed)

    def type(self, command: str, answers: str) -> str:
        """What the command prints, errors too; it reads its answers from a pipe."""
        return run(["sh", "-c", f"{command} 2>&1"], self._environment, cwd=self.folder, stdin=answers)

    def make_deploy(self, answers: str = "y\n") -> str:
        """`make deploy` without the build, which reaches the network: `sam deploy` takes the sources then."""
        return self.type("make deploy MAKE=true", answers)

    def parameters(self, stack: str = "jobchain") -> dict[str, str]:
        """The stack's own values, once it is deployed."""
        (found,) = self.clients.get("cloudformation").describe_stacks(StackName=stack)["Stacks"]
        assert found["StackStatus"] in ("CREATE_COMPLETE", "UPDATE_COMPLETE")
        return {parameter["ParameterKey"]: parameter["ParameterValue"] for parameter in found["Parameters"]}


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with pytest.MonkeyPatch.context() as patch, ModelServer() as model:
        patch.setattr(emulator, "_BOOT", BOOT + emulator._BOOT)
        (tmp_path / "emulator").mkdir()
        (tmp_path / "project").mkdir()
        aws = Emulator(tmp_path / "emulator", free_port())
        aws.launch()
        try:
            aws.wait()
            project = Project(tmp_path / "project", aws.url, aws.credentials, model.base_url)
            project.clients.get("secretsmanager").create_secret(Name=SECRET, SecretString="sk-test")
            yield project
        finally:
            aws.stop()


def defaults(template: dict[str, Any]) -> dict[str, str]:
    return {name: str(parameter["Default"]) for name, parameter in template["Parameters"].items()}


def test_the_first_deployment_asks_one_question_and_pins_nothing(project: Project, template: dict[str, Any]) -> None:
    before = project.config

    said = project.make_deploy()

    assert said.count("[y/N]") == 1
    assert "has no authentication" not in said
    assert {**project.parameters(), "OpenAIBaseUrl": "", "Revision": "0"} == defaults(template)
    assert project.config == before


def test_the_next_deployment_brings_a_new_default_and_keeps_what_is_set(project: Project) -> None:
    project.make_deploy()
    project.change_default("OpenAIModel", "gpt-7-next")

    project.make_deploy()

    parameters = project.parameters()
    assert parameters["OpenAIModel"] == "gpt-7-next"
    assert parameters["OpenAIBaseUrl"].startswith("http://127.0.0.1:")


def test_a_deployment_by_sam_alone_keeps_the_values_of_the_stack(project: Project) -> None:
    """Which is why `make deploy` names every one, and what docs/how-to/deploy.md warns of."""
    project.make_deploy()
    project.change_default("OpenAIModel", "gpt-7-next")
    project.change_default("RetentionDays", "31")

    project.type(".venv-sam/bin/sam deploy", "y\n")

    assert project.parameters()["OpenAIModel"] == "gpt-6-luna"


def test_without_an_answer_nothing_is_deployed(project: Project) -> None:
    project.make_deploy("\n")

    (found,) = project.clients.get("cloudformation").describe_stacks(StackName="jobchain")["Stacks"]
    assert found["StackStatus"] == "REVIEW_IN_PROGRESS"


def test_a_guided_deployment_ends_with_enter_for_every_question_and_make_deploy_warns_of_what_it_pins(
    project: Project, template: dict[str, Any]
) -> None:
    # given Enter for each parameter and for the eight questions of SAM's own, and y for the change set
    said = project.type(".venv-sam/bin/sam deploy --guided", "\n" * (len(template["Parameters"]) + 8) + "y\n")

    # then it is deployed, with every default pinned
    assert "has no authentication" not in said
    assert "Do you want to" not in said
    assert project.parameters()["OpenAIModel"] == "gpt-6-luna"
    saved = tomllib.loads(project.config)["default"]["deploy"]["parameters"]["parameter_overrides"]
    assert 'OpenAIModel="gpt-6-luna"' in saved

    # and the next deployment names what would keep later defaults out
    warned = re.search(r"samconfig.toml sets (.*) to the template's defaults", project.make_deploy())
    assert warned
    assert {*warned[1].split(", ")} == template["Parameters"].keys() - {"OpenAIBaseUrl"}


def test_the_stack_is_deleted_as_the_docs_say(project: Project) -> None:
    project.make_deploy()

    project.type(".venv-sam/bin/sam delete --stack-name jobchain", "y\n" * 3)

    clients = project.clients.get("cloudformation")
    left = [stack["StackName"] for stack in clients.describe_stacks()["Stacks"]]
    assert "jobchain" not in left
