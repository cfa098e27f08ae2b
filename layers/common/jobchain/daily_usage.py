"""A tenant's jobs and usage of one day."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from jobchain.domain import Status
from jobchain.spending import NOTHING_SPENT, Spending


@dataclass(frozen=True, slots=True)
class UsageGroup:
    """A part of a day's usage: how many jobs ended how, and what was used."""

    ended: Counter[Status] = field(default_factory=Counter)
    spending: Spending = NOTHING_SPENT

    def __add__(self, other: "UsageGroup") -> "UsageGroup":
        return UsageGroup(self.ended + other.ended, self.spending + other.spending)


@dataclass(frozen=True, slots=True)
class DailyUsage:
    """A tenant's jobs and their usage on one day (UTC): how many were created, how many ended how, what they used.

    `models`, `keys` and `chains` are the same by the model that was called, by the API key of the job, and by its
    chain: "" for jobs without a key, and for usage that was recorded before it was told by chain. A job that ends is
    counted with the first model of its last run, "" if that called none.

    `created` and `ended` leave replays out, here and in the groups; `spending` never does: what is paid is in every
    sum. `replays` and `replays_created` tell that part apart.
    """

    date: str
    created: int = 0
    ended: Counter[Status] = field(default_factory=Counter)
    spending: Spending = NOTHING_SPENT
    models: Mapping[str, UsageGroup] = field(default_factory=dict)
    keys: Mapping[str, UsageGroup] = field(default_factory=dict)
    chains: Mapping[str, UsageGroup] = field(default_factory=dict)
    replays: UsageGroup = field(default_factory=UsageGroup)
    replays_created: int = 0

    @property
    def by_model(self) -> Mapping[str, Spending]:
        """The spending of each model."""
        return _spendings(self.models)

    @property
    def by_key(self) -> Mapping[str, Spending]:
        """The spending of each API key."""
        return _spendings(self.keys)

    @property
    def by_chain(self) -> Mapping[str, Spending]:
        """The spending of each chain."""
        return _spendings(self.chains)


def _spendings(groups: Mapping[str, UsageGroup]) -> Mapping[str, Spending]:
    return {name: group.spending for name, group in groups.items() if group.spending != NOTHING_SPENT}
