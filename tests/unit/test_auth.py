"""Who is let in by the header `Authorization`."""

import io
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from aws_lambda_powertools import Logger

from jobchain.aws.api_keys import MAX_LENGTH, ApiKey, ApiKeyStore, hashed
from jobchain.aws.request_quotas import RequestQuotas
from jobchain.errors import Unauthorized, Unavailable
from jobchain.limits import Limits
from jobchain_api.auth import ApiKeys, Caller, no_authentication
from jobchain_api.service import JobService
from tests.conftest import TABLE
from tests.fakes import FakeClock
from tests.gateway import ADDRESS, Answer, Api

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

LIMITS = Limits(jobs_per_minute=3)
EVENT_ID = "0b6c2f4e-0000-4000-8000-000000000001"


class Keys(ApiKeyStore):
    """Notes each look-up."""

    def __init__(self, client: "DynamoDBClient", clock: FakeClock) -> None:
        super().__init__(client, TABLE, clock)
        self.asked: list[str] = []

    def find(self, digest: str) -> ApiKey | None:
        self.asked.append(digest)
        return super().find(digest)


@pytest.fixture
def keys(dynamodb: "DynamoDBClient", clock: FakeClock) -> Keys:
    return Keys(dynamodb, clock)


@pytest.fixture
def authenticate(keys: Keys, dynamodb: "DynamoDBClient", clock: FakeClock) -> ApiKeys:
    return ApiKeys(keys, RequestQuotas(dynamodb, TABLE, clock), clock)


@pytest.fixture
def secret(keys: Keys) -> str:
    return keys.create("acme", "laptop", LIMITS)[0]


def refused(authenticate: ApiKeys, secret: str) -> bool:
    try:
        authenticate(f"Bearer {secret}")
    except Unauthorized:
        return True
    return False


def test_a_key_says_whose_request_it_is_and_what_it_may_do(authenticate: ApiKeys, secret: str, keys: Keys) -> None:
    operators, stored = keys.create("ours", "pager", operator=True)
    (of_acme,) = keys.list("acme")

    assert authenticate(f"Bearer {secret}") == Caller("acme", LIMITS, operator=False, key_id=of_acme.key_id)
    assert authenticate(f"Bearer {operators}") == Caller("ours", operator=True, key_id=stored.key_id)


@pytest.mark.parametrize("header", ["bearer {}", "BEARER {}", "bEaReR    {}", "  Bearer {} ", "\tBearer {}\t"])
def test_the_schemes_case_and_blanks_around_do_not_matter(authenticate: ApiKeys, secret: str, header: str) -> None:
    assert authenticate(header.format(secret)).tenant == "acme"


@pytest.mark.parametrize(
    "header",
    [
        "",
        " ",
        "Bearer",
        "Bearer ",
        "{}",
        "Basic {}",
        "Bearer{}",
        "Bearer\t{}",
        "Bearer: {}",
        "Bearer {} {}",
        "Bearer {},",
        "Bearer Bearer {}",
        "Bearer {}\x00",
        "Bearer \x1b{}",
        "Bearer {}\r\nX-Other: 1",
        "Bearer {}\u017f",
        "Bearer \udcff{}",
        "Bearer " + "x" * 1_000_000,
        "Bearer " + "x" * (MAX_LENGTH + 1),
        "Bearer " + " " * 1_000_000,
    ],
)
def test_anything_else_is_refused(authenticate: ApiKeys, secret: str, header: str) -> None:
    with pytest.raises(Unauthorized) as refusal:
        authenticate(header.replace("{}", secret))

    assert secret not in str(refusal.value)


@pytest.mark.parametrize("header", ["", "Basic {}", "Bearer {}\x00", "Bearer \u212a", "Bearer " + "x" * 1_000_000])
def test_what_can_not_be_a_key_costs_no_look_up(authenticate: ApiKeys, secret: str, keys: Keys, header: str) -> None:
    with pytest.raises(Unauthorized, match=r"Authorization: Bearer <key>"):
        authenticate(header.replace("{}", secret))

    assert keys.asked == []


def test_every_character_of_a_key_counts(authenticate: ApiKeys, secret: str) -> None:
    assert refused(authenticate, secret.swapcase())
    assert refused(authenticate, secret[:-1])
    assert refused(authenticate, secret + "A")
    assert not refused(authenticate, secret)


def test_the_look_up_sees_the_hash_alone(authenticate: ApiKeys, secret: str, keys: Keys) -> None:
    authenticate(f"Bearer {secret}")

    assert keys.asked == [hashed(secret)]


class TestAKeyThatIsKnown:
    def test_is_not_looked_up_with_each_request(self, authenticate: ApiKeys, secret: str, keys: Keys) -> None:
        for _ in range(3):
            authenticate(f"Bearer {secret}")

        assert len(keys.asked) == 1

    @pytest.mark.parametrize("offset", [0, 1, 25, 49])
    def test_is_refused_within_a_minute_of_its_revocation(
        self, authenticate: ApiKeys, secret: str, keys: Keys, clock: FakeClock, offset: int
    ) -> None:
        # given a key that was looked up at any time
        clock.advance(timedelta(seconds=offset))
        authenticate(f"Bearer {secret}")

        # when it is revoked
        keys.revoke(hashed(secret)[:12])
        clock.advance(timedelta(seconds=50))

        # then it is remembered for 50 seconds at most, which leaves 10 for requests that are under way
        with pytest.raises(Unauthorized, match="revoked"):
            authenticate(f"Bearer {secret}")

    def test_is_refused_at_once_when_its_time_is_over(
        self, authenticate: ApiKeys, keys: Keys, clock: FakeClock
    ) -> None:
        secret, _ = keys.create("acme", "short", valid_for=timedelta(seconds=5))
        authenticate(f"Bearer {secret}")

        clock.advance(timedelta(seconds=5))

        with pytest.raises(Unauthorized, match="expired"):
            authenticate(f"Bearer {secret}")
        assert len(keys.asked) == 1

    def test_is_let_in_though_the_table_does_not_answer_for_now(
        self, authenticate: ApiKeys, secret: str, dynamodb: "DynamoDBClient"
    ) -> None:
        authenticate(f"Bearer {secret}")
        dynamodb.delete_table(TableName=TABLE)

        assert authenticate(f"Bearer {secret}").tenant == "acme"


def test_a_process_that_never_saw_a_revoked_key_refuses_it_at_once(
    authenticate: ApiKeys, secret: str, keys: Keys
) -> None:
    keys.revoke(hashed(secret)[:12])

    with pytest.raises(Unauthorized, match="revoked"):
        authenticate(f"Bearer {secret}")


def test_a_key_that_is_not_known_is_looked_up_each_time_as_it_may_be_made_now(
    authenticate: ApiKeys, keys: Keys
) -> None:
    assert refused(authenticate, "jc_unknown")
    assert refused(authenticate, "jc_unknown")

    assert len(keys.asked) == 2


def test_a_table_that_does_not_answer_is_no_refusal(
    authenticate: ApiKeys, secret: str, dynamodb: "DynamoDBClient"
) -> None:
    dynamodb.delete_table(TableName=TABLE)

    with pytest.raises(Unavailable):
        authenticate(f"Bearer {secret}")


def test_without_keys_every_caller_is_the_one_tenant() -> None:
    expected = Caller("local", operator=True, anonymous=True, webhook_urls=True)
    assert no_authentication("") == no_authentication("Bearer jc_any") == expected


def log_line(log: io.StringIO, answer: Answer, logger: Logger) -> dict[str, Any]:
    """The keys of the request's log line, after it was answered."""
    logger.info("request", status=answer.status)
    line: dict[str, Any] = json.loads(log.getvalue().splitlines()[-1])
    return line


class TestTheLogOfARequest:
    @pytest.fixture
    def api(self, service: JobService, logger: Logger, authenticate: ApiKeys) -> Api:
        return Api(service, logger, authenticate)

    def test_names_route_tenant_and_key(
        self, api: Api, keys: Keys, secret: str, log: io.StringIO, logger: Logger
    ) -> None:
        answer = api("GET", f"/jobs/{EVENT_ID}?x=secret", headers={"Authorization": f"Bearer {secret}"})

        (stored,) = keys.list("acme")
        line = log_line(log, answer, logger)
        assert (line["route"], line["tenant"], line["key_id"]) == ("/jobs/<event_id>", "acme", stored.key_id)
        assert "address" not in line
        assert "secret" not in log.getvalue()

    def test_names_route_and_address_of_a_wrong_key_and_not_the_key(
        self, api: Api, log: io.StringIO, logger: Logger
    ) -> None:
        answer = api("POST", "/jobs/batch", {}, {"Authorization": "Bearer jc_wrong"})

        line = log_line(log, answer, logger)
        assert (answer.status, line["route"], line["address"], line["key_id"]) == (401, "/jobs/batch", ADDRESS, "")
        assert line["reason"].startswith("invalid API key")
        assert "jc_wrong" not in log.getvalue()

    def test_names_the_id_of_a_key_that_is_revoked(
        self, api: Api, keys: Keys, secret: str, log: io.StringIO, logger: Logger
    ) -> None:
        (stored,) = keys.list("acme")
        keys.revoke(stored.key_id)

        answer = api("GET", "/jobs", headers={"Authorization": f"Bearer {secret}"})

        line = log_line(log, answer, logger)
        assert (answer.status, line["key_id"], line["address"]) == (401, stored.key_id, ADDRESS)

    @pytest.mark.parametrize("sent", ["\x1b[2Jjc_wrong", "203.0.113.7, 6.6.6.6", "fe80::1%jc_wrong", "", "9" * 5000])
    def test_names_no_address_that_is_none(
        self, service: JobService, logger: Logger, authenticate: ApiKeys, log: io.StringIO, sent: str
    ) -> None:
        # Emulators take it from the header X-Forwarded-For, in which a caller writes anything.
        answer = Api(service, logger, authenticate, sent)("GET", "/jobs")

        line = log_line(log, answer, logger)
        assert (answer.status, line["address"]) == (401, "")

    def test_names_the_key_of_a_request_too_many(self, api: Api, keys: Keys, log: io.StringIO, logger: Logger) -> None:
        secret, stored = keys.create("acme", "busy", Limits(requests_per_minute=1))
        api("GET", "/chains", headers={"Authorization": f"Bearer {secret}"})

        answer = api("GET", "/chains", headers={"Authorization": f"Bearer {secret}"})

        line = log_line(log, answer, logger)
        assert (answer.status, line["key_id"], line["address"]) == (429, stored.key_id, ADDRESS)
        assert "requests_per_minute" in line["reason"]

    @pytest.mark.parametrize("path", ["/nothing", "/jobs/a/b/c", "/health/secret"])
    def test_names_no_path_that_is_none(self, api: Api, log: io.StringIO, logger: Logger, path: str) -> None:
        assert log_line(log, api("GET", path), logger)["route"] == ""


def test_a_key_may_make_so_many_requests_a_minute(
    service: JobService, logger: Logger, authenticate: ApiKeys, keys: Keys
) -> None:
    secret, _ = keys.create("acme", "busy", Limits(requests_per_minute=3))
    api = Api(service, logger, authenticate)

    answers = [api("GET", "/chains", headers={"Authorization": f"Bearer {secret}"}) for _ in range(5)]

    assert [answer.status for answer in answers] == [200, 200, 200, 429, 429]
    assert (answers[-1].body["limit"], answers[-1].headers["Retry-After"]) == ("requests_per_minute", "60")
    assert api("GET", "/health").status == 200
