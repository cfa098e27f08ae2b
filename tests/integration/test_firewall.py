"""A deployment without keys needs a network rule, which CloudFormation itself checks before it creates anything."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local import sam_template
from local.stack import EmbeddedStack
from tests.conftest import ROOT

NO_KEYS = {"AuthMode": "none"}


@pytest.fixture(scope="module")
def stack() -> Iterator[EmbeddedStack]:
    with EmbeddedStack.start() as stack:
        yield stack


@pytest.fixture(scope="module")
def template() -> dict[str, Any]:
    """The template's own parameters, rules, conditions and firewall, and nothing that costs time to deploy."""
    whole = sam_template.read(ROOT / "template.yaml")
    kept = ("Firewall", "AllowedRanges")
    return {
        **{part: whole[part] for part in ("Parameters", "Rules", "Conditions")},
        "Resources": {
            "Topic": {"Type": "AWS::SNS::Topic"},
            **{name: whole["Resources"][name] for name in kept},
        },
    }


def deploy(stack: EmbeddedStack, template: dict[str, Any], name: str, parameters: dict[str, str]) -> dict[str, str]:
    """The types of the resources that the emulator's CloudFormation has created, by name. Raises ClientError."""
    client = stack.client("cloudformation")
    client.create_stack(
        StackName=name,
        TemplateBody=json.dumps(template),
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
    )
    client.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 0.2, "MaxAttempts": 100})
    found = client.describe_stack_resources(StackName=name)["StackResources"]
    return {resource["LogicalResourceId"]: resource["ResourceType"] for resource in found}


def test_no_keys_and_no_network_rule_are_refused(stack: EmbeddedStack, template: dict[str, Any]) -> None:
    with pytest.raises(ClientError, match="Set AllowedAddresses to the IPv4 ranges of your network"):
        deploy(stack, template, "open", NO_KEYS)


@pytest.mark.parametrize(
    "addresses",
    ["0.0.0.0/0", "0.0.0.0/1,128.0.0.0/1", "203.0.113.7", "203.0.113.0/24, 198.51.100.0/24", "::/1"],
)
def test_ranges_that_are_all_addresses_or_none_are_refused(
    stack: EmbeddedStack, template: dict[str, Any], addresses: str
) -> None:
    with pytest.raises(ClientError, match="AllowedAddresses"):
        deploy(stack, template, "odd", {**NO_KEYS, "AllowedAddresses": addresses})


def test_keys_need_no_firewall(stack: EmbeddedStack, template: dict[str, Any]) -> None:
    assert deploy(stack, template, "keys", {}) == {"Topic": "AWS::SNS::Topic"}
