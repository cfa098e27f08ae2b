"""Daily usage as a person reads it."""

from collections.abc import Iterable, Iterator, Sequence

from jobchain_cli.words import columns
from jobchain_client import DailyUsage, UsageGroup

_HEAD = (
    *("DAY (UTC)", "CREATED", "COMPLETED", "FAILED", "CANCELLED", "CALLS"),
    *("TOKENS IN", "CACHED", "WRITTEN", "OUT", "USD"),
)
_COUNTS = len(_HEAD) - 3
_NO_NAME = "(none)"


def usage_lines(days: Sequence[DailyUsage]) -> Iterator[str]:
    """A table of the days on which something happened, with their groups below each, and their sum."""
    rows: list[Sequence[str]] = [_HEAD]
    busy = [day for day in days if day.created or day.groups or day.whole.spending.calls or _ended(day.whole)]
    for day in busy:
        rows.append((str(day.date), str(day.created), *_row(day.whole)))
        rows += [(f"  {name or _NO_NAME}", "", *_row(group)) for name, group in sorted((day.groups or {}).items())]
    costs = [day.whole.spending.cost_usd for day in busy]
    known = [cost for cost in costs if cost is not None]
    counts = [sum(column) for column in zip(*(_counts(day.whole) for day in busy), strict=True)] or [0] * _COUNTS
    total = _cells(counts, sum(known) if len(known) == len(costs) else None)
    rows.append(("all", str(sum(day.created for day in busy)), *total))
    if replays := [day.replays for day in days if day.replays and (day.replays.created or _used(day.replays.whole))]:
        counts = [sum(column) for column in zip(*(_counts(each.whole) for each in replays), strict=True)]
        costs = [each.whole.spending.cost_usd for each in replays]
        known = [cost for cost in costs if cost is not None]
        created = str(sum(each.created for each in replays))
        rows.append(("in replays", created, *_cells(counts, sum(known) if len(known) == len(costs) else None)))
    return columns(rows)


def _used(group: UsageGroup) -> bool:
    return bool(group.spending.calls or _ended(group))


def _ended(group: UsageGroup) -> int:
    return group.completed + group.failed + group.cancelled


def _row(group: UsageGroup) -> tuple[str, ...]:
    return _cells(_counts(group), group.spending.cost_usd)


def _counts(group: UsageGroup) -> tuple[int, ...]:
    used, spending = group.spending.usage, group.spending
    counts = (group.completed, group.failed, group.cancelled, spending.calls)
    tokens = (used.input_tokens, used.cached_tokens, used.cache_write_tokens, used.output_tokens)
    return (*counts, *tokens)


def _cells(counts: Iterable[int], cost: float | None) -> tuple[str, ...]:
    return (*map(str, counts), "unknown" if cost is None else f"{cost:.6f}")
