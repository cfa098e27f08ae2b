"""What jobs need of a model's account: the requests they make, and about the tokens that these ask for."""

from collections.abc import Collection, Sequence
from itertools import accumulate

from jobchain.chains.chain import Chain, Step
from jobchain.chains.planning import PlannedStep
from jobchain.pace import Demand

MAX_AT_ONCE = 10
"""Steps of one job that run at the same time: a text of a hundred parts must not use up a provider's rate limit."""

# English has four characters a token: https://help.openai.com/en/articles/4936856
BYTES_PER_TOKEN = 4

_INSTRUCTION_TOKENS = 500


Wave = Sequence[tuple[int, PlannedStep]]
"""Steps that may run at the same time, each with its position in the plan."""


class Demands:
    """Estimates of demands. The input is estimated, as counting it would take a call; answers count with their room."""

    def __init__(self, max_input_tokens: int, max_output_tokens: int) -> None:
        """The most tokens of a call's input, and of its answer."""
        self._max_input_tokens = max_input_tokens
        self._max_output_tokens = max_output_tokens

    def of_job(self, chain: Chain, payload_bytes: int, completed: Collection[str]) -> list[Demand]:
        """What the job's remaining steps need, and what its next call needs; empty for a job without a call left."""
        text = payload_bytes // BYTES_PER_TOKEN
        input_tokens = min(text, self._max_input_tokens) + _INSTRUCTION_TOKENS
        calls = [input_tokens + self._room(step) for step in chain.calls if step.name not in completed]
        if not calls:
            return []
        if text > self._max_input_tokens:
            # How many parts it has is not known yet.
            return [Demand(MAX_AT_ONCE, MAX_AT_ONCE * max(calls))]
        return [Demand(len(calls), sum(calls)), Demand(1, max(calls))]

    def of_wave(self, steps: Sequence[PlannedStep]) -> Demand:
        """What the calls of a wave need, as far as the steps tell."""
        calls = [self._max_input_tokens + self._room(step) for step in steps if isinstance(step, Step)]
        return Demand(len(calls), sum(calls))

    def _room(self, step: Step) -> int:
        """The tokens that the step's answer may have."""
        return min(step.max_output_tokens or self._max_output_tokens, self._max_output_tokens)


def first_calls(wave: Wave, calls: int) -> Wave:
    """The steps of a wave without those whose calls are too many; at least one call stays."""
    numbers = accumulate(isinstance(step, Step) for _, step in wave)
    return [
        entry
        for entry, number in zip(wave, numbers, strict=True)
        if number <= max(calls, 1) or not isinstance(entry[1], Step)
    ]
