"""The types of which payloads and answers are made: texts, lines, names, lists, and the bases of both."""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, GetCoreSchemaHandler, StringConstraints, model_validator

from jobchain.text import is_blank

if TYPE_CHECKING:
    from pydantic_core import CoreSchema

MAX_TEXT_LENGTH = 100_000
MAX_LINE_LENGTH = 1_000
MAX_NAME_LENGTH = 60

_MOST_UNKNOWN = 20

_EMPTY_LINES = re.compile(r"\n{3,}")


def without_nul(text: str) -> str:
    """`text`, or ValueError where it holds a NUL."""
    if "\0" in text:
        raise ValueError("holds a NUL character: remove it")
    return text


def not_blank(text: str) -> str:
    """`text`, or ValueError where none of its characters is visible."""
    if is_blank(text):
        raise ValueError("is empty: it has only invisible characters")
    return text


Text = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_TEXT_LENGTH),
    AfterValidator(without_nul),
    AfterValidator(not_blank),
]
"""A text that a chain works on: 1 to `MAX_TEXT_LENGTH` characters after trimming, some of them visible."""


def filled(text: str) -> str:
    """`text` with its white space folded, or ValueError where nothing is left."""
    folded = " ".join(text.split())
    if not folded:
        raise ValueError("is empty: write something here")
    return folded


def paragraphs(text: str) -> str:
    """`text` with its paragraphs kept: one empty line between two, and no white space at the ends of its lines.

    ValueError where nothing is left.
    """
    lines = "\n".join(line.rstrip() for line in text.splitlines())
    return not_blank(_EMPTY_LINES.sub("\n\n", lines).strip())


class Entries(NamedTuple):
    """Checks that an answer's list has `least` to `most` entries."""

    least: int
    most: int

    def check(self, found: list[Any]) -> list[Any]:
        """`found`, or ValueError where it has another number of entries."""
        if not self.least <= len(found) <= self.most:
            raise ValueError(f"has {len(found)} entries: give {self.least} to {self.most}")
        return found

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> "CoreSchema":
        from pydantic_core import core_schema  # noqa: PLC0415  # only a worker needs it

        return core_schema.no_info_after_validator_function(self.check, handler(source))


def entries(least: int, most: int) -> Entries:
    """Checks that an answer's list has `least` to `most` entries."""
    return Entries(least, most)


def _short(text: str) -> str:
    if len(text) > MAX_LINE_LENGTH:
        raise ValueError(f"has {len(text)} characters: give at most {MAX_LINE_LENGTH}")
    return text


def _named(text: str) -> str:
    if len(text) <= MAX_NAME_LENGTH:
        return text
    start = text[: MAX_NAME_LENGTH - 1]
    return (text[:MAX_NAME_LENGTH].rpartition(" ")[0] or start).rstrip(" ,;:") + "…"


# Lengths are checked by validators, which the schema does not show: not every provider's strict mode takes
# keywords such as minLength and maxItems.
Filled = Annotated[str, AfterValidator(filled)]
"""A text of an answer: not blank, white space folded."""

Line = Annotated[Filled, AfterValidator(_short)]
"""A text in a list of an answer: no longer than `MAX_LINE_LENGTH` characters."""

Name = Annotated[Filled, AfterValidator(_named)]
"""A few words of an answer that name something. Longer ones are cut at a word to `MAX_NAME_LENGTH` characters, as a
name that is too long is no reason to call the model again."""


class Sent(BaseModel):
    """Base of what callers send. Each unknown field is refused by its name; more than 20, by their number."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _count_fields(cls, value: Any) -> Any:
        # Before they are looked at: an error for each of 400,000 fields takes seconds.
        if isinstance(value, dict) and len(value) > len(cls.model_fields) + _MOST_UNKNOWN:
            raise ValueError(f"has {len(value)} fields: give only {', '.join(cls.model_fields)}")
        return value


class Payload(Sent):
    """Base of every chain's payload."""

    model_config = ConfigDict(frozen=True)


class Answer(BaseModel):
    """Base of every answer's schema: strict, as OpenAI's structured outputs ask for it.

    https://platform.openai.com/docs/guides/structured-outputs
    """

    # Built when a worker first needs it: the API function loads every chain, and reads no answer.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, defer_build=True)

    @classmethod
    def __pydantic_on_complete__(cls) -> None:
        """Build the answers inside this one too.

        Pydantic would build each of them when it is first dumped. A worker does that in threads, and builds are not
        thread-safe.
        """
        for field in cls.model_fields.values():
            for answer in _answers_in(field.annotation):
                answer.model_rebuild()


def _answers_in(annotation: Any) -> Iterator[type[Answer]]:
    """The answers that a field's type names, such as that of a list's entries."""
    if isinstance(annotation, type) and issubclass(annotation, Answer):
        yield annotation
    for argument in get_args(annotation):
        yield from _answers_in(argument)
