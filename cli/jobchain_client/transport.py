"""What both clients do about HTTP."""

import os
from importlib.metadata import PackageNotFoundError, version
from urllib.parse import urlsplit

import httpx2

from jobchain.connection import UnusableSetting, check_http_environment, is_loopback
from jobchain_client.flows import NoAnswer
from jobchain_client.resources import BadArgument

LIMITS = httpx2.Limits(max_connections=10)
"""Few connections, which many tasks share in turn."""


def headers() -> dict[str, str]:
    """What every request names: the program and, where it is installed as a package, its version."""
    try:
        return {"User-Agent": f"jobchain/{version('jobchain')}"}
    except PackageNotFoundError:
        return {"User-Agent": "jobchain"}


def pool_timeout(seconds: float) -> httpx2.Timeout:
    """The time for one request, from when it has a connection."""
    return httpx2.Timeout(seconds, pool=None)


def trusts_environment(url: str) -> bool:
    """Whether the environment's proxies and certificates are used: not for this machine, which needs none.

    Raises BadArgument where they can't be used.
    """
    if is_loopback(url):
        return False
    try:
        check_http_environment(os.environ)
    except UnusableSetting as error:
        raise BadArgument(str(error)) from error
    return True


def no_answer(error: httpx2.RequestError, url: str) -> NoAnswer:
    """Why there is no answer, and whether the request may have been sent."""
    sent = not isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout)
    said = str(error) or type(error).__name__
    return NoAnswer(f"no answer from {urlsplit(url).netloc.rpartition('@')[2]}: {said}", sent)
