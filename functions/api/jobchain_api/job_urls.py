"""URLs that jobs name themselves: who may name one, and which."""

from collections.abc import Callable
from datetime import datetime
from functools import lru_cache

from jobchain.aws.webhook_endpoints import EndpointStore
from jobchain.domain import Clock
from jobchain.errors import EndpointNotFound, InvalidRequest
from jobchain.webhooks.events import JOB_URLS
from jobchain.webhooks.urls import UnusableUrl, webhook_target
from jobchain_api.auth import Caller

FIELD = "webhook_url"

CheckUrl = Callable[[Caller, str], None]
"""Raises InvalidRequest where no event may be sent to the URL that a caller's job names, and Unavailable."""

_KNOWN_FOR_SECONDS = 60
_MAX_KNOWN = 1000


def no_job_urls(_caller: Caller, _url: str) -> None:
    """Refuses each URL: the deployment sends no webhooks."""
    raise InvalidRequest({FIELD: "this deployment sends no webhooks: leave it out, or deploy with Webhooks=on"})


def checked_job_urls(endpoints: EndpointStore, clock: Clock, *, local: bool = False) -> CheckUrl:
    """Checks the caller's key, the URL, and that there is a secret. `local`: see `webhook_target`."""

    @lru_cache(_MAX_KNOWN)
    def look_up(tenant: str, _period: int) -> None:
        # One that is missing is not cached: it may be created the next moment.
        endpoints.get(tenant, JOB_URLS)

    def check(caller: Caller, url: str) -> None:
        if not caller.webhook_urls:
            why = "the key does not allow it: leave it out, or ask for a key that is made with --webhook-urls"
            raise InvalidRequest({FIELD: why})
        try:
            webhook_target(FIELD, url, local=local)
        except UnusableUrl as error:
            raise InvalidRequest({FIELD: error.reason}) from None
        try:
            look_up(caller.tenant, _period(clock()))
        except EndpointNotFound:
            why = f"there is no secret to sign its events with: make one by POST /webhooks/{JOB_URLS}/rotate"
            raise InvalidRequest({FIELD: why}) from None

    return check


def _period(now: datetime) -> int:
    return int(now.timestamp() // _KNOWN_FOR_SECONDS)
