"""The values that options take."""

from enum import StrEnum


class Status(StrEnum):
    """A status that a list is filtered by."""

    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class EndEvent(StrEnum):
    """An event of the end of a job."""

    COMPLETED = "job.completed"
    FAILED = "job.failed"
    CANCELLED = "job.cancelled"


class DeliveryState(StrEnum):
    """A state that deliveries are filtered by."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    DEAD = "dead"


class UsageBy(StrEnum):
    """What usage is grouped by."""

    CHAIN = "chain"
    KEY = "key"
    MODEL = "model"


class Tier(StrEnum):
    """How soon, and how cheaply, the model answers."""

    STANDARD = "standard"
    FLEX = "flex"


class Effort(StrEnum):
    """How much the model reasons."""

    NONE = "none"
    MINIMAL = "minimal"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    XHIGH = "xhigh"
    MAX = "max"


class Form(StrEnum):
    """What a job is printed as."""

    TEXT = "text"
    MARKDOWN = "markdown"
    JSON = "json"
