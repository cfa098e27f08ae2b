"""The runbook has a section for each alarm, and the alarm leads there."""

import re
from typing import Any

from tests.conftest import ROOT
from tests.unit.test_docs import anchors

RUNBOOK = ROOT / "docs" / "how-to" / "runbook.md"


def section_of(alarm: str) -> str:
    """The anchor of an alarm's section: `StuckQueueAlarm` has `stuck-queue`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "-", alarm.removesuffix("Alarm")).lower()


def alarms(template: dict[str, Any]) -> list[str]:
    return [name for name, part in template["Resources"].items() if part["Type"] == "AWS::CloudWatch::Alarm"]


def sections() -> dict[str, str]:
    """The sections of the runbook by their anchors."""
    parts = re.split(r"^## +(.*)\n", RUNBOOK.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    return {title.lower().replace(" ", "-"): text for title, text in zip(parts[::2], parts[1::2], strict=True)}


def test_each_alarm_has_a_section_that_says_what_to_type(template: dict[str, Any]) -> None:
    found = sections()
    missing = [f"{alarm}: #{section_of(alarm)}" for alarm in alarms(template) if section_of(alarm) not in found]
    # A section without a command of its own names the section that has it.
    silent = [
        name for name in map(section_of, alarms(template)) if not re.search(r"```sh|\]\(#", found.get(name, "](#"))
    ]

    assert missing == [], "docs/how-to/runbook.md has no section for these alarms"
    assert silent == [], "these sections name no command"


def test_each_alarm_names_its_section(template: dict[str, Any]) -> None:
    descriptions = {alarm: template["Resources"][alarm]["Properties"]["AlarmDescription"] for alarm in alarms(template)}

    wrong = [
        f"{alarm} does not end with docs/how-to/runbook.md#{section_of(alarm)}"
        for alarm, text in descriptions.items()
        if not text.endswith(f"docs/how-to/runbook.md#{section_of(alarm)}")
    ]

    assert wrong == []


def test_each_section_that_an_alarm_names_exists(template: dict[str, Any]) -> None:
    named = {
        anchor
        for alarm in alarms(template)
        for anchor in re.findall(
            r"runbook\.md#([\w-]+)", template["Resources"][alarm]["Properties"]["AlarmDescription"]
        )
    }

    assert named - anchors(RUNBOOK) == set()
