"""No label, id or edge breaks the diagram: every line that is written fits a grammar much narrower than Mermaid's."""

import re
import unicodedata
from html import unescape
from typing import get_args

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jobchain.mermaid import Shape, flowchart

# What is not ASCII, letters, digits, a few signs without a meaning of their own, and entity codes.
LABEL = r"(?:[^\x00-\x7f]|[0-9A-Za-z .,;!?\-+/=()']|#[0-9]{1,7};|#(?:quot|amp|lt|gt);)+"
LINE = re.compile(
    rf'    n[0-9]+(?:\["({LABEL})"\]|\(\["({LABEL})"\]\)|\{{"({LABEL})"\}})'  # a node
    rf'|    n[0-9]+ -->(?:\|"({LABEL})"\|)? n[0-9]+'  # an edge
)
# What an older Mermaid would draw as "Unsupported markdown: list", or "… link".
MARKDOWN = re.compile(r"\s*(\d+[.)]|[-+*])|.*www\.", re.IGNORECASE)
# What Mermaid would take for an entity code: its own spelling of one.
INNER = re.compile("ﬂ°|¶ß")
# What is invisible, or changes the order of what is after it.
INVISIBLE = re.compile("[\u00ad\u061c\u200b\u200e\u200f\u202a-\u202e\u2061-\u206f]")
FLAG_OR_TAG = re.compile(
    "(\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{3,6}\U000e007f)|[\U000e0000-\U000e007f]"
)
# What Mermaid would take for the line's only statement.
DIRECTION = re.compile(r"direction\s+(TB|BT|RL|LR|TD)")

labels = st.text(st.characters(), max_size=40)
ids = st.sampled_from(["a", "b", "", "end", 'a"] --> b["']) | labels


def read(diagram: str) -> list[str]:
    """The labels of a diagram whose every line fits the grammar, as Mermaid shows them."""
    header, *lines, last = diagram.split("\n")
    assert (header, last) == ("flowchart TD", "")
    shown = []
    for line in lines:
        match = LINE.fullmatch(line)
        assert match, line
        assert not DIRECTION.search(line)
        assert not INNER.search(line)
        assert not INVISIBLE.search(line)
        for label in filter(None, match.groups()):
            assert not MARKDOWN.match(label)
            shown.append(re.sub(r"#(\w+);", shown_code, label))
    return shown


def shown_code(code: re.Match[str]) -> str:
    """The character of an entity code, with which neither XML nor HTML may have trouble."""
    character = chr(int(code[1])) if code[1].isdecimal() else unescape(f"&{code[1]};")
    assert unescape(f"&#{ord(character)};") == character
    return character


def drawable(character: str) -> str:
    if (
        unicodedata.category(character) in ("Cc", "Cs")
        or character in "\ufff9\ufffa\ufffb"
        or unescape(f"&#{ord(character)};") != character
    ):
        return "\ufffd"
    return character


def apart(label: str) -> str:
    return label.replace("ﬂ°", "ﬂ\u2060°").replace("¶ß", "¶\u2060ß")


def is_blank(label: str) -> bool:
    return all(
        unicodedata.category(character)[0] in "MZ" or unicodedata.category(character) == "Cf" for character in label
    )


def shows(shown: str, label: str, longest: int) -> bool:
    """Whether `shown` is the label on one line, cut where it is too long."""
    folded = " ".join(label.replace("\ufeff", "").split())
    whole = FLAG_OR_TAG.sub(lambda found: found[1] or "\ufffd", "".join(map(drawable, folded)))
    if len(whole) <= longest:
        return shown == (" " if is_blank(whole) else apart(whole))
    return any(shown == apart(whole[:end]) + "…" for end in range(longest // 2, longest))


@settings(deadline=None)  # a busy machine
@given(
    nodes=st.lists(st.tuples(ids, labels), max_size=6),
    edges=st.lists(st.tuples(ids, ids, labels), max_size=6),
    shapes=st.dictionaries(ids, st.sampled_from(get_args(Shape))),
)
def test_every_line_fits_the_grammar(
    nodes: list[tuple[str, str]], edges: list[tuple[str, str, str]], shapes: dict[str, Shape]
) -> None:
    read(flowchart(nodes, edges, shapes))


@settings(deadline=None)  # a busy machine
@given(labels)
def test_a_label_is_shown_as_it_was_with_its_white_space_folded(label: str) -> None:
    (shown,) = read(flowchart([("a", label)], []))

    assert shows(shown, label, longest=80)


@settings(deadline=None)  # a busy machine
@given(labels.filter(lambda label: not is_blank(" ".join(label.split()))))
@example("00000000000000\r0000000000000000")  # a word ends before half of the room is used
def test_so_is_the_label_of_an_edge(label: str) -> None:
    shown = read(flowchart([("a", "x"), ("b", "y")], [("a", "b", label)]))

    assert shown[:2] == ["x", "y"]
    assert shows(shown[2], label, longest=30)


@pytest.mark.parametrize(
    "label",
    [
        'say "no"',
        '"] --> x["',
        "a[b](c){d}<e>",
        "`code`",
        "**bold** __under__",
        "end",
        "graph TD",
        "subgraph x",
        "style a fill:#f00",
        'click a href "javascript:alert(1)"',
        "direction LR",
        "redirection  TBD",
        "direction\u00a0TD",
        "ﬂ°°60¶ßscriptﬂ°°62¶ß",
        "ﬂoor ¶ 5",
        "<script>alert(1)</script>",
        "<br/>",
        "&lt;b&gt;",
        "#quot;",
        "#35;quot;",
        "%% a comment",
        "%%{init: {}}%%",
        "---",
        "one\ntwo\r\nthree",
        "one\u2028two\u2029three\x85four\x0bfive\x0csix\x1cseven\x1deight\x1enine\x1ften\xa0eleven\u3000twelve",
        "a\tb",
        "\u202eright to left\u202c",
        "\u200e\u200f\u2066\u2069",
        "\0",
        "\x1b[31m",
        "\x7f\x80\x9f",
        "\ud800",
        "\ufdd0\ufffe\uffff\U0001fffe\U0010ffff",
        "\ufeff",
        "\ufeffa\ufeffb\ufeff",
        "\u00ad\u200b\u200c\u200d\u2060",
        "\ue000\U0010fffd\u0378",
        "\U0001f3f4\U000e0067\U000e0062\U000e0077\U000e006c\U000e0073\U000e007f Wales",
        "a\U000e0068\U000e0069 \U0001f3f4\U000e0068\U000e0069",
        "\ufff9a\ufffab\ufffb",
        "www.example.com",
        "See WWW.example.com",
        "1. first",
        "12) twelfth",
        "١. first",
        "- item",
        "* item",
        "+ item",
        "  - item",
        "# heading",
        "> quote",
        "$$x^2$$",
        "fa:fa-bomb",
        "a;b",
        "a|b",
        "x" * 10_000,
        '"' * 10_000,
        "👩‍👩‍👧 family 🇩🇪",
        "مرحبا",
        "日本語",
        "",
        " \n\t ",
    ],
)
def test_a_nasty_label_breaks_neither_a_node_nor_an_edge(label: str) -> None:
    shown = read(flowchart([("a", label), ("b", "end")], [("a", "b", label)]))

    assert shows(shown[0], label, longest=80)


def test_plain_words_stay_readable() -> None:
    diagram = flowchart([("a", "Rotate keys (every 90 days)"), ("b", "Größe prüfen?")], [("a", "b", "if it's old")])

    assert diagram == (
        'flowchart TD\n    n1["Rotate keys (every 90 days)"]\n    n2["Größe prüfen?"]\n    n1 -->|"if it\'s old"| n2\n'
    )


def test_a_node_has_its_shape() -> None:
    diagram = flowchart(
        [("a", "Keys"), ("b", "Older?"), ("c", "Rotate")],
        [("a", "b", ""), ("b", "c", "yes")],
        {"a": "topic", "b": "decision"},
    )

    assert diagram == (
        'flowchart TD\n    n1(["Keys"])\n    n2{"Older?"}\n    n3["Rotate"]\n    n1 --> n2\n    n2 -->|"yes"| n3\n'
    )


def test_an_edge_without_a_label_is_a_bare_arrow() -> None:
    for blank in ("", " ", "\r\n", "\u2028\xa0", "\ufeff", "\u200b \u00ad", "\u0301"):
        assert flowchart([("a", "x")], [("a", "a", blank)]).splitlines()[-1] == "    n1 --> n1"


def test_an_edge_from_or_to_a_node_that_is_not_there_is_left_out() -> None:
    diagram = flowchart([("a", "x")], [("a", "b", ""), ("b", "a", ""), ("n1", "n1", "")])

    assert diagram == 'flowchart TD\n    n1["x"]\n'


def test_of_nodes_that_share_an_id_all_are_drawn_and_edges_mean_the_first() -> None:
    diagram = flowchart([("a", "x"), ("a", "y"), ("b", "z")], [("a", "b", "")])

    assert diagram == 'flowchart TD\n    n1["x"]\n    n2["y"]\n    n3["z"]\n    n1 --> n3\n'


@pytest.mark.parametrize(
    "character",
    ['"', "~", "\u202e", "\ufeff", "\ud800", "\ufff9", "\U000e0041", "\U000110bd", "\U0010fffd", "ﬂ°", "¶ß"],
)
def test_the_worst_diagram_of_a_chain_is_still_drawn(character: str) -> None:
    # 50 nodes and 100 edges are the most that an answer may have, 50,000 characters what Mermaid draws by default.
    nodes = [(str(n), character * 1000) for n in range(50)]
    edges = [("0", str(n % 50), character * 1000) for n in range(100)]

    shapes: dict[str, Shape] = {str(n): "topic" for n in range(50)}
    assert len(flowchart(nodes, edges, shapes).encode("utf-16-le")) // 2 < 50_000


@pytest.mark.parametrize(
    ("label", "shown"),
    [
        ("a word ends here, and one more is too much", "a word ends here, and one…"),
        ("a word ends where the room en ds", "a word ends where the room en…"),
        ("0" * 14 + " " + "0" * 16, "0" * 14 + " " + "0" * 14 + "…"),
        ("x" * 31, "x" * 29 + "…"),
        ("日" * 31, "日" * 29 + "…"),
        ("x" * 28 + "e\u0301e", "x" * 28 + "…"),
        ("x" * 28 + "👍🏽e", "x" * 28 + "…"),
        ("x" * 27 + "👩\u200d👧ee", "x" * 27 + "…"),
        ("x" * 28 + "❤\ufe0fe", "x" * 28 + "…"),
        ("x" * 28 + "🇩🇪e", "x" * 28 + "…"),
        ("x" * 27 + "🇩🇪🇫🇷", "x" * 27 + "🇩🇪…"),
        ("x" + "\u0301" * 40, "x" + "\u0301" * 28 + "…"),
    ],
)
def test_a_long_label_is_cut_after_a_word_or_else_between_what_is_drawn_as_one_character(
    label: str, shown: str
) -> None:
    assert read(flowchart([("a", "x")], [("a", "a", label)]))[1] == shown


def test_emoji_stay_what_they_are_in_the_text_too() -> None:
    assert flowchart([("a", "👩\u200d🔬 ❤\ufe0f")], []) == 'flowchart TD\n    n1["👩\u200d🔬 ❤\ufe0f"]\n'


def test_a_diagram_of_nothing_is_a_header() -> None:
    assert flowchart([], []) == "flowchart TD\n"
