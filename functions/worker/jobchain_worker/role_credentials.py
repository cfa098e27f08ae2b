"""The credentials of the function's role, with which calls of Bedrock are signed."""

import asyncio
import re
import threading
import time
from collections.abc import Callable

from botocore.credentials import Credentials
from botocore.exceptions import BotoCoreError
from botocore.session import Session

from jobchain_worker.call_errors import unsigned_call

_ACCESS_KEY = re.compile(r"Credential=([^/,\s]{1,128})/")


class RoleCredentials:
    """The role's credentials, which change: after AWS has refused what the session found, it is read again.

    botocore renews by itself only those whose end it knows.
    """

    def __init__(self, new_session: Callable[[], Session]) -> None:
        """`new_session` makes a session that has read nothing yet."""
        self._session = new_session()
        self._new_session = new_session
        self._reading = threading.Lock()
        self._one_at_a_time = asyncio.Lock()
        self._renewed_at = float("-inf")

    def read(self) -> Credentials | None:
        """The credentials as they are now, None where there are none. It may block for a request.

        Raises botocore's errors.
        """
        with self._reading:
            return self._session.get_credentials()

    async def renewed(self, refused: str, since: float) -> bool:
        """Whether there are others than those of the `Authorization` header that was `refused`.

        See `ChangingKey`. Of calls that are refused together, the first one has them read again for all.
        """
        found = _ACCESS_KEY.search(refused)
        async with self._one_at_a_time:
            try:
                if self._renewed_at < since and await asyncio.to_thread(self._is_current, found):
                    self._session = self._new_session()
                    self._renewed_at = time.monotonic()
                return not await asyncio.to_thread(self._is_current, found)
            except BotoCoreError as error:
                raise unsigned_call(error) from None

    def _is_current(self, found: re.Match[str] | None) -> bool:
        credentials = self.read()
        return found is None or credentials is None or credentials.get_frozen_credentials().access_key == found[1]
