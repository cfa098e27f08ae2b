"""The composition root of the web function."""

import time
from pathlib import Path
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from jobchain.observability import create_logger
from jobchain_web.site import Site

logger = create_logger()
site = Site(Path(__file__).parent / "static")


@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """Answers one request of the API Gateway."""
    started = time.perf_counter()
    logger.append_keys(request_id=event["requestContext"]["requestId"])
    response = site.answer(event)
    logger.info(
        "request",
        method=event["httpMethod"],
        status=response["statusCode"],
        milliseconds=round((time.perf_counter() - started) * 1000),
    )
    return response
