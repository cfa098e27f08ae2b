"""The headers and query parameters that several routes have, or that need many words."""

from typing import Annotated

from aws_lambda_powertools.event_handler.openapi.params import Header, Query

from jobchain.job_events import POSITION
from jobchain_api.queries import INCLUDABLE, MOMENT, REPLAYS
from jobchain_api.requests import IDEMPOTENCY_KEY, MAX_TITLE

MAX_PAGE = 100
DEFAULT_PAGE = 20

StepName = Annotated[
    str | None,
    Query(max_length=100, description="Of the prompts only that of this step, as `steps` and `prompts` name it."),
]

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description="Makes the request safe to repeat: 1 to 255 visible ASCII characters, such as a UUID.",
        json_schema_extra={"pattern": IDEMPOTENCY_KEY},
    ),
]

Title = Annotated[str | None, Query(max_length=MAX_TITLE, description="Filter by a part of the title, in any case.")]

Moment = Annotated[
    str | None,
    Query(
        max_length=40,
        description="Filter by creation time: this one or later, or before it. A date (UTC), or a time as in RFC 3339.",
        json_schema_extra={"pattern": MOMENT},
    ),
]

WithReplays = Annotated[
    str | None,
    Query(
        max_length=5,
        description="Whether jobs of replays are listed too; `only`: no others are. A list without this parameter "
        "leaves them out.",
        json_schema_extra={"enum": [*REPLAYS]},
    ),
]

Replay = Annotated[
    str | None,
    Query(
        max_length=64,
        description="List the jobs of this replay alone: the id with which they were forked.",
    ),
]

Include = Annotated[
    str | None,
    Query(
        description="A comma-separated list of what to add. `input`: the payload. `prompts`: what the model was asked. "
        "`attempts`: the calls of the model, as `failed_attempts` and `answered_calls`.",
        json_schema_extra={"pattern": f"^({'|'.join(INCLUDABLE)})(,({'|'.join(INCLUDABLE)}))*$"},
    ),
]

After = Annotated[
    str | None,
    Query(
        max_length=4000,
        description="`next_after` of an earlier page of this job: only events that follow are told.",
        json_schema_extra={"pattern": POSITION},
    ),
]
