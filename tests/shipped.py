"""The answers and payloads of the shipped chains, by name: they are made of the steps' types."""

from typing import Any

from pydantic import BaseModel

from jobchain.chains import CHAINS
from jobchain.chains.chain import Step


def answer_of(chain: str, step: str, *, part: bool = False) -> type[BaseModel]:
    """The model of what a step's call answers; of a `part` of a long text, where that is another one."""
    (found,) = (each for each in CHAINS[chain].steps if each.name == step)
    assert isinstance(found, Step)
    if part:
        assert found.long
        assert found.long.answer
        return found.long.answer
    return found.answer


SummaryAnswer = answer_of("guideline_checklist", "summary")
ChecklistAnswer: Any = answer_of("guideline_checklist", "checklist")
DiagramAnswer: Any = answer_of("guideline_checklist", "diagram")
ComparisonAnswer: Any = answer_of("compare_guidelines", "comparison")
GuidelinePayload: Any = CHAINS["guideline_checklist"].payload
ActionsPayload: Any = CHAINS["extract_actions"].payload
ComparePayload: Any = CHAINS["compare_guidelines"].payload
