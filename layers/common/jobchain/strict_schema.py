"""The JSON Schema of an answer, as the strict mode of every provider takes it.

https://platform.openai.com/docs/guides/structured-outputs#supported-schemas

Each object allows no other field and requires all of its own. Limits, which not every strict mode knows, are told in
words: the answer is checked by them in any case, and the model is called again with the complaint.
"""

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from pydantic import BaseModel

MAX_NAME_LENGTH = 64

_KEPT = {
    "$defs",
    "$ref",
    "additionalProperties",
    "anyOf",
    "description",
    "enum",
    "items",
    "properties",
    "required",
    "type",
}
_DATES = {"date": "A date such as 2026-11-29.", "date-time": "A time such as 2026-11-29T14:30:00Z."}


@cache
def strict_schema(answer: type[BaseModel]) -> dict[str, Any]:
    """The schema of the answer. It is made once: do not change it."""
    schema = answer.model_json_schema()
    definitions = schema.get("$defs", {})
    strict = _strict(schema, definitions)
    if definitions:
        strict["$defs"] = {name: _strict(definition, definitions) for name, definition in definitions.items()}
    return strict


def schema_name(answer: type[BaseModel]) -> str:
    """The name of the schema: letters, digits and underscores, at most `MAX_NAME_LENGTH` characters."""
    return re.sub(r"[^a-zA-Z0-9_-]+", "_", answer.__name__)[:MAX_NAME_LENGTH]


def _strict(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    if "$ref" in schema and schema.keys() - {"$ref"}:
        # A reference takes no other keyword beside it.
        schema = {**definitions[schema["$ref"].removeprefix("#/$defs/")], **schema}
        schema.pop("$ref")
    strict = {name: value for name, value in schema.items() if name in _KEPT - {"$defs"}}
    if "const" in schema:
        strict["enum"] = [schema["const"]]
    if "oneOf" in schema:
        strict["anyOf"] = schema["oneOf"]
    if description := " ".join(filter(None, [schema.get("description"), *_limits(schema)])):
        strict["description"] = description
    if "properties" in strict:
        strict["properties"] = {name: _strict(each, definitions) for name, each in strict["properties"].items()}
        strict["required"] = list(strict["properties"])
        strict["additionalProperties"] = False
    if "items" in strict:
        strict["items"] = _strict(strict["items"], definitions)
    if "anyOf" in strict:
        strict["anyOf"] = [_strict(each, definitions) for each in strict["anyOf"]]
    return strict


def _limits(schema: Mapping[str, Any]) -> list[str]:
    """The limits of a value, each as a sentence."""
    told = [_DATES.get(schema.get("format", ""), "")]
    for least, most, unit in (
        ("minimum", "maximum", ""),
        ("minLength", "maxLength", " characters"),
        ("minItems", "maxItems", " entries"),
    ):
        told.append(_range(schema.get(least), schema.get(most), unit))
    told.append(_said("More than {}.", schema.get("exclusiveMinimum")))
    told.append(_said("Less than {}.", schema.get("exclusiveMaximum")))
    told.append(_said("A multiple of {}.", schema.get("multipleOf")))
    told.append(_said("It matches the regular expression {}", schema.get("pattern")))
    return told


def _range(least: Any, most: Any, unit: str) -> str:
    if least is not None and most is not None:
        return f"{least} to {most}{unit}."
    return _said(f"At least {{}}{unit}.", least) or _said(f"At most {{}}{unit}.", most)


def _said(sentence: str, value: Any) -> str:
    return "" if value is None else sentence.format(value)
