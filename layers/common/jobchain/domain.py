"""The nouns of the system: a job, its steps, its calls and why they failed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from pydantic import JsonValue

from jobchain.approvals import Approval
from jobchain.forks import ForkedFrom
from jobchain.overrides import NO_OVERRIDES, Overrides
from jobchain.spending import NOTHING_SPENT, Spending, Unsettled
from jobchain.webhooks.events import Notification, Receiver

Clock = Callable[[], datetime]
"""Returns the current time: an aware datetime in UTC."""

EVENT_ID = r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"
"""The form of a job's id: a UUID, in lower case."""


def utc_now() -> datetime:
    """The clock of a real deployment."""
    return datetime.now(UTC)


def isoformat(moment: datetime) -> str:
    """`moment` as every time is stored and shown: UTC, milliseconds, `Z`. Sorts as text."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Status(StrEnum):
    """The status of a job."""

    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        """Whether no worker will touch the job again, unless its caller retries it."""
        return self in (Status.COMPLETED, Status.FAILED, Status.CANCELLED)


class WaitReason(StrEnum):
    """Why a pending job does not run yet.

    `queue`: it waits for a worker. `retry`: a call failed, and is tried again. `rate_limit`: the limits of the model's
    account. `account`: the model's server refuses the account, its key or the model. `budget`: its key's day is used
    up. `deployment`: the worker's version does not have its chain, or one that its payload or outputs do not fit.
    `approval`: a person decides on one of its steps.
    """

    QUEUE = "queue"
    RETRY = "retry"
    RATE_LIMIT = "rate_limit"
    ACCOUNT = "account"
    BUDGET = "budget"
    DEPLOYMENT = "deployment"
    APPROVAL = "approval"

    @classmethod
    def stored(cls, text: str) -> "WaitReason":
        """The reason that is stored with a job. One that only a later version knows is `deployment` to this one."""
        return next((reason for reason in cls if reason == text), cls.DEPLOYMENT)


class Tier(StrEnum):
    """How a job's model calls are served: flex is cheaper, slower, and may be refused for a while.

    https://platform.openai.com/docs/guides/flex-processing
    """

    STANDARD = "standard"
    FLEX = "flex"


def tier_at(flex_until: datetime | None, at: datetime) -> Tier:
    """The tier of a job at this time: flex before `flex_until`, standard from then on and where that is None."""
    return Tier.FLEX if flex_until and flex_until > at else Tier.STANDARD


@dataclass(frozen=True, slots=True)
class JobError:
    """Why a job failed, in words for the caller: never a stack trace, a key or a provider's raw body."""

    type: str
    message: str
    step: str | None = None


@dataclass(frozen=True, slots=True)
class WaitingFor:
    """Why a pending job does not run yet. Times are texts of `isoformat`. A `retryable` wait ends at a retry."""

    reason: WaitReason
    since: str
    until: str | None  # None where no time is known
    detail: str
    retryable: bool = False


@dataclass(frozen=True, slots=True)
class Attempt:
    """A failed call of the model: when, what it used and cost, and how it ended.

    `outcome` is the type of the fault, and `cause` says why, in words for the chain's author. `answer` is the model's
    text, cut to a limit, if there was one, and `request_id` the provider's id of the call. `effort` is how much the
    model was told to reason, None where that was left to the model. `chain_version` is as in `FinishedStep`.
    """

    step: str
    started_at: str
    finished_at: str
    model: str
    tier: Tier
    spending: Spending
    outcome: str
    cause: str | None = None
    answer: str | None = None
    request_id: str | None = None
    effort: str | None = None
    chain_version: str = ""


@dataclass(frozen=True, slots=True)
class FinishedStep:
    """One step's stored output and what it took.

    `spending` is that of the call whose answer became the output, `failed` that of the calls before it. That call
    began at `called_at`, or with the step where that is None, with `effort` as an `Attempt` has it.
    `request_hash` is the `ModelRequest.digest` of what was sent. A `copied` step was run by the job that was forked.
    `chain_version` is the version of the chain that it was run with, empty where that was not stored.
    """

    name: str
    output: JsonValue
    model: str
    prompt_version: str
    started_at: str
    finished_at: str
    spending: Spending
    failed: Spending = NOTHING_SPENT
    request_id: str | None = None
    tier: Tier = Tier.STANDARD
    called_at: str | None = None
    request_hash: str | None = None
    effort: str | None = None
    copied: bool = False
    chain_version: str = ""

    @property
    def total(self) -> Spending:
        """What all calls of the step used and cost."""
        return self.failed + self.spending


@dataclass(frozen=True, slots=True)
class Job:
    """A job as it is stored, without its input. Times are texts of `isoformat`, `expires_at` is seconds since 1970.
    `flex_until` is when a job of the tier flex continues as a standard one. `attempts` counts its claims. `tries` has
    the failed tries of its steps, by the names of `jobchain.chains.step_keys.TriesKey`. `deadline` is how long it is
    tried, and `deadline_at` until when, in seconds since 1970; both None for a job that an earlier version stored.
    `title` is its caller's name for it, and `overrides` is what its caller set in place of its chain. `chain_version`
    is the version of the chain that it was run with last. `approvals` are its steps that a person decides.
    """

    event_id: str
    tenant: str
    job_name: str
    status: Status
    created_at: str
    updated_at: str
    started_at: str | None = None
    finished_at: str | None = None
    attempts: int = 0
    spending: Spending = NOTHING_SPENT
    error: JobError | None = None
    max_cost_usd: Decimal | None = None
    tier: Tier = Tier.STANDARD
    flex_for: timedelta = timedelta(0)
    flex_until: datetime | None = None
    expires_at: int = 0
    metadata: Mapping[str, str] = field(default_factory=dict)
    steps: tuple[FinishedStep, ...] = ()
    waiting_for: WaitingFor | None = None
    tries: Mapping[str, int] = field(default_factory=dict)
    deadline: timedelta | None = None
    deadline_at: int | None = None
    title: str | None = None
    forked_from: ForkedFrom | None = None
    overrides: Overrides = NO_OVERRIDES
    chain_version: str = ""
    approvals: tuple[Approval, ...] = ()


@dataclass(frozen=True, slots=True)
class DailyBudget:
    """What a job's API key allows its tenant to use on one day (UTC); None is without limit."""

    tokens: int | None = None
    cost_usd: Decimal | None = None


NO_BUDGET = DailyBudget()

DEADLINE = timedelta(days=1)
"""How long a job that names no deadline is tried, where the deployment sets no other default."""


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job that a caller asks for. `fingerprint` tells a replay of the same request from another one.

    After `flex_for` a flex job continues as a standard one. The caller set `deadline`, if `own_deadline`. A fork has
    `copies` of steps of the job `forked_from`, which was created at `source_created_at`. `prompts` are the texts of the
    prompts that `overrides` names. `receivers` are told of its end, among them the `webhook_url` that it names itself.
    """

    event_id: str
    tenant: str
    job_name: str
    payload: JsonValue
    fingerprint: str
    metadata: Mapping[str, str] = field(default_factory=dict)
    max_cost_usd: Decimal | None = None
    tier: Tier = Tier.STANDARD
    flex_for: timedelta = timedelta(0)
    key_id: str = ""
    daily_budget: DailyBudget = NO_BUDGET
    deadline: timedelta = DEADLINE
    own_deadline: bool = False
    title: str | None = None
    forked_from: ForkedFrom | None = None
    copies: tuple[FinishedStep, ...] = ()
    source_created_at: str = ""
    overrides: Overrides = NO_OVERRIDES
    prompts: Mapping[str, str] = field(default_factory=dict)
    receivers: tuple[Receiver, ...] = ()
    webhook_url: str | None = None


NEVER = datetime.max.replace(tzinfo=UTC)
"""The deadline of a job that has none."""


@dataclass(frozen=True, slots=True)
class Claim:
    """One worker's hold on a job: what it needs to run it, and the number that fences its writes.

    `uid` tells the job from an earlier one of the same id, and is empty for a job that version 0.1.0 stored. `spending`
    is what all earlier claims used. `flex_until` is when a job of the tier flex continues as a standard one, None for
    any other. `cancel_requested` tells whether the caller had asked to cancel the job when the claim was made. `key_id`
    is the API key that created the job, empty without one, and `daily_budget` what that key allows. `unsettled` is set
    if an earlier worker vanished, and `outdated` are the attributes of META that its settlement drops. The job is
    tried until `deadline_at`, which its caller set if `own_deadline`. `waited` and `waited_for` tell its last wait.
    `overrides` and `prompts` are as in `NewJob`. `chain_version` is the version of the chain that it was run with last:
    its worker's own, once that has found that it fits. META names `last_version`, and what a claim stores is of
    `default_version`, unless it names another. `is_replay` tells that the job is a part of a replay.
    `approvals` are the steps that wait for a person, or were decided.
    """

    event_id: str
    tenant: str
    job_name: str
    number: int
    payload: JsonValue
    expires_at: int
    tries: Mapping[str, int]
    steps: tuple[FinishedStep, ...]
    spending: Spending = NOTHING_SPENT
    max_cost_usd: Decimal | None = None
    tier: Tier = Tier.STANDARD
    flex_until: datetime | None = None
    cancel_requested: bool = False
    uid: str = ""
    key_id: str = ""
    daily_budget: DailyBudget = NO_BUDGET
    unsettled: Unsettled | None = None
    started_at: str | None = None
    outdated: tuple[str, ...] = ()
    at_risk: tuple[str, Spending] = ("", NOTHING_SPENT)
    deadline_at: datetime = NEVER
    own_deadline: bool = False
    waited: WaitReason | None = None
    waited_for: str = ""
    overrides: Overrides = NO_OVERRIDES
    prompts: Mapping[str, str] = field(default_factory=dict)
    chain_version: str = ""
    last_version: str = ""
    default_version: str = ""
    is_replay: bool = False
    notification: Notification | None = None
    approvals: tuple[Approval, ...] = ()
