"""Which API a command talks to, and with which key."""

import json
import os
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from jobchain_cli.errors import Code, CommandError
from jobchain_cli.local_stack import NoStackError, local_parts
from jobchain_cli.slow import told_when_slow

if TYPE_CHECKING:
    from jobchain_client import Jobchain

RETRY_SECONDS = 10.0
"""How long a command tries a request again: a person is waiting."""


@dataclass(frozen=True, slots=True)
class Target:
    """An API."""

    url: str
    api_key: str | None = field(repr=False)
    insecure_http: bool = False

    @contextmanager
    def client(self, *, told: bool = True) -> "Iterator[Jobchain]":
        """A client for the API. What its calls raise in this context becomes a CommandError.

        If it is `told`, standard error says that the API is waited for, where the context lasts for more than a moment.
        """
        # The library of HTTP takes a while to import: only commands that call an API wait for it.
        from jobchain.connection import shown
        from jobchain_cli.words import problem_line
        from jobchain_client import BadArgument, Jobchain, JobchainError

        try:
            with (
                told_when_slow(f"the API at {shown(self.url)}") if told else nullcontext(),
                Jobchain(
                    self.url, self.api_key, retry_seconds=RETRY_SECONDS, insecure_http=self.insecure_http
                ) as client,
            ):
                yield client
        except JobchainError as error:
            raise CommandError(problem_line(error)) from error
        except BadArgument as error:
            raise CommandError(str(error), Code.USAGE) from error


def config_file() -> Path:
    """Where `jobchain login` stores an API's URL and key."""
    from typer import get_app_dir

    return Path(get_app_dir("jobchain")) / "config.toml"


def find(
    url: str | None, api_key: str | None, environment: Mapping[str, str], config_file: Path, *, told: bool = True
) -> Target:
    """The API of the options, else that of the environment, else the local stack, else that of the file.

    What was set by hand comes before what lies in a folder. The key of the environment goes to the host of the
    environment's URL alone, where that is set, that of the file with the file's URL. If it is `told`, standard error
    says when a key is not used for that. Raises CommandError.
    """
    found = _named(url, environment)
    config = {} if found else read_config(config_file)
    if found is None and "url" in config:
        found = f"url of {config_file}", config["url"]
    if found is None:
        raise CommandError(
            "no API is set: start one here with `make dev`, or name one with --url, JOBCHAIN_URL or `jobchain login`"
        )
    name, url = found
    keys = {
        "--api-key": api_key,
        "JOBCHAIN_API_KEY": None if api_key else _key_of_environment(url, environment, told=told),
        f"api_key of {config_file}": config.get("api_key"),
    }
    key_name, key = next(((key_name, key) for key_name, key in keys.items() if key), ("", None))
    return replace(_checked(name, url, key_name, key), insecure_http=trusts_network(environment))


def trusts_network(environment: Mapping[str, str]) -> bool:
    """Whether a key may go over plain http to another machine."""
    return environment.get("JOBCHAIN_INSECURE_HTTP") == "1"


def _named(option: str | None, environment: Mapping[str, str]) -> tuple[str, str] | None:
    """The URL of an API that needs no file of settings, after the name of where it comes from."""
    if option:
        return "--url", option
    if url := environment.get("JOBCHAIN_URL"):
        return "JOBCHAIN_URL", url
    if url := _local_url():
        return "the local stack's URL", url
    return None


def _key_of_environment(url: str, environment: Mapping[str, str], *, told: bool) -> str | None:
    """The key of the environment, unless its URL names another host than `url`."""
    key, own = environment.get("JOBCHAIN_API_KEY"), environment.get("JOBCHAIN_URL")
    if not key or not own or _origin(own) == _origin(url):
        return key
    if told:
        print(
            "jobchain: JOBCHAIN_API_KEY belongs to JOBCHAIN_URL, and is not sent to another host: give --api-key",
            file=sys.stderr,
        )
    return None


def _origin(url: str) -> tuple[str, str, int | None] | None:
    try:
        parts = urlsplit(url.strip())
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return None  # it is refused later, by its name
    return parts.scheme, parts.hostname or "", port


def _checked(url_name: str, url: str, key_name: str, key: str | None) -> Target:
    """The API with these settings. Raises CommandError that names the one that can't be used."""
    from jobchain.connection import UnusableSetting, checked_key, checked_url

    try:
        return Target(checked_url(url_name, url), checked_key(key_name, key) if key else None)
    except UnusableSetting as error:
        raise CommandError(str(error), Code.USAGE) from error


def _local_url() -> str | None:
    """The API of the stack that `make dev` keeps up in this folder or one above, if it is up."""
    try:
        parts = local_parts()
    except NoStackError:
        return None
    return parts["api_url"] if _is_up(parts) else None


def _is_up(parts: Mapping[str, Any]) -> bool:
    try:
        url = urlsplit(parts["api_url"])
        if url.hostname not in ("127.0.0.1", "localhost"):
            return False
        if os.name == "posix":
            with suppress(PermissionError):
                os.kill(parts["pid"], 0)
        socket.create_connection((url.hostname, url.port or 80), timeout=1).close()
    except (OSError, KeyError, TypeError, ValueError):
        return False
    return True


# --- the file --------------------------------------------------------------------------------------------------------


def read_config(file: Path) -> dict[str, str]:
    """The `url` and the `api_key` of a file, as far as it is there and has them. Raises CommandError."""
    import tomllib  # only a file pays for it

    try:
        # Some editors begin UTF-8 with a byte order mark.
        content = tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise CommandError(f"{file} can't be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise CommandError(f"{file} is not UTF-8: save it as UTF-8, or run `jobchain login` again") from error
    except (ValueError, RecursionError) as error:
        raise CommandError(f"{file} is not TOML: {error}. Correct it, or run `jobchain login` again") from error
    for name, value in content.items():
        if name not in ("url", "api_key") or not isinstance(value, str):
            raise CommandError(
                f"{file}: {name} is an unknown setting, or not a string (supported: url and api_key, each a string)"
            )
    return content


def write_config(file: Path, url: str, api_key: str | None) -> None:
    """Store a URL and a key in a file that only its user can read. Raises OSError."""
    file.parent.mkdir(parents=True, exist_ok=True)
    # A string of JSON is one of TOML.
    lines = [f"{name} = {json.dumps(value)}" for name, value in (("url", url), ("api_key", api_key)) if value]
    unfinished = file.with_suffix(".new")
    unfinished.unlink(missing_ok=True)
    with open(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as out:  # noqa: PTH123  # Path can't give the rights
        out.write("\n".join(lines) + "\n")
    unfinished.replace(file)
