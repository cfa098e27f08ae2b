"""Makes the tries of a batch of messages at the same time. The failure of one does not affect the others."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from datetime import timedelta
from typing import Any

from jobchain.aws.outbox import DeliveryKey
from jobchain.aws.webhook_queue import read_delivery_message
from jobchain.observability import Logger, describe
from jobchain_webhooks.delivering import Ending


def deliver_all(
    records: Sequence[Mapping[str, Any]],
    left: timedelta,
    deliver: Callable[[DeliveryKey, timedelta], Ending],
    threads: Executor,
    logger: Logger,
    meter: Callable[[str, int], None] = lambda _ending, _count: None,
) -> dict[str, Any]:
    """Calls `deliver` for each record of an event, with the time that is `left`. `meter` is told how many ended how.

    Gives the response that names the records which SQS has to deliver again.
    https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
    """

    def ending_of(record: Mapping[str, Any]) -> Ending | None:
        try:
            return deliver(read_delivery_message(record), left)
        except Exception as error:  # noqa: BLE001  # no error may affect another record
            logger.error("record failed", extra={"message_id": record["messageId"], **describe(error)})
            return None

    endings = list(threads.map(ending_of, records))
    for ending, count in Counter(filter(None, endings)).items():
        meter(ending, count)
    failed = [record["messageId"] for record, ending in zip(records, endings, strict=True) if ending is None]
    return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in failed]}
