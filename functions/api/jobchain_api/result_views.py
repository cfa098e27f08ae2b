"""How to show a result, as callers get it."""

from pydantic import Field

from jobchain.chains.chain import Chain
from jobchain_api.created_views import LazyView


def _is_none(value: object) -> bool:
    return value is None


class PartView(LazyView):
    """How to show one part of a result."""

    name: str
    form: str = Field(
        description="`text`, `line`, `number`, `flag`, `choice`, `list`, `records`, `record`, `checklist`, `diagram` "
        "(Mermaid), `table` (Markdown) or `value`. A field of records may also be a `heading`, under which entries are "
        "grouped, or a `quote`."
    )
    same_as: str | None = Field(
        default=None, exclude_if=_is_none, description="The part that says the same in a fuller form."
    )
    found: str | None = Field(
        default=None, exclude_if=_is_none, description="The field that says whether the text contains the quote."
    )
    fields: "list[PartView] | None" = Field(default=None, exclude_if=_is_none, description="The fields of each record.")


def part_views(chain: Chain) -> list[PartView]:
    """The parts of the chain's result."""
    return [PartView.model_validate(part) for part in chain.view]
