"""Asks a step's model, or its fallback while that has an outage.

A fallback is another model of the same server, by the same key. So it is of use where the model is refused or its calls
fail, and of none where the key is refused, the limits are used up, or a request itself is.
"""

from collections.abc import Awaitable, Callable
from datetime import timedelta

from jobchain.breaker import Scope, scope_of
from jobchain.chains.chain import Step
from jobchain.chains.planning import PlannedStep
from jobchain.chains.step_keys import OutageKey
from jobchain.errors import ModelError, PermanentModelError
from jobchain.observability import Logger
from jobchain_worker.job_run import JobRun, StepCompleted

OUTAGE_FAILURES = 3
"""So many failed tries of a step in a row are taken for an outage of its model. With the default backoff its fallback
is asked a minute after the first."""

_NOT_FOR_IT = frozenset({"budget_exceeded", "budget_unknown", "model_request_refused", "text_too_long"})
"""The types of faults that a fallback may have where the step's own model has none: it costs more, or takes less. Each
is found before anything is paid."""

_REFUSED = "the model's server refuses the model, and its fallback is of no use"

_OUTAGES = frozenset({"connection_lost", "model_unavailable", "overloaded", "server_error", "timeout"})
"""The `TransientModelError.type`s that an outage of a model has."""


class FallbackNotReady(Exception):
    """The fallback's rate limit is used up: the job waits for `wait`, as it would for its own model's."""

    def __init__(self, wait: timedelta) -> None:
        super().__init__("the fallback's rate limit")
        self.wait = wait


def outages_of(run: JobRun, step: PlannedStep, error: ModelError) -> int:
    """The failed tries that an outage may explain, this error included; 0 for a step without a fallback.

    Once its fallback is asked, each failed try counts: so the two take turns, whatever the fallback fails by.
    """
    if not isinstance(step, Step) or step.options.fallback_model is None:
        return 0
    before = run.tries(OutageKey(step.name))
    return before + int(error.type in _OUTAGES or before >= OUTAGE_FAILURES)


def on_fallback(step: Step) -> Step | None:
    """The step as it asks its fallback; None for one without."""
    if step.options.fallback_model is None:
        return None
    return step.with_options(step.options._replace(model=step.options.fallback_model, fallback_model=None))


class Fallbacks:
    """Chooses between the models of steps and their fallbacks."""

    def __init__(self, model: str, logger: Logger) -> None:
        """`model` is the deployment's."""
        self._model = model
        self._logger = logger

    async def ask(
        self, run: JobRun, step: Step, ask: Callable[[Step], Awaitable[StepCompleted]], *, flex: bool
    ) -> StepCompleted:
        """What `ask` makes of the step, with its model or with its fallback. Flex calls wait for their own model.

        Raises what `ask` raises, and FallbackNotReady.
        """
        own, fallback = step.options.model or self._model, on_fallback(step)
        other = fallback.options.model if fallback else None
        if fallback is None or other is None or other == own or flex:
            return await ask(step)
        refusal: PermanentModelError | None = None
        if not self._has_outage(run, step.name, own):
            try:
                return await ask(step)
            except PermanentModelError as error:
                if scope_of(error.type) is not Scope.MODEL:
                    raise
                refusal = error
        if wait := await run.records.permit.let_ask(other, step):
            raise FallbackNotReady(wait)
        self._logger.warning("fallback asked", model=own, fallback=other)
        try:
            done = await ask(fallback)
        except PermanentModelError as error:
            if error.type not in _NOT_FOR_IT and scope_of(error.type) is not Scope.MODEL:
                raise
            # An outage must not fail the job, and a park counts no try: a fallback that is of no use would be asked
            # until the deadline.
            if refusal is None and run.records.permit.refuses(own):
                refusal = PermanentModelError("model_not_found", f"{_REFUSED}: {error}")
            if refusal is not None:
                raise refusal from error
            return await ask(step)
        # The job's next steps do not try the other one first. Its next run does.
        run.avoided.add(own)
        return done

    def _has_outage(self, run: JobRun, step: str, own: str) -> bool:
        """Whether the model is refused, or failed often. A fallback that fails too takes turns with it."""
        beyond = run.tries(OutageKey(step)) - OUTAGE_FAILURES
        return own in run.avoided or run.records.permit.refuses(own) or (beyond >= 0 and beyond % 2 == 0)
