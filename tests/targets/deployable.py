"""Teaches the emulator three types of resources that it does not know, so that `sam deploy` comes to its end there.

Its own process imports this. They are recorded and do nothing: what CodeDeploy and a secret's policy do is not tested.
"""

from typing import Any

from ministack.services.cloudformation import provisioners

NOT_KNOWN = (
    "AWS::CodeDeploy::Application",
    "AWS::CodeDeploy::DeploymentGroup",
    "AWS::SecretsManager::ResourcePolicy",
)


def _create(logical_id: str, _properties: dict[str, Any], stack_name: str) -> tuple[str, dict[str, Any]]:
    return f"{stack_name}-{logical_id}", {}


def _delete(_physical_id: str, _properties: dict[str, Any]) -> None:
    pass


for _type in NOT_KNOWN:
    provisioners._RESOURCE_HANDLERS[_type] = {"create": _create, "delete": _delete}
