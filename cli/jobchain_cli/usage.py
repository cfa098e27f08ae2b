"""Daily usage as a person reads it."""

from collections.abc import Iterator, Sequence

from jobchain_cli.words import columns
from jobchain_client import DailyUsage, UsageGroup

_HEAD = ("DAY (UTC)", "CREATED", "COMPLETED", "FAILED", "CANCELLED", "CALLS", "TOKENS IN", "CACHED", "OUT", "USD")
_NO_NAME = "(none)"


def usage_lines(days: Sequence[DailyUsage]) -> Iterator[str]:
    """A table of the days on which something happened, with their groups below each, and their sum."""
    rows: list[Sequence[str]] = [_HEAD]
    busy = [day for day in days if day.created or day.groups or day.whole.spending.calls or _ended(day.whole)]
    for day in busy:
        rows.append((str(day.date), str(day.created), *_row(day.whole)))
        rows += [(f"  {name or _NO_NAME}", "", *_row(group)) for name, group in sorted((day.groups or {}).items())]
    rows.append(("all", str(sum(day.created for day in busy)), *_sum([_row(day.whole) for day in busy])))
    return columns(rows)


def _ended(group: UsageGroup) -> int:
    return group.completed + group.failed + group.cancelled


def _row(group: UsageGroup) -> tuple[str, ...]:
    used, spending = group.spending.usage, group.spending
    counts = (group.completed, group.failed, group.cancelled, spending.calls)
    tokens = (used.input_tokens, used.cached_tokens, used.output_tokens)
    return (*map(str, (*counts, *tokens)), "unknown" if spending.cost_usd is None else f"{spending.cost_usd:.6f}")


def _sum(rows: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """The sums of the columns; that of costs is unknown if one of them is."""
    *counts, costs = zip(*rows, strict=True) if rows else [()] * (len(_HEAD) - 2)
    cost = "unknown" if "unknown" in costs else f"{sum(map(float, costs)):.6f}"
    return (*(str(sum(map(int, column))) for column in counts), cost)
