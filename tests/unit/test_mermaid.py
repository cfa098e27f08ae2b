"""No label, id or edge breaks the diagram: every line that is written fits a grammar much narrower than Mermaid's."""

import re
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobchain.mermaid import Shape, flowchart

# What is not ASCII, letters, digits, a few signs without a meaning of their own, and entity codes.
LABEL = r"(?:[^\x00-\x7f]|[0-9A-Za-z .,!?\-+*/=()']|#[0-9]{1,7};)+"
LINE = re.compile(
    rf'    n[0-9]+(?:\["({LABEL})"\]|\(\["({LABEL})"\]\)|\{{"({LABEL})"\}})'  # a node
    rf'|    n[0-9]+ -->(?:\|"({LABEL})"\|)? n[0-9]+'  # an edge
)
# What Mermaid would draw as "Unsupported markdown: list".
LIST = re.compile(r"\s*(\d+[.)]|[-+*])")
# What Mermaid would take for an entity code: its own spelling of one.
INNER = re.compile("[ﬂ¶]")
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
        for label in filter(None, match.groups()):
            assert not LIST.match(label)
            shown.append(re.sub("#([0-9]+);", lambda code: chr(int(code[1])), label))
    return shown


def shows(shown: str, label: str, longest: int) -> bool:
    """Whether `shown` is the label on one line, cut where it is too long."""
    folded = " ".join(label.split()) or " "
    if len(folded) <= longest:
        return shown == folded
    return shown.endswith("…") and folded.startswith(shown[:-1]) and longest / 2 < len(shown) <= longest


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
@given(labels.filter(str.strip))
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
        "<script>alert(1)</script>",
        "<br/>",
        "&lt;b&gt;",
        "#quot;",
        "#35;quot;",
        "%% a comment",
        "%%{init: {}}%%",
        "---",
        "one\ntwo\r\nthree",
        "one\u2028two\u2029three\x85four\x0bfive",
        "a\tb",
        "\u202eright to left\u202c",
        "\u200e\u200f\u2066\u2069",
        "\0",
        "\x1b[31m",
        "\ud800",
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
    assert flowchart([("a", "x")], [("a", "a", " ")]).splitlines()[-1] == "    n1 --> n1"


def test_an_edge_from_or_to_a_node_that_is_not_there_is_left_out() -> None:
    diagram = flowchart([("a", "x")], [("a", "b", ""), ("b", "a", ""), ("n1", "n1", "")])

    assert diagram == 'flowchart TD\n    n1["x"]\n'


def test_of_nodes_that_share_an_id_all_are_drawn_and_edges_mean_the_first() -> None:
    diagram = flowchart([("a", "x"), ("a", "y"), ("b", "z")], [("a", "b", "")])

    assert diagram == 'flowchart TD\n    n1["x"]\n    n2["y"]\n    n3["z"]\n    n1 --> n3\n'


def test_the_worst_diagram_of_a_chain_is_still_drawn() -> None:
    # 50 nodes and 100 edges are the most that an answer may have, 50,000 characters what Mermaid draws by default.
    nodes = [(str(n), '"' * 1000) for n in range(50)]
    edges = [("0", str(n % 50), '"' * 1000) for n in range(100)]

    assert len(flowchart(nodes, edges, {str(n): "topic" for n in range(50)})) < 50_000


def test_a_diagram_of_nothing_is_a_header() -> None:
    assert flowchart([], []) == "flowchart TD\n"
