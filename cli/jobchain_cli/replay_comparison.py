"""Compares jobs with their replays: answers, checks, cost, time. Pure: nothing is asked, printed or stored."""

import json
import statistics
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from functools import cached_property
from itertools import compress
from typing import Any

from jobchain_cli.results import ShownPart, shown_parts
from jobchain_client import Job, Step

MAX_GIVEN = 4000
"""The most characters of a text of the payload that the page shows."""

UNUSABLE = "unusable_answer"
"""The outcome of a call whose answer did not pass the checks of its step: docs/reference/http-api.md."""


class Verdict(StrEnum):
    """What the checks say of a replay, beside the job."""

    WORSE = "worse"
    MIXED = "mixed"
    BETTER = "better"
    SAME = "same"
    NOT_ENDED = "not ended"
    NOT_RUN = "not run"


@dataclass(frozen=True, slots=True)
class Checks:
    """What can be checked in a job without another model.

    `quotes_found` of `quotes` are in the text. `rejected` counts the answers that did not pass the checks of their
    steps, so that the model was asked again.
    """

    completed: bool
    quotes: int
    quotes_found: int
    rejected: int

    @property
    def missing_share(self) -> float:
        """The share of quotes that the text does not contain."""
        return (self.quotes - self.quotes_found) / self.quotes if self.quotes else 0.0


@dataclass(frozen=True, slots=True)
class Side:
    """A job, or its replay, as far as it is compared: only the steps that the replay ran again.

    `cost_usd` is None where a price is not known. `seconds` is from the first step's begin to the last one's end, None
    if no step has ended.
    """

    event_id: str
    status: str
    error: str
    models: tuple[str, ...]
    calls: int
    input_tokens: int
    output_tokens: int
    cost_usd: Decimal | None
    seconds: float | None
    checks: Checks
    parts: tuple[ShownPart, ...]


@dataclass(frozen=True, slots=True)
class PartPair:
    """A part of the result before and after; None where there is none."""

    title: str
    before: str | None
    after: str | None
    is_diagram: bool = False

    @property
    def changed(self) -> bool:
        """Whether they differ in more than white space."""
        return _folded(self.before) != _folded(self.after)


@dataclass(frozen=True)
class Pair:
    """A job and its replay. `replay` is None for one that was not made, or has not ended: `problem` says why."""

    title: str
    chain: str
    source: Side
    replay: Side | None
    problem: str = ""
    replay_id: str = ""
    given: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """The texts of the job's payload, each after its name, cut to `MAX_GIVEN` characters."""

    @cached_property
    def parts(self) -> tuple[PartPair, ...]:
        """The parts of both results, in order."""
        after = {part.name: part for part in self.replay.parts} if self.replay else {}
        names = {part.name: part for part in (*self.source.parts, *after.values())}
        before = {part.name: part.text for part in self.source.parts}
        return tuple(
            PartPair(part.title, before.get(name), after[name].text if name in after else None, part.form == "diagram")
            for name, part in names.items()
        )

    @property
    def changed(self) -> tuple[PartPair, ...]:
        """The parts that differ."""
        return tuple(part for part in self.parts if part.changed) if self.replay else ()

    @property
    def reasons(self) -> tuple[str, ...]:
        """What the checks find different, in words."""
        return (*self._found(worse=True), *self._found(worse=False))

    @property
    def verdict(self) -> Verdict:
        """What the checks say."""
        if self.replay is None:
            return Verdict.NOT_ENDED if self.replay_id else Verdict.NOT_RUN
        worse, better = self._found(worse=True), self._found(worse=False)
        if worse:
            return Verdict.MIXED if better else Verdict.WORSE
        return Verdict.BETTER if better else Verdict.SAME

    def _found(self, *, worse: bool) -> list[str]:
        if self.replay is None:
            return []
        was, now = self.source.checks, self.replay.checks
        if was.completed != now.completed:
            words = f"{self.source.status}, then {self.replay.status}"
            return [words] if worse is was.completed else []
        # A job that failed has no result whose quotes could be counted.
        sign = 1 if worse else -1
        found = []
        if sign * (now.missing_share - was.missing_share) > 0:
            found.append(f"quotes in the text: {quotes(was)}, then {quotes(now)}")
        if sign * (now.rejected - was.rejected) > 0:
            found.append(f"answers that were rejected: {was.rejected}, then {now.rejected}")
        return found


def quotes(checks: Checks) -> str:
    """How many quotes are in the text."""
    return f"{checks.quotes_found} of {checks.quotes}"


@dataclass(frozen=True, slots=True)
class Sum:
    """The numbers of one side of all pairs that have both. `cost_usd` is None where a part of it is not known.

    The seconds are those of pairs that have completed on both sides.
    """

    jobs: int
    completed: int
    quotes: int
    quotes_found: int
    rejected: int
    calls: int
    input_tokens: int
    output_tokens: int
    cost_usd: Decimal | None
    median_seconds: float | None
    slow_seconds: float | None  # nine of ten are faster


@dataclass(frozen=True)
class Comparison:
    """A replay: what was to be different, and the pairs, the worst first."""

    replay_id: str
    made_at: datetime
    settings: Mapping[str, str]
    pairs: tuple[Pair, ...]
    budget_usd: Decimal | None = None
    spent_usd: Decimal | None = None
    stopped: str = ""
    prompt: str = field(default="", repr=False)

    @property
    def compared(self) -> tuple[Pair, ...]:
        """The pairs that have both sides."""
        return tuple(pair for pair in self.pairs if pair.replay)

    @property
    def counts(self) -> Mapping[Verdict, int]:
        """How many pairs have each verdict."""
        return {verdict: sum(pair.verdict is verdict for pair in self.pairs) for verdict in Verdict}

    @property
    def changed(self) -> int:
        """How many replays have another answer."""
        return sum(bool(pair.changed) for pair in self.pairs)

    @property
    def sums(self) -> tuple[Sum, Sum]:
        """The numbers before, and of the replays."""
        pairs = [(pair.source, pair.replay) for pair in self.compared if pair.replay]
        # A job that fails at once is not fast.
        timed = [all(side.checks.completed for side in both) for both in pairs]
        before, after = ([*side] for side in zip(*pairs, strict=True)) if pairs else ([], [])
        return _sum(before, timed), _sum(after, timed)

    def models(self, *, after: bool) -> tuple[str, ...]:
        """The models that answered before, or in the replays."""
        sides = [pair.replay if after else pair.source for pair in self.pairs]
        return tuple(sorted({model for side in sides if side for model in side.models}))


_ORDER = [*Verdict]


def ordered(pairs: Iterable[Pair]) -> tuple[Pair, ...]:
    """The pairs with the worst first, and of those alike the ones whose answers changed; else in their order."""
    return tuple(sorted(pairs, key=lambda pair: (_ORDER.index(pair.verdict), not pair.changed)))


def settings_of(pairs: Iterable[tuple[Job, Job]]) -> dict[str, str]:
    """What differs between jobs and their replays by name, of all `pairs` of a job and its replay."""
    found: dict[str, dict[str, None]] = {"model": {}, "effort": {}, "prompt of step": {}, "from step": {}}
    for source, replay in pairs:
        for name, was, now in (("model", source.model, replay.model), ("effort", source.effort, replay.effort)):
            if now and now != was:
                found[name][now] = None
        from_step = replay.forked_from.from_step if replay.forked_from else None
        steps = [step for step in replay.changed_prompts if step == from_step or step not in source.changed_prompts]
        found["prompt of step"] |= dict.fromkeys(steps)
        if from_step:
            found["from step"][from_step] = None
    return {name: ", ".join(values) for name, values in found.items() if values}


def pair_of(source: Job, replay: Job | None, problem: str = "", replay_id: str = "") -> Pair:
    """A job and its replay, both read with their attempts."""
    again = None if replay is None else {_base(step) for step in replay.steps if not step.copied}
    return Pair(
        title=source.title or source.event_id,
        chain=source.job_name,
        source=side_of(source, again),
        replay=None if replay is None else side_of(replay, again),
        problem=problem,
        replay_id=replay.event_id if replay else replay_id,
        given=tuple(_given(source)),
    )


def _given(job: Job) -> Iterable[tuple[str, str]]:
    for name, value in (job.input or {}).items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        yield name, text if len(text) <= MAX_GIVEN else f"{text[:MAX_GIVEN]} … ({len(text)} characters in all)"


def side_of(job: Job, steps: Collection[str] | None = None) -> Side:
    """A job as far as it is compared: of these `steps`, None for all."""
    own = [step for step in job.steps if not step.copied and (steps is None or _base(step) in steps)]
    asked = [step for step in own if step.calls or step.model]
    failed = [call for call in job.failed_attempts or () if steps is None or call.step.partition(".")[0] in steps]
    costs = [None if step.cost_usd is None else Decimal(str(step.cost_usd)) for step in asked]
    known = [cost for cost in costs if cost is not None]
    starts, ends = ([moment for moment in moments if moment] for moments in _moments(own))
    return Side(
        event_id=job.event_id,
        status=job.status,
        error=f"{job.error.type}: {job.error.message}" if job.error else "",
        models=tuple(sorted({step.model for step in own if step.model})),
        calls=sum(step.calls or 0 for step in own),
        input_tokens=sum(step.usage.input_tokens for step in own),
        output_tokens=sum(step.usage.output_tokens for step in own),
        cost_usd=sum(known, Decimal(0)) if len(known) == len(costs) else None,
        seconds=(max(ends) - min(starts)).total_seconds() if starts and ends else None,
        checks=_checks(job, sum(call.outcome == UNUSABLE for call in failed)),
        parts=tuple(shown_parts(job.result, job.result_view)),
    )


def _base(step: Step) -> str:
    """The step of a chain that this one is a part of: a long text has several."""
    return step.name.partition(".")[0]


def _moments(steps: Sequence[Step]) -> tuple[list[datetime | None], list[datetime | None]]:
    return [step.started_at for step in steps], [step.finished_at for step in steps]


def _checks(job: Job, rejected: int) -> Checks:
    found = [*_quotes(job.result, job.result_view)] if job.status == "completed" else []
    return Checks(job.status == "completed", len(found), sum(found), rejected)


def _quotes(result: Mapping[str, Any], view: Iterable[Any]) -> Iterable[bool]:
    """Whether the text contains it, of each quote of a result."""
    for part in view:
        if not isinstance(part, dict) or part.get("same_as"):
            continue
        value = result.get(str(part.get("name")))
        for entry in value if isinstance(value, list) else [value]:
            yield from _quotes_of(entry, part.get("fields"))


def _quotes_of(entry: Any, fields: Any) -> Iterable[bool]:
    for one in fields if isinstance(fields, list) and isinstance(entry, dict) else ():
        if not isinstance(one, dict):
            continue
        if one.get("form") == "quote" and entry.get(one.get("name")):
            yield entry.get(one.get("found")) is not False
        elif isinstance(inner := entry.get(one.get("name")), list):
            for each in inner:
                yield from _quotes_of(each, one.get("fields"))


def _sum(sides: Sequence[Side], timed: Sequence[bool]) -> Sum:
    costs = [side.cost_usd for side in sides]
    known = [cost for cost in costs if cost is not None]
    seconds = sorted(side.seconds for side in compress(sides, timed) if side.seconds is not None)
    return Sum(
        jobs=len(sides),
        completed=sum(side.checks.completed for side in sides),
        quotes=sum(side.checks.quotes for side in sides),
        quotes_found=sum(side.checks.quotes_found for side in sides),
        rejected=sum(side.checks.rejected for side in sides),
        calls=sum(side.calls for side in sides),
        input_tokens=sum(side.input_tokens for side in sides),
        output_tokens=sum(side.output_tokens for side in sides),
        cost_usd=sum(known, Decimal(0)) if len(known) == len(costs) else None,
        median_seconds=statistics.median(seconds) if seconds else None,
        slow_seconds=seconds[max(0, -(-len(seconds) * 9 // 10) - 1)] if seconds else None,
    )


def _folded(text: str | None) -> str | None:
    return None if text is None else " ".join(text.split())
