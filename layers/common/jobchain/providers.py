"""Where the model is asked: at a server that takes an API key, or at Amazon Bedrock with the function's own role.

For the api too, so that it imports nothing that takes long.
"""

import re
from typing import Literal
from urllib.parse import urlsplit

from jobchain.breaker import ModelAccount
from jobchain.connection import UnusableSetting, checked_model_url, is_private, shown

Provider = Literal["openai", "bedrock"]
"""`openai` is OpenAI, Azure and any server that takes an API key; `bedrock` takes signatures of the function's role."""

OPENAI_URL = "https://api.openai.com/v1"

_REGION = r"[a-z]{2,8}(?:-[a-z0-9]+)+-[0-9]+"
# Of the public endpoints and of a VPC's own.
_RUNTIME = re.compile(rf"(?:^|\.)bedrock-runtime(?:-fips)?\.({_REGION})\.")


def server_url(provider: Provider, base_url: str | None, region: str) -> str:
    """The base URL of the model's server: `base_url`, or the provider's own where that is empty or None.

    `region` is the AWS region of the function. Raises UnusableSetting.
    """
    if base_url:
        url = checked_model_url("OPENAI_BASE_URL", base_url)
        return _checked_runtime(url) if provider == "bedrock" else url
    if provider == "openai":
        return OPENAI_URL
    return f"https://bedrock-runtime.{_checked_region(region)}.amazonaws.com/openai/v1"


def account_of(
    provider: Provider, base_url: str | None, region: str, secret_name: str | None, model: str
) -> ModelAccount:
    """What breakers and limits are stored under. A base URL that can't be used is the empty one: its jobs wait."""
    try:
        url = server_url(provider, base_url, region)
    except UnusableSetting:
        url = ""
    return ModelAccount.of(url, secret_name if provider == "openai" else None, model)


def signing_region(url: str, region: str) -> str:
    """The region that signatures for a URL of Bedrock name: the one in its host, else `region`, the function's own.

    Raises UnusableSetting.
    """
    found = _RUNTIME.search(urlsplit(url).hostname or "")
    return found[1] if found else _checked_region(region)


def control_url(url: str, region: str) -> str:
    """Where Bedrock tells about its models, for the URL at which they are asked.

    A server in a private network that is no endpoint of AWS is taken to do both. Raises UnusableSetting.
    """
    parts = urlsplit(url)
    if is_private(url) and not _RUNTIME.search(parts.hostname or ""):
        return f"{parts.scheme}://{parts.netloc}"
    return f"https://bedrock.{signing_region(url, region)}.amazonaws.com"


def _checked_region(region: str) -> str:
    if re.fullmatch(_REGION, region):
        return region
    raise UnusableSetting(f"the AWS region is {region!r}: Bedrock needs one such as us-east-1; set AWS_DEFAULT_REGION")


def _checked_runtime(url: str) -> str:
    """The worker may call the endpoint that AWS recommends, and no other one."""
    if (urlsplit(url).hostname or "").startswith("bedrock-mantle."):
        raise UnusableSetting(
            f"OPENAI_BASE_URL is {shown(url)}, which takes other permissions than the worker has: leave it empty, or "
            "set it to https://bedrock-runtime.<region>.amazonaws.com/openai/v1"
        )
    return url
