"""What is deployed stays in files and classes that fit in a reader's head."""

import ast
from pathlib import Path

import pytest

from tests.conftest import ROOT

MOST_LINES = 300
MOST_LINES_OF_A_CLASS = 250
FILES = [path for folder in ("layers", "functions") for path in sorted((ROOT / folder).rglob("*.py"))]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_deployed_file_or_class_is_too_long(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    classes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ClassDef)]
    long = {node.name: node.end_lineno - node.lineno + 1 for node in classes if node.end_lineno}

    assert len(text.splitlines()) <= MOST_LINES
    assert not {name: lines for name, lines in long.items() if lines > MOST_LINES_OF_A_CLASS}
