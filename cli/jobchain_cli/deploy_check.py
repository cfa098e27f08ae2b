"""`python -m jobchain_cli.deploy_check ENVIRONMENT`: what would fail a deployment, before it is built for minutes.

With `--architecture` it only tells what has to be built.

Looks whether there are credentials, a region and the model's key, and asks the model's server about the model.
"""

import os
import shlex
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import boto3
import yaml
from botocore.exceptions import BotoCoreError, ClientError

from jobchain.errors import SettingsError
from jobchain.model import utc_now
from jobchain_cli.preflight import OPENAI_URL, Report, Target, check, preflight, secret_of
from jobchain_cli.slow import told_when_slow
from jobchain_cli.stack import check_aws

ROOT = Path(__file__).resolve().parent.parent.parent

# All of a template's tags matter to CloudFormation alone.
_Loader = type("_Loader", (yaml.SafeLoader,), {})
_Loader.add_multi_constructor("!", lambda *_: None)  # type: ignore[attr-defined]


class DeployError(Exception):
    """It can't be deployed like this; says why, and what to do."""


def deployment(root: Path, environment: str) -> tuple[dict[str, Any], dict[str, str]]:
    """The settings of `sam deploy` in samconfig.toml, and the template's parameters with its overrides.

    Raises DeployError.
    """
    config = tomllib.loads((root / "samconfig.toml").read_text())
    if environment not in config or environment == "version":
        known = ", ".join(name for name in config if name != "version")
        raise DeployError(f"samconfig.toml has no environment {environment}: use one of {known}")
    parts = (config[environment].get(part, {}).get("parameters", {}) for part in ("global", "deploy"))
    settings = {name: value for part in parts for name, value in part.items()}
    if "stack_name" not in settings:
        raise DeployError(
            f"samconfig.toml names no stack_name for {environment}: add it below [{environment}.global.parameters]"
        )
    template = yaml.load((root / "template.yaml").read_text(), _Loader)  # noqa: S506  # a SafeLoader
    parameters = {name: str(parameter.get("Default", "")) for name, parameter in template["Parameters"].items()}
    overrides = settings.get("parameter_overrides", [])
    # `sam deploy --guided` writes them as one text, with each value in quotes.
    for override in shlex.split(overrides) if isinstance(overrides, str) else overrides:
        name, _, value = override.partition("=")
        parameters[name] = value.strip('"')
    return settings, parameters


def check_account(session: Any) -> str:
    """Which account and region a boto3 session leads to. Raises DeployError."""
    if not session.region_name:
        raise DeployError("no region is set: export AWS_DEFAULT_REGION=eu-central-1, say, or run `aws configure`")
    try:
        caller = session.client("sts").get_caller_identity()
    except (BotoCoreError, ClientError) as error:
        raise DeployError(
            f"AWS takes no credentials from here ({' '.join(str(error).split())}): "
            "run `aws configure` or `aws sso login`, or set AWS_PROFILE"
        ) from error
    return f"Account {caller['Account']}, region {session.region_name}, as {caller['Arn']}."


def check_model(session: Any, parameters: Mapping[str, str]) -> Report:
    """Whether the model can be asked with the key that the stack will have. Raises DeployError."""
    name = parameters["OpenAISecretName"]
    try:
        key = secret_of(session, name)
    except session.client("secretsmanager").exceptions.ResourceNotFoundException as error:
        raise DeployError(
            f"there is no secret {name} in {session.region_name}, which holds the model's key. Make it: "
            f"aws secretsmanager create-secret --region {session.region_name} --name {name} --secret-string file://key.txt"
        ) from error
    except SettingsError as error:
        raise DeployError(str(error)) from error
    except (BotoCoreError, ClientError) as error:
        raise DeployError(f"the secret {name} can't be read: {' '.join(str(error).split())}") from error
    target = Target(parameters["OpenAIModel"], parameters["OpenAIBaseUrl"] or OPENAI_URL, key)
    try:
        check(target, os.environ, "OpenAIBaseUrl")
    except SettingsError as error:
        raise DeployError(str(error)) from error
    return preflight(target, utc_now().date())


def main(arguments: Sequence[str]) -> int:
    """Prints what is found; 0 where it can be deployed."""
    try:
        environment, *options = arguments
        settings, parameters = deployment(ROOT, environment)
        if options == ["--architecture"]:
            print(parameters["Architecture"])
            return 0
        check_aws()
        session = boto3.Session(profile_name=settings.get("profile"), region_name=settings.get("region"))
        print(f"Stack {settings['stack_name']}. {check_account(session)}")
        with told_when_slow("the model's server"):
            report = check_model(session, parameters)
    except (DeployError, SettingsError, BotoCoreError) as error:
        print(f"deploy: {error}", file=sys.stderr)
        return 1
    print(*report.facts, sep="\n")
    for words in (*(f"warning: {warning}" for warning in report.warnings), *report.failures):
        print(f"deploy: {words}", file=sys.stderr)
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
