import io
from pathlib import Path
from typing import Any

import pytest

from local.api_client import ApiError, read_answer
from local.demo import EXAMPLE, Progress, TextError, failure, printable, read_text, result_lines, source_lines


def step(name: str, status: str, seconds: int | None = None) -> dict[str, Any]:
    started = "2026-11-22T10:00:00.000Z" if seconds is not None else None
    finished = f"2026-11-22T10:00:{seconds:02}.000Z" if seconds is not None else None
    return {"name": name, "status": status, "started_at": started, "finished_at": finished}


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

    progress.show({"steps": [step("summary", "processing"), step("checklist", "pending")]})
    progress.show({"steps": [step("summary", "processing"), step("checklist", "pending")]})
    progress.show({"steps": [step("summary", "completed", 2), step("checklist", "failed", 1)]})
    progress.show({"steps": [step("summary", "completed", 2), step("checklist", "failed", 1)]})

    assert out.getvalue() == "  summary: started\n  summary: completed in 2.0 s\n  checklist: failed in 1.0 s\n"


def test_the_result_has_a_box_for_each_item_of_the_checklist() -> None:
    lines = list(result_lines({"summary": "Short.", "checklist": ["One", "Two"], "diagram": "flowchart TD"}))

    assert "\n".join(lines) == (
        "\nSummary\n\nShort.\n\nChecklist\n\n[ ] One\n[ ] Two\n\nDiagram (Mermaid)\n\nflowchart TD"
    )


def test_who_answered_is_told_with_what_it_took() -> None:
    job = {
        "steps": [{"model": "gpt-6-luna"}, {"model": "gpt-6-luna"}, {"model": None}],
        "usage": {"input_tokens": 812, "output_tokens": 140},
        "cost_usd": 0.0001512,
    }

    assert list(source_lines(job)) == ["Answered by gpt-6-luna: 812 tokens in, 140 out, for $0.000151."]
    (unpriced,) = source_lines({**job, "cost_usd": None})
    assert unpriced.endswith("at a price that is not known.")


def test_what_a_model_wrote_can_not_command_the_terminal() -> None:
    assert printable("a\x1b[2Jb\x9bc\r\n\td é") == "a�[2Jb�c�\n\td é"


def test_a_problem_is_shown_with_its_detail_its_places_and_the_requests_id() -> None:
    problem = b'{"title": "T", "detail": "does not fit", "errors": {"input_text": "too short"}, "request_id": "r-1"}'

    with pytest.raises(ApiError, match=r"POST /jobs: 422, does not fit\n  input_text: too short \(request r-1\)"):
        read_answer("POST /jobs", 422, problem)


def test_a_failed_job_is_told_with_its_step_its_kind_and_its_message() -> None:
    job = {"status": "failed", "error": {"type": "model_refused", "message": "it said no", "step": "summary"}}

    assert failure(job) == "the job failed in step summary: model_refused: it said no"


def test_a_cancelled_job_is_told_without_an_error() -> None:
    assert failure({"status": "cancelled", "error": None}) == "the job was cancelled"
