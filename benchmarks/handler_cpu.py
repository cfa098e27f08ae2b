"""What warm handlers cost in CPU time, beside the bare calls under them: `python -m benchmarks.handler_cpu`.

One process runs the functions' own handlers; another one answers for DynamoDB, SQS and the model, at once. Only the CPU
time of the first counts, all its threads included. A POST, and one transaction and one message by boto3's clients, take
turns, and so do batches of the worker, and calls of the model whose answers are streamed or come in one piece.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Any
from uuid import uuid4

from benchmarks import stub
from benchmarks.report import Fragment

POST_BUDGET = 1.3
"""The most that a POST may cost, as a multiple of the bare calls."""

JOB_BUDGET_MILLISECONDS = 15
"""The most that a job of three steps may cost, its POST included."""

WORKER_BUDGET_MILLISECONDS = 10
"""The most of that which the worker may take."""

STREAM_BUDGET = 1.3
"""The most that a streamed answer may cost, as a multiple of one that comes in one piece."""

BARE, POST, JOB = "bare transaction and message, by boto3", "POST /jobs", "job of three steps, in the worker"
STREAMED, WHOLE = "call of the model, streamed", "the same answer in one piece"

_POSTS = 40
_BATCHES = 2
_BATCH_SIZE = 10
_CALLS = 50


class Context:
    """What Lambda tells a handler."""

    function_name = "function"
    function_version = "1"
    memory_limit_in_mb = 1024
    invoked_function_arn = "arn:aws:lambda:eu-central-1:000000000000:function:function"
    aws_request_id = "00000000-0000-4000-8000-000000000000"

    def get_remaining_time_in_millis(self) -> int:
        """Enough."""
        return int(timedelta(minutes=5).total_seconds() * 1000)


def _post_event() -> dict[str, Any]:
    headers = {"Content-Type": "application/json", "Authorization": "Bearer jc_benchmark"}
    return {
        "resource": "/{proxy+}",
        "path": "/jobs",
        "httpMethod": "POST",
        "headers": headers,
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        "queryStringParameters": None,
        "multiValueQueryStringParameters": None,
        "pathParameters": {"proxy": "jobs"},
        "stageVariables": None,
        "requestContext": {"requestId": "request-1", "path": "/v1/jobs", "stage": "v1"},
        "body": json.dumps({"input_text": stub.TEXT}),
        "isBase64Encoded": False,
    }


def _poster() -> Callable[[], None]:
    handler, event, context = import_module("jobchain_api.handler").lambda_handler, _post_event(), Context()

    def post() -> None:
        for _ in range(_POSTS):
            answer = handler(event, context)
            if answer["statusCode"] != 201:
                raise RuntimeError(answer["body"])

    return post


def _bare() -> Callable[[], None]:
    # Not above: the handlers are to be loaded without it.
    import boto3  # noqa: PLC0415

    dynamodb, sqs = boto3.client("dynamodb"), boto3.client("sqs")
    writes = _writes()

    def call() -> None:
        for _ in range(_POSTS):
            dynamodb.transact_write_items(TransactItems=writes)
            sqs.send_message(QueueUrl=os.environ["QUEUE_URL"], MessageBody=json.dumps({"event_id": str(uuid4())}))

    return call


def _writes() -> list[Any]:
    """The transaction of a POST, made in advance: that is no part of the bare calls."""
    meta, usage = import_module("jobchain.aws.meta"), import_module("jobchain.aws.usage")
    writes, domain = import_module("jobchain.aws.writes"), import_module("jobchain.domain")
    now = domain.utc_now()
    new = domain.NewJob(str(uuid4()), stub.TENANT, "guideline_checklist", {"guidelines": stub.TEXT}, "0" * 64)
    made = [writes.put_new(meta.new_meta(new, "0" * 8, now, writes.epoch(now) + 30 * 86_400))]
    made += usage.UsageRecord(created=1).writes(new.tenant, "", now)
    return [{one.kind: {"TableName": "jobs", **one.parameters}} for one in made]


def _worker() -> Callable[[], None]:
    handler, context = import_module("jobchain_worker.handler").lambda_handler, Context()

    def work() -> None:
        for _ in range(_BATCHES):
            ids = [str(uuid4()) for _ in range(_BATCH_SIZE)]
            records = [{"messageId": event_id, "body": json.dumps({"event_id": event_id})} for event_id in ids]
            answer = handler({"Records": records}, context)
            if answer["batchItemFailures"]:
                raise RuntimeError(f"failed: {answer}")

    return work


def _calls(base_url: str) -> Callable[[], None]:
    """Calls of the longest answer of a job, as many at a time as a batch has jobs."""
    calls, llm, chains = (
        import_module(name)
        for name in (
            "jobchain_worker.openai_calls",
            "jobchain_worker.openai_llm",
            "jobchain.chains",
        )
    )
    (step,) = (each for each in chains.CHAINS["guideline_checklist"].calls if each.name == "checklist")
    request = import_module("jobchain.llm").ModelRequest("Be brief.", stub.TEXT, step.answer)

    async def key() -> str:
        return "sk-made-up"

    limit, loop = timedelta(seconds=95), asyncio.new_event_loop()
    client = calls.create_client(base_url, key, limit)
    model = llm.OpenAILLM(client, stub.MODEL, limit, 16_384, idle=timedelta(seconds=60))

    async def ask() -> None:
        for _ in range(_CALLS // _BATCH_SIZE):
            await asyncio.gather(*(model.ask(request) for _ in range(_BATCH_SIZE)))

    return lambda: loop.run_until_complete(ask())


def measure(rounds: int) -> dict[str, list[float]]:
    """The CPU milliseconds of each part, of each round."""
    url = os.environ["AWS_ENDPOINT_URL"]
    parts = {
        BARE: (_bare(), _POSTS),
        POST: (_poster(), _POSTS),
        JOB: (_worker(), _BATCHES * _BATCH_SIZE),
        STREAMED: (_calls(f"{url}/v1"), _CALLS),
        WHOLE: (_calls(f"{url}{stub.WHOLE}/v1"), _CALLS),
    }
    taken: dict[str, list[float]] = {name: [] for name in parts}
    for round_ in range(rounds + 1):
        for name, (run, times) in parts.items():
            before = time.process_time()
            run()
            used = (time.process_time() - before) * 1000 / times
            if round_:  # the first one warms up
                taken[name].append(used)
    return taken


@contextmanager
def _answering() -> Iterator[str]:
    """The URL of a stub in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.stub"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        try:
            yield f"http://127.0.0.1:{server.stdout.readline().strip()}" if server.stdout else ""
        finally:
            if server.stdin:
                server.stdin.close()


def _environment(url: str) -> Mapping[str, str]:
    queues = dict.fromkeys(
        ("QUEUE_URL", "FLEX_QUEUE_URL", "WEBHOOK_QUEUE_URL", "DEAD_LETTER_URL"), f"{url}/000000000000/jobs"
    )
    ours = {
        "AUTH_MODE": "api_key",
        "FIRST_BACKOFF_SECONDS": "10",
        "MAX_INPUT_TOKENS": "8000",
        "MODEL_TIMEOUT_SECONDS": "95",
        "OPENAI_API_KEY": "sk-made-up",
        "OPENAI_BASE_URL": f"{url}/v1",
        "OPENAI_MODEL": stub.MODEL,
        "POWERTOOLS_METRICS_NAMESPACE": "Jobchain",
        "POWERTOOLS_SERVICE_NAME": "benchmark",
        "RETENTION_DAYS": "30",
        "TABLE_NAME": "jobs",
    }
    aws = {
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_ENDPOINT_URL": url,
    }
    return {"PATH": os.environ["PATH"], **aws, **queues, **ours}


def _ratio(taken: Mapping[str, list[float]], part: str, other: str) -> float:
    """The median of the ratios, each of one round."""
    return median(one / base for one, base in zip(taken[part], taken[other], strict=True))


def fragment(taken: Mapping[str, list[float]]) -> Fragment:
    """The section of the page."""
    bare, post, job = (median(taken[name]) for name in (BARE, POST, JOB))
    streamed, whole = median(taken[STREAMED]), median(taken[WHOLE])
    ratio, stream_ratio = _ratio(taken, POST, BARE), _ratio(taken, STREAMED, WHOLE)
    body = f"""\
CPU milliseconds of a warm process, medians of {len(taken[BARE])} rounds in turns, with a server that answers at once
for the table, the queue and the model. A POST makes one call more than the bare ones: the text of a job has an item of
its own.

| | ms | least | times the bare calls | budget |
|---|---|---|---|---|
| {BARE} | {bare:.2f} | {min(taken[BARE]):.2f} | 1 | – |
| {POST} | {post:.2f} | {min(taken[POST]):.2f} | {ratio:.2f} | {POST_BUDGET} times |
| {JOB} | {job:.2f} | {min(taken[JOB]):.2f} | {job / bare:.1f} | {WORKER_BUDGET_MILLISECONDS} ms |
| POST and job | {post + job:.2f} | {min(taken[POST]) + min(taken[JOB]):.2f} | | {JOB_BUDGET_MILLISECONDS} ms |

An answer comes in events of {stub.TOKEN} characters, each in a chunk of its own.

| | ms | least | times the answer in one piece | budget |
|---|---|---|---|---|
| {WHOLE} | {whole:.2f} | {min(taken[WHOLE]):.2f} | 1 | – |
| {STREAMED} | {streamed:.2f} | {min(taken[STREAMED]):.2f} | {stream_ratio:.2f} | {STREAM_BUDGET} times |
"""
    return Fragment(
        "CPU of the handlers", body, data={"milliseconds": taken, "post_ratio": ratio, "stream_ratio": stream_ratio}
    )


def main() -> int:
    """Measures in a process of its own, whose log goes nowhere; prints the result, and keeps the fragment."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--into", type=Path, help="measure in this very process, whose environment is prepared")
    arguments = parser.parse_args()
    if arguments.into:
        arguments.into.write_text(json.dumps(measure(arguments.rounds)))
        return 0
    with _answering() as url, tempfile.TemporaryDirectory() as folder:
        into = Path(folder) / "taken.json"
        command = [sys.executable, "-m", "benchmarks.handler_cpu", "--into", str(into), "--rounds"]
        subprocess.run(
            [*command, str(arguments.rounds)], env=dict(_environment(url)), stdout=subprocess.DEVNULL, check=True
        )
        section = fragment(json.loads(into.read_text()))
    section.write("62-handler_cpu")
    print(section.body)
    return 0


if __name__ == "__main__":
    sys.exit(main())
