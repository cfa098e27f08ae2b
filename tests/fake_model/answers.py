"""The right answers: what a call is answered where no script says otherwise."""

import json
from collections.abc import Mapping
from typing import Any

from pydantic import JsonValue

from jobchain.mermaid import flowchart
from local import offline_model
from tests.fake_model.replies import Reply, answer, refused

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
    contents: dict[str, JsonValue] = {
        "summary": {"summary": f"The summary of {marker}."},
        "checklist": {"items": [_item(text) for text in texts]},
        "diagram": {
            "nodes": [{"id": name, "label": text, "kind": "step"} for name, text in zip("ab", texts, strict=True)],
            "edges": [{"source": "a", "target": "b", "label": ""}],
        },
    }
    return json.dumps(contents[step])


def _texts(marker: str) -> tuple[str, str]:
    return f"Do the first of {marker}.", f"Do the second of {marker}."


def _item(text: str) -> dict[str, JsonValue]:
    return {"source": "No sentence of the text.", "text": text, "category": "Jobs", "priority": "must"}


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
