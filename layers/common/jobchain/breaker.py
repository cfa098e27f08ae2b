"""The breaker: while the model's account is refused, jobs wait, and one of them a minute tries. Pure: no clock, no I/O.

There are two, as what is wrong is either with the account and its key, or with one model of it. Nothing about the job
itself is wrong then, so no job fails of it. https://martinfowler.com/bliki/CircuitBreaker.html
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from urllib.parse import urlsplit

from jobchain.domain import WaitingFor, WaitReason, isoformat

PROBE_EVERY = timedelta(minutes=1)
"""How often one job is let through while a breaker is open."""

MIN_DELAY = timedelta(seconds=30)
MAX_DELAY = timedelta(minutes=15)
"""A job that meets an open breaker waits at least and at most this long. The queue can't delay a message for longer."""

MIN_JITTER = 0.5
MAX_JITTER = 1.5


class Scope(StrEnum):
    """What a fault is about, and so which jobs wait: all that use the key, or all that use the model."""

    KEY = "key"
    MODEL = "model"


_SCOPES = {
    "model_unauthorized": Scope.KEY,
    "model_quota_exceeded": Scope.KEY,
    "model_misconfigured": Scope.KEY,
    "model_forbidden": Scope.MODEL,
    "model_not_found": Scope.MODEL,
}
"""By the `ModelError.type`s of faults that are the account's. All others are the call's own, or pass by themselves."""

ACCOUNT_FAULTS = tuple(_SCOPES)
"""The types of faults that concern the account or the settings, and so every job."""

_DETAILS = {
    "model_unauthorized": "the model's server does not accept the API key or the signature",
    "model_quota_exceeded": "the account at the model's provider has no quota left",
    "model_misconfigured": "the deployment's settings allow no call to the model",
    "model_forbidden": "the account at the model's provider may not use the model",
    "model_not_found": "the model's server knows no such model",
}


def scope_of(fault_type: str, *, own_model: bool = False) -> Scope | None:
    """What a fault of a call is about, by its `ModelError.type`; None where it opens no breaker.

    `own_model` if the job named the model itself, in place of the deployment's. Then the model is the caller's fault,
    and concerns no other job.
    """
    scope = _SCOPES.get(fault_type)
    return None if own_model and scope is Scope.MODEL else scope


@dataclass(frozen=True, slots=True)
class ModelAccount:
    """What breakers are about: the host of the model's server, the name of the key's secret, and the model.

    No key, and no path of a URL. `secret_name` is empty where the key comes from the environment.
    """

    host: str
    secret_name: str
    model: str

    @classmethod
    def of(cls, base_url: str, secret_name: str | None, model: str) -> "ModelAccount":
        """The account behind a base URL. One that can't be used is an account too: its jobs wait for the settings."""
        try:
            parts = urlsplit(base_url)
            host, port = parts.hostname or "", parts.port
        except ValueError:
            host, port = "", None
        return cls(f"{host}:{port}" if port else host, secret_name or "", model)


@dataclass(frozen=True, slots=True)
class OpenBreaker:
    """A breaker that is open, as it was read. It never contains a key or a provider's text.

    `type` is the fault that was seen last, `opened_at` when the first one was. `refused_at` is when a call was last
    refused: the first one's, or that of the last probe. `next_probe_at` is when the next job is let through,
    `next_named_probe_at` when the next one that names its model itself is, and `refusals` counts the calls that this
    breaker knows of.
    """

    type: str
    scope: Scope
    opened_at: datetime
    refused_at: datetime
    next_probe_at: datetime
    next_named_probe_at: datetime
    refusals: int = 1

    @property
    def detail(self) -> str:
        """Why jobs wait, for their callers."""
        reason = _DETAILS.get(self.type, "the model's server refuses the account")
        return f"{reason}; the next probe is due at {isoformat(self.next_probe_at)}"

    @property
    def waiting_for(self) -> WaitingFor:
        """The same as a job shows it."""
        return WaitingFor(WaitReason.ACCOUNT, isoformat(self.opened_at), isoformat(self.next_probe_at), self.detail)

    def probe_is_due(self, now: datetime, *, named: bool = False) -> bool:
        """Whether a job may be let through, if no other one is; `named` for one that names its model itself."""
        return (self.next_named_probe_at if named else self.next_probe_at) <= now

    def delay(self, jitter: float) -> timedelta:
        """How long a job is put off: about half of the time for which calls are known to be refused.

        In seconds, with a jitter of 1, by the time from the first to the last refusal:

            refused for      0   60  120  180  300  600  1200  3600
            delay           60   60   60   90  150  300   600   600

        So a job starts at most half an outage after its end, and a backlog costs little while it waits. The time is up
        to the last refusal, not up to now: after a quiet night the account may work again, and no job has tried it.
        `jitter` is a factor from `MIN_JITTER` to `MAX_JITTER`, drawn by the caller for each job, so that jobs which
        were refused together do not come back together.
        """
        half = (self.refused_at - self.opened_at) / 2
        return jitter * min(max(half, MIN_DELAY / MIN_JITTER), MAX_DELAY / MAX_JITTER)
