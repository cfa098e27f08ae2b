"""The pages lead where they say."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT

LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ +(.*)$", re.MULTILINE)
CODE = re.compile(r"^```.*?^```$|`[^`\n]*`", re.MULTILINE | re.DOTALL)


def pages() -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    # A chain's prompt links nowhere, and the explanation is a part of docs/explanation/evals.md.
    return [page for page in listed if not page.startswith(("layers/", "evals/")) and (ROOT / page).exists()]


def anchors(page: Path) -> set[str]:
    """The headings' anchors, as GitHub makes them."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    plain = (re.sub(r"\[([^]]*)\]\([^)]*\)|[`*]", r"\1", heading) for heading in HEADING.findall(text))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("page", pages())
def test_each_link_of_a_page_leads_to_a_file_and_a_heading(page: str) -> None:
    text = CODE.sub("", (ROOT / page).read_text(encoding="utf-8"))

    for link in LINK.findall(text):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (ROOT / page).parent / path if path else ROOT / page

        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_each_test_that_the_reliability_page_names_exists() -> None:
    page = (ROOT / "docs" / "explanation" / "reliability.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(\w+/test_\w+\.py)`", page))

    assert named
    assert [name for name in sorted(named) if not (ROOT / "tests" / name).exists()] == []


def test_each_page_is_in_the_index() -> None:
    index = set(LINK.findall((ROOT / "docs" / "README.md").read_text(encoding="utf-8")))
    shelves = {str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")} - {"README.md"}

    assert shelves - index == set()


def test_the_guide_names_each_parameter_of_the_template(template: dict[str, Any]) -> None:
    guide = (ROOT / "docs" / "how-to" / "deploy.md").read_text(encoding="utf-8")

    assert [name for name in template["Parameters"] if f"`{name}`" not in guide] == []
