"""Fills a JSON Schema with passages of texts; what goes where follows from the properties' names.

It knows the keywords that pydantic writes for plain models, as OpenAI's structured outputs take them:
https://platform.openai.com/docs/guides/structured-outputs#supported-schemas
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from local.extract import (
    MAX_HEADING,
    Passage,
    category,
    cut,
    due,
    key,
    obligations,
    owner,
    steps,
    strength,
    summarize,
    title,
)

MAX_ITEMS = 12  # of an array whose schema sets no limit
MAX_NODES = 100  # of a graph whose schema sets no limit
MAX_LABEL = 60  # characters

_KEYWORDS = {"$ref", "$defs", "title", "description", "default", "type", "properties", "required", "items", "minItems"}
_KEYWORDS |= {"additionalProperties", "maxItems", "maxLength", "enum", "const", "anyOf"}
_TITLES = ("title", "heading")
_CATEGORIES = ("category", "section", "topic")
_FINDERS = {"owner": owner, "assignee": owner, "due": due, "due_date": due, "deadline": due}
# The nodes of a graph are a chain: edge 0 leads from node 1 to node 2.
_NODE_OFFSETS = {"id": 1, "source": 1, "target": 2}
# The two lists that are compared, by what a schema may call them.
_ONLY = {"only_a": 0, "only_first": 0, "only_b": 1, "only_second": 1}
# Words for what does not oblige, what obliges by "should" or as an order, and by "must".
_WEAK, _MEDIUM = {"low", "optional", "may"}, {"medium", "recommended", "should"}
_LEVELS = (_WEAK, _MEDIUM, _MEDIUM, {"high", "critical", "required", "must"})
_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True)
class _Place:
    """Where in the answer a value goes, and the passage that it is about: none means the whole text."""

    name: str = ""
    passage: Passage | None = None
    number: int = 0  # of the array's element that the value belongs to
    graph: bool = False  # whether it is an edge's, so that its source is a node


def fill(schema: Mapping[str, Any], texts: Sequence[str]) -> Any:
    """An instance of `schema` out of `texts`. Raises ValueError, which says what of it is not supported."""
    return _Answer(schema.get("$defs", {}), texts).value(schema, _Place())


class _Answer:
    def __init__(self, definitions: Mapping[str, Any], texts: Sequence[str]) -> None:
        self.definitions = definitions
        self.texts = texts
        self.text = "\n\n".join(texts)

    @cached_property
    def whole(self) -> Passage:
        return Passage(summarize(self.text), "prose", title(self.text))

    def value(self, schema: Mapping[str, Any], place: _Place) -> Any:
        schema = self.resolved(schema)
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return _choice(schema["enum"], self.about(place).text)
        if "anyOf" in schema:
            return self.any_of(schema["anyOf"], place)
        match schema.get("type"):
            case "object":
                return self.object(schema.get("properties", {}), place)
            case "array":
                return self.array(schema, place)
            case "string":
                text = self.string(place)
                return cut(text, schema.get("maxLength", len(text)))
            case "integer" | "number":
                return place.number + _NODE_OFFSETS[place.name] if place.graph and place.name in _NODE_OFFSETS else 0
            case "boolean":
                return False
            case "null":
                return None
        raise ValueError(f"the schema's type {schema.get('type')!r} is not supported")

    def resolved(self, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        """The schema with its `$ref` followed and its keywords checked."""
        if "$ref" in schema:
            schema = {**self.definitions[schema["$ref"].removeprefix("#/$defs/")], **schema}
        if unknown := sorted(set(schema) - _KEYWORDS):
            raise ValueError(f"the schema's keyword {unknown[0]!r} is not supported")
        return schema

    def about(self, place: _Place) -> Passage:
        return place.passage or self.whole

    def any_of(self, branches: Sequence[Mapping[str, Any]], place: _Place) -> Any:
        """The first branch that is not null; null where it may be, unless the text names the owner or the date."""
        others = [branch for branch in branches if branch.get("type") != "null"]
        find = _FINDERS.get(place.name)
        if len(others) < len(branches) and not (find and find(self.about(place).text)):
            return None
        return self.value(others[0], place)

    def object(self, properties: Mapping[str, Any], place: _Place) -> dict[str, Any]:
        graph = "source" not in properties or "target" in properties
        filled = {
            name: self.value(properties[name], replace(place, name=name.lower(), graph=graph)) for name in properties
        }
        if "nodes" in filled and "edges" in filled:
            filled["edges"] = filled["edges"][: max(0, len(filled["nodes"]) - 1)]
        return filled

    def array(self, schema: Mapping[str, Any], place: _Place) -> list[Any]:
        items = schema.get("items", {})
        default = MAX_NODES if place.name in ("nodes", "edges") else MAX_ITEMS
        passages = self.passages(items, place, schema.get("maxItems", default))
        chosen = passages or [Passage("", "prose")]
        return [
            self.value(items, replace(place, passage=chosen[number % len(chosen)], number=number))
            for number in range(max(len(passages), schema.get("minItems", 0)))
        ]

    def passages(self, items: Mapping[str, Any], place: _Place, limit: int) -> list[Passage]:
        """What an array is filled from, one passage for each element."""
        if place.passage:  # An array inside an element: objects could nest without end.
            return [place.passage] * (self.resolved(items).get("type") == "string")
        match place.name:
            case "nodes":
                return steps(self.text, limit)
            case "edges":
                return [Passage("", "prose") for _ in steps(self.text, limit + 1)[1:]]
            case "contradictions":
                return [Passage(first.text, "prose") for first, _ in self.contradictions[:limit]]
            case "actions":
                return [one for one in obligations(self.text, limit) if strength(one.text)]
            case "both" if len(self.texts) == 2:
                first, second = self.compared
                return [first[one] for one in first if one in second][:limit]
            case "only_a" | "only_b" | "only_first" | "only_second" if len(self.texts) == 2:
                mine, others = self.compared[_ONLY[place.name]], self.compared[1 - _ONLY[place.name]]
                contradicted = [pair[_ONLY[place.name]] for pair in self.contradictions]
                return [mine[one] for one in mine if one not in others and mine[one] not in contradicted][:limit]
        return obligations(self.text, limit)

    @cached_property
    def compared(self) -> list[dict[str, Passage]]:
        """What each text obliges to, by what is the same in other words."""
        return [{key(one.text): one for one in obligations(text, MAX_NODES)} for text in self.texts]

    @cached_property
    def contradictions(self) -> list[tuple[Passage, Passage]]:
        """The obligations of two texts that are the same but for their numbers: more, extraction can't tell."""
        if len(self.texts) != 2:
            return []
        first, second = self.compared
        others = {_NUMBER.sub("#", one): second[one] for one in second if one not in first}
        pairs = ((first[one], others.get(_NUMBER.sub("#", one))) for one in first if one not in second)
        return [(mine, other) for mine, other in pairs if other]

    def contradicting(self, first: Passage, place: _Place) -> str:
        """What contradicts `first`, or by which numbers; itself where nothing does."""
        second = next((second for one, second in self.contradictions if one.text == first.text), first)
        if place.name == "second":
            return second.text
        return " ≠ ".join(", ".join(_NUMBER.findall(one.text)) for one in (first, second))

    def string(self, place: _Place) -> str:
        about = self.about(place)
        if place.graph and place.name in _NODE_OFFSETS:
            return f"n{place.number + _NODE_OFFSETS[place.name]}"
        if find := _FINDERS.get(place.name):
            return find(about.text) or ""
        if place.name in ("second", "explanation"):
            return self.contradicting(about, place)
        if place.name in _TITLES:
            return cut(about.heading, MAX_HEADING) or self.whole.heading
        if place.name in _CATEGORIES:
            return category(about)
        if place.name == "label" and len(about.text) > MAX_LABEL:
            return cut(about.text, MAX_LABEL - 1) + "…"
        return about.text


def _choice(values: Sequence[Any], text: str) -> Any:
    """The level that fits how strongly the text obliges, else a value that it names, else the first."""
    words = set(re.findall(r"\w+", text.lower()))
    fitting = [value for value in values if value in _LEVELS[strength(text)]]
    return next(iter(fitting + [value for value in values if str(value).lower() in words]), values[0])
