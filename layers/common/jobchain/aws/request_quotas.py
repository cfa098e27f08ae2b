"""How a key's limit on requests is kept: by a counter for each minute, from which environments take shares.

An environment of the api takes the right to several requests with one write, and spends it without another. So a
request costs a fraction of a write, and all environments together never pass the limit. What an environment took and
did not spend is lost to the others for that minute: up to 2 % of the limit for each environment.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from jobchain.aws.table import ConditionFailed, Table
from jobchain.aws.writes import epoch, key, update
from jobchain.domain import Clock
from jobchain.errors import LimitReached

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_SHARES = 50
_MINUTE = timedelta(minutes=1)
_KEPT = timedelta(days=1)


@dataclass(slots=True)
class _Share:
    """What an environment may still spend of a minute. `is_last` once the counter gives no more."""

    minute: datetime
    left: int = 0
    is_last: bool = False


class RequestQuotas:
    """Admits requests of keys with a limit. One environment serves one request at a time."""

    def __init__(self, client: "DynamoDBClient", table: str, clock: Clock) -> None:
        self._table = Table(client, table)
        self._clock = clock
        self._shares: dict[str, _Share] = {}

    def take(self, tenant: str, key_id: str, most: int) -> None:
        """Counts one request of a key that may make `most` a minute (UTC).

        Raises LimitReached until the next minute, and Unavailable where the table fails.
        """
        now = self._clock()
        minute = now.astimezone(UTC).replace(second=0, microsecond=0)
        share = self._shares.get(key_id)
        if share is None or share.minute != minute:
            # What was known of earlier minutes is of no use.
            self._shares = {known: kept for known, kept in self._shares.items() if kept.minute == minute}
            share = self._shares[key_id] = _Share(minute)
        if not share.left and not share.is_last:
            self._refill(share, tenant, key_id, most)
        if not share.left:
            raise LimitReached("requests_per_minute", most, minute + _MINUTE - now, key_id)
        share.left -= 1

    def _refill(self, share: _Share, tenant: str, key_id: str, most: int) -> None:
        for size in dict.fromkeys((max(most // _SHARES, 1), 1)):
            if self._reserve(share.minute, tenant, key_id, most, size):
                share.left = size
                return
        share.is_last = True

    def _reserve(self, minute: datetime, tenant: str, key_id: str, most: int, size: int) -> bool:
        counter = key(f"TENANT#{tenant}", f"REQUESTS#{key_id}#{minute:%Y-%m-%dT%H:%M}")
        condition = "attribute_not_exists(taken) OR taken <= :most"
        kept = {"expires_at": epoch(minute + _KEPT)}
        try:
            self._table.write(update(counter, condition, {":most": most - size}, kept, added={"taken": size}))
        except ConditionFailed:
            return False
        return True
