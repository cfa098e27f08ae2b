"""A replay in words and numbers, for the terminal and the page."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from jobchain_cli.replay_comparison import Comparison, Pair, Side, Sum, Verdict
from jobchain_cli.words import columns, in_one_line


def heading(comparison: Comparison) -> str:
    """What the replay is, in one line."""
    chains = sorted({pair.chain for pair in comparison.pairs})
    jobs = "1 job" if len(comparison.pairs) == 1 else f"{len(comparison.pairs)} jobs"
    return in_one_line(f"Replay of {jobs} of {', '.join(chains)}")


def settings(comparison: Comparison) -> Iterator[str]:
    """What was to be different, which models answered, and what it cost."""
    given = [f"{name}: {in_one_line(value)}" for name, value in comparison.settings.items()]
    yield f"{'; '.join(given) if given else 'Nothing was changed: what differs, differs by chance'}."
    before, after = (", ".join(comparison.models(after=after)) or "no model" for after in (False, True))
    yield f"Answered before by {in_one_line(before)}; in the replay by {in_one_line(after)}."
    if comparison.budget_usd is not None and comparison.spent_usd is not None:
        yield f"Spent ${comparison.spent_usd:.6f} of the budget of ${comparison.budget_usd}."


_NOT_COMPARED = (Verdict.NOT_ENDED, Verdict.NOT_RUN)


def verdicts(comparison: Comparison) -> str:
    """How many replays are worse, better and the same by the checks, and how many answers changed."""
    counts = comparison.counts
    known = [f"{count} {verdict}" for verdict, count in counts.items() if count or verdict not in _NOT_COMPARED]
    ended = len(comparison.compared)
    return f"By the checks: {', '.join(known)}. The answer changed in {comparison.changed} of {ended}."


def sum_rows(comparison: Comparison) -> Iterator[tuple[str, str, str, str]]:
    """The rows of the summary: a name, before, the replay, the change."""
    was, now = comparison.sums
    yield "Completed", str(was.completed), str(now.completed), change(was.completed, now.completed)
    if was.quotes or now.quotes:
        found, found_now = (f"{each.quotes_found} of {each.quotes}" for each in (was, now))
        yield "Quotes in the text", found, found_now, change(_share(was), _share(now), percent=True)
    yield "Answers rejected", str(was.rejected), str(now.rejected), change(was.rejected, now.rejected)
    yield "Calls", str(was.calls), str(now.calls), change(was.calls, now.calls)
    yield "Tokens in", str(was.input_tokens), str(now.input_tokens), change(was.input_tokens, now.input_tokens)
    yield "Tokens out", str(was.output_tokens), str(now.output_tokens), change(was.output_tokens, now.output_tokens)
    yield "US dollars", dollars(was.cost_usd), dollars(now.cost_usd), change(was.cost_usd, now.cost_usd)
    median = was.median_seconds, now.median_seconds
    yield "Seconds, median", seconds(median[0]), seconds(median[1]), change(*median)
    slow = was.slow_seconds, now.slow_seconds
    yield "Seconds, nine of ten", seconds(slow[0]), seconds(slow[1]), change(*slow)


def _share(part: Sum) -> float | None:
    return 100 * part.quotes_found / part.quotes if part.quotes else None


Number = int | float | Decimal | None


def change(before: Number, after: Number, *, percent: bool = False) -> str:
    """The change of a number in per cent, or in points for numbers that are per cent."""
    if before is None or after is None:
        return ""
    if percent:
        points = float(after) - float(before)
        return f"{points:+.0f} points" if round(points) else "±0"
    if before == after:
        return "±0"
    return f"{100 * (float(after) / float(before) - 1):+.0f} %" if before else f"+{after}"


def dollars(cost: Decimal | None) -> str:
    """A cost in US dollars."""
    return "unknown" if cost is None else f"{cost:.6f}"


def seconds(took: float | None) -> str:
    """A time in seconds."""
    return "unknown" if took is None else f"{took:.1f}"


def terminal_lines(comparison: Comparison) -> Iterator[str]:
    """The whole in a few lines."""
    yield heading(comparison)
    yield from settings(comparison)
    yield verdicts(comparison)
    yield from columns([("", "BEFORE", "REPLAY", "CHANGE"), *sum_rows(comparison)])
    for pair in comparison.pairs:
        if pair.verdict in (Verdict.WORSE, Verdict.MIXED):
            yield in_one_line(f"{pair.verdict}: {pair.title}: {'; '.join(pair.reasons)} (job {pair.replay_id})")
    if comparison.stopped:
        yield in_one_line(f"Not all jobs were replayed: {comparison.stopped}.")


def as_json(comparison: Comparison) -> dict[str, Any]:
    """The whole as one JSON object."""
    return {
        "replay": comparison.replay_id,
        "made_at": comparison.made_at.isoformat(),
        "settings": dict(comparison.settings),
        "budget_usd": _number(comparison.budget_usd),
        "spent_usd": _number(comparison.spent_usd),
        "stopped": comparison.stopped or None,
        "verdicts": {str(verdict): count for verdict, count in comparison.counts.items()},
        "changed": comparison.changed,
        "before": _sum_json(comparison.sums[0]),
        "after": _sum_json(comparison.sums[1]),
        "jobs": [_pair_json(pair) for pair in comparison.pairs],
    }


def _number(value: Decimal | None) -> float | None:
    return None if value is None else float(value)


def _sum_json(part: Sum) -> dict[str, Any]:
    names = (name for name in Sum.__dataclass_fields__ if name != "cost_usd")
    return {**{name: getattr(part, name) for name in names}, "cost_usd": _number(part.cost_usd)}


def _pair_json(pair: Pair) -> dict[str, Any]:
    return {
        "title": pair.title,
        "chain": pair.chain,
        "verdict": str(pair.verdict),
        "reasons": list(pair.reasons),
        "problem": pair.problem or None,
        "before": _side_json(pair.source),
        "after": _side_json(pair.replay) if pair.replay else None,
        "parts": [
            {"title": part.title, "changed": part.changed if pair.replay else None}
            | {"before": part.before, "after": part.after}
            for part in pair.parts
        ],
    }


def _side_json(side: Side) -> dict[str, Any]:
    checks = side.checks
    return {
        "event_id": side.event_id,
        "status": side.status,
        "error": side.error or None,
        "models": list(side.models),
        "calls": side.calls,
        "input_tokens": side.input_tokens,
        "output_tokens": side.output_tokens,
        "cost_usd": _number(side.cost_usd),
        "seconds": side.seconds,
        "quotes": checks.quotes,
        "quotes_found": checks.quotes_found,
        "rejected": checks.rejected,
    }
