"""Receives batches of messages, and runs their jobs at the same time.

A job that may have crashed its workers runs after the others, alone: if it crashes this one too, it is known.
"""

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from jobchain.aws.queue import read_message
from jobchain.domain import Clock
from jobchain.errors import JobNotFound, MustRunAlone
from jobchain.observability import Logger, describe
from jobchain_worker.runner import Runner


class _End(Enum):
    """What became of a record. A suspect has not been run yet."""

    DONE = auto()
    FAILED = auto()
    SUSPECT = auto()


class Consumer:
    """Runs a batch of messages. The failure of one does not affect the others."""

    def __init__(
        self,
        runner: Runner,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        logger: Logger,
        meter: Callable[[str, int], None] = lambda *_: None,
    ) -> None:
        """All batches run on `loop`, as the open connections belong to it.

        `meter` is told of each batch with failed records: the function's version, and how many.
        """
        self._runner = runner
        self._loop = loop
        self._clock = clock
        self._logger = logger
        self._meter = meter

    def consume(self, event: Mapping[str, Any], context: LambdaContext) -> dict[str, Any]:
        """Runs the event's records; the response names those that SQS has to deliver again.

        https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
        """
        self._logger.append_keys(request_id=context.aws_request_id)
        deadline = self._clock() + timedelta(milliseconds=context.get_remaining_time_in_millis())
        failed = self._loop.run_until_complete(self._run_all(event["Records"], deadline))
        if failed:
            self._meter(context.function_version, len(failed))
        return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in failed]}

    async def _run_all(self, records: list[dict[str, Any]], deadline: datetime) -> list[str]:
        """The ids of the messages that failed."""
        ends = await asyncio.gather(*(self._run(record, deadline, alone=False) for record in records))
        for place, end in enumerate(ends):
            if end is _End.SUSPECT:
                # A task, as each has log keys of its own.
                ends[place] = await asyncio.create_task(self._run(records[place], deadline, alone=True))
        return [record["messageId"] for record, end in zip(records, ends, strict=True) if end is not _End.DONE]

    async def _run(self, record: dict[str, Any], deadline: datetime, *, alone: bool) -> "_End":
        """Runs a record's job, in a task of its own with its own log keys. `alone` where no other job runs."""
        self._logger.thread_safe_append_keys(message_id=record["messageId"])
        try:
            message = read_message(record)
            self._logger.thread_safe_append_keys(event_id=message.event_id)
            await self._runner.run(message.event_id, deadline, message.slot, alone=alone)
        except JobNotFound:
            # The job was deleted, or expired, after its message was sent: there is nothing to run. If this were wrong,
            # the job would still be in the index `due`, and the sweeper would send it again.
            self._logger.warning("job not found, message acknowledged")
        except MustRunAlone as suspect:
            self._logger.warning("suspect, runs alone after the others", reason=str(suspect))
            return _End.SUSPECT
        except Exception as error:  # noqa: BLE001  # no error may affect another record
            # After five deliveries SQS moves it to the dead letters.
            self._logger.error("record failed", extra=describe(error))
            return _End.FAILED
        return _End.DONE
