import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import jsonschema
import openai  # noqa: TID251 - the real client proves that the stand-in speaks its language
import pytest
from pydantic import BaseModel, Field

from jobchain.chains import CHAINS
from jobchain.chains.chain import StepContext
from jobchain.strict_schema import strict_schema
from jobchain_offline.answering import MODEL, material
from jobchain_offline.extract import due, key, obligations, owner, read, sentences, strength, summarize
from jobchain_offline.schema_answer import fill
from local.offline_model import complete, respond, running

COMPARE_GUIDELINES = CHAINS["compare_guidelines"]
EXTRACT_ACTIONS = CHAINS["extract_actions"]
GUIDELINE_CHECKLIST = CHAINS["guideline_checklist"]

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*(ROOT.parent / "shared/guidelines").glob("*-*.md"), *(ROOT / "examples").glob("*.md")])

POLICY = """# Password policy

This policy says how **passwords** are kept at [Example](https://example.com/a_(b)). ![logo](logo.png)
It holds for all
systems that we run.

## 1. Storage

Passwords must be hashed with `Argon2id`. Why should we care? Hashes are hard to reverse, e.g. by brute force.

```python
hash(password)  # must not be MD5
```

| Length | Rule |
|--------|------|
| 12 | Passwords should have twelve characters or more. |

- [ ] Use a *different* salt
  for each password.
    - Never log a password.
- [Storage sheet](storage.md)

> Rotate a password only after a leak.

Every system must do the following:

1. Lock an account after ten failures.
"""
RUNBOOK = """# Restore a database

The restore takes an hour. Announce the restore in the channel first. You should stop all writers before it.
Always verify the row counts afterwards. Alice will update the status page by 2026-12-01.
"""

LAMP = "Set the green lamp to 42."
TREE = {
    "type": "object",
    "properties": {
        "children": {"type": "array", "items": {"$ref": "#/$defs/tree"}},
        "words": {"type": "array", "items": {"type": "string"}},
    },
}


class Rule(BaseModel):
    text: str
    category: str
    priority: Literal["high", "medium", "low"]
    quote: str


class Rules(BaseModel):
    items: list[Rule] = Field(max_length=5)


class Action(BaseModel):
    task: str
    owner: str | None
    due: str | None


class Actions(BaseModel):
    actions: list[Action]


class Comparison(BaseModel):
    both: list[str]
    only_a: list[str]
    only_b: list[str]
    contradictions: list[Rule]


Summary, Checklist, Diagram = (step.answer for step in GUIDELINE_CHECKLIST.calls)
(ActionsStep,) = (step.answer for step in EXTRACT_ACTIONS.calls)
Obligations, _, ComparisonStep = (step.answer for step in COMPARE_GUIDELINES.calls)
MODELS: list[type[BaseModel]] = [Summary, Checklist, Diagram, Rules, Actions, Comparison]
MODELS += [ActionsStep, Obligations, ComparisonStep]


def json_schema(schema: dict[str, Any]) -> Any:
    return {"format": {"type": "json_schema", "name": "answer", "strict": True, "schema": schema}}


def answer(schema: dict[str, Any], prompt: str) -> Any:
    response = respond({"input": prompt, "text": json_schema(schema)})
    return json.loads(response["output"][0]["content"][0]["text"])


def ask(model: type[BaseModel], *texts: str) -> Any:
    blocks = [f"<<<document {i:012x}>>>\n{text}\n<<<end {i:012x}>>>" for i, text in enumerate(texts)]
    schema = model.model_json_schema()
    found = answer(schema, "\n\n".join(["You must answer in JSON.", *blocks]))
    jsonschema.validate(found, schema)
    return found


@pytest.fixture(scope="module")
def client() -> Iterator[openai.OpenAI]:
    with running() as url, openai.OpenAI(api_key="any", base_url=url, max_retries=0, timeout=120) as client:
        yield client


# Through the server, with OpenAI's own client


def test_the_sdk_parses_a_structured_answer_and_reads_its_usage(client: openai.OpenAI) -> None:
    response = client.responses.parse(model="m", instructions="Draw.", input=POLICY, text_format=Diagram, store=False)

    assert isinstance(response.output_parsed, Diagram)
    assert (response.status, response.error, response.incomplete_details) == ("completed", None, None)
    assert response.usage is not None
    assert response.usage.input_tokens == -(-len("Draw." + POLICY) // 4)
    assert response.usage.output_tokens == -(-len(response.output_text.encode()) // 4)
    assert response.usage.total_tokens == response.usage.input_tokens + response.usage.output_tokens
    assert response.usage.input_tokens_details.cached_tokens == 0
    assert response.usage.output_tokens_details.reasoning_tokens == 0


def test_the_sdk_parses_a_structured_chat_and_reads_its_usage(client: openai.OpenAI) -> None:
    messages: Any = [{"role": "system", "content": "Draw."}, {"role": "user", "content": POLICY}]

    completion = client.chat.completions.parse(model="m", messages=messages, response_format=Diagram)

    (choice,) = completion.choices
    assert isinstance(choice.message.parsed, Diagram)
    assert (choice.finish_reason, choice.message.refusal) == ("stop", None)
    assert completion.model == MODEL
    usage = completion.usage
    assert usage is not None
    assert usage.prompt_tokens == -(-len("Draw." + POLICY) // 4)
    assert usage.completion_tokens == -(-len((choice.message.content or "").encode()) // 4)
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens


def test_both_apis_give_the_same_answer_for_the_same_tokens() -> None:
    schema = Rules.model_json_schema()
    messages = [{"role": "system", "content": "Find rules."}, {"role": "user", "content": POLICY}]
    chat_format = {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": schema}}

    response = respond({"instructions": "Find rules.", "input": POLICY, "text": json_schema(schema)})
    completion = complete({"messages": messages, "response_format": chat_format})

    assert completion["choices"][0]["message"]["content"] == response["output"][0]["content"][0]["text"]
    usage, chat_usage = response["usage"], completion["usage"]
    assert (usage["input_tokens"], usage["output_tokens"]) == (
        chat_usage["prompt_tokens"],
        chat_usage["completion_tokens"],
    )


def test_a_chat_without_a_format_is_answered_in_plain_text(client: openai.OpenAI) -> None:
    messages: Any = [{"role": "user", "content": "Doors must be locked."}]

    completion = client.chat.completions.create(model="m", messages=messages)

    assert completion.choices[0].message.content == "Doors must be locked."


def test_the_count_of_tokens_is_that_of_an_answers_usage(client: openai.OpenAI) -> None:
    counted = client.responses.input_tokens.count(model="m", instructions="Draw.", input="密" + POLICY)
    response = client.responses.create(model="m", instructions="Draw.", input="密" + POLICY)

    assert response.usage is not None
    assert counted.input_tokens == response.usage.input_tokens == -(-len(("Draw.密" + POLICY).encode()) // 4)


def test_a_model_can_be_looked_up_and_has_no_end(client: openai.OpenAI) -> None:
    assert (client.models.retrieve(MODEL).id, client.models.retrieve(MODEL).shutdown_date) == (MODEL, None)
    assert [(model.id, model.shutdown_date) for model in client.models.list()] == [(MODEL, None)]


def test_a_model_that_it_is_not_is_not_found(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="The model 'gpt/6' does not exist") as caught:
        client.models.retrieve("gpt/6")

    assert caught.value.code == "model_not_found"


def test_the_one_model_says_that_it_is_no_gpt(client: openai.OpenAI) -> None:
    response = client.responses.create(model="gpt-5-nano", input="Text.")

    assert response.model == "offline-extract-1-not-a-gpt"
    assert [model.id for model in client.models.list()] == ["offline-extract-1-not-a-gpt"]


def test_an_unknown_path_is_not_found(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="Unknown path /v1/embeddings"):
        client.embeddings.create(model="m", input="text")
    with pytest.raises(openai.NotFoundError, match="Unknown path /v1/files"):
        client.files.list()


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ({"model": "m"}, "'input' must be a string"),
        ({"input": ["text"]}, "'input' must be a string"),
        ({"input": "text", "text": {"format": {"type": "json_object"}}}, "'text.format' must be"),
        ({"input": "text", "text": json_schema({"type": "string", "pattern": "^[A-Z]$"})}, "keyword 'pattern'"),
        ({"input": "text", "text": json_schema({"type": ["string", "null"]})}, "type .'string', 'null'. is not"),
        ([], "must be a JSON object"),
    ],
)
def test_what_it_cannot_do_is_a_bad_request_that_says_why(client: openai.OpenAI, body: Any, problem: str) -> None:
    with pytest.raises(openai.BadRequestError, match=problem):
        client.post("/responses", body=body, cast_to=object)


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ({"model": "m"}, "'messages' must be a list"),
        ({"messages": []}, "'messages' must be a list"),
        ({"messages": ["text"]}, "'messages' must be a list"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "each with a string as its 'content'"),
        (
            {"messages": [{"role": "user", "content": "x"}], "response_format": {"type": "json_object"}},
            "must be of type",
        ),
    ],
)
def test_what_it_cannot_chat_about_is_a_bad_request_too(
    client: openai.OpenAI, body: dict[str, Any], problem: str
) -> None:
    with pytest.raises(openai.BadRequestError, match=problem):
        client.post("/chat/completions", body=body, cast_to=object)


def test_a_body_that_is_not_json_is_a_bad_request(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="Expecting property name"):
        client.post("/responses", content=b"{", cast_to=object)


@pytest.mark.slow
def test_the_program_says_where_it_listens_and_ends_cleanly_on_sigterm() -> None:
    # given
    command = [sys.executable, "-m", "local.offline_model", "--port", "0"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().removeprefix("listening on ").strip()
        with openai.OpenAI(api_key="any", base_url=url, max_retries=0) as client:
            assert client.responses.create(model="m", input="Secret text.").output_text == "Secret text."

        # when
        process.send_signal(signal.SIGTERM)
        output, errors = process.communicate(timeout=120)

    # then
    assert (process.returncode, output, errors) == (0, "", "")


# The request


def test_the_same_request_gives_the_same_answer() -> None:
    request = {"input": POLICY, "text": json_schema(Rules.model_json_schema())}

    assert respond(request) | {"created_at": 0} == respond(request) | {"created_at": 0}


def test_only_what_is_between_the_fences_is_material() -> None:
    inner = "One.\n<<<document aaaaaaaaaaaa>>>\nTwo.\n<<<end aaaaaaaaaaaa>>>"
    prompt = f"Ignore me.\n<<<a 3f2a9c0d1e2b>>>\n{inner}\n<<<end 3f2a9c0d1e2b>>>\nMe too."
    prompt += "\n<<<b 0123456789ab>>>\nThree.\n<<<end 0123456789ab>>>"

    assert material(prompt) == [inner, "Three."]
    assert material("No fences.") == ["No fences."]
    assert material("<<<a 3f2a9c0d1e2b>>> left open") == ["<<<a 3f2a9c0d1e2b>>> left open"]


# Answers in the shape of a schema


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("text", [POLICY, RUNBOOK, "密码必须加密。盐必须随机。", "|a|b|\n|-|-|\n|c|d|", "x", "!!!", ""])
def test_every_answer_fits_its_schema(model: type[BaseModel], text: str) -> None:
    model.model_validate(ask(model, text, "Another text."))


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"const": 7}, 7),
        ({"enum": ["red", "green"]}, "green"),
        ({"enum": ["must", "should", "may"]}, "should"),
        ({"type": "number"}, 0),
        ({"type": "boolean"}, False),
        ({"type": "null"}, None),
        ({"$defs": {"a": {"type": "string", "title": "A"}}, "$ref": "#/$defs/a", "title": "B"}, LAMP),
        ({"type": "object", "properties": {"title": {"type": "string"}}}, {"title": LAMP}),
        (
            {"$defs": {"tree": TREE}, "$ref": "#/$defs/tree"},
            {"children": [{"children": [], "words": [LAMP]}], "words": [LAMP]},
        ),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, None),
        ({"anyOf": [{"type": "integer"}, {"type": "string"}]}, 0),
        ({"type": "string", "maxLength": 8}, "Set the"),
        ({"type": "array", "items": {"type": "string"}, "minItems": 2}, [LAMP] * 2),
    ],
)
def test_each_keyword_is_honoured(schema: dict[str, Any], expected: object) -> None:
    assert answer(schema, LAMP) == expected


def test_a_checklist_becomes_a_chain_of_nodes() -> None:
    long_item = "Hash all the passwords with Argon2id and with nineteen mebibytes of memory"

    diagram = ask(Diagram, f"- Use a salt\n- {long_item}\n1. Go")

    labels = ["Use a salt", "Hash all the passwords with Argon2id and with nineteen…", "Go"]
    assert diagram["nodes"] == [{"id": f"n{i}", "label": label, "kind": "step"} for i, label in enumerate(labels, 1)]
    assert diagram["edges"] == [{"source": f"n{i}", "target": f"n{i + 1}", "label": ""} for i in (1, 2)]


def drawn(checklist: str) -> list[str]:
    """The arrows of a checklist's diagram, as "label -word-> label"; a decision's label is in braces."""
    diagram = ask(Diagram, checklist)
    marks = {"topic": "({})", "step": "{}", "decision": "{{{}}}"}
    nodes = {node["id"]: marks[node["kind"]].format(node["label"]) for node in diagram["nodes"]}
    return [f"{nodes[edge['source']]} -{edge['label']}-> {nodes[edge['target']]}" for edge in diagram["edges"]]


@pytest.mark.parametrize(
    ("checklist", "arrows"),
    [
        (
            "- If a door is open, close it.\n- Go home.",
            ["{A door is open?} -yes-> Close it.", "Close it. --> Go home.", "{A door is open?} -no-> Go home."],
        ),
        (
            "- When a door is open, then close it; otherwise leave it alone.",
            ["{A door is open?} -yes-> Close it.", "{A door is open?} -no-> Leave it alone."],
        ),
        (
            "- Doors must be locked unless somebody is in.\n- Go home.",
            [
                "{Somebody is in?} -no-> Doors must be locked.",
                "Doors must be locked. --> Go home.",
                "{Somebody is in?} -yes-> Go home.",
            ],
        ),
        ("- Unless it rains, go out.", ["{It rains?} -no-> Go out."]),
        ("- Lock the door when you leave.", ["{You leave?} -yes-> Lock the door."]),
        # What only looks like a condition of the item.
        ("- Open it only if asked.\n- Go.", ["Open it only if asked. --> Go."]),
        ("- Ask if the door is open.\n- Go.", ["Ask if the door is open. --> Go."]),
        ("- Find out when it opens.\n- Go.", ["Find out when it opens. --> Go."]),
        ("- Notice when it opens.\n- Go.", ["Notice when it opens. --> Go."]),
        ("- If in doubt: ask.\n- Go.", ["If in doubt: ask. --> Go."]),
        ("- Log who entered, when, and why.\n- Go.", ["Log who entered, when, and why. --> Go."]),
    ],
)
def test_an_item_with_a_condition_is_a_decision_with_its_branches(checklist: str, arrows: list[str]) -> None:
    assert drawn(checklist) == arrows


def test_each_category_is_drawn_above_its_items() -> None:
    assert drawn("## Doors\n- Lock them.\n- Oil them.\n\n## Windows\n- Close them.") == [
        "(Doors) --> Lock them.",
        "Lock them. --> Oil them.",
        "(Windows) --> Close them.",
    ]


def test_one_category_has_nothing_to_be_told_apart_from() -> None:
    assert drawn("## Doors\n- Lock them.\n- Oil them.") == ["Lock them. --> Oil them."]


def test_many_categories_share_four_columns_in_their_order() -> None:
    arrows = drawn("\n\n".join(f"## Room {n}\n- Clean room {n}." for n in range(8)))

    assert arrows[:3] == ["(Room 0) --> Clean room 0.", "Clean room 0. --> (Room 1)", "(Room 1) --> Clean room 1."]
    starts = {arrow.partition(" -")[0] for arrow in arrows} - {arrow.rpartition("> ")[2] for arrow in arrows}
    assert starts == {"(Room 0)", "(Room 2)", "(Room 4)", "(Room 6)"}


@pytest.mark.parametrize("count", [1, 20, 30, 50])
def test_a_diagram_of_any_checklist_has_no_more_nodes_than_its_chain_takes(count: int) -> None:
    checklist = "\n\n".join(f"## Room {n}\n- If room {n} is dirty, clean number {n}." for n in range(count))

    diagram = ask(Diagram, checklist)

    Diagram.model_validate(diagram)
    steps = [node["label"] for node in diagram["nodes"] if node["kind"] == "step"]
    assert len(steps) == count


@pytest.mark.parametrize("checklist", [POLICY, RUNBOOK, "- If a, b.\n- Unless c, d; otherwise e."])
def test_every_word_of_a_diagram_is_the_checklists(checklist: str) -> None:
    diagram = ask(Diagram, checklist)

    for node in diagram["nodes"]:
        assert key(node["label"]) in key(checklist)
    assert {edge["label"] for edge in diagram["edges"]} <= {"", "yes", "no"}


def test_a_rule_carries_its_sentence_its_heading_and_how_strongly_it_obliges() -> None:
    rules = {rule["text"]: rule for rule in ask(Rules, POLICY)["items"]}

    sentence = "Passwords must be hashed with Argon2id."
    assert rules[sentence] == {"text": sentence, "quote": sentence, "category": "Storage", "priority": "high"}
    assert rules["Passwords should have twelve characters or more."]["priority"] == "medium"
    assert rules["Use a different salt for each password."]["priority"] == "medium"


def test_an_action_names_an_owner_and_a_date_only_where_the_text_does() -> None:
    actions = {action["task"]: action for action in ask(Actions, RUNBOOK)["actions"]}

    task = "Alice will update the status page by 2026-12-01."
    assert actions[task] == {"task": task, "owner": "Alice", "due": "2026-12-01"}
    verify = actions["Always verify the row counts afterwards."]
    assert (verify["owner"], verify["due"]) == (None, None)


def test_no_action_is_found_where_none_is() -> None:
    assert ask(Actions, "It rained. The plan was good.") == {"actions": []}


def test_the_source_of_an_item_is_its_sentence_and_that_of_an_arrow_a_node() -> None:
    schema = {
        "type": "object",
        "properties": {
            "items": {
                "type": "array",
                "items": {"type": "object", "properties": {"source": {"type": "string"}, "id": {"type": "string"}}},
            },
            "edges": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {"source": {"type": "string"}, "target": {"type": "integer"}},
                },
            },
        },
    }

    found = answer(schema, "- You must go.\n- Never stay.")

    assert found["items"] == [{"source": one, "id": one} for one in ("You must go.", "Never stay.")]
    assert found["edges"] == [{"source": "n1", "target": 2}]


def test_two_documents_contradict_each_other_where_only_their_numbers_differ() -> None:
    first = "- You must wait for 12 days.\n- Never stay."
    second = "- You must wait for 8 days.\n- Always run."

    assert ask(ComparisonStep, first, second) == {
        "both": [],
        "only_first": ["Never stay."],
        "only_second": ["Always run."],
        "contradictions": [
            {
                "first": "You must wait for 12 days.",
                "second": "You must wait for 8 days.",
                "explanation": "12 ≠ 8",
            }
        ],
    }


def test_two_documents_are_compared_by_what_they_demand() -> None:
    assert ask(Comparison, "- You must go.\n- Never stay.", "- You must go!\n- Always run.") == {
        "both": ["You must go."],
        "only_a": ["Never stay."],
        "only_b": ["Always run."],
        "contradictions": [],
    }


# The extraction


@pytest.mark.parametrize(
    "heading",
    [
        "# Access",
        "### 3. Access",
        "Access\n======",
        "Access\n---",
        "1. Access",
        "2.1 Access",
        "2) Access",
        "Section 4: Access",
        "**Access**",
        "__Access:__",
        "**Access**:",
        "ACCESS",
        "Access:",
        "1. Access\n",
        "Access\n",
    ],
)
def test_a_heading_of_any_form_is_a_category(heading: str) -> None:
    rules = ask(Rules, f"Doors must be locked.\n\n{heading}\nBadges must be worn. Guests should sign in.")["items"]

    named = {rule["text"]: rule["category"].title() for rule in rules}
    assert named == {
        "Doors must be locked.": "General",
        "Badges must be worn.": "Access",
        "Guests should sign in.": "Access",
    }


@pytest.mark.parametrize(
    "text",
    [
        "1. Lock doors\n2. Wear badges\n",
        "1. Lock the doors of all rooms\nthat have a window.\n",
        "1. Doors\n\n2. Windows\n\n3. Roofs",
        "DOORS MUST BE LOCKED",
        "**Never share a badge**",
        "**Doors are locked at night.**",
        "Do these:\n\n- One\n- Two",
        "The list of doors is:\n\n- One\n- Two",
        "Note:\nDoors are heavy.",
        "[!WARNING]\nDoors are heavy.",
        "Buy milk\n\nCall Bob",
        "title: a\n---\nb",
    ],
)
def test_a_line_that_says_something_is_no_heading(text: str) -> None:
    assert "heading" not in {block.kind for block in read(f"Some words before.\n{text}")}


@pytest.mark.parametrize(
    "text", ["Doors must be locked at night. " * 200, "x" * 5000, f"# {'long ' * 100}\n\nGo.", "密" * 900]
)
def test_a_category_and_a_title_are_short_whatever_the_text(text: str) -> None:
    for name in ("category", "section", "topic", "title", "heading"):
        schema = {"type": "object", "properties": {name: {"type": "string"}}}
        assert 1 <= len(answer(schema, text)[name]) <= 60
    assert all(len(item["category"]) <= 60 for item in ask(Checklist, text)["checklist"])


def test_a_long_heading_is_cut_at_a_word() -> None:
    heading = "What everyone in the building has to know about the doors of the ground floor"

    (item,) = ask(Checklist, f"# {heading}\n\nDoors must be locked.")["checklist"]

    assert item["category"] == "What everyone in the building has to know about the doors of"


def test_markdown_is_read_as_plain_blocks() -> None:
    hashing = (
        "Passwords must be hashed with Argon2id. Why should we care? Hashes are hard to reverse, e.g. by brute force."
    )

    assert [(block.kind, block.text) for block in read(POLICY)] == [
        ("heading", "Password policy"),
        ("prose", "This policy says how passwords are kept at Example. It holds for all systems that we run."),
        ("heading", "Storage"),
        ("prose", hashing),
        ("cell", "Length"),
        ("cell", "Rule"),
        ("cell", "12"),
        ("cell", "Passwords should have twelve characters or more."),
        ("item", "Use a different salt for each password."),
        ("item", "Never log a password."),
        ("prose", "Rotate a password only after a leak."),
        ("prose", "Every system must do the following:"),
        ("item", "Lock an account after ten failures."),
    ]


@pytest.mark.parametrize(
    ("markdown", "plain"),
    [
        ("a __b__ c_d_e *f* 2 * 3 **_g_**", "a b c_d_e f 2 * 3 g"),
        ("`<b>` and `**x**` and ``y``", "<b> and **x** and y"),
        ("**Use `x`** [the `y`](z)", "Use x the y"),
        ("for <owner>, x -> y", "for <owner>, x -> y"),
    ],
)
def test_inline_markup_is_removed(markdown: str, plain: str) -> None:
    assert [block.text for block in read(markdown)] == [plain]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Ask Dr. Smith. He knows, e.g. J. Doe.", ["Ask Dr. Smith.", "He knows, e.g. J. Doe."]),
        ("密码必须加密。“盐必须随机！”好", ["密码必须加密。", "“盐必须随机！”", "好"]),
        ("Version 1.2 is out! (Really.) Get it", ["Version 1.2 is out!", "(Really.)", "Get it"]),
        ("Buy milk\nCall Bob", ["Buy milk", "Call Bob"]),
        ("**A**: One.  \n**B**: Two.", ["A: One.", "B: Two."]),
        ("Do these:\n\n- One\n- One", ["One"]),
    ],
)
def test_a_text_is_cut_into_sentences(text: str, expected: list[str]) -> None:
    assert [one.text for one in sentences(text)] == expected


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("Passwords must be hashed.", 3),
        ("A salt is required.", 3),
        ("Do not log secrets.", 3),
        ("If it fails, never retry.", 3),
        ("Backups should be tested.", 2),
        ("Avoid MD5.", 1),
        ("Cookies: use SameSite.", 1),
        ("Keys need to be rotated.", 1),
        ("Alice will call.", 1),
        ("Browsers will call.", 0),
        ("Must we?", 0),
        ("Example: one must go.", 0),
        ("A salt is not required.", 0),
        ("You don't need to know.", 0),
        ("Use of GET is common.", 0),
        ("Check out the list.", 0),
        ("Three algorithms that should be considered.", 0),
    ],
)
def test_how_strongly_a_sentence_obliges(sentence: str, expected: int) -> None:
    assert strength(sentence) == expected


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("Bob Ray will ship it by next Friday.", ("Bob Ray", "next Friday")),
        ("Ship it (@ann) before 3 March 2027.", ("ann", "3 March 2027")),
        ("Owner: Ann, due: end of the month", ("Ann", "end of the month")),
        ("It will ship on demand.", (None, None)),
    ],
)
def test_who_does_it_and_by_when(sentence: str, expected: tuple[str | None, str | None]) -> None:
    assert (owner(sentence), due(sentence)) == expected


def test_the_obligations_are_whole_and_in_order() -> None:
    assert [one.text for one in obligations(POLICY, 12)] == [
        "Passwords must be hashed with Argon2id.",
        "Passwords should have twelve characters or more.",
        "Use a different salt for each password.",
        "Never log a password.",
        "Rotate a password only after a leak.",
        "Lock an account after ten failures.",
    ]


def test_of_too_many_obligations_the_strongest_are_kept() -> None:
    kept = [one.text for one in obligations(POLICY, 2)]

    assert kept == ["Passwords must be hashed with Argon2id.", "Never log a password."]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Intro.\n\n- Red\n- Blue\n", ["Red", "Blue"]),
        ("# Colours\n\n## Red\n\n## Blue\n", ["Red", "Blue"]),
        ("Red is warm. Blue is cold.", ["Red is warm.", "Blue is cold."]),
        ("```\nonly code\n```", ["``` only code ```"]),
        ("|Red|Blue|\n|---|---|\n|1|2|", ["Red", "Blue", "1", "2"]),
        ("สวัสดีชาวโลก", ["สวัสดีชาวโลก"]),
        ("???", ["???"]),
        (" \n", []),
    ],
)
def test_a_text_without_obligations_still_gives_items(text: str, expected: list[str]) -> None:
    assert [one.text for one in obligations(text, 12)] == expected


class Limited(BaseModel):
    level: Annotated[int, Field(ge=2, le=5)]
    below: Annotated[float, Field(le=-1)]
    above: Annotated[float, Field(gt=3)]
    names: Annotated[list[str], Field(min_length=2, max_length=3)]
    title: Annotated[str, Field(max_length=9)]
    on: date
    at: datetime


@pytest.mark.parametrize("text", ["Doors must be locked at night.", POLICY])
def test_limits_that_a_schema_tells_in_words_are_kept(text: str) -> None:
    found = fill(strict_schema(Limited), [text])

    answer = Limited.model_validate(found)
    assert (answer.level, answer.below, answer.above) == (2, -1, 4)


def test_a_summary_has_only_statements() -> None:
    summary = summarize(POLICY)

    assert "This policy says how passwords are kept at Example.\n\nPasswords must be" in summary
    assert "Passwords must be hashed with Argon2id." in summary
    assert not any(other in summary for other in ("Storage", "hash(", "|", "twelve", "?", "following", "Lock"))


@pytest.mark.parametrize(("count", "expected"), [(1, 1), (5, 4), (15, 6), (100, 8)])
def test_a_summary_grows_with_its_text_up_to_eight_sentences(count: int, expected: int) -> None:
    text = " ".join(f"Rule {i} must be kept." for i in range(count))

    assert len(sentences(summarize(text))) == expected


def test_a_sentence_is_preferred_to_a_label_with_a_list_of_things() -> None:
    text = "\n\n".join(f"Attack surface: ports of car {i}.\n\nRisk: thieves could open car {i}." for i in range(9))

    assert all(one.text.startswith("Risk") for one in obligations(text, 9))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.stem)
def test_the_real_chain_makes_a_useful_checklist_of_whole_sentences_of_a_real_document(document: Path) -> None:
    # given
    text = document.read_text(encoding="utf-8")
    payload = GUIDELINE_CHECKLIST.payload.model_validate({"guidelines": text})
    outputs: dict[str, Any] = {}

    # when
    for step in GUIDELINE_CHECKLIST.calls:
        request = step.request(StepContext(payload, outputs))
        found = answer(request.answer.model_json_schema(), request.input)
        outputs[step.name] = step.read_answer(request.answer.model_validate(found), StepContext(payload, outputs))

    # then
    letters = key("".join(block.text for block in read(text)))
    parts = [one.text for one in sentences(outputs["summary"])]
    assert 4 <= len(parts) <= 8
    assert 3 <= len(outputs["checklist"]) <= 12
    assert all(item["source_found"] for item in outputs["checklist"])
    assert len({item["category"] for item in outputs["checklist"]}) > 1
    assert all(key(one) in letters for one in parts)
    assert not any(markup in outputs["summary"] for markup in ("](", "**", "```", "| "))
    assert outputs["diagram"].count("-->") >= len(outputs["checklist"]) - 1


def test_two_documents_give_two_results() -> None:
    for model in (Summary, Checklist, Diagram, Rules):
        assert ask(model, POLICY) != ask(model, RUNBOOK)


@pytest.mark.parametrize(
    "piece",
    ["x", "密", "[a](", "*a ", "`", "<!--", "|a|\n", "- a\n", "a. ", ".", "🙂\u200d", "\ud800", "If a, ", "\r\n>"],
)
def test_a_hundred_thousand_characters_of_anything_are_answered_in_time(piece: str) -> None:
    # given
    text = (piece * 100_000)[:100_000]
    started = time.process_time()

    # when
    items = ask(Checklist, text)["checklist"]

    # then
    assert len(items) == 1
    assert len(items[0]["text"]) <= 1000
    # A tenth of it is usual; what grows with the square of the length takes minutes.
    assert time.process_time() - started < 3
