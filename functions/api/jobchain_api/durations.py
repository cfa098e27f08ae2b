"""How long a tenant's recent jobs took, as far as this environment of the api knows."""

import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from jobchain.domain import Job, Status, Tier

SHARE = 0.8
"""The share of like jobs that have ended when a caller asks."""

KEPT = 30
"""The jobs of a chain and tier that are remembered: those that ended last."""

# Up to some 10 KB each.
_TENANTS = 500


@dataclass(frozen=True, slots=True)
class Took:
    """The seconds that a job took: from its creation, and from its first claim, to its end."""

    total: float
    run: float
    ended: datetime


def remaining(seconds: Sequence[float], elapsed: float) -> float | None:
    """After how many more seconds a job has probably ended that has taken `elapsed` ones, given what others took.

    By then `SHARE` of those had ended that took longer than `elapsed`. It is at most twice their median, so that a few
    long jobs do not delay the others. None where none took longer.
    """
    longer = sorted(each for each in seconds if each > elapsed)
    if not longer:
        return None
    return min(_quantile(longer, SHARE) - elapsed, 2 * (median(longer) - elapsed))


def median(seconds: Sequence[float]) -> float:
    """The median of at least one number."""
    return _quantile(sorted(seconds), 0.5)


def _quantile(ordered: Sequence[float], share: float) -> float:
    return ordered[math.ceil(share * len(ordered)) - 1]


_Kind = tuple[str, Tier]


@dataclass(slots=True)
class _Tenant:
    asked_at: datetime | None = None
    kinds: dict[_Kind, dict[str, Took]] = field(default_factory=dict)


class Durations:
    """What each tenant's completed jobs took, by chain and tier. A tenant's answers tell nothing of another's jobs."""

    def __init__(self) -> None:
        self._tenants: OrderedDict[str, _Tenant] = OrderedDict()

    def learn(self, job: Job) -> None:
        """Remembers a job, if it has completed. A replay may have another model, and a time of its own."""
        if job.forked_from and job.forked_from.replay:
            return
        if job.status is not Status.COMPLETED or not job.started_at or not job.finished_at:
            return
        ended = datetime.fromisoformat(job.finished_at)
        total, run = (
            (ended - datetime.fromisoformat(moment)).total_seconds() for moment in (job.created_at, job.started_at)
        )
        known = self._tenant(job.tenant).kinds.setdefault((job.job_name, job.tier), {})
        known[job.event_id] = Took(total, run, ended)
        if len(known) > KEPT:
            del known[min(known, key=lambda event_id: known[event_id].ended)]

    def of(self, job: Job) -> Sequence[Took]:
        """What jobs of the same tenant, chain and tier took."""
        return [*self._tenant(job.tenant).kinds.get((job.job_name, job.tier), {}).values()]

    def may_ask(self, tenant: str, now: datetime, every: timedelta) -> bool:
        """Whether the tenant's jobs were last asked for at least `every` ago. If so, that is now."""
        known = self._tenant(tenant)
        if known.asked_at is not None and now - known.asked_at < every:
            return False
        known.asked_at = now
        return True

    def _tenant(self, name: str) -> _Tenant:
        known = self._tenants.setdefault(name, _Tenant())
        self._tenants.move_to_end(name)
        if len(self._tenants) > _TENANTS:
            self._tenants.popitem(last=False)
        return known
