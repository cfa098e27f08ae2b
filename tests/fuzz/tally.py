"""What a run of schemathesis has done, so that one that reached nothing does not pass."""

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Tally:
    """The answers, by operation (`GET /jobs`) and status, and how often each link of an answer was followed."""

    answers: dict[str, Counter[int]] = field(default_factory=dict)
    links: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, events: Path) -> "Tally":
        """What schemathesis' report of its events says."""
        tally = cls()
        with events.open(encoding="utf-8") as lines:
            for line in lines:
                if scenario := json.loads(line).get("ScenarioFinished"):
                    tally._add(scenario["recorder"])
        return tally

    def _add(self, recorder: dict[str, Any]) -> None:
        for name, case in recorder.get("cases", {}).items():
            if answer := recorder.get("interactions", {}).get(name, {}).get("response"):
                operation = f"{case['value']['method']} {case['value']['path']}"
                self.answers.setdefault(operation, Counter())[answer["status_code"]] += 1
                self.links.update([case["transition"]["id"]] if case.get("transition") else [])

    def lines(self, document: dict[str, Any]) -> list[str]:
        """All of it, to be read; the methods that an OpenAPI document does not name stand in one line."""
        operations = _operations(document)
        others = sum((counts for name, counts in self.answers.items() if name not in operations), Counter[int]())
        answers = [f"  {name:28} {_told(self.answers.get(name, Counter()))}" for name in operations]
        links = [f"  {count:4} {link}" for link, count in sorted(self.links.items())]
        rest = f"  {'other methods':28} {_told(others)}"
        return ["Answers", *answers, rest, "", f"Links followed: {self.links.total()}", *links]

    def unreached(self, document: dict[str, Any]) -> list[str]:
        """The operations of an OpenAPI document that have never answered with success."""
        return [
            name
            for name in _operations(document)
            if not any(200 <= status < 300 for status in self.answers.get(name, ()))
        ]


def _operations(document: dict[str, Any]) -> list[str]:
    return [f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods]


def _told(counts: Counter[int]) -> str:
    return ", ".join(f"{status}: {count}" for status, count in sorted(counts.items())) or "none"
