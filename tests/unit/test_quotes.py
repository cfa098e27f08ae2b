"""Whether a quote stands in a text."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobchain.chains.quotes import original

TEXT = """# Password policy

Passwords **must** be hashed with `Argon2id`, see [the _storage_ sheet](https://example.com/a_(b)#c "Sheet").
They must have at least 12
characters; ‘short’ ones – even “good” ones – are refused.

> - [ ] Never log a pass\u00adword.
> 1. Rotate keys &amp; salts <b>every</b> year.

| Length | Rule |
|--------|------|
| ≥ 12 | Don’t reuse them |

パスワードは十二文字以上で
なければなりません。
"""


@pytest.mark.parametrize(
    "quote",
    [
        "Passwords must be hashed with Argon2id, see the storage sheet.",
        "Passwords **must** be hashed with `Argon2id`",
        "passwords MUST be hashed",
        "They must have at least 12 characters",
        "'short' ones - even \"good\" ones - are refused.",
        "«They must have at least 12 characters»",
        "- Never log a password.",
        "1. Rotate keys & salts every year",
        "Don't reuse them",
        "≥ 12",
        "パスワードは十二文字以上でなければなりません。",
        "Password policy",
        "# Password policy",
    ],
)
def test_it_stands_there_however_it_is_marked_up(quote: str) -> None:
    assert original(TEXT).holds(quote)


@pytest.mark.parametrize(
    "quote",
    [
        "They must have at least 8 characters",
        "Passwords must not be hashed",
        "≤ 12",
        "Passwords must be hashed. They must have",
        "Passwords must be … hashed",
        "https://example.com/secret",
        "",
        " \n",
        "...",
        "**",
    ],
)
def test_it_does_not_stand_there_with_another_word_number_or_sign(quote: str) -> None:
    assert not original(TEXT).holds(quote)


@settings(deadline=None)  # a busy machine
@given(st.text("ab 1é守\u200b", min_size=1), st.text("ab*_`>#|-[]() \n"), st.text("ab*_`>#|-[]() \n"))
def test_words_are_found_between_any_marks(words: str, before: str, after: str) -> None:
    found = original(f"{before}\n\n{words}\n\n{after}").holds(words)

    assert found == any(c.isalnum() for c in words)


@pytest.mark.parametrize(
    ("phrase", "expected"),
    [
        ("the storage sheet", True),
        ("Argon2id", True),
        ("MD5", False),
        ("the key sheet", True),
        ("", False),
        ("–", False),
    ],
)
def test_a_name_is_known_by_its_words(phrase: str, expected: bool) -> None:
    assert original(TEXT).has_words_of(phrase) is expected


@pytest.mark.parametrize(
    "piece",
    ["x", "守", "[a](", "[a", "](", "![](", "![a](b", "*a ", "`", "<a", "<!--", "> ", "# ", "&#", "((", "[a](b)", "\n"],
)
def test_a_hundred_thousand_characters_of_anything_are_read_in_time(piece: str) -> None:
    started = time.process_time()

    text = original((piece * 100_000)[:100_000])
    for _ in range(50):
        text.holds("A rule must be kept.")

    # A tenth of it is usual; what grows with the square of the length takes minutes.
    assert time.process_time() - started < 3
