"""Where the emulator differs from AWS, and what closes each gap. The template itself stays plain AWS.

Each function is named for the gap that it closes. Those of `IN_TEMPLATE` change the translated template before
it is deployed, those of `AFTER_DEPLOY` call the emulator once the stack stands. Found with ministack 1.5.33 and
LocalStack 4.14.0.
"""

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

from local.emulator_clients import Clients
from local.sam_template import Template, of_type

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


def numbers_find_nothing_in_maps(template: Template) -> None:
    """A Number parameter that names a key of a map becomes its text, as the keys are.

    LocalStack looks for the number, finds no key, and refuses the stack.
    """
    numbers = {
        name: str(parameter["Default"])
        for name, parameter in template.get("Parameters", {}).items()
        if parameter["Type"] == "Number" and "Default" in parameter
    }
    for section in ("Conditions", "Resources", "Outputs"):
        if section in template:
            template[section] = _with_text_keys(template[section], numbers)


def retain_except_on_create_is_unknown(template: Template) -> None:
    """What outlives its stack gets the plain policy: LocalStack deletes what has the other one."""
    for resource in template["Resources"].values():
        if resource.get("DeletionPolicy") == "RetainExceptOnCreate":
            resource["DeletionPolicy"] = "Retain"


def api_id_is_random(template: Template) -> None:
    """The id of the (one) API is part of its URL: a tag of the emulator's, or of LocalStack's, pins it."""
    for api in of_type(template, "AWS::ApiGateway::RestApi").values():
        tags = api["Properties"].setdefault("Tags", [])
        tags += [{"Key": key, "Value": API_ID} for key in ("ms-custom-id", "_custom_id_")]


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


def code_deploy_is_missing(template: Template) -> None:
    """An alias moves to a new version at once, as with a deployment of the type AllAtOnce."""
    gone = of_type(template, "AWS::CodeDeploy::Application", "AWS::CodeDeploy::DeploymentGroup")
    _remove(template, *gone)
    # The permissions of hooks name them; without CodeDeploy no hook is called.
    template["Resources"] = _by_name(template["Resources"], gone.keys())
    for alias in of_type(template, "AWS::Lambda::Alias").values():
        alias.pop("UpdatePolicy", None)


def alarms_take_no_expressions(template: Template) -> None:
    """An alarm on an expression is left out. No alarm fires in an emulator in any case."""
    alarms = of_type(template, "AWS::CloudWatch::Alarm")
    _remove(template, *(name for name, alarm in alarms.items() if "Metrics" in alarm["Properties"]))


def source_has_no_versions(template: Template) -> None:
    """Aliases lead to the functions as they are now: these run from source, which no version would freeze."""
    versions = of_type(template, "AWS::Lambda::Version")
    _remove(template, *versions)
    template["Resources"] = _latest(template["Resources"], versions.keys())


def secrets_have_no_policies(template: Template) -> None:
    """A policy of a secret, and what waits for it, are left out: the model's key comes from the environment."""
    _remove(
        template, *of_type(template, "AWS::SecretsManager::ResourcePolicy", "AWS::CloudFormation::WaitConditionHandle")
    )


IN_TEMPLATE: tuple[Callable[[Template], None], ...] = (
    any_method_is_dropped,
    number_parameters_stay_text,
    numbers_find_nothing_in_maps,
    retain_except_on_create_is_unknown,
    api_id_is_random,
    code_deploy_is_missing,
    alarms_take_no_expressions,
    source_has_no_versions,
    secrets_have_no_policies,
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


def _remove(template: Template, *names: str) -> None:
    """Leaves out resources, and whatever waits for them waits no more."""
    resources = template["Resources"] = {
        name: resource for name, resource in template["Resources"].items() if name not in names
    }
    for resource in resources.values():
        depends = resource.get("DependsOn", [])
        left = [name for name in ([depends] if isinstance(depends, str) else depends) if name not in names]
        if depends and not left:
            del resource["DependsOn"]
        elif depends:
            resource["DependsOn"] = left


def _with_text_keys(value: Any, numbers: Mapping[str, str]) -> Any:
    """The value with the text of the Number parameters in place of a reference that is a key of `Fn::FindInMap`."""
    match value:
        case {"Fn::FindInMap": [name, *keys]}:
            return {"Fn::FindInMap": [name, *(_text_key(key, numbers) for key in keys)]}
        case dict():
            return {key: _with_text_keys(part, numbers) for key, part in value.items()}
        case list():
            return [_with_text_keys(part, numbers) for part in value]
    return value


def _text_key(key: Any, numbers: Mapping[str, str]) -> Any:
    match key:
        case {"Ref": name} if name in numbers:
            return numbers[name]
    return key


def _latest(value: Any, versions: Collection[str]) -> Any:
    """The value with "$LATEST" in place of the number of any of the versions."""
    match value:
        case {"Fn::GetAtt": [str(name), "Version"]} if name in versions:
            return "$LATEST"
        case dict():
            return {key: _latest(part, versions) for key, part in value.items()}
        case list():
            return [_latest(part, versions) for part in value]
    return value


def _by_name(value: Any, gone: Collection[str]) -> Any:
    """The value with the names of the resources that are gone, in place of what a text substitutes for them."""
    match value:
        case {"Fn::Sub": str(text)}:
            return {"Fn::Sub": re.sub(r"\$\{(\w+)\}", lambda found: found[1] if found[1] in gone else found[0], text)}
        case dict():
            return {key: _by_name(part, gone) for key, part in value.items()}
        case list():
            return [_by_name(part, gone) for part in value]
    return value


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
