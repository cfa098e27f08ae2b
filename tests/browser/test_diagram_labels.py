"""What the dashboard draws of a diagram is what its labels say, whatever they say."""

from collections.abc import Iterator
from string import punctuation

import pytest
from playwright.sync_api import Browser

from evals.drawing import DrawingPage
from jobchain.mermaid import flowchart

IN_ALL_PLACES = [
    text
    for mark in punctuation
    for text in (mark, f"{mark}start", f"end{mark}", mark * 2, f"a{mark * 2}b", f"mid{mark}dle", f"{mark} x {mark} y")
]
WORDS = """\
end|style|click|graph|default|subgraph x|graph TD|flowchart LR|direction LR|direction TB|redirection TBD|class n1 x
style a fill:#f00|style: x #35; y;|style n1 fill:#f00;|classDef x fill:#f00;|classDef: #x;|lifestyle: the #1; & more;
linkStyle 0 stroke:red|interpolate basis|href|call|click n1 call alert(1)|click n1 href "#"|accTitle: x|accDescr { x }
o--|x--|o--o|x--x|-->|a --> b|<-->|-.->|==>|~~~|e1@-->|@{ shape: circle }|n1@{ shape: circle }|:::|::: x|:::cls
fa:fa-car|fas:fa-bomb x|fab:fa-x|$$math$$|$$x^2$$ y|constructor|__proto__|toString|it's|say "no"|"quoted"|'single'
%%|%% a comment|%%{init: {}}%%|---|===|***|-- title: x --|{}|{{x}}|{x}|[]|[[x]]|()|((x))|([x])|>x]|[/x/]|"] --> x["
<br>|<br/>|<BR>|a<br>b|<b>bold</b>|</div>|<!-- c -->|1 < 2 > 0|<script>alert(1)</script>|<img src=x onerror=alert(1)>
<a href="javascript:0">x</a>|<style>*{}</style>|<p>x</p>|<http://auto.link>|<x-y>
&amp;|&#59;|#35;|#quot;|&lt;|&lt;b&gt;|&nbsp;|&#38;#59;|&amp;amp;|#amp;|#lt;b#gt;|#9829;|#x41;|&#x41;|&#0;|&quot|&
access; a colleague|by 20:00 & alarms [all] set|share_keys; use #1 keys|a;b|a;;b;
**bold**|__bold__|*x*|_x_|`code`|"`a **b**`"|~~gone~~|[link](http://x.y)|![img](http://x.y/z)|1. list|12) list|- list
* list|+ list|# heading|> quote|1.|1)|-|\\*x\\*|\\n|a\\nb|a\\\\nb|C:\\new\\table|\\
http://example.com/a?b=c&d=e#f|https://example.com|www.example.com|Www.example.com/path|me@example.com|ftp://x.y
👩‍👩‍👧 family 🇩🇪|❤️ ☎︎|👍🏽|🏴\U000e0067\U000e0062\U000e0077\U000e006c\U000e0073\U000e007f|ﬂoor|ﬁ|¶|°|ß|½ ™ € “x” ‘y’ – …
日本語の規則|规则需要检查，（全部）。|한국어|\u1112\u1161\u11ab|ไทย|हिन्दी|مرحبا|שלום abc עולם|می\u200cخواهم|Größe?
e\u0301|a\u0301\u0302\u0303|\u0301x|soft\u00adhyphen|x\u200by|x\u200dy|x\u2060|\u202eto left\u202c|x\u180e
\u200e\u200f\u2066x\u2069|\ue000|\U0010fffd|\u0378|\ufffd|x\u0600y|\U000110bdx"""
TABLE = [*IN_ALL_PLACES, *(label for line in WORDS.splitlines() for label in line.split("|")), "|", "a|b", "| a | b |"]

# What is drawn of labels that can't be drawn as they are.
OTHERWISE = {
    # white space is folded, whatever its kind
    "a\nb\r\nc\rd\te\vf\fg\x1ch\x1di\x1ej\x1fk": "a b c d e f g h i j k",
    "a\x85b\u2028c\u2029d\xa0e\u3000f\u2009g": "a b c d e f g",
    " \r\n x\u2003 ": "x",
    # what HTML can't hold
    "\0a\x1b[31mb\x7f\x80\x9f": "�a�[31mb���",
    "\ud800 \udfff": "� �",
    "\ufdd0\ufffe\uffff\U0001ffff": "����",
    "\ufeffa\ufeffb": "ab",
    "\ufff9a\ufffab\ufffb": "�a�b�",
    # what hides a text
    "a\U000e0068\U000e0069 \U0001f3f4\U000e0068\U000e0069": "a�� \U0001f3f4��",
    # what is invisible
    **dict.fromkeys(
        ["\u00ad", "\u0301", "\u034f", "\u061c", "\u180e", "\u200b", "\u200c\u200d \u2060", "\ufeff\ufe0f"], ""
    ),
    # Mermaid's own entity codes
    "ﬂ°°60¶ß": "ﬂ\u2060°°60¶\u2060ß",
    "ﬂ°lt¶ß": "ﬂ\u2060°lt¶\u2060ß",
}
# What is cut on an edge: what a node shows, and what an edge does.
CUT = {
    "0" * 14 + "\r" + "0" * 16: ("0" * 14 + " " + "0" * 16, "0" * 14 + " " + "0" * 14 + "…"),
    "Doors must be locked & alarms set": ("Doors must be locked & alarms set", "Doors must be locked & alarms…"),
    "👩‍👩‍👧" * 8: ("👩‍👩‍👧" * 8, "👩‍👩‍👧" * 5 + "…"),
}
EXPECTED = {label: (label, label) for label in TABLE} | {label: (one, one) for label, one in OTHERWISE.items()} | CUT
LONG = "https://example.com/a/very/long/path?with=query&and=more#fragment and-then-more"


@pytest.fixture
def drawing(browser: Browser) -> Iterator[DrawingPage]:
    with browser.new_context() as context:
        page = context.new_page()
        complaints: list[str] = []
        page.on("console", lambda line: complaints.append(line.text) if line.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append(dialog.message))
        yield DrawingPage(page)
        assert complaints == []


def test_every_label_of_a_node_and_of_an_edge_is_drawn_as_it_is(drawing: DrawingPage) -> None:
    wrong: dict[str, object] = {}
    for start in range(0, len(EXPECTED), 40):
        # given labels, each of a node and of the edge from it to the last one
        labels = list(EXPECTED)[start : start + 40]
        nodes = [(str(number), label) for number, label in enumerate(labels)]
        edges = [(number, "last", label) for number, label in nodes]

        # when they are drawn
        drawn = drawing.draw(flowchart([*nodes, ("last", "The last")], edges))

        # then each is read as it was written
        assert drawn.error == ""
        on_nodes, on_edges = dict(drawn.nodes), {source: label for source, label, _ in drawn.edges}
        read = {label: (on_nodes.get(f"n{n}"), on_edges.get(f"n{n}")) for n, label in enumerate(labels, start=1)}
        wrong |= {ascii(label): pair for label, pair in read.items() if pair != EXPECTED[label]}
    assert wrong == {}


def test_a_long_word_does_not_widen_its_box(drawing: DrawingPage) -> None:
    drawn = drawing.draw(flowchart([("a", LONG), ("b", "x" * 100), ("c", "")], []))

    assert [label for _, label in drawn.nodes] == [LONG, "x" * 79 + "…", ""]
    widths = drawing.frame.evaluate(
        "[...document.querySelectorAll('foreignObject')].map((one) => one.width.baseVal.value)"
    )
    assert max(widths) < 200
