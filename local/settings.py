"""What the environment and `.env` say about the local stack."""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from jobchain.connection import (
    UnusableSetting,
    check_http_environment,
    checked_key,
    checked_model_url,
    checked_name,
    checked_url,
    is_loopback,
)
from local.chain_list import VARIABLE
from local.env_file import read_env_file
from local.errors import SettingsError

AUTH_MODES = ("none", "api_key")
APIS = ("responses", "chat")
PROVIDERS = ("openai", "bedrock")
_NUMBER = "[0-9]{1,10}"
_HOST_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")
BIND_HOSTS = ("127.0.0.1", "0.0.0.0")  # noqa: S104 - see Settings

# The template's parameters that decide how patient and how quick the workers are, by the variables that set them.
_PARAMETERS = {
    "WORKER_TIMEOUT_SECONDS": "WorkerTimeoutSeconds",
    "MODEL_CALL_SECONDS": "ModelCallSeconds",
    "MODEL_IDLE_SECONDS": "ModelIdleSeconds",
    "WORKER_CONCURRENCY": "WorkerConcurrency",
    "BATCH_SIZE": "BatchSize",
    "MODEL_REQUESTS_PER_MINUTE": "ModelRequestsPerMinute",
    "MODEL_TOKENS_PER_MINUTE": "ModelTokensPerMinute",
}
_SLOW_MODEL = {
    "WORKER_TIMEOUT_SECONDS": "900",
    "MODEL_CALL_SECONDS": "850",
    "MODEL_IDLE_SECONDS": "170",
    "WORKER_CONCURRENCY": "2",
    "BATCH_SIZE": "1",
}
"""For a model on this machine, which may write two tokens a second, and one answer at a time: the others wait for it.

Before the first token its server may be silent for five times as long, which is the whole call.
"""


_NO_ROLE = (
    "MODEL_PROVIDER is bedrock, but workers of the local stack have no role on AWS: leave it out, and set "
    "OPENAI_BASE_URL to https://bedrock-runtime.<region>.amazonaws.com/openai/v1 and OPENAI_API_KEY to an API key of "
    "Bedrock"
)


@dataclass(frozen=True, slots=True)
class Settings:
    """An empty value means unset. Without a key and a base URL the offline model answers.

    `auth_mode` is the template's parameter `AuthMode`; unset, the local stack requires no authentication.
    `openai_api` is its parameter `OpenAIApi`, `model_provider` its parameter `ModelProvider`. `bind_host` is
    where the emulator listens: beyond this machine only in a container, whose engine publishes the port on the host's
    127.0.0.1. `hosts` are the names, besides localhost and 127.0.0.1, that the API may be called by. `chains` is the
    file that names the packages of chains. `parameters` has the values of more of the template's parameters.
    """

    openai_api_key: str = field(default="", repr=False)
    openai_base_url: str = ""
    openai_model: str = ""
    openai_api: str = ""
    model_provider: str = ""
    lambda_endpoint_url: str = ""
    auth_mode: str = ""
    bind_host: str = BIND_HOSTS[0]
    hosts: tuple[str, ...] = ()
    chains: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)

    @property
    def offline(self) -> bool:
        return not self.openai_api_key and not self.openai_base_url

    @property
    def stays_here(self) -> bool:
        """Whether the model is asked on this machine, so that nothing leaves it."""
        return self.offline or (bool(self.openai_base_url) and is_loopback(self.openai_base_url))

    @property
    def needs_key(self) -> bool:
        """Whether callers of the local stack need an API key."""
        return self.auth_mode == "api_key"

    @classmethod
    def of(cls, values: Mapping[str, str | None]) -> "Settings":
        """The settings that variables hold. Raises SettingsError."""

        def value(name: str) -> str:
            return (values.get(name) or "").strip()

        auth_mode = value("AUTH_MODE")
        if auth_mode not in ("", *AUTH_MODES):
            raise SettingsError(f"AUTH_MODE is {auth_mode!r}: set it to {' or '.join(AUTH_MODES)}, or leave it out")
        api = value("OPENAI_API")
        if api not in ("", *APIS):
            raise SettingsError(f"OPENAI_API is {api!r}: set it to {' or '.join(APIS)}, or leave it out")
        provider = value("MODEL_PROVIDER")
        if provider not in ("", *PROVIDERS):
            raise SettingsError(f"MODEL_PROVIDER is {provider!r}: set it to {' or '.join(PROVIDERS)}, or leave it out")
        bind_host = value("LOCAL_BIND_HOST") or BIND_HOSTS[0]
        if bind_host not in BIND_HOSTS:
            raise SettingsError(
                f"LOCAL_BIND_HOST is {bind_host!r}: set it to {' or '.join(BIND_HOSTS)}, or leave it out"
            )

        def checked(check: Callable[[str, str], str], name: str) -> str:
            try:
                return check(name, value(name)) if value(name) else ""
            except UnusableSetting as error:
                raise SettingsError(str(error)) from None

        hosts = tuple(name.strip().lower() for name in value("LOCAL_HOSTS").split(",") if name.strip())
        if wrong := [name for name in hosts if not _HOST_NAME.fullmatch(name)]:
            raise SettingsError(
                f"LOCAL_HOSTS has {wrong[0]!r}: set it to names or addresses without a port, separated by commas"
            )
        base_url = checked(checked_model_url, "OPENAI_BASE_URL")
        if provider == "bedrock" and not (base_url and is_loopback(base_url)):
            raise SettingsError(_NO_ROLE)
        return cls(
            openai_api_key=checked(checked_key, "OPENAI_API_KEY"),
            openai_base_url=base_url,
            openai_model=checked(checked_name, "OPENAI_MODEL"),
            openai_api=api,
            model_provider=provider,
            lambda_endpoint_url=checked(checked_url, "LAMBDA_AWS_ENDPOINT_URL"),
            auth_mode=auth_mode,
            bind_host=bind_host,
            hosts=hosts,
            chains=value(VARIABLE),
            parameters=_parameters(value, is_slow=bool(base_url) and is_loopback(base_url)),
        )

    @classmethod
    def load(cls, folder: Path) -> "Settings":
        """The environment over `.env` in a folder, so that an empty `OPENAI_API_KEY=` overrules the file.

        Raises SettingsError.
        """
        return cls.of({**read_env_file(folder / ".env"), **os.environ})

    def check_environment(self, environment: Mapping[str, str]) -> None:
        """Checks proxies and certificate files, which no model on this machine needs. Raises SettingsError."""
        if self.stays_here:
            return
        try:
            check_http_environment(environment)
        except UnusableSetting as error:
            raise SettingsError(str(error)) from None


def _parameters(value: Callable[[str], str], *, is_slow: bool) -> Mapping[str, str]:
    """The parameters that variables set, and those for a slow model where they do not. Raises SettingsError."""
    found = {name: value(name) or (_SLOW_MODEL.get(name, "") if is_slow else "") for name in _PARAMETERS}
    if wrong := [name for name, number in found.items() if number and not re.fullmatch(_NUMBER, number)]:
        raise SettingsError(f"{wrong[0]} is {found[wrong[0]]!r}: set it to a whole number, or leave it out")
    call, timeout = found["MODEL_CALL_SECONDS"], found["WORKER_TIMEOUT_SECONDS"] or "300"
    if call and int(call) > int(timeout) - 20:
        raise SettingsError(
            f"MODEL_CALL_SECONDS is {call!r}: set it to {int(timeout) - 20} at most, which is WORKER_TIMEOUT_SECONDS "
            "less 20"
        )
    return {_PARAMETERS[name]: number for name, number in found.items() if number}
