import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import jsonschema
import openai  # noqa: TID251 - the real client proves that the stand-in speaks its language
import pytest
from pydantic import BaseModel, Field

from local.extract import key, obligations, read, sentences, steps, strength, summarize
from local.offline_model import MODEL, BadRequestError, material, respond, running

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    path
    for path in [*(ROOT.parent / "shared/guidelines").glob("*.md"), *(ROOT / "examples").glob("*.md")]
    if path.name != "README.md"
)

POLICY = """---
owner: security
---
# Password policy

This policy says how **passwords** are kept at [Example](https://example.com/a_(b)). ![logo](logo.png)
It holds for all
systems that we run.

<!-- Passwords must be reviewed by legal. -->

## Storage

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


class Summary(BaseModel):
    summary: str


class Checklist(BaseModel):
    items: list[str]


class Node(BaseModel):
    id: str
    label: str


class Edge(BaseModel):
    source: str
    target: str
    label: str


class Diagram(BaseModel):
    nodes: list[Node]
    edges: list[Edge]


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


class Section(BaseModel):
    title: str = Field(max_length=20)
    level: int = Field(ge=1, le=6)
    share: float = Field(gt=0, lt=1)
    is_new: bool
    kind: Literal["section"]
    parent: int | None
    children: list["Section"]


ALL_MODELS: list[type[BaseModel]] = [Summary, Checklist, Diagram, Rules, Actions, Comparison, Section]


def strict_schema(model: type[BaseModel]) -> dict[str, Any]:
    schema = model.model_json_schema()
    for part in [schema, *schema.get("$defs", {}).values()]:
        if "properties" in part:
            part |= {"additionalProperties": False, "required": list(part["properties"])}
    return schema


def json_schema(schema: dict[str, Any]) -> Any:
    return {"format": {"type": "json_schema", "name": "answer", "strict": True, "schema": schema}}


def fenced(*texts: str) -> str:
    marks = [f"3f2a9c0d1e2{i}" for i in range(len(texts))]
    blocks = [f"<<<document {mark}>>>\n{text}\n<<<end {mark}>>>" for mark, text in zip(marks, texts, strict=True)]
    return "\n\n".join(["You must answer in JSON.", *blocks])


def output_text(response: dict[str, Any]) -> str:
    text = response["output"][0]["content"][0]["text"]
    assert isinstance(text, str)
    return text


def ask(model: type[BaseModel], *texts: str) -> Any:
    schema = strict_schema(model)
    answer = json.loads(output_text(respond({"input": fenced(*texts), "text": json_schema(schema)})))
    jsonschema.validate(answer, schema)
    return answer


@pytest.fixture(scope="module")
def base_url() -> Iterator[str]:
    with running() as url:
        yield url


@pytest.fixture(scope="module")
def client(base_url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(api_key="any", base_url=base_url, max_retries=0, timeout=10) as client:
        yield client


# Through the server, with OpenAI's own client


def test_the_sdk_reads_a_structured_answer_with_its_usage(client: openai.OpenAI) -> None:
    # given
    text = json_schema(strict_schema(Checklist))

    # when
    response = client.responses.create(
        model="gpt-5-nano",
        instructions="List what must be done.",
        input=fenced(POLICY),
        text=text,
        store=False,
        max_output_tokens=2000,
    )

    # then
    assert Checklist.model_validate_json(response.output_text).items
    assert (response.status, response.error, response.incomplete_details) == ("completed", None, None)
    assert response.model == MODEL
    assert response.usage is not None
    assert response.usage.input_tokens > len(POLICY) // 4
    assert response.usage.output_tokens == -(-len(response.output_text.encode()) // 4)
    assert response.usage.input_tokens_details.cached_tokens == 0
    assert response.usage.output_tokens_details.reasoning_tokens == 0
    assert response._request_id is not None
    assert response._request_id.startswith("req_")


def test_the_sdk_parses_an_answer_into_its_pydantic_model(client: openai.OpenAI) -> None:
    # when
    response = client.responses.parse(model="m", input=fenced(POLICY), text_format=Diagram)

    # then
    assert response.output_parsed is not None
    assert [node.id for node in response.output_parsed.nodes] == ["n1", "n2", "n3"]


def test_a_list_of_messages_gives_its_user_texts_as_material(client: openai.OpenAI) -> None:
    # when
    response = client.responses.create(
        model="m",
        input=[
            {"role": "developer", "content": "Never mention bananas."},
            {"role": "user", "content": "Passwords must be hashed."},
            {"role": "user", "content": [{"type": "input_text", "text": "Salts must be random."}]},
        ],
    )

    # then
    assert response.output_text == "Passwords must be hashed. Salts must be random."


def test_the_one_model_says_that_it_is_no_gpt(client: openai.OpenAI) -> None:
    # when
    models = [model.id for model in client.models.list()]

    # then
    assert models == ["offline-extract-1-not-a-gpt"]
    assert client.models.retrieve("gpt-5-nano").id == "offline-extract-1-not-a-gpt"


def test_an_unknown_path_is_not_found(client: openai.OpenAI) -> None:
    # when
    with pytest.raises(openai.NotFoundError) as caught:
        client.embeddings.create(model="m", input="text")

    # then
    assert caught.value.code == "unknown_url"
    assert "POST /v1/embeddings" in caught.value.message


@pytest.mark.parametrize("body", [b"{", b"[]", b"\xff", b"[" * 100_000, b'{"model": "m"}', b'{"input": 7}'])
def test_a_body_that_is_no_request_is_a_bad_request(client: openai.OpenAI, body: bytes) -> None:
    # when
    with pytest.raises(openai.BadRequestError) as caught:
        client.post("/responses", content=body, cast_to=object)

    # then
    assert caught.value.type == "invalid_request_error"


def test_a_schema_that_cannot_be_honoured_is_a_bad_request_that_says_where(client: openai.OpenAI) -> None:
    # given
    schema = {"type": "object", "properties": {"code": {"type": "string", "pattern": "^[A-Z]{3}$"}}}

    # when
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(model="m", input="Text.", text=json_schema(schema))

    # then
    assert caught.value.param == "text.format.schema"
    assert "code: unsupported keyword 'pattern'" in caught.value.message


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
        output, errors = process.communicate(timeout=10)

    # then
    assert (process.returncode, output, errors) == (0, "", "")


# The request


def test_the_same_request_gives_the_same_answer() -> None:
    first, second = (respond({"input": POLICY, "text": json_schema(strict_schema(Rules))}) for _ in range(2))

    assert first | {"created_at": 0} == second | {"created_at": 0}


def test_only_what_is_between_the_fences_is_material() -> None:
    # given
    inner = "One.\n<<<document aaaaaaaaaaaa>>>\nTwo.\n<<<end aaaaaaaaaaaa>>>"
    prompt = f"Ignore me.\n<<<a 3f2a9c0d1e2b>>>\n{inner}\n<<<end 3f2a9c0d1e2b>>>\nMe too."
    prompt += "\n<<<b 0123456789ab>>>\nThree.\n<<<end 0123456789ab>>>"

    # then
    assert material(prompt) == [inner, "Three."]
    assert material("No fences.") == ["No fences."]
    assert material("<<<a 3f2a9c0d1e2b>>> left open") == ["<<<a 3f2a9c0d1e2b>>> left open"]


def test_an_answer_over_the_token_limit_is_incomplete() -> None:
    # when
    response = respond({"input": POLICY, "max_output_tokens": 5})

    # then
    assert response["status"] == "incomplete"
    assert response["incomplete_details"] == {"reason": "max_output_tokens"}
    assert response["usage"]["output_tokens"] == 5


@pytest.mark.parametrize(
    "extra",
    [
        {"stream": True},
        {"text": {"format": {"type": "json_object"}}},
        {"text": {"format": {"type": "json_schema"}}},
        {"input": [{"role": "user"}]},
        {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]},
    ],
)
def test_what_it_cannot_do_is_refused(extra: dict[str, Any]) -> None:
    with pytest.raises(BadRequestError):
        respond({"input": "Text.", **extra})


# Answers in the shape of a schema


@pytest.mark.parametrize("model", ALL_MODELS)
@pytest.mark.parametrize("text", [POLICY, RUNBOOK, "密码必须加密。盐必须随机。", "x", "!!!", ""])
def test_every_answer_fits_its_schema(model: type[BaseModel], text: str) -> None:
    answer = ask(model, text, "Another text.")

    model.model_validate(answer)


@pytest.mark.parametrize(
    ("schema", "problem"),
    [
        ({"$ref": "#/$defs/none"}, r"nothing found at \$ref"),
        ({"$ref": "#"}, "never end"),
        ({"type": "object", "properties": {"again": {"$ref": "#"}}}, "never end"),
        ({"type": "decimal"}, "unknown type"),
        ({"type": "string", "minLength": 100}, "shorter than minLength 100"),
        ({"type": "integer", "minimum": 2, "maximum": 1}, "no number fits"),
        ({"type": "array", "minItems": "two"}, "minItems is 'two'"),
        ({"type": "array", "items": True, "minItems": 1}, "not an object"),
    ],
)
def test_a_schema_without_an_instance_is_refused(schema: dict[str, Any], problem: str) -> None:
    with pytest.raises(BadRequestError, match=problem):
        respond({"input": "A short text.", "text": json_schema(schema)})


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"const": 7}, 7),
        ({"enum": ["red", "green"]}, "green"),
        ({"type": ["string", "null"], "maxLength": 8}, None),
        ({"type": "string", "maxLength": 8}, "Set the"),
        ({"type": "integer", "minimum": 10}, 42),
        ({"type": "array", "items": {"type": "string"}, "maxItems": 1}, ["Set the green lamp to 42."]),
        ({"type": "array", "items": {"type": "string"}, "minItems": 2}, ["Set the green lamp to 42."] * 2),
        ({"type": "null"}, None),
    ],
)
def test_each_keyword_is_honoured(schema: dict[str, Any], expected: object) -> None:
    response = respond({"input": "Set the green lamp to 42.", "text": json_schema(schema)})

    assert json.loads(output_text(response)) == expected


def test_a_checklist_becomes_a_chain_of_nodes() -> None:
    # given
    long_item = "Hash all the passwords with Argon2id and with nineteen mebibytes of memory"
    checklist = f"- Use a salt\n- {long_item}\n1. Go"

    # when
    diagram = ask(Diagram, checklist)

    # then
    assert diagram["nodes"] == [
        {"id": "n1", "label": "Use a salt"},
        {"id": "n2", "label": "Hash all the passwords with Argon2id and with nineteen…"},
        {"id": "n3", "label": "Go"},
    ]
    assert diagram["edges"] == [
        {"source": "n1", "target": "n2", "label": ""},
        {"source": "n2", "target": "n3", "label": ""},
    ]


def test_a_rule_carries_its_sentence_its_heading_and_how_strongly_it_obliges() -> None:
    # when
    first, second, *_ = ask(Rules, POLICY)["items"]

    # then
    sentence = "Passwords must be hashed with Argon2id."
    assert first == {"text": sentence, "quote": sentence, "category": "Storage", "priority": "high"}
    assert second["priority"] == "medium"


def test_an_action_names_an_owner_and_a_date_only_where_the_text_does() -> None:
    # when
    actions = {action["task"]: action for action in ask(Actions, RUNBOOK)["actions"]}

    # then
    task = "Alice will update the status page by 2026-12-01."
    assert actions[task] == {"task": task, "owner": "Alice", "due": "2026-12-01"}
    verify = actions["Always verify the row counts afterwards."]
    assert (verify["owner"], verify["due"]) == (None, None)


def test_two_documents_are_compared_by_what_they_demand() -> None:
    assert ask(Comparison, "- You must go.\n- Never stay.", "- You must go!\n- Always run.") == {
        "both": ["You must go."],
        "only_a": ["Never stay."],
        "only_b": ["Always run."],
        "contradictions": [],
    }


# The extraction


def test_markdown_is_read_as_plain_blocks() -> None:
    assert [(block.kind, block.text) for block in read(POLICY)] == [
        ("heading", "Password policy"),
        (
            "prose",
            "This policy says how passwords are kept at Example. It holds for all systems that we run.",
        ),
        ("heading", "Storage"),
        (
            "prose",
            "Passwords must be hashed with Argon2id. Why should we care? "
            "Hashes are hard to reverse, e.g. by brute force.",
        ),
        ("cell", "Length"),
        ("cell", "Rule"),
        ("cell", "12"),
        ("cell", "Passwords should have twelve characters or more."),
        ("item", "Use a different salt for each password."),
        ("item", "Never log a password."),
        ("link", "Storage sheet"),
        ("prose", "Rotate a password only after a leak."),
        ("prose", "Every system must do the following:"),
        ("item", "Lock an account after ten failures."),
    ]


@pytest.mark.parametrize(
    ("markdown", "plain"),
    [
        ("Title\n=====", "Title"),
        ("## C# and F# ##", "C# and F#"),
        ("a __b__ c_d_e *f* 2 * 3", "a b c_d_e f 2 * 3"),
        ("`<b>` and <b>bold</b> &amp; `**x**`", "<b> and bold & **x**"),
        ("[![alt](a.png)](b) text[^1]", "text"),
        ("**Use `x`** [the `y`](z)", "Use x the y"),
        ("for <owner> at <https://example.com>", "for <owner> at https://example.com"),
        (r"\*not bold\*", "*not bold*"),
        ("x -> y", "x -> y"),
    ],
)
def test_inline_markup_is_removed(markdown: str, plain: str) -> None:
    assert [block.text for block in read(markdown)] == [plain]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Ask Dr. Smith. He knows, e.g. J. Doe.", ["Ask Dr. Smith.", "He knows, e.g. J. Doe."]),
        ("密码必须加密。盐必须随机！", ["密码必须加密。", "盐必须随机！"]),
        ("Version 1.2 is out! (Really.) Get it", ["Version 1.2 is out!", "(Really.)", "Get it"]),
        ("Buy milk\nCall Bob", ["Buy milk", "Call Bob"]),
    ],
)
def test_a_text_is_cut_into_sentences(text: str, expected: list[str]) -> None:
    assert [one.text for one in sentences(read(text))] == expected


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
        ("Must we?", 0),
        ("A salt is not required.", 0),
        ("You don't need to know.", 0),
        ("Use of GET is common.", 0),
        ("Frameworks do not provide it.", 0),
    ],
)
def test_how_strongly_a_sentence_obliges(sentence: str, expected: int) -> None:
    assert strength(sentence) == expected


def test_the_obligations_of_a_text_are_whole_and_in_order() -> None:
    assert [one.text for one in obligations(POLICY, 12)] == [
        "Passwords must be hashed with Argon2id.",
        "Passwords should have twelve characters or more.",
        "Use a different salt for each password.",
        "Never log a password.",
        "Rotate a password only after a leak.",
    ]


def test_of_too_many_obligations_the_strongest_are_kept() -> None:
    assert [one.text for one in obligations(POLICY, 2)] == [
        "Passwords must be hashed with Argon2id.",
        "Never log a password.",
    ]


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
    ],
)
def test_a_text_without_obligations_still_gives_items(text: str, expected: list[str]) -> None:
    assert [one.text for one in obligations(text, 12)] == expected


def test_a_summary_has_only_prose() -> None:
    # when
    summary = summarize(POLICY)

    # then
    assert "This policy says how passwords are kept at Example. " in summary
    assert "Passwords must be hashed with Argon2id." in summary
    assert not any(other in summary for other in ("Storage", "hash(", "|", "twelve", "Lock"))


def test_an_empty_text_has_neither_summary_nor_steps() -> None:
    assert summarize(" \n") == ""
    assert steps(" \n", 12) == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.stem)
def test_a_real_document_gives_whole_sentences_of_its_own(document: Path) -> None:
    # given
    text = document.read_text(encoding="utf-8")

    # when
    summary = ask(Summary, text)["summary"]
    items = ask(Checklist, text)["items"]

    # then
    letters = key("".join(block.text for block in read(text)))
    assert 1 <= len(items) <= 12
    assert len(set(items)) == len(items)
    assert all(key(item) in letters for item in items)
    assert all(one.kind in ("prose", "item") and key(one.text) in letters for one in sentences(read(summary)))
    assert not any(markup in "\n".join([summary, *items]) for markup in ("](", "**", "```", "<!--", "| "))


def test_two_documents_give_two_results() -> None:
    for model in (Summary, Checklist, Diagram, Rules):
        assert ask(model, POLICY) != ask(model, RUNBOOK)


@pytest.mark.parametrize(
    "piece",
    [
        "x",
        "密",
        "[a](",
        "*a ",
        "`",
        "<a ",
        "<!--",
        "|a|\n",
        "- a\n",
        "a. ",
        ".",
        "🙂\u200d",
        "\ud800",
        "If a, ",
        "\r\n>",
    ],
)
def test_a_hundred_thousand_characters_of_anything_are_answered_in_time(piece: str) -> None:
    # given
    text = (piece * 100_000)[:100_000]
    started = time.process_time()

    # when
    items = ask(Checklist, text)["items"]

    # then
    assert len(items) == 1
    assert len(items[0]) <= 1000
    # A tenth of it is usual; what grows with the square of the length takes minutes.
    assert time.process_time() - started < 3
