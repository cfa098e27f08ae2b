"""Deploys what `sam build` made to an emulator that runs already, such as LocalStack: for `docker compose up`."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from local import sam_template
from local.architecture import machine_architecture
from local.deployer import Deployer, DeployError, Deployment
from local.emulator_clients import Clients, Credentials
from local.errors import LocalError
from local.function_zips import BUILD, FunctionZips, check_build
from local.settings import Settings
from local.stack import PLACEHOLDER_KEY, offered

# Seconds. LocalStack fetches the image that functions run in while it creates the first one.
LIMIT = 600.0
_ANSWERS_WITHIN = 60.0
# What LocalStack says, and all that it says, where it can't fetch that image.
_NO_IMAGE = "Error while creating lambda"


class EndpointError(LocalError):
    """No emulator answers there, or it refused a call; says which and what to do."""


@dataclass(frozen=True, slots=True)
class Target:
    """An emulator, and the URLs that its functions get.

    `endpoint_url` is where this process reaches it, `public_url` where the user does. `model_url` is the model's server
    as the functions reach it, where the settings name neither a server nor a key. `credentials` are the emulator's.
    """

    endpoint_url: str
    public_url: str
    model_url: str
    credentials: Credentials = field(default_factory=Credentials)


def run(root: Path, build: Path | None, target: Target, settings: Settings, say: Callable[[str], None]) -> str:
    """Deploy the build of the project in `root`; gives the API's URL. Deploying the same build again changes nothing.

    `build` is another build, of whatever sources. Raises BuildError, EndpointError, TemplateError, DeployError.
    """
    if build is None:
        check_build(root)
        build = root / BUILD
    clients = Clients(target.endpoint_url, credentials=target.credentials)
    _wait_for(clients, target.endpoint_url)
    template = build / "template.yaml"
    base_url = settings.openai_base_url or ("" if settings.openai_api_key else target.model_url)
    chosen = {**offered(settings, base_url, template), "Architecture": machine_architecture()}
    try:
        _put_secret(clients, template, settings.openai_api_key or PLACEHOLDER_KEY)
        deployer = Deployer(clients, template, code=FunctionZips(clients, build).put, limit=LIMIT)
        deployment = deployer.deploy_over(chosen, say)
    except DeployError as error:
        told = str(error).replace(target.endpoint_url, target.public_url)
        raise DeployError(f"{told}{_hint(told)}") from error
    except (ClientError, BotoCoreError) as error:
        raise EndpointError(f"{target.endpoint_url}: {error}") from error
    return _tell(deployment, target, base_url or "OpenAI", say)


def _hint(error: str) -> str:
    if _NO_IMAGE not in error:
        return ""
    return (
        "\nLocalStack downloads the image that functions run in at each start, even if it has it: "
        "is there a network? `docker compose logs localstack` tells more."
    )


def _tell(deployment: Deployment, target: Target, model: str, say: Callable[[str], None]) -> str:
    api_url = deployment.api_url.replace(target.endpoint_url, target.public_url, 1)
    say(f"API       {api_url}")
    say(f"Dashboard {api_url}/queue")
    say(f"API docs  {api_url}/docs")
    say(f"AWS       {target.public_url}")
    say(f"Model     {model}")
    return api_url


def _wait_for(clients: Clients, endpoint_url: str) -> None:
    deadline = time.monotonic() + _ANSWERS_WITHIN
    while True:
        try:
            clients.get("sts").get_caller_identity()
        except (ClientError, BotoCoreError) as error:
            if time.monotonic() > deadline:
                raise EndpointError(f"no emulator answers at {endpoint_url}: is it up? ({error})") from error
            time.sleep(0.5)
        else:
            return


def _put_secret(clients: Clients, template: Path, key: str) -> None:
    """The model's key where the worker looks for it, as on AWS: no parameter shows it."""
    parameters: Mapping[str, Any] = sam_template.read(template).get("Parameters") or {}
    if not (name := parameters.get("OpenAISecretName", {}).get("Default")):
        return
    secrets = clients.get("secretsmanager")
    try:
        secrets.create_secret(Name=name, SecretString=key)
    except secrets.exceptions.ResourceExistsException:
        secrets.put_secret_value(SecretId=name, SecretString=key)
