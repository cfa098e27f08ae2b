"""Authentication: the caller of a request."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache, partial

from jobchain.aws.api_keys import MAX_LENGTH, ApiKey, ApiKeyStore, hashed
from jobchain.aws.request_quotas import RequestQuotas
from jobchain.domain import Clock
from jobchain.errors import ForeignOrigin, Unauthorized
from jobchain.limits import NO_LIMITS, Limits

LOCAL_TENANT = "local"
"""The only tenant of a deployment without API keys."""

# Every environment refuses a revoked key within a minute, including the time of a request.
_KNOWN_FOR_SECONDS = 50
_MAX_KNOWN = 1000

_READING = ("GET", "HEAD", "OPTIONS")
_SAME_SITE = ("same-origin", "none")

_BEARER = re.compile(rf"bearer +([\x21-\x7e]{{1,{MAX_LENGTH}}})", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True, slots=True)
class Caller:
    """The tenant of a request, and what it may do. `anonymous`: the deployment authenticates without keys.

    With `webhook_urls`, its jobs may name URLs that are told of their ends.
    `key_id` is the id of its API key, empty without one. `count` counts one more request of the key, for what takes the
    time of many. It raises LimitReached, Unavailable.
    """

    tenant: str
    limits: Limits = NO_LIMITS
    operator: bool = False
    anonymous: bool = False
    key_id: str = ""
    webhook_urls: bool = False
    count: Callable[[], None] = field(default=lambda: None, compare=False, repr=False)


Authenticate = Callable[[str], Caller]
"""Gives the caller for a request's header `Authorization`. Raises Unauthorized, LimitReached, Unavailable."""


def no_authentication(_authorization: str) -> Caller:
    """Authenticates every request as the only tenant."""
    return Caller(LOCAL_TENANT, operator=True, anonymous=True, webhook_urls=True)


def refuse_foreign(caller: Caller, method: str, headers: Mapping[str, str]) -> None:
    """Refuses a change that a browser sends for a page of another origin. Raises ForeignOrigin.

    Only a deployment without keys needs this: there a request is authenticated by reaching the API, and a foreign page
    can use a browser that reaches it. Reads are accepted: the answers have no CORS headers, so that the page can't read
    them. Programs send neither header. The names of `headers` are case-insensitive.
    https://pkg.go.dev/net/http#CrossOriginProtection
    """
    if not caller.anonymous or method in _READING:
        return
    site, origin = headers.get("Sec-Fetch-Site", ""), headers.get("Origin", "")
    host = headers.get("Host", "").lower()
    own = site in _SAME_SITE if site else bool(host) and origin.partition("://")[2].lower() == host
    if (site or origin) and not own:
        raise ForeignOrigin(
            "a deployment without API keys accepts changes only from pages of its own origin and from programs: send "
            "neither Origin nor Sec-Fetch-Site, or deploy it with AuthMode api_key"
        )


class ApiKeys:
    """Authenticates requests by API keys that are stored, not revoked and not expired, and counts them."""

    def __init__(self, keys: ApiKeyStore, quotas: RequestQuotas, clock: Clock) -> None:
        self._keys = keys
        self._quotas = quotas
        self._clock = clock
        # An unknown key is not cached: it may be created the next moment.
        self._known = lru_cache(_MAX_KNOWN)(self._find)

    def __call__(self, authorization: str) -> Caller:
        """The caller whose key is in the header. Raises Unauthorized, LimitReached, Unavailable."""
        sent = _BEARER.fullmatch(authorization.strip())
        if sent is None:
            raise Unauthorized("send an API key, in the header `Authorization: Bearer <key>`")
        now = self._clock()
        api_key = self._known(hashed(sent[1]), _period(now))
        if api_key.revoked_at:
            raise Unauthorized("the API key is revoked: ask for another", api_key.key_id)
        if api_key.is_over(now):
            raise Unauthorized("the API key has expired: ask for another", api_key.key_id)
        caller = Caller(
            api_key.tenant,
            api_key.limits,
            api_key.operator,
            key_id=api_key.key_id,
            webhook_urls=api_key.webhook_urls,
        )
        if (most := api_key.limits.requests_per_minute) is not None:
            caller = replace(caller, count=partial(self._quotas.take, api_key.tenant, api_key.key_id, most))
        caller.count()
        return caller

    def _find(self, digest: str, _period: int) -> ApiKey:
        api_key = self._keys.find(digest)
        if api_key is None:
            raise Unauthorized("invalid API key: send all of it, as it was shown when it was created")
        return api_key


def _period(now: datetime) -> int:
    return int(now.timestamp() // _KNOWN_FOR_SECONDS)
