"""The HTTP side: `uvicorn benchmarks.baseline.hardened.web:app`. It needs no broker: the relay sends."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import quote
from uuid import UUID

from fastapi import FastAPI, Header, HTTPException, Request, Response
from pydantic import BaseModel, StringConstraints

from benchmarks.baseline.hardened.store import KeyUsedError, Store

# How many of FastAPI's 40 threads use the database at a time.
CONNECTIONS = 10


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """One pool of connections for each process."""
    app.state.store = Store(most=CONNECTIONS)
    yield


app = FastAPI(lifespan=lifespan)


class NewJob(BaseModel):
    """What is posted."""

    input_text: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100_000)]


class Accepted(BaseModel):
    """What a caller gets at once."""

    event_id: UUID
    status: str
    created_at: datetime


@app.post("/jobs", status_code=201)
def create_job(
    new: NewJob,
    request: Request,
    response: Response,
    idempotency_key: Annotated[str | None, Header(max_length=200)] = None,
) -> Accepted:
    """Stores the job and its message; a repeated request gets the same job, with 200."""
    try:
        job_id, status, created_at, new_job = request.app.state.store.create(new.input_text, idempotency_key)
    except KeyUsedError:
        raise HTTPException(422, "this idempotency key was used with another text") from None
    response.status_code = 201 if new_job else 200
    return Accepted(event_id=job_id, status=status, created_at=created_at)


@app.get("/jobs")
def list_jobs(request: Request, limit: int = 20, cursor: datetime | None = None) -> dict[str, Any]:
    """The newest jobs, page by page."""
    jobs = request.app.state.store.newest(limit, cursor)
    return {"jobs": jobs, "next_cursor": quote(jobs[-1]["created_at"].isoformat()) if len(jobs) == limit else None}


@app.get("/jobs/{job_id}")
def read_job(job_id: UUID, request: Request) -> dict[str, Any]:
    """The job with its steps so far."""
    job: dict[str, Any] | None = request.app.state.store.get(job_id)
    if job is None:
        raise HTTPException(404, "there is no such job")
    return {name: value for name, value in job.items() if name not in ("input_text", "idempotency_key")}
