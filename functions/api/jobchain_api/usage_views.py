"""Daily usage as callers get it."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from pydantic import ConfigDict, Field

from jobchain.daily_usage import DailyUsage, UsageGroup
from jobchain.domain import Status
from jobchain_api.call_views import SpendingView, spent
from jobchain_api.created_views import LazyView
from jobchain_api.queries import UsageBy


class UsageGroupView(SpendingView):
    """How many jobs ended how, and what was used."""

    completed: int
    failed: int
    cancelled: int


class ReplaysView(UsageGroupView):
    """The part of usage that replays caused: it is counted in usage and cost, and not in the counts of jobs."""

    created: int


class UsageDayView(UsageGroupView):
    """The usage of one day (UTC). The counts of jobs leave replays out; usage, calls and cost have them."""

    date: str
    created: int
    groups: dict[str, UsageGroupView] | None = Field(
        description="The same usage by chain, key or model. Null without `by`. Empty is the name of jobs without a "
        "key, jobs that ended without a call in their last run, and usage recorded before it was told by chain."
    )
    replays: ReplaysView


class UsageRangeView(LazyView):
    """The caller's usage from one day to another, both included."""

    model_config = ConfigDict(serialize_by_alias=True)

    first: str = Field(serialization_alias="from")
    last: str = Field(serialization_alias="to")
    by: UsageBy | None
    days: list[UsageDayView]
    total: UsageGroupView = Field(description="The sum of these days.")
    replays: ReplaysView = Field(description="The sum of the days' `replays`.")
    next_from: str | None = Field(
        description="The answer ends before this day, as it would be too long: send it as `from`. Null: it is whole."
    )


def usage_view(days: Sequence[DailyUsage], following: date | None, last: date, by: UsageBy | None) -> UsageRangeView:
    """The usage of `days`, grouped `by` something, of a range that ends with `last` and goes on at `following`."""
    whole = sum((UsageGroup(day.ended, day.spending) for day in days), UsageGroup())
    return UsageRangeView(
        first=days[0].date if days else str(last),
        last=str(last),
        by=by,
        days=[_day(day, by) for day in days],
        total=UsageGroupView(**_counts(whole)),
        replays=replays_view(days),
        next_from=None if following is None else str(following),
    )


def _day(day: DailyUsage, by: UsageBy | None) -> UsageDayView:
    groups = (
        None if by is None else {name: UsageGroupView(**_counts(group)) for name, group in _groups(day, by).items()}
    )
    whole = _counts(UsageGroup(day.ended, day.spending))
    return UsageDayView(date=day.date, created=day.created, groups=groups, replays=replays_view([day]), **whole)


def replays_view(days: Sequence[DailyUsage]) -> ReplaysView:
    """What the replays of `days` were, and what they cost."""
    whole = sum((day.replays for day in days), UsageGroup())
    return ReplaysView(created=sum(day.replays_created for day in days), **_counts(whole))


def _groups(day: DailyUsage, by: UsageBy) -> Mapping[str, UsageGroup]:
    return {UsageBy.CHAIN: day.chains, UsageBy.KEY: day.keys, UsageBy.MODEL: day.models}[by]


def _counts(group: UsageGroup) -> dict[str, Any]:
    ended = {status.value: group.ended[status] for status in Status if status.final}
    return {**ended, **spent(group.spending)}
