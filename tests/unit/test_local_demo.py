from pathlib import Path

import pytest

from local.demo import EXAMPLE, TextError, read_text


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
