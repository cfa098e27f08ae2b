"""Pauses the workers of a stack: they take no more messages from their queues until they are resumed."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from jobchain_cli.errors import Code, CommandError
from jobchain_cli.stack import Stack

LIMIT_SECONDS = 180.0
"""How long a change may take until it holds. AWS needs up to a minute."""

_POLL_SECONDS = 1.0
_ENABLED, _DISABLED = "Enabled", "Disabled"
_KIND = "AWS::Lambda::EventSourceMapping"


@dataclass(frozen=True, slots=True)
class Source:
    """What lets a worker take messages from its queue. `name` is that of the template."""

    name: str
    uuid: str
    state: str

    @property
    def worker(self) -> str:
        """Such as `WorkerFunction`."""
        return self.name.removesuffix("Jobs")


def sources(stack: Stack) -> list[Source]:
    """The event sources of the stack's workers, as they are now. Raises CommandError, ClientError, BotoCoreError."""
    client = stack.client("lambda")
    found = {name: uuid for name, uuid in stack.resources(_KIND).items() if "WorkerFunction" in name}
    if not found:
        raise CommandError(f"the stack {stack.name} has no workers: name one that has template.yaml with --stack")
    return [
        Source(name, uuid, client.get_event_source_mapping(UUID=uuid)["State"]) for name, uuid in sorted(found.items())
    ]


def paused(found: list[Source]) -> list[str]:
    """The workers that take no messages."""
    return [source.worker for source in found if source.state in (_DISABLED, "Disabling")]


def switch(
    stack: Stack, *, enabled: bool, limit: float = LIMIT_SECONDS, sleep: Callable[[float], None] = time.sleep
) -> Iterator[str]:
    """Makes every worker take messages or not, waits until that holds, and gives a line for each worker.

    One that is so already is left as it is. Raises CommandError where it does not hold after `limit` seconds,
    ClientError, BotoCoreError.
    """
    client, wanted = stack.client("lambda"), _ENABLED if enabled else _DISABLED
    until = time.monotonic() + limit
    before = sources(stack)
    # All are told first, so that they change at the same time.
    for source in before:
        if source.state != wanted:
            _update(client, source, enabled, until, sleep)
    for source in before:
        if source.state == wanted:
            yield f"{source.worker} is {wanted.lower()} already."
            continue
        state = _settled(client, source, wanted, until, sleep)
        if state != wanted:
            raise CommandError(
                f"{source.worker} is still {state.lower()} after {limit:g} s: run the command again, which continues",
                Code.TIMEOUT,
            )
        yield f"{source.worker} was {source.state.lower()}, and is {state.lower()}."


def _update(client: Any, source: Source, enabled: bool, until: float, sleep: Callable[[float], None]) -> None:
    while True:
        try:
            client.update_event_source_mapping(UUID=source.uuid, Enabled=enabled)
        except ClientError as error:
            # An earlier change is still under way.
            if error.response["Error"]["Code"] != "ResourceInUseException" or time.monotonic() > until:
                raise
            sleep(_POLL_SECONDS)
        else:
            return


def _settled(client: Any, source: Source, wanted: str, until: float, sleep: Callable[[float], None]) -> str:
    """The source's state once it is the wanted one, or as it is when the time is over."""
    while True:
        state: str = client.get_event_source_mapping(UUID=source.uuid)["State"]
        if state == wanted or time.monotonic() > until:
            return state
        sleep(_POLL_SECONDS)
