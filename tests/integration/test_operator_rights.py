"""The operators' commands, with the permissions that docs/reference/operations.md names and no others."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jobchain.aws.api_keys import ApiKeyStore
from jobchain.domain import utc_now
from jobchain_cli.__main__ import main
from jobchain_client import Jobchain
from local import emulator
from local import stack as local_stack
from local.settings import Settings
from local.stack import EmbeddedStack
from tests.conftest import ROOT
from tests.e2e.conftest import LIMIT
from tests.integration.test_least_privilege import BOOT

NO_JOB = "3f0e1c7a-5d2b-4a7e-9c61-0b8f2d4e6a19"
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def stack() -> Iterator[EmbeddedStack]:
    """A stack whose every call is checked."""
    environment = local_stack._environment
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local_stack, "_environment", lambda settings: {**environment(settings), "AUTH": "true"})
        # The functions' own policies have conditions that the emulator does not know.
        patch.setattr(emulator, "_BOOT", BOOT.format("own") + emulator._BOOT)
        with EmbeddedStack.start(Settings(auth_mode="api_key")) as stack:
            yield stack


def documented_policy() -> str:
    """The policy of the page, with what the emulator needs besides."""
    text = (ROOT / "docs" / "reference" / "operations.md").read_text(encoding="utf-8")
    (written,) = re.findall(r"```json\n(.*?)```", text, re.DOTALL)
    policy = json.loads(written)
    actions = [action for statement in policy["Statement"] for action in _listed(statement["Action"])]
    # The emulator takes the request for one event source for that of all, and finds no queue in a request with its ARN.
    for documented, checked in (
        ("lambda:GetEventSourceMapping", "lambda:ListEventSourceMappings"),
        ("sqs:StartMessageMoveTask", "sqs:StartMessageMoveTask"),
    ):
        assert documented in actions
        policy["Statement"].append({"Effect": "Allow", "Action": checked, "Resource": "*"})
    return json.dumps(policy)


def _listed(actions: str | list[str]) -> list[str]:
    return [actions] if isinstance(actions, str) else actions


@pytest.fixture
def jobchain(
    stack: EmbeddedStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Run]:
    """Runs `jobchain … --stack jobchain` as a user who has these permissions alone."""
    iam = stack.client("iam")
    iam.create_user(UserName="operator")
    iam.put_user_policy(UserName="operator", PolicyName="jobchain", PolicyDocument=documented_policy())
    key = iam.create_access_key(UserName="operator")["AccessKey"]
    monkeypatch.setenv("AWS_ENDPOINT_URL", stack.endpoint_url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        code = main((*arguments, "--stack", "jobchain"))
        return code, *capsys.readouterr()

    yield run
    iam.delete_access_key(UserName="operator", AccessKeyId=key["AccessKeyId"])
    iam.delete_user_policy(UserName="operator", PolicyName="jobchain")
    iam.delete_user(UserName="operator")


def failed_job(stack: EmbeddedStack) -> str:
    """A job that has completed, and whose item says that it failed."""
    secret, _ = ApiKeyStore(stack.client("dynamodb"), stack.table, utc_now).create("acme", "acme")
    with Jobchain(stack.api_url, secret) as client:
        event_id = client.submit("Doors must be locked.").event_id
        client.wait(event_id, LIMIT)
    error = {"type": {"S": "model_failed"}, "message": {"S": "test"}}
    stack.client("dynamodb").update_item(
        TableName=stack.table,
        Key={"pk": {"S": f"JOB#{event_id}"}, "sk": {"S": "META"}},
        UpdateExpression="SET #status = :failed, final_status = :failed, #error = :error",
        ExpressionAttributeNames={"#status": "status", "#error": "error"},
        ExpressionAttributeValues={":failed": {"S": "failed"}, ":error": {"M": error}},
    )
    return event_id


def test_every_command_works_with_the_documented_permissions(stack: EmbeddedStack, jobchain: Run) -> None:
    # given a dead letter and a failed job
    body = json.dumps({"event_id": NO_JOB})
    stack.client("sqs").send_message(QueueUrl=stack.dead_letter_url, MessageBody=body)
    event_id = failed_job(stack)

    # when each command is run, then none is refused
    for arguments in (
        ("smoke",),
        ("pause",),
        ("resume",),
        ("retry", "--failed", "--since", "1h", "--type", "model_failed"),
        ("logs", "--errors"),
        ("letters", "list"),
        ("letters", "redrive"),
        ("letters", "drop", "--all", "--yes"),
        ("sweep",),
        ("keys", "create", "--tenant", "acme"),
        ("keys", "list"),
    ):
        code, out, err = jobchain(*arguments)
        assert code == 0, f"{arguments}: {out}{err}"
        assert "1 job retried." in err or arguments[0] != "retry"
    code, out, err = jobchain("logs", event_id)
    assert code == 0, f"{out}{err}"


def test_a_command_that_is_refused_says_where_its_permissions_are(stack: EmbeddedStack, jobchain: Run) -> None:
    stack.client("iam").delete_user_policy(UserName="operator", PolicyName="jobchain")

    code, out, err = jobchain("pause")
    stack.client("iam").put_user_policy(UserName="operator", PolicyName="jobchain", PolicyDocument=documented_policy())

    assert (code, out) == (1, "")
    assert "docs/reference/operations.md#permissions-of-operators" in err
