"""What is remembered of each model that a server was asked for, as long as this process lives."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from jobchain_worker.dialects import Dialect
from jobchain_worker.output_limits import OutputLimits

MOST_MODELS = 64
"""The models that are remembered beside the deployment's: callers may name any. The others are learned again."""


@dataclass
class Known:
    """What is known of one model: the room of its answers, the parameters and formats that it refused, its dialect."""

    limits: OutputLimits
    dialect: Dialect
    refused: set[tuple[str, str]] = field(default_factory=set)
    refused_formats: set[Any] = field(default_factory=set)


class ModelMemory:
    """The models of one server. That of the deployment is never forgotten, of others the last ones are known."""

    def __init__(self, model: str, make: Callable[[], Known]) -> None:
        """`model` is the deployment's, and `make` gives what is known of one that was not asked yet."""
        self._model = model
        self._own = make()
        self._make = make
        self._others: dict[str, Known] = {}

    def of(self, model: str) -> Known:
        """What is known of the model. A call asks once: what it learns of a model must not be forgotten meanwhile."""
        if model == self._model:
            return self._own
        known = self._others.pop(model, None) or self._make()
        # The last one that was asked is the last one of the dict.
        self._others[model] = known
        if len(self._others) > MOST_MODELS:
            del self._others[next(iter(self._others))]
        return known

    @property
    def most_output_tokens(self) -> int:
        """The room for answers of the known model that has the most."""
        return max(known.limits.most for known in [self._own, *self._others.values()])
