"""Payloads of the command line: texts, and the values of `--set`, put into the fields of a chain."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from jobchain_cli.texts import MAX_TITLE
from jobchain_cli.words import in_one_line

if TYPE_CHECKING:
    from jobchain_cli.texts import Text

Schema = Mapping[str, Any]

_EXAMPLES = {"integer": "3", "number": "0.5", "boolean": "true", "array": '["a", "b"]', "object": '{"a": 1}'}


class PayloadError(Exception):
    """A payload can't be made; says why, and what to do."""


def text_fields(schema: Schema) -> tuple[str, ...]:
    """The fields of a payload's JSON Schema that are texts, and have to be there."""
    fields = schema.get("properties", {})
    return tuple(name for name in schema.get("required", ()) if fields.get(name, {}).get("type") == "string")


def values(pairs: Iterable[str], schema: Schema, chain: str) -> dict[str, Any]:
    """The values of `key=value` pairs, each by the type of its field in a payload's JSON Schema.

    A text is taken as it is, anything else is read as JSON. Raises PayloadError.
    """
    found: dict[str, Any] = {}
    fields = schema.get("properties", {})
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not (name and equals):
            raise PayloadError(f"--set {pair!r}: give KEY=VALUE, such as language=English")
        if name not in fields:
            known = in_one_line(", ".join(fields)) or "none"
            raise PayloadError(f"--set {name}: the chain {chain} has no such field: use one of {known}")
        if name in found:
            raise PayloadError(f"--set {name} is there twice: give it once, a list as JSON")
        found[name] = _value(name, text, _types(fields[name], schema))
    return found


def payloads(
    texts: "Sequence[Text]", given: Mapping[str, Any], schema: Schema, chain: str
) -> Iterator[tuple[str, dict[str, Any], str | None]]:
    """The payloads of texts, each with the name of what it is made of and its title, where it has one.

    It is one payload for each text, or one of all where the chain takes just as many. `given` are the other values.
    Raises PayloadError.
    """
    names = [name for name in text_fields(schema) if name not in given]
    if len(names) == 1 and texts:
        yield from ((text.source, {names[0]: text.content, **given}, text.title) for text in texts)
        return
    if len(names) != len(texts):
        wanted = f" ({in_one_line(', '.join(names))})" if names else ""
        plural = "" if len(names) == 1 else "s"
        raise PayloadError(f"the chain {chain} takes {len(names)} text{plural}{wanted}: name as many")
    payload = {name: text.content for name, text in zip(names, texts, strict=True)}
    for name, text in zip(names, texts, strict=True):
        # Where the chain wants to know what each text is called, it is called by its source.
        if f"{name}_name" in schema.get("properties", {}):
            payload[f"{name}_name"] = text.source
    title = " and ".join(filter(None, (text.title for text in texts)))[:MAX_TITLE]
    yield " ".join(text.source for text in texts) or "payload", {**payload, **given}, title or None


def _types(field: Schema, schema: Schema) -> set[str]:
    """The JSON types that a field may have."""
    if reference := field.get("$ref"):
        return _types(schema.get("$defs", {}).get(str(reference).rpartition("/")[2], {}), schema)
    if members := field.get("anyOf"):
        return set().union(*(_types(member, schema) for member in members))
    listed = field.get("type")
    named = {_json_type(value) for value in field.get("enum", [field["const"]] if "const" in field else [])}
    return {listed} if isinstance(listed, str) else named


def _json_type(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    names = {str: "string", int: "integer", float: "number", list: "array", dict: "object"}
    return names.get(type(value), "null")


def _value(name: str, text: str, types: set[str]) -> Any:
    """The value that a text stands for. Raises PayloadError."""
    if "string" in types:
        return text
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = text
    if types and _json_type(value) not in types and not ("number" in types and _json_type(value) == "integer"):
        wanted = " or ".join(sorted(types))
        example = next((_EXAMPLES[each] for each in sorted(types) if each in _EXAMPLES), "null")
        raise PayloadError(f"--set {name}={in_one_line(text)}: it is of type {wanted}: give JSON, such as {example}")
    return value
