"""The breakers' items: read by all workers before they claim a job, written when one opens, probes or closes.

An item has `opened_at`, by which one opening is told from the next; `refused_at`, `probe_at`, `named_probe_at` and
`refusals` as of `OpenBreaker`; and `closed_at` once it is closed. It is not deleted then: a call that began before
`closed_at` and is refused after it tells nothing new, and opens nothing. Times are milliseconds since 1970.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from threading import Lock
from typing import TYPE_CHECKING

from jobchain.aws.attributes import Item
from jobchain.aws.table import ConditionFailed, Table
from jobchain.aws.writes import epoch, epoch_ms, key, update
from jobchain.breaker import PROBE_EVERY, ModelAccount, OpenBreaker, Scope, scope_of
from jobchain.domain import Clock

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

MAX_AGE = timedelta(seconds=3)
"""How long a worker may not know what another one wrote."""

_KEPT = timedelta(days=7)

_IS_SEEN = "opened_at = :opened_at AND attribute_not_exists(closed_at)"


class BreakerStore:
    """The two breakers of one account, as one worker sees them. Its methods may be called from several threads.

    A look costs one read unit each three seconds, and a job that is refused no write. Every method raises Unavailable
    where the table does not answer.
    """

    def __init__(self, client: "DynamoDBClient", table: str, account: ModelAccount, clock: Clock) -> None:
        self._table = Table(client, table)
        self._clock = clock
        self._keys = {
            Scope.KEY: key(f"BREAKER#{account.host}#key#{account.secret_name}", "META"),
            Scope.MODEL: key(f"BREAKER#{account.host}#model#{account.model}", "META"),
        }
        self._items: dict[Scope, Item] = {}
        self._fresh_until: datetime | None = None
        # All jobs of a batch come at once: one of them asks the table, and the others wait for what it learns.
        self._lock = Lock()

    def is_open(self, *, own_model: bool = False) -> bool:
        """Whether one is open that `look` gives, as of the last look: without a request or a wait."""
        items = {**self._items}
        return any(scope in items and "closed_at" not in items[scope] for scope in _scopes(own_model))

    @property
    def refuses_model(self) -> bool:
        """Whether the breaker of the deployment's model is open, as of the last look."""
        item = self._items.get(Scope.MODEL)
        return item is not None and "closed_at" not in item

    def look(self, *, own_model: bool = False) -> OpenBreaker | None:
        """The breaker that is open, None where none is. Of two, the key's: without it no model can be called.

        For a job of `own_model`, another one than the deployment's, only the key's.
        """
        with self._lock:
            if self._fresh_until is None or self._clock() >= self._fresh_until:
                self._read()
            return next(iter(self._open(own_model)), None)

    def probe(self, seen: OpenBreaker, *, named: bool = False) -> bool:
        """Whether the caller's job is the one that is let through this minute: true for one caller alone.

        If its worker crashes, the next minute has another one. Jobs that name their models themselves, `named`, have
        probes of their own: however many of them name a model that is never answered, the others' probe is not theirs.
        """
        with self._lock:
            now = self._clock()
            known = self._known(seen.scope)
            # Another job of this worker was faster, or has learned that another worker was.
            if known is None or not known.probe_is_due(now, named=named) or known.opened_at != seen.opened_at:
                return False
            its = _probe_attribute(named)
            return self._write(
                seen.scope,
                # An item of an earlier version has no `named_probe_at`.
                f"{_IS_SEEN} AND (attribute_not_exists({its}) OR {its} <= :now)",
                {":opened_at": self._items[seen.scope]["opened_at"], ":now": epoch_ms(now)},
                {its: epoch_ms(now + PROBE_EVERY)},
            )

    def give_back(self, probed: OpenBreaker, *, named: bool = False) -> None:
        """The caller's job was the probe, and made no call: the next job that comes is let through in its place.

        `probed` is the breaker as the probe has left it. Where another probe has followed, nothing is changed.
        """
        was = probed.next_named_probe_at if named else probed.next_probe_at
        with self._lock:
            self._write(
                probed.scope,
                f"{_IS_SEEN} AND {_probe_attribute(named)} = :was",
                {":opened_at": _stored(probed.opened_at), ":was": _stored(was)},
                {_probe_attribute(named): epoch_ms(self._clock())},
            )

    def open(
        self, fault_type: str, began_at: datetime, *, probing: bool = False, own_model: bool = False
    ) -> OpenBreaker | None:
        """Takes note of a call that began at `began_at` and ended with a fault of this type.

        Returns the breaker if somebody must be told: it was closed and is open now, or the call was the probe and it
        stays open. Returns None for a fault that is not the account's, a breaker that is open already, and a call that
        began before the breaker was closed.
        """
        scope = scope_of(fault_type, own_model=own_model)
        if scope is None:
            return None
        with self._lock:
            known = self._known(scope)
            if known and not probing:
                return None
            written = self._keep_open(known, fault_type) if known else self._open_new(scope, fault_type, began_at)
            return self._known(scope) if written else None

    def close(self, began_at: datetime, *, own_model: bool = False) -> Sequence[OpenBreaker]:
        """Closes what is open, as a call that began at `began_at` was answered; returns the breakers that it closed.

        One that opened after the call had begun stays open, and so does the deployment's model's after a call of
        `own_model`.
        """
        with self._lock:
            return [
                breaker
                for breaker in self._open(own_model)
                if breaker.opened_at <= began_at
                and self._write(
                    breaker.scope,
                    _IS_SEEN,
                    {":opened_at": self._items[breaker.scope]["opened_at"]},
                    {"closed_at": epoch_ms(self._clock()), "expires_at": self._expiry()},
                )
            ]

    def _open_new(self, scope: Scope, fault_type: str, began_at: datetime) -> bool:
        now = self._clock()
        return self._write(
            scope,
            "attribute_not_exists(pk) OR closed_at < :began_at",
            {":began_at": epoch_ms(began_at)},
            {
                "type": fault_type,
                "opened_at": epoch_ms(now),
                "refused_at": epoch_ms(now),
                "probe_at": epoch_ms(now + PROBE_EVERY),
                "named_probe_at": epoch_ms(now + PROBE_EVERY),
                "refusals": 1,
                "expires_at": self._expiry(),
            },
            removed=["closed_at"],
        )

    def _keep_open(self, known: OpenBreaker, fault_type: str) -> bool:
        return self._write(
            known.scope,
            _IS_SEEN,
            {":opened_at": self._items[known.scope]["opened_at"]},
            {"type": fault_type, "refused_at": epoch_ms(self._clock()), "expires_at": self._expiry()},
            added={"refusals": 1},
        )

    def _write(
        self,
        scope: Scope,
        condition: str,
        values: Item,
        changes: Item,
        removed: Sequence[str] = (),
        added: Item | None = None,
    ) -> bool:
        """Whether the condition held. Either way the item is known as it is now."""
        try:
            found = self._table.write(update(self._keys[scope], condition, values, changes, removed, added))
        except ConditionFailed as failed:
            self._know(scope, failed.item)
            return False
        self._know(scope, found)
        # A read that is not consistent may still find the item as it was before.
        self._fresh_until = self._clock() + MAX_AGE
        return True

    def _read(self) -> None:
        found = {item["pk"]: item for item in self._table.get_many([*self._keys.values()], consistent=False)}
        for scope, its_key in self._keys.items():
            self._know(scope, found.get(its_key["pk"]))
        self._fresh_until = self._clock() + MAX_AGE

    def _know(self, scope: Scope, item: Item | None) -> None:
        self._items.pop(scope, None)
        if item:
            self._items[scope] = item

    def _known(self, scope: Scope) -> OpenBreaker | None:
        return _breaker(scope, self._items.get(scope))

    def _open(self, own_model: bool) -> list[OpenBreaker]:
        return [breaker for scope in _scopes(own_model) if (breaker := self._known(scope))]

    def _expiry(self) -> int:
        return epoch(self._clock() + _KEPT)


def _scopes(own_model: bool) -> Sequence[Scope]:
    return (Scope.KEY,) if own_model else (*Scope,)


def _probe_attribute(named: bool) -> str:
    return "named_probe_at" if named else "probe_at"


def _breaker(scope: Scope, item: Item | None) -> OpenBreaker | None:
    if item is None or "closed_at" in item:
        return None
    return OpenBreaker(
        type=item["type"],
        scope=scope,
        opened_at=_moment(item["opened_at"]),
        refused_at=_moment(item["refused_at"]),
        next_probe_at=_moment(item["probe_at"]),
        next_named_probe_at=_moment(item.get("named_probe_at") or item["probe_at"]),
        refusals=int(item["refusals"]),
    )


def _stored(moment: datetime) -> int:
    """The milliseconds that `_moment` was given."""
    return round(moment.timestamp() * 1000)


def _moment(milliseconds: Decimal) -> datetime:
    return datetime.fromtimestamp(int(milliseconds) / 1000, UTC)
