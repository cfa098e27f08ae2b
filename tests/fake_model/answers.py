"""The right answers: what a call is answered where no script says otherwise."""

import json
from collections.abc import Mapping
from typing import Any

from pydantic import JsonValue

from jobchain.mermaid import flowchart
from local import offline_model
from tests.fake_model.replies import Reply, answer, refused

STEPS = ("summary", "checklist", "diagram")


def result_of(marker: str) -> dict[str, JsonValue]:
    """The result of the job whose text holds `marker`."""
    items = [f"Do the first of {marker}.", f"Do the second of {marker}."]
    diagram = flowchart([("a", items[0]), ("b", items[1])], [("a", "b", "")])
    return {
        "summary": f"The summary of {marker}.",
        "checklist": [*items],
        "checklist_items": [{**_item(text), "source_found": False} for text in items],
        "diagram": diagram,
    }


def _item(text: str) -> dict[str, JsonValue]:
    return {"source": "No sentence of the text.", "text": text, "category": "Jobs", "priority": "must"}


def by_marker(step: str, marker: str) -> Reply:
    """The answer of a step of `guideline_checklist`, made of the job's marker."""
    items = [f"Do the first of {marker}.", f"Do the second of {marker}."]
    answers: dict[str, JsonValue] = {
        "summary": {"summary": f"The summary of {marker}."},
        "checklist": {"items": [_item(text) for text in items]},
        "diagram": {
            "nodes": [{"id": name, "label": item, "kind": "step"} for name, item in zip("ab", items, strict=False)],
            "edges": [{"source": "a", "target": "b", "label": ""}],
        },
    }
    return answer(json.dumps(answers[step]))


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
