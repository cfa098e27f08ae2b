"""Plans a job: which steps a chain comes to for one payload, the parts of long texts included."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pydantic import BaseModel, JsonValue

from jobchain.chains.chain import (
    Chain,
    CodeStep,
    LongText,
    MergeStep,
    Outputs,
    Prompt,
    SplitStep,
    Step,
    StepContext,
    fence,
)
from jobchain.chains.prefix import Prefix
from jobchain.chains.step_keys import PartsKey, SplitKey, StepKey, read_key

PlannedStep = Step | CodeStep | SplitStep | MergeStep
"""A step of a plan: a model call, or code."""


def plan(chain: Chain, payload: BaseModel, outputs: Outputs, max_input_tokens: int) -> list[PlannedStep]:
    """All steps of a job, completed or not, in order.

    A step whose text has more than `max_input_tokens` is preceded by the steps for its parts, as far as `outputs` tell
    which these are: the plan grows while the job runs, and no step ever changes its place.
    """
    return [planned for step in chain.steps for planned in _planned(step, payload, outputs, max_input_tokens)]


def _planned(
    step: Step | CodeStep, payload: BaseModel, outputs: Outputs, max_input_tokens: int
) -> Sequence[PlannedStep]:
    if isinstance(step, CodeStep):
        return [step]
    if step.name in outputs:
        return [*_completed_parts(step, outputs), step]
    if step.long is None:
        return [step]
    split = SplitStep(SplitKey(step.name).stored, step.long.text(payload))
    if split.name not in outputs:
        # A token is at least one byte: a text of no more bytes needs no count of its tokens.
        if len(split.text.encode()) <= max_input_tokens:
            return [step]
        return [split, replace(step, needs=(*step.needs, split.name))]
    bounds: Any = outputs[split.name]
    if len(bounds) == 1:
        return [split, step]
    keys = [PartsKey(step.name, number, number) for number in range(1, len(bounds) + 1)]
    parts = [_part(step, step.long, key, split.text[start:end]) for key, (start, end) in zip(keys, bounds, strict=True)]
    if isinstance(step.long.merge, Prompt):
        return [split, *parts, *_merges(step, step.long, step.long.merge, keys, outputs, max_input_tokens)]
    return [split, *parts, MergeStep(step.name, _names(keys), step.long.merge)]


def _completed_parts(step: Step, outputs: Outputs) -> list[Step]:
    """The steps that a completed step was preceded by: they stay in the plan, so that later steps keep their places."""
    keys = map(read_key, outputs)
    return [replace(step, name=key.stored) for key in keys if key.step == step.name and not isinstance(key, StepKey)]


def _names(keys: Sequence[PartsKey]) -> tuple[str, ...]:
    return tuple(key.stored for key in keys)


def _part(step: Step, long: LongText, key: PartsKey, text: str) -> Step:
    """The step that works on one part of a text."""
    fenced = fence(long.label, text)
    return replace(
        step,
        name=key.stored,
        prompt=long.prompt,
        answer=long.answer or step.answer,
        options=step.options._replace(max_output_tokens=long.max_output_tokens or step.max_output_tokens),
        write_input=lambda context: _with_shared(long, context, fenced),
        long=None,
        prefix=Prefix(lambda _: fenced, long.answers) if long.answers else None,
    )


def _merges(
    step: Step, long: LongText, prompt: Prompt, keys: Sequence[PartsKey], outputs: Outputs, max_input_tokens: int
) -> list[Step]:
    """The steps that merge the parts' outputs. Where all are too long for one call, neighbours are merged first."""
    groups = [keys]
    if all(name in outputs for name in _names(keys)):
        groups = _groups(keys, outputs, max_input_tokens)
    if len(groups) == 1:
        return [_merge(step, long, prompt, StepKey(step.name), keys)]
    # The key tells which parts an output was made of, so that one name never means two things.
    spans = [PartsKey(step.name, group[0].first, group[-1].last) for group in groups]
    between = [
        _merge(step, long, prompt, span, group) for span, group in zip(spans, groups, strict=True) if len(group) > 1
    ]
    return [*between, *_merges(step, long, prompt, spans, outputs, max_input_tokens)]


def _groups(keys: Sequence[PartsKey], outputs: Outputs, max_input_tokens: int) -> list[Sequence[PartsKey]]:
    """Neighbours whose outputs fit in one call, by their bytes. Each group but the last has two or more."""
    groups: list[list[PartsKey]] = []
    free = 0
    for key in keys:
        size = len(_as_text(outputs[key.stored]).encode())
        if groups and (len(groups[-1]) == 1 or size <= free):
            groups[-1].append(key)
            free -= size
        else:
            groups.append([key])
            free = max_input_tokens - size
    return [*groups]


def _merge(step: Step, long: LongText, prompt: Prompt, key: StepKey | PartsKey, parts: Sequence[PartsKey]) -> Step:
    """The step that makes one output, under `key`, of the outputs of `parts`."""
    names = _names(parts)

    def write_input(context: StepContext[Any]) -> str:
        return _with_shared(long, context, *(fence("part", _as_text(context.outputs[name])) for name in names))

    return replace(step, name=key.stored, prompt=prompt, needs=names, write_input=write_input, long=None, prefix=None)


def _with_shared(long: LongText, context: StepContext[Any], *fences: str) -> str:
    shared = long.shared(context) if long.shared else ""
    return "\n\n".join(filter(None, (*fences, shared)))


def _as_text(output: JsonValue) -> str:
    return output if isinstance(output, str) else json.dumps(output, ensure_ascii=False, indent=1)


def stored_step(chain: Chain, payload: BaseModel, outputs: Outputs, stored: str) -> PlannedStep | None:
    """The step of this stored name as it was planned, completed or not; None where the chain has none of that name."""
    key = read_key(stored)
    step = next((step for step in chain.steps if step.name == key.step), None)
    if step is None or isinstance(step, CodeStep) or step.long is None:
        return step if isinstance(key, StepKey) else None
    text, merge = step.long.text(payload), step.long.merge
    if isinstance(key, SplitKey):
        return SplitStep(stored, text)
    bounds: Any = outputs.get(SplitKey(step.name).stored, [])
    if len(bounds) < 2:
        return step if isinstance(key, StepKey) else None
    if isinstance(key, StepKey):
        parts = _largest_parts(step.name, 1, len(bounds), outputs)
        if not isinstance(merge, Prompt):
            return MergeStep(step.name, _names(parts), merge)
        return _merge(step, step.long, merge, key, parts)
    if key.last > len(bounds):
        return None
    if key.first == key.last:
        start, end = bounds[key.first - 1]
        return _part(step, step.long, key, text[start:end])
    if not isinstance(merge, Prompt):
        return None
    return _merge(step, step.long, merge, key, _largest_parts(step.name, key.first, key.last, outputs))


def _largest_parts(step: str, first: int, last: int, outputs: Outputs) -> list[PartsKey]:
    """The parts that the parts `first` to `last` were merged from: the largest of those in between that are stored.

    Parts are merged level by level, so that of two that have a part in common one contains the other.
    """
    own = PartsKey(step, first, last)
    ends: dict[int, int] = {}
    for key in map(read_key, outputs):
        if isinstance(key, PartsKey) and key.step == step and key != own and first <= key.first and key.last <= last:
            ends[key.first] = max(key.last, ends.get(key.first, 0))
    parts = []
    while first <= last:
        parts.append(PartsKey(step, first, ends.get(first, first)))
        first = parts[-1].last + 1
    return parts
