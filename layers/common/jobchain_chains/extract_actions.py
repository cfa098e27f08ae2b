"""Lists what a text asks somebody to do, with the owner and the date where it names them."""

from typing import Annotated, Any, TypedDict

from pydantic import Field

from jobchain.chains.author_types import Mention, PayloadField, Quote, SameAs, Table
from jobchain.chains.authoring import Chain
from jobchain.chains.chain import merge_lists
from jobchain.chains.fields import Answer, Line, Text, entries
from jobchain.chains.long_texts import Long

_PROMPTS = "prompts/extract_actions"
_MOST_ACTIONS = 100


class Action(Answer):
    """A thing that somebody is to do."""

    source: Quote = Field(description="The sentence of the document that it comes from, word for word.")
    action: Line = Field(description="What is to be done, in one sentence.")
    owner: Mention | None = Field(description="Who is to do it, as the document names them; null if it does not.")
    due: Mention | None = Field(description="By when, in the document's own words; null if it does not say.")


class ShownActions(TypedDict):
    """The actions in the result: as records, and as a table."""

    actions: list[Action]
    actions_markdown: Annotated[Table, SameAs("actions")]


Actions = Annotated[list[Action], entries(0, _MOST_ACTIONS), Field(description="In the document's order.")]

chain = Chain("extract_actions", effort="low")


def _merge(parts: list[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    return merge_lists(parts, lambda action: f"{action['action']} {action['owner']} {action['due']}")[:_MOST_ACTIONS]


def _show(actions: list[Any]) -> ShownActions:
    rows = [(action["action"], action["owner"] or "", action["due"] or "") for action in actions]
    return {"actions": actions, "actions_markdown": Table.of(("Action", "Owner", "Due"), rows)}


@chain.ask(
    prompt=f"{_PROMPTS}/actions.md",
    max_output_tokens=12_000,
    show=_show,
    long=Long(part=f"{_PROMPTS}/actions_part.md", merge=_merge, max_output_tokens=8_000),
)
def actions(document: Annotated[Text, PayloadField("text")]) -> Actions:
    """What somebody is to do."""
