"""API keys: which tenant a request belongs to, and its limits.

A key is shown once, and stored as its SHA-256 hash. It has 256 random bits, so that neither guessing a key nor timing a
look-up, which sees the hash alone, helps an attacker. Passwords need a slow hash; here it would cost every request time
and protect nothing.
"""

import hashlib
import secrets
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from jobchain.aws.attributes import Item
from jobchain.aws.table import ConditionFailed, Table
from jobchain.aws.writes import delete, key, put_new, update
from jobchain.domain import Clock, isoformat
from jobchain.errors import KeyNotFound
from jobchain.limits import NO_LIMITS, Limits

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

PREFIX = "jc_"
"""The prefix of every key, by which scanners for leaked secrets can recognize one."""

MAX_LENGTH = 128
"""The most characters that a key may have."""

_RANDOM_BYTES = 32
_ID_LENGTH = 12
_LIST = "KEYS"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What is stored of a key. Times are texts of `isoformat`.

    `key_id` names it in public. An `operator` may see what concerns all tenants, such as the depth of the queues. With
    `webhook_urls`, jobs may name URLs that are told of their ends.
    """

    key_id: str
    tenant: str
    name: str
    created_at: str
    limits: Limits = NO_LIMITS
    operator: bool = False
    webhook_urls: bool = False
    valid_until: str | None = None
    revoked_at: str | None = None

    def is_over(self, now: datetime) -> bool:
        """Whether it has expired."""
        return self.valid_until is not None and self.valid_until <= isoformat(now)


class ApiKeyStore:
    """Creates, finds and revokes keys. Every method raises Unavailable where the table does not answer."""

    def __init__(self, client: "DynamoDBClient", table: str, clock: Clock) -> None:
        self._table = Table(client, table)
        self._clock = clock

    def create(
        self,
        tenant: str,
        name: str,
        limits: Limits = NO_LIMITS,
        *,
        operator: bool = False,
        webhook_urls: bool = False,
        valid_for: timedelta | None = None,
    ) -> tuple[str, ApiKey]:
        """A new key, to be shown once, and what is stored of it."""
        secret = PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)
        digest = hashed(secret)
        now = self._clock()
        api_key = ApiKey(
            key_id=_id_of(digest),
            tenant=tenant,
            name=name,
            created_at=isoformat(now),
            limits=limits,
            operator=operator,
            webhook_urls=webhook_urls,
            valid_until=isoformat(now + valid_for) if valid_for is not None else None,
        )
        listed = {**key(_LIST, f"{tenant}#{api_key.created_at}#{api_key.key_id}"), "digest": digest}
        writes = [put_new({**_key(digest), **_item(api_key)}), put_new(listed)]
        self._table.transact(lambda: writes)
        return secret, api_key

    def find(self, digest: str) -> ApiKey | None:
        """What is stored of the key with this hash."""
        item = self._table.get(_key(digest))
        return _api_key(digest, item) if item else None

    def list(self, tenant: str | None = None) -> list[ApiKey]:
        """A tenant's keys, or all, by tenant, the oldest first."""
        first, last = (f"{tenant}#", f"{tenant}$") if tenant else ("!", "~")
        found = (self.find(item["digest"]) for item in self._table.query(_LIST, first, last))
        return [api_key for api_key in found if api_key]

    def remove(self, key_id: str) -> None:
        """Erases a key with all that is stored of it; functions that have cached it accept it for up to a minute.

        A key that does not exist is no error.
        """
        listed = next((item for item in self._table.query(_LIST, "!", "~") if _id_of(item["digest"]) == key_id), None)
        if listed:
            writes = [delete(_key(listed["digest"])), delete(key(_LIST, listed["sk"]))]
            self._table.transact(lambda: writes)

    def revoke(self, key_id: str) -> ApiKey:
        """Revokes a key permanently; functions that have cached it accept it for up to a minute. Raises KeyNotFound."""
        digests = (item["digest"] for item in self._table.query(_LIST, "!", "~"))
        digest = next((digest for digest in digests if _id_of(digest) == key_id), None)
        found = self.find(digest) if digest else None
        if digest is None or found is None:
            raise KeyNotFound("there is no key of this id: list the keys to see theirs")
        if found.revoked_at:
            return found
        now = {"revoked_at": isoformat(self._clock())}
        with suppress(ConditionFailed):
            self._table.write(update(_key(digest), "attribute_not_exists(revoked_at)", {}, now))
        return self.find(digest) or found


def hashed(secret: str) -> str:
    """The hash by which a key is stored."""
    return hashlib.sha256(secret.encode()).hexdigest()


def _id_of(digest: str) -> str:
    return digest[:_ID_LENGTH]


def _key(digest: str) -> Item:
    return key(f"KEY#{digest}", "META")


def _item(api_key: ApiKey) -> Item:
    stored = {**asdict(api_key), "limits": _present(asdict(api_key.limits))}
    return _present({name: value for name, value in stored.items() if name != "key_id"})


def _present(values: Item) -> Item:
    return {name: value for name, value in values.items() if value is not None}


def _api_key(digest: str, item: Item) -> ApiKey:
    limits = item["limits"]
    counts = {name: int(value) for name, value in limits.items() if name != "cost_usd_per_day"}
    return ApiKey(
        key_id=_id_of(digest),
        tenant=item["tenant"],
        name=item["name"],
        created_at=item["created_at"],
        limits=Limits(**counts, cost_usd_per_day=limits.get("cost_usd_per_day")),
        operator=item["operator"],
        webhook_urls=item.get("webhook_urls", False),
        valid_until=item.get("valid_until"),
        revoked_at=item.get("revoked_at"),
    )
