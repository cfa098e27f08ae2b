"""The types of an answer: what the strict schema makes of each, what an answer becomes, and what is stored of it."""

import json
from datetime import date, datetime
from enum import Enum
from typing import Annotated, Any, Literal

import jsonschema
import pytest
from pydantic import BaseModel, Field, JsonValue, ValidationError

from jobchain import Chain, Checklist, Heading, Line, Mention, Mermaid, Name, Quote, Table, Text
from jobchain.chains.chain import Step, StepContext
from jobchain.chains.fields import Entries
from jobchain.chains.outputs import reader
from jobchain.strict_schema import schema_name, strict_schema
from jobchain.testing import Raw, run_chain

TEXT = "Anna locks the doors by Friday.\n\nWindows should be closed."


class Level(Enum):
    """How much it matters."""

    LOW = "low"
    HIGH = "high"


class Point(BaseModel):
    """A point of the text."""

    text: str
    level: Level = Level.LOW


class Sourced(BaseModel):
    source: Quote
    others: list[Quote] = []
    maybe: Quote | None = None


class Owned(BaseModel):
    owner: Mention | None
    due: Mention | None = None


class Nested(BaseModel):
    point: Point = Field(description="The first.")
    points: list[Point]
    drawing: Mermaid


def step_of(annotation: Any) -> Step:
    chain = Chain("guide", description="")

    def found(document: Text) -> Any:
        """Find it."""

    found.__annotations__["return"] = annotation
    chain.ask(found)
    (step,) = chain.compiled.calls
    return step


def schema_of(annotation: Any) -> Any:
    """The schema of the one field that holds a value of the type."""
    return strict_schema(step_of(annotation).answer)["properties"]["found"]


def output_of(annotation: Any, answer: Any) -> JsonValue:
    """What is stored of a model's answer."""
    step = step_of(annotation)
    read = step.answer.model_validate_json(json.dumps(answer), extra="forbid")
    return step.read_answer(read, StepContext(payload_of(step), {}))


def payload_of(step: Step) -> Any:
    class Payload(BaseModel):
        document: str = TEXT

    return Payload()


class TestASchema:
    @pytest.mark.parametrize(
        ("annotation", "schema"),
        [
            (str, {"type": "string"}),
            (Line, {"type": "string"}),
            (Name, {"type": "string"}),
            (int, {"type": "integer"}),
            (float, {"type": "number"}),
            (bool, {"type": "boolean"}),
            (date, {"type": "string", "description": "A date such as 2026-11-29."}),
            (datetime, {"type": "string", "description": "A time such as 2026-11-29T14:30:00Z."}),
            (Literal["a", "b"], {"type": "string", "enum": ["a", "b"]}),
            (Literal["a"], {"type": "string", "enum": ["a"]}),
            (Literal[1, 2], {"type": "integer", "enum": [1, 2]}),
            (int | None, {"anyOf": [{"type": "integer"}, {"type": "null"}]}),
            (int | str, {"anyOf": [{"type": "integer"}, {"type": "string"}]}),
            (list[str], {"type": "array", "items": {"type": "string"}}),
            (list[list[int]], {"type": "array", "items": {"type": "array", "items": {"type": "integer"}}}),
            (Annotated[int, Field(ge=1, le=5)], {"type": "integer", "description": "1 to 5."}),
            (Annotated[float, Field(gt=0)], {"type": "number", "description": "More than 0."}),
            (Annotated[int, Field(multiple_of=5)], {"type": "integer", "description": "A multiple of 5."}),
            (
                Annotated[list[str], Field(min_length=1, max_length=9, description="The names.")],
                {"type": "array", "items": {"type": "string"}, "description": "The names. 1 to 9 entries."},
            ),
            (
                Annotated[str, Field(max_length=9, pattern="^A")],
                {"type": "string", "description": "At most 9 characters. It matches the regular expression ^A"},
            ),
        ],
    )
    def test_has_types_and_choices_and_tells_limits_in_words(self, annotation: Any, schema: dict[str, Any]) -> None:
        assert schema_of(annotation) == schema

    def test_of_an_enum_has_its_values(self) -> None:
        schema = strict_schema(step_of(list[Level]).answer)

        assert schema["$defs"]["Level"] == {
            "type": "string",
            "enum": ["low", "high"],
            "description": "How much it matters.",
        }

    def test_of_a_model_requires_every_field_and_allows_no_other(self) -> None:
        schema = strict_schema(step_of(Point).answer)

        assert (schema["required"], schema["additionalProperties"]) == (["text", "level"], False)
        assert "default" not in json.dumps(schema)

    def test_has_no_word_beside_a_reference(self) -> None:
        schema = strict_schema(step_of(Nested).answer)

        assert schema["properties"]["point"]["description"] == "The first."
        assert schema["properties"]["point"]["properties"]["text"] == {"type": "string"}
        assert schema["properties"]["points"]["items"] == {"$ref": "#/$defs/Point"}

    @pytest.mark.parametrize(
        "annotation", [str, list[Point], Point, Nested, Mermaid, Table, Checklist[Point], list[Sourced]]
    )
    def test_is_one_object_that_is_valid_and_keeps_to_what_every_strict_mode_takes(self, annotation: Any) -> None:
        step = step_of(annotation)
        schema = strict_schema(step.answer)

        jsonschema.Draft202012Validator.check_schema(schema)
        assert (schema["type"], schema["additionalProperties"]) == ("object", False)
        assert words_of(schema) <= {
            *(
                "$defs",
                "$ref",
                "additionalProperties",
                "anyOf",
                "description",
                "enum",
                "items",
                "properties",
                "required",
            ),
            "type",
        }
        assert schema_name(step.answer).isidentifier()

    def test_of_a_diagram_has_its_nodes_and_edges(self) -> None:
        assert list(strict_schema(step_of(Mermaid).answer)["properties"]) == ["nodes", "edges"]

    def test_of_a_table_has_its_cells(self) -> None:
        assert list(strict_schema(step_of(Table).answer)["properties"]) == ["header", "rows"]


def words_of(schema: Any) -> set[str]:
    inner = [*schema.get("$defs", {}).values(), *schema.get("properties", {}).values(), *schema.get("anyOf", ())]
    inner += [schema["items"]] if "items" in schema else []
    return set(schema).union(*map(words_of, inner))


NODES = [{"id": "a", "label": "Lock", "kind": "step"}]


class TestAnAnswer:
    @pytest.mark.parametrize(
        ("annotation", "answer", "stored"),
        [
            (str, " One.\n\n\n\nTwo. \n", "One.\n\nTwo."),
            (Line, "One\n two", "One two"),
            (int, 3, 3),
            (bool, True, True),
            (int | None, None, None),
            (date, "2026-11-29", "2026-11-29"),
            (Literal["a", "b"], "b", "b"),
            (Level, "high", "high"),
            (list[Level], ["high"], ["high"]),
            (list[Point], [{"text": "x", "level": "low"}], [{"text": "x", "level": "low"}]),
            (Annotated[int, Field(ge=1, le=5)], 5, 5),
        ],
    )
    def test_becomes_json_as_it_is(self, annotation: Any, answer: Any, stored: JsonValue) -> None:
        assert output_of(annotation, {"found": answer}) == stored

    def test_of_a_model_is_the_model(self) -> None:
        assert output_of(Point, {"text": "x", "level": "high"}) == {"text": "x", "level": "high"}

    def test_of_a_diagram_becomes_mermaid(self) -> None:
        assert output_of(Mermaid, {"nodes": NODES, "edges": []}) == 'flowchart TD\n    n1["Lock"]\n'

    def test_of_a_table_becomes_markdown_with_as_many_cells_in_each_row(self) -> None:
        answer = {"header": ["A", "B"], "rows": [["1"], ["<b>", "2", "3"]]}

        assert output_of(Table, answer) == "| A | B |\n| --- | --- |\n| 1 |  |\n| &#60;b&#62; | 2 |\n"

    def test_has_a_diagram_inside_a_model_too(self) -> None:
        point = {"text": "x", "level": "low"}
        found = output_of(Nested, {"point": point, "points": [point], "drawing": {"nodes": NODES, "edges": []}})

        assert found == {"point": point, "points": [point], "drawing": 'flowchart TD\n    n1["Lock"]\n'}

    def test_tells_of_each_quote_whether_the_text_has_it(self) -> None:
        answer = {"source": "anna LOCKS the doors", "others": ["Open the doors.", "by Friday"], "maybe": None}

        assert output_of(list[Sourced], {"found": [answer]}) == [
            {**answer, "source_found": True, "others_found": [False, True], "maybe_found": None}
        ]

    def test_has_no_mention_that_the_text_does_not_have(self) -> None:
        assert output_of(Owned, {"owner": "Anna", "due": "Friday"}) == {"owner": "Anna", "due": "Friday"}
        assert output_of(Owned, {"owner": "Bob", "due": "2026-11-29"}) == {"owner": None, "due": None}

    @pytest.mark.parametrize(
        ("annotation", "answer"),
        [
            (str, " \n"),
            (int, "x"),
            (Annotated[int, Field(ge=1, le=5)], 6),
            (Literal["a", "b"], "c"),
            (Annotated[list[str], Field(max_length=1)], ["a", "b"]),
            (Annotated[list[str], Entries(1, 2)], []),
            (list[Point], [{"text": "x", "level": "low", "more": 1}]),
            (list[Sourced], [{"source": "x" * 5_001, "others": [], "maybe": None}]),
        ],
    )
    def test_that_does_not_fit_is_refused(self, annotation: Any, answer: Any) -> None:
        with pytest.raises(ValidationError):
            output_of(annotation, {"found": answer})

    def test_that_does_not_fit_is_asked_for_again_with_the_complaint(self) -> None:
        chain = Chain("guide", description="")

        @chain.ask
        def level(document: Text) -> Annotated[int, Field(ge=1, le=5)]:
            """Rate it."""

        said = iter([9, Raw("none"), 4])
        run = run_chain(chain, {"document": TEXT}, {"level": lambda _: next(said)})

        assert run.result == {"level": 4}
        assert [attempt.outcome for attempt in run.job.attempts] == ["unusable_answer", "unusable_answer"]
        assert "level: Input should be less than or equal to 5" in run.calls[1].request.input


class TestAStoredOutput:
    def test_comes_back_with_its_types(self) -> None:
        stored = output_of(list[Sourced], {"found": [{"source": "the doors", "others": ["no"], "maybe": None}]})

        (read,) = reader(list[Sourced])(stored)

        assert isinstance(read, Sourced)
        assert (read.source, read.source.found, read.others[0].found) == ("the doors", True, False)

    def test_of_a_diagram_comes_back_as_its_text(self) -> None:
        stored = output_of(Mermaid, {"nodes": NODES, "edges": []})

        assert isinstance(reader(Mermaid)(stored), Mermaid)

    def test_of_an_earlier_version_may_have_more_fields(self) -> None:
        (read,) = reader(list[Point])([{"text": "x", "level": "high", "dropped": 1}])

        assert read == Point(text="x", level=Level.HIGH)

    def test_with_headings_is_grouped_by_them_where_it_is_shown(self) -> None:
        class Item(BaseModel):
            text: Line
            about: Heading

        chain = Chain("guide", description="")

        @chain.ask
        def items(document: Text) -> Checklist[Item]:
            """List."""

        assert [*chain.compiled.view] == [
            {
                "name": "items",
                "form": "checklist",
                "fields": [{"name": "text", "form": "line"}, {"name": "about", "form": "heading"}],
            }
        ]
