"""What was to be reached, and whether it was."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.report import Fragment
from benchmarks.sides import BASELINE, OURS
from benchmarks.spread import Spread, number
from jobchain.markdown import table


@dataclass(frozen=True, slots=True)
class Goal:
    """A share of the baseline's median: `met` tells whether it is far enough, `find` has both sides' measures."""

    name: str
    fragment: str
    find: Callable[[Any], Mapping[str, list[float]]]
    wanted: str
    met: Callable[[float], bool]


GOALS = (
    Goal(
        "jobs/s, model at 500 ms", "20-throughput", lambda data: data.get("0.5", {}), "at least 20 ×", lambda x: x >= 20
    ),
    Goal("CPU per job, ms", "40-cpu", lambda data: data, "at most a third", lambda x: x <= 1 / 3),
    Goal("first POST, s", "50-first-post", lambda data: data, "at most half", lambda x: x <= 1 / 2),
)


def summary(fragments: Mapping[str, Fragment]) -> Fragment | None:
    """The goals whose measures are there; None if none is."""
    rows = [row for goal in GOALS if (row := _row(goal, fragments))]
    header = ("", f"{OURS}, median", f"{BASELINE}, median", "ours is", "goal", "")
    return Fragment("Goals", table(header, rows)) if rows else None


def _row(goal: Goal, fragments: Mapping[str, Fragment]) -> list[str] | None:
    if goal.fragment not in fragments:
        return None
    measures = goal.find(fragments[goal.fragment].data)
    if not measures.get(BASELINE):
        return None
    ours, baseline = (Spread.of(measures[side]).median for side in (OURS, BASELINE))
    verdict = "reached" if goal.met(ours / baseline) else "missed"
    return [goal.name, number(ours), number(baseline), f"{number(ours / baseline)} ×", goal.wanted, verdict]
