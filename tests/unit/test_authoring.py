"""Chains as functions: what becomes of a function, and what is said about each mistake."""

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field, ValidationError

from jobchain import (
    Chain,
    ChainError,
    Long,
    Mermaid,
    PayloadField,
    Quote,
    SameAs,
    Table,
    Text,
    ask_again,
    check,
    concatenate,
    flowchart,
)
from jobchain.chains.chain import CodeStep
from jobchain.chains.fields import Payload
from jobchain.testing import run_chain
from tests.conftest import ROOT

EXAMPLE = ROOT / "examples" / "guideline.py"

numbers = iter(range(10_000))


@pytest.fixture
def written(tmp_path: Path) -> Iterator[Any]:
    """Writes a module with a chain, and imports it."""
    names = []

    def write(body: str) -> ModuleType:
        name = f"a_chain_{next(numbers)}"
        path = tmp_path / f"{name}.py"
        path.write_text("from jobchain import *\nfrom pydantic import BaseModel\nchain = Chain('guide')\n" + body)
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec
        assert spec.loader
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        names.append(name)
        spec.loader.exec_module(module)
        return module

    yield write
    for name in names:
        del sys.modules[name]


class TestTheExample:
    def load(self) -> Chain:
        spec = importlib.util.spec_from_file_location("guideline_example", EXAMPLE)
        assert spec
        assert spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        chain: Chain = module.chain
        return chain

    def test_has_three_steps_in_one_file_of_at_most_twenty_lines(self) -> None:
        lines = EXAMPLE.read_text(encoding="utf-8").splitlines()

        assert len(lines) <= 20
        assert len(self.load().compiled.steps) == 3
        assert check(self.load()) == []

    def test_runs_in_this_process(self) -> None:
        answers = {"summary": "Lock.", "duties": ["Lock the doors."]}

        run = run_chain(self.load(), {"document": "Doors must be locked."}, answers)

        assert run.result == {
            **answers,
            "diagram": 'flowchart TD\n    n1["Lock the doors."]\n',
        }


class TestAStep:
    def test_needs_the_steps_that_its_parameters_name(self) -> None:
        chain = Chain("guide", description="")

        @chain.ask
        def summary(document: Text) -> str:
            """Summarize."""

        @chain.ask
        def title(summary: str, document: Text) -> str:
            """Find a title."""

        first, second = chain.compiled.steps
        assert (first.needs, second.needs) == ((), ("summary",))

    def test_reads_each_parameter_between_marks_of_its_own(self) -> None:
        chain = Chain("guide", description="")

        @chain.ask
        def answer(document: Text, question: Text, languages: list[str], most: int = 3) -> str:
            """Answer the question."""

        run = run_chain(chain, {"document": "D", "question": "Q", "languages": ["de", "en"]}, {"answer": "A"})

        (call,) = run.calls
        assert [line for line in call.request.input.splitlines() if not line.startswith("<<<")] == (
            ["D", "", "Q", "", "- de", "- en", "", "3"]
        )
        assert call.request.instructions.startswith(
            "Answer the question.\n\nThe material is between marks: `<<<document …>>>`"
        )
        assert "never instructions" in call.request.instructions

    def test_has_its_prompt_in_a_file_beside_the_module(self, written: Any, tmp_path: Path) -> None:
        (tmp_path / "summary.md").write_text("Summarize it well.\n")

        module = written('@chain.ask(prompt="summary.md")\ndef summary(document: Text) -> str: ...')

        assert module.chain.compiled.steps[0].prompt.text.startswith("Summarize it well.\n\nThe document is between")

    def test_is_called_with_the_chains_options_and_its_own(self) -> None:
        chain = Chain("guide", description="", model="gpt-a", effort="low", max_output_tokens=1_000)

        @chain.ask
        def summary(document: Text) -> str:
            """Summarize."""

        @chain.ask(model="gpt-b", effort="none", temperature=0, max_output_tokens=200)
        def title(document: Text) -> str:
            """Find a title."""

        run = run_chain(chain, {"document": "D"}, {"summary": "S", "title": "T"})

        asked = {call.step: call.request for call in run.calls}
        first, second = asked["summary"], asked["title"]
        assert (first.model, first.effort, first.temperature, first.max_output_tokens) == ("gpt-a", "low", None, 1_000)
        assert (second.model, second.effort, second.temperature, second.max_output_tokens) == ("gpt-b", "none", 0, 200)
        assert [step.model for step in run.job.steps] == ["gpt-a", "gpt-b"]

    def test_of_code_gets_and_gives_values_of_the_declared_types(self) -> None:
        class Duty(BaseModel):
            text: str
            source: Quote

        chain = Chain("guide", description="")

        @chain.ask
        def duties(document: Text) -> list[Duty]:
            """List the duties."""

        @chain.code
        def doubtful(duties: list[Duty], document: Text) -> list[Duty]:
            assert document == "Lock the doors."
            return [duty for duty in duties if not duty.source.found]

        said = [{"text": "A", "source": "lock the DOORS"}, {"text": "B", "source": "Open them."}]
        run = run_chain(chain, {"document": " Lock the doors. "}, {"duties": said})

        assert isinstance(chain.compiled.steps[1], CodeStep)
        assert run.result["doubtful"] == [{"text": "B", "source": "Open them.", "source_found": False}]
        assert run.spending.calls == 1

    def test_may_be_the_payloads_field_of_another_name(self) -> None:
        chain = Chain("guide", description="")

        @chain.ask
        def first(document: Annotated[Text, PayloadField("first")]) -> str:
            """Read."""

        run = run_chain(chain, {"first": "A text"}, {"first": "Read."})

        assert chain.compiled.payload.model_fields.keys() == {"first"}
        assert "<<<document " in run.calls[0].request.input

    def test_makes_its_output_of_the_answer_by_its_own_code(self) -> None:
        def shouted(answer: str, times: int = 2) -> str:
            return answer.upper() * times

        chain = Chain("guide", description="")

        @chain.ask(then=shouted)
        def summary(document: Text) -> str:
            """Summarize."""

        run = run_chain(chain, {"document": "D", "times": 3}, {"summary": "s"})

        assert run.result == {"summary": "SSS"}

    def test_reads_what_its_own_code_writes(self) -> None:
        def outline(document: Text, most: int = 1) -> str:
            return document[:most]

        chain = Chain("guide", description="")

        @chain.ask(material={"outline": outline})
        def summary(document: Text) -> str:
            """Summarize."""

        (call,) = run_chain(chain, {"document": "Doors"}, {"summary": "s"}).calls

        assert call.request.input.splitlines()[1:-1] == ["D"]
        assert "`<<<outline …>>>`" in call.request.instructions
        assert "`<<<document" not in call.request.instructions


class TestAPayload:
    def payload_of(self, *fields: Any) -> type[BaseModel]:
        chain = Chain("guide", description="")

        @chain.ask
        def summary(
            document: Text,
            most: Annotated[int, Field(ge=1, le=9)] = 3,
            style: Literal["short", "long"] = "short",
        ) -> str:
            """Summarize."""

        return chain.compiled.payload

    def test_has_the_fields_that_no_step_provides_with_their_types_and_limits(self) -> None:
        schema = self.payload_of().model_json_schema()

        assert schema["required"] == ["document"]
        assert schema["properties"]["document"]["maxLength"] == 100_000
        assert (schema["properties"]["most"]["minimum"], schema["properties"]["most"]["default"]) == (1, 3)
        assert schema["properties"]["style"]["enum"] == ["short", "long"]

    @pytest.mark.parametrize(
        "sent",
        [
            {},
            {"document": " "},
            {"document": "D", "most": 10},
            {"document": "D", "style": "x"},
            {"document": "D", "x": 1},
        ],
    )
    def test_that_does_not_fit_is_refused(self, sent: dict[str, Any]) -> None:
        with pytest.raises(ValidationError):
            self.payload_of().model_validate(sent)

    def test_may_be_a_model_of_the_authors(self) -> None:
        class Order(BaseModel):
            document: Text
            copies: int = 1

        chain = Chain("guide", description="", payload=Order)

        @chain.ask
        def summary(document: Text) -> str:
            """Summarize."""

        @chain.code
        def copies_of(order: Order, summary: str) -> list[str]:
            return [summary] * order.copies

        run = run_chain(chain, {"document": "D", "copies": 2}, {"summary": "S"})

        assert run.result["copies_of"] == ["S", "S"]
        assert issubclass(chain.compiled.payload, Payload)
        with pytest.raises(ValidationError, match="Extra inputs"):
            run_chain(chain, {"document": "D", "more": 1}, {"summary": "S"})


LONG = "\n\n".join(f"Rule {number} must be kept by everyone in the house." for number in range(1, 10))


class TestALongText:
    def test_is_read_in_parts_whose_lists_are_put_together(self) -> None:
        chain = Chain("guide", description="")

        @chain.ask(long=concatenate)
        def rules(
            document: Text, language: Annotated[str, Field(max_length=9)]
        ) -> Annotated[list[str], Field(min_length=1)]:
            """List the rules."""

        parts = {
            "rules.part01": ["One", "Two"],
            "rules.part02": [],
            "rules.part03": ["Two", "Three"],
            "rules": ["Three"],
        }
        run = run_chain(chain, {"document": LONG, "language": "German"}, parts, max_input_tokens=40)

        assert run.result == {"rules": ["One", "Two", "Three"]}
        assert [call.step for call in run.calls] == [f"rules.part0{number}" for number in range(1, len(run.calls) + 1)]
        assert all("German" in call.request.input for call in run.calls)
        assert "one part of a longer one" in run.calls[0].request.instructions

    def test_is_put_together_by_the_prompt_once_more(self) -> None:
        chain = Chain("guide", description="")

        @chain.ask(long=ask_again)
        def summary(document: Text) -> str:
            """Summarize."""

        run = run_chain(
            chain,
            {"document": LONG},
            {"summary.part01": "One", "summary.part02": "Two", "summary": "All"},
            max_input_tokens=80,
        )

        assert run.result == {"summary": "All"}
        assert "<<<part " in run.calls[-1].request.input
        assert run.calls[-1].request.instructions.startswith("Summarize.\n\nEach part is")

    def test_has_prompts_and_a_merge_of_its_own(self, written: Any, tmp_path: Path) -> None:
        (tmp_path / "part.md").write_text("Count in the part.")
        (tmp_path / "merge.md").write_text("Add up.")
        module = written(
            "@chain.ask(long=Long(part='part.md', merge='merge.md', max_output_tokens=99))\n"
            "def number(document: Text) -> int:\n    'Count.'"
        )

        calls = run_chain(module.chain, {"document": LONG}, {"number": 2}, max_input_tokens=80).calls

        assert [call.request.instructions.partition("\n")[0] for call in calls] == (
            ["Count in the part."] * (len(calls) - 1) + ["Add up."]
        )
        assert [call.request.max_output_tokens for call in calls] == [99] * (len(calls) - 1) + [None]

    def test_of_several_has_to_be_named(self) -> None:
        chain = Chain("guide", description="")

        @chain.ask(long=concatenate)
        def rules(document: Text, other: Text) -> str:
            """List the rules."""

        (mistake,) = check(chain)
        assert mistake.what.endswith("name it, as in long=Long(of=…) (document, other)")

    def test_is_the_one_that_is_named_of_several(self) -> None:
        chain = Chain("guide", description="")

        @chain.ask(long=Long(merge=sum, of="document", shared=()))
        def number(question: Text, document: Text) -> int:
            """Count."""

        run = run_chain(chain, {"document": LONG, "question": "Q"}, {"number": 2}, max_input_tokens=80)

        assert run.result == {"number": 4}
        assert all(
            "<<<document " in call.request.input and "<<<question" not in call.request.input for call in run.calls
        )


class TestAResult:
    def test_says_of_each_part_how_to_show_it(self) -> None:
        class Duty(BaseModel):
            text: str
            strict: bool

        chain = Chain("guide", description="")

        @chain.ask
        def summary(document: Text) -> str:
            """Summarize."""

        @chain.ask
        def duties(document: Text) -> list[Duty]:
            """List."""

        @chain.code
        def drawing(duties: list[Duty]) -> Mermaid:
            return Mermaid(flowchart([("a", "b")], []))

        @chain.code
        def rows(duties: list[Duty]) -> Annotated[Table, SameAs("duties")]:
            return Table.of(("Duty",), [(duty.text,) for duty in duties])

        assert [*chain.compiled.view] == [
            {"name": "summary", "form": "text"},
            {
                "name": "duties",
                "form": "records",
                "fields": [{"name": "text", "form": "line"}, {"name": "strict", "form": "flag"}],
            },
            {"name": "drawing", "form": "diagram"},
            {"name": "rows", "form": "table", "same_as": "duties"},
        ]


ASK = "@chain.ask\ndef {}:\n    'Do it.'\n"


def ask(signature: str) -> str:
    """A step whose `def` is in the line after the one before it."""
    return ASK.format(signature)


MISTAKES = {
    "a need that does not exist": (
        ask("summary(document: Text) -> str") + ask("title(sumary: str) -> str"),
        7,
        "title needs sumary, and no step above it is called so: do you mean summary?",
    ),
    "a need that is no step and has no limit": (
        ask("title(text: str) -> str"),
        4,
        "title needs text, and no step above it is called so: use one of the steps above (none), or text: Text",
    ),
    "a text of the payload without a limit": (
        ask('title(document: Text, language: str = "German") -> str'),
        4,
        "title takes language with a default, so that it is a field of the payload: say how long its text may be, as "
        "in language: Line = 'German', or Text for more than a line",
    ),
    "a cycle": (
        ask("one(two: str) -> str") + ask("two(one: str) -> str"),
        4,
        "the steps need each other: one → two → one",
    ),
    "a step that needs itself": (ask("one(one: str) -> str"), 4, "the steps need each other: one → one"),
    "a step that needs one below it": (
        ask("one(two: str) -> str") + ask("two(document: Text) -> str"),
        4,
        "the step one needs two, which is below it: move two above one",
    ),
    "another type than the step gives": (
        ask("one(document: Text) -> list[str]") + ask("two(one: str) -> str"),
        7,
        "two needs one as str, which gives list[str]: write one: list[str]",
    ),
    "two steps of one name": (
        ask("one(document: Text) -> str") + ask("one(document: Text) -> str"),
        7,
        "there is a step one at ",
    ),
    "a dict": (ask("one(document: Text) -> dict[str, int]"), 4, "a dict has no fixed fields: use a list of models"),
    "a set": (ask("one(document: Text) -> set[str]"), 4, "no strict mode knows sets: use a list"),
    "a tuple": (ask("one(document: Text) -> tuple[int, str]"), 4, "no strict mode knows tuples"),
    "a list of anything": (ask("one(document: Text) -> list"), 4, "name the type of its entries, as in list[str]"),
    "anything": (ask("one(document: Text) -> object"), 4, "the answer of one: it is a object: use str, int"),
    "a quote alone": (ask("one(document: Text) -> list[Quote]"), 4, "is a Quote: make it a field of a model"),
    "a recursive model": (
        "class Tree(BaseModel):\n    children: list['Tree']\n" + ask("one(document: Text) -> Tree"),
        6,
        "the model Tree holds itself",
    ),
    "eleven models in each other": (
        "class M0(BaseModel):\n    x: int\n"
        + "".join(f"class M{n}(BaseModel):\n    x: M{n - 1}\n" for n in range(1, 11))
        + ask("one(document: Text) -> M10"),
        26,
        "M1.x is an object in 10 others: nest fewer models",
    ),
    "eleven models in each other, the inner ones met first where they are not too deep": (
        "class M0(BaseModel):\n    x: int\n"
        + "".join(f"class M{n}(BaseModel):\n    x: list[M{n - 1}] | None\n" for n in range(1, 8))
        + "".join(f"class M{n}(BaseModel):\n    x: M{n - 1}\n" for n in range(8, 11))
        + "class Root(BaseModel):\n    shallow: M7\n    deep: M10\n"
        + ask("one(document: Text) -> Root"),
        29,
        "M2.x is an object in 10 others: nest fewer models",
    ),
    "too many choices": (
        "from enum import Enum\nMany = Enum('Many', {f'c{n}': n for n in range(1001)})\n"
        + ask("one(document: Text) -> Many"),
        6,
        "it and the choices before it are more than 1000: use a str",
    ),
    "a model without a field": (
        "class Empty(BaseModel): ...\n" + ask("one(document: Text) -> list[Empty]"),
        5,
        "the model Empty has no field: give it one",
    ),
    "a field whose type is not defined": (
        "class Duty(BaseModel):\n    level: 'Nowhere'\n" + ask("one(document: Text) -> Duty"),
        6,
        "Duty.level has the type",
    ),
    "a function that nothing awaits": (
        "@chain.code\nasync def one(document: Text) -> str: return document",
        4,
        "the step one is async, and nothing awaits it: write def, without async",
    ),
    "a parameter by place": (ask("one(document: Text, /) -> str"), 4, "takes document by place"),
    "no name of a model": (
        "@chain.ask(model=' ')\ndef one(document: Text) -> str:\n    'x'",
        4,
        "the model of the step one has no name",
    ),
    "the whole payload in a prompt": (
        "class Order(BaseModel):\n    document: Text\nchain = Chain('guide', payload=Order)\n"
        + ask("one(order: Order) -> str"),
        7,
        "one reads the whole payload: name its fields, or write it with material=",
    ),
    "an empty prompt": (
        "import pathlib\npathlib.Path(__file__).with_name('empty.md').touch()\n"
        "@chain.ask(prompt='empty.md')\ndef one(document: Text) -> str: ...",
        6,
        "the prompt of the step one is empty: write it into ",
    ),
    "a need that long= does not know": (
        "@chain.ask(long=Long(merge=concatenate, shared=('x',)))\ndef one(document: Text) -> str:\n    'x'",
        4,
        "long= shares x, which is no other parameter",
    ),
    "a type of a payload that no JSON has": (
        "import threading\n" + ask("one(document: Text, shape: threading.Thread) -> str"),
        5,
        "the type of the payload's field shape can't be used",
    ),
    "a mention that is always there": (
        "class Action(BaseModel):\n    owner: Mention\n" + ask("one(document: Text) -> Action"),
        6,
        "Action.owner is None where the text does not have it: write Mention | None",
    ),
    "an alias": (
        "from pydantic import Field\nclass Duty(BaseModel):\n    text: str = Field(alias='t')\n"
        + ask("one(document: Text) -> Duty"),
        7,
        "Duty.text has an alias",
    ),
    "a parameter without a type": (
        ask("one(document) -> str"),
        4,
        "the parameter document of the step one has no type",
    ),
    "no answer's type": (ask("one(document: Text)"), 4, "the step one does not say what it gives"),
    "any parameters": (
        ask("one(*documents: Text) -> str"),
        4,
        "the step one takes documents by place, or any number: name each parameter",
    ),
    "no parameter": (ask("one() -> str"), 4, "the step one has nothing to work on"),
    "a type that is not defined": (
        ask("one(document: 'Txt') -> str"),
        4,
        "a type of the step one is not defined: name 'Txt'",
    ),
    "no prompt": (
        "@chain.ask\ndef one(document: Text) -> str: ...",
        4,
        'the step one has no prompt: write a docstring, or prompt="one.md"',
    ),
    "a prompt that is not there": (
        "@chain.ask(prompt='none.md')\ndef one(document: Text) -> str: ...",
        4,
        "the prompt of the step one is not there: write the file ",
    ),
    "an unknown effort": (
        "@chain.ask(effort='huge')\ndef one(document: Text) -> str:\n    'x'",
        4,
        "the effort of the step one is 'huge': use one of none, minimal",
    ),
    "no room": (
        "@chain.ask(max_output_tokens=1)\ndef one(document: Text) -> str:\n    'x'",
        4,
        "max_output_tokens of the step one is 1: use 16 or more",
    ),
    "a hot temperature": (
        "@chain.ask(temperature=3)\ndef one(document: Text) -> str:\n    'x'",
        4,
        "the temperature of the step one is 3: use 0 to 2",
    ),
    "a name in capitals": (ask("One(document: Text) -> str"), 4, "One can't be the name of a step"),
    "a chain without steps": ("", 3, "the chain guide has no step: add a function with @chain.ask"),
    "a field of two types": (
        ask("one(document: Text, most: int) -> str") + ask("two(document: Text, most: bool) -> str"),
        7,
        "the payload's field most has another type in two than above",
    ),
    "a long text of a step": (
        ask("one(document: Text) -> str") + "@chain.ask(long=concatenate)\ndef two(one: str) -> str:\n    'x'",
        7,
        "long= of the step two splits one text of the payload",
    ),
    "numbers put together": (
        "@chain.ask(long=concatenate)\ndef one(document: Text) -> int:\n    'x'",
        4,
        "concatenate takes lists and texts, and the step one gives neither: use long=ask_again",
    ),
    "code before parts": (
        "def upper(text: str) -> str: return text\n"
        "@chain.ask(long=concatenate, then=upper)\ndef one(document: Text) -> str:\n    'x'",
        5,
        "the step one has then= and long=",
    ),
    "a part that is shown twice": (
        "from typing import TypedDict\nclass Shown(TypedDict):\n    one: str\ndef show(output: str) -> Shown: ...\n"
        + ask("one(document: Text) -> str")
        + "@chain.ask(show=show)\ndef two(document: Text) -> str:\n    'x'",
        11,
        "two shows one, as a step above does",
    ),
    "parts without names": (
        "def show(output): ...\n@chain.ask(show=show)\ndef one(document: Text) -> str:\n    'x'",
        5,
        "show= of the step one does not name what it shows: have it give a TypedDict",
    ),
}


class TestAMistake:
    @pytest.mark.parametrize("name", MISTAKES)
    def test_is_found_before_anything_runs_and_names_the_line_and_the_fix(
        self, written: Any, tmp_path: Path, name: str
    ) -> None:
        body, line, what = MISTAKES[name]
        try:
            mistakes = check(written(body).chain)
        except ChainError as error:
            mistakes = [*error.mistakes]

        (mistake,) = mistakes
        assert what in mistake.what
        assert mistake.place.line == line
        assert str(mistake).startswith(f"{tmp_path}/a_chain_")

    def test_of_a_chain_is_found_too(self) -> None:
        with pytest.raises(ChainError, match=r"test_authoring.py:\d+: 'My chain' can't be the name of a chain"):
            Chain("My chain")

    def test_in_the_payloads_name_names_the_fields_that_there_are(self) -> None:
        class Order(BaseModel):
            document: Text

        chain = Chain("guide", description="", payload=Order)

        @chain.ask
        def summary(text: Text) -> str:
            """Summarize."""

        (mistake,) = check(chain)
        assert (
            "summary needs text: no step above it and no field of the payload is called so (document)" in mistake.what
        )

    def test_of_several_tells_all(self, written: Any) -> None:
        module = written(ask("one(three: str) -> str") + ask("two(four: str) -> str"))

        assert len(check(module.chain)) == 2

    def test_is_a_step_that_comes_too_late(self) -> None:
        chain = Chain("guide", description="")

        @chain.ask
        def summary(document: Text) -> str:
            """Summarize."""

        assert len(chain.compiled.steps) == 1

        def title(summary: str) -> str:
            """Find a title."""

        with pytest.raises(ChainError, match="the chain guide is in use"):
            chain.ask(title)

    def test_is_not_that_types_are_written_as_texts(self, tmp_path: Path) -> None:
        path = tmp_path / "later.py"
        path.write_text(
            "from __future__ import annotations\nfrom jobchain import *\nfrom pydantic import BaseModel\n"
            "chain = Chain('guide')\nclass Duty(BaseModel):\n    text: str\n    source: Quote\n"
            + ask("one(document: Text) -> list[Duty]")
            + "@chain.code\ndef two(one: list[Duty]) -> int:\n    return len(one)\n"
        )
        spec = importlib.util.spec_from_file_location("later", path)
        assert spec
        assert spec.loader
        module = importlib.util.module_from_spec(spec)
        sys.modules["later"] = module
        spec.loader.exec_module(module)

        run = run_chain(module.chain, {"document": "Lock."}, {"one": [{"text": "Lock", "source": "Lock."}]})

        assert run.result["two"] == 1
        del sys.modules["later"]

    def test_is_not_that_a_type_is_defined_further_down(self, written: Any) -> None:
        module = written(
            "@chain.ask\ndef one(document: Text) -> 'Duty':\n    'x'\nclass Duty(BaseModel):\n    text: str\n"
        )

        assert check(module.chain) == []


def test_a_chains_description_is_that_of_its_module() -> None:
    assert (
        Chain("guide").description
        == "Chains as functions: what becomes of a function, and what is said about each mistake."
    )
