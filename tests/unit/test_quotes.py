"""Whether a quote is in a text."""

import html

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from jobchain.chains.markup import unescaped
from jobchain.chains.quotes import Original, original

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


MARKUP = st.text('ab1*_`~>#|-[]()<>!/&;\\" \n\r\t')


@given(st.text("ab 1é守\u200b", min_size=1), MARKUP, MARKUP)
@example("1", "[>][", "]")
@example("1", "![a](", ")")
@example("1", "<a", ">")
@example("1", "[a](", "> )")
@example("1", "&#", ";")
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
    "text",
    [
        "[a](https://example.com/\n\nIt must be kept.\n\n)",
        "![a](\r\n\r\nIt must be kept.\r\n\r\n)",
        "<a\n \t\nIt must be kept.\n\n>",
        "> [a][\n>\n> It must be kept.\n>\n> ]",
    ],
)
def test_no_markup_goes_on_after_a_blank_line(text: str) -> None:
    assert original(text).holds("It must be kept.")


def test_a_link_may_go_on_in_the_next_line() -> None:
    assert original("See [the\nsheet](https://example.com/\na) first.").holds("See the sheet first.")


@pytest.mark.parametrize("digits", ["1" * 5_000, "0" * 5_000 + "65", "x" + "f" * 5_000])
def test_an_entity_of_thousands_of_digits_is_text_like_any_other(digits: str) -> None:
    text = original(f"It &lt; must &#98;e &#x6B;ept. &#{digits};")

    assert text.holds("It < must be kept.")
    assert not text.holds("A")


@given(st.text("&#xX;019aAfmpltgcoyé <"))
def test_entities_mean_what_they_mean_in_html(text: str) -> None:
    assert unescaped(text) == html.unescape(text)


def test_a_phrase_of_many_words_is_looked_up_once_as_a_whole() -> None:
    text = original("It is due on the last working day of the month after the one in which it was signed.")

    assert text.has_words_of("the last working day of the month after the one in which it was signed")
    assert not text.has_words_of("the last working day of the month in which it was signed after the one")


class CountingText(str):
    """A text that counts how often it is searched."""

    searched = 0

    def __contains__(self, part: object, /) -> bool:
        CountingText.searched += 1
        return str(part) in str(self)


@pytest.mark.parametrize("words", [10, 11, 500])
def test_no_name_is_looked_for_more_than_ten_times(words: int) -> None:
    text = Original("")
    text._plain = CountingText("".join(f"w{number}" for number in range(words)))
    CountingText.searched = 0

    text.has_words_of(" ".join(f"w{number}" for number in range(words)))

    assert CountingText.searched == (10 if words == 10 else 1)
