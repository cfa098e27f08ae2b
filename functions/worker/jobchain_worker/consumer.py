"""Takes batches of messages from the queue and runs their jobs at the same time."""

from datetime import timedelta
from typing import Any

from aws_lambda_powertools.utilities.batch import (
    AsyncBatchProcessor,
    EventType,
    async_process_partial_response,
)
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext

from jobchain.model import Clock
from jobchain.observability import Logger, describe
from jobchain.queue import read_message
from jobchain_worker.runner import Runner


class Consumer:
    """Runs a batch of messages; a fault of one harms no other."""

    def __init__(self, runner: Runner, clock: Clock, logger: Logger) -> None:
        self._runner = runner
        self._clock = clock
        self._logger = logger
        # A batch that failed as a whole is reported record by record too.
        self._processor = AsyncBatchProcessor(EventType.SQS, raise_on_entire_batch_failure=False)

    def consume(self, event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
        """Runs the event's records; the answer names those that SQS has to bring again."""
        self._logger.append_keys(request_id=context.aws_request_id)
        deadline = self._clock() + timedelta(milliseconds=context.get_remaining_time_in_millis())

        async def run(record: SQSRecord) -> None:
            self._logger.thread_safe_append_keys(message_id=record.message_id)
            try:
                event_id = read_message(record.body)
                self._logger.thread_safe_append_keys(event_id=event_id)
                await self._runner.run(event_id, deadline)
            except Exception as error:
                # Once it has come back often enough, SQS puts it with the dead letters.
                self._logger.error("record failed", extra=describe(error))
                raise

        return dict(async_process_partial_response(event, run, self._processor, context))
