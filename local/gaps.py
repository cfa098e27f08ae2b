"""Where the emulator differs from AWS, and what closes each gap. The template itself stays plain AWS.

Each function is named for the gap that it closes. Those of `IN_TEMPLATE` change the translated template before
it is deployed, those of `AFTER_DEPLOY` call the emulator once the stack stands. Found with ministack 1.5.33.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from local.aws import Clients
from local.sam import Template, of_type

API_ID = "jobchain"

_ANY = "x-amazon-apigateway-any-method"
_VERBS = ("get", "post", "put", "delete", "patch", "head", "options")
_GATEWAY_RESPONSES = "x-amazon-apigateway-gateway-responses"


def any_method_is_dropped(template: Template) -> None:
    """`Method: ANY` becomes one method for each verb."""
    for api in of_type(template, "AWS::ApiGateway::RestApi").values():
        for path in api["Properties"].get("Body", {}).get("paths", {}).values():
            operation = path.pop(_ANY, None)
            for verb in _VERBS if operation else ():
                path.setdefault(verb, operation)


def number_parameters_stay_text(template: Template) -> None:
    """An event source whose `MaximumConcurrency` or `BatchSize` is a parameter gets its number.

    The emulator compares the text with a number, and then no queue is polled any more.
    """
    for source in of_type(template, "AWS::Lambda::EventSourceMapping").values():
        properties = source["Properties"]
        for place, name in ((properties.get("ScalingConfig", {}), "MaximumConcurrency"), (properties, "BatchSize")):
            number = place.get(name)
            if isinstance(number, dict) and "Ref" in number:
                place[name] = int(template["Parameters"][number["Ref"]]["Default"])


def api_id_is_random(template: Template) -> None:
    """The id of the (one) API is part of its URL: a tag that the emulator knows pins it."""
    for api in of_type(template, "AWS::ApiGateway::RestApi").values():
        api["Properties"].setdefault("Tags", []).append({"Key": "ms-custom-id", "Value": API_ID})


def ttl_is_ignored(clients: Clients, template: Template, ids: Mapping[str, str]) -> None:
    """A table's TTL is set by its own call; where it is set already, that is an error."""
    for name, table in of_type(template, "AWS::DynamoDB::Table").items():
        wanted = table["Properties"].get("TimeToLiveSpecification")
        dynamodb = clients.get("dynamodb")
        if not wanted or _ttl(dynamodb, ids[name]) == wanted:
            continue
        dynamodb.update_time_to_live(TableName=ids[name], TimeToLiveSpecification=wanted)


def gateway_responses_are_ignored(clients: Clients, template: Template, ids: Mapping[str, str]) -> None:
    """The gateway's own answers are put one by one, and reach the stage by a deployment."""
    stages = of_type(template, "AWS::ApiGateway::Stage")
    for name, api in of_type(template, "AWS::ApiGateway::RestApi").items():
        if not (responses := api["Properties"].get("Body", {}).get(_GATEWAY_RESPONSES)):
            continue
        gateway = clients.get("apigateway")
        for kind, response in responses.items():
            gateway.put_gateway_response(restApiId=ids[name], responseType=kind, **_as_arguments(response))
        for stage, resource in stages.items():
            if resource["Properties"]["RestApiId"] == {"Ref": name}:
                gateway.create_deployment(restApiId=ids[name], stageName=ids[stage])


IN_TEMPLATE: tuple[Callable[[Template], None], ...] = (
    any_method_is_dropped,
    number_parameters_stay_text,
    api_id_is_random,
)
AFTER_DEPLOY: tuple[Callable[[Clients, Template, Mapping[str, str]], None], ...] = (
    ttl_is_ignored,
    gateway_responses_are_ignored,
)


def without_apis(template: Template) -> Template:
    """The template without its APIs and whatever refers to them.

    The emulator replaces an API whose definition changed, and can't give the new one the id of the old.
    Deploying this first removes the old one, while tables and queues keep their data.
    """
    gone = {name for name, resource in template["Resources"].items() if resource["Type"].startswith("AWS::ApiGateway")}
    kept = {name: resource for name, resource in template["Resources"].items() if name not in gone}
    while dangling := {name for name, resource in kept.items() if references(resource) & gone}:
        gone |= dangling
        kept = {name: resource for name, resource in kept.items() if name not in gone}
    outputs = {name: output for name, output in template.get("Outputs", {}).items() if not references(output) & gone}
    return {**template, "Resources": kept, "Outputs": outputs}


def references(value: Any) -> set[str]:
    """The logical ids that a part of a template refers to."""
    match value:
        case {"Ref": str(name)}:
            return {name}
        case {"Fn::GetAtt": [str(name), *_]}:
            return {name}
        case {"Fn::GetAtt": str(path)}:
            return {path.partition(".")[0]}
        case {"Fn::Sub": str(text)}:
            return _substituted(text)
        case {"Fn::Sub": [str(text), own]}:
            return _substituted(text) | references(own)
        case dict():
            depends = value.get("DependsOn", [])
            named = {depends} if isinstance(depends, str) else set(depends)
            return named.union(*map(references, value.values()))
        case list():
            return set().union(*map(references, value))
    return set()


def _substituted(text: str) -> set[str]:
    return set(re.findall(r"\$\{(\w+)", text))


def _ttl(dynamodb: Any, table: str) -> dict[str, Any]:
    now = dynamodb.describe_time_to_live(TableName=table)["TimeToLiveDescription"]
    return {"AttributeName": now.get("AttributeName"), "Enabled": now["TimeToLiveStatus"] == "ENABLED"}


def _as_arguments(response: Mapping[str, Any]) -> dict[str, Any]:
    values = {name: response.get(name) for name in ("statusCode", "responseParameters", "responseTemplates")}
    if values["statusCode"] is not None:
        values["statusCode"] = str(values["statusCode"])
    return {name: value for name, value in values.items() if value}
