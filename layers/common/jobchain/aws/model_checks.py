"""Where the last check of the model is stored."""

from datetime import date
from typing import TYPE_CHECKING

from jobchain.aws.attributes import Item
from jobchain.aws.table import Table
from jobchain.aws.writes import key, put
from jobchain.model_check import ModelCheck

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_KEY = key("MODEL", "META")


class ModelCheckStore:
    """Stores and reads the last check. Every method raises Unavailable where the table does not answer."""

    def __init__(self, client: "DynamoDBClient", table: str) -> None:
        self._table = Table(client, table)

    def save(self, check: ModelCheck) -> None:
        """Stores a check in place of the last one."""
        item = {**_KEY, "model": check.model, "known": check.known, "checked_at": check.checked_at}
        if check.shutdown_date:
            item["shutdown_date"] = check.shutdown_date.isoformat()
        self._table.transact(lambda: [put(item)])

    def last(self) -> ModelCheck | None:
        """The last check, None before the first."""
        item = self._table.get(_KEY)
        return _check(item) if item else None


def _check(item: Item) -> ModelCheck:
    shutdown = item.get("shutdown_date")
    return ModelCheck(
        model=item["model"],
        known=item["known"],
        shutdown_date=date.fromisoformat(shutdown) if shutdown else None,
        checked_at=item["checked_at"],
    )
