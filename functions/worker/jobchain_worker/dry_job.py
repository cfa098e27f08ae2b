"""A dry job: what a new version of the worker does before it gets messages. It costs nothing and writes nothing."""

import json
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from aws_lambda_powertools.utilities.typing import LambdaContext
from pydantic import ValidationError

from jobchain.chains.chain import Chain, Step, StepContext
from jobchain.chains.planning import plan
from jobchain.observability import Logger, describe
from jobchain_worker.consumer import Consumer

EVENT = {"check": "job"}
"""The event that asks for it; the hook function of the template sends it."""

OK = {"job": "ok"}

_TEXT = "Doors must be locked at night."


class DryJob:
    """Runs the way of a job without a job: a message, the claim, and the requests of each chain's first steps."""

    def __init__(
        self, *, consumer: Consumer, chains: Mapping[str, Chain], max_input_tokens: int, logger: Logger
    ) -> None:
        """Takes what the worker's real jobs are run with."""
        self._consumer = consumer
        self._chains = chains
        self._max_input_tokens = max_input_tokens
        self._logger = logger

    def run(self, context: LambdaContext) -> dict[str, Any]:
        """`OK`, or what failed."""
        # A message that is still in the queue when its job is gone: its worker reads the table, and acknowledges it.
        record = {"messageId": "dry-job", "body": json.dumps({"event_id": str(uuid4())})}
        if self._consumer.consume({"Records": [record]}, context)["batchItemFailures"]:
            return {"job": "failed", "at": "the claim: see the line `record failed` of the worker's log"}
        for chain in self._chains.values():
            try:
                self._write_requests(chain)
            except Exception as error:  # noqa: BLE001  # whatever it is, jobs of the chain would fail by it
                self._logger.error("dry job failed", chain=chain.name, extra=describe(error))
                return {"job": "failed", "at": f"the chain {chain.name}: {type(error).__name__}"}
        return OK

    def _write_requests(self, chain: Chain) -> None:
        """Builds all steps, and writes the requests of those that need no other, where a text will do for a payload."""
        for each in chain.steps:
            each.prepare()
        required = {name: _TEXT for name, field in chain.payload.model_fields.items() if field.is_required()}
        try:
            payload = chain.payload.model_validate(required)
        except ValidationError:
            return  # what else a payload may hold can't be made up
        for step in plan(chain, payload, {}, self._max_input_tokens):
            if isinstance(step, Step) and not step.needs:
                step.request(StepContext(payload, {}))
