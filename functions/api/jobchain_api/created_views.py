"""The answers to requests for jobs, and errors, as callers get them."""

from pydantic import BaseModel, ConfigDict, Field

from jobchain.domain import Status


class LazyView(BaseModel):
    """Base of the views that `POST /jobs` does not use: built at their first use, not when the function starts."""

    model_config = ConfigDict(defer_build=True)


class JobCreated(BaseModel):
    """The answer to an accepted request."""

    event_id: str
    status: Status
    created_at: str


class BatchAccepted(JobCreated):
    """An accepted entry of a batch; `replayed` if an earlier request with its key created the job."""

    model_config = ConfigDict(defer_build=True)

    replayed: bool


class ProblemView(LazyView):
    """An error, as RFC 9457 defines it."""

    type: str
    title: str
    status: int
    detail: str
    request_id: str
    errors: dict[str, str] | None = Field(default=None, description="The reason for each invalid field.")
    limit: str | None = Field(default=None, description="The limit of the key that is reached.")


class BatchView(LazyView):
    """The result of each entry of a batch, in order."""

    results: list[BatchAccepted | ProblemView]
