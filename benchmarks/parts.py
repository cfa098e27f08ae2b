"""Parts of pages that programs write. A part is what is between these lines, each alone on its line:

<!-- costs: written by python -m benchmarks.costs -->
<!-- end of costs -->
"""

import re
from collections.abc import Mapping
from pathlib import Path

from benchmarks.report import ROOT

_PART = re.compile(
    r"^(?P<head><!-- (?P<name>[a-z-]+): written by .* -->)\n(?P<body>.*?)^(?P<end><!-- end of (?P=name) -->)$",
    re.MULTILINE | re.DOTALL,
)


def read(page: str) -> dict[str, str]:
    """The parts of a page by name, without the empty lines around them. `page` is its path from the project's root."""
    text = _path(page).read_text(encoding="utf-8")
    return {part["name"]: part["body"].strip() for part in _PART.finditer(text)}


def filled(text: str, bodies: Mapping[str, str]) -> str:
    """The text with its parts replaced. Raises KeyError if `bodies` and the text have not the same names."""
    if missing := bodies.keys() - {part["name"] for part in _PART.finditer(text)}:
        raise KeyError(f"no such part in the page: {', '.join(sorted(missing))}")
    return _PART.sub(lambda part: f"{part['head']}\n\n{bodies[part['name']].strip()}\n\n{part['end']}", text)


def write(page: str, bodies: Mapping[str, str]) -> None:
    """Replaces the parts of a page. Raises KeyError, as `filled` does."""
    path = _path(page)
    path.write_text(filled(path.read_text(encoding="utf-8"), bodies), encoding="utf-8")


def _path(page: str) -> Path:
    return ROOT / page
