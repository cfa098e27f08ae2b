"""Who a request comes from."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from jobchain.aws.api_keys import MAX_LENGTH, ApiKey, ApiKeyStore, hashed
from jobchain.domain import Clock
from jobchain.errors import ForeignOrigin, Unauthorized
from jobchain.limits import NO_LIMITS, Limits

LOCAL_TENANT = "local"
"""The one tenant of a deployment without keys."""

# A key that was revoked is refused everywhere within a minute, the time of a request included.
_KNOWN_FOR_SECONDS = 50
_MAX_KNOWN = 1000

_READING = ("GET", "HEAD", "OPTIONS")
_SAME_SITE = ("same-origin", "none")

_BEARER = re.compile(rf"bearer +([\x21-\x7e]{{1,{MAX_LENGTH}}})", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True, slots=True)
class Caller:
    """The tenant that a request comes from, and what it may do. `anonymous`: no key has told who it is."""

    tenant: str
    limits: Limits = NO_LIMITS
    operator: bool = False
    anonymous: bool = False


Authenticate = Callable[[str], Caller]
"""Tells the caller by a request's header `Authorization`. Raises Unauthorized, Unavailable."""


def everybody(_authorization: str) -> Caller:
    """Lets everybody in, as the one tenant that there is."""
    return Caller(LOCAL_TENANT, operator=True, anonymous=True)


def refuse_foreign(caller: Caller, method: str, headers: Mapping[str, str]) -> None:
    """Refuse what a browser sends for a page of another origin to a deployment without keys. Raises ForeignOrigin.

    Without a key, being able to reach the API is all that a caller needs, and a page can have the browser of somebody
    who can. Reading is let through: the answers have no CORS headers, so such a page can't see them. Programs send
    neither header. `headers` are found by names in any case. https://pkg.go.dev/net/http#CrossOriginProtection
    """
    if not caller.anonymous or method in _READING:
        return
    site, origin = headers.get("Sec-Fetch-Site", ""), headers.get("Origin", "")
    own = site in _SAME_SITE if site else origin.partition("://")[2].lower() == headers.get("Host", "").lower()
    if (site or origin) and not own:
        raise ForeignOrigin(
            "a deployment without API keys takes changes from pages of its own origin and from programs only: send "
            "neither Origin nor Sec-Fetch-Site, or deploy it with AuthMode api_key"
        )


class ApiKeys:
    """Lets in who sends a key that is stored and holds."""

    def __init__(self, keys: ApiKeyStore, clock: Clock) -> None:
        self._keys = keys
        self._clock = clock
        # A key that is not stored is never remembered: it may be made the next moment.
        self._known = lru_cache(_MAX_KNOWN)(self._find)

    def __call__(self, authorization: str) -> Caller:
        """The caller whose key the header holds. Raises Unauthorized, Unavailable."""
        sent = _BEARER.fullmatch(authorization.strip())
        if sent is None:
            raise Unauthorized("send an API key, in the header `Authorization: Bearer <key>`")
        now = self._clock()
        api_key = self._known(hashed(sent[1]), _period(now))
        if api_key.revoked_at:
            raise Unauthorized("the API key is revoked: ask for another")
        if api_key.is_over(now):
            raise Unauthorized("the API key has expired: ask for another")
        return Caller(api_key.tenant, api_key.limits, api_key.operator)

    def _find(self, digest: str, _period: int) -> ApiKey:
        api_key = self._keys.find(digest)
        if api_key is None:
            raise Unauthorized("the API key is not known: see that all of it is sent, as it was shown")
        return api_key


def _period(now: datetime) -> int:
    return int(now.timestamp() // _KNOWN_FOR_SECONDS)
