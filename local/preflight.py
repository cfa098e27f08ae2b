"""Checks the model of a deployment: whether its server has it, until when, and whether its price is known."""

import asyncio
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from jobchain import errors
from jobchain.connection import (
    UnusableSetting,
    check_http_environment,
    checked_key,
    checked_model_url,
    checked_name,
    is_loopback,
    is_private,
    shown,
)
from jobchain.domain import utc_now
from jobchain.errors import ModelError, UnknownModel
from jobchain.providers import OPENAI_URL
from jobchain_cli.slow import told_when_slow
from jobchain_cli.stack import aws_session
from jobchain_cli.words import printable
from jobchain_worker.openai_calls import create_client
from jobchain_worker.openai_models import find_shutdown
from local import preflight_bedrock
from local.env_file import read_env_file
from local.errors import LocalError, SettingsError
from local.model_report import Report, missing_price, report_of_end
from local.preflight_bedrock import BedrockTarget

DEFAULT_MODEL = "gpt-6-luna"
"""The template's own, where nothing names another."""

LIMIT = timedelta(seconds=10)

# The client insists on a key; many a server that is not OpenAI's does not.
_PLACEHOLDER_KEY = "no-key-needed"


@dataclass(frozen=True, slots=True)
class Target:
    """A model and where it is asked."""

    model: str
    base_url: str
    api_key: str = field(repr=False)


class PreflightError(LocalError):
    """The check could not run; says why."""


def run(root: Path, stack_name: str | None) -> int:
    """Prints the report on the model of a stack, else of `.env` in `root`; 0 if jobs can run with it.

    Raises SettingsError, PreflightError.
    """
    try:
        if stack_name:
            target = target_of_stack(aws_session(), stack_name, os.environ)
        else:
            target = target_of({**read_env_file(root / ".env"), **os.environ})
    except (errors.SettingsError, ClientError, BotoCoreError) as error:
        raise PreflightError(" ".join(str(error).split())) from error
    check(target, os.environ)
    at = f"the model's server at {shown(target.base_url)}" if isinstance(target, Target) else "AWS"
    with told_when_slow(at):
        report = preflight(target, utc_now().date())
    for fact in report.facts:
        print(printable(fact))
    for warning in report.warnings:
        print(f"warning: {printable(warning)}", file=sys.stderr)
    for failure in report.failures:
        print(f"error: {printable(failure)}", file=sys.stderr)
    return 1 if report.failures else 0


def target_of(settings: Mapping[str, str | None]) -> Target | BedrockTarget:
    """What variables such as those of `.env` name. Raises SettingsError."""
    if settings.get("MODEL_PROVIDER") == "bedrock":
        model, url = settings.get("OPENAI_MODEL") or DEFAULT_MODEL, settings.get("OPENAI_BASE_URL") or ""
        return BedrockTarget(model, url, aws_session())
    key, url = (settings.get("OPENAI_API_KEY") or "").strip(), (settings.get("OPENAI_BASE_URL") or "").strip()
    if not key and not url:
        raise SettingsError(
            "no model is set: set OPENAI_API_KEY or OPENAI_BASE_URL, or name a stack: `make preflight STACK=name`"
        )
    return Target(settings.get("OPENAI_MODEL") or DEFAULT_MODEL, url or OPENAI_URL, key or _PLACEHOLDER_KEY)


def target_of_stack(session: Any, name: str, environment: Mapping[str, str]) -> Target | BedrockTarget:
    """What the CloudFormation stack of this name asks, or would if it had the environment's settings.

    `session` is a boto3 session. Raises SettingsError, ClientError.
    """
    (stack,) = session.client("cloudformation").describe_stacks(StackName=name)["Stacks"]
    parameters = {entry["ParameterKey"]: entry.get("ParameterValue", "") for entry in stack.get("Parameters", [])}
    try:
        model, url, secret = (parameters[part] for part in ("OpenAIModel", "OpenAIBaseUrl", "OpenAISecretName"))
    except KeyError as missing:
        raise SettingsError(
            f"the stack {name} has no parameter {missing.args[0]}: name one that template.yaml was deployed to"
        ) from None
    if (environment.get("MODEL_PROVIDER") or parameters.get("ModelProvider")) == "bedrock":
        own = environment.get("OPENAI_MODEL"), environment.get("OPENAI_BASE_URL")
        return BedrockTarget(own[0] or model, own[1] or url, session)
    # A key goes to no server but the one that it belongs to.
    own_url, own_key = environment.get("OPENAI_BASE_URL"), environment.get("OPENAI_API_KEY")
    if own_url:
        url, key = own_url, own_key or _PLACEHOLDER_KEY
    elif own_key and not url:
        url, key = OPENAI_URL, own_key
    else:
        key = _key_of_stack(session, secret)
    return Target(environment.get("OPENAI_MODEL") or model, url or OPENAI_URL, key)


def _key_of_stack(session: Any, secret: str) -> str:
    try:
        return secret_of(session, secret)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFoundException":
            raise
        raise SettingsError(
            f"there is no secret {secret}, which is to hold the model's key: create it as "
            "docs/how-to/first-deployment.md says, or set OPENAI_API_KEY, or OPENAI_BASE_URL"
        ) from error


def check(target: Target | BedrockTarget, environment: Mapping[str, str], url_name: str = "OPENAI_BASE_URL") -> None:
    """Checks what the server is asked with: the key, the URL, proxies and certificate files. Raises SettingsError."""
    if isinstance(target, BedrockTarget):
        preflight_bedrock.check(target)
        return
    try:
        checked_name("OPENAI_MODEL", target.model)
        checked_model_url(url_name, target.base_url)
        checked_key("OPENAI_API_KEY", target.api_key)
        if not is_loopback(target.base_url):
            check_http_environment(environment)
    except UnusableSetting as error:
        raise SettingsError(str(error)) from error


def secret_of(session: Any, name: str) -> str:
    """The key that a secret holds. Raises SettingsError where it holds none, ClientError."""
    content: str = session.client("secretsmanager").get_secret_value(SecretId=name).get("SecretString", "")
    try:
        return checked_key(f"the secret {name}", content)
    except UnusableSetting as error:
        raise SettingsError(str(error)) from error


def preflight(target: Target | BedrockTarget, today: date) -> Report:
    """Asks the server about the model, which takes seconds at most and costs nothing."""
    if isinstance(target, BedrockTarget):
        return preflight_bedrock.preflight(target, today)
    model = target.model
    warnings = price_warnings(target)
    if target.base_url.lower().startswith("http://") and not is_private(target.base_url):
        warnings = (f"{target.base_url} is plain http: the key and all texts can be read on the way", *warnings)
    try:
        shutdown = asyncio.run(_find_shutdown(target))
    except UnknownModel as unknown:
        return Report(warnings=warnings, failures=(_unknown(target, unknown.names),))
    except ModelError as error:
        return Report(warnings=warnings, failures=(f"{target.base_url} does not tell about {model}: {error}",))
    return report_of_end(target.base_url, model, shutdown, today) + Report(warnings=warnings)


async def _find_shutdown(target: Target) -> date | None:
    async def key() -> str:
        return target.api_key

    async with create_client(target.base_url, key, LIMIT) as client:
        return await find_shutdown(client, target.model, LIMIT)


def _unknown(target: Target, names: tuple[str, ...]) -> str:
    near = get_close_matches(target.model, names, n=3, cutoff=0.3) or names[:3]
    has = f"; the nearest that it has: {', '.join(near)}" if near else ""
    return f"{target.base_url} knows no model {target.model}{has}"


def price_warnings(target: Target) -> tuple[str, ...]:
    """Whether the model's price is missing. A model that runs on this machine needs none."""
    return () if is_loopback(target.base_url) else missing_price(target.model)
