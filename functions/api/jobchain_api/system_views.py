"""The chains, the statistics and the health of the deployment as callers get them."""

from dataclasses import asdict
from datetime import date
from typing import Literal

from pydantic import Field, JsonValue

from jobchain.chains.chain import Chain
from jobchain.domain import Status
from jobchain_api.call_views import LazyView, SpendingView, spent
from jobchain_api.service import ModelStatus, Stats


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

    @classmethod
    def of(cls, chain: Chain) -> "ChainView":
        """`chain`, as its callers need it."""
        return cls(
            name=chain.name,
            description=chain.description,
            steps=[StepInfo(name=step.name, needs=list(step.needs)) for step in chain.steps],
            payload_schema=chain.payload.model_json_schema(),
        )


class ChainList(LazyView):
    """The registered chains."""

    chains: list[ChainView]


class StatusCounts(LazyView):
    """Job counts by status: the unfinished jobs of now, and the final ones of today (UTC)."""

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
    """Whether the services that the API needs answer."""

    status: Literal["ok"] = "ok"
    table: Literal["ok"] = "ok"
    queue: Literal["ok"] = "ok"
    model: ModelView | None = Field(default=None, description="Null: the model was not checked yet.")
