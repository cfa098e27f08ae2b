"""The stack that is tested: where it is, what may be done to it, and what it can't be asked."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import boto3
import httpx2
from botocore.exceptions import BotoCoreError, ClientError

from jobchain.aws.api_keys import ApiKeyStore, hashed
from jobchain.domain import utc_now
from jobchain_api.auth import LOCAL_TENANT
from jobchain_cli.stack import emulated_url
from local.emulator_clients import REGION, Clients, Credentials
from local.settings import Settings
from local.stack import EmbeddedStack
from tests.conformance import faulty_model

STACK = "jobchain"
_PARTS = ("ApiUrl", "TableName", "QueueUrl", "DeadLetterUrl")

# Long enough to be told from a slow machine, else as short as the template allows, so that a fault costs seconds.
_FIRST_BACKOFF_SECONDS = 3
_FAST = {
    "WorkerTimeoutSeconds": "30",
    "FirstBackoffSeconds": str(_FIRST_BACKOFF_SECONDS),
    "WorkerConcurrency": "2",
    "AuthMode": "api_key",
}


class NoTargetError(Exception):
    """The stack can't be tested; says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Parts:
    """The stack's parts behind its API, as its CloudFormation outputs name them."""

    client: Callable[[str], Any] = field(repr=False)
    table: str
    queue_url: str
    dead_letter_url: str


@dataclass(frozen=True, slots=True)
class Target:
    """A stack. What it has not, or what may not be done to it, has its tests left out.

    `key` and `other_key` are of two tenants. `alone`: no other caller uses the stack. `limit_seconds` is how long a job
    may take, `pause_seconds` how long to wait between two looks, `settle_seconds` how long a queue may take to follow a
    changed attribute, `first_backoff_seconds` the least that the template's FirstBackoffSeconds can be there.
    """

    name: str
    api_url: str
    asks_for_keys: bool
    key: str | None = field(default=None, repr=False)
    other_key: str | None = field(default=None, repr=False)
    parts: Parts | None = None
    model_faults: bool = False
    alone: bool = False
    limit_seconds: float = 180
    pause_seconds: float = 1
    settle_seconds: float = 0
    first_backoff_seconds: float = 1

    @property
    def tenant(self) -> str:
        """Whose jobs are made."""
        if not self.asks_for_keys:
            return LOCAL_TENANT
        assert self.parts
        assert self.key
        found = ApiKeyStore(self.parts.client("dynamodb"), self.parts.table, utc_now).find(hashed(self.key))
        assert found, f"the table {self.parts.table} does not have the key: is it the table of {self.api_url}?"
        return found.tenant

    def lack(self, need: str) -> str | None:
        """Why a test that has this need can't run here; None if it can."""
        have, why = {
            "keys": (self.asks_for_keys, "this stack asks for no key (AuthMode is none)"),
            "two_tenants": (
                self.asks_for_keys and self.other_key,
                "there is no second tenant: give JOBCHAIN_OTHER_API_KEY, of a stack that asks for keys",
            ),
            "parts": (self.parts, "the table and the queue are out of reach: give STACK=name, or ENDPOINT=url"),
            "model_faults": (
                self.model_faults,
                "the model can't be made to fail: let the stack use tests/conformance/faulty_model.py, and give "
                "MODEL_FAULTS=1",
            ),
            "alone": (
                self.parts and self.alone,
                "it would disturb other callers' jobs: give ALONE=1 with "
                "STACK=name or ENDPOINT=url, if no other caller uses the stack",
            ),
        }[need]
        return None if have else why


@contextmanager
def embedded() -> Iterator[Target]:
    """A stack of the suite's own, which has everything."""
    with (
        faulty_model.running() as base_url,
        EmbeddedStack.start(Settings(openai_base_url=base_url), parameters=_FAST) as stack,
    ):
        keys = ApiKeyStore(stack.client("dynamodb"), stack.table, utc_now)
        (key, _), (other_key, _) = keys.create("ours", "conformance"), keys.create("theirs", "conformance")
        yield Target(
            name="an embedded stack",
            api_url=stack.api_url,
            asks_for_keys=True,
            key=key,
            other_key=other_key,
            parts=Parts(stack.client, stack.table, stack.queue_url, stack.dead_letter_url),
            model_faults=True,
            alone=True,
            limit_seconds=180,
            pause_seconds=0.05,
            first_backoff_seconds=_FIRST_BACKOFF_SECONDS,
        )


def find(options: Mapping[str, Any], environment: Mapping[str, str] = os.environ) -> Target:
    """The stack that `url`, `stack` and `endpoint` name, of which one is enough. Raises NoTargetError.

    The keys are `JOBCHAIN_API_KEY` and `JOBCHAIN_OTHER_API_KEY` of the environment.
    """
    url, stack, endpoint = options["url"], options["stack"], options["endpoint"]
    parts, found_url = _find_parts(stack or STACK, endpoint) if stack or endpoint else (None, "")
    url = (url or found_url).rstrip("/")
    if urlsplit(url).scheme not in ("http", "https"):
        raise NoTargetError(f"{url!r} is no URL: give what the API's paths are put behind, such as https://…/v1")
    key = environment.get("JOBCHAIN_API_KEY") or None
    return Target(
        name=f"{endpoint or ('AWS' if stack else 'the API alone')}, {url}",
        api_url=url,
        asks_for_keys=_asks_for_keys(url, key),
        key=key,
        other_key=environment.get("JOBCHAIN_OTHER_API_KEY") or None,
        parts=parts,
        model_faults=options["model_faults"],
        alone=options["alone"],
        # https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SetQueueAttributes.html
        settle_seconds=0 if endpoint else 60,
    )


def _find_parts(stack: str, endpoint: str | None) -> tuple[Parts, str]:
    """The parts of a stack, and its API's URL."""
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or REGION
    session: Any = boto3.Session()
    client: Callable[[str], Any] = _clients(endpoint, region).get if endpoint else session.client
    where = endpoint or "AWS"
    try:
        (found,) = client("cloudformation").describe_stacks(StackName=stack)["Stacks"]
    except (BotoCoreError, ClientError) as error:
        raise NoTargetError(f"the stack {stack} is not found at {where}: {error}") from None
    outputs = {output["OutputKey"]: output["OutputValue"] for output in found.get("Outputs", [])}
    if missing := [part for part in _PARTS if part not in outputs]:
        raise NoTargetError(f"the stack {stack} has no output {missing[0]}: name one that has template.yaml")
    url, *rest = (outputs[part] for part in _PARTS)
    return Parts(client, *rest), emulated_url(url, endpoint) if endpoint else url


def _clients(endpoint: str, region: str) -> Clients:
    return Clients(endpoint, region, Credentials.for_endpoint(endpoint))


def _asks_for_keys(url: str, key: str | None) -> bool:
    """Whether the API asks for keys. Raises NoTargetError where it is not well, or refuses this one."""
    # trust_env: without the developer's proxy, as the stack is on this machine
    with httpx2.Client(timeout=60, trust_env=not _is_here(url)) as http:
        try:
            health = http.get(f"{url}/health")
            jobs = http.get(f"{url}/jobs", params={"limit": 1})
            if health.status_code != 200 or '"status"' not in health.text:
                raise NoTargetError(f"{url}/health answers {health.status_code}: {health.text[:200]!r}")
            if jobs.status_code == 200:
                return False
            if key is None:
                raise NoTargetError(
                    f"{url} asks for a key: give it as JOBCHAIN_API_KEY; "
                    "`.venv/bin/jobchain keys create --tenant conformance` creates one"
                )
            answer = http.get(f"{url}/jobs", params={"limit": 1}, headers={"Authorization": f"Bearer {key}"})
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise NoTargetError(f"{url} does not answer: {type(error).__name__}: {error}") from None
    if answer.status_code != 200:
        raise NoTargetError(f"{url} refuses the key of JOBCHAIN_API_KEY: {answer.status_code} {answer.text[:300]}")
    return True


def _is_here(url: str) -> bool:
    return urlsplit(url).hostname in ("127.0.0.1", "::1", "localhost")
