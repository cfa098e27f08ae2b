"""`python -m evals` over a package outside the project, on a stack of its own."""

import os
import subprocess
import sys
from pathlib import Path

from jobchain_cli.new_chain import make
from tests.conftest import ROOT
from tests.integration.test_local_stack import LIMIT


def evaluate(tmp_path: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "evals", "report", "--out", str(tmp_path / "page.md"), *arguments],
        cwd=ROOT,
        env={**os.environ, "CHAINS": str(tmp_path / "chains.txt"), "NO_PROXY": "*", "OPENAI_BASE_URL": ""},
        capture_output=True,
        text=True,
        timeout=2 * LIMIT,
        check=False,
    )


def test_the_cases_of_a_listed_package_are_run_and_the_shipped_chains_only_where_they_are_listed(
    tmp_path: Path,
) -> None:
    make("desk_rules", tmp_path)
    (tmp_path / "chains.txt").write_text("./desk_rules\n")

    done = evaluate(tmp_path)

    page = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert done.returncode == 0, done.stderr
    assert "## desk_rules\n\n| case | 1 of 1 (100%) passed |\n" in page
    assert "The jobs of these cases made 2 calls with " in page
    assert "guideline_checklist" not in page.partition("## What is measured")[0]


def test_a_chain_without_cases_is_refused_with_those_that_have_some(tmp_path: Path) -> None:
    make("desk_rules", tmp_path)
    (tmp_path / "chains.txt").write_text("jobchain\n./desk_rules\n")

    done = evaluate(tmp_path, "--chain", "desk_rule")

    assert done.returncode == 1
    assert "CHAIN is 'desk_rule': set it to guideline_checklist, extract_actions, compare_guidelines, desk_rules" in (
        done.stderr
    )
