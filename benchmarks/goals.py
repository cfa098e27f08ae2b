"""What was to be reached, and whether it was."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.report import Fragment
from benchmarks.sides import FORMS, OURS
from benchmarks.spread import Spread, number
from jobchain.markdown import table

Found = Mapping[str, list[float]]
"""What each side measured."""


@dataclass(frozen=True, slots=True)
class Goal:
    """A share of what the better of the baseline's forms has."""

    name: str
    fragment: str
    find: Callable[[Any], Found]
    better: Callable[[list[float]], float]
    """Chooses among the forms' medians."""
    wanted: str
    met: Callable[[float, float], bool]
    """Whether our median is good enough beside theirs."""
    show: Callable[[float], str] = number


GOALS = (
    Goal(
        "jobs/s, model at 500 ms",
        "20-throughput",
        lambda data: data.get("0.5", {}),
        max,
        "at least as many",
        lambda ours, other: ours >= other,
    ),
    Goal("CPU per job, ms", "40-cpu", lambda data: data, min, "at most as much", lambda ours, other: ours <= other),
    Goal(
        "first POST, s", "50-first-post", lambda data: data, min, "at most half", lambda ours, other: ours <= other / 2
    ),
    Goal(
        "jobs lost or failed under kill -9",
        "55-kills",
        lambda data: {name: [float(one["jobs"] - one["completed"])] for name, one in data.items()},
        min,
        "none",
        lambda ours, _: ours == 0,
        "{:g}".format,
    ),
)


def summary(fragments: Mapping[str, Fragment]) -> Fragment | None:
    """The goals whose measures are there; None if none is."""
    rows = [row for goal in GOALS if (row := _row(goal, fragments))]
    header = ("", OURS, *FORMS, "ours to the better one", "goal", "")
    body = f"Medians. A goal is set by the better of Celery's two forms.\n\n{table(header, rows)}"
    return Fragment("Goals", body) if rows else None


def _row(goal: Goal, fragments: Mapping[str, Fragment]) -> list[str] | None:
    if goal.fragment not in fragments:
        return None
    found = goal.find(fragments[goal.fragment].data)
    if not all(found.get(name) for name in (OURS, *FORMS)):
        return None
    ours, *others = (Spread.of(found[name]).median for name in (OURS, *FORMS))
    other = goal.better(others)
    ratio = f"{number(ours / other)} ×" if other else "–"
    verdict = "reached" if goal.met(ours, other) else "missed"
    return [goal.name, *map(goal.show, (ours, *others)), ratio, goal.wanted, verdict]
