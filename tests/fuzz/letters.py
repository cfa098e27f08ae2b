"""Jobs with a step that waits for a decision: what is decided by chance is none of those that chance creates."""

from functools import partial
from pathlib import Path

import httpx2

from tests.e2e.conftest import FINAL, poll
from tests.integration.test_chain_packages import write_package

VARIABLE = "FUZZ_WAITING"
"""The environment variable that tells the hooks the ids of the jobs that wait."""

STEP = "review"

_JOBS = 20
_CHAIN = f"""
from jobchain import Chain, Text

chain = Chain("letters")


@chain.approve(title="Review the letter")
def {STEP}(document: Text) -> str:
    return document
"""


def write_packages(folder: Path) -> Path:
    """The file that names the packages of the stack: the shipped chains, and one with a step to decide."""
    write_package(folder / "letters", "letters", _CHAIN)
    file = folder / "chains.txt"
    file.write_text("jobchain\n./letters\n--default-chain guideline_checklist\n")
    return file


def waiting(api_url: str, key: str) -> list[str]:
    """The ids of new jobs, each of which waits for a decision."""
    headers = {"Authorization": f"Bearer {key}"}
    with httpx2.Client(base_url=api_url, headers=headers, timeout=60, trust_env=False) as client:
        jobs = [{"job_name": "letters", "payload": {"document": f"Letter {number}"}} for number in range(_JOBS)]
        results = client.post("/jobs/batch", json={"jobs": jobs}).raise_for_status().json()["results"]
        ids = [str(result["event_id"]) for result in results]
        for event_id in ids:
            poll(partial(_waits, client, event_id))
    return ids


def _waits(client: httpx2.Client, event_id: str) -> bool:
    job = client.get(f"/jobs/{event_id}").raise_for_status().json()
    assert job["status"] not in FINAL, job
    return bool(job["waiting_for"] and job["waiting_for"]["reason"] == "approval")
