"""Tells the breakers how calls of the model ended, and the operator when one opens or closes."""

import asyncio
from collections.abc import Callable
from datetime import datetime

from jobchain.aws.breakers import BreakerStore
from jobchain.aws.outage_log import log_unavailable
from jobchain.breaker import OpenBreaker, scope_of
from jobchain.domain import isoformat
from jobchain.errors import ModelError, Unavailable
from jobchain.observability import Logger

Meter = Callable[[OpenBreaker], None]
"""Told of each breaker that opens, and of each probe that finds it still open."""


class AccountWatch:
    """Watches the model's account by the calls that are made. It raises nothing: a call's end counts in any case."""

    def __init__(self, breakers: BreakerStore, logger: Logger, meter: Meter) -> None:
        self._breakers = breakers
        self._logger = logger
        self._meter = meter

    async def answered(self, began_at: datetime, *, own_model: bool = False) -> None:
        """A call that began at `began_at` was answered: what was open before it is closed.

        With `own_model` it was of another model than the deployment's, of which it tells nothing.
        """
        if not self._breakers.is_open(own_model=own_model):
            return
        try:
            closed = await asyncio.to_thread(self._breakers.close, began_at, own_model=own_model)
        except Unavailable as error:
            # The next probe closes it.
            log_unavailable(self._logger, "breaker not closed", error)
            return
        for breaker in closed:
            self._logger.info("breaker closed: the model's account works", extra=_facts(breaker))

    async def refused(
        self, error: ModelError, began_at: datetime, *, probing: bool = False, own_model: bool = False
    ) -> bool:
        """A call that began at `began_at` failed. Returns whether the account is at fault, so that its job waits.

        `probing` if its job was let through as the probe, `own_model` if the job named the model itself.
        """
        if scope_of(error.type, own_model=own_model) is None:
            return False
        try:
            opened = await asyncio.to_thread(
                self._breakers.open, error.type, began_at, probing=probing, own_model=own_model
            )
        except Unavailable as unavailable:
            # The next call that is refused opens it.
            log_unavailable(self._logger, "breaker not opened", unavailable)
            return True
        if opened:
            self._meter(opened)
            self._tell(opened, error)
        return True

    def _tell(self, opened: OpenBreaker, error: ModelError) -> None:
        facts = {**_facts(opened), "reason": str(error), **error.report.facts}
        if opened.refusals > 1:
            self._logger.warning("probe failed: the breaker stays open", extra=facts)
        else:
            self._logger.error("breaker opened: jobs wait until the model's account works", extra=facts)


def _facts(breaker: OpenBreaker) -> dict[str, str | int]:
    """What a log may contain of it."""
    return {
        "type": breaker.type,
        "scope": str(breaker.scope),
        "opened_at": isoformat(breaker.opened_at),
        "refusals": breaker.refusals,
    }
