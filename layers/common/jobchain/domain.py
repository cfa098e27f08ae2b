"""The nouns of the system: a job, its steps, what they used and why they failed."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from pydantic import JsonValue

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


class Tier(StrEnum):
    """How a job's model calls are served: flex is cheaper, slower, and may be refused for a while.

    https://platform.openai.com/docs/guides/flex-processing
    """

    STANDARD = "standard"
    FLEX = "flex"


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens that a model reports; cached ones are part of the input, reasoning ones of the output."""

    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.input_tokens + other.input_tokens,
            self.cached_tokens + other.cached_tokens,
            self.output_tokens + other.output_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
        )


@dataclass(frozen=True, slots=True)
class Spending:
    """What model calls used and cost.

    `unpriced_calls` counts the calls to models whose price is not known; with any of those the cost
    in US dollars is not known either, which is not the same as zero. `calls` counts all calls, failed ones too, and
    `retries` those among them that repeated an earlier one.
    """

    usage: Usage = field(default_factory=Usage)
    known_cost_usd: Decimal = Decimal(0)
    unpriced_calls: int = 0
    calls: int = 0
    retries: int = 0

    def __add__(self, other: "Spending") -> "Spending":
        return Spending(
            self.usage + other.usage,
            self.known_cost_usd + other.known_cost_usd,
            self.unpriced_calls + other.unpriced_calls,
            self.calls + other.calls,
            self.retries + other.retries,
        )

    @property
    def paid(self) -> bool:
        """Whether any call was answered, and is paid for."""
        return self.usage != Usage() or self.unpriced_calls > 0

    @property
    def cost_usd(self) -> Decimal | None:
        """The cost in US dollars, None where part of it is not known."""
        return None if self.unpriced_calls else self.known_cost_usd


NOTHING_SPENT = Spending()


@dataclass(frozen=True, slots=True)
class DailyUsage:
    """A tenant's jobs and their usage on one day (UTC): how many were created, how many ended how, what they used."""

    date: str
    created: int = 0
    ended: Counter[Status] = field(default_factory=Counter)
    spending: Spending = NOTHING_SPENT


@dataclass(frozen=True, slots=True)
class JobError:
    """Why a job failed, in words for the caller: never a stack trace, a key or a provider's raw body."""

    type: str
    message: str
    step: str | None = None


@dataclass(frozen=True, slots=True)
class FinishedStep:
    """One step's stored output and what it took."""

    name: str
    output: JsonValue
    model: str
    prompt_version: str
    started_at: str
    finished_at: str
    spending: Spending


@dataclass(frozen=True, slots=True)
class Job:
    """A job as it is stored, without its input. Times are texts of `isoformat`; `expires_at` is seconds since 1970."""

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
    expires_at: int = 0
    metadata: Mapping[str, str] = field(default_factory=dict)
    steps: tuple[FinishedStep, ...] = ()


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job that a caller asks for. `fingerprint` tells a replay of the same request from another one.

    After `flex_for` a job of the tier flex goes on as a standard one.
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


@dataclass(frozen=True, slots=True)
class Claim:
    """One worker's hold on a job: what it needs to run it, and the number that fences its writes.

    `flex_until` is when a job of the tier flex goes on as a standard one, None for any other. `cancel_requested`
    tells whether the caller had asked to cancel the job when the claim was made.
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


@dataclass(frozen=True, slots=True)
class DueJob:
    """An unfinished job that the sweeper must check, as the index `due` shows it.

    `due_at` is in seconds since 1970. `dispatches` counts the messages sent for it since a worker last claimed or
    released it, `stalls` the claims since its last stored step.
    """

    event_id: str
    tenant: str
    due_at: int
    dispatches: int
    stalls: int
    tier: Tier = Tier.STANDARD
