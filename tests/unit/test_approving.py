"""Steps that a person decides as their authors write them: built, checked, tested, and run on one machine."""

import io
import json
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from jobchain import Chain, ChainError, Text, check
from jobchain.approvals import Approval, Decided, Decision
from jobchain.chains.approving import ApprovalStep, EditDoesNotFit
from jobchain.chains.chain import CodeStep, OutputTooLarge, StepContext
from jobchain.chains.definition import definition_of
from jobchain.chains.mistakes import collected
from jobchain.domain import Status
from jobchain.testing import Edit, ScriptedModel, run_chain
from jobchain_cli.errors import Code
from jobchain_worker.one_job import UndecidedStep, run_one
from tests.unit.test_author_commands import Terminal
from tests.unit.test_cli import Run, Said

PAYLOAD = {"document": "Doors must be locked."}
WEEK = 604_800


class Duty(BaseModel):
    text: str
    days: int


def made(**options: Any) -> Chain:
    chain = Chain("duties", description="")

    @chain.ask
    def duties(document: Text) -> list[Duty]:
        """List the duties."""
        raise NotImplementedError

    @chain.approve(**options)
    def review(duties: list[Duty], document: Text) -> list[Duty]:
        return [duty for duty in duties if duty.days < 100]

    @chain.code
    def count(review: list[Duty]) -> int:
        return sum(duty.days for duty in review)

    return chain


def edited(annotation: Any, value: Any) -> Any:
    """What a step of this type stores of an edit."""
    chain = Chain("edits", description="")

    def review(document: Text) -> Any:
        raise NotImplementedError

    review.__annotations__["return"] = annotation
    chain.approve(review)
    (step,) = chain.compiled.steps
    assert isinstance(step, ApprovalStep)
    return step.edited(value, StepContext(chain.compiled.payload.model_validate(PAYLOAD), {}))


ANSWERS = {"duties": [{"text": "Lock.", "days": 2}, {"text": "Wait.", "days": 1000}]}


class TestAStep:
    def test_shows_what_its_function_gives_and_later_steps_read_that(self) -> None:
        run = run_chain(made(), PAYLOAD, ANSWERS, decisions={"review": "approve"})
        assert run.outputs["review"] == [{"text": "Lock.", "days": 2}]
        assert run.outputs["count"] == 2
        (approval,) = run.job.approvals
        assert (approval.title, approval.on_deadline) == ("Review", "reject")
        assert approval.decided
        assert approval.decided.decision is Decision.APPROVE

    def test_that_is_edited_gives_the_edit_with_its_types(self) -> None:
        run = run_chain(made(), PAYLOAD, ANSWERS, decisions={"review": Edit([Duty(text="Lock twice.", days=7)])})
        assert run.outputs["count"] == 7

    def test_that_is_rejected_fails_the_job(self) -> None:
        run = run_chain(made(), PAYLOAD, ANSWERS, decisions={"review": "reject"})
        assert run.status is Status.FAILED
        assert run.error
        assert (run.error.type, run.error.step) == ("approval_rejected", "review")
        assert "count" not in run.outputs

    def test_that_nobody_decides_fails_the_test_with_what_to_give(self) -> None:
        with pytest.raises(AssertionError, match=r"give one, as in decisions=\{'review': 'approve'\}"):
            run_chain(made(), PAYLOAD, ANSWERS)

    def test_that_is_edited_to_another_type_fails_the_test(self) -> None:
        with pytest.raises(AssertionError, match=r"the edit of the step review does not fit: 0\.days"):
            run_chain(made(), PAYLOAD, ANSWERS, decisions={"review": Edit([{"text": "Lock.", "days": "soon"}])})

    def test_is_built_with_its_options(self) -> None:
        step = made(title=" Review the duties ", deadline_seconds=60, on_deadline="approve").compiled.steps[1]
        assert isinstance(step, ApprovalStep)
        assert step.title == "Review the duties"
        assert step.options[1:] == (60, "approve")
        default = made().compiled.steps[1]
        assert isinstance(default, ApprovalStep)
        assert default.options == (None, WEEK, "reject")

    def test_can_be_declared_without_options(self) -> None:
        chain = Chain("plain", description="")

        @chain.approve
        def review(document: Text) -> str:
            return document

        assert run_chain(chain, PAYLOAD, decisions={"review": "approve"}).result == {"review": PAYLOAD["document"]}

    def test_shows_no_more_than_can_be_kept_with_an_edit(self) -> None:
        chain = Chain("plain", description="")

        @chain.approve
        def review(document: Text) -> list[str]:
            return [document] * 3

        with pytest.raises(OutputTooLarge, match="the most is 150000"):
            run_chain(chain, {"document": "a" * 60_000}, decisions={"review": "approve"})

    def test_takes_no_edit_that_is_too_large_and_does_not_read_it(self) -> None:
        # A fault of each of millions of values takes minutes.
        with pytest.raises(EditDoesNotFit, match="the most is 150000"):
            edited(list[str], [1] * 100_000)

    @pytest.mark.parametrize("value", [[float("inf")], [float("-inf")], ["NaN"], ["-Infinity"], [{"a": float("inf")}]])
    def test_takes_no_number_that_json_does_not_have(self, value: Any) -> None:
        with pytest.raises(EditDoesNotFit, match="infinite or NaN"):
            edited(list[float | dict[str, float]], value)

    def test_is_a_part_of_the_chains_version_and_no_other_step_is(self) -> None:
        versions = {definition_of(made(**options).compiled, "m").version for options in ({}, {"title": "Another"})}
        assert len(versions) == 2
        code = next(step for step in definition_of(made().compiled, "m").content["steps"] if step["name"] == "count")
        assert [*code] == ["name", "needs", "output"]

    def test_waits_until_nothing_else_is_left_to_do(self) -> None:
        chain = Chain("parallel", description="")

        @chain.approve
        def review(document: Text) -> str:
            return document

        @chain.code
        def other(document: Text) -> int:
            return len(document)

        @chain.approve
        def second(document: Text) -> str:
            return document

        seen: list[str] = []

        def decide(approval: Approval) -> Decided:
            seen.append(approval.step)
            return Decided(Decision.APPROVE)

        job = run_one(chain.compiled, PAYLOAD, ScriptedModel({}), decide=decide)
        assert seen == ["review", "second"]
        assert [step.name for step in job.steps] == ["other", "review", "second"]

    def test_that_nobody_can_decide_stops_a_run(self) -> None:
        chain = Chain("plain", description="")

        @chain.approve
        def review(document: Text) -> str:
            return document

        with pytest.raises(UndecidedStep, match="the step review waits"):
            run_one(chain.compiled, PAYLOAD, ScriptedModel({}))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"title": " "}, "title= of the step review has 0 characters: give 1 to 100"),
        ({"title": "a" * 101}, "title= of the step review has 101 characters: give 1 to 100"),
        ({"deadline_seconds": 59}, "deadline_seconds= of the step review is 59: use a whole number from 60 to 604800"),
        ({"deadline_seconds": WEEK + 1}, "use a whole number from 60 to 604800"),
        ({"deadline_seconds": 60.5}, "deadline_seconds= of the step review is 60.5: use a whole number"),
        ({"deadline_seconds": True}, "deadline_seconds= of the step review is True: use a whole number"),
        ({"on_deadline": "later"}, "on_deadline= of the step review is 'later': use 'approve' or 'reject'"),
    ],
)
def test_a_mistake_in_an_option_is_found_at_import_with_its_line(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ChainError) as refused:
        made(**options)
    (mistake,) = refused.value.mistakes
    assert told in mistake.what
    assert mistake.place.file == __file__


def test_what_a_step_may_not_be_is_found_by_check() -> None:
    with collected() as mistakes:
        chain = Chain("wrong", description="")

        @chain.approve
        def nothing() -> str:
            return ""

        @chain.approve
        def untyped(document: Text):  # type: ignore[no-untyped-def]
            return document

    found = [mistake.what for mistake in [*mistakes, *check(chain)]]
    assert any("the step nothing has nothing to show: give it a parameter, such as summary: str" in w for w in found)
    assert any("the step untyped does not say what it gives" in what for what in found)


def test_a_later_step_that_takes_another_type_is_a_mistake() -> None:
    chain = Chain("wrong", description="")

    @chain.approve
    def review(document: Text) -> str:
        return document

    @chain.code
    def later(review: int) -> int:
        return review

    (mistake,) = check(chain)
    assert "later needs review as int, which gives str" in mistake.what


def test_is_a_code_step_to_all_that_only_reads_chains() -> None:
    assert isinstance(made().compiled.steps[1], CodeStep)


MODULE = """\
from jobchain import Chain, Text

chain = Chain("letters")


@chain.approve(title="Review the letter")
def review(document: Text) -> str:
    return document


@chain.approve
def words(review: str) -> list[str]:
    return review.split()
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a chain and a text."""
    (tmp_path / "letters_chain.py").write_text(MODULE)
    (tmp_path / "a.md").write_text("Lock doors.")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    return tmp_path


@pytest.fixture
def jobchain(home: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    from jobchain_cli.__main__ import main  # noqa: PLC0415  # after the folder is set

    def run(*arguments: str) -> Said:
        code = main(list(arguments))
        return Said(code, *capsys.readouterr())

    yield run
    sys.modules.pop("letters_chain", None)


def typed(monkeypatch: pytest.MonkeyPatch, *answers: str) -> None:
    """What is typed at the terminal, a line for each question."""
    monkeypatch.setattr(sys, "stdin", Terminal("".join(f"{answer}\n" for answer in answers)))


def uses_editor(monkeypatch: pytest.MonkeyPatch, folder: Path, saved: list[str | None]) -> None:
    """The editor saves these texts, one each time that it is called; with None it saves nothing."""
    script, state = folder / "editor.py", folder / "saved.json"
    state.write_text(json.dumps(saved))
    script.write_text(
        "import json, pathlib, sys\n"
        f"state = pathlib.Path({str(state)!r})\n"
        "text, *others = json.loads(state.read_text())\n"
        "state.write_text(json.dumps(others))\n"
        "if text is not None:\n"
        "    pathlib.Path(sys.argv[1]).write_text(text)\n"
    )
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", shlex.join([sys.executable, str(script)]))


class TestARunOnThisMachine:
    def test_approves_the_steps_that_it_is_told_to(self, jobchain: Run) -> None:
        said = jobchain("run", "letters_chain", "a.md", "--approve", "review", "--approve", "words", "--json")
        assert said.code == Code.DONE, said.err
        assert json.loads(said.out)["result"] == {"review": "Lock doors.", "words": ["Lock", "doors."]}
        assert "review: approved by --approve" in said.err

    def test_asks_at_the_terminal(self, jobchain: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        typed(monkeypatch, "what?", "a", "approve")
        said = jobchain("run", "letters_chain", "a.md", "--json")
        assert said.code == Code.DONE, said.err
        assert "Review the letter" in said.err
        assert "Lock doors." in said.err

    def test_fails_where_a_step_is_rejected(self, jobchain: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        typed(monkeypatch, "r")
        said = jobchain("run", "letters_chain", "a.md")
        assert said.code == Code.FAILED
        assert "approval_rejected: the step review was rejected" in said.err

    def test_takes_an_edit_and_asks_again_for_one_that_does_not_fit(
        self, jobchain: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        uses_editor(monkeypatch, tmp_path, ["Close doors.\n", "no JSON", "[1]", None, '["Close"]'])
        typed(monkeypatch, "e", "e", "e", "e", "e")
        said = jobchain("run", "letters_chain", "a.md", "--json")
        assert said.code == Code.DONE, said.err
        assert json.loads(said.out)["result"] == {"review": "Close doors.", "words": ["Close"]}
        assert said.err.count("the edit does not fit: ") == 2
        assert "nothing was saved" in said.err

    @pytest.mark.parametrize(
        ("editor", "why"),
        [
            ("no-such-editor --wait", "the editor 'no-such-editor --wait' can't be run"),
            ("'", "the editor \"'\" can't be run (No closing quotation): set EDITOR to another one"),
            ("false", "the editor 'false' failed (exit code 1)"),
        ],
    )
    def test_says_what_is_wrong_with_the_editor(
        self, jobchain: Run, monkeypatch: pytest.MonkeyPatch, editor: str, why: str
    ) -> None:
        monkeypatch.setenv("VISUAL", editor)
        typed(monkeypatch, "e")
        said = jobchain("run", "letters_chain", "a.md")
        assert said.code == Code.ERROR
        assert why in said.err

    def test_says_what_to_give_where_there_is_no_terminal(self, jobchain: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "stdin", io.StringIO())
        said = jobchain("run", "letters_chain", "a.md", "--approve", "review")
        assert said.code == Code.ERROR
        assert "the step words waits for a decision: give --approve words, or run it in a terminal" in said.err

    def test_refuses_a_step_that_nobody_decides(self, jobchain: Run) -> None:
        said = jobchain("run", "letters_chain", "a.md", "--approve", "reviw")
        assert said.code == Code.USAGE
        assert "--approve reviw: of the steps that a person decides, the chain has review, words" in said.err
