"""The recipes for `awslocal` in docs/how-to/local-stack.md, word for word, against the embedded emulator.

test_localstack.py follows them on LocalStack.
"""

import json
import os
import re
from collections.abc import Iterator
from typing import Any, Protocol

import pytest

from local.emulator_clients import Credentials
from local.stack import EmbeddedStack
from tests.conftest import ROOT
from tests.targets.conftest import api, result, run, submit

TOOLS = ROOT / ".venv-sam" / "bin"


class Stack(Protocol):
    """The stack `jobchain` of an emulator."""

    @property
    def endpoint_url(self) -> str: ...

    @property
    def dead_letter_url(self) -> str: ...

    @property
    def credentials(self) -> Credentials: ...

    def client(self, service: str) -> Any: ...


def recipes() -> dict[str, str]:
    """Each recipe by the comment above it; those before the first comment come with all."""
    section = (ROOT / "docs" / "how-to" / "local-stack.md").read_text().partition("## With `awslocal`")[2]
    first, *others = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)[0].split("\n\n")
    return {part.splitlines()[0]: f"{first}\n{part}" for part in others}


RECIPES = recipes()


def follow(stack: Stack, event_id: str, words: str) -> str:
    """What the recipe prints whose comment has these words."""
    (recipe,) = (recipe for comment, recipe in RECIPES.items() if words in comment)
    changes = {
        # What `make aws-env` sets, for a stack that is not `make dev`'s.
        "LOCALSTACK_HOST": stack.endpoint_url.removeprefix("http://").replace("127.0.0.1", "localhost"),
        "AWS_ACCESS_KEY_ID": stack.credentials.access_key,
        "AWS_SECRET_ACCESS_KEY": stack.credentials.secret_key,
        "PATH": f"{TOOLS}:{os.environ['PATH']}",
        "EVENT_ID": event_id,
    }
    return run(["bash", "-euo", "pipefail", "-c", recipe], changes)


def answers(said: str) -> list[Any]:
    """The JSON documents in it, which stand one behind another."""
    found = []
    decoder = json.JSONDecoder()
    while said := said.strip():
        answer, end = decoder.raw_decode(said)
        found.append(answer)
        said = said[end:]
    return found


class Recipes:
    """Their tests, for a module with the fixtures `stack`, and `event_id` of a job that has completed."""

    def test_the_queue_tells_what_waits(self, stack: Stack, event_id: str) -> None:
        (answer,) = answers(follow(stack, event_id, "How many messages wait"))

        assert answer["Attributes"]["ApproximateNumberOfMessages"] == "0"

    def test_dead_letters_are_shown_and_stay(self, stack: Stack, event_id: str) -> None:
        stack.client("sqs").send_message(QueueUrl=stack.dead_letter_url, MessageBody="broken")

        for _ in range(2):
            (answer,) = answers(follow(stack, event_id, "Dead letters"))
            assert [message["Body"] for message in answer["Messages"]] == ["broken"]
        stack.client("sqs").purge_queue(QueueUrl=stack.dead_letter_url)

    def test_a_job_and_its_steps_are_shown(self, stack: Stack, event_id: str) -> None:
        job, steps = answers(follow(stack, event_id, "A job: "))

        assert job["Item"]["status"] == {"S": "completed"}
        assert [step["name"]["S"] for step in steps["Items"]] == ["summary", "checklist", "diagram"]
        assert all(step["output"] for step in steps["Items"])

    def test_a_job_is_looked_at_now(self, stack: Stack, event_id: str) -> None:
        (answer,) = answers(follow(stack, event_id, "Have a job checked now"))

        assert answer["MessageId"]

    def test_the_sweeper_is_run(self, stack: Stack, event_id: str) -> None:
        done, invocation = answers(follow(stack, event_id, "The sweeper"))

        assert done["sent"] == 0
        assert invocation["StatusCode"] == 200


@pytest.fixture(scope="module")
def stack() -> Iterator[EmbeddedStack]:
    with EmbeddedStack.start() as stack:
        yield stack


@pytest.fixture(scope="module")
def event_id(stack: EmbeddedStack) -> str:
    with api(stack.api_url) as client:
        job = result(client, submit(client))
    return str(job["event_id"])


class TestTheRecipesOnTheEmbeddedEmulator(Recipes):
    pass
