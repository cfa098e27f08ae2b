"""Sections of the page of benchmarks: files in `.local/bench`, from which the page is made."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent.parent / ".local" / "bench"


def write(name: str, title: str, body: str, data: Any = None) -> Path:
    """Keeps a section as `<name>.json`, and gives its path. `body` is Markdown, `data` anything that JSON can say."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / f"{name}.json"
    path.write_text(json.dumps({"title": title, "body": body, "data": data}, indent=1) + "\n", encoding="utf-8")
    return path


def table(heads: list[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table. All columns but the first are numbers."""
    lines: list[Sequence[object]] = [heads, ["---", *("---:" for _ in heads[1:])], *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)
