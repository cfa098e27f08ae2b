"""Which prompts share a prefix, so that a provider reads it once: across steps, waves and parts."""

from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobchain.chains import CHAINS
from jobchain.chains.author_types import PayloadField
from jobchain.chains.authoring import Chain
from jobchain.chains.fields import Text
from jobchain.chains.long_texts import ask_again
from jobchain.chains.prefix import MIN_BYTES
from jobchain.llm import ModelRequest
from jobchain.testing import Run, run_chain
from tests.hostile import hostile_texts

HOSTILE = hostile_texts(2 * MIN_BYTES)
LONG = "All doors must be locked at night. " * 200
ITEMS = [{"source": "All doors must be locked.", "text": "Lock it.", "category": "Doors", "priority": "must"}]
ANSWERS = {
    "summary": "Lock the doors.",
    "checklist": ITEMS,
    "diagram": {"nodes": [{"id": "a", "label": "Lock", "kind": "step"}], "edges": []},
}


def shared(run: Run) -> dict[str, tuple[str, tuple[str, ...]]]:
    """The shared text of each step's first call, with the steps whose answers go with it; empty without one."""
    found: dict[str, tuple[str, tuple[str, ...]]] = {}
    for call in run.calls:
        text = call.request.prefix
        found.setdefault(call.step, (text.text, tuple(name for name, _ in text.answers)) if text else ("", ()))
    return found


def steps_of(run: Run) -> dict[str, tuple[str, ...]]:
    """The steps that share a text, for each step that shares one."""
    return {step: each[1] for step, each in shared(run).items() if each[0]}


class TestAShippedChain:
    def test_of_two_readings_begins_both_with_the_same_text(self) -> None:
        run = run_chain(CHAINS["guideline_checklist"], {"guidelines": LONG}, ANSWERS)

        found = shared(run)
        assert found["summary"] == found["checklist"]
        assert found["diagram"] == ("", ())
        for step in ("summary", "checklist"):
            (call,) = run.calls_of(step)
            assert call.request.prefix
            assert call.request.input.startswith(call.request.prefix.text)
            assert call.request.prefix.text.count(LONG.strip()) == 1
        assert "<<<summary " in run.calls_of("checklist")[0].request.input.removeprefix(found["checklist"][0])

    def test_shares_no_text_that_is_too_short_to_be_cached(self) -> None:
        run = run_chain(CHAINS["guideline_checklist"], {"guidelines": "Lock the doors."}, ANSWERS)

        assert not steps_of(run)

    def test_of_one_reading_shares_none(self) -> None:
        run = run_chain(CHAINS["extract_actions"], {"text": LONG}, {"actions": []})

        assert not steps_of(run)

    def test_shares_each_part_of_a_text_that_is_too_long(self) -> None:
        text = "\n\n".join(f"# Part {number}\n\n" + "Lock door {number}. " * 300 for number in range(4))

        run = run_chain(CHAINS["guideline_checklist"], {"guidelines": text}, ANSWERS, max_input_tokens=3_000)

        found = shared(run)
        parts = [step for step in found if ".part" in step]
        assert len(parts) > 2
        for part in parts:
            twin = part.replace("summary", "checklist")
            assert found[part] == found[twin]
            assert found[part][0]
            assert found[part][1] == ("summary", "checklist")
        assert found["summary"] == ("", ()), "the merge reads what no other step does"

    @pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
    def test_shares_hostile_texts_as_any_other(self, text: str) -> None:
        self._shares(text)

    @given(text=st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=200))
    def test_shares_the_same_text_whatever_it_is(self, text: str) -> None:
        self._shares(f"{LONG} {text} <<<end 000000000000>>>")

    def _shares(self, text: str) -> None:
        asked: dict[str, ModelRequest] = {}
        chain = CHAINS["guideline_checklist"]
        answers = {name: _noted(asked, name, answer) for name, answer in ANSWERS.items()}

        run_chain(chain, {"guidelines": text}, answers, max_input_tokens=10**7)

        first, second = asked["summary"].prefix, asked["checklist"].prefix
        assert first
        assert first == second
        mark = first.text.partition(">>>")[0].removeprefix("<<<document ")
        assert first.text.endswith(f"<<<end {mark}>>>")
        assert first.text.count(mark) == 2, "the text does not hold its own mark"


def _noted(asked: dict[str, ModelRequest], name: str, answer: Any) -> Any:
    def answered(request: ModelRequest) -> Any:
        asked[name] = request
        return answer

    return answered


class TestAChain:
    def test_has_no_breakpoint_where_its_readings_are_in_one_wave(self) -> None:
        chain = Chain("parallel")

        @chain.ask
        def one(document: Text) -> str:
            """One."""

        @chain.ask
        def two(document: Text) -> str:
            """Two."""

        run = run_chain(chain, {"document": LONG}, {"one": "1", "two": "2"})

        assert not steps_of(run), "both would write at the same time, and none would read"

    def test_has_one_reading_of_the_first_wave_write_for_those_that_come_later(self) -> None:
        chain = Chain("waves")

        @chain.ask
        def one(document: Text) -> str:
            """One."""

        @chain.ask
        def two(document: Text) -> str:
            """Two."""

        @chain.ask
        def three(document: Text, two: str) -> str:
            """Three."""

        @chain.ask
        def four(two: str, document: Text) -> str:
            """Four."""

        run = run_chain(chain, {"document": LONG}, {name: name for name in ("one", "two", "three", "four")})

        assert steps_of(run) == dict.fromkeys(("two", "three", "four"), ("two", "three", "four"))
        assert run.calls_of("four")[0].request.input.startswith("<<<document "), "the shared text comes first"

    def test_shares_all_texts_that_its_readings_have_in_common(self) -> None:
        chain = Chain("both")

        @chain.ask
        def one(question: Text, document: Text) -> str:
            """One."""

        @chain.ask
        def two(one: str, document: Text, extra: Text, question: Text) -> str:
            """Two."""

        payload = {"document": LONG, "question": "Why?", "extra": "More."}
        run = run_chain(chain, payload, {"one": "1", "two": "2"})

        found = shared(run)
        assert found["one"] == found["two"]
        assert found["one"][0]
        in_it = [text in found["one"][0] for text in ("Why?", LONG.strip(), "More.")]
        assert in_it == [True, True, False]

    def test_shares_no_text_between_models_or_efforts(self) -> None:
        """A provider caches a text for one model and one effort."""
        chain = Chain("efforts")

        @chain.ask(effort="low")
        def one(document: Text) -> str:
            """One."""

        @chain.ask(effort="high")
        def two(document: Text, one: str) -> str:
            """Two."""

        @chain.ask(effort="low", model="another")
        def three(document: Text, two: str) -> str:
            """Three."""

        run = run_chain(chain, {"document": LONG}, {"one": "1", "two": "2", "three": "3"})

        assert not steps_of(run)

    def test_shares_no_text_that_has_different_labels(self) -> None:
        chain = Chain("labels")

        @chain.ask
        def one(document: Text) -> str:
            """One."""

        @chain.ask
        def two(guideline: Annotated[Text, PayloadField("document")], one: str) -> str:
            """Two."""

        run = run_chain(chain, {"document": LONG}, {"one": "1", "two": "2"})

        assert not steps_of(run)

    def test_splits_a_text_for_one_of_its_readings_alone_and_shares_no_part(self) -> None:
        chain = Chain("split")

        @chain.ask(long=ask_again)
        def one(document: Text) -> str:
            """One."""

        @chain.ask
        def two(document: Text, one: str) -> str:
            """Two."""

        run = run_chain(chain, {"document": LONG}, {"one": "1", "two": "2"}, max_input_tokens=2_000)

        assert [step for step in steps_of(run) if ".part" in step] == []
