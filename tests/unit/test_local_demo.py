import io
from pathlib import Path
from typing import Any

import pytest

from jobchain_client import Job
from local.demo import EXAMPLE, Progress, TextError, read_text
from tests.jobs import job_of


def step(name: str, status: str, seconds: int | None = None) -> dict[str, Any]:
    started = "2026-11-22T10:00:00.000Z" if seconds is not None else None
    finished = f"2026-11-22T10:00:{seconds:02}.000Z" if seconds is not None else None
    return {"name": name, "status": status, "started_at": started, "finished_at": finished}


def job(*steps: dict[str, Any]) -> Job:
    return job_of(steps=list(steps))


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "empty"), (b" \n\t", "empty"), (b"a\xff", "not UTF-8 .byte 1."), (b"x" * 100_001, "100,001 characters")],
)
def test_a_text_that_the_api_would_refuse_is_refused_before_a_stack_starts(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    path = tmp_path / "text.md"
    path.write_bytes(content)

    with pytest.raises(TextError, match=reason):
        read_text(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(TextError, match=r"nowhere\.md: No such file or directory"):
        read_text(tmp_path / "nowhere.md")


def test_the_example_can_be_posted() -> None:
    assert read_text(EXAMPLE)


def test_each_step_is_told_once_when_it_starts_and_once_when_it_ends() -> None:
    out = io.StringIO()
    progress = Progress(out)

    progress.show(job(step("summary", "processing"), step("checklist", "pending")))
    progress.show(job(step("summary", "processing"), step("checklist", "pending")))
    progress.show(job(step("summary", "completed", 2), step("checklist", "failed", 1)))
    progress.show(job(step("summary", "completed", 2), step("checklist", "failed", 1)))

    assert out.getvalue() == "  summary: started\n  summary: completed in 2.0 s\n  checklist: failed in 1.0 s\n"
