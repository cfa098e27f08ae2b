"""Approvals: a step that waits for a person, what that person is shown, and how it was decided.

Pure: no clock, no I/O. `jobchain.chains.approving` is the step, `jobchain.aws.parking` how it is stored.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from pydantic import JsonValue

REJECTED = "approval_rejected"
"""The `JobError.type` of a job of which a step was rejected."""

MAX_NAME = 100
"""The most characters of the name of who decides."""

MAX_COMMENT = 1_000
"""The most characters of a comment on a decision."""

MAX_SHOWN_BYTES = 150_000
"""The most bytes of what is shown, and of an edit: both are in one item of the table, which has 400 KB at most.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html"""

Default = Literal["approve", "reject"]
"""What is decided where no decision has come in time."""


class Decision(StrEnum):
    """What a person decides: the step's value as it is shown, none, or another value."""

    APPROVE = "approve"
    REJECT = "reject"
    EDIT = "edit"


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision: with an EDIT, the `value` in place of what was shown.

    `by` is the name that was given, `key_id` the API key that it came with; both are empty where there is none.
    `at` is a text of `jobchain.domain.isoformat`, and empty before the decision is stored. `at_deadline` if no
    decision has come in time.
    """

    decision: Decision
    value: JsonValue = None
    by: str = ""
    key_id: str = ""
    comment: str = field(default="", repr=False)
    at: str = ""
    at_deadline: bool = False

    def same_as(self, other: "Decided") -> bool:
        """Whether both decide the same."""
        return (self.decision, self.value) == (other.decision, other.value)


@dataclass(frozen=True, slots=True)
class Approval:
    """A step that waits for a decision, or was decided; `shown` is what its author's function gave.

    `claim` is the number of the claim that parked it. Times are texts of `jobchain.domain.isoformat`: it waits `since`
    then, and `until` then, when it is decided as `on_deadline` says.
    """

    step: str
    title: str
    shown: JsonValue
    since: str
    until: str
    on_deadline: Default
    claim: int = 0
    decided: Decided | None = None

    @property
    def value(self) -> JsonValue:
        """The output of the step, once it is approved."""
        edited = self.decided and self.decided.decision is Decision.EDIT
        return self.decided.value if self.decided and edited else self.shown

    @property
    def is_approved(self) -> bool:
        """Whether the job may go on."""
        return self.decided is not None and self.decided.decision is not Decision.REJECT
