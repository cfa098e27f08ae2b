"""A secret of Secrets Manager, as text, cached for a while."""

import os
import time
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from jobchain.aws.calling import Patience, create_aws_client
from jobchain.aws.json_client import Service
from jobchain.aws.refusals import unavailable

SECRETS_MANAGER = Service(
    "secretsmanager", "secretsmanager", "application/x-amz-json-1.1", frozenset(("get_secret_value",))
)


class Secret:
    """One secret. The client is made for the first read: a function whose key is in its environment has none."""

    def __init__(self, name: str, aws: Patience, max_age_seconds: float) -> None:
        """A secret that was read is cached for `max_age_seconds`."""
        self._name = name
        self._aws = aws
        self._max_age = max_age_seconds
        self._client: Any = None
        self._text = ""
        self._cached_until = float("-inf")

    def read(self) -> str:
        """The secret's text; empty where it has none. Raises Unavailable where it can't be read."""
        if time.monotonic() < self._cached_until:
            return self._text
        try:
            self._client = self._client or create_aws_client(SECRETS_MANAGER, self._aws, _environment())
            answer = self._client.get_secret_value(SecretId=self._name)
        except (BotoCoreError, ClientError) as error:
            raise unavailable("Secrets Manager", "does not give the secret", error) from error
        self._text = answer.get("SecretString", "")
        self._cached_until = time.monotonic() + self._max_age
        return self._text

    def forget(self) -> None:
        """Makes the next `read` fetch the secret again, as the cached text is unusable."""
        self._cached_until = float("-inf")


def _environment() -> Mapping[str, str]:
    """The environment. The variable for the service's endpoint is named by its id, of two words."""
    own = os.environ.get("AWS_ENDPOINT_URL_SECRETS_MANAGER")
    return {**os.environ, "AWS_ENDPOINT_URL_SECRETSMANAGER": own} if own else os.environ
