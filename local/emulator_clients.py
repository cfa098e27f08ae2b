"""boto3 clients for the local emulator, out of reach of the developer's own AWS configuration."""

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

import boto3
import botocore.session
from botocore.config import Config

REGION = "us-east-1"
_ACCESS_KEY = "test"
_LOOPBACK = ("127.0.0.1", "localhost", "::1")

_CONFIG = Config(proxies={}, connect_timeout=5, read_timeout=60, retries={"total_max_attempts": 1})


@dataclass(frozen=True, slots=True)
class Credentials:
    """The keys that requests to an emulator are signed with. Without any: those of one that checks none."""

    access_key: str = _ACCESS_KEY
    secret_key: str = field(default="test", repr=False)

    @classmethod
    def new(cls) -> "Credentials":
        """Those of a new stack; the secret key can't be guessed."""
        return cls(secret_key=secrets.token_urlsafe(30))

    @classmethod
    def for_endpoint(cls, endpoint_url: str, environment: Mapping[str, str] = os.environ) -> "Credentials":
        """The keys that `make aws-env` has put into the environment for this very endpoint, else those without any.

        Keys for anything else, such as the developer's account, are never sent to an emulator.
        """
        access_key, secret_key = environment.get("AWS_ACCESS_KEY_ID"), environment.get("AWS_SECRET_ACCESS_KEY")
        named = environment.get("AWS_ENDPOINT_URL", "")
        if access_key and secret_key and named and _place(named) == _place(endpoint_url):
            return cls(access_key, secret_key)
        return cls()


def _place(url: str) -> tuple[str, int | None]:
    parts = urlsplit(url)
    host = parts.hostname or ""
    return "127.0.0.1" if host in _LOOPBACK else host, parts.port


class Clients:
    """Makes boto3 clients for one endpoint; each service's client is made once."""

    def __init__(self, endpoint_url: str, region: str = REGION, credentials: Credentials | None = None) -> None:
        """Without `credentials` for an emulator that checks none."""
        self.endpoint_url = endpoint_url
        self.region = region
        self.credentials = credentials or Credentials()
        self._made: dict[str, Any] = {}

    @cached_property
    def session(self) -> Any:
        """A boto3 session with the emulator's credentials that reads no profile and no configuration file."""
        core = botocore.session.Session()
        settings = core.get_component("config_store")
        settings.set_config_variable("profile", None)
        settings.set_config_variable("config_file", os.devnull)
        settings.set_config_variable("credentials_file", os.devnull)
        settings.set_config_variable("use_fips_endpoint", False)
        settings.set_config_variable("use_dualstack_endpoint", False)
        return boto3.session.Session(
            aws_access_key_id=self.credentials.access_key,
            aws_secret_access_key=self.credentials.secret_key,
            region_name=self.region,
            botocore_session=core,
        )

    def get(self, service: str) -> Any:
        """The client of a service, such as `dynamodb`."""
        if service not in self._made:
            # `verify`, said here, keeps AWS_CA_BUNDLE out.
            self._made[service] = self.session.client(
                service, endpoint_url=self.endpoint_url, config=_CONFIG, verify=True
            )
        return self._made[service]
