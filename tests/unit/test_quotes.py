"""Whether a quote is in a text."""

import html
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from jobchain.chains.markup import unescaped
from jobchain.chains.pages import without_pages
from jobchain.chains.quotes import Original, _blocks, _chunks, original
from tests.hostile import hostile_texts

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

    def find(self, *args: Any) -> int:
        CountingText.searched += 1
        return str(self).find(*args)


@pytest.mark.parametrize(
    ("words", "times"),
    [(10, 5), (11, 2), (500, 2)],
)
def test_a_name_of_many_words_is_looked_for_as_a_whole(words: int, times: int) -> None:
    text = Original("".join(f"w{number}" for number in range(words)))
    for view in text._views():
        view._text = CountingText(view._text)
    CountingText.searched = 0

    text.has_words_of(" ".join(f"w{number}" for number in range(words)))

    assert CountingText.searched == times


def test_no_name_is_looked_for_at_every_place_of_its_words() -> None:
    text = Original("ab cd " * 50_000)
    for view in text._views():
        view._text = CountingText(view._text)
    CountingText.searched = 0

    assert not text.has_words_of("ab ef")
    assert CountingText.searched <= 1_001


BROKEN = """Security rules

Users must change their pass-
words every ninety days.

The voltage must be <Vmax. The current must be >Imin.

Report every hole to <security@acme.example> at once.

You must send <A> to <B>.

A user of the system must

Policy v2                                   [Page 2]

Policy                  Rules             March 2026

change the password.
"""


@pytest.mark.parametrize(
    "quote",
    [
        "Users must change their passwords every ninety days.",
        "Users must change their pass-words every ninety days.",
        "Users must change their pass- words every ninety days.",
        "The voltage must be <Vmax.",
        "The current must be >Imin.",
        "Report every hole to security@acme.example at once.",
        "Report every hole to <security@acme.example> at once.",
        "You must send <A> to <B>.",
        "A user of the system must change the password.",
        "Policy v2 [Page 2]",
    ],
)
def test_what_looks_like_markup_and_what_a_page_breaks_is_found(quote: str) -> None:
    assert original(BROKEN).holds(quote)


@pytest.mark.parametrize(
    "quote",
    [
        "The voltage must be Imin.",
        "The voltage must be >Vmax.",
        "Report every hole to <attacker@evil.example> at once.",
        "Report every hole to at once.",
        "You must send <B> to <A>.",
        "You must send to.",
        "A user must change the password.",
        "Users must change their pass every ninety days.",
        "sers must change their passwords",
        "word every ninety days",
    ],
)
def test_what_says_something_else_is_not_found(quote: str) -> None:
    assert not original(BROKEN).holds(quote)


@pytest.mark.parametrize(
    ("text", "quote"),
    [
        ("Never log a password.", "log a password."),
        ("Users do not share keys.", "share keys"),
        ("Users don’t share keys.", "Users share keys"),
        ("Don't share keys.", "share keys."),
        ("Keys must\nnot be shared.", "be shared."),
        ("Some are valid, and some are not.", "Some are valid, and some are"),
        ("Teilen Sie Schlüssel nicht.", "Teilen Sie Schlüssel."),
        ("No, keys are shared.", "keys are shared."),
        ('No "shared" keys.', '"shared" keys.'),
        ("If not, keys are shared.", "keys are shared."),
        ("KEYS MAY BE USED BUT NOT\nSHARED WITH OTHERS.", "SHARED WITH OTHERS."),
        ("It takes >12 characters.", "12 characters"),
        ("It takes ≥ 12 characters.", "12 characters"),
        ("It is -5 degrees.", "5 degrees"),
        ("It takes at least 1.5 hours.", "It takes at least 1"),
        ("It takes at least 1.5 hours.", "5 hours."),
        ("It costs 1,000 euros.", "000 euros"),
        ("It has 10² cells.", "It has 102 cells."),
        ("It is due on 2026-12-01.", "It is due on 2026-12-0"),
        ("It is 10–12 days.", "It is 1012 days."),
        ("1. Lock the doors.", "2. Lock the doors."),
        ("It must be\n> 12 characters.", "It must be 12 characters."),
        ("They must change it\n\n[Page 1]\f\n12\ntimes a year.", "They must change it times a year."),
        ("They are not able to read it.", "They are notable to read it."),
        ("See [the sheet](https://acme.example/a).", "See [the sheet](https://evil.example/a)."),
    ],
)
def test_a_quote_without_its_negation_sign_or_digit_is_not_found(text: str, quote: str) -> None:
    assert original(text).holds(text)
    assert not original(text).holds(quote)


@pytest.mark.parametrize(
    ("text", "quote"),
    [
        ("| Public | No |\n| Users may read it. | Yes |", "Users may read it."),
        ("Is it public? No\n\nUsers may read it.", "Users may read it."),
        ("Lock the doors\nNever log keys", "Lock the doors"),
        ("- Not public\n- Users may read it", "Users may read it"),
        ("Rules: - 12 characters", "12 characters"),
        ("1. Lock doors.\n2. Lock windows.", "Lock doors. Lock windows."),
        ("1. Lock doors.\n2. Lock windows.", "1. Lock doors. 2. Lock windows."),
        ("Use `<script>` as in [the spec](https://acme.example).", "Use <script> as in the spec."),
        (
            "Use `<script>` as in [the spec](https://acme.example).",
            "Use `<script>` as in [the spec](https://acme.example).",
        ),
        ('See <a href="https://acme.example">the sheet</a>.', "See the sheet."),
        ('See <a href="https://acme.example">the sheet</a>.', 'See <a href="https://acme.example">the sheet</a>.'),
        ("Write &lt;b&gt; as it is.", "Write <b> as it is."),
        ("Keep it.[^1] Lock it.", "Keep it. Lock it."),
        ("Keep it <!-- check --> safe.", "Keep it safe."),
        ("Set `max_age` to *one* day—or less.", "Set max_age to one day -- or less."),
        ("[Cross](https://acme.example)-site requests", "cross-site requests"),
        ("Title\n=====\nText", "Title Text"),
        ("> Lock\n> doors.", "Lock doors."),
        ("It must be\n> 12 characters.", "It must be > 12 characters."),
        ("한국어 문장은 찾을 수 있다.", "문장은 찾을 수 있다"),
        ("मुझे यह काम करना है।", "यह काम करना"),
    ],
)
def test_an_honest_quote_is_found(text: str, quote: str) -> None:
    assert original(text).holds(quote)


def test_a_long_sentence_is_found() -> None:
    sentence = f"You may copy it if you {', and '.join(f'meet the condition {number}' for number in range(500))}."

    assert original(f"First.\n\n{sentence}\n\nLast.").holds(sentence)
    assert not original(f"First.\n\n{sentence}\n\nLast.").holds(sentence.replace("condition 250", "condition 251"))


MINUTES = (
    "Somebody plans the launch for the next month. Ann's team, O’Neil and Annas Freund help. We may need 12 chairs."
)


@pytest.mark.parametrize(
    ("phrase", "expected"),
    [
        ("Ann", True),
        ("Anna", True),
        ("O'Neil", True),
        ("the launch", True),
        ("12 chairs", True),
        ("Lau", False),
        ("May 1", False),
        ("1 May 2", False),
        ("Sue M", False),
        ("hair", False),
    ],
)
def test_the_words_of_a_name_are_words(phrase: str, expected: bool) -> None:
    assert original(MINUTES).has_words_of(phrase) is expected


def test_the_words_of_a_name_are_near_each_other() -> None:
    assert not original(f"Ann Lee opens. {'We talk about it. ' * 30} Bob Day closes.").has_words_of("Ann Day")
    assert original(f"{'Ann talks. ' * 30} Ann M. Day closes on the 1st of May.").has_words_of("Ann Day")
    assert original("It is due on the 1st of May.").has_words_of("1 May")
    assert original("田中さんが書く。").has_words_of("田中")
    assert not original("田んぼの中にある。").has_words_of("田中")


SENTENCE = (
    "all users of every system must rotate their passwords cross-site 12 times in ninety days unless an administrator"
    " grants a state-of-the-art exception"
)
WORDS = st.permutations(SENTENCE.split())


def _set(words: list[str], data: st.DataObject) -> str:
    """The words in lines, some of them divided by a hyphen, on pages of four words or more."""
    end_of_page = data.draw(st.sampled_from(ENDS_OF_PAGES))
    pages = data.draw(st.lists(st.integers(4, 8), min_size=1, max_size=4))
    ends = {sum(pages[: number + 1]): number for number in range(len(pages))}
    text = ""
    for place, word in enumerate(words):
        if place in ends:
            text += end_of_page.format(ends[place], ends[place] + 1)
        else:
            text += data.draw(st.sampled_from([" ", "\n", "  \n", "\r\n"]))
        if len(word) > 5 and word.isalpha():
            hyphen = data.draw(st.sampled_from(["", "-\n", "\u2010\n", "\u00ad\n"]))
            word = f"{word[:3]}{hyphen}{word[3:]}"
        text += word
    return text


ENDS_OF_PAGES = (
    "\n\nAcme Ltd      Rules       [Page {0}]\n\nRFC 1        Rules       May 2026\n\n",
    "\n\n\n[Page {0}]\f\n",
    "\nPage {0} of 90\n",
    "\n\n- {0} -\n\n",
    "\n\n{0}\n\f",
    "\n\nRules | Page {0}\n\n",
    "\f",
)


@given(WORDS, st.data())
def test_a_sentence_is_found_however_its_text_is_set(words: list[str], data: st.DataObject) -> None:
    assert Original(f"First.\n\n{_set(words, data)}.\n\nLast.").holds(f"{' '.join(words)}.")


@given(WORDS, st.data())
def test_no_sentence_with_another_word_or_number_is_found(words: list[str], data: st.DataObject) -> None:
    text = Original(f"First.\n\n{_set(words, data)}.\n\nLast.")
    place = data.draw(st.integers(0, len(words) - 1))
    others = ["not", "door", "key", "1", "2", "13", "120", "passwords", "word", "site"]
    other = data.draw(st.sampled_from([word for word in others if word != words[place]]))

    assert not text.holds(" ".join([*words[:place], other, *words[place + 1 :]]))
    assert not text.holds(" ".join([*words[:place], other, *words[place:]]))


@given(WORDS, WORDS)
def test_no_two_sentences_are_one_across_a_line_between_them(first: list[str], second: list[str]) -> None:
    text = Original(f"{' '.join(first)}\n\nPolicy v2\n\n{' '.join(second)}.")

    assert not text.holds(f"{' '.join(first)} {' '.join(second)}.")


@pytest.mark.parametrize("text", hostile_texts().values(), ids=hostile_texts())
def test_no_regular_expression_gets_more_than_a_piece_of_a_text(text: str) -> None:
    blocks = _blocks(without_pages(text))

    assert max(map(len, blocks)) <= 20_000
    assert max(map(len, _chunks(blocks))) <= 60_000
    assert "".join("".join(blocks).split()) == "".join(without_pages(text).split())


def test_a_number_at_the_start_or_the_end_of_a_page_stays() -> None:
    text = original("They must change it\n\n[Page 1]\f\n12\ntimes a year, and have at least\n8\n\fcharacters.")

    assert text.holds("They must change it 12 times a year, and have at least 8 characters.")
    assert not text.holds("They must change it times a year")
    assert not text.holds("and have at least characters")


def test_a_text_without_ends_of_pages_stays() -> None:
    text = "See\npage 3\nfor the rules. There are\n\n12\n\nof them.\n"

    assert without_pages(text) == text


@pytest.mark.parametrize(
    ("end", "left"),
    [
        ("\n\n[Page 2]\n\nRFC 1      Rules      May 2026\n\n", "\n"),
        ("\nPage 2 of 3\n", "\n"),
        ("\n\nSeite 2 von 3\n\n", "\n"),
        ("\n\n- 2 -\n\n", "\n"),
        ("\n\f\n", "\n"),
        ("\n\n2\n\f\n", "\n"),
        (".\n\nPage 2\n\n", ".\n\n"),
        ("\n\nPage 2\n\n- ", "\n\n- "),
    ],
)
def test_a_paragraph_continues_after_the_end_of_a_page(end: str, left: str) -> None:
    assert without_pages(f"A user must{end}change it.") == f"A user must{left}change it."
