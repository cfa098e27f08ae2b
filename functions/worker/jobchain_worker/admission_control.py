"""What a worker asks before it claims a job: may it run beside others, is the account well, has it room for the job?

A job that is not let through is not claimed, and no write is made for it: its message is sent again with a delay.
"""

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial

from jobchain.aws.breakers import BreakerStore
from jobchain.aws.claiming import Candidate
from jobchain.aws.outage_log import log_unavailable
from jobchain.aws.paces import PaceStore
from jobchain.aws.queue import MAX_DELAY, JobQueue, Slot
from jobchain.breaker import MAX_JITTER, MIN_JITTER, OpenBreaker, Scope
from jobchain.chains.chain import Chain, Step
from jobchain.chains.model_choice import fallback_of_job, paced_model, share_limits
from jobchain.domain import Clock, Tier, tier_at
from jobchain.errors import JobNotReady, ModelError, MustRunAlone, Unavailable
from jobchain.llm import LLM
from jobchain.observability import Logger
from jobchain.pace import Demand, Granted, Refused
from jobchain.rate_limits import RateLimits
from jobchain_worker.account_watch import AccountWatch
from jobchain_worker.backlog import Backlog
from jobchain_worker.demand import Demands, Wave, first_calls
from jobchain_worker.pace_ledger import LONGEST_WAIT, PaceLedger, lost, sleep_until, slot_of

SUSPECT = 2
"""A job runs alone after this number of workers in a row vanished with it: another of their jobs may be the cause."""

SLOT_KEPT = timedelta(seconds=60)
"""A slot is lost when its job comes later than this: its workers are busier than the account."""


class AdmissionControl:
    """Lets jobs through to a model's account, as far as that bears them."""

    def __init__(
        self,
        *,
        paces: Callable[[str], Mapping[Tier, PaceStore]],
        breakers: BreakerStore,
        watch: AccountWatch,
        queue: JobQueue,
        llm: LLM,
        chains: Mapping[str, Chain],
        max_input_tokens: int,
        clock: Clock,
        logger: Logger,
    ) -> None:
        """`paces` gives the limiters of a model by tier, `watch` gets calls. See `jobchain_worker.runner.Runner`."""
        self.paces = paces
        self.model = llm.model
        self.breakers = breakers
        self.watch = watch
        self.clock = clock
        self.logger = logger
        self.backlog = Backlog(queue)
        self.demands = Demands(max_input_tokens, llm.max_output_tokens)
        self._chains = chains

    def permit(self, slot: Slot | None = None, *, alone: bool = False, has_time: bool = True) -> "Permit":
        """The way of one job through the control. It ends there if the invocation `has_time` for no call."""
        return Permit(self, slot, alone=alone, has_time=has_time)

    def demands_of(self, candidate: Candidate) -> list[Demand]:
        """What its remaining steps need, and what its next call needs; empty where that is unknown."""
        chain = self._chains.get(candidate.job_name)
        return self.demands.of_job(chain, candidate.payload_bytes, candidate.completed) if chain else []

    def model_of(self, candidate: Candidate) -> str:
        """The model whose pace the job follows."""
        return paced_model(self._chains.get(candidate.job_name), candidate.model, self.model)

    def may_ask(self, candidate: Candidate, fallback: str) -> bool:
        """Whether that is the fallback of one of the job's calls."""
        chain = self._chains.get(candidate.job_name)
        return chain is not None and any(step.options.fallback_model == fallback for step in chain.calls)

    def fallback_of(self, candidate: Candidate) -> str | None:
        """A model with which the job can go on while the deployment's is refused."""
        chain = self._chains.get(candidate.job_name)
        return fallback_of_job(chain, candidate.model, candidate.tier, candidate.completed, self.model)


class Permit:
    """One job's way through the control: what it was granted, and what its calls have taken of it."""

    def __init__(self, control: AdmissionControl, slot: Slot | None, *, alone: bool, has_time: bool) -> None:
        self._control = control
        self._alone = alone
        self._has_time = has_time
        self.slot = slot
        """The slot that the job's next message holds."""
        self._model = control.model
        self._fallback: str | None = None
        self._named: str | None = None
        self._begin_at: datetime | None = None
        self._tenant = ""
        self._tier = Tier.STANDARD
        self._ledger: PaceLedger | None = None
        self._others: dict[str, PaceLedger] = {}
        self._breaker: OpenBreaker | None = None
        self._probed = False
        self.probing = False
        """Whether the job was let through as the probe of a breaker, and none of its calls was answered yet."""

    # --- before the claim --------------------------------------------------------------------------

    def admit(self, candidate: Candidate) -> None:
        """Lets the job through, or raises JobNotReady with the time to wait, or MustRunAlone."""
        if candidate.crashes >= SUSPECT and not self._alone:
            raise MustRunAlone(f"{candidate.crashes} workers in a row have vanished with the job")
        self._named = candidate.model if candidate.model != self._control.model else None
        now = self._control.clock()
        if now >= candidate.deadline_at or self._ledger:
            return  # it ends without a call; or it was let through, and is read again
        if not self._has_time:
            raise JobNotReady(candidate.tenant, candidate.tier, timedelta(0))
        demands = self._control.demands_of(candidate)
        if not demands:
            return
        self._tenant, self._tier = candidate.tenant, candidate.tier
        self._model = self._control.model_of(candidate)
        if self.slot and self.slot.model and self._control.may_ask(candidate, self.slot.model):
            self._model = self._fallback = self.slot.model
        try:
            self._pass_breaker(candidate, now)
            try:
                self._take_pace(candidate, demands, now)
            except JobNotReady:
                # One call a minute is within any limit, and without it the breaker would stay open.
                if not self.probing:
                    raise
                self.slot, self._ledger = None, PaceLedger(self._control.paces(self._model)[candidate.tier])
        except Unavailable as error:
            # Without its limits the account itself refuses what is too much.
            log_unavailable(self._control.logger, "limits not read, the job runs", error)

    def _pass_breaker(self, candidate: Candidate, now: datetime) -> None:
        breakers, named = self._control.breakers, self._named is not None
        own_model = named or self._model != self._control.model
        found = breakers.look(own_model=own_model)
        if found is None:
            return
        if breakers.probe(found, named=named):
            self._control.logger.info("probes the account", type=found.type)
            self._breaker, self.probing = breakers.look(own_model=own_model), True
            return
        if found.scope is Scope.MODEL and (fallback := self._control.fallback_of(candidate)):
            self._model = self._fallback = fallback
            return
        jitter = random.uniform(MIN_JITTER, MAX_JITTER)  # noqa: S311  # no secret
        raise _not_ready(candidate, found.delay(jitter), now)

    def _take_pace(self, candidate: Candidate, demands: Sequence[Demand], now: datetime) -> None:
        ledger = PaceLedger(self._control.paces(self._model)[candidate.tier])
        slot, self.slot = self.slot, None
        if slot is None or slot.model != self._fallback or lost(slot, candidate.tier, now - SLOT_KEPT):
            got = ledger.pace.reserve(demands, candidate.tenant, self._backlog)
            if isinstance(got, Refused):
                raise _not_ready(candidate, got.until - now, now)
            slot = slot_of(got, candidate.tier, self._fallback)
        if slot.at > now + LONGEST_WAIT:
            self.slot = slot
            raise _not_ready(candidate, slot.at - now, now)
        ledger.grant(Demand(slot.requests, slot.tokens))
        self._begin_at = slot.at
        self._ledger = ledger

    def refuses(self, model: str) -> bool:
        """Whether the account refuses the model, as of the last look; a probe has to find out."""
        return model == self._control.model and self._control.breakers.refuses_model and not self.probing

    # --- while it runs -----------------------------------------------------------------------------

    async def let_through(self, wave: Wave) -> Wave | timedelta:
        """The steps of a wave that may run now, or how long the job has to wait before any of them may.

        A slot that is near is waited for here, and a later one is in the job's next message. What the job was granted
        is used before it asks for more: where a wave is larger than the limit of a minute, a job that waited until it
        has room for all of it would never run.
        """
        ledger = self._ledger
        if ledger is None or self.probing:
            return wave
        begin_at, self._begin_at = self._begin_at, None
        need = self._control.demands.of_wave([step for _, step in wave])
        if ledger.left:
            wave = first_calls(wave, ledger.left)
        elif need.requests:
            got = await self._reserve(ledger, need, self._fallback)
            if not isinstance(got, Granted):
                return wave if got is None else got
            begin_at = got.at
            # An account without known limits grants any number, and counts none.
            wave = first_calls(wave, got.demand.requests or need.requests)
        await sleep_until(begin_at, self._control.clock())
        return wave

    async def let_ask(self, model: str, step: Step) -> timedelta | None:
        """How long the job has to wait before the step may ask its fallback `model`; None where it may ask it now.

        The job was granted its own model's pace: a fallback has limits of its own, and its calls take slots of these.
        """
        if self._ledger is None or share_limits(model, self._model):
            return None
        if model not in self._others:
            self._others[model] = PaceLedger(self._control.paces(model)[self._tier])
        ledger = self._others[model]
        if not ledger.left:
            got = await self._reserve(ledger, self._control.demands.of_wave([step]), model)
            if isinstance(got, timedelta):
                return got
            await sleep_until(got.at if got else None, self._control.clock())
        ledger.begun += 1
        return None

    async def _reserve(self, ledger: PaceLedger, need: Demand, fallback: str | None) -> Granted | timedelta | None:
        """A slot that is near, or how long the job has to leave the worker for; None where the table does not answer.

        Without a thread where no request is made, as for the others here.
        """
        pace = ledger.pace
        got: Granted | Refused | None = pace.reserve_at_once([need], self._tenant)
        try:
            if got is None:
                got = await asyncio.to_thread(pace.reserve, [need], self._tenant, self._backlog)
        except Unavailable as error:
            log_unavailable(self._control.logger, "limits not read, the job runs", error)
            return None
        now = self._control.clock()
        if isinstance(got, Refused):
            return max(got.until - now, LONGEST_WAIT)
        late = got.at > now + LONGEST_WAIT
        if late and self.slot is None:
            self.slot = slot_of(got, self._tier, fallback)
        else:
            # A message holds one slot: those of other steps are given back.
            ledger.grant(got.demand)
        return got.at - now if late else got

    def _backlog(self) -> int:
        return self._control.backlog.messages(self._tier)

    async def answered(self, model: str, asked: Demand, used: Demand, limits: RateLimits, began_at: datetime) -> None:
        """Notes a call of `model` that was answered. It closes a breaker that was open when it began.

        The pace follows the calls of the job's model and its fallbacks: any other one has limits of its own.
        """
        if ledger := self._ledger_of(model):
            ledger.note(asked, used, limits)
            if not ledger.pace.learn_at_once(asked, limits):
                await self._told(ledger.pace.learn, asked, limits)
        own_model = model != self._control.model
        if self._probes(own_model=own_model):
            self._probed, self.probing = True, False
        await self._control.watch.answered(began_at, own_model=own_model)

    async def failed(self, model: str, asked: Demand, error: ModelError, began_at: datetime) -> None:
        """Notes a call of `model` that failed. It opens a breaker where the fault is the account's."""
        if ledger := self._ledger_of(model):
            ledger.note_failed(asked, error.report.limits, refused=error.type == "rate_limited")
        own_model = model != self._control.model
        self._probed = self._probed or self._probes(own_model=own_model)
        if model == self._named:
            return  # gateways refuse a key for one model as for all: a caller's choice must make no other job wait
        await self._control.watch.refused(error, began_at, probing=self.probing, own_model=own_model)

    async def leave(self) -> None:
        """Gives back what was granted and not asked for, and tells the limiter what the server told."""
        if self._breaker and not self._probed:
            # A job whose budget is used up, for example: of many of them each would cost the others a minute.
            await self._told(partial(self._control.breakers.give_back, named=self._named is not None), self._breaker)
        for ledger in (self._ledger, *self._others.values()):
            if settle := ledger and ledger.settlement():
                await self._told(settle)

    def _probes(self, *, own_model: bool) -> bool:
        """Whether a call tells if the breaker may close: of the key by any, of a model by its own."""
        return not (own_model and self._breaker and self._breaker.scope is Scope.MODEL)

    def _ledger_of(self, model: str) -> PaceLedger | None:
        return self._ledger if share_limits(model, self._model) else self._others.get(model)

    async def _told(self, tell: Callable[..., object], *what: object) -> None:
        try:
            await asyncio.to_thread(tell, *what)
        except Unavailable as error:
            log_unavailable(self._control.logger, "limits not written", error)


def _not_ready(candidate: Candidate, wait: timedelta, now: datetime) -> JobNotReady:
    """The job waits: not past its deadline, as a worker ends it then, and no longer than a message can be delayed."""
    wait = max(min(wait, candidate.deadline_at - now, MAX_DELAY), timedelta(0))
    return JobNotReady(candidate.tenant, tier_at(candidate.flex_until, now + wait), wait)
