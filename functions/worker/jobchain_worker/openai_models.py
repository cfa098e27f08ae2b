"""Asks a server which models it has."""

from datetime import date, timedelta
from typing import Annotated

import openai
from pydantic import BaseModel, BeforeValidator

from jobchain.errors import PermanentModelError, UnknownModel
from jobchain_worker.call_trace import CallTime
from jobchain_worker.openai_calls import within

_NO_LIST = (
    "the model's server does not tell which models it has (it answered 404): check OPENAI_BASE_URL, which usually ends "
    "in /v1"
)


def _day(value: object) -> object:
    """The day of a time."""
    return value[:10] if isinstance(value, str) else value


class _Model(BaseModel):
    id: str
    shutdown_date: Annotated[date | None, BeforeValidator(_day)] = None


class _Models(BaseModel):
    data: list[_Model]


async def find_shutdown(client: openai.AsyncOpenAI, model: str, limit: timedelta) -> date | None:
    """The day on which the server will shut `model` down, None where it names none.

    Raises UnknownModel where the server has no such model, and TransientModelError or PermanentModelError where it
    does not answer the question.
    """
    return await within(CallTime(limit), lambda _: _find_shutdown(client, model), client)


async def _find_shutdown(client: openai.AsyncOpenAI, model: str) -> date | None:
    try:
        return _Model.model_validate(await client.models.retrieve(model), from_attributes=True).shutdown_date
    except openai.NotFoundError:
        # Some servers, such as llama.cpp's, have only the list.
        page = await _list(client)
    listed = {entry.id: entry for entry in _Models.model_validate(page, from_attributes=True).data}
    if model not in listed:
        raise UnknownModel(model, sorted(listed))
    return listed[model].shutdown_date


async def _list(client: openai.AsyncOpenAI) -> object:
    try:
        # `models.list()` fails on a page that is not JSON.
        return await client.get("/models", cast_to=object)
    except openai.NotFoundError:
        raise PermanentModelError("model_failed", _NO_LIST) from None
