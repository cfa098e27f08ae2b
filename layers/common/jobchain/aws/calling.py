"""Makes the clients of functions that start often: `JsonClient` where it will do, botocore's elsewhere."""

import os
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from jobchain.aws.connections import Connections
from jobchain.aws.json_client import JsonClient, Service
from jobchain.aws.signature import Signer

# The partitions whose hosts end alike, and all of whose regions have both services.
_REGION = re.compile(r"(cn|(us-gov|af|ap|ca|eu|il|me|mx|sa|us))-[a-z]+-\d+")

# What of botocore's settings `JsonClient` does not know: other credentials, endpoints, proxies, certificates.
_UNKNOWN = re.compile(
    r"AWS_(ACCOUNT_ID|CA_BUNDLE|CONFIG_FILE|CREDENTIAL_EXPIRATION|DEFAULT_PROFILE|IGNORE_CONFIGURED_ENDPOINT_URLS|"
    r"PROFILE|SECURITY_TOKEN|USE_DUALSTACK_ENDPOINT|USE_FIPS_ENDPOINT)|REQUESTS_CA_BUNDLE|(?i:(?!NO_)\w+_PROXY)"
)

# What says nothing: a file without a content, as the embedded stack has it.
_NOTHING = ("", os.devnull)


class Patience(NamedTuple):
    """How long a call of AWS may take: the seconds of a connection and of an answer, and how often it is tried."""

    connect_seconds: float
    read_seconds: float
    attempts: int
    connections: int = 10
    """The most that are kept, where botocore keeps them."""


def create_aws_client(service: Service, patience: Patience, environment: Mapping[str, str]) -> Any:
    """A client for the account and the region that the environment names, as the platform of functions sets them."""
    return _light_client(service, patience, environment) or _botocore_client(service, patience)


def _light_client(service: Service, patience: Patience, environment: Mapping[str, str]) -> JsonClient | None:
    """None where the environment has something that it does not know."""
    key_id, secret, region = (
        environment.get(name, "") for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION")
    )
    url = _endpoint(service, region, environment)
    unknown = any(value not in _NOTHING and _UNKNOWN.fullmatch(name) for name, value in environment.items())
    if unknown or not (key_id and secret and region and url):
        return None
    signer = Signer(key_id, secret, environment.get("AWS_SESSION_TOKEN", ""), service.name, region)
    connections = Connections(url, patience.connect_seconds, patience.read_seconds)
    return JsonClient(service, signer, connections, patience.attempts)


def _endpoint(service: Service, region: str, environment: Mapping[str, str]) -> str:
    """The endpoint's URL; empty where it is not known."""
    for name in (f"AWS_ENDPOINT_URL_{service.name.upper()}", "AWS_ENDPOINT_URL"):
        if own := environment.get(name):
            return own.rstrip("/") if re.fullmatch(r"https?://[\w.-]+(:\d+)?/?", own) else ""
    if not (found := _REGION.fullmatch(region)):
        return ""
    suffix = "amazonaws.com" if found[2] else "amazonaws.com.cn"
    return f"https://{service.name}.{region}.{suffix}"


def _botocore_client(service: Service, patience: Patience) -> Any:
    # Importing botocore takes longer than all else of a function's start.
    from botocore.config import Config  # noqa: PLC0415

    from jobchain.aws.clients import aws_client, create_session  # noqa: PLC0415

    config = Config(
        connect_timeout=patience.connect_seconds,
        read_timeout=patience.read_seconds,
        retries={"mode": "standard", "total_max_attempts": patience.attempts},
        max_pool_connections=patience.connections,
        tcp_keepalive=True,
    )
    return aws_client(create_session(), service.name, config)
