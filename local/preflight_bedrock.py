"""Checks a model of Bedrock with the caller's own credentials, which may have other rights than the worker's role."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date
from difflib import get_close_matches
from typing import Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from jobchain.connection import UnusableSetting, checked_name
from jobchain.providers import server_url, signing_region
from local.errors import SettingsError
from local.model_report import Report, missing_price, report_of_end

_CONFIG = Config(connect_timeout=5, read_timeout=10, retries={"total_max_attempts": 2})
_NOT_THERE = ("ResourceNotFoundException", "ValidationException")


@dataclass(frozen=True, slots=True)
class BedrockTarget:
    """A model or an inference profile of Bedrock, the URL at which it is asked, empty for Bedrock's own, and who asks.

    `session` is a boto3 session.
    """

    model: str
    base_url: str
    session: Any = field(repr=False, compare=False)


def check(target: BedrockTarget) -> str:
    """The region in which the model is asked. Raises SettingsError."""
    try:
        checked_name("OPENAI_MODEL", target.model)
        region = target.session.region_name or ""
        return signing_region(server_url("bedrock", target.base_url, region), region)
    except UnusableSetting as error:
        raise SettingsError(str(error)) from error


def preflight(target: BedrockTarget, today: date) -> Report:
    """Asks AWS about the model, which costs nothing and calls no model. Raises SettingsError."""
    region = check(target)
    place = f"Bedrock in {region}"
    client = target.session.client("bedrock", region_name=region, config=_CONFIG)
    try:
        caller = target.session.client("sts", region_name=region, config=_CONFIG).get_caller_identity()["Arn"]
    except (BotoCoreError, ClientError) as error:
        return Report(failures=(f"AWS takes no credentials from here: {_flat(error)}",))
    try:
        found = _look(client, place, target.model, today)
    except (BotoCoreError, ClientError) as error:
        return Report(failures=(f"{place} does not tell about {target.model}: {_flat(error)}",))
    asked = Report((f"Asked as {caller}; workers call it by their own role.",), missing_price(target.model))
    return found + asked


def _look(client: Any, place: str, model: str, today: date) -> Report:
    regions = _regions_by_model(client, model)
    foundation = next(iter(regions), model)
    try:
        details = client.get_foundation_model(modelIdentifier=foundation)["modelDetails"]
    except ClientError as error:
        if error.response["Error"]["Code"] not in _NOT_THERE:
            raise
        return Report(failures=(_unknown(client, place, model),))
    end = details.get("modelLifecycle", {}).get("endOfLifeTime")
    report = report_of_end(place, model, end and end.astimezone(UTC).date(), today)
    if regions:
        report += Report((f"{model} leads to {foundation} in {', '.join(sorted(regions[foundation]))}.",))
    elif "ON_DEMAND" not in details.get("inferenceTypesSupported", ["ON_DEMAND"]):
        profiles = [name for name in _profiles(client) if name.endswith(f".{model}")]
        such = f", such as {' or '.join(profiles)}" if profiles else ""
        report += Report(failures=(f"{model} can be asked by an inference profile alone{such}",))
    return report + _access(client.get_foundation_model_availability(modelId=foundation), place, foundation)


def _regions_by_model(client: Any, model: str) -> Mapping[str, list[str]]:
    """The models that an inference profile leads to, with their regions; none where there is no such profile."""
    try:
        routed = client.get_inference_profile(inferenceProfileIdentifier=model)["models"]
    except ClientError as error:
        if error.response["Error"]["Code"] not in _NOT_THERE:
            raise
        return {}
    found: dict[str, list[str]] = {}
    for entry in routed:
        parts = entry["modelArn"].split(":")
        # A global profile names the model without a region, too.
        found.setdefault(parts[5].rpartition("/")[2], []).append(parts[3] or "all regions")
    return found


def _access(said: Mapping[str, Any], place: str, model: str) -> Report:
    """What AWS says about the account's access to the model, in words."""
    if said["regionAvailability"] != "AVAILABLE":
        return Report(failures=(f"{place} does not offer {model} to this account",))
    if said["authorizationStatus"] != "AUTHORIZED":
        return Report(failures=(f"you may not use {model}: bedrock:InvokeModel is not allowed to you",))
    if said["entitlementAvailability"] != "AVAILABLE" or said["agreementAvailability"]["status"] != "AVAILABLE":
        return Report(
            failures=(
                f"the account has no access to {model} yet: open it once in Bedrock's model catalog, or call it once "
                "with a role that has aws-marketplace:Subscribe, which the worker's has not",
            )
        )
    return Report((f"The account has access to {model}.",))


def _unknown(client: Any, place: str, model: str) -> str:
    names = (*_profiles(client), *(entry["modelId"] for entry in client.list_foundation_models()["modelSummaries"]))
    near = get_close_matches(model, names, n=3, cutoff=0.3) or names[:3]
    has = f"; the nearest that it has: {', '.join(near)}" if near else ""
    return f"{place} knows no model or inference profile {model}{has}"


def _profiles(client: Any) -> Iterator[str]:
    for page in client.get_paginator("list_inference_profiles").paginate():
        for entry in page["inferenceProfileSummaries"]:
            yield entry["inferenceProfileId"]


def _flat(error: Exception) -> str:
    return " ".join(str(error).split())
