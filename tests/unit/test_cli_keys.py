"""The command line's `keys`: what it takes, and what it says on which stream."""

import io
import json
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import boto3
import pytest
from botocore.exceptions import (
    BotoCoreError,
    EndpointConnectionError,
    NoCredentialsError,
    ReadTimeoutError,
    SSOTokenLoadError,
)
from botocore.stub import Stubber

from jobchain.aws.api_keys import ApiKeyStore, hashed
from jobchain.limits import NO_LIMITS, Limits
from jobchain_cli.__main__ import main
from jobchain_cli.keys import NewKey, OptionError, limits_in_words, new_key, state_in_words, table
from jobchain_cli.local_stack import LOCAL_STACK
from tests.conftest import TABLE
from tests.fakes import FakeClock

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


class Said(NamedTuple):
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str


Operate = Callable[..., Said]


@pytest.fixture
def keys(dynamodb: "DynamoDBClient", clock: FakeClock) -> ApiKeyStore:
    return ApiKeyStore(dynamodb, TABLE, clock)


@pytest.fixture
def operate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Operate:
    """Runs a command where nothing is up."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Said:
        code = main(arguments)
        return Said(code, *capsys.readouterr())

    return run


@pytest.fixture
def on_table(operate: Operate, dynamodb: "DynamoDBClient") -> Operate:
    """Runs a command where moto's table is the local stack's."""
    parts = {
        "region": "us-east-1",
        "access_key": "test",
        "secret_key": "test",
        "endpoint_url": dynamodb.meta.endpoint_url,
        "table": TABLE,
        "queue_url": "",
        "dead_letter_url": "",
        "sweeper": "",
    }
    LOCAL_STACK.parent.mkdir()
    LOCAL_STACK.write_text(json.dumps(parts))
    return operate


class TestOptions:
    def test_make_the_key_that_they_ask_for(self) -> None:
        made = new_key(
            "acme",
            "  Ana's laptop ",
            operator=True,
            valid_days="30",
            jobs_per_minute="10",
            unfinished_jobs="10000",
            tokens_per_day="1",
            cost_usd_per_day="2.50",
            requests_per_minute="600",
            webhook_urls=True,
        )

        limits = Limits(10, 10_000, 1, Decimal("2.5"), 600)
        expected = NewKey(
            "acme", "Ana's laptop", limits, operator=True, valid_for=timedelta(days=30), webhook_urls=True
        )
        assert made == expected

    def test_may_be_left_out_but_for_the_tenant(self) -> None:
        assert new_key("acme") == NewKey("acme", "acme", NO_LIMITS, operator=False, valid_for=None)

    @pytest.mark.parametrize("tenant", ["a", "0", "a-b-", "a" * 63])
    def test_take_a_tenant_of_small_letters_digits_and_hyphens(self, tenant: str) -> None:
        assert new_key(tenant).tenant == tenant

    @pytest.mark.parametrize("tenant", ["", "-a", "A", "a b", "a_b", "ä", "a#b", "a\n", "a" * 64])
    def test_take_no_other_tenant(self, tenant: str) -> None:
        with pytest.raises(OptionError, match=r"--tenant .*such as --tenant my-team"):
            new_key(tenant)

    @pytest.mark.parametrize("name", ["x" * 100, "Größe 9", "日本", "a'b\"c; $(id)"])
    def test_take_any_printable_name(self, name: str) -> None:
        assert new_key("acme", name).name == name

    @pytest.mark.parametrize("name", ["", "  ", "x" * 101, "a\nb", "a\x1b[2Jb", "a\u202eb", "\udcff"])
    def test_take_no_name_that_a_terminal_obeys_or_a_table_has_no_room_for(self, name: str) -> None:
        with pytest.raises(OptionError, match=r"--name .*1 to 100 printable characters"):
            new_key("acme", name)

    @pytest.mark.parametrize(
        "option", ["jobs_per_minute", "unfinished_jobs", "tokens_per_day", "valid_days", "requests_per_minute"]
    )
    @pytest.mark.parametrize("text", ["", "0", "-1", "1.5", "1e3", "1,000", "1_000", " 1", "ten", "٣", "9" * 40])
    def test_take_whole_numbers_from_one(self, option: str, text: str) -> None:
        with pytest.raises(OptionError, match=f"--{option.replace('_', '-')} .*whole number from 1 to"):
            new_key("acme", **{option: text})  # type: ignore[arg-type]

    @pytest.mark.parametrize(("option", "most"), [("unfinished_jobs", 10_000), ("valid_days", 36_500)])
    def test_have_a_most_where_more_means_nothing(self, option: str, most: int) -> None:
        new_key("acme", **{option: str(most)})  # type: ignore[arg-type]

        with pytest.raises(OptionError, match=f"{most:,}"):
            new_key("acme", **{option: str(most + 1)})  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        "text", ["", "0", "0.0", "-1", "1,5", "1e3", "nan", "inf", "$2", ".5", "1.0000001", "1" * 10]
    )
    def test_take_a_cost_above_nothing(self, text: str) -> None:
        with pytest.raises(OptionError, match=r"--cost-usd-per-day .*such as 2\.50"):
            new_key("acme", cost_usd_per_day=text)

    @pytest.mark.parametrize("text", ["0.000001", "1", "007.50", "999999999.999999"])
    def test_take_a_cost_to_a_millionth_dollar(self, text: str) -> None:
        assert new_key("acme", cost_usd_per_day=text).limits.cost_usd_per_day == Decimal(text)


def test_limits_read_as_words() -> None:
    assert limits_in_words(NO_LIMITS) == "no limits"
    assert limits_in_words(Limits(1, 2, 100_000, Decimal("2.5"))) == (
        "1 job a minute, 2 unfinished jobs, 100,000 tokens a day, 2.5 USD a day"
    )
    assert limits_in_words(Limits(cost_usd_per_day=Decimal("1E+2"))) == "100 USD a day"


def test_a_state_reads_as_words(keys: ApiKeyStore, clock: FakeClock) -> None:
    _, lasting = keys.create("acme", "lasting")
    _, short = keys.create("acme", "short", valid_for=timedelta(days=1))
    revoked = keys.revoke(keys.create("acme", "gone", valid_for=timedelta(days=1))[1].key_id)
    states = [
        [state_in_words(key, clock() + timedelta(days=days)) for days in (0, 2)] for key in (lasting, short, revoked)
    ]

    assert states == [
        ["active", "active"],
        ["active until 2026-11-23", "expired 2026-11-23"],
        ["revoked 2026-11-22", "revoked 2026-11-22"],
    ]


def test_a_tables_columns_are_aligned(keys: ApiKeyStore, clock: FakeClock) -> None:
    keys.create("a-long-tenant", "x", Limits(jobs_per_minute=2), operator=True)
    keys.create("b", "a long name")

    head, *rows = table(keys.list(), clock())

    starts = [head.index(title) for title in ("TENANT", "NAME", "CREATED", "STATE", "OPERATOR", "LIMITS")]
    assert [[row[start:].partition("  ")[0] for start in starts] for row in rows] == [
        ["a-long-tenant", "x", "2026-11-22", "active", "yes", "2 jobs a minute"],
        ["b", "a long name", "2026-11-22", "active", "no", "no limits"],
    ]


class TestCreate:
    def test_prints_the_key_alone_and_the_rest_on_standard_error(self, on_table: Operate, keys: ApiKeyStore) -> None:
        said = on_table(
            "keys",
            "create",
            "--tenant",
            "acme",
            "--name",
            "Ana's laptop",
            "--jobs-per-minute",
            "10",
            "--requests-per-minute",
            "600",
        )

        stored = keys.find(hashed(said.out.removesuffix("\n")))
        assert stored
        assert (said.code, stored.tenant, stored.name, stored.limits) == (
            0,
            "acme",
            "Ana's laptop",
            Limits(10, requests_per_minute=600),
        )
        assert all(word in said.err for word in (stored.key_id, "acme", "10 jobs a minute", "shown this once"))
        assert said.out.strip() not in said.err

    def test_says_that_there_are_no_limits_and_that_it_is_an_operators(self, on_table: Operate) -> None:
        said = on_table("keys", "create", "--tenant", "acme", "--operator", "--valid-days", "1")

        assert "Limits: no limits." in said.err
        assert "operator" in said.err
        assert "Valid until 2" in said.err

    def test_lets_jobs_name_urls_that_are_told_of_their_ends(self, on_table: Operate, keys: ApiKeyStore) -> None:
        for options, expected in (((), False), (("--webhook-urls",), True)):
            said = on_table("keys", "create", "--tenant", "acme", *options)
            stored = keys.find(hashed(said.out.removesuffix("\n")))
            assert stored
            assert (stored.webhook_urls, "webhook_url" in said.err) == (expected, expected)

    def test_refuses_an_option_before_it_looks_for_a_stack(self, operate: Operate) -> None:
        assert operate("keys", "create", "--tenant", "Acme") == (
            2,
            "",
            "jobchain: --tenant 'Acme': use 1 to 63 of a-z, 0-9 and -, not - first, such as --tenant my-team\n",
        )

    def test_without_a_stack_says_how_to_get_one(self, operate: Operate) -> None:
        said = operate("keys", "create", "--tenant", "acme")

        assert (said.code, said.out) == (1, "")
        assert "make dev" in said.err

    def test_tells_in_one_line_what_aws_said(self, on_table: Operate, dynamodb: "DynamoDBClient") -> None:
        dynamodb.delete_table(TableName=TABLE)

        said = on_table("keys", "create", "--tenant", "acme")

        assert (said.code, said.out, said.err.count("\n")) == (1, "", 1)
        assert said.err.startswith("jobchain: An error occurred (ResourceNotFoundException)")


class TestList:
    def test_is_a_table_without_the_keys(self, on_table: Operate, keys: ApiKeyStore) -> None:
        secret, made = keys.create("acme", "laptop")
        keys.create("other", "server")

        said = on_table("keys", "list")

        assert (said.code, said.err, said.out.count("\n")) == (0, "", 3)
        assert made.key_id in said.out
        assert secret not in said.out
        assert hashed(secret) not in said.out

    def test_may_be_of_one_tenant(self, on_table: Operate, keys: ApiKeyStore) -> None:
        keys.create("acme", "laptop")
        keys.create("other", "server")

        said = on_table("keys", "list", "--tenant", "other")

        assert "server" in said.out
        assert "laptop" not in said.out

    @pytest.mark.parametrize(
        ("arguments", "told"), [((), "There are no keys yet.\n"), (("--tenant", "a"), "Tenant a has no keys.\n")]
    )
    def test_of_nothing_says_so(self, on_table: Operate, arguments: tuple[str, ...], told: str) -> None:
        said = on_table("keys", "list", *arguments)

        assert (said.code, said.err, said.out.count("\n")) == (0, told, 1)

    def test_refuses_what_can_not_be_a_tenant(self, on_table: Operate) -> None:
        assert on_table("keys", "list", "--tenant", "").code == 2


class TestRevoke:
    def test_says_that_it_takes_a_minute(self, on_table: Operate, keys: ApiKeyStore) -> None:
        secret, made = keys.create("acme", "laptop")

        said = on_table("keys", "revoke", made.key_id)

        assert (said.code, said.err) == (0, "")
        assert "within a minute" in said.out
        found = keys.find(hashed(secret))
        assert found
        assert found.revoked_at

    def test_of_an_unknown_key_is_told(self, on_table: Operate) -> None:
        said = on_table("keys", "revoke", "0123456789ab")

        assert (said.code, said.out) == (1, "")
        assert "no key of this id" in said.err

    def test_does_not_repeat_a_key_that_was_given_for_its_id(self, on_table: Operate, keys: ApiKeyStore) -> None:
        secret, _ = keys.create("acme", "laptop")

        said = on_table("keys", "revoke", secret)

        assert said.code == 2
        assert "not the key itself" in said.err
        assert secret not in said.err


@pytest.mark.parametrize(
    "arguments", [(), ("keys",), ("keys", "create"), ("keys", "revoke"), ("keys", "make"), ("sweep", "x")]
)
def test_a_command_that_is_none_is_a_usage_error(operate: Operate, arguments: tuple[str, ...]) -> None:
    assert operate(*arguments).code == 2


@pytest.fixture
def cloudformation(monkeypatch: pytest.MonkeyPatch, dynamodb: "DynamoDBClient") -> Stubber:
    """Stands in for CloudFormation; the table is moto's."""
    client = boto3.client("cloudformation")
    monkeypatch.setattr(
        boto3.Session, "client", lambda _, name, **_more: client if name == "cloudformation" else dynamodb
    )
    stub = Stubber(client)
    stub.activate()
    return stub


def described(outputs: dict[str, str]) -> dict[str, Any]:
    listed = [{"OutputKey": name, "OutputValue": value} for name, value in outputs.items()]
    some = {"StackName": "prod", "CreationTime": "2026-11-22T10:00:00Z", "StackStatus": "CREATE_COMPLETE"}
    return {"Stacks": [{**some, "Outputs": listed}]}


class TestAStackOnAws:
    def test_is_found_by_its_outputs(self, operate: Operate, cloudformation: Stubber, keys: ApiKeyStore) -> None:
        outputs = {"TableName": TABLE, "QueueUrl": "q", "DeadLetterUrl": "d", "SweeperName": "s", "ApiUrl": "a"}
        cloudformation.add_response("describe_stacks", described(outputs), {"StackName": "prod"})

        said = operate("keys", "create", "--tenant", "acme", "--stack", "prod")

        assert keys.find(hashed(said.out.strip()))

    def test_that_is_none_of_ours_is_told(self, operate: Operate, cloudformation: Stubber) -> None:
        cloudformation.add_response("describe_stacks", described({}), {"StackName": "prod"})

        said = operate("keys", "list", "--stack", "prod")

        assert (said.code, said.err.count("\n")) == (1, 1)
        assert "the stack prod has no output TableName" in said.err

    @pytest.mark.parametrize("arguments", [("sweep",), ("redrive",), ("keys", "list")])
    def test_without_a_region_names_the_setting(
        self, operate: Operate, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
    ) -> None:
        monkeypatch.delenv("AWS_DEFAULT_REGION")

        said = operate(*arguments, "--stack", "prod")

        assert said == (
            1,
            "",
            "jobchain: no AWS region is set: run `export AWS_DEFAULT_REGION=eu-central-1`, with your region, "
            "or `aws configure`\n",
        )

    @pytest.mark.parametrize(
        ("error", "fix"),
        [
            (NoCredentialsError(), "Sign in to AWS: `aws sso login`, or `aws configure`, or set AWS_PROFILE"),
            (SSOTokenLoadError(error_msg="it has expired"), "Sign in to AWS: `aws sso login`"),
            (EndpointConnectionError(endpoint_url="https://x"), "Check the network, a proxy (HTTPS_PROXY), and the"),
            (ReadTimeoutError(endpoint_url="https://x"), "Check the network"),
        ],
    )
    def test_that_can_not_be_asked_says_what_to_do(
        self, operate: Operate, monkeypatch: pytest.MonkeyPatch, error: BotoCoreError, fix: str
    ) -> None:
        def refuse(*_: Any, **__: Any) -> None:
            raise error

        monkeypatch.setattr("botocore.client.BaseClient._make_api_call", refuse)

        said = operate("keys", "list", "--stack", "prod")

        assert (said.code, said.err.count("\n")) == (1, 1)
        assert fix in said.err

    @pytest.mark.parametrize(
        ("payload", "words"),
        [
            (
                {"sent": 3, "failed": 1, "unfinished": True},
                "3 due jobs were sent again, 1 failed as worker_lost. More jobs are due: run it again.",
            ),
            ({"sent": 1, "failed": 0, "unfinished": False}, "1 due job was sent again, 0 failed as worker_lost."),
            ({"sent": 0, "failed": 0, "unfinished": False}, "0 due jobs were sent again, 0 failed as worker_lost."),
        ],
    )
    def test_is_swept_and_told_of_in_words_or_as_json(
        self, operate: Operate, monkeypatch: pytest.MonkeyPatch, payload: dict[str, Any], words: str
    ) -> None:
        class Client:
            def describe_stacks(self, **_: Any) -> dict[str, Any]:
                names = ("TableName", "QueueUrl", "DeadLetterUrl", "SweeperName")
                return described(dict.fromkeys(names, "x"))

            def invoke(self, **_: Any) -> dict[str, Any]:
                return {"Payload": io.BytesIO(json.dumps(payload).encode())}

        monkeypatch.setattr(boto3.Session, "client", lambda *_, **_more: Client())

        assert operate("sweep", "--stack", "prod") == (0, f"{words}\n", "")
        said = operate("sweep", "--stack", "prod", "--json")
        assert (said.code, said.out.count("\n"), json.loads(said.out)) == (0, 1, payload)

    def test_that_is_not_there_is_told_in_one_line(self, operate: Operate, cloudformation: Stubber) -> None:
        cloudformation.add_client_error("describe_stacks", "ValidationError", "Stack with id prod\ndoes not exist")

        said = operate("sweep", "--stack", "prod")

        assert (said.code, said.out, said.err.count("\n")) == (1, "", 1)
        assert "there is no stack prod in us-east-1: correct --stack, or set AWS_DEFAULT_REGION" in said.err
