"""`python -m local.deploy_check ENVIRONMENT`: what would fail a deployment, before it is built for minutes.

With `--architecture` it only prints what has to be built. With `--parameters` it only prints the value of every
parameter, as YAML for `sam deploy --parameter-overrides file://…`: CloudFormation keeps a stack's value of each
parameter that a deployment leaves out, so a template's new default would never arrive. Each has a Revision of its own.
https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_Parameter.html
With `--next` it only prints how to test what was deployed.

Checks that there are credentials, a region and the model's key, and that the model's server has the model.
"""

import json
import os
import re
import shlex
import string
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import boto3
import yaml
from botocore.exceptions import BotoCoreError, ClientError

from jobchain import errors
from jobchain.domain import utc_now
from jobchain.providers import OPENAI_URL
from jobchain_cli.slow import told_when_slow
from jobchain_cli.stack import NO_REGION, check_aws
from local.errors import LocalError, SettingsError
from local.model_report import Report
from local.preflight import Target, check, preflight, secret_of
from local.preflight_bedrock import BedrockTarget

ROOT = Path(__file__).resolve().parent.parent

PINNED = (
    "samconfig.toml sets {} to the template's defaults, as `sam deploy --guided` does. "
    "Remove from parameter_overrides what you do not mean to keep when a default changes"
)

_UNREADABLE = "samconfig.toml has the parameter override {!r}: write it as Name=value"

# All of a template's tags matter to CloudFormation alone.
_Loader = type("_Loader", (yaml.SafeLoader,), {})
_Loader.add_multi_constructor("!", lambda *_: None)  # type: ignore[attr-defined]


class DeployCheckError(LocalError):
    """A deployment would fail; says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """What is deployed: the settings of `sam deploy`, and the value of every parameter of the template."""

    settings: Mapping[str, Any]
    parameters: Mapping[str, str]
    pinned: tuple[str, ...]
    """Parameters that samconfig.toml sets to what is the template's default."""
    revision: str = ""
    """The name of the deployment, if samconfig.toml sets one."""


def deployment(root: Path, environment: str) -> Deployment:
    """What `sam deploy` finds in samconfig.toml and template.yaml. Raises DeployCheckError."""
    config = tomllib.loads((root / "samconfig.toml").read_text())
    if environment not in config or environment == "version":
        known = ", ".join(name for name in config if name != "version")
        raise DeployCheckError(f"samconfig.toml has no environment {environment}: use one of {known}")
    parts = (config[environment].get(part, {}).get("parameters", {}) for part in ("global", "deploy"))
    settings = {name: value for part in parts for name, value in part.items()}
    if "stack_name" not in settings:
        raise DeployCheckError(
            f"samconfig.toml names no stack_name for {environment}: add it below [{environment}.global.parameters]"
        )
    template = yaml.load((root / "template.yaml").read_text(), _Loader)  # noqa: S506  # a SafeLoader
    defaults = {name: str(parameter.get("Default", "")) for name, parameter in template["Parameters"].items()}
    overrides = dict(_overrides(settings.get("parameter_overrides", [])))
    if unknown := overrides.keys() - defaults.keys():
        # SAM ignores these silently.
        raise DeployCheckError(f"samconfig.toml sets {', '.join(sorted(unknown))}: the template has no such parameter")
    pinned = tuple(name for name, value in overrides.items() if value == defaults[name])
    named = "" if "Revision" in pinned else overrides.get("Revision", "")
    return Deployment(settings, {**defaults, **overrides}, pinned, named)


def revision(now: datetime) -> str:
    """The name of a deployment: the seconds of the epoch, to the base of 36. The names of later ones sort behind it."""
    seconds, text = int(now.timestamp()), ""
    while seconds:
        seconds, digit = divmod(seconds, 36)
        text = (string.digits + string.ascii_lowercase)[digit] + text
    return text


def _overrides(written: object) -> Iterator[tuple[str, str]]:
    """Names and values of `parameter_overrides`, which may be a text, a list or a table. Raises DeployCheckError."""
    match written:
        case str():
            # `sam deploy --guided` writes them as one text, with each value in quotes.
            for override in shlex.split(written):
                if not (found := re.fullmatch(r"([A-Za-z0-9]+)=(.*)", override, re.DOTALL)):
                    raise DeployCheckError(_UNREADABLE.format(override))
                yield found[1], found[2]
        case list():
            for part in written:
                yield from _overrides(part)
        case dict():
            for name, value in written.items():
                # TOML's own true and false are CloudFormation's words.
                yield name, str(value).lower() if isinstance(value, bool) else str(value)
        case _:
            raise DeployCheckError(_UNREADABLE.format(written))


def check_account(session: Any) -> str:
    """Which account and region a boto3 session leads to. Raises DeployCheckError."""
    if not session.region_name:
        raise DeployCheckError(NO_REGION)
    try:
        caller = session.client("sts").get_caller_identity()
    except (BotoCoreError, ClientError) as error:
        raise DeployCheckError(
            f"AWS takes no credentials from here ({' '.join(str(error).split())}): "
            "run `aws configure` or `aws sso login`, or set AWS_PROFILE"
        ) from error
    return f"Account {caller['Account']}, region {session.region_name}, as {caller['Arn']}."


def check_model(session: Any, parameters: Mapping[str, str]) -> Report:
    """Whether the model can be asked with the key that the stack will have. Raises DeployCheckError."""
    if parameters.get("ModelProvider") == "bedrock":
        return _check_target(BedrockTarget(parameters["OpenAIModel"], parameters["OpenAIBaseUrl"], session))
    name = parameters["OpenAISecretName"]
    try:
        key = secret_of(session, name)
    except session.client("secretsmanager").exceptions.ResourceNotFoundException as error:
        raise DeployCheckError(
            f"there is no secret {name} in {session.region_name}, which holds the model's key. Make it: "
            f"aws secretsmanager create-secret --region {session.region_name} --name {name} --secret-string file://key.txt"
        ) from error
    except SettingsError as error:
        raise DeployCheckError(str(error)) from error
    except (BotoCoreError, ClientError) as error:
        raise DeployCheckError(f"the secret {name} can't be read: {' '.join(str(error).split())}") from error
    return _check_target(Target(parameters["OpenAIModel"], parameters["OpenAIBaseUrl"] or OPENAI_URL, key))


def _check_target(target: Target | BedrockTarget) -> Report:
    try:
        check(target, os.environ, "OpenAIBaseUrl")
    except SettingsError as error:
        raise DeployCheckError(str(error)) from error
    return preflight(target, utc_now().date())


def main(arguments: Sequence[str]) -> int:
    """Prints what is found; 0 where it can be deployed."""
    try:
        environment, *options = arguments
        found = deployment(ROOT, environment)
        if options == ["--architecture"]:
            print(found.parameters["Architecture"])
            return 0
        if options == ["--parameters"]:
            print(json.dumps({**found.parameters, "Revision": found.revision or revision(utc_now())}))
            return 0
        if options == ["--next"]:
            print(f"Test it: .venv/bin/jobchain smoke --stack {shlex.quote(found.settings['stack_name'])}")
            return 0
        check_aws()
        if found.pinned:
            print(f"deploy: warning: {PINNED.format(', '.join(found.pinned))}", file=sys.stderr)
        session = boto3.Session(profile_name=found.settings.get("profile"), region_name=found.settings.get("region"))
        print(f"Stack {found.settings['stack_name']}. {check_account(session)}")
        with told_when_slow("the model's server"):
            report = check_model(session, found.parameters)
    except (LocalError, errors.SettingsError, BotoCoreError) as error:
        print(f"deploy: {error}", file=sys.stderr)
        return 1
    print(*report.facts, sep="\n")
    for words in (*(f"warning: {warning}" for warning in report.warnings), *report.failures):
        print(f"deploy: {words}", file=sys.stderr)
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
