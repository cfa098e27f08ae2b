"""The numbers that the simulation stands on: `inputs.toml`, dated, each with its source."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

PATH = Path(__file__).resolve().parent.parent / "inputs.toml"
MEASURED = PATH.parent.parent / "docs" / "explanation" / "benchmarks.md"
"""The page of what was measured. A number with a `row` is the first number of that row, in milliseconds."""

_BEFORE = "before"


@dataclass(frozen=True, slots=True)
class Number:
    """One number. `checked`: it was read in the source's own text; else `seen` or `note` says where it is from."""

    value: float
    unit: str
    source: str
    checked: bool
    seen: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Inputs:
    """All numbers, by `group.name`, and those that were others before."""

    as_of: date
    numbers: dict[str, Number]
    earlier: dict[str, Number]

    def __getitem__(self, name: str) -> float:
        """The value of `group.name`. Raises KeyError."""
        return self.numbers[name].value

    @property
    def unchecked(self) -> int:
        """How many numbers were not read in their source's own text."""
        return sum(not number.checked for number in self.numbers.values())

    @property
    def before(self) -> "Inputs":
        """The numbers as they were."""
        return replace(self, numbers=self.numbers | self.earlier)

    @classmethod
    def load(cls, path: Path = PATH, measured: Path = MEASURED) -> "Inputs":
        """Reads the file, and the page of what was measured.

        Raises TypeError where a number has not what `Number` needs, or more, and KeyError where the page has no such
        row.
        """
        groups = tomllib.loads(path.read_text(encoding="utf-8"))
        page = measured.read_text(encoding="utf-8")
        as_of, earlier = groups.pop("as_of"), groups.pop(_BEFORE, {})
        return cls(as_of, _numbers(groups, page), _numbers(earlier, page))


def _numbers(groups: Mapping[str, Mapping[str, dict[str, Any]]], page: str) -> dict[str, Number]:
    return {
        f"{group}.{name}": _number(entry, page) for group, entries in groups.items() for name, entry in entries.items()
    }


def _number(entry: dict[str, Any], page: str) -> Number:
    if "row" not in entry:
        return Number(**entry)
    return Number(value=_seconds(entry["row"], page), **{key: value for key, value in entry.items() if key != "row"})


def _seconds(row: str, page: str) -> float:
    found = re.search(rf"^\| {re.escape(row)} \| ([\d.]+) \|", page, re.MULTILINE)
    if not found:
        raise KeyError(f"no row {row!r} in the page of what was measured")
    return float(found[1]) / 1000
