"""The composition root of the web function."""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from jobchain.observability import create_logger
from jobchain_web.site import Site


@dataclass(frozen=True, slots=True)
class WebSettings:
    """The function's environment. `openai_model` is the model of the deployment, which the dashboard names."""

    openai_model: str


logger = create_logger()
# Not by `load_settings`: it needs pydantic, for which the first page would wait.
settings = WebSettings(os.environ.get("OPENAI_MODEL", ""))
site = Site(Path(__file__).parent / "static", settings.openai_model)


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
