"""An unfinished job, as the sweeper reads it."""

from dataclasses import dataclass
from datetime import datetime

from jobchain.domain import Tier


@dataclass(frozen=True, slots=True)
class DueJob:
    """An unfinished job that the sweeper must check, as it was read.

    `sends` counts the messages sent for it since a worker last claimed or released
    it, `crashes` the claims in a row whose workers vanished before they stored a step, the last claim included.
    `tier` is that of the queue that its next message belongs into, and `flex_until` is when a flex job leaves that
    queue, None for any other. `held_until` is when its worker's lease ends, None for a job that no worker holds.
    `token` changes with each write. `due_at` is when it became due. One that `is_parked` waits for a decision.
    """

    event_id: str
    tenant: str
    job_name: str
    sends: int
    crashes: int
    token: str
    tier: Tier = Tier.STANDARD
    flex_until: datetime | None = None
    held_until: datetime | None = None
    due_at: datetime | None = None
    is_parked: bool = False
