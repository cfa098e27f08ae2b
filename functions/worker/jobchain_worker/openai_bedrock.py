"""Clients of Bedrock, whose calls carry a signature of the function's role in place of an API key.

Imported only where Bedrock is chosen: it makes a start slower.
"""

from datetime import timedelta
from typing import Any

import openai
from openai.providers import bedrock

from jobchain_worker.openai_calls import CONNECT_TIMEOUT, http_client_for
from jobchain_worker.role_credentials import RoleCredentials


def create_bedrock_client(
    base_url: str, region: str, credentials: RoleCredentials, timeout: timedelta, http_client: Any = None
) -> openai.AsyncOpenAI:
    """A client as `create_client` makes it. Its calls are signed for `region` with the credentials as they are then.

    A token of the environment (AWS_BEARER_TOKEN_BEDROCK) is not used.
    """
    return openai.AsyncOpenAI(
        provider=bedrock(
            # The other one, Mantle, takes other permissions.
            endpoint="runtime",
            region=region,
            base_url=base_url,
            credential_provider=credentials.read,
        ),
        timeout=openai.Timeout(timeout.total_seconds(), connect=CONNECT_TIMEOUT.total_seconds()),
        max_retries=0,
        http_client=http_client_for(base_url, http_client),
    )
