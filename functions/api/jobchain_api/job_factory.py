"""Makes jobs of requests: checks the payload against its chain, and gives each job its id and fingerprint."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import timedelta
from uuid import UUID, uuid4, uuid5

from pydantic import JsonValue, ValidationError

from jobchain.chains.chain import Chain
from jobchain.domain import DEADLINE, NewJob
from jobchain.errors import InvalidRequest
from jobchain.overrides import Override, Overrides
from jobchain_api.auth import Caller
from jobchain_api.errors import PayloadTooLarge
from jobchain_api.job_urls import CheckUrl, no_job_urls
from jobchain_api.requests import BatchEntry, CreateJob
from jobchain_api.usable import usable, why_unusable
from jobchain_api.validation import explain

MAX_PAYLOAD_BYTES = 256 * 1024

# The options that tell a replay from another request. A title does not: the same text may be in a file of another
# name.
_OPTIONS = {"max_cost_usd", "tier", "flex_seconds", "deadline_seconds", "model", "effort", "webhook_url"}

# The namespace of the ids that are derived from idempotency keys.
_KEY_NAMESPACE = UUID("8f1a4f5e-6d0c-4c5b-9a55-6f6f62636861")
_KEYED_VERSION = 5


class JobFactory:
    """Makes jobs of `chains`. `input_text` is the one field of the payload of the chain called `default_chain`.

    `deadline` is that of a job which names none. `check_url` checks the URLs that jobs name.
    """

    def __init__(
        self,
        chains: Mapping[str, Chain],
        default_chain: str,
        deadline: timedelta = DEADLINE,
        check_url: CheckUrl = no_job_urls,
    ) -> None:
        self._deadline = deadline
        self._check_url = check_url
        self._chains = chains
        self._default_chain = default_chain

    def job(self, caller: Caller, request: CreateJob, idempotency_key: str | None) -> NewJob:
        """The job that a request asks for. Raises InvalidRequest, PayloadTooLarge."""
        return self._new_job(caller, request, new_event_id(caller.tenant, idempotency_key))

    def job_of_entry(
        self, caller: Caller, entry: JsonValue, batch_key: str | None, place: int
    ) -> NewJob | InvalidRequest | PayloadTooLarge:
        """The job that the entry at `place` of a batch asks for, or why it is refused.

        The id of an entry without a key of its own is derived from the batch's key and its place.
        """
        try:
            request = BatchEntry.model_validate(entry)
            own = request.idempotency_key
            tenant = caller.tenant
            event_id = new_event_id(tenant, own) if own is not None else new_event_id(tenant, batch_key, str(place))
            return self._new_job(caller, request, event_id)
        except ValidationError as error:
            return InvalidRequest(explain(error.errors(include_input=False)))
        except (InvalidRequest, PayloadTooLarge) as error:
            return error

    def _new_job(self, caller: Caller, request: CreateJob, event_id: str) -> NewJob:
        chain = self._chain(request)
        sent = _short_form(chain, request.input_text) if request.payload is None else request.payload
        payload = checked_payload(chain, sent)
        overrides = Overrides(request.model, request.effort)
        check_overrides(chain, overrides.given)
        if request.webhook_url is not None:
            self._check_url(caller, request.webhook_url)
        return NewJob(
            event_id=event_id,
            tenant=caller.tenant,
            job_name=chain.name,
            payload=payload,
            fingerprint=_fingerprint(chain.name, payload, request),
            title=request.title,
            metadata=request.metadata,
            max_cost_usd=request.max_cost_usd,
            tier=request.tier,
            flex_for=timedelta(seconds=request.flex_seconds),
            key_id=caller.key_id,
            daily_budget=caller.limits.daily_budget,
            deadline=timedelta(seconds=request.deadline_seconds) if request.deadline_seconds else self._deadline,
            own_deadline=request.deadline_seconds is not None,
            overrides=overrides,
            webhook_url=request.webhook_url,
        )

    def _chain(self, request: CreateJob) -> Chain:
        name = request.job_name if request.job_name is not None else self._default_chain
        if (chain := usable(self._chains.get(name))) is not None:
            return chain
        known = ", ".join(self._chains)
        if request.job_name is None and not self._default_chain:
            raise InvalidRequest({"input_text": f"no default chain: give job_name (one of {known}) and payload"})
        if name in self._chains:
            raise InvalidRequest({"job_name": why_unusable(name)})
        raise InvalidRequest({"job_name": f"unknown chain: use one of {known}"})


def _short_form(chain: Chain, text: str | None) -> dict[str, JsonValue]:
    """The payload of the default chain. Raises InvalidRequest for a chain whose payload is more than a text."""
    fields = [*chain.payload.model_fields]
    if len(fields) != 1:
        raise InvalidRequest({"input_text": f"the default chain {chain.name} takes more: give job_name and payload"})
    return {fields[0]: text}


def checked_payload(chain: Chain, sent: object) -> JsonValue:
    """The payload as it is stored. Raises InvalidRequest, PayloadTooLarge."""
    try:
        payload: JsonValue = chain.payload.model_validate(sent).model_dump(mode="json")
    except ValidationError as error:
        raise InvalidRequest(explain(error.errors(include_input=False), "payload")) from None
    except Exception as error:  # of the chain's own code
        raise InvalidRequest({"payload": f"the chain {chain.name} can't read it ({type(error).__name__})"}) from error
    size = len(json.dumps(payload, ensure_ascii=False).encode())
    if size > MAX_PAYLOAD_BYTES:
        raise PayloadTooLarge(size, MAX_PAYLOAD_BYTES)
    return payload


def check_overrides(chain: Chain, given: Iterable[Override]) -> None:
    """Raises InvalidRequest for what a request sets in place of a chain that does not allow it."""
    refused = [name for name in given if name not in chain.overrides]
    if refused:
        raise InvalidRequest(
            {name: f"the chain {chain.name} allows jobs no {name} of their own: leave it out" for name in refused}
        )


def is_keyed(event_id: str) -> bool:
    """Whether the id is derived from an idempotency key."""
    return UUID(event_id).version == _KEYED_VERSION


def new_event_id(tenant: str, idempotency_key: str | None, *place: str) -> str:
    """A random id, or the one that is derived from the key, and from a place in a batch if one is given."""
    if idempotency_key is None:
        return str(uuid4())
    return str(uuid5(_KEY_NAMESPACE, "\0".join((tenant, idempotency_key, *place))))


def _fingerprint(job_name: str, payload: JsonValue, request: CreateJob) -> str:
    options = request.model_dump(mode="json", include=_OPTIONS, exclude_defaults=True)
    canonical = json.dumps([job_name, payload, request.metadata, options], sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()
