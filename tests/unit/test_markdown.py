"""Markdown tables, which no text can break."""

import html
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from jobchain.markdown import table


def test_a_table_has_a_header_and_a_line_for_each_row() -> None:
    assert table(("A", "B"), [("1", "2"), ("", "3")]) == "| A | B |\n| --- | --- |\n| 1 | 2 |\n|  | 3 |\n"


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("It's 12 % (or more)?", "It's 12 % (or more)?"),
        ("a|b", "a&#124;b"),
        ("a\\|b\\", "a&#92;&#124;b&#92;"),
        ("a\nb\r\n\u2028c", "a b c"),
        ("<script>", "&#60;script&#62;"),
        ("&lt;b&gt;", "&#38;lt;b&#38;gt;"),
        ("![x](https://e.com)", "&#33;&#91;x&#93;(https&#58;//e.com)"),
        ("**b** _i_ `c` ~~d~~", "&#42;&#42;b&#42;&#42; &#95;i&#95; &#96;c&#96; &#126;&#126;d&#126;&#126;"),
        ("$x$ #1 @me", "&#36;x&#36; &#35;1 &#64;me"),
        ("abc\u202etxt.exe\u2066\u200b", "abctxt.exe"),
        ("\x1b[31m", "&#91;31m"),
        ("👩\u200d🔧 می\u200cخواهم 守る", "👩\u200d🔧 می\u200cخواهم 守る"),
    ],
)
def test_a_text_is_nothing_but_a_text(text: str, cell: str) -> None:
    assert table((text,), []).splitlines()[0] == f"| {cell} |"


@given(st.lists(st.lists(st.text() | st.text("|\\\n`<&[](!"), min_size=2, max_size=2), max_size=4))
@example([["|", "\\"], ["\\|", "`|`"]])
def test_no_text_changes_the_shape_or_is_lost(rows: list[list[str]]) -> None:
    lines = table(("A", "B"), rows).splitlines()

    assert len(lines) == 2 + len(rows)
    for line, row in zip(lines[2:], rows, strict=True):
        cells = line[2:-2].split(" | ")
        assert line.count("|") == 3
        assert not re.search(r"[\\`<>\[\]*_~!$@#:{}^](?!\d+;)", line.replace("&#", ""))
        for cell, text in zip(cells, row, strict=True):
            if text.isprintable():
                assert html.unescape(cell).split() == text.split()


@pytest.mark.parametrize("address", ["www.evil.example/x", "see WWW.evil.example", "(www.evil.example)", "xwww.a.b"])
def test_an_address_without_a_colon_makes_no_link_either(address: str) -> None:
    assert "www." not in table(["a"], [[address]]).lower()
