"""What CloudFormation makes of a part of the template with given parameters: conditions, mappings and texts."""

import re
from collections.abc import Mapping
from typing import Any

ABSENT = object()
"""What `AWS::NoValue` leaves of a part."""


def defaults(template: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(parameter["Default"]) for name, parameter in template["Parameters"].items()}


def evaluated(part: Any, template: Mapping[str, Any], parameters: Mapping[str, str]) -> Any:
    """The part with the parameters' values. What only a deployment knows stays as it is, such as `Fn::GetAtt`."""

    def value(inner: Any) -> Any:
        return evaluated(inner, template, parameters)

    match part:
        case list():
            return [found for inner in part if (found := value(inner)) is not ABSENT]
        case {"Ref": "AWS::NoValue"}:
            return ABSENT
        case {"Ref": name} if name in parameters:
            return parameters[name]
        case {"Condition": str(name)} if len(part) == 1:
            return value(template["Conditions"][name])
        case {"Fn::Equals": [left, right]}:
            return value(left) == value(right)
        case {"Fn::Not": [inner]}:
            return not value(inner)
        case {"Fn::Or": inner}:
            return any(map(value, inner))
        case {"Fn::If": [name, yes, no]}:
            return value(yes if value(template["Conditions"][name]) else no)
        case {"Fn::FindInMap": [name, first, second]}:
            return template["Mappings"][name][value(first)][value(second)]
        case {"Fn::Sub": str(text)}:
            return _filled(text, parameters)
        case {"Fn::Sub": [text, names]}:
            return _filled(text, {**parameters, **{name: value(inner) for name, inner in names.items()}})
        case dict():
            found = {name: value(inner) for name, inner in part.items()}
            return {name: inner for name, inner in found.items() if inner is not ABSENT}
    return part


def _filled(text: str, values: Mapping[str, Any]) -> Any:
    filled = re.sub(r"\$\{(\w+)\}", lambda found: str(values.get(found[1], found[0])), text)
    return {"Fn::Sub": filled} if "${" in filled else filled
