"""The endpoints of tenants, and their secrets, which have a partition key of their own: IAM tells who may read it."""

import re
import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from typing import TYPE_CHECKING

from jobchain.aws.attributes import Item
from jobchain.aws.items import MOVE_TRIES
from jobchain.aws.outbox import partition
from jobchain.aws.table import ConditionFailed, Table, TransactionCanceled
from jobchain.aws.writes import delete, epoch, key, put_new, update
from jobchain.domain import Clock, isoformat
from jobchain.errors import EndpointNotFound, TooManyEndpoints, Unavailable
from jobchain.webhooks.events import JOB_URLS, EventType, Receiver
from jobchain.webhooks.signatures import new_secret

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

MOST_ENDPOINTS = 10
"""The most endpoints of a tenant that have a URL: each is a write of the transaction that ends a job."""

OVERLAP = timedelta(hours=24)
"""How long the secret that a rotation replaces is valid beside the new one."""

# The replaced secret of a rotation that has just been made, and the new one.
_VALID = 2

_RANDOM_BYTES = 6
_ID = re.compile(rf"ep_[0-9a-f]{{{2 * _RANDOM_BYTES}}}")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A receiver of events: it wants those of `events` and of `chains`, or all where these are empty.

    The one with the id `JOB_URLS` has no URL: each job names its own. Times are texts of `isoformat`.
    """

    endpoint_id: str
    url: str | None
    events: tuple[str, ...]
    chains: tuple[str, ...]
    created_at: str
    disabled_at: str | None = None
    disabled_because: str | None = None

    def wants(self, chain: str) -> bool:
        """Whether it gets events of a chain's jobs."""
        return self.url is not None and self.disabled_at is None and (not self.chains or chain in self.chains)


class EndpointStore:
    """Creates, lists and deletes endpoints. Every method raises Unavailable where the table does not answer."""

    def __init__(self, client: "DynamoDBClient", table: str, clock: Clock) -> None:
        self._table = Table(client, table)
        self._clock = clock

    def list(self, tenant: str) -> list[Endpoint]:
        """The tenant's endpoints, the oldest first."""
        found = self._table.query(partition(tenant), "ENDPOINT#", "ENDPOINT$")
        return sorted((endpoint_of(item) for item in found), key=lambda endpoint: endpoint.created_at)

    def get(self, tenant: str, endpoint_id: str) -> Endpoint:
        """The endpoint. Raises EndpointNotFound."""
        return endpoint_of(self._item_of(tenant, endpoint_id))

    def receivers(self, tenant: str, chain: str) -> tuple[Receiver, ...]:
        """Those who are told of the end of a job of this chain that is created now."""
        return receivers_among(self.list(tenant), chain)

    def create(
        self, tenant: str, url: str | None, events: Sequence[EventType] = (), chains: Sequence[str] = ()
    ) -> tuple[Endpoint, str]:
        """A new endpoint, and its secret, to be shown once. Without a URL it is that of the jobs' own URLs.

        Raises TooManyEndpoints. One for the jobs' own URLs that exists gets a new secret, as by `rotate`.
        """
        existing = self.list(tenant)
        if url is None and any(endpoint.endpoint_id == JOB_URLS for endpoint in existing):
            return endpoint_of(self._item_of(tenant, JOB_URLS)), self.rotate(tenant, JOB_URLS)
        if url is not None and _with_urls(existing) >= MOST_ENDPOINTS:
            raise _too_many()
        endpoint_id = f"ep_{secrets.token_hex(_RANDOM_BYTES)}" if url is not None else JOB_URLS
        endpoint = Endpoint(endpoint_id, url, tuple(events), tuple(chains), isoformat(self._clock()))
        secret, sk = new_secret(), self._secret_sk()
        kept = put_new({**key(secret_partition(tenant, endpoint_id), sk), "secret": secret})
        writes = [put_new({**_item(tenant, endpoint), "secrets": [sk]}), kept]
        try:
            self._table.transact(lambda: writes)
        except TransactionCanceled:
            # That of the jobs' own URLs was created a moment ago: its id is not random.
            return endpoint, self.rotate(tenant, endpoint_id)
        if url is not None and _with_urls(self.list(tenant)) > MOST_ENDPOINTS:
            # Another one was created at the same time. Each of them sees that, so that both may be refused.
            with suppress(EndpointNotFound):
                self.delete(tenant, endpoint_id)
            raise _too_many()
        return endpoint, secret

    def rotate(self, tenant: str, endpoint_id: str) -> str:
        """A new secret, to be shown once; the one before it is valid for `OVERLAP`. Raises EndpointNotFound.

        Of two rotations within that time the secret of the first one replaces the oldest: two are valid at most.
        Secrets are not read for it: the endpoint knows the keys of its newest ones.
        """
        pk = secret_partition(tenant, endpoint_id)
        for _ in range(MOVE_TRIES):
            known = self._item_of(tenant, endpoint_id)["secrets"]
            secret, sk = new_secret(), self._secret_sk()
            where, expiry = key(pk, known[-1]), {"expires_at": epoch(self._clock() + OVERLAP)}
            writes = [
                update(_key(tenant, endpoint_id), "secrets = :seen", {":seen": known}, {"secrets": [known[-1], sk]}),
                update(where, "attribute_exists(pk)", {}, expiry),
                *(delete(key(pk, older)) for older in known[:-1]),
                put_new({**key(pk, sk), "secret": secret}),
            ]
            with suppress(TransactionCanceled):
                self._table.transact(lambda writes=writes: writes)  # type: ignore[misc]
                return secret
        raise Unavailable("the endpoint changes too fast: try again")

    def delete(self, tenant: str, endpoint_id: str) -> None:
        """Erases an endpoint and its secrets; deliveries to it are given up. Raises EndpointNotFound."""
        for _ in range(MOVE_TRIES):
            known = self._item_of(tenant, endpoint_id)["secrets"]
            kept = [delete(key(secret_partition(tenant, endpoint_id), sk)) for sk in known]
            endpoint = delete(_key(tenant, endpoint_id), "secrets = :seen", {":seen": known})
            with suppress(TransactionCanceled):
                self._table.transact(lambda endpoint=endpoint, kept=kept: [endpoint, *kept])  # type: ignore[misc]
                return
        raise Unavailable("the endpoint changes too fast: try again")

    def enable(self, tenant: str, endpoint_id: str) -> Endpoint:
        """The endpoint, which gets events again. Raises EndpointNotFound."""
        change = update(_key(tenant, endpoint_id), "attribute_exists(pk)", {}, {}, ("disabled_at", "disabled_because"))
        try:
            return endpoint_of(self._table.write(change))
        except ConditionFailed:
            raise _not_found(endpoint_id) from None

    def _item_of(self, tenant: str, endpoint_id: str) -> Item:
        item = self._table.get(_key(tenant, endpoint_id))
        if item is None:
            raise _not_found(endpoint_id)
        return item

    def _secret_sk(self) -> str:
        # They are ordered by time, and two of one moment are two.
        return f"{isoformat(self._clock())}#{secrets.token_hex(4)}"


def receivers_among(endpoints: Sequence[Endpoint], chain: str) -> tuple[Receiver, ...]:
    """Those of a tenant's endpoints, the oldest first, that are told of the jobs of a chain.

    Never more than `MOST_ENDPOINTS`, even where more are stored: a job with too many could not end.
    """
    wanted = (Receiver(endpoint.endpoint_id, endpoint.events) for endpoint in endpoints if endpoint.wants(chain))
    return tuple(islice(wanted, MOST_ENDPOINTS))


def _with_urls(endpoints: Sequence[Endpoint]) -> int:
    return sum(endpoint.url is not None for endpoint in endpoints)


def _too_many() -> TooManyEndpoints:
    return TooManyEndpoints(f"there are {MOST_ENDPOINTS} endpoints, which is the most: delete one first")


def _not_found(endpoint_id: str) -> EndpointNotFound:
    return EndpointNotFound(f"there is no endpoint {endpoint_id}")


def _key(tenant: str, endpoint_id: str) -> Item:
    # A caller's id may be any text, of any length, which the table refuses as it does when it fails.
    if endpoint_id != JOB_URLS and not _ID.fullmatch(endpoint_id):
        raise _not_found(endpoint_id)
    return key(partition(tenant), f"ENDPOINT#{endpoint_id}")


def secret_partition(tenant: str, endpoint_id: str) -> str:
    """The partition key of an endpoint's secrets."""
    return f"WEBHOOK_SECRET#{tenant}#{endpoint_id}"


def valid_secrets(items: Sequence[Item], now: int) -> tuple[str, ...]:
    """The secrets to sign with `now`, in seconds since 1970: the newest first, and the one that it replaces."""
    newest_first = sorted(items, key=lambda item: str(item["sk"]), reverse=True)
    # TTL may erase one long after it has expired.
    valid = [item["secret"] for item in newest_first if int(item.get("expires_at", now + 1)) > now]
    return tuple(valid[:_VALID])


def _item(tenant: str, endpoint: Endpoint) -> Item:
    optional = {"url": endpoint.url, "events": list(endpoint.events), "chains": list(endpoint.chains)}
    return {
        **_key(tenant, endpoint.endpoint_id),
        "created_at": endpoint.created_at,
        **{name: value for name, value in optional.items() if value},
    }


def endpoint_of(item: Item) -> Endpoint:
    """The endpoint that is stored in an item."""
    return Endpoint(
        endpoint_id=item["sk"].removeprefix("ENDPOINT#"),
        url=item.get("url"),
        events=tuple(item.get("events", ())),
        chains=tuple(item.get("chains", ())),
        created_at=item["created_at"],
        disabled_at=item.get("disabled_at"),
        disabled_because=item.get("disabled_because"),
    )
