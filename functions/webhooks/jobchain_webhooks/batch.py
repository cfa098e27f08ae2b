"""Makes the tries of a batch of messages at the same time. The failure of one does not affect the others."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from datetime import timedelta
from typing import Any

from jobchain.aws.outbox import DeliveryKey
from jobchain.aws.webhook_queue import read_delivery_message
from jobchain.observability import Logger, describe


def deliver_all(
    records: Sequence[Mapping[str, Any]],
    left: timedelta,
    deliver: Callable[[DeliveryKey, timedelta], None],
    threads: Executor,
    logger: Logger,
) -> dict[str, Any]:
    """Calls `deliver` for each record of an event, with the time that is `left`.

    Gives the response that names the records which SQS has to deliver again.
    https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
    """

    def is_done(record: Mapping[str, Any]) -> bool:
        try:
            deliver(read_delivery_message(record), left)
        except Exception as error:  # noqa: BLE001  # no error may affect another record
            logger.error("record failed", extra={"message_id": record["messageId"], **describe(error)})
            return False
        return True

    done = list(threads.map(is_done, records))
    failed = [record["messageId"] for record, ok in zip(records, done, strict=True) if not ok]
    return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in failed]}
