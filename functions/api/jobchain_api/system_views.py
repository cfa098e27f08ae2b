"""The chains, the statistics and the health of the deployment as callers get them."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import date, timedelta
from typing import Literal

from pydantic import Field, JsonValue

from jobchain.chains import Unusable
from jobchain.chains.chain import Chain
from jobchain.chains.mistakes import ChainError
from jobchain.domain import Status
from jobchain.overrides import OVERRIDES, Override
from jobchain_api.call_views import SpendingView, spent
from jobchain_api.created_views import LazyView
from jobchain_api.health import Health, ModelStatus
from jobchain_api.result_views import PartView, part_views
from jobchain_api.stats import Stats
from jobchain_api.usage_views import ReplaysView, replays_view


class StepInfo(LazyView):
    """A step of a chain. It runs when the steps that it needs have completed; steps of one wave run in parallel."""

    name: str
    needs: list[str]


class ChainView(LazyView):
    """A chain that `job_name` can name."""

    name: str
    description: str
    steps: list[StepInfo]
    payload_schema: dict[str, JsonValue] = Field(description="The JSON Schema of `payload`.")
    result: list[PartView] = Field(description="The parts of the result, in order.")
    overrides: list[Override] = Field(
        description="What a job may set in place of the chain: `model` and `effort` for all its calls, and `prompt`, "
        "in a fork, for a step. A request that sets another is a 422."
    )

    @classmethod
    def of(cls, chain: Chain) -> "ChainView":
        """`chain`, as its callers need it."""
        return cls(
            name=chain.name,
            description=chain.description,
            steps=[StepInfo(name=step.name, needs=list(step.needs)) for step in chain.steps],
            payload_schema=chain.payload.model_json_schema(),
            result=part_views(chain),
            overrides=[name for name in OVERRIDES if name in chain.overrides],
        )


class UnusableChain(LazyView):
    """A chain of the deployment that can't be used. New jobs of it are refused with a 422; those that exist wait."""

    name: str
    reason: str = Field(description="Its package, and what is wrong with it.")


class ChainList(LazyView):
    """The registered chains."""

    chains: list[ChainView]
    unusable: list[UnusableChain] = Field(description="Those that can't be used.")

    @classmethod
    def of(cls, chains: Mapping[str, Chain]) -> "ChainList":
        """All of `chains`, each loaded."""
        usable, unusable = [], []
        for name in chains:
            try:
                usable.append(ChainView.of(chains[name]))
            except (Unusable, ChainError) as error:
                unusable.append(UnusableChain(name=name, reason=str(error)))
            except Exception as error:  # noqa: BLE001  # of another package's types: the other chains are shown
                unusable.append(UnusableChain(name=name, reason=f"{type(error).__name__}: {error}"))
        return cls(chains=usable, unusable=unusable)


class StatusCounts(LazyView):
    """Job counts by status: the unfinished jobs of now, and the final ones of today (UTC) without replays."""

    pending: int
    processing: int
    completed: int
    failed: int
    cancelled: int


class TodayView(SpendingView):
    """The daily usage of today (UTC) so far."""

    date: str
    created: int
    by_model: dict[str, SpendingView] = Field(description="The same usage, by the model that was asked.")
    by_key: dict[str, SpendingView] = Field(
        description="The same usage, by the id of the API key that created the job; empty for a job without one."
    )
    by_chain: dict[str, SpendingView] = Field(description="The same usage, by the chain of the job.")
    replays: ReplaysView = Field(description="The part of the usage that replays caused.")


class QueueView(LazyView):
    """About how many messages the queue has, of all tenants."""

    waiting: int
    in_flight: int
    delayed: int
    dead_letters: int


class StatsView(LazyView):
    """The caller's job counts by status and daily usage."""

    jobs: StatusCounts
    today: TodayView
    queue: QueueView | None = Field(description="Null for a key that is not an operator's.")

    @classmethod
    def of(cls, stats: Stats) -> "StatsView":
        """`stats`, as the caller may see them."""
        today = stats.today
        counts = {status: stats.unfinished.get(status, 0) or today.ended[status] for status in Status}
        queue = None
        if stats.queue and stats.dead_letters:
            queue = QueueView(**asdict(stats.queue), dead_letters=sum(asdict(stats.dead_letters).values()))
        return cls(
            jobs=StatusCounts(**{status.value: count for status, count in counts.items()}),
            today=TodayView(
                date=today.date,
                created=today.created,
                by_model={model: SpendingView.of(spending) for model, spending in today.by_model.items()},
                by_key={key_id: SpendingView.of(spending) for key_id, spending in today.by_key.items()},
                by_chain={chain: SpendingView.of(spending) for chain, spending in today.by_chain.items()},
                replays=replays_view([today]),
                **spent(today.spending),
            ),
            queue=queue,
        )


class ModelView(LazyView):
    """The result of the last check of the model."""

    name: str
    known: bool = Field(description="False: the server has no such model, and every job fails.")
    shutdown_date: date | None = Field(description="Null: no shutdown is announced.")
    days_left: int | None

    @classmethod
    def of(cls, status: ModelStatus) -> "ModelView":
        """The last check, with the days that are left today."""
        check = status.check
        return cls(name=check.model, known=check.known, shutdown_date=check.shutdown_date, days_left=status.days_left)


class HealthView(LazyView):
    """The parts of the deployment. Everybody may read it, so that it tells no names, counts or reasons."""

    status: Literal["ok", "degraded"] = Field(
        default="ok",
        description="`degraded`: jobs are accepted, and do not run as they should. The sweeper is silent, a due job "
        "waits for over 15 minutes, or a breaker is open.",
    )
    table: Literal["ok"] = Field(default="ok", description="It can be written and read.")
    queue: Literal["ok"] = Field(default="ok", description="It answers.")
    breaker: Literal["closed", "open"] = Field(
        default="closed", description="`open`: the model's server refuses the account, so that jobs wait."
    )
    last_sweep_seconds: int | None = Field(
        default=None, description="Seconds since the sweeper's last run. Null: it has not run yet."
    )
    oldest_due_seconds: int | None = Field(
        default=None, description="Seconds for which the oldest due job had been due that this run found; 0 for none."
    )
    model: ModelView | None = Field(default=None, description="Null: the model was not checked yet.")

    @classmethod
    def of(cls, health: Health) -> "HealthView":
        """`health`, as everybody may see it."""
        return cls(
            status="degraded" if health.degraded else "ok",
            breaker="open" if health.breaker_open else "closed",
            last_sweep_seconds=_seconds(health.since_sweep),
            oldest_due_seconds=_seconds(health.oldest_due),
            model=ModelView.of(health.model) if health.model else None,
        )


def _seconds(span: timedelta | None) -> int | None:
    return None if span is None else int(span.total_seconds())
