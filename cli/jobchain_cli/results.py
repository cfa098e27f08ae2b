"""Results as a person reads them: each part in the form that the API tells of it, whatever the chain.

docs/reference/chain-types.md lists the forms. A part without one is shown by what it is: a text, a list, an object.
Nothing that a model wrote controls a terminal, or is markup.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import unescape
from typing import Any

from jobchain.markdown import escaped
from jobchain_cli.words import in_one_line, printable

# Fields whose value is a word about an entry, in brackets behind it.
_TAGS = ("choice", "flag", "number")


@dataclass(frozen=True, slots=True)
class _Part:
    """One part of a result. `title` is the shortest of its name and the names of those that say the same."""

    title: str
    value: Any
    form: str = ""
    fields: Sequence[Mapping[str, Any]] = field(default=())


def result_lines(result: Mapping[str, Any], view: Iterable[Any] = ()) -> Iterator[str]:
    """The result as text: the name of each part, and what it has. `view` is how the API says to show it."""
    for part in _parts(result, view, shows_tables=False):
        title = _title(part.title) + (" (Mermaid)" if part.form == "diagram" else "")
        yield from ("", title, "", *_lines(part, "[ ] "))


def markdown_lines(result: Mapping[str, Any], title: str, view: Iterable[Any] = ()) -> Iterator[str]:
    """The result as Markdown: a section for each part, boxes for a checklist, a fence for a diagram."""
    yield f"# {in_one_line(title)}"
    for part in _parts(result, view, shows_tables=True):
        yield from ("", f"## {_title(part.title)}", "")
        if part.form == "diagram" and isinstance(part.value, str):
            yield from ("```mermaid", printable(part.value).rstrip("\n").replace("```", "'''"), "```")
        elif part.form == "table" and isinstance(part.value, str):
            # Its texts are escaped.
            yield printable(part.value).rstrip("\n")
        else:
            plain = _Part(part.title, _without_markup(part.value), part.form, part.fields)
            yield from _lines(plain, "- [ ] ", heading="### {}")


@dataclass(frozen=True, slots=True)
class ShownPart:
    """A part of a result as text: its name in the result, a title for it, its form, and what it says."""

    name: str
    title: str
    form: str
    text: str


def shown_parts(result: Mapping[str, Any], view: Iterable[Any] = ()) -> Iterator[ShownPart]:
    """The parts of a result as `result_lines` has them."""
    for part in _parts(result, view, shows_tables=False):
        text = "\n".join(line for line in _lines(part, "[ ] ")).strip("\n")
        yield ShownPart(part.title, _title(part.title), part.form, text)


def _parts(result: Mapping[str, Any], view: Iterable[Any], *, shows_tables: bool) -> Iterator[_Part]:
    """The parts to show. Of those that say the same it is the fullest, or, if it `shows_tables`, a table."""
    known = {str(entry.get("name")): entry for entry in view if isinstance(entry, dict)}
    hidden: dict[str, str] = {}
    for name, entry in known.items():
        fuller = str(entry.get("same_as"))
        if name in result and fuller in result and "same_as" not in known.get(fuller, {}):
            shows_this = shows_tables and entry.get("form") == "table"
            hidden |= {fuller: name} if shows_this else {name: fuller}
    names = {shown: min((shown, *(each for each, by in hidden.items() if by == shown)), key=len) for shown in result}
    for name in dict.fromkeys([*(name for name in known if name in result), *result]):
        if name not in hidden:
            entry = known.get(name, {})
            fields = [each for each in entry.get("fields") or () if isinstance(each, dict)]
            yield _Part(names[name], result[name], str(entry.get("form") or ""), fields)


def _lines(part: _Part, box: str, heading: str = "{}") -> Iterator[str]:
    if part.form == "checklist" and isinstance(part.value, list):
        yield from _checklist(part, box, heading)
    elif part.form == "table" and isinstance(part.value, str):
        yield from [*_rows(part.value)] or _plain(part.title, part.value)
    else:
        yield from _plain(part.title, part.value)


def _checklist(part: _Part, box: str, heading: str) -> Iterator[str]:
    """The entries with a box each, below their headings."""
    by_heading = next((str(each.get("name")) for each in part.fields if each.get("form") == "heading"), "")
    # Those without a heading come first, so that they are below none.
    groups: dict[str, list[Any]] = {"": []}
    for entry in part.value:
        name = entry.get(by_heading) if isinstance(entry, dict) else None
        groups.setdefault(in_one_line(name or ""), []).append(entry)
    filled = [(name, entries) for name, entries in groups.items() if entries]
    for number, (name, entries) in enumerate(filled):
        if name and len(filled) > 1:
            yield from ([""] if number else [])
            yield heading.format(name)
            yield from [""] if heading != "{}" else []
        yield from (f"{box}{_ticked(entry, part.fields)}" for entry in entries)


def _ticked(entry: Any, fields: Sequence[Mapping[str, Any]]) -> str:
    """An entry of a checklist: its text, its tags, and the quotes that the text does not contain."""
    if not isinstance(entry, dict):
        return _item(entry)
    named = {str(each.get("name")): str(each.get("form")) for each in fields}
    texts = [_item(entry[name]) for name, form in named.items() if form == "line" and entry.get(name)]
    tags = [_item(entry[name]) for name, form in named.items() if form in _TAGS and entry.get(name) is not None]
    doubtful = [
        f"{_title(str(each.get('name'))).lower()} not in the text"
        for each in fields
        if each.get("form") == "quote" and entry.get(each.get("found")) is False
    ]
    if not texts:
        return _item(entry)
    more = [*texts[1:], *tags, *doubtful]
    return texts[0] + (f" ({', '.join(more)})" if more else "")


def _rows(table: str) -> Iterator[str]:
    """The rows of a Markdown table, in which code has escaped each character that means something."""
    header, *rows = [[in_one_line(unescape(cell)) for cell in line[2:-2].split(" | ")] for line in table.splitlines()]
    for first, *others in rows[1:]:
        more = [f"{name}: {cell}" for name, cell in zip(header[1:], others, strict=False) if cell]
        yield f"- {first}" + (f" ({', '.join(more)})" if more else "")


def _plain(name: str, value: Any) -> Iterator[str]:
    if isinstance(value, list):
        yield from (f"- {_item(item, name.removesuffix('s'))}" for item in value)
    elif isinstance(value, dict):
        for key, part in value.items():
            if isinstance(part, list) and part:
                yield from (f"{_title(key)}:", *_plain(key, part))
            else:
                yield f"{_title(key)}: {_item(part) or 'none'}"
    else:
        yield printable(value).rstrip("\n")


def _item(value: Any, main: str = "") -> str:
    """An item of a list, in one line; of an object its main value, else its first, and the others with their names."""
    if isinstance(value, dict):
        # What is so as it should be, and what repeats another, is left out.
        texts = {key: _item(part) for key, part in value.items() if part is not None and part is not True}
        first = texts.get(main) or next(iter(texts.values()), "")
        more = [f"{_title(key).lower()}: {text}" for key, text in texts.items() if text not in ("", first)]
        return first + (f" ({', '.join(more)})" if more else "")
    if isinstance(value, list):
        return ", ".join(map(_item, value))
    return in_one_line(value)


def _without_markup(value: Any) -> Any:
    """A value whose texts Markdown shows as they are: a viewer would load images and HTML that a model wrote."""
    if isinstance(value, dict):
        # A name is shown with spaces for its underscores: the code of one would hide it.
        return {key if key.isidentifier() else escaped(key): _without_markup(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_without_markup(part) for part in value]
    return escaped(value) if isinstance(value, str) else value


def _title(name: str) -> str:
    return in_one_line(name).replace("_", " ").capitalize()
