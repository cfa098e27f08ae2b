"""What may be kept of a provider's words: nothing of the request, no key, nothing that a terminal obeys."""

import html
import json
import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobchain_worker.redaction import (
    MAX_ANSWER_CHARACTERS,
    MAX_CAUSE_CHARACTERS,
    MAX_ID_CHARACTERS,
    identifier,
    redacted,
    storable,
    storable_body,
    without_keys,
)

KEY = "sk-made-up-0001-ABCDEFGH"
SECRET = "The patient Anna Example of 12 Mill Lane takes 20 mg of it."
TEXT = f'1. Purpose\n{SECRET}\nIt\'s "daily".\n' + "Another line of the guideline. " * 50


def cause(explanation: str, *texts: str, key: str = KEY) -> str:
    return redacted(explanation, key, texts or (TEXT,))


class TestAQuotationOfTheRequest:
    @pytest.mark.parametrize(
        "quote",
        [
            lambda text: text,
            lambda text: text.upper(),
            lambda text: text.replace(" ", "\n"),
            lambda text: text.replace(" ", "  "),
            json.dumps,
            lambda text: json.dumps(json.dumps(text)),
            html.escape,
            lambda text: "".join(f"\\u{ord(character):04x}" for character in text),
            "\u200b".join,
            lambda text: text[5:40],
        ],
    )
    def test_is_removed_however_it_is_written(self, quote: Callable[[str], str]) -> None:
        told = cause(f"Invalid prompt: {quote(SECRET)} is not allowed")

        assert "Anna" not in told
        assert "anna" not in told.casefold()
        assert told.startswith("Invalid prompt: ")
        assert told.endswith("not allowed")

    def test_is_removed_in_every_script(self) -> None:
        secret = (
            "\u041f\u0430\u0446\u0438\u0435\u043d\u0442 \u0410\u043d\u043d\u0430 \u0438\u0437 "
            + "\u043f\u0430\u043b\u0430\u0442\u044b"
        )

        told = cause(f"refused: {json.dumps(secret)}", secret)

        assert "\u0410\u043d\u043d\u0430" not in told
        assert "u04" not in told

    @pytest.mark.parametrize(
        "text",
        ["l'eau qu'on n'a c'est d'un j'ai s'est m'a t'a", "z y x w v u t s r q p o n", "1 2 3 4 5 6 7 8 9 0 1 2"],
    )
    @pytest.mark.parametrize("quote", [str, html.escape, json.dumps])
    def test_is_removed_where_it_has_few_letters(self, text: str, quote: Callable[[str], str]) -> None:
        assert re.fullmatch(r"No\W+\[…\]\W+please", cause(f"No {quote(text)} please", text))

    def test_leaves_the_words_around_it(self) -> None:
        told = cause(f"The text '{SECRET}' breaks rule 7 and '{SECRET}' again")

        assert re.fullmatch(r"The text '?\[…\].{0,3}breaks rule 7 and '?\[…\].{0,3}again", told)

    def test_may_come_from_the_instructions_as_well(self) -> None:
        assert "Summarize" not in cause(
            "Bad: Summarize what the text asks for", "x", "Summarize what the text asks for."
        )

    @given(
        st.text('abc XYZ.\n"0\u00e9\u00df\u0130\u4e2d', min_size=1, max_size=120),
        st.text(max_size=40),
        st.text(max_size=40),
        st.integers(0, 99),
    )
    def test_of_twenty_characters_never_remains(self, text: str, before: str, after: str, start: int) -> None:
        quoted = text[start : start + 40]

        told = cause(f"{before}{quoted}{after}", text, key="none")

        flat = " ".join(text.split()).casefold()
        for place in range(len(flat) - 19):
            assert flat[place : place + 20] not in told.casefold()

    def test_is_not_seen_in_words_that_everybody_uses(self) -> None:
        explanation = "This model's maximum context length is 4096 tokens. Reduce the length of the messages."

        assert cause(explanation) == explanation


class TestAKey:
    @pytest.mark.parametrize(
        "words",
        [
            f"Incorrect API key provided: {KEY}.",
            f"Incorrect API key provided: {KEY.upper()}",
            "Incorrect API key provided: sk-proj-****************ABCD.",
            f"Authorization: Bearer {KEY}",
            "authorization: bearer abcdefgh01234567",
            f"half of it: {KEY[:14]}",
            f"the end: {KEY[-9:]}",
            f'{{"api-key": "{KEY}"}}',
            'api_key="0123456789abcdef"',
            "AIzaSyA-0123456789abcdef",
            "gsk_0123456789abcdef",
            "the token IQoJb3JpZ2luX2VjE0123456789abcdef+/== is expired",
            "host:bedrock x-amz-security-token:0123456789abcdef x-amz-date",
            "the access key ASIA0123456789ABCDEF is unknown",
        ],
    )
    def test_never_remains(self, words: str) -> None:
        told = cause(words)

        assert "[API key]" in told
        for part in (KEY, KEY[:14], KEY[-9:], "ABCD", "0123456789abcdef", "abcdefgh01234567"):
            assert part not in told

    @given(st.text("abcXYZ019-_", min_size=4, max_size=80), st.text(max_size=50), st.text(max_size=50))
    def test_in_use_never_remains_whatever_it_looks_like(self, key: str, before: str, after: str) -> None:
        told = cause(f"{before}{key}{after}", key=key)

        assert key not in told.replace("[API key]", "")
        assert key not in without_keys(f"{before}{key}{after}", key).replace("[API key]", "")

    def test_of_a_server_that_wants_none_hides_no_word(self) -> None:
        assert cause("no x in the box", key="x") == "no x in the box"

    def test_of_aws_is_no_word_that_begins_like_it(self) -> None:
        assert cause("asiatischenlaender, ASIATISCH") == "asiatischenlaender, ASIATISCH"


class TestACause:
    def test_has_nothing_that_a_terminal_obeys(self) -> None:
        assert (
            cause("\x1b[31mred\x1b[0m \x1b]0;title\x07 a\u202eb\u2028c\x00\x9b\ud800d") == "red ]0;title a b c \ufffdd"
        )

    @given(st.text())
    def test_can_be_stored_and_printed(self, explanation: str) -> None:
        told = cause(explanation)

        told.encode()
        assert len(told) <= MAX_CAUSE_CHARACTERS
        assert not re.search(r"[\x00-\x1f\x7f-\x9f]", told)

    def test_is_cut(self) -> None:
        assert len(cause("word " * 5_000)) == MAX_CAUSE_CHARACTERS

    @pytest.mark.parametrize("length", range(3_700, 4_020, 7))
    def test_holds_no_half_of_what_was_cut(self, length: int) -> None:
        # given an explanation of which nothing but its end remains
        told = cause((TEXT * 9)[:length] + f" {KEY}")

        assert "sk-" not in told

    def test_is_made_in_no_time_out_of_a_long_text(self) -> None:
        # when the explanation has much in common with the text, a slow search would take minutes
        assert cause("ab" * 2_000, "ab" * 500_000) == "[…]"


class TestAnAnswer:
    def test_is_kept_as_it_came_but_for_what_cannot_be_stored(self) -> None:
        assert storable('{"a": "\x00b\x1b\ud800"}\n', KEY) == '{"a": "b\x1b\ufffd"}\n'

    def test_is_cut(self) -> None:
        assert storable("x" * 30_000, KEY) == "x" * MAX_ANSWER_CHARACTERS

    def test_has_no_key_but_all_else(self) -> None:
        assert storable(f"It says {KEY} and Bearer tokens", KEY) == "It says [API key] and Bearer tokens"


class TestABodyThatCouldNotBeRead:
    @pytest.mark.parametrize("length", [0, 10, 19_980, 19_990, 20_000, 30_000])
    def test_is_kept_without_the_key_wherever_that_is(self, length: int) -> None:
        kept = storable_body("x" * length + f" {KEY[:5]}\0{KEY[5:]} \ud800 </html>", KEY)

        assert "sk-" not in kept
        assert len(kept) <= MAX_ANSWER_CHARACTERS
        kept.encode()


class TestAnIdentifier:
    @pytest.mark.parametrize(
        ("value", "kept"),
        [
            ("req_0123456789abcdef", "req_0123456789abcdef"),
            ("a b\tc\x1b[31m\u00e9", "abc[31m"),
            ("x" * 300, "x" * MAX_ID_CHARACTERS),
            (None, None),
            ("", None),
            ("\u00e9", None),
            (KEY, None),
            (f"id-{KEY}", None),
            ("sk-other-0123456789", None),
        ],
    )
    def test_is_visible_and_short_and_no_key(self, value: str | None, kept: str | None) -> None:
        assert identifier(value, KEY) == kept
