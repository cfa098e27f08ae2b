"""The bodies that callers send."""

import re
from decimal import ROUND_DOWN, Decimal
from typing import Annotated

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    SkipValidation,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)

from jobchain.approvals import MAX_COMMENT, MAX_NAME, Decision
from jobchain.chains.fields import Sent, Text, not_blank, without_nul
from jobchain.domain import Tier
from jobchain.overrides import MAX_PROMPT_CHARACTERS, Effort

MAX_METADATA = 16
MAX_METADATA_KEY = 64
MAX_METADATA_VALUE = 512
MetadataKey = Annotated[str, StringConstraints(min_length=1, max_length=MAX_METADATA_KEY)]
MetadataValue = Annotated[str, StringConstraints(max_length=MAX_METADATA_VALUE)]
MAX_FLEX_SECONDS = 12 * 3600
MIN_DEADLINE_SECONDS = 60
MAX_DEADLINE_SECONDS = 7 * 86_400
MAX_BATCH = 100
MAX_TITLE = 200
MAX_MODEL = 200

IDEMPOTENCY_KEY = r"^[\x21-\x7e]{1,255}$"
"""The pattern of an idempotency key."""

REPLAY = r"^[A-Za-z0-9_-]{1,64}$"
"""The pattern of the id of a replay."""


def checked_key(idempotency_key: str) -> str:
    """`idempotency_key`, or ValueError if it does not match the pattern."""
    if not re.fullmatch(IDEMPOTENCY_KEY, idempotency_key):
        raise ValueError("must be 1 to 255 visible ASCII characters: use a UUID, for example")
    return idempotency_key


def _few(metadata: object) -> object:
    # Before the entries are validated: an error for each of 400,000 entries takes seconds.
    if isinstance(metadata, dict) and len(metadata) > MAX_METADATA:
        raise ValueError(f"has {len(metadata)} entries: give at most {MAX_METADATA}")
    return metadata


def _amount(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("must be a number of US dollars, such as 0.01")  # pydantic wants this one
    return value


def _whole(value: object) -> object:
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # JSON has one kind of number: 7200.0 is a whole one
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(
            f"must be a whole number of seconds, from {MIN_DEADLINE_SECONDS} to {MAX_DEADLINE_SECONDS}, such as 7200"
        )
    if not MIN_DEADLINE_SECONDS <= value <= MAX_DEADLINE_SECONDS:
        raise ValueError(f"must be from {MIN_DEADLINE_SECONDS} to {MAX_DEADLINE_SECONDS} seconds (7 days)")
    return value


def _in_millionths(amount: Decimal) -> Decimal:
    return amount.quantize(Decimal("0.000001"), ROUND_DOWN).normalize()


Dollars = Annotated[
    Decimal,
    Field(ge=Decimal("0.000001"), le=10_000),
    BeforeValidator(_amount),
    AfterValidator(_in_millionths),
    WithJsonSchema({"type": "number", "minimum": 0.000001, "maximum": 10_000}),
]


DeadlineSeconds = Annotated[
    int,
    BeforeValidator(_whole),
    WithJsonSchema({"type": "integer", "minimum": MIN_DEADLINE_SECONDS, "maximum": MAX_DEADLINE_SECONDS}),
]


def _in_one_line(text: str) -> str:
    return " ".join(text.split())


Title = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_TITLE),
    AfterValidator(without_nul),
    AfterValidator(not_blank),
    AfterValidator(_in_one_line),
]


def _model_name(name: str) -> str:
    if not name or not all("!" <= character <= "~" for character in name):
        raise ValueError("must be a model's name, without spaces and in ASCII, such as gpt-6-luna")
    return name


ModelName = Annotated[
    str,
    StringConstraints(strip_whitespace=True, max_length=MAX_MODEL),
    AfterValidator(_model_name),
    WithJsonSchema({"type": "string", "minLength": 1, "maxLength": MAX_MODEL, "pattern": "^[!-~]+$"}),
]

PromptText = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_PROMPT_CHARACTERS),
    AfterValidator(without_nul),
    AfterValidator(not_blank),
]


WebhookUrl = Annotated[
    str,
    Field(
        description="A URL that is told of the job's end, if the key allows it. It is one as an endpoint has, and its "
        "events are signed with the secret of the endpoint `jobs`.",
        json_schema_extra={"examples": ["https://hooks.example.com/jobchain"]},
    ),
]


class CreateJob(Sent):
    """A request for a job: either `job_name` with its `payload`, or `input_text` for the default chain."""

    job_name: str | None = Field(default=None, description="The chain to run.")
    payload: dict[str, SkipValidation[JsonValue]] | None = Field(
        default=None, description="The chain's payload; `GET /chains` has its schema."
    )
    input_text: Text | None = Field(default=None, description="A text, for the default chain.")
    title: Title | None = Field(
        default=None, description="What the caller calls the job, such as a file's name. White space is folded."
    )
    metadata: Annotated[dict[MetadataKey, MetadataValue], BeforeValidator(_few)] = Field(
        default={}, max_length=MAX_METADATA, description="The caller's own notes, returned with the job."
    )
    model: ModelName | None = Field(
        default=None, description="The model of all calls of the job, in place of the chain's, if the chain allows it."
    )
    effort: Effort | None = Field(
        default=None, description="How much the model reasons, in place of the chain's, if the chain allows it."
    )

    max_cost_usd: Dollars | None = Field(
        default=None, description="The job fails before a model call that could make it cost more, in US dollars."
    )

    tier: Tier = Field(
        default=Tier.STANDARD,
        description="`flex` costs half, and may wait until the model has capacity.",
    )
    flex_seconds: int = Field(
        default=3600,
        ge=60,
        le=MAX_FLEX_SECONDS,
        description="After this time a job of the tier `flex` continues as a standard one.",
    )

    deadline_seconds: DeadlineSeconds | None = Field(
        default=None,
        description="How long the job is tried until it fails as `deadline_exceeded`. The default is the deployment's: "
        "86400, where its parameter `DefaultDeadlineSeconds` says nothing else.",
    )

    webhook_url: WebhookUrl | None = None

    @model_validator(mode="after")
    def _one_form(self) -> "CreateJob":
        named = self.job_name is not None or self.payload is not None
        if named and self.input_text is not None:
            raise ValueError("give either input_text, or job_name and payload, not both")
        if not named and self.input_text is None:
            raise ValueError("give input_text, or job_name and payload")
        if named and (self.job_name is None or self.payload is None):
            raise ValueError("job_name and payload go together: give both")
        return self


class ForkJob(Sent):
    """A request for a fork of a job: what it does not say is as in that job."""

    model_config = ConfigDict(defer_build=True)

    from_step: str | None = Field(
        default=None,
        max_length=100,
        description="The step from which the chain is run again, with all steps that need it. The others are copied. "
        "Without it, all steps are run again, and none is copied.",
    )
    replay: Annotated[str, StringConstraints(pattern=REPLAY)] | None = Field(
        default=None,
        description="The caller's id of the replay that the fork is a part of. Lists, job counts and alarms leave "
        "replays out; what they cost is in the usage, and told apart there.",
    )
    payload: dict[str, SkipValidation[JsonValue]] | None = Field(
        default=None,
        description="Another payload. It may change nothing that a copied step worked on.",
    )
    title: Title | None = Field(default=None, description="What the caller calls the fork.")
    metadata: Annotated[dict[MetadataKey, MetadataValue], BeforeValidator(_few)] | None = Field(
        default=None, max_length=MAX_METADATA, description="The caller's own notes."
    )
    max_cost_usd: Dollars | None = Field(
        default=None, description="The fork's own budget, in US dollars. Copied steps cost nothing."
    )
    model: ModelName | None = Field(default=None, description="The model of the fork's calls, if the chain allows it.")
    effort: Effort | None = Field(default=None, description="How much it reasons, if the chain allows it.")
    prompt: PromptText | None = Field(
        default=None,
        description="The prompt of `from_step`, for this job, in place of what the chain's author wrote, if the chain "
        "allows it.",
    )
    webhook_url: WebhookUrl | None = None


_DECISIONS: dict[str, JsonValue] = {
    "oneOf": [
        {"properties": {"decision": {"const": "edit"}}, "required": ["value"]},
        {"properties": {"decision": {"enum": ["approve", "reject"]}}, "not": {"required": ["value"]}},
    ]
}
"""What the schema of a decision's fields can't say: that a value goes with an edit, and with nothing else."""


class DecideStep(Sent):
    """A decision on a step that waits for one."""

    model_config = ConfigDict(defer_build=True, json_schema_extra=_DECISIONS)

    decision: Decision = Field(description="`edit` goes on with `value` in place of what was shown.")
    value: JsonValue = Field(default=None, description="The step's value, for `edit`: of the type of what was shown.")
    by: Annotated[str, StringConstraints(strip_whitespace=True, max_length=MAX_NAME), AfterValidator(without_nul)] = (
        Field(default="", description="Who decides, as the caller names that person.")
    )
    comment: Annotated[
        str, StringConstraints(strip_whitespace=True, max_length=MAX_COMMENT), AfterValidator(without_nul)
    ] = Field(default="", description="Why, in words. It is kept and shown with the job.")

    @model_validator(mode="after")
    def _value_of_an_edit(self) -> "DecideStep":
        edits = self.decision is Decision.EDIT
        if edits and "value" not in self.model_fields_set:
            raise ValueError("an edit needs value: give it, or approve the step as it is")
        if not edits and "value" in self.model_fields_set:
            raise ValueError(f"value goes with edit, not with {self.decision}: leave it out, or decide edit")
        return self


class BatchEntry(CreateJob):
    """A request for one of many jobs."""

    model_config = ConfigDict(defer_build=True)

    idempotency_key: Annotated[str, AfterValidator(checked_key)] | None = Field(
        default=None, description="Like the header `Idempotency-Key` of `POST /jobs`, for this job alone."
    )


class CreateJobs(Sent):
    """A request for many jobs. Each entry is accepted or refused by itself."""

    model_config = ConfigDict(defer_build=True)

    jobs: list[SkipValidation[JsonValue]] = Field(
        min_length=1,
        max_length=MAX_BATCH,
        description="Each like the body of `POST /jobs`, optionally with an `idempotency_key` of its own.",
    )
