"""A job's events, and the positions from which a reader continues.

An event is named by the claim whose worker stored it and by its number among what that worker stored. Workers store
their records one after the other, but two of them may do so at the same time, where one has lost its lease. So there is
no last event of a job, only a last one of each claim, and a position names all of these.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from jobchain.domain import Attempt, FinishedStep, JobError, WaitingFor


class EventType(StrEnum):
    """What an event tells."""

    CREATED = "job.created"
    STARTED = "job.started"
    STEP_COPIED = "step.copied"
    STEP_COMPLETED = "step.completed"
    CALL_FAILED = "call.failed"
    WAITING = "job.waiting"
    COMPLETED = "job.completed"
    FAILED = "job.failed"
    CANCELLED = "job.cancelled"


@dataclass(frozen=True, slots=True)
class JobEvent:
    """Something that happened to a job `at` a time (a text of `isoformat`), in its claim `claim`: 0 before the first.

    `name` is unique among the job's events, and never changes. `detail` is what a worker stored: the step, or the call
    that failed; of a wait why the job waits, and of a failure its error.
    """

    name: str
    type: EventType
    at: str
    claim: int
    detail: FinishedStep | Attempt | WaitingFor | JobError | None = None


# The moment at the end of a state's name has the digits of `isoformat`.
STATE = r"\d{1,9}-[a-z]{1,12}-\d{17}"
_SEEN = r"\d{1,9}\.\d{1,9}"

POSITION = rf"^([0-9a-f]{{8}})?~({_SEEN}(_{_SEEN})*)?~({STATE})?$"
"""The form of a position's text."""

_POSITION = re.compile(POSITION, re.ASCII)


@dataclass(frozen=True, slots=True)
class Position:
    """What a reader has seen of a job: of each claim the number of its last event, and the name of the last state.

    `uid` tells the job from another one of the same id.
    """

    uid: str
    seen: Mapping[int, int]
    state: str = ""

    @classmethod
    def read(cls, text: str) -> "Position | None":
        """The position whose text this is, None for any other text."""
        if not _POSITION.fullmatch(text):
            return None
        uid, seen, state = text.split("~")
        numbers = (entry.split(".") for entry in seen.split("_") if entry)
        return cls(uid, {int(claim): int(number) for claim, number in numbers}, state)

    def __str__(self) -> str:
        seen = "_".join(f"{claim}.{number}" for claim, number in sorted(self.seen.items()))
        return f"{self.uid}~{seen}~{self.state}"

    def has(self, claim: int, number: int) -> bool:
        """Whether the reader has seen the event of this number of the claim."""
        return number <= self.seen.get(claim, -1)


def state_name(claim: int, what: str, at: str) -> str:
    """The name of a state of a job: what it is since `at`, after this number of claims."""
    return f"{claim}-{what}-{re.sub(r'[^0-9]', '', at)}"
