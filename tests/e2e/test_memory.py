"""What the worker's process takes of the memory that the template gives it."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest

from benchmarks import processes
from jobchain.chains.fields import MAX_TEXT_LENGTH
from local.settings import Settings
from local.stack import EmbeddedStack
from tests.e2e.conftest import FINAL, poll
from tests.fake_model.server import ModelServer

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not psutil.LINUX, reason="reads what a process took at most")]

JOBS = 30
SENTENCE = "Passwords must be long, and they must be stored hashed. "


@pytest.fixture(scope="module")
def two_workers() -> Iterator[EmbeddedStack]:
    """A stack on which batches of ten come about."""
    with (
        ModelServer(offline=True) as model,
        EmbeddedStack.start(Settings(openai_base_url=model.base_url), parameters={"WorkerConcurrency": "2"}) as stack,
    ):
        yield stack


def most_memory(stack: EmbeddedStack, service: str) -> int:
    """Megabytes that a process of a function took at most."""
    took = [0]
    for pid in processes.descendants(stack.emulator.pid):
        process = psutil.Process(pid)
        if process.environ().get("POWERTOOLS_SERVICE_NAME") == service:
            status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
            took.append(int(status.partition("VmHWM:")[2].split()[0]) // 1024)
    return max(took)


def test_batches_of_the_longest_texts_take_less_than_half_of_the_workers_memory(
    two_workers: EmbeddedStack, template: dict[str, Any]
) -> None:
    # given more of the longest texts than two workers take at once
    text = (SENTENCE * (MAX_TEXT_LENGTH // len(SENTENCE) + 1))[:MAX_TEXT_LENGTH].strip()
    jobs = [{"input_text": text} for _ in range(JOBS)]

    # when they have all run
    with httpx2.Client(base_url=two_workers.api_url, timeout=60, trust_env=False) as http:
        sent = [http.post("/jobs", json=job).raise_for_status().json()["event_id"] for job in jobs]
        for event_id in sent:
            job = poll(partial(ended, http, event_id))
            assert job["status"] == "completed", job["error"]

    # then a worker has taken less than half of what it has on AWS
    memory = template["Resources"]["WorkerFunction"]["Properties"]["MemorySize"]
    assert 50 < most_memory(two_workers, "worker") < memory / 2


def ended(http: httpx2.Client, event_id: str) -> dict[str, Any] | None:
    """The job, once it has ended."""
    job: dict[str, Any] = http.get(f"/jobs/{event_id}").raise_for_status().json()
    return job if job["status"] in FINAL else None
