"""Fills a JSON Schema with passages of texts; what goes where follows from the properties' names.

It knows the keywords that pydantic writes for plain models, as OpenAI's structured outputs take them:
https://platform.openai.com/docs/guides/structured-outputs#supported-schemas
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from jobchain_offline.extract import (
    MAX_HEADING,
    Passage,
    category,
    cut,
    due,
    key,
    obligations,
    owner,
    strength,
    summarize,
    title,
)
from jobchain_offline.graph import Edge, Node, draw

MAX_ITEMS = 12  # of an array whose schema sets no limit
MAX_NODES = 50  # of a graph whose schema sets no limit

_KEYWORDS = {"$ref", "$defs", "title", "description", "default", "type", "properties", "required", "items", "minItems"}
_KEYWORDS |= {"additionalProperties", "maxItems", "maxLength", "enum", "const", "anyOf"}
_TITLES = ("title", "heading")
_CATEGORIES = ("category", "section", "topic")
_FINDERS = {"owner": owner, "assignee": owner, "due": due, "due_date": due, "deadline": due}
# What a schema may call the kind of a graph's node.
_NODE_KINDS = ("kind", "type", "shape")
# The two lists that are compared, by what a schema may call them.
_ONLY = {"only_a": 0, "only_first": 0, "only_b": 1, "only_second": 1}
# Words for what does not oblige, what obliges by "should" or as an order, and by "must".
_WEAK, _MEDIUM = {"low", "optional", "may"}, {"medium", "recommended", "should"}
_LEVELS = (_WEAK, _MEDIUM, _MEDIUM, {"high", "critical", "required", "must"})
_NUMBER = re.compile(r"\d+")
# Limits, which a strict schema can only tell in words.
_LIMITS = re.compile(r"(?:(-?[\d.]+) to (-?[\d.]+?)|At least (-?[\d.]+?)|At most (-?[\d.]+?))( characters| entries)?\.")
_MORE = re.compile(r"More than (-?[\d.]+?)\.(?!\d)")
_MOMENT = re.compile(r"A (?:date|time) such as ([\dT:-]+Z?)\.")


@dataclass(frozen=True)
class _Place:
    """Where in the answer a value goes, and the passage that it is about: none means the whole text."""

    name: str = ""
    passage: Passage | None = None
    drawn: Node | Edge | None = None  # the part of a graph that the value belongs to
    most_nodes: int = MAX_NODES  # of the graph


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
            return self.choice(schema["enum"], place)
        if "anyOf" in schema:
            return self.any_of(schema["anyOf"], place)
        match schema.get("type"):
            case "object":
                return self.object(schema.get("properties", {}), place)
            case "array":
                return self.array(schema, place)
            case "string":
                text = _moment(schema) or self.string(place)
                return cut(text, schema.get("maxLength", _limits(schema, " characters")[1] or len(text)))
            case "integer" | "number":
                return _node_number(place) or _number(schema)
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

    def choice(self, values: Sequence[Any], place: _Place) -> Any:
        """A node's kind, else the value that fits the passage."""
        if isinstance(place.drawn, Node) and place.name in _NODE_KINDS and place.drawn.kind in values:
            return place.drawn.kind
        return _choice(values, self.about(place).text)

    def any_of(self, branches: Sequence[Mapping[str, Any]], place: _Place) -> Any:
        """The first branch that is not null; null where it may be, unless the text names the owner or the date."""
        others = [branch for branch in branches if branch.get("type") != "null"]
        find = _FINDERS.get(place.name)
        if len(others) < len(branches) and not (find and find(self.about(place).text)):
            return None
        return self.value(others[0], place)

    def object(self, properties: Mapping[str, Any], place: _Place) -> dict[str, Any]:
        if "nodes" in properties:
            nodes = self.resolved(properties["nodes"])
            place = replace(place, most_nodes=nodes.get("maxItems", MAX_NODES))
        return {name: self.value(properties[name], replace(place, name=name.lower())) for name in properties}

    def array(self, schema: Mapping[str, Any], place: _Place) -> list[Any]:
        items = schema.get("items", {})
        if place.name in ("nodes", "edges") and not place.passage:
            graph = draw(self.text, place.most_nodes)
            parts: Sequence[Node | Edge] = graph.nodes if place.name == "nodes" else graph.edges
            places = [replace(place, passage=Passage(one.label, "prose"), drawn=one) for one in parts]
            return [self.value(items, one) for one in places[: schema.get("maxItems", len(places))]]
        least, most = _limits(schema, " entries")
        passages = self.passages(items, place, schema.get("maxItems", most or MAX_ITEMS))
        chosen = passages or [Passage("", "prose")]
        return [
            self.value(items, replace(place, passage=chosen[number % len(chosen)]))
            for number in range(max(len(passages), schema.get("minItems", least or 0)))
        ]

    def passages(self, items: Mapping[str, Any], place: _Place, limit: int) -> list[Passage]:
        """What an array is filled from, one passage for each element."""
        if place.passage:  # An array inside an element: objects could nest without end.
            return [place.passage] * (self.resolved(items).get("type") == "string")
        match place.name:
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
        if number := _node_number(place):
            return f"n{number}"
        if find := _FINDERS.get(place.name):
            return find(about.text) or ""
        if place.name in ("second", "explanation"):
            return self.contradicting(about, place)
        if place.name in _TITLES:
            return cut(about.heading, MAX_HEADING) or self.whole.heading
        if place.name in _CATEGORIES:
            return category(about)
        return about.text


def _limits(schema: Mapping[str, Any], unit: str) -> tuple[int | None, int | None]:
    """The least and the most of a unit, as a description tells them: "1 to 5 entries." (`jobchain.strict_schema`)."""
    for found in _LIMITS.finditer(schema.get("description", "")):
        both_least, both_most, least, most, told = found.groups()
        if (told or "") == unit:
            return _whole(both_least or least), _whole(both_most or most)
    return None, None


def _whole(number: str | None) -> int | None:
    return None if number is None else int(float(number))


def _number(schema: Mapping[str, Any]) -> int:
    """0, or the next number that the limits allow."""
    least, most = _limits(schema, "")
    above = _MORE.search(schema.get("description", ""))
    least = int(float(above[1])) + 1 if above else least
    return min(max(0, least if least is not None else 0), most if most is not None else max(0, least or 0))


def _moment(schema: Mapping[str, Any]) -> str | None:
    """The example of a date or a time that a description gives."""
    found = _MOMENT.search(schema.get("description", ""))
    return found[1] if found else None


def _node_number(place: _Place) -> int | None:
    """The number of the node that a value names; None where it names none."""
    match place.drawn, place.name:
        case Node(number=number), "id":
            return number
        case Edge(source=number), "source":
            return number
        case Edge(target=number), "target":
            return number
    return None


def _choice(values: Sequence[Any], text: str) -> Any:
    """The level that fits how strongly the text obliges, else a value that it names, else the first."""
    words = set(re.findall(r"\w+", text.lower()))
    fitting = [value for value in values if value in _LEVELS[strength(text)]]
    return next(iter(fitting + [value for value in values if str(value).lower() in words]), values[0])
