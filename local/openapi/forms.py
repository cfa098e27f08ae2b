"""The forms of a request: the short one, and one for each chain with its own payload."""

from collections.abc import Mapping
from typing import Any

from jobchain.chains.chain import Chain
from jobchain.text import INVISIBLE
from jobchain_api.requests import BatchEntry

_NULL = {"type": "null"}

# What `Text` accepts: a visible character, and no NUL.
_TEXT_PATTERN = rf"^[^\u0000]*[^{INVISIBLE}][^\u0000]*$"

_EXAMPLE = {"input_text": "Passwords must have at least 12 characters. Store them hashed."}


def describe_forms(schemas: dict[str, Any], chains: Mapping[str, Chain]) -> None:
    """Adds the forms of `POST /jobs` and `POST /jobs/batch` to the document's schemas, and the patterns of texts."""
    _add_forms(schemas["CreateJob"], chains)
    for name in ("title", "prompt"):
        schemas["ForkJob"]["properties"][name]["anyOf"][0]["pattern"] = _TEXT_PATTERN
    for name in ("by", "comment"):
        schemas["DecideStep"]["properties"][name]["pattern"] = r"^[^\u0000]*$"
    entry = BatchEntry.model_json_schema(ref_template="#/components/schemas/{model}")
    del entry["$defs"]
    for field in entry["properties"].values():
        if field.get("default", "") is None:
            # As in the framework's schemas: a default of null says only that the field is optional.
            del field["default"]
    _add_forms(entry, chains)
    invalid = {"title": "Anything else", "description": "Is refused; the other entries are not affected."}
    batch = schemas["CreateJobs"]
    batch["properties"]["jobs"]["items"] = {"anyOf": [entry, invalid]}
    batch["examples"] = [{"jobs": [{"input_text": "Store passwords hashed.", "idempotency_key": "a-1"}]}]


def _add_forms(schema: dict[str, Any], chains: Mapping[str, Chain]) -> None:
    short = {"input_text": {"type": "string"}, "job_name": _NULL, "payload": _NULL}
    forms = [{"title": "Short form", "required": ["input_text"], "properties": short}]
    forms += [_form_of(chain) for chain in chains.values()]
    schema["oneOf"] = forms
    for name in ("input_text", "title"):
        schema["properties"][name]["anyOf"][0]["pattern"] = _TEXT_PATTERN
    schema["examples"] = [_EXAMPLE]


def _form_of(chain: Chain) -> dict[str, Any]:
    payload = chain.payload.model_json_schema()
    for text in payload["properties"].values():
        text["pattern"] = _TEXT_PATTERN
    named = {"job_name": {"const": chain.name}, "payload": payload, "input_text": _NULL}
    return {"title": chain.name, "required": ["job_name", "payload"], "properties": named}
