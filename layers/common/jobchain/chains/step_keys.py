"""The names under which a job's steps and tries are stored.

Code holds the keys below. Only this module composes a stored name, and only `read_key` reads one. Jobs that an earlier
version stored must continue after a deployment, so a stored name never changes its form.
"""

import re
from dataclasses import dataclass

from jobchain.domain import Tier


@dataclass(frozen=True, slots=True)
class StepKey:
    """A step of the chain: `summary`."""

    step: str

    @property
    def stored(self) -> str:
        """The name in the table."""
        return self.step


@dataclass(frozen=True, slots=True)
class SplitKey:
    """The places where the text of `step` is split: `summary.parts`."""

    step: str

    @property
    def stored(self) -> str:
        """The name in the table."""
        return f"{self.step}.parts"


@dataclass(frozen=True, slots=True)
class PartsKey:
    """The parts `first` to `last` of the text of `step`, counted from 1: `summary.part02`, `summary.part03-05`."""

    step: str
    first: int
    last: int

    @property
    def stored(self) -> str:
        """The name in the table."""
        name = f"{self.step}.part{self.first:02}"
        return name if self.first == self.last else f"{name}-{self.last:02}"


Key = StepKey | SplitKey | PartsKey
"""What a stored output belongs to; `step` is the chain's step in each case."""

_STORED = re.compile(r"(?P<step>[^.]+)\.(?:parts|part(?P<first>\d{2,})(?:-(?P<last>\d{2,}))?)")


def read_key(stored: str) -> Key:
    """The key whose `stored` name this is. A name of another form is a step of the chain, or of an earlier version."""
    found = _STORED.fullmatch(stored)
    if found is None:
        return StepKey(stored)
    if found["first"] is None:
        return SplitKey(found["step"])
    return PartsKey(found["step"], int(found["first"]), int(found["last"] or found["first"]))


_FLEX = "@flex"


@dataclass(frozen=True, slots=True)
class TriesKey:
    """A count of a step's failed tries: flex calls are counted apart from standard ones.

    `step` is the stored name of the step: `summary`, `summary@flex`. What `UnansweredKey` counts has no key here.
    """

    step: str
    tier: Tier

    @classmethod
    def read(cls, stored: str) -> "TriesKey":
        """The key whose `stored` name this is."""
        step = stored.removesuffix(_FLEX)
        return cls(step, Tier.STANDARD if step == stored else Tier.FLEX)

    @property
    def stored(self) -> str:
        """The name in the table."""
        return f"{self.step}{_FLEX}" if self.tier is Tier.FLEX else self.step


_UNANSWERED = "@unanswered"


@dataclass(frozen=True, slots=True)
class UnansweredKey:
    """A count of a step's calls that may be billed and brought nothing: `summary@unanswered`.

    It is stored beside the tries, of which these calls are some.
    """

    step: str

    @property
    def stored(self) -> str:
        """The name in the table."""
        return f"{self.step}{_UNANSWERED}"


_OUTAGE = "@outage"


@dataclass(frozen=True, slots=True)
class OutageKey:
    """A count of a step's failed tries that an outage of its model may explain: `summary@outage`.

    It is stored beside the tries, of which these are some, for a step that has a fallback.
    """

    step: str

    @property
    def stored(self) -> str:
        """The name in the table."""
        return f"{self.step}{_OUTAGE}"


CountKey = TriesKey | UnansweredKey | OutageKey
"""What is counted of a step's failed tries."""


def is_tries(stored: str) -> bool:
    """Whether a stored name is that of a `TriesKey`."""
    return not stored.endswith((_UNANSWERED, _OUTAGE))
