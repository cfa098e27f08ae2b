"""What a shell offers for an argument: ids of jobs and names of chains, as the API has them now.

A key press must not wait, print or fail: without an answer within `SECONDS`, there is nothing to offer.
"""

import os
import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, TypeVar

from jobchain_cli.errors import CommandError

if TYPE_CHECKING:
    from jobchain_client import Jobchain

SECONDS = 2.0
"""How long the API may take."""

OFFERED = 50
"""How many of the newest jobs are offered."""

# A shell's script gets what is offered: a name that could be more than a word to it is left out.
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,199}")

Offer = tuple[str, str]
T = TypeVar("T")


def offered_ids(incomplete: str) -> list[Offer]:
    """The newest jobs' ids, each with its status and chain."""

    def newest(client: "Jobchain") -> list[Offer]:
        return [(job.event_id, f"{job.status} {job.job_name}") for job in client.list(limit=OFFERED)]

    return _plain(_asked(newest), incomplete)


def offered_chains(incomplete: str) -> list[Offer]:
    """The names of the chains."""
    return _plain(_asked(lambda client: [(chain.name, "") for chain in client.chains()]), incomplete)


def _asked(ask: "Callable[[Jobchain], list[Offer]]") -> list[Offer]:
    from jobchain_cli.target import config_file, find
    from jobchain_client import BadArgument, Jobchain, JobchainError

    try:
        # The options may be before the word that is completed, but it is not known yet what they mean.
        found = find(None, None, os.environ, config_file(), told=False)
        with Jobchain(
            found.url, found.api_key, timeout=SECONDS, retry_seconds=0, insecure_http=found.insecure_http
        ) as client:
            return ask(client)
    except (BadArgument, CommandError, JobchainError):
        return []


def _plain(offers: Iterable[Offer], incomplete: str) -> list[Offer]:
    return [
        (word, about if all(map(_PLAIN.fullmatch, about.split())) else "")
        for word, about in offers
        if word.startswith(incomplete) and _PLAIN.fullmatch(word)
    ]
