"""What pending jobs wait for at the model's account."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from jobchain.aws.breakers import BreakerStore
from jobchain.aws.paces import PaceStore
from jobchain.breaker import Scope
from jobchain.domain import Tier, WaitingFor, WaitReason, isoformat
from jobchain.errors import Unavailable
from jobchain.pace import PATIENCE
from jobchain_api.waits import Beside, no_other


class AccountWaits:
    """What jobs wait for at the model's account. Both stores keep for some seconds what they have read."""

    def __init__(self, breakers: BreakerStore, paces: Callable[[str], Mapping[Tier, PaceStore]], model: str) -> None:
        """`paces` gives those of a model; `model` is the deployment's."""
        self._breakers = breakers
        self._paces = paces
        self._model = model

    def reason_now(
        self, tier: Tier, now: datetime, model: str | None = None, beside: Beside = no_other
    ) -> WaitingFor | None:
        """An open breaker before a limit that is used up; None where the table does not answer."""
        asked = model or self._model
        try:
            breaker = self._breakers.look(own_model=asked != self._model)
            if breaker and breaker.scope is Scope.MODEL and (other := beside(self._model)):
                # The chain's own model, or its fallback: workers let the job through.
                return self._full(other, tier, now)
            return breaker.waiting_for if breaker else self._full(asked, tier, now)
        except Unavailable:
            return None

    def _full(self, model: str, tier: Tier, now: datetime) -> WaitingFor | None:
        view = self._paces(model)[tier].view()
        if view.free_at <= now + timedelta(seconds=PATIENCE):
            return None
        limits = {"requests": view.rates.requests, "tokens": view.rates.tokens}
        told = " and ".join(f"{limit:,.0f} {name}" for name, limit in limits.items() if limit)
        # Limits that only the workers' settings name are not known here.
        known = f" ({told} a minute)" if told else ""
        detail = f"the account's rate limit{known} is given to other jobs until then"
        return WaitingFor(WaitReason.RATE_LIMIT, isoformat(now), isoformat(view.free_at), detail)
