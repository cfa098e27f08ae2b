"""A secret of Secrets Manager, as text, cached for a while."""

import time
from typing import Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.session import Session

from jobchain.aws.clients import aws_client
from jobchain.aws.refusals import unavailable


class Secret:
    """One secret. The client is made for the first read: a function whose key is in its environment has none."""

    def __init__(self, session: Session, name: str, config: Config, max_age_seconds: float) -> None:
        """A secret that was read is cached for `max_age_seconds`."""
        self._session = session
        self._name = name
        self._config = config
        self._max_age = max_age_seconds
        self._client: Any = None
        self._text = ""
        self._cached_until = float("-inf")

    def read(self) -> str:
        """The secret's text; empty where it has none. Raises Unavailable where it can't be read."""
        if time.monotonic() < self._cached_until:
            return self._text
        try:
            self._client = self._client or aws_client(self._session, "secretsmanager", self._config)
            answer = self._client.get_secret_value(SecretId=self._name)
        except (BotoCoreError, ClientError) as error:
            raise unavailable("Secrets Manager", "does not give the secret", error) from error
        self._text = answer.get("SecretString", "")
        self._cached_until = time.monotonic() + self._max_age
        return self._text

    def forget(self) -> None:
        """Makes the next `read` fetch the secret again, as the cached text is unusable."""
        self._cached_until = float("-inf")
