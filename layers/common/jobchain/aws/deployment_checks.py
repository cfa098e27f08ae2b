"""What `GET /health` asks of the table: whether it can be written and read, and what the last sweep found."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from jobchain.aws.items import job_key
from jobchain.aws.table import Table
from jobchain.aws.writes import epoch, key
from jobchain.domain import Clock, isoformat

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

# No tenant's name has a `#`. The key is among those that the api's statement for new jobs allows.
_PROBE = key("TENANT##health", "META")
_KEPT = timedelta(days=1)

_SWEEP = key("SWEEP", "META")


class TableCheck:
    """Writes and reads the table as a request for a job does."""

    def __init__(self, client: "DynamoDBClient", table: str, clock: Clock) -> None:
        self._table = Table(client, table)
        self._clock = clock

    def run(self) -> None:
        """Raises Unavailable where the table can't be written or read. Costs one write unit and one read unit."""
        now = self._clock()
        self._table.put({**_PROBE, "checked_at": isoformat(now), "expires_at": epoch(now + _KEPT)})
        self._table.get(job_key("ping"))


@dataclass(frozen=True, slots=True)
class SweepReport:
    """When the sweeper ended its last run, and for how long the oldest due job that it found had been due."""

    swept_at: datetime
    oldest_due: timedelta


class SweepStore:
    """Stores and reads the report of the last sweep. Every method raises Unavailable where the table fails."""

    def __init__(self, client: "DynamoDBClient", table: str) -> None:
        self._table = Table(client, table)

    def save(self, report: SweepReport) -> None:
        """Stores a report in place of the last one. Costs one write unit."""
        times = {"swept_at": epoch(report.swept_at), "oldest_due": int(report.oldest_due.total_seconds())}
        self._table.put({**_SWEEP, **times})

    def last(self) -> SweepReport | None:
        """The last report, None before the first."""
        item = self._table.get(_SWEEP)
        if item is None:
            return None
        return SweepReport(
            datetime.fromtimestamp(int(item["swept_at"]), UTC), timedelta(seconds=int(item["oldest_due"]))
        )
