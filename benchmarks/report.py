"""Makes `docs/explanation/benchmarks.md` of fragments, one file each, in the order of their names.

    python -m benchmarks.report

A fragment is a JSON object:

    {"title": "Throughput",                      a heading of the page
     "body": "| model | jobs/s | …",             Markdown
     "plots": ["benchmarks/throughput.svg"],     pictures, by their paths from docs/; may be left out
     "data": {"ours": [26.8, 27.1]}}             what was measured, for other fragments; may be left out

in `.local/bench/<nn>-<name>.json`; two digits give the place: 00 the machine, 10 to 19 what follows from
the others, 20 to 59 what is compared, 60 to 79 what is ours alone, 80 to 99 what is simulated.
"""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
FRAGMENTS = ROOT / ".local" / "bench"
PAGE = ROOT / "docs" / "explanation" / "benchmarks.md"

_HEAD = """\
# Benchmarks

Written by `make bench`.
"""


@dataclass(frozen=True, slots=True)
class Fragment:
    """A section of the page; see the module. `data` is anything that JSON can say."""

    title: str
    body: str
    plots: tuple[str, ...] = ()
    data: Any = None

    def write(self, name: str, folder: Path = FRAGMENTS) -> None:
        """Keeps it as `<name>.json`, in place of an older one."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.json").write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")


def table(heads: Sequence[str], rows: Sequence[Sequence[object]], texts: Collection[int] = (0,)) -> str:
    """A table of numbers in Markdown: all columns but those of `texts`, the first one, are aligned on the right."""
    alignment = ["---" if column in texts else "---:" for column in range(len(heads))]
    lines: list[Sequence[object]] = [heads, alignment, *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def read(folder: Path = FRAGMENTS) -> dict[str, Fragment]:
    """All fragments by name, in the page's order."""
    found = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))}
    return {name: Fragment(**{**one, "plots": tuple(one.get("plots", ()))}) for name, one in found.items()}


def render(fragments: Mapping[str, Fragment]) -> str:
    """The page."""
    return "\n".join([_HEAD, *map(_section, fragments.values())])


def updated(page: str, fragments: Mapping[str, Fragment]) -> str:
    """The page with the sections of these fragments replaced, and with new ones at its end. The others stay."""
    sections = {fragment.title: _section(fragment) for fragment in fragments.values()}
    head, *written = re.split(r"^(?=## )", page, flags=re.MULTILINE)
    kept = [sections.pop(_title(section), section).rstrip() for section in written]
    return "\n\n".join([head.rstrip(), *kept, *map(str.rstrip, sections.values())]) + "\n"


def _title(section: str) -> str:
    return section.partition("\n")[0].removeprefix("## ")


def _section(fragment: Fragment) -> str:
    plots = "".join(f"\n![{fragment.title}]({path})\n" for path in fragment.plots)
    return f"## {fragment.title}\n\n{fragment.body.strip()}\n{plots}"


if __name__ == "__main__":
    PAGE.write_text(updated(PAGE.read_text(encoding="utf-8"), read()), encoding="utf-8")
