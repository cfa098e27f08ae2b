"""The numbers that the simulation stands on: `inputs.toml`, dated, each with its source."""

import tomllib
from dataclasses import dataclass
from datetime import date
from pathlib import Path

PATH = Path(__file__).resolve().parent.parent / "inputs.toml"


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
    """All numbers, by `group.name`."""

    as_of: date
    numbers: dict[str, Number]

    def __getitem__(self, name: str) -> float:
        """The value of `group.name`. Raises KeyError."""
        return self.numbers[name].value

    @property
    def unchecked(self) -> int:
        """How many numbers were not read in their source's own text."""
        return sum(not number.checked for number in self.numbers.values())

    @classmethod
    def load(cls, path: Path = PATH) -> "Inputs":
        """Reads the file. Raises TypeError where a number has not what `Number` needs, or more."""
        groups = tomllib.loads(path.read_text())
        as_of = groups.pop("as_of")
        numbers = {
            f"{group}.{name}": Number(**entry) for group, entries in groups.items() for name, entry in entries.items()
        }
        return cls(as_of, numbers)
