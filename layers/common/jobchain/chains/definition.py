"""What jobs of a chain are run with, apart from its code: graph, prompts, answer schemas, model, effort, output caps.

Its hash is the chain's version. A worker stores the definition once, and the jobs that it runs name the version.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pydantic import BaseModel, JsonValue, PydanticUserError, TypeAdapter

from jobchain.chains.approving import ApprovalStep
from jobchain.chains.chain import Chain, CodeStep, LongText, Outputs, Prompt, Step
from jobchain.chains.step_keys import PartsKey, SplitKey, read_key
from jobchain.strict_schema import strict_schema

Content = Mapping[str, Any]
"""The definition, or that of a step, as JSON."""


@dataclass(frozen=True)
class Definition:
    """The definition of one version of a chain. `version` is the hash of `text`."""

    version: str
    text: str

    @cached_property
    def content(self) -> Content:
        """The definition as JSON."""
        found: Content = json.loads(self.text)
        return found

    def step(self, name: str) -> Content | None:
        """The step of this name, None where this version has none."""
        return next((step for step in self.content["steps"] if step["name"] == name), None)

    def prompt(self, stored: str, outputs: Outputs) -> str | None:
        """The prompt of the step that is stored under this name; `outputs` tell whether its text was split.

        None where this version has no such step, or one without a prompt.
        """
        key = read_key(stored)
        step = self.step(key.step) or {}
        long = step.get("long") or {}
        bounds: Any = outputs.get(SplitKey(key.step).stored) or []
        if isinstance(key, PartsKey):
            return long.get("prompt" if key.first == key.last else "merge")
        return long.get("merge") if long and len(bounds) > 1 else step.get("prompt")


def definition_of(chain: Chain, model: str) -> Definition:
    """The definition of a chain whose steps ask `model` where they name none.

    It builds the schemas of the chain's answers, which two threads must not do at the same time.
    """
    steps = [_code(step) if isinstance(step, CodeStep) else _call(step) for step in chain.steps]
    content = {"chain": chain.name, "model": model, "steps": steps}
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return Definition(hashlib.sha256(text.encode()).hexdigest()[:8], text)


def _code(step: CodeStep) -> Content:
    code = {"name": step.name, "needs": [*step.needs], "output": _schema(step.output_type)}
    return {**code, "approval": step.options._asdict()} if isinstance(step, ApprovalStep) else code


def _call(step: Step) -> Content:
    step.prepare()
    return {
        "name": step.name,
        "needs": [*step.needs],
        "fields": [value.field for value in step.payload_values],
        "prompt": step.prompt.text,
        "answer": strict_schema(step.answer),
        "output": _schema(step.output_type),
        **step.options._asdict(),
        "long": _long(step.long) if step.long else None,
    }


def _long(long: LongText) -> Content:
    return {
        "text": long.label,
        "prompt": long.prompt.text,
        "answer": _answer(long.answer),
        "max_output_tokens": long.max_output_tokens,
        "merge": long.merge.text if isinstance(long.merge, Prompt) else None,
    }


def _answer(answer: type[BaseModel] | None) -> JsonValue:
    return strict_schema(answer) if answer else None


def _schema(annotation: Any) -> JsonValue:
    """The schema of an output; None for a type that has none, which code may give."""
    try:
        return TypeAdapter(annotation).json_schema()
    except PydanticUserError:
        return None
