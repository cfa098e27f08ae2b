"""What a step reads."""

from typing import Any, Protocol


class Value(Protocol):
    """What a step reads of its context, with its type."""

    def prepare(self) -> None:
        """Builds what it is read with, in one thread, before any other reads it."""
        ...


class PayloadValue(Value, Protocol):
    """What a step reads of the payload."""

    @property
    def field(self) -> str | None:
        """The field of the payload, None for all of it."""
        ...

    def typed(self, context: Any) -> Any:
        """The value with its type, in a `StepContext`."""
        ...
