"""The adapter to OpenAI and compatible servers."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx2
import openai
from pydantic import BaseModel, Field

from jobchain.connection import is_loopback
from jobchain.domain import Tier
from jobchain.errors import ModelError
from jobchain.llm import FailedAnswer, ModelAnswer, ModelRequest, SharedPrefix, UnusableAnswer
from jobchain_worker import prompt_cache
from jobchain_worker.api_key import ChangingKey
from jobchain_worker.assembling import loads
from jobchain_worker.aws_faults import fault_of_answer
from jobchain_worker.call_trace import CallTime, CallTrace
from jobchain_worker.chat_dialect import Chat
from jobchain_worker.dialects import Api, Dialect
from jobchain_worker.explanations import explanation
from jobchain_worker.model_memory import Known, ModelMemory
from jobchain_worker.openai_calls import kept, request_id, within
from jobchain_worker.output_limits import OutputLimits
from jobchain_worker.provider_faults import Fault
from jobchain_worker.redaction import redacted, storable
from jobchain_worker.reported_limits import read_limits
from jobchain_worker.responses_dialect import Responses
from jobchain_worker.streaming import read_body
from jobchain_worker.unsupported import unsupported_parameter

COUNT_TIMEOUT = timedelta(seconds=5)
"""The timeout of a token count, which a job does not need."""

# The statuses by which servers refuse a parameter; 416 is Scaleway's.
_REFUSALS = (400, 413, 416, 422)

# What some models of a server take, and others do not.
_OF_THE_MODEL = ("reasoning", "reasoning_effort", "temperature", *prompt_cache.OF_THE_MODEL)

# The values that a model takes of these differ: a caller may choose one that it does not.
_BY_VALUE = _EFFORTS = ("reasoning", "reasoning_effort")

# What a refusal may call a parameter. Ollama speaks of thinking: https://github.com/ollama/ollama/issues/12561
_SENT_AS = {prompt_cache.BREAKPOINT: (prompt_cache.OPTIONS,), "thinking": ("reasoning_effort", "reasoning")}


class _Counted(BaseModel):
    input_tokens: int = Field(gt=0, le=10**9)


class OpenAILLM:
    """Calls one model of an OpenAI-compatible server."""

    def __init__(
        self,
        client: openai.AsyncOpenAI,
        model: str,
        timeout: timedelta,
        max_output_tokens: int,
        api: Api = "responses",
        *,
        idle: timedelta | None = None,
        key: ChangingKey | None = None,
        is_bedrock: bool = False,
        caches_prompts: bool | None = None,
        watch: Callable[[ModelRequest, CallTrace], None] = lambda *_: None,
    ) -> None:
        """A call ends within `timeout`, and earlier where the server is silent for longer than `idle` between tokens.

        A call whose key is refused is made again if `key`, where the client's keys come from, has another one.
        Bedrock counts no tokens in advance, and its prices are those of the profile that is asked. `caches_prompts`
        says whether the server knows cache breakpoints; without it, the URL tells. `watch` gets each request when it is
        sent, with the trace that follows its answer.
        """
        self._client = client
        self._model = model
        self._time = CallTime(timeout, idle)
        self._key = key
        self._watch = watch
        self._counts = api == "responses" and not is_bedrock
        self._is_bedrock = is_bedrock
        url = str(client.base_url)
        self._caches = prompt_cache.caches_prompts(url, api) if caches_prompts is None else caches_prompts
        self._api = api
        self._is_local = is_loopback(url)
        self._dialect = self._new_dialect()
        # What one model refuses others may take, and jobs may name any.
        self._memory = ModelMemory(model, lambda: Known(OutputLimits(max_output_tokens), self._new_dialect()))

    def _new_dialect(self) -> Dialect:
        if self._api == "chat":
            return Chat(is_local=self._is_local, caches=self._caches)
        return Responses(caches=self._caches)

    @property
    def model(self) -> str:
        """The model's name, as calls name it."""
        return self._model

    @property
    def max_output_tokens(self) -> int:
        """The most tokens that an answer may have: what is configured, or less where the server has refused that.

        Of the models that were asked, the one with the most counts: a true count beyond it would be cut to it.
        """
        return self._memory.most_output_tokens

    def _asked(self, request: ModelRequest) -> str:
        return request.model or self._model

    async def count_tokens(self, text: str) -> int | None:
        """See `jobchain.llm.LLM`. Many servers other than OpenAI have no such endpoint."""
        if not self._counts:
            return None
        try:
            async with asyncio.timeout(min(self._time.whole, COUNT_TIMEOUT).total_seconds()):
                counted = await self._post("/responses/input_tokens", {"model": self._model, "input": text})
                content = loads(await counted.aread())
            return _Counted.model_validate(content).input_tokens
        except (TimeoutError, openai.APIError, httpx2.HTTPError, ModelError, ValueError, RecursionError):
            return None

    async def ask(self, request: ModelRequest) -> ModelAnswer:
        """See `jobchain.llm.LLM`."""
        texts = (request.input, request.instructions)
        return await within(
            self._time, lambda trace: self._ask(request, texts, trace), self._client, request.tier, texts
        )

    async def _ask(self, request: ModelRequest, texts: Sequence[str], trace: CallTrace) -> ModelAnswer:
        self._watch(request, trace)
        response, prefix = await self._send(request, texts, trace)
        content = await read_body(response, self._dialect.assembler, trace)
        answer = self._dialect.read(content, self._asked(request), texts)
        if prefix:
            answer = prompt_cache.own_answer(answer, request, prefix)
        key = self._client.api_key
        # A server may serve and bill a flex call as a standard one.
        served_flex = isinstance(content, dict) and content.get("service_tier") == Tier.FLEX
        answer = replace(
            answer,
            model=self._asked(request) if self._is_bedrock else answer.model,
            tier=Tier.FLEX if served_flex else Tier.STANDARD,
            request_id=request_id(response, key),
            limits=read_limits(response.headers),
            first_token_seconds=trace.first_token_seconds,
            without_effort=trace.without_effort,
        )
        match answer:
            case UnusableAnswer():
                return replace(answer, text=storable(answer.text, key))
            case FailedAnswer():
                answer.error.report = kept(answer.error, key, trace, texts)
        return answer

    def _prefix(self, request: ModelRequest, known: Known) -> SharedPrefix | None:
        """The prefix that the request shares, where the server is told of it."""
        prefix = request.prefix if self._caches else None
        return prefix if prefix and prefix.answers not in known.refused_formats else None

    async def _send(
        self, request: ModelRequest, texts: Sequence[str], trace: CallTrace
    ) -> tuple[httpx2.Response, SharedPrefix | None]:
        """The response to a call, and the prefix that it was told of.

        One that is refused for a parameter is repeated with another: it is not billed.
        """
        known = self._memory.of(self._asked(request))
        room = known.limits.room(request)
        shrunk = False
        while True:
            # What other calls learn meanwhile changes nothing of this one.
            prefix = self._prefix(request, known)
            body = self._body(replace(request, prefix=prefix), room, known)
            trace.without_effort = bool(request.effort) and not any(name in body for name in _EFFORTS)
            if "stream" not in body:
                trace.expect_no_stream()
            try:
                return await self._post(self._dialect.path, body), prefix
            except openai.APIStatusError as refused:
                if refused.status_code not in _REFUSALS:
                    raise
                refusal = redacted(explanation(refused.body) or "", self._client.api_key, texts)
                smaller = None if shrunk else known.limits.learn(refusal, room, request)
                if smaller is not None:
                    room, shrunk = smaller, True
                elif not _avoids(refused, refusal, body, known) and not _parts(refused, refusal, prefix, known):
                    raise

    def _body(self, request: ModelRequest, room: int, known: Known) -> dict[str, Any]:
        # Left out of a standard call: many servers have no tiers.
        tier = {"service_tier": "flex"} if request.tier is Tier.FLEX else {}
        body = known.dialect.body(self._asked(request), request, room)
        if _without(prompt_cache.OPTIONS, None) in known.refused:
            body = prompt_cache.without_breakpoints(body)
        return {name: value for name, value in body.items() if _without(name, value) not in known.refused} | tier

    async def _post(self, path: str, body: dict[str, Any]) -> httpx2.Response:
        """The server's response, whose body has not been read. A call with a key that has been changed is repeated."""
        since = time.monotonic()
        try:
            return await self._post_once(path, body)
        except openai.APIStatusError as refused:
            answer = refused.response
            fault = fault_of_answer(answer.status_code, answer.headers, refused.body)
            if self._key is None or fault is not Fault.NO_KEY:
                raise
            sent = answer.request.headers.get("Authorization", "").removeprefix("Bearer ")
            if not await self._key.renewed(sent, since):
                raise
        return await self._post_once(path, body)

    async def _post_once(self, path: str, body: dict[str, Any]) -> httpx2.Response:
        """The SDK's own method for each call would build models of everything that a server may send.

        That takes longer than the rest of a worker's work. The dialects validate the parts of a response that are used.
        """
        return await self._client.post(path, cast_to=httpx2.Response, body=body, stream=True, stream_cls=None)


def _avoids(refused: openai.APIStatusError, refusal: str, body: Mapping[str, Any], known: Known) -> bool:
    """Whether the call can be repeated without the parameter that was refused. Later calls do without it, too."""
    parameter = unsupported_parameter(refusal, refused.code, refused.param, refused.body)
    parameter = next((name for name in _SENT_AS.get(parameter or "", ()) if name in body), parameter)
    if parameter in _OF_THE_MODEL and parameter in body:
        known.refused.add(_without(parameter, body[parameter]))
        return True
    return parameter in body and known.dialect.avoid(parameter)


def _parts(refused: openai.APIStatusError, refusal: str, prefix: SharedPrefix | None, known: Known) -> bool:
    """Whether the call can be repeated with a format of its own, as the joint one of `prefix` was refused."""
    if prefix is None or not prompt_cache.refuses_format(refused.code, refused.param, refusal):
        return False
    known.refused_formats.add(prefix.answers)
    return True


def _without(name: str, value: object) -> tuple[str, str]:
    """What is remembered of a refused parameter: the value of some, any value of the others."""
    return name, str(value) if name in _BY_VALUE else ""
