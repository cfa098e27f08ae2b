"""The kit with which authors test their chains."""

import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from jobchain import Chain, ChainError, Text, concatenate
from jobchain.chains import CHAINS
from jobchain.chains.chain import OutputTooLarge
from jobchain.domain import Status
from jobchain.errors import PermanentModelError, TransientModelError
from jobchain.testing import InTurn, Raw, RecordingOutdated, recorded, run_chain
from tests.fake_model.answers import CHECKLIST, DIAGRAM

PAYLOAD = {"document": "Doors must be locked."}


@pytest.fixture
def chain() -> Chain:
    chain = Chain("guide", description="")

    @chain.ask
    def summary(document: Text) -> str:
        """Summarize."""

    @chain.ask
    def duties(document: Text, summary: str) -> list[str]:
        """List the duties."""

    return chain


ANSWERS: dict[str, Any] = {"summary": "Lock.", "duties": ["Lock the doors."]}


class TestARun:
    def test_has_the_result_the_calls_their_prompts_and_the_cost(self, chain: Chain) -> None:
        run = run_chain(chain, PAYLOAD, ANSWERS)

        assert (run.status, run.result, run.error) == (Status.COMPLETED, ANSWERS, None)
        assert [call.step for call in run.calls] == ["summary", "duties"]
        assert "Summarize." in run.calls[0].prompt
        assert "Doors must be locked." in run.calls[0].prompt
        assert "<<<summary " in run.calls_of("duties")[0].prompt
        assert run.spending.calls == 2
        assert Decimal(0) < (run.cost_usd or Decimal(0)) < Decimal("0.001")

    def test_takes_milliseconds(self, chain: Chain) -> None:
        run_chain(chain, PAYLOAD, ANSWERS)
        started = time.process_time()
        for _ in range(10):
            run_chain(chain, PAYLOAD, ANSWERS)

        assert (time.process_time() - started) / 10 < 0.1

    def test_of_a_shipped_chain_is_a_run_of_the_workers_code(self) -> None:
        answers = {"summary": "Lock.", "checklist": CHECKLIST, "diagram": DIAGRAM}

        run = run_chain(CHAINS["guideline_checklist"], {"guidelines": "Passwords must be long."}, answers)

        assert list(run.result) == ["summary", "checklist", "checklist_items", "diagram"]
        assert run.job.steps[0].prompt_version == CHAINS["guideline_checklist"].calls[0].prompt_version

    def test_is_asked_again_for_an_answer_that_does_not_fit(self, chain: Chain) -> None:
        run = run_chain(chain, PAYLOAD, {**ANSWERS, "summary": InTurn([Raw("{}"), "Lock."])})

        assert run.status is Status.COMPLETED
        assert [call.step for call in run.calls] == ["summary", "summary", "duties"]
        assert "summary: Field required" in run.calls[1].prompt

    def test_waits_no_time_for_a_try_that_failed_for_a_while(self, chain: Chain) -> None:
        run = run_chain(chain, PAYLOAD, {**ANSWERS, "summary": InTurn([TransientModelError("503"), "Lock."])})

        assert run.status is Status.COMPLETED
        assert [wait.detail for wait in run.job.waits] == ["try 1: 503"]

    def test_fails_as_the_job_would(self, chain: Chain) -> None:
        run = run_chain(chain, PAYLOAD, {"summary": PermanentModelError("model_refused", "no")})

        assert run.status is Status.FAILED
        assert run.error
        assert (run.error.type, run.error.step) == ("model_refused", "summary")

    def test_keeps_to_a_budget(self, chain: Chain) -> None:
        run = run_chain(chain, PAYLOAD, ANSWERS, max_cost_usd=Decimal("0.00001"))

        assert run.error
        assert run.error.type == "budget_exceeded"

    def test_begins_after_the_steps_that_are_done(self, chain: Chain) -> None:
        run = run_chain(chain, PAYLOAD, {"duties": ["Lock."]}, done={"summary": "Done before."})

        assert [call.step for call in run.calls] == ["duties"]
        assert "Done before." in run.calls[0].prompt

    def test_is_answered_by_a_function_of_the_request(self, chain: Chain) -> None:
        run = run_chain(chain, PAYLOAD, {**ANSWERS, "summary": lambda request: f"{len(request.input)} characters"})

        assert run.result["summary"] == "72 characters"

    def test_without_an_answer_for_a_step_tells_which(self, chain: Chain) -> None:
        with pytest.raises(AssertionError, match="there is no answer for the step duties: give one"):
            run_chain(chain, PAYLOAD, {"summary": "Lock."})

    def test_with_too_few_answers_tells_how_many_were_asked_for(self, chain: Chain) -> None:
        with pytest.raises(AssertionError, match="the step summary was asked 2 times, and has 1 answers"):
            run_chain(chain, PAYLOAD, {"summary": InTurn([Raw("")])})

    def test_refuses_a_payload_as_the_api_does(self, chain: Chain) -> None:
        with pytest.raises(ValidationError, match="document"):
            run_chain(chain, {}, ANSWERS)

    def test_of_a_chain_with_a_mistake_is_none(self) -> None:
        with pytest.raises(ChainError):
            run_chain(Chain("guide"), {}, {})

    def test_shows_what_the_chains_own_code_raises(self) -> None:
        chain = Chain("guide", description="")

        @chain.code
        def length(document: Text) -> int:
            raise ZeroDivisionError("a bug")

        with pytest.raises(ZeroDivisionError, match="a bug"):
            run_chain(chain, PAYLOAD)

    @pytest.mark.parametrize("output", [None, {"a": 1}, ["no number"]])
    def test_shows_the_step_whose_code_gives_another_type_than_it_says(self, output: Any) -> None:
        chain = Chain("guide", description="")

        @chain.code
        def lengths(document: Text) -> list[int]:
            found: list[int] = output
            return found

        with pytest.raises(TypeError, match=r"test_testing_kit.py:\d+: the step lengths gives another type: "):
            run_chain(chain, PAYLOAD)

    @pytest.mark.parametrize(("output", "error"), [("x" * 350_001, OutputTooLarge), ({1, 2}, TypeError)])
    def test_shows_that_code_gives_what_can_not_be_stored(self, output: Any, error: type[Exception]) -> None:
        chain = Chain("guide", description="")

        @chain.code
        def found(document: Text) -> Any:
            return output

        with pytest.raises(error):
            run_chain(chain, PAYLOAD)


class TestARecording:
    def test_is_played_again(self, chain: Chain, tmp_path: Path) -> None:
        first = run_chain(chain, PAYLOAD, {**ANSWERS, "summary": InTurn([Raw("?"), "Lock."])})
        first.record(tmp_path / "answers.json")

        again = run_chain(chain, PAYLOAD, recorded(tmp_path / "answers.json"))

        assert again.result == first.result
        assert [call.answer for call in again.calls] == [call.answer for call in first.calls]

    def test_has_the_answers_for_each_part_of_a_long_text(self, tmp_path: Path) -> None:
        chain = Chain("guide", description="")

        @chain.ask(long=concatenate)
        def duties(document: Text) -> list[str]:
            """List the duties."""

        text = {"document": "Doors must be locked.\n\nWindows must be closed."}
        first = run_chain(chain, text, {"duties.part01": ["Lock."], "duties.part02": ["Close."]}, max_input_tokens=8)
        first.record(tmp_path / "answers.json")

        again = run_chain(chain, text, recorded(tmp_path / "answers.json"), max_input_tokens=8)

        assert again.result == first.result == {"duties": ["Lock.", "Close."]}


def described(prompt: str, answer: Any) -> Chain:
    """A chain of one step that asks for this with this prompt."""
    chain = Chain("guide", description="")

    def duties(document: Text) -> Any:
        pass

    duties.__doc__ = prompt
    duties.__annotations__["return"] = answer
    chain.ask(duties)
    return chain


class TestARecordingOfAnotherVersionOfTheChain:
    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        path = tmp_path / "answers.json"
        answers = {"duties": InTurn([Raw("?"), ["Lock."]])}
        run_chain(described("List the duties.", list[str]), PAYLOAD, answers).record(path)
        return path

    @pytest.mark.parametrize(
        ("prompt", "answer", "told"),
        [
            ("List all duties.", list[str], "the prompt of the step duties has changed"),
            ("List the duties.", list[str] | None, "the schema of the step duties has changed"),
            ("List all duties.", list[str] | None, "the prompt and schema of the step duties have changed"),
        ],
    )
    def test_is_played_with_a_warning_that_names_what_has_changed(
        self, file: Path, prompt: str, answer: Any, told: str
    ) -> None:
        with pytest.warns(RecordingOutdated) as warned:
            run = run_chain(described(prompt, answer), PAYLOAD, recorded(file))

        assert run.result == {"duties": ["Lock."]}
        assert [str(each.message) for each in warned] == [
            f"{file}: {told} since its answers were recorded: record them again with jobchain record"
        ]

    def test_is_played_without_a_warning_where_nothing_has_changed(self, file: Path) -> None:
        run = run_chain(described("List the duties.", list[str]), PAYLOAD, recorded(file))

        assert len(run.calls) == 2

    def test_of_an_earlier_format_is_played(self, file: Path) -> None:
        file.write_text('{"duties": ["{\\"duties\\": [\\"Lock.\\"]}"]}')

        assert run_chain(described("List all duties.", list[str]), PAYLOAD, recorded(file)).result == {
            "duties": ["Lock."]
        }


def test_needs_no_aws_client_and_no_sdk_of_a_model() -> None:
    program = "import sys, jobchain.testing; print(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()

    assert "boto3" not in loaded
    assert "openai._client" not in loaded
