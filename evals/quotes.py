"""Measures the check of quotes: how many real sentences it misses, and how many altered ones it takes.

The sentences are cut without the checker's code, in three ways. As a reader sees them: without markup. As they are
written: with markup, white space folded. From a page: as a reader sees them, while the text is set again in lines of
60 characters, with hyphens at the ends of lines and a footer after each 40 lines.

An altered sentence has one word, number or name changed, or a negation dropped. One that occurs in the document
anyway does not count: the original sentence is taken out of the document's words before looking for it.
"""

import random
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from jobchain.chains.quotes import Original
from jobchain_offline.extract import read, sentences
from local.errors import LocalError

LEAST_WORDS = 3
WIDTH = 60
LINES = 40

_PAGE_BREAK = re.compile(r"\n*[^\n]*\[Page \d+\][ \t]*\n\s*(?:(?:RFC|Internet|INTERNET)[^\n]*\n)?\n*")
_BLANK = re.compile(r"\n\s*\n")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")
_ALNUM = re.compile(r"[^\W_]+")
_NUMBER = re.compile(r"(?<![\w.,])\d+(?:[.,]\d+)*(?![\w])")
_NEGATION = re.compile(r"(?<=\w)n['’]t\b|\b(?:not|never|no|cannot|without)\b ?", re.IGNORECASE)
_NAME = re.compile(r"(?<=[a-z,] )[A-Z][a-z]+\b")

FOOTERS: tuple[Callable[[int], str], ...] = (
    lambda page: (
        f"\n\nPolicy v2                              [Page {page}]\n\f\nPolicy           Rules           March 2026\n\n"
    ),
    lambda page: f"\n\nPage {page} of 90\n\n",
    lambda page: f"\n\n- {page} -\n\n",
    lambda page: f"\n{page}\n\f",
    lambda page: f"\n\n{page}\n\n",
    lambda page: f"\nExample Ltd, confidential                       Page {page}\n\f",
)
"""The ways in which a page ends. Each goes between two lines."""


@dataclass
class Measured:
    """What was looked for, and what the checker said of it."""

    sentences: Counter[str] = field(default_factory=Counter)
    missed: list[tuple[str, str, str]] = field(default_factory=list)
    """The way of cutting, the document and the sentence."""
    altered: Counter[str] = field(default_factory=Counter)
    taken: list[tuple[str, str, str]] = field(default_factory=list)
    """The kind of change, the document and the altered sentence."""
    seconds: float = 0
    """Of the processor, for 1,000 quotes in the longest document, each cut from it; the text's preparation included."""


def measure(folder: Path, wanted: int, seed: int) -> Measured:
    """The checker's figures for the texts (.md, .txt) in `folder`, with up to `wanted` altered sentences.

    Raises LocalError if there is no text.
    """
    paths = sorted(path for path in folder.rglob("*") if path.suffix in {".md", ".txt"})
    if not paths:
        raise LocalError(f"no .md or .txt file in {folder}: name a folder with documents")
    documents = {str(path.relative_to(folder)): path.read_text(encoding="utf-8", errors="replace") for path in paths}
    measured = Measured()
    chance = random.Random(seed)  # noqa: S311  # the same sentences each time
    changes: dict[str, list[tuple[str, str]]] = {kind: [] for kind in ALTERATIONS}
    for name, text in documents.items():
        for way, sought_in, found in cuts(text, random.Random(name)):  # noqa: S311  # as above
            original = Original(sought_in)
            measured.sentences[way] += len(found)
            measured.missed += [(way, name, each) for each in found if not original.holds(each)]
            if way != "page":
                for kind, alter in ALTERATIONS.items():
                    changes[kind] += [(name, changed) for changed in _changed(text, found, alter, chance)]
    _take_altered(documents, changes, wanted, chance, measured)
    measured.seconds = _seconds(max(documents.values(), key=len))
    return measured


def cuts(text: str, chance: random.Random) -> Iterator[tuple[str, str, list[str]]]:
    """Each way of cutting: its name, the text to look in, and the sentences that must be found there."""
    unbroken = without_pages(text)
    as_read = [each.text for each in sentences(unbroken) if _is_sentence(each.text)]
    blocks = [passage.text for passage in read(unbroken)]
    yield "read", text, as_read
    yield "written", text, as_written(unbroken)
    yield "page", on_pages(blocks, chance), [each for each in as_read if not each.endswith("...")]


def as_written(text: str) -> list[str]:
    """The sentences of a text with their markup, white space folded, each once."""
    found = [
        " ".join(part.split())
        for block in _BLANK.split(text)
        for part in _SENTENCE_END.split(block)
        if _is_sentence(part)
    ]
    return list(dict.fromkeys(found))


def without_pages(text: str) -> str:
    """The text of an RFC without its pages' footers and headers; a paragraph that goes on is one."""

    def joined(match: re.Match[str]) -> str:
        return "\n\n" if text[: match.start()].endswith((".", ":", "\n")) else "\n"

    return _PAGE_BREAK.sub(joined, text)


def on_pages(blocks: list[str], chance: random.Random) -> str:
    """The blocks in lines of `WIDTH` characters, with words hyphenated at the ends of lines, on pages with footers."""
    footer = chance.choice(FOOTERS)
    lines = [line for block in blocks for line in (*_lines(block, chance), "")]
    pages = ["\n".join(lines[start : start + LINES]) for start in range(0, len(lines), LINES)]
    return "".join(f"{page}{footer(number)}" for number, page in enumerate(pages, 1))


def _lines(block: str, chance: random.Random) -> Iterator[str]:
    line = ""
    for word in block.split():
        room = WIDTH - len(line) - 2
        if len(word) >= room and room > 3 and len(word) > 7 and word.isalpha():
            cut = chance.randint(3, min(room, len(word) - 3))
            yield f"{line} {word[:cut]}-".lstrip()
            line = word[cut:]
        elif len(word) >= room:
            yield line
            line = word
        else:
            line = f"{line} {word}".lstrip()
    yield line


def _is_sentence(text: str) -> bool:
    return len(_WORD.findall(text)) >= LEAST_WORDS


def _number(sentence: str, _words: list[str], chance: random.Random) -> str:
    """One number gets another digit, one digit more, or one less."""
    found = chance.choice([*_NUMBER.finditer(sentence)])
    number = found[0]
    place = chance.randrange(len(number))
    other = chance.choice(
        [
            number[:-1],
            number + str(chance.randint(0, 9)),
            re.sub(r"\d", lambda digit: str((int(digit[0]) + 1) % 10), number),
            number[:place] + str(chance.randint(1, 9)) + number[place:],
        ]
    )
    return sentence[: found.start()] + (other or "7777") + sentence[found.end() :]


def _negation(sentence: str, _words: list[str], chance: random.Random) -> str:
    found = chance.choice([*_NEGATION.finditer(sentence)])
    return sentence[: found.start()] + ("can " if found[0].lower() == "cannot " else "") + sentence[found.end() :]


def _word(sentence: str, words: list[str], chance: random.Random) -> str:
    found = chance.choice([*_WORD.finditer(sentence)])
    return sentence[: found.start()] + chance.choice(words) + sentence[found.end() :]


def _name(sentence: str, words: list[str], chance: random.Random) -> str:
    found = chance.choice([*_NAME.finditer(sentence)])
    return sentence[: found.start()] + chance.choice(words).capitalize() + sentence[found.end() :]


ALTERATIONS = {
    "word": (_WORD, _word),
    "number": (_NUMBER, _number),
    "name": (_NAME, _name),
    "negation": (_NEGATION, _negation),
}
"""By kind: what a sentence must have, and the function that changes one of these."""

_Alteration = tuple[re.Pattern[str], Callable[[str, list[str], random.Random], str]]


def _changed(text: str, found: list[str], alteration: _Alteration, chance: random.Random) -> Iterator[str]:
    """The sentences of one document that can be altered so, altered; none that the document has anyway."""
    pattern, alter = alteration
    words = _WORD.findall(text)
    folded = folded_words(text)
    for sentence in found:
        if pattern.search(sentence):
            changed = alter(sentence, words, chance)
            original, other = folded_words(sentence), folded_words(changed)
            if other != original and other.strip() and other not in folded.replace(original, " | "):
                yield changed


def folded_words(text: str) -> str:
    """The words and numbers of a text, in lower case, between single spaces."""
    return f" {' '.join(_ALNUM.findall(text.casefold()))} "


def _take_altered(
    documents: dict[str, str],
    changes: dict[str, list[tuple[str, str]]],
    wanted: int,
    chance: random.Random,
    measured: Measured,
) -> None:
    """Look up as many of each kind as of any other, `wanted` in all."""
    originals = {name: Original(text) for name, text in documents.items()}
    for kind, all_of_kind in changes.items():
        chosen = chance.sample(all_of_kind, min(len(all_of_kind), wanted // len(changes)))
        measured.altered[kind] = len(chosen)
        measured.taken += [(kind, name, each) for name, each in chosen if originals[name].holds(each)]


def _seconds(text: str) -> float:
    found = as_written(without_pages(text))
    started = time.process_time()
    original = Original(text)
    for each in found:
        original.holds(each)
    return (time.process_time() - started) / len(found) * 1000


def shown(measured: Measured, examples: int) -> str:
    """The figures in plain lines, with some of the sentences that the checker was wrong about."""
    total, altered = measured.sentences.total(), measured.altered.total()
    lines = [
        f"sentences: {total} ({_counts(measured.sentences)})",
        f"not found: {len(measured.missed)} ({_counts(Counter(way for way, _, _ in measured.missed))})",
        f"altered: {altered} ({_counts(measured.altered)})",
        f"found although altered: {len(measured.taken)} ({_counts(Counter(kind for kind, _, _ in measured.taken))})",
        f"processor seconds for 1,000 quotes in the longest document: {measured.seconds:.3f}",
    ]
    wrong = [*measured.missed[:examples], *measured.taken[:examples]]
    return "\n".join([*lines, *(f"  {kind}, {name}: {sentence[:200]}" for kind, name, sentence in wrong)])


def _counts(counts: Counter[str]) -> str:
    return ", ".join(f"{kind} {count}" for kind, count in sorted(counts.items())) or "none"
