"""Teaches the emulator what it does not know, so that `sam deploy` comes to its end there.

That is three types of resources, and alarms on expressions.

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


_ALARMS = provisioners._RESOURCE_HANDLERS["AWS::CloudWatch::Alarm"]


def _create_alarm(logical_id: str, properties: dict[str, Any], stack_name: str) -> tuple[str, dict[str, Any]]:
    create = _create if "Metrics" in properties else _ALARMS["create"]
    found: tuple[str, dict[str, Any]] = create(logical_id, properties, stack_name)
    return found


provisioners._RESOURCE_HANDLERS["AWS::CloudWatch::Alarm"] = {**_ALARMS, "create": _create_alarm}

for _type in NOT_KNOWN:
    provisioners._RESOURCE_HANDLERS[_type] = {"create": _create, "delete": _delete}
