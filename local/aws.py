"""boto3 clients for the local emulator, out of reach of the developer's own AWS configuration."""

import os
from functools import cached_property
from typing import Any

import boto3
import botocore.session
from botocore.config import Config

REGION = "us-east-1"
ACCESS_KEY = "test"
SECRET_KEY = "test"

_CONFIG = Config(proxies={}, connect_timeout=5, read_timeout=60, retries={"total_max_attempts": 1})


class Clients:
    """Makes boto3 clients for one endpoint; each service's client is made once."""

    def __init__(self, endpoint_url: str, region: str = REGION) -> None:
        self.endpoint_url = endpoint_url
        self.region = region
        self._made: dict[str, Any] = {}

    @cached_property
    def session(self) -> Any:
        """A boto3 session with dummy credentials that reads no profile and no configuration file."""
        core = botocore.session.Session()
        settings = core.get_component("config_store")
        settings.set_config_variable("profile", None)
        settings.set_config_variable("config_file", os.devnull)
        settings.set_config_variable("credentials_file", os.devnull)
        settings.set_config_variable("use_fips_endpoint", False)
        settings.set_config_variable("use_dualstack_endpoint", False)
        return boto3.session.Session(
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
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
