"""Checks whether the model still exists, and until when: by a schedule, or by hand."""

from collections.abc import Awaitable, Callable
from datetime import date
from typing import Any

from jobchain.aws.model_checks import ModelCheckStore
from jobchain.aws.outage_log import log_unavailable
from jobchain.domain import Clock, isoformat
from jobchain.errors import ModelError, Unavailable, UnknownModel
from jobchain.model_check import WARN_DAYS, ModelCheck, trial_of_successor
from jobchain.observability import Logger

EVENT = {"check": "model"}
"""The event that asks for a check; the template's schedule sends it."""

Meter = Callable[[ModelCheck, int | None], None]
"""Told of each check, and of the days that the model has left, None where no end is known."""


class ModelChecker:
    """Asks the server about one model, and stores the result for `GET /health`."""

    def __init__(
        self,
        *,
        model: str,
        find_shutdown: Callable[[], Awaitable[date | None]],
        checks: ModelCheckStore,
        clock: Clock,
        logger: Logger,
        meter: Meter,
    ) -> None:
        """`find_shutdown` returns the model's last day. It raises UnknownModel, and ModelError where it can't tell."""
        self._model = model
        self._find_shutdown = find_shutdown
        self._checks = checks
        self._clock = clock
        self._logger = logger
        self._meter = meter

    async def check(self) -> dict[str, Any]:
        """Checks the model; returns what was found, or that the check failed."""
        try:
            found = await self._ask()
        except ModelError as error:
            # The result of the last check is kept until the next one.
            self._logger.warning("the model was not checked", model=self._model, reason=str(error))
            return {"model": self._model, "checked": False}
        left = found.days_left(self._clock().date())
        self._meter(found, left)
        self._tell(found, left)
        try:
            self._checks.save(found)
        except Unavailable as error:
            log_unavailable(self._logger, "the check of the model was not stored", error)
        return {"model": found.model, "checked": True, "known": found.known, "days_left": left}

    async def _ask(self) -> ModelCheck:
        checked_at = isoformat(self._clock())
        try:
            return ModelCheck(self._model, known=True, shutdown_date=await self._find_shutdown(), checked_at=checked_at)
        except UnknownModel:
            return ModelCheck(self._model, known=False, shutdown_date=None, checked_at=checked_at)

    def _tell(self, found: ModelCheck, left: int | None) -> None:
        facts = {"model": found.model, "shutdown_date": str(found.shutdown_date), "days_left": left}
        if not found.known:
            self._logger.error("the model's server does not know the model", model=found.model)
        elif left is not None and left <= WARN_DAYS:
            facts["compare"] = trial_of_successor(found.model)
            self._logger.warning("the model will be shut down: choose another", extra=facts)
        else:
            self._logger.info("the model is available", extra=facts)
