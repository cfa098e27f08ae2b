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
        case {"Fn::If": [name, yes, no]}:
            return value(yes if holds(template["Conditions"][name], template, parameters) else no)
        case {"Fn::FindInMap": [name, first, second]}:
            return template["Mappings"][name][value(first)][value(second)]
        case {"Fn::Sub": str(text)}:
            return _filled(text, parameters)
        case {"Fn::Sub": [text, names]}:
            return _filled(text, {**parameters, **value(names)})
        case dict():
            found = {name: value(inner) for name, inner in part.items()}
            return {name: inner for name, inner in found.items() if inner is not ABSENT}
    return part


def holds(condition: Any, template: Mapping[str, Any], parameters: Mapping[str, str]) -> bool:
    """Whether a condition of the template is true."""
    match condition:
        case {"Condition": str(name)}:
            return holds(template["Conditions"][name], template, parameters)
        case {"Fn::Equals": [left, right]}:
            return bool(evaluated(left, template, parameters) == evaluated(right, template, parameters))
        case {"Fn::Not": [inner]}:
            return not holds(inner, template, parameters)
        case {"Fn::Or": inner}:
            return any(holds(part, template, parameters) for part in inner)
    raise ValueError(f"no condition: {condition}")


def _filled(text: str, values: Mapping[str, Any]) -> Any:
    filled = re.sub(r"\$\{(\w+)\}", lambda found: str(values.get(found[1], found[0])), text)
    return {"Fn::Sub": filled} if "${" in filled else filled
