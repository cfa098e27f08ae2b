"""A chain as one job runs it: with the model, the effort and the prompts that the job sets for itself."""

from collections.abc import Mapping
from dataclasses import replace

from jobchain.chains.chain import Chain, CodeStep, LongText, Prompt, Step
from jobchain.overrides import Overrides


def overridden(chain: Chain, overrides: Overrides, prompts: Mapping[str, str]) -> Chain:
    """`chain` with what the job sets. `prompts` are texts by the names of steps: they replace what the author wrote for
    the step, also for the parts of a long text and their merge. What is added about the material stays.
    """
    if not overrides.given:
        return chain
    return replace(chain, steps=tuple(_step(step, overrides, prompts.get(step.name)) for step in chain.steps))


def _step(step: Step | CodeStep, overrides: Overrides, text: str | None) -> Step | CodeStep:
    if isinstance(step, CodeStep):
        return step
    options = step.options
    if overrides.model:
        # What the caller asked for is that model, and no other.
        options = options._replace(model=overrides.model, fallback_model=None)
    if overrides.effort:
        options = options._replace(effort=overrides.effort)
    step = replace(step, options=options)
    if text is None:
        return step
    return replace(step, prompt=replace(step.prompt, written=text), long=_long(step.long, text) if step.long else None)


def _long(long: LongText, text: str) -> LongText:
    """The same for the parts of a long text, and for their merge if that is a call."""
    merge = Prompt(text, long.merge_note) if isinstance(long.merge, Prompt) else long.merge
    return replace(long, prompt=Prompt(text, long.part_note), merge=merge)
