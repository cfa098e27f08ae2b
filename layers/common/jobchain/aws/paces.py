"""The items of paces: one for each account, model and tier, shared by all workers.

An item has the numbers of `jobchain.pace.PaceState`, under 1 KB of them: a grant costs one write unit, and so does a
settlement.
"""

from decimal import Decimal
from typing import TYPE_CHECKING

from jobchain.aws.attributes import Item
from jobchain.aws.table import ConditionFailed, Table
from jobchain.aws.writes import epoch, key, update
from jobchain.breaker import ModelAccount
from jobchain.domain import Clock, Tier
from jobchain.pace import Change, PaceState, Range, Rates
from jobchain.pacer import Moved, Pacer

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

KEPT_SECONDS = 7 * 86_400

_OTHERS = {"pk", "sk", "token", "expires_at"}


class PaceStore(Pacer):
    """Grants slots of one account. Every method raises Unavailable where the table does not answer.

    A job is granted its slot by one write, and settled by one. A refusal costs none: a look is half a read unit, and
    made once in three seconds.
    """

    def __init__(
        self,
        client: "DynamoDBClient",
        table: str,
        account: ModelAccount,
        tier: Tier,
        configured: Rates,
        clock: Clock,
    ) -> None:
        """`configured` are the limits that the operator has set; others are learned."""
        pk = f"PACE#{account.host}#{account.model}#{tier}"
        super().__init__(_PaceItem(Table(client, table), key(pk, "META"), clock), configured, clock)


class _PaceItem:
    """The item, as `jobchain.pacer.PaceTable` has it."""

    def __init__(self, table: Table, its_key: Item, clock: Clock) -> None:
        self._table = table
        self._key = its_key
        self._clock = clock

    def read(self) -> PaceState | None:
        found = self._table.get_many([self._key], consistent=False)
        return _state(found[0]) if found else None

    def write(self, change: Change) -> PaceState:
        conditions = [_condition(place, found) for place, found in enumerate(change.conditions)]
        values: Item = {}
        for place, found in enumerate(change.conditions):
            values[f":most{place}"] = _number(found.most)
            if found.least is not None:
                values[f":least{place}"] = _number(found.least)
        if not change.first:
            conditions.append("attribute_exists(pk)")
        write = update(
            self._key,
            " AND ".join(conditions) or "attribute_not_exists(pk) OR attribute_exists(pk)",
            values,
            {**_item(change.changes), "expires_at": epoch(self._clock()) + KEPT_SECONDS},
            [*change.removed],
            _item(change.added),
        )
        try:
            return _state(self._table.write(write))
        except ConditionFailed as failed:
            raise Moved(_state(failed.item) if failed.item else None) from None


def _condition(place: int, found: Range) -> str:
    if found.least is None:
        return f"(attribute_not_exists({found.name}) OR {found.name} <= :most{place})"
    return f"{found.name} BETWEEN :least{place} AND :most{place}"


def _number(value: float) -> Decimal:
    return Decimal(f"{value:.6f}")


def _item(state: PaceState) -> Item:
    return {name: _number(value) for name, value in state.items()}


def _state(item: Item) -> PaceState:
    return {name: float(value) for name, value in item.items() if name not in _OTHERS}
