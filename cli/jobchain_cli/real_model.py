"""The model of an OpenAI-compatible server, called by the worker's own adapter. The environment says where it is."""

from collections.abc import Callable, Coroutine, Mapping
from datetime import timedelta
from typing import Any, NamedTuple

from jobchain.connection import UnusableSetting, checked_key, checked_model_url, checked_name, is_loopback
from jobchain.llm import LLM, ModelRequest
from jobchain.providers import OPENAI_URL
from jobchain_cli.errors import Code, CommandError
from jobchain_worker.api_key import FixedKey
from jobchain_worker.call_trace import CallTrace
from jobchain_worker.dialects import Api
from jobchain_worker.openai_calls import create_client
from jobchain_worker.openai_llm import OpenAILLM

# As the worker's: a model on this machine may write two tokens a second, and be silent for long before the first.
_CALL = timedelta(minutes=10)
_IDLE = timedelta(seconds=60)
_LOCAL_IDLE = timedelta(seconds=170)
_MAX_OUTPUT_TOKENS = 16_384

_APIS: Mapping[str, Api] = {"": "responses", "responses": "responses", "chat": "chat"}


class RealModel(NamedTuple):
    """A model, and what closes its connections."""

    llm: LLM
    close: Callable[[], Coroutine[Any, Any, None]]


def real_model(
    model: str, environment: Mapping[str, str], watch: Callable[[ModelRequest, CallTrace], None]
) -> RealModel:
    """The model of that name at OPENAI_BASE_URL, else of OpenAI. Raises CommandError for settings that can't be used.

    `watch` is that of `OpenAILLM`.
    """
    url = environment.get("OPENAI_BASE_URL", "").strip()
    api = environment.get("OPENAI_API", "").strip()
    if api not in _APIS:
        raise CommandError(f"OPENAI_API is {api!r}: set it to responses or chat, or leave it out", Code.USAGE)
    try:
        name = checked_name("--model", model)
        address = checked_model_url("OPENAI_BASE_URL", url) if url else OPENAI_URL
        key = _key(environment.get("OPENAI_API_KEY", "").strip(), address)
    except UnusableSetting as error:
        raise CommandError(str(error), Code.USAGE) from error
    idle = _LOCAL_IDLE if is_loopback(address) else _IDLE
    client = create_client(address, FixedKey(key).read, _CALL)
    llm = OpenAILLM(client, name, _CALL, _MAX_OUTPUT_TOKENS, _APIS[api], idle=idle, watch=watch)
    return RealModel(llm, client.close)


def _key(key: str, address: str) -> str:
    if key:
        return checked_key("OPENAI_API_KEY", key)
    if is_loopback(address):
        return "not-needed"
    raise CommandError(f"{address} needs a key: set OPENAI_API_KEY, or use --model offline", Code.USAGE)
