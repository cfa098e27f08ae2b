"""Asks Bedrock's control plane whether it has a model, and until when. The servers of models do not tell there."""

from datetime import UTC, date, datetime, timedelta
from urllib.parse import quote

import openai
from pydantic import BaseModel, Field

from jobchain.errors import UnknownModel
from jobchain_worker.call_trace import CallTime
from jobchain_worker.openai_calls import within


class _Routed(BaseModel):
    model_arn: str = Field(alias="modelArn")


class _Profile(BaseModel):
    models: list[_Routed] = Field(min_length=1)


class _Lifecycle(BaseModel):
    end: datetime | None = Field(default=None, alias="endOfLifeTime")


class _Details(BaseModel):
    lifecycle: _Lifecycle = Field(default=_Lifecycle(), alias="modelLifecycle")


class _Model(BaseModel):
    details: _Details = Field(alias="modelDetails")


async def find_shutdown(client: openai.AsyncOpenAI, model: str, limit: timedelta) -> date | None:
    """The day of the end of life of `model`, a model or an inference profile; None where none is announced.

    `client` asks the control plane. Raises as `openai_models.find_shutdown` does; the error names no other models.
    """
    return await within(CallTime(limit), lambda _: _find_shutdown(client, model), client)


async def _find_shutdown(client: openai.AsyncOpenAI, model: str) -> date | None:
    foundation = await _routed_to(client, model) or model
    try:
        found = await client.get(f"/foundation-models/{quote(foundation, safe='')}", cast_to=object)
    except (openai.NotFoundError, openai.BadRequestError):
        raise UnknownModel(model, ()) from None
    end = _Model.model_validate(found).details.lifecycle.end
    return None if end is None else end.astimezone(UTC).date()


async def _routed_to(client: openai.AsyncOpenAI, model: str) -> str | None:
    """The id of the model that an inference profile leads to; None where there is no such profile."""
    try:
        found = await client.get(f"/inference-profiles/{quote(model, safe='')}", cast_to=object)
    except (openai.NotFoundError, openai.BadRequestError):
        return None
    return _Profile.model_validate(found).models[0].model_arn.rpartition("/")[2]
