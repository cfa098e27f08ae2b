"""What the environment and `.env` say about the local stack."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dotenv import dotenv_values


@dataclass(frozen=True, slots=True)
class Settings:
    """An empty value means unset. Without a key and a base URL the offline model answers.

    `auth_mode` is the template's parameter `AuthMode`; unset, whoever reaches the local stack may come in.
    """

    openai_api_key: str = field(default="", repr=False)
    openai_base_url: str = ""
    openai_model: str = ""
    lambda_endpoint_url: str = ""
    auth_mode: str = ""

    @property
    def offline(self) -> bool:
        return not self.openai_api_key and not self.openai_base_url

    @classmethod
    def of(cls, values: Mapping[str, str | None]) -> "Settings":
        def value(name: str) -> str:
            return (values.get(name) or "").strip()

        return cls(
            openai_api_key=value("OPENAI_API_KEY"),
            openai_base_url=value("OPENAI_BASE_URL"),
            openai_model=value("OPENAI_MODEL"),
            lambda_endpoint_url=value("LAMBDA_AWS_ENDPOINT_URL"),
            auth_mode=value("AUTH_MODE"),
        )

    @classmethod
    def load(cls, folder: Path) -> "Settings":
        """The environment over `.env` in a folder, so that an empty `OPENAI_API_KEY=` overrules the file."""
        return cls.of({**dotenv_values(folder / ".env"), **os.environ})
