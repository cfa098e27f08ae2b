"""The right answers: what a call is answered where no script says otherwise."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import JsonValue

from jobchain.mermaid import flowchart
from local import offline_model
from tests.fake_model.replies import Reply, answer, json_reply, refused

STEPS = ("summary", "checklist", "diagram")
STEP_OF_SCHEMA = {"SummaryAnswer": "summary", "ChecklistAnswer": "checklist", "DiagramAnswer": "diagram"}
"""The step that asks for an answer of a schema, by the schema's name."""


def outputs_of(marker: str) -> dict[str, JsonValue]:
    """The outputs of the steps of a completed job whose text holds `marker`."""
    first, second = _texts(marker)
    return {
        "summary": f"The summary of {marker}.",
        "checklist": [{**_item(text), "source_found": False} for text in (first, second)],
        "diagram": flowchart([("a", first), ("b", second)], [("a", "b", "")]),
    }


def result_of(marker: str) -> dict[str, JsonValue]:
    """The result of that job, as its caller reads it."""
    outputs = outputs_of(marker)
    return {**outputs, "checklist": [*_texts(marker)], "checklist_items": outputs["checklist"]}


def content(step: str, marker: str) -> str:
    """What the model says to a step of `guideline_checklist`, made of the job's marker."""
    texts = _texts(marker)
    return json.dumps(_contents(f"The summary of {marker}.", [_item(text) for text in texts], texts)[step])


def _texts(marker: str) -> tuple[str, str]:
    return f"Do the first of {marker}.", f"Do the second of {marker}."


def _item(text: str, source: str = "No sentence of the text.", category: str = "Jobs") -> dict[str, JsonValue]:
    return {"source": source, "text": text, "category": category, "priority": "must"}


def _contents(summary: str, items: Sequence[JsonValue], labels: tuple[str, str]) -> dict[str, dict[str, JsonValue]]:
    """What the model says to each step of `guideline_checklist`."""
    return {
        "summary": {"summary": summary},
        "checklist": {"checklist": [*items]},
        "diagram": {
            "nodes": [{"id": name, "label": label, "kind": "step"} for name, label in zip("ab", labels, strict=True)],
            "edges": [{"source": "a", "target": "b", "label": ""}],
        },
    }


ITEMS = [
    _item("Make passwords long.", "Passwords must be long.", "Passwords"),
    _item("Store them hashed.", "They must be stored hashed.", "Passwords"),
]
CONTENTS = _contents("Passwords must be long.", ITEMS, ("Make passwords long", "Store them hashed"))
"""What the model says to each step about a text on passwords, without a marker."""
SUMMARY, CHECKLIST, DIAGRAM = (CONTENTS[step] for step in STEPS)


def by_marker(step: str, marker: str) -> Reply:
    """The response to a step of `guideline_checklist`."""
    return answer(content(step, marker))


def by_offline_model(path: str, request: Mapping[str, Any]) -> Reply:
    """The answer that the offline model gives, out of the text."""
    try:
        respond = offline_model._ANSWERS[path]
    except KeyError:
        return refused(404)
    try:
        return Reply("answer", json.dumps(respond(request)).encode())
    except ValueError as error:
        return refused(400, message=str(error))


def about_models(path: str, models: Sequence[Mapping[str, Any]] | None) -> Reply:
    """The answer of a server that has `models` to `GET /v1/models` and `/v1/models/{id}`.

    With None, it has any model that it is asked about.
    """
    match path.split("/", 3):
        case ["", "v1", "models"]:
            return json_reply("models", {"object": "list", "data": [*(models or ())]})
        case ["", "v1", "models", name]:
            known = [_model(name)] if models is None else [model for model in models if model["id"] == name]
            return json_reply("model", known[0]) if known else refused(404, "model_not_found")
    return refused(404)


def _model(name: str) -> dict[str, JsonValue]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "test"}
