"""What a Markdown or plain text says, in its own words: its blocks, a summary, its obligations.

Nothing is invented: each string is a piece of the text without its markup, with white space folded. The time
that it takes is linear in the text's length.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

Kind = Literal["prose", "item", "cell", "heading"]

MAX_STRING = 1000  # characters of one extracted string, so that a text without a sentence end is not echoed whole
MAX_HEADING = 60  # characters of a heading where it names something, such as a category
NO_HEADING = "General"  # the category of what has no heading above it

_FENCED_CODE = re.compile(r"^[ \t]*(```|~~~)[^`\n]*$.*?(?:^[ \t]*\1[ \t]*$|\Z)", re.MULTILINE | re.DOTALL)
_QUOTE_MARK = re.compile(r"^[ \t]*>[> \t]*", re.MULTILINE)
_SHORT_LINE = re.compile(r"^.{1,59}\n(?=[A-Z])", re.MULTILINE)  # of a list without marks
_ONE_LINE_BLOCK = re.compile(r"^[ \t]*(?:#{1,6}[ \t]|\|).*$", re.MULTILINE)
_ITEM = re.compile(r"^[ \t]*(?:[-*+•]|\d{1,9}[.)])[ \t]+(?:\[[ xX]\][ \t])?", re.MULTILINE)
_HEADING = re.compile(r"#{1,6}[ \t]+(?:\d+[.)][ \t])?")

# Headings without a "#". A longer line is a sentence, whatever it looks like.
_LONGEST_HEADING_LINE = 80
_MOST_HEADING_WORDS = 8
_MOST_TITLE_WORDS = 5  # of a heading that nothing but its shortness tells
_UNDERLINE = re.compile(r"(?:={2,}|-{2,})[ \t]*")
_NO_HEADING_START = re.compile(r"[ \t|#>]|[-*+•][ \t]")
# "1. Access", "2) Access", "1.2 Access", "Section 3: Access".
_NUMBERED = re.compile(
    r"(?:(?i:section|chapter|article|part|annex|appendix) [\dA-Z]{1,4}[.:)]?"
    r"|\d{1,3}[.)]|\d{1,3}(?:\.\d{1,3}){1,5}[.)]?)"
    r"[ \t]+(?=[^\W_a-z])"
)
_BOLD_LINE = re.compile(r"(\*\*|__)(?=\S)([^*_]+)(?<=\S)\1[:：]?")
_ASIDE = re.compile(r"(?:\[!\w+\]|notes?|warning|tip|hint|important|caution|examples?|see also)$", re.IGNORECASE)
# What leads in to a list or goes on from the line before, and names nothing.
_LEADS_IN = re.compile(
    r"\b(?:this|these|those|that|following|below|above|to|of|for|by|with|do|does|it|they|we|you|if|when)\b",
    re.IGNORECASE,
)
_BLANK = re.compile(r"\n\s*\n")

_CODE_SPAN = re.compile(r"(?<!`)`++([^`]++)`++")
_IMAGE = re.compile(r"!\[[^\[\]]*\]\([^()]*\)")
_LINK = re.compile(r"\[([^\[\]]*)\]\((?:[^()]|\([^()]*\))*+\)")
_EMPHASIS = re.compile(r"(?<![\w*])(\*{1,3})(?=\S)([^*]++)(?<=\S)\1|(?<!\w)(_{1,3})(?=\S)([^_]++)(?<=\S)\3(?!\w)")

_NO_ABBREVIATION = r"(?<!\b[A-Z]\.)(?<!e\.g\.)(?<!i\.e\.)(?<!\bvs\.)(?<!\b[DM]r\.)(?<!\bMrs\.)"
_SENTENCE_END = re.compile(
    rf"(?:(?<=[.!?])|(?<=[.!?][\"'”’)\]])){_NO_ABBREVIATION} (?![a-z])"
    r"|(?<=[。！？])(?![」』）”’])|(?<=[。！？][」』）”’])"
)
_OPEN_END = re.compile(r"[.!?;,。！？；，…]$")
_STATEMENT = re.compile(r"[.!。！][\"'”’)\]」』）]?$")

_ORDER = re.compile(
    # At the start, after a label ("Cookies: use …"), or after a condition ("If …, use …").
    r"(?:|[^.:,]{1,60}: |(?:If|When|Where|For|In|On|To|Unless|Before|After|Instead)\b[^.]*?, |Please )"
    r"(?:(?P<strict>do not|don['’]t|never|always|ensure|make sure|must|shall|be sure)"
    r"|use|avoid|verify|validate|set|enable|disable|require|limit|keep|store|encrypt|implement|apply|define|review"
    r"|check|restrict|prefer|remove|follow|log|monitor|test|configure|protect|consider|add|include|create|identify"
    r"|perform|provide|choose|select|rotate|update|report|send|escape|encode|reject|separate|assess|maintain|treat"
    r"|adopt|enforce|write|prevent|deny|start|stop|read|train|ask|call|notify|announce|replace|return|lock"
    r")\b(?!-| of\b)",
    re.IGNORECASE,
)
# Not preceded by "that": "a rule that must be kept" describes, it does not oblige.
_MUST = re.compile(r"\b(?<!that )(?:must|shall|mandatory|(?:is|are) required(?!,))\b", re.IGNORECASE)
_SHOULD = re.compile(r"\b(?<!that )(?:should|recommended|ought to|make sure)\b", re.IGNORECASE)
_MILD = re.compile(r"\b(?:(?<!was )(?:never|always)|(?<!not )(?<!no )(?<!n['’]t )(?<!that )needs? to)\b", re.IGNORECASE)
_OWNER = re.compile(
    r"(?:^|: |\()@(\w+)|\b(?i:owner|assignee|assigned to|responsible):? ([A-Z]\w+(?: [A-Z]\w+)?)"
    # "Alice will …", but not "It will …" nor "Browsers will …".
    r"|^(?!(?:It|That|They|We|You|He|She|There)\b)([A-Z]\w*[^\W_sS](?: [A-Z]\w+)?) will\b"
)
_MONTH = r"(?:Jan|Feb|Mar|Apr|May|June?|July?|Aug|Sep|Oct|Nov|Dec)[a-z]*"
_DUE = re.compile(
    r"\b(?:by|before|until|due|deadline|no later than|on):? ((?:next |this )?(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day"
    r"|(?:the )?end of (?:the |this |next )?(?:day|week|month|quarter|year)|tomorrow|\d{4}-\d\d-\d\d"
    rf"|(?:\d{{1,2}} {_MONTH}|{_MONTH} \d{{1,2}})(?:,? \d{{4}})?)\b"
)
_EXAMPLE = re.compile(r"(?:for )?(?:example|instance)\b", re.IGNORECASE)
_REFERENCE = re.compile(
    r".*\b(?:see|check out|refer to|(?:more|further) (?:information|details)|https?:)", re.IGNORECASE
)
_LEANS_BACK = re.compile(
    r"(?:this(?! (?:document|article|guide|guideline|page|policy|cheat)\b)|that|these|those|it|they|however|but|and"
    r"|then|therefore|thus|also|additionally|furthermore|instead|such|note|in addition|(?:for )?example)\b",
    re.IGNORECASE,
)
_VERB = re.compile(r"\b(?:is|are|was|were|be|has|have|can|could|may|might|must|should|will|would|does?)\b")


@dataclass(frozen=True)
class Passage:
    """A block or a sentence of a text, without markup, and the heading that it stands under."""

    text: str
    kind: Kind
    heading: str = ""


@lru_cache(maxsize=4)
def read(text: str) -> tuple[Passage, ...]:
    """The blocks of a text in order. Code blocks, images and blocks of nothing but links are left out."""
    found = []
    heading = ""
    for block in _BLANK.split(_separated(text)):
        kind, parts = _classified(block.strip())
        for part in parts:
            plain = _plain(part)
            if kind == "heading":
                heading = plain
            if _has_words(plain if kind == "heading" else _LINK.sub("", part)):
                found.append(Passage(plain, kind, heading))
    return tuple(found)


def sentences(text: str) -> list[Passage]:
    """A text's sentences, each once, but for headings and what ends with a colon: it leads in to something else."""
    found = [
        replace(block, text=cut(part, MAX_STRING))
        for block in read(text)
        for part in _SENTENCE_END.split(block.text)
        if block.kind != "heading" and _has_words(part) and not part.endswith((":", "："))
    ]
    return _distinct(found)


def strength(sentence: str) -> int:
    """How strongly a sentence obliges: 3 must, 2 should, 1 an order such as "use", 0 not at all."""
    if sentence.endswith(("?", "？")) or _EXAMPLE.match(sentence):
        return 0
    order = _ORDER.match(sentence)
    if _MUST.search(sentence) or (order and order["strict"]):
        return 3
    if _SHOULD.search(sentence):
        return 2
    is_order = order and not _REFERENCE.match(sentence)
    return 1 if is_order or _MILD.search(sentence) or owner(sentence) else 0


def owner(sentence: str) -> str | None:
    """Who is to do it, where the sentence names somebody."""
    match = _OWNER.search(sentence)
    return next(filter(None, match.groups())) if match else None


def due(sentence: str) -> str | None:
    """The day by which it is to be done, as the sentence names it."""
    match = _DUE.search(sentence)
    return match[1] if match else None


def summarize(text: str) -> str:
    """Three to eight of the text's most informative sentences, in order; all of them if there are fewer.

    Each heading's are a paragraph.
    """
    found = sentences(text)
    prose = [one for one in found if one.kind == "prose" and _STATEMENT.search(one.text)]
    pool = prose if len(prose) >= 3 else [one for one in found if one.kind != "cell"] or found or steps(text, 8)
    chosen = _best(pool, min(8, 3 + len(pool) // 5))
    paragraphs: dict[str, list[str]] = {}
    for one in chosen:
        ends = _STATEMENT.search(one.text) or one is chosen[-1]
        paragraphs.setdefault(one.heading, []).append(one.text if ends else f"{one.text}.")
    return "\n\n".join(" ".join(sentences) for sentences in paragraphs.values())


def obligations(text: str, limit: int) -> list[Passage]:
    """Up to `limit` sentences that oblige somebody, in order, the strongest where there are more.

    A text without any gives its steps.
    """
    return _best([one for one in sentences(text) if strength(one.text)], limit) or steps(text, limit)


def steps(text: str, limit: int) -> list[Passage]:
    """Up to `limit` list items of a text, whole and in order; else its best sentences, its headings, or itself."""
    blocks = read(text)
    if items := _distinct(block for block in blocks if block.kind == "item"):
        return [replace(one, text=cut(one.text, MAX_STRING)) for one in items[:limit]]
    headings = _distinct(block for block in blocks if block.kind == "heading")
    itself = [Passage(start, "prose")] if (start := _fold(text)[:MAX_STRING]) else []
    return _best(sentences(text), limit) or (headings[1:] or headings or itself)[:limit]


def title(text: str) -> str:
    """The text's first heading, else its start, in at most `MAX_HEADING` characters."""
    headings = (block.text for block in read(text) if block.kind == "heading")
    return cut(next(headings, _fold(text[:MAX_STRING])), MAX_HEADING)


def category(passage: Passage) -> str:
    """What a passage is filed under, in at most `MAX_HEADING` characters: its heading, else `NO_HEADING`."""
    return cut(passage.heading, MAX_HEADING) or NO_HEADING


def cut(text: str, limit: int) -> str:
    """The start of a text: at most `limit` characters, up to the end of a word where there is one."""
    if len(text) <= limit:
        return text
    start, space, _ = text[: limit + 1].rpartition(" ")
    return start.rstrip(" ,;:") if space and len(start) > limit // 2 else text[:limit]


def key(text: str) -> str:
    """What two texts have in common when they differ in case, punctuation and white space only."""
    return "".join(char for char in text.casefold() if char.isalnum()) or text


def _separated(text: str) -> str:
    """The text without code blocks and quote marks, with a blank line between any two blocks."""
    text = "\n".join(text.replace("\0", "").splitlines())
    text = _with_heading_marks(_QUOTE_MARK.sub("", _FENCED_CODE.sub("\n", text)))
    text = _SHORT_LINE.sub(r"\g<0>\n", text.replace("  \n", "\n\n"))
    return _ITEM.sub(r"\n\g<0>", _ONE_LINE_BLOCK.sub(r"\n\g<0>\n", text))


def _with_heading_marks(text: str) -> str:
    """The text with a "#" before each line that is a heading by its form, and without the lines that underline one."""
    lines = text.split("\n")
    filled = [number for number, line in enumerate(lines) if line.strip()]
    marked = list(lines)
    for place, number in enumerate(filled):
        near = _Near(lines, number, filled[place - 1 : place] if place else [], filled[place + 1 : place + 2])
        if near.is_underlined:
            marked[number : number + 2] = [f"# {near.line}", ""]
        elif heading := _heading_of(near):
            marked[number] = f"# {heading}"
    return "\n".join(marked)


@dataclass(frozen=True, slots=True)
class _Near:
    """A line that has text, by its number, and the numbers of the lines before and after it that have some."""

    lines: Sequence[str]
    number: int
    before: Sequence[int]
    after: Sequence[int]

    @property
    def line(self) -> str:
        return self.lines[self.number].rstrip()

    @property
    def above(self) -> str:
        """The line that is above it, empty or not."""
        return self.lines[self.number - 1].strip() if self.number else ""

    @property
    def below(self) -> str:
        """The line that is below it, empty or not; an indented one goes on from this one."""
        return self.lines[self.number + 1].rstrip() if self.number + 1 < len(self.lines) else ""

    @property
    def previous(self) -> str:
        """The last line before it that has text."""
        return self.lines[self.before[0]] if self.before else ""

    @property
    def next(self) -> str:
        """The first line after it that has text."""
        return self.lines[self.after[0]] if self.after else ""

    @property
    def is_underlined(self) -> bool:
        return not self.above and not _NO_HEADING_START.match(self.line) and bool(_UNDERLINE.fullmatch(self.below))


def _heading_of(near: _Near) -> str | None:
    """The heading that a line without a "#" is by its form, without its marks; None where it is none."""
    line = near.line
    if len(line) > _LONGEST_HEADING_LINE or _NO_HEADING_START.match(line) or near.below[:1].islower():
        return None
    if mark := _NUMBERED.match(line):
        of_a_list = _ITEM.match(line) and (_ITEM.match(near.previous) or _ITEM.match(near.next))
        words = "" if of_a_list or near.below[:1].isspace() else line[mark.end() :]
    elif bold := _BOLD_LINE.fullmatch(line):
        words = bold[2]
    elif line.isupper() and not near.above:
        words = line
    elif line.endswith((":", "：")) or (not near.above and not near.below and _STATEMENT.search(near.next.rstrip())):
        words = line if _is_title(line) else ""
    else:
        return None
    words = words.rstrip(":： ")
    names = len(words) > 1 and len(words.split()) <= _MOST_HEADING_WORDS and not _OPEN_END.search(words)
    return words if names and not _ASIDE.match(words) and not strength(words) else None


def _is_title(line: str) -> bool:
    """Whether a line that has no other mark of a heading reads like one: a few words, and no sentence."""
    short = len(line.split()) <= _MOST_TITLE_WORDS and not line[:1].islower()
    return short and not any(flaw.search(line) for flaw in (_VERB, _LEADS_IN))


def _classified(block: str) -> tuple[Kind, list[str]]:
    if mark := _HEADING.match(block):
        return "heading", [block[mark.end() :]]
    if mark := _ITEM.match(block):
        return "item", [block[mark.end() :]]
    if block.startswith("|"):
        return "cell", block.split("|")
    return "prose", [block]


def _plain(markdown: str) -> str:
    """A piece of Markdown without its markup, white space folded. What stands in code spans is kept as it is."""
    code_spans = iter(_CODE_SPAN.findall(markdown))
    text = _LINK.sub(r"\1", _IMAGE.sub("", _CODE_SPAN.sub("\0", markdown)))
    for _ in range(2):  # bold around italics
        text = _EMPHASIS.sub(r"\2\4", text)
    return _fold(re.sub("\0", lambda _: next(code_spans), text))


def _fold(text: str) -> str:
    return " ".join(text.split())


def _has_words(text: str) -> bool:
    return any(map(str.isalnum, text))


def _words(text: str) -> set[str]:
    """What a text is about: its numbers and its words, without the short ones that are in any text."""
    return set(re.findall(r"\d+|\w{5,}", text.lower()))


def _distinct(passages: Iterable[Passage]) -> list[Passage]:
    found: dict[str, Passage] = {}
    for one in passages:
        found.setdefault(key(one.text), one)
    return list(found.values())


def _best(pool: Sequence[Passage], limit: int) -> list[Passage]:
    """The best of the pool in order, spread over its headings, without what repeats a better one."""
    counts = Counter(word for one in pool for word in _words(one.text))
    most = max(counts.values(), default=1)
    share = max(2, 2 * limit // max(1, len({one.heading for one in pool})))
    under: Counter[str] = Counter()
    chosen: dict[int, set[str]] = {}
    for index in sorted(range(len(pool)), key=lambda index: -_score(pool[index], counts, most)):
        words, heading = _words(pool[index].text), pool[index].heading
        repeats = any(len(words & other) > 0.6 * len(words | other) for other in chosen.values())
        if under[heading] < share and not repeats:
            chosen[index] = words
            under[heading] += 1
        if len(chosen) == limit:
            break
    return [pool[index] for index in sorted(chosen)]


def _score(one: Passage, counts: Mapping[str, int], most: int) -> float:
    """How much a sentence tells: by its words' frequency in the text, how it obliges, and whether it stands alone.

    `most` is the largest of the `counts`.
    """
    words, obliges = _words(one.text), strength(one.text)
    value = sum(counts[word] for word in words) / most / (len(words) + 4) + 0.25 * obliges
    value -= 0.5 * (not 15 <= len(one.text) <= 300) + 1.5 * (not obliges and not _VERB.search(one.text))
    return value - 0.5 * sum(1 for flaw in (_LEANS_BACK, _REFERENCE) if flaw.match(one.text))
