"""Turns a text, such as the minutes of a meeting, into a list of actions: what is to be done, by whom and by when."""

from typing import Annotated, Any

from pydantic import Field, JsonValue

from jobchain.chains.chain import Chain, LongText, Prompt, Step, StepContext, fence, merge_lists
from jobchain.chains.fields import Answer, Filled, Line, Payload, Text, entries
from jobchain.chains.quotes import original
from jobchain.markdown import table

_MOST_ACTIONS = 100


class ActionsPayload(Payload):
    """What the chain takes."""

    text: Text


class Action(Answer):
    """A thing that somebody is to do."""

    source: Filled = Field(description="The sentence of the document that it comes from, word for word.")
    action: Line = Field(description="What is to be done, in one sentence.")
    owner: Line | None = Field(description="Who is to do it, as the document names them; null if it does not.")
    due: Line | None = Field(description="By when, in the document's own words; null if it does not say.")


class ActionsAnswer(Answer):
    """The only step's answer."""

    actions: Annotated[list[Action], entries(0, _MOST_ACTIONS)] = Field(description="In the document's order.")


def _read_actions(answer: ActionsAnswer, context: StepContext[ActionsPayload]) -> JsonValue:
    text = original(context.payload.text)

    def if_there(name: str | None) -> str | None:
        return name if name and text.has_words_of(name) else None

    return [
        {
            **action.model_dump(),
            "owner": if_there(action.owner),
            "due": if_there(action.due),
            "source_found": text.holds(action.source),
        }
        for action in answer.actions
    ]


def _merge_actions(parts: list[list[dict[str, Any]]]) -> JsonValue:
    return merge_lists(parts, lambda action: f"{action['action']} {action['owner']} {action['due']}")[:_MOST_ACTIONS]


def _show_actions(actions: list[dict[str, Any]]) -> dict[str, JsonValue]:
    rows = [(action["action"], action["owner"] or "", action["due"] or "") for action in actions]
    return {"actions": [*actions], "actions_markdown": table(("Action", "Owner", "Due"), rows)}


EXTRACT_ACTIONS = Chain(
    name="extract_actions",
    description="Lists what a text asks somebody to do, with the owner and the date where it names them.",
    payload=ActionsPayload,
    steps=(
        Step(
            name="actions",
            prompt=Prompt("extract_actions/actions.md"),
            answer=ActionsAnswer,
            write_input=lambda context: fence("document", context.payload.text),
            read_answer=_read_actions,
            show=_show_actions,
            max_output_tokens=12_000,
            long=LongText(
                text=lambda payload: payload.text,
                label="document",
                prompt=Prompt("extract_actions/actions_part.md"),
                merge=_merge_actions,
                max_output_tokens=8_000,
            ),
        ),
    ),
)
