"""What a job sets for itself in place of its chain: the model, the effort, and the prompts of steps.

Only the standard library is imported.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
"""How much a model can be asked to reason; not each model knows all of them."""

EFFORTS: tuple[str, ...] = get_args(Effort)

Override = Literal["model", "effort", "prompt"]
"""What a chain may let its jobs set."""

OVERRIDES: tuple[Override, ...] = get_args(Override)

MAX_PROMPT_CHARACTERS = 20_000
"""The longest prompt that a job may bring for a step."""

MAX_PROMPTS_BYTES = 200_000
"""The most bytes of all prompts of one job: an item of the table, which also has the payload, holds 400 KB."""


@dataclass(frozen=True, slots=True)
class Overrides:
    """What one job sets; None leaves it to the chain. `prompts` are the steps that have a prompt of the job's own.

    `unknown` is what a later version has stored besides, which this one can't do.
    """

    model: str | None = None
    effort: str | None = None
    prompts: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    @property
    def given(self) -> tuple[Override, ...]:
        """Which of them the job sets."""
        each: Mapping[Override, object] = {"model": self.model, "effort": self.effort, "prompt": self.prompts}
        return tuple(name for name, value in each.items() if value)


NO_OVERRIDES = Overrides()

OTHER_MODEL = "other"
"""The model in the metrics of calls whose model only their job names. The usage records have its name.

A metric costs by the values of its dimensions, and callers may name any model.
"""
