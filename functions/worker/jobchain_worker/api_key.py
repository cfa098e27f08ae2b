"""The API key that calls of the model carry."""

import asyncio
import time
from typing import Protocol

from jobchain.connection import UnusableSetting, checked_key
from jobchain.errors import Misconfigured, ModelSettingsError, TransientModelError, Unavailable
from jobchain_worker.secret import Secret


class ChangingKey(Protocol):
    """What calls prove with who makes them, which may change."""

    async def renewed(self, refused: str, since: float) -> bool:
        """Whether there is another key than the one that was `refused` in a call begun at the monotonic time `since`.

        `refused` is the `Authorization` header without `Bearer`. Raises ModelError where no key can be read.
        """
        ...


class ApiKey(ChangingKey, Protocol):
    """Where the key comes from."""

    async def read(self) -> str:
        """The key. Raises TransientModelError where it can't be read, ModelSettingsError where there is none."""
        ...


class FixedKey:
    """A key of the environment, which stays the same for as long as the process lives."""

    def __init__(self, key: str) -> None:
        self._key = key

    async def read(self) -> str:
        """See `ApiKey`."""
        return self._key

    async def renewed(self, refused: str, since: float) -> bool:  # noqa: ARG002
        """See `ApiKey`."""
        return False


class SecretKey:
    """A key of Secrets Manager. All calls that need it at a time are served by one request."""

    def __init__(self, secret: Secret, name: str) -> None:
        """`name` is the secret's, for errors."""
        self._secret = secret
        self._name = name
        self._one_at_a_time = asyncio.Lock()
        self._renewed_at = float("-inf")

    async def read(self) -> str:
        """See `ApiKey`."""
        async with self._one_at_a_time:
            return await self._read()

    async def renewed(self, refused: str, since: float) -> bool:
        """See `ApiKey`. Of calls that are refused together, the first one has the secret read again for all."""
        async with self._one_at_a_time:
            if self._renewed_at < since and await self._read() == refused:
                self._secret.forget()
                self._renewed_at = time.monotonic()
            return await self._read() != refused

    async def _read(self) -> str:
        try:
            key = await asyncio.to_thread(self._secret.read)
        except Misconfigured as error:
            raise ModelSettingsError(
                f"the secret {self._name} can't be read: it does not exist, or the worker may not read or decrypt it"
            ) from error
        except Unavailable:
            raise TransientModelError(
                "the model's API key can't be read from Secrets Manager", type_="secret_unreadable"
            ) from None
        try:
            return checked_key(f"the secret {self._name}", key)
        except UnusableSetting as error:
            # The next job reads it again: once the secret is corrected, jobs run.
            self._secret.forget()
            raise ModelSettingsError(str(error)) from None
