"""Signatures of webhooks: ours and those of the reference library of Standard Webhooks, each verified by the other."""

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import standardwebhooks
from hypothesis import given
from hypothesis import strategies as st

from jobchain.webhooks.signatures import (
    PREFIX,
    TOLERANCE,
    InvalidWebhook,
    UnusableSecret,
    check_signature,
    new_secret,
    secret_bytes,
    signed_headers,
)
from jobchain_client.webhooks import verify

# The vector of all reference libraries: "sign function works" in libraries/javascript/src/webhook.test.ts.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
MOMENT = datetime.fromtimestamp(1614265330, UTC)
VECTOR_BODY = b'{"test": 2432232314}'
VECTOR = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
OTHER = "whsec_" + base64.b64encode(b"another secret of 32 bytes, yes!").decode()

EVENT: dict[str, Any] = {
    "type": "job.completed",
    "timestamp": "2026-11-29T10:00:00.000Z",
    "data": {"event_id": "0b0e7a52-0000-4000-8000-000000000000", "status": "completed"},
}
BODY = json.dumps(EVENT).encode()

SECRETS = st.binary(min_size=24, max_size=64).map(lambda key: PREFIX + base64.b64encode(key).decode())
IDS = st.from_regex(r"[A-Za-z0-9_-]{1,128}", fullmatch=True)


def signed(body: bytes = BODY, *secrets: str, at: datetime = MOMENT) -> dict[str, str]:
    return signed_headers(ID, at, body, secrets or (SECRET,))


class TestSigning:
    def test_gives_the_vector_of_the_reference_libraries(self) -> None:
        assert signed(VECTOR_BODY) == {
            "webhook-id": ID,
            "webhook-timestamp": "1614265330",
            "webhook-signature": VECTOR,
        }

    @given(IDS, st.text(), SECRETS)
    def test_is_verified_by_the_reference_library(self, webhook_id: str, text: str, secret: str) -> None:
        headers = signed_headers(webhook_id, datetime.now(UTC), text.encode(), [secret])

        standardwebhooks.Webhook(secret).verify(text, headers, json_parse=False)

    def test_with_two_secrets_is_verified_with_each_of_them_by_the_reference_library(self) -> None:
        headers = signed(BODY, SECRET, OTHER, at=datetime.now(UTC))

        assert standardwebhooks.Webhook(SECRET).verify(BODY, headers) == EVENT
        assert standardwebhooks.Webhook(OTHER).verify(BODY, headers) == EVENT

    @pytest.mark.parametrize("webhook_id", ["", "a.b", "a b", "é", "a\n", "a" * 129])
    def test_refuses_an_id_with_which_two_requests_could_have_one_signature(self, webhook_id: str) -> None:
        with pytest.raises(ValueError, match="up to 128 letters, digits"):
            signed_headers(webhook_id, MOMENT, BODY, [SECRET])

    def test_needs_a_secret(self) -> None:
        with pytest.raises(ValueError, match="no secret to sign with"):
            signed_headers(ID, MOMENT, BODY, [])


class TestVerifying:
    def test_gives_the_event_of_a_signed_request(self) -> None:
        event = verify(signed(), BODY, SECRET, now=MOMENT)

        assert (event.webhook_id, event.type, event.timestamp) == (ID, "job.completed", "2026-11-29T10:00:00.000Z")
        assert event.event_id == EVENT["data"]["event_id"]
        assert event.raw == EVENT

    @given(IDS, st.dictionaries(st.text(), st.text()), SECRETS)
    def test_accepts_what_the_reference_library_signs(self, webhook_id: str, data: dict[str, str], secret: str) -> None:
        body = json.dumps({**EVENT, "data": data}, ensure_ascii=False)
        now = datetime.now(UTC)
        signature = standardwebhooks.Webhook(secret).sign(webhook_id, now, body)
        headers = {
            "Webhook-Id": webhook_id,
            "Webhook-Timestamp": str(int(now.timestamp())),
            "Webhook-Signature": signature,
        }

        assert verify(headers, body, secret).data == data

    def test_finds_the_headers_in_any_case_and_beside_others(self) -> None:
        headers = {name.upper(): value for name, value in signed().items()} | {"Content-Type": "application/json"}

        assert verify(headers, BODY, SECRET, now=MOMENT).webhook_id == ID

    def test_takes_the_body_as_a_text_too(self) -> None:
        body = json.dumps({**EVENT, "data": {"metadata": {"ort": "Zürich"}}}, ensure_ascii=False)

        assert verify(signed(body.encode()), body, SECRET, now=MOMENT).data["metadata"] == {"ort": "Zürich"}

    def test_accepts_either_secret_while_one_replaces_the_other(self) -> None:
        both = signed(BODY, SECRET, OTHER)

        assert verify(both, BODY, SECRET, now=MOMENT).webhook_id == ID
        assert verify(both, BODY, OTHER, now=MOMENT).webhook_id == ID
        assert verify(signed(BODY, OTHER), BODY, [SECRET, OTHER], now=MOMENT).webhook_id == ID

    def test_ignores_signatures_of_other_versions_and_what_is_none(self) -> None:
        headers = signed()
        own = headers["webhook-signature"]
        headers["webhook-signature"] = f"v1a,AAAA v1,Ceo5qEr07ixe2NLpvHk3FH9bwy/WavXrAFQ/9tdO6mc= v1,*** v2 ,  {own}"

        assert verify(headers, BODY, SECRET, now=MOMENT).webhook_id == ID

    @pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
    def test_refuses_a_request_without_a_header_that_it_needs(self, name: str) -> None:
        headers = signed()
        del headers[name]

        with pytest.raises(InvalidWebhook, match=f"no header {name}"):
            verify(headers, BODY, SECRET, now=MOMENT)

    def test_refuses_a_header_that_occurs_twice_with_other_values(self) -> None:
        with pytest.raises(InvalidWebhook, match="webhook-id occurs twice"):
            verify({**signed(), "Webhook-Id": "another"}, BODY, SECRET, now=MOMENT)

    @pytest.mark.parametrize(
        "changed",
        [
            {"webhook-id": "msg_other"},
            {"webhook-timestamp": "1614265331"},
            {"webhook-signature": "v1,"},
            {"webhook-signature": "v1"},
            {"webhook-signature": ""},
            {"webhook-signature": VECTOR[:8]},
            {"webhook-signature": VECTOR},
            {"webhook-signature": "v1,dawfeoifkpqwoekfpqoekf"},
            {"webhook-id": "日本"},
        ],
    )
    def test_refuses_a_request_of_which_a_header_was_changed(self, changed: Mapping[str, str]) -> None:
        with pytest.raises(InvalidWebhook, match="no signature is one of this body"):
            verify({**signed(), **changed}, BODY, SECRET, now=MOMENT)

    def test_refuses_a_body_that_was_changed_by_one_space(self) -> None:
        with pytest.raises(InvalidWebhook, match="was the body changed or parsed before"):
            verify(signed(), BODY + b" ", SECRET, now=MOMENT)

    def test_refuses_another_secret(self) -> None:
        with pytest.raises(InvalidWebhook, match="no signature is one of this body with this secret"):
            verify(signed(), BODY, OTHER, now=MOMENT)

    @pytest.mark.parametrize(
        ("signature", "fits"), [(f"{'v1,AAAA ' * 15}OWN", True), (f"{'v1,AAAA ' * 100_000}OWN", False)]
    )
    def test_compares_no_more_than_sixteen_signatures(self, signature: str, fits: bool) -> None:
        headers = signed()
        headers["webhook-signature"] = signature.replace("OWN", headers["webhook-signature"])

        if fits:
            assert verify(headers, BODY, SECRET, now=MOMENT).webhook_id == ID
        else:
            with pytest.raises(InvalidWebhook, match="no signature"):
                verify(headers, BODY, SECRET, now=MOMENT)

    @pytest.mark.parametrize("late", [TOLERANCE, -TOLERANCE])
    def test_accepts_a_request_within_the_tolerance(self, late: timedelta) -> None:
        assert verify(signed(), BODY, SECRET, now=MOMENT + late).webhook_id == ID

    def test_refuses_a_request_that_is_repeated_later(self) -> None:
        with pytest.raises(InvalidWebhook, match="the request is 301 s old"):
            verify(signed(), BODY, SECRET, now=MOMENT + TOLERANCE + timedelta(seconds=1))

    def test_refuses_a_request_of_the_future(self) -> None:
        with pytest.raises(InvalidWebhook, match="the request is 301 s early"):
            verify(signed(), BODY, SECRET, now=MOMENT - TOLERANCE - timedelta(seconds=1))

    def test_keeps_to_another_tolerance(self) -> None:
        hour = timedelta(hours=1)

        assert verify(signed(), BODY, SECRET, tolerance=hour, now=MOMENT + hour).webhook_id == ID

    @pytest.mark.parametrize(
        "timestamp", ["", "hello", "1614265330.5", "-1614265330", "1e9", "٣", " 1614265330", "9" * 12]
    )
    def test_refuses_a_time_that_is_no_number_of_seconds(self, timestamp: str) -> None:
        with pytest.raises(InvalidWebhook, match="not a number of seconds"):
            verify({**signed(), "webhook-timestamp": timestamp}, BODY, SECRET, now=MOMENT)

    @pytest.mark.parametrize("webhook_id", ["", "a" * 257])
    def test_refuses_an_id_that_is_none(self, webhook_id: str) -> None:
        with pytest.raises(InvalidWebhook, match="webhook-id is empty or longer"):
            verify({**signed(), "webhook-id": webhook_id}, BODY, SECRET, now=MOMENT)

    @pytest.mark.parametrize(
        ("body", "why"),
        [
            (b"hello", "no JSON"),
            (b"\xff\xfe", "no JSON"),
            (b"[]", "no event"),
            (b'{"type": "job.completed"}', "no event"),
            (b'{"type": 1, "timestamp": "", "data": {}}', "no event"),
        ],
    )
    def test_refuses_a_signed_body_that_is_no_event(self, body: bytes, why: str) -> None:
        with pytest.raises(InvalidWebhook, match=why):
            verify(signed(body), body, SECRET, now=MOMENT)

    def test_says_that_it_needs_the_raw_body(self) -> None:
        parsed: Any = EVENT

        with pytest.raises(TypeError, match="the raw body of the request"):
            verify(signed(), parsed, SECRET, now=MOMENT)

    @given(st.dictionaries(st.sampled_from(["webhook-id", "webhook-timestamp", "webhook-signature"]), st.text()))
    def test_refuses_any_other_headers_with_an_error_of_its_own(self, headers: dict[str, str]) -> None:
        with pytest.raises(InvalidWebhook):
            verify(headers, BODY, SECRET, now=MOMENT)


class TestASecret:
    def test_that_is_new_is_random_and_has_the_form_of_the_specification(self) -> None:
        first, second = new_secret(), new_secret()

        assert first != second
        assert first.startswith("whsec_")
        assert len(secret_bytes(first)) == 32

    @pytest.mark.parametrize("written", ["whsec_{}", "{}", " whsec_{}\n"])
    def test_is_the_same_with_and_without_its_prefix_and_spaces(self, written: str) -> None:
        assert secret_bytes(written.format(SECRET.removeprefix("whsec_"))) == secret_bytes(SECRET)

    def test_may_have_no_padding(self) -> None:
        assert OTHER.endswith("=")
        assert secret_bytes(OTHER.rstrip("=")) == b"another secret of 32 bytes, yes!"

    @pytest.mark.parametrize(
        ("secret", "why"),
        [
            ("", "the secret is empty"),
            ("  ", "the secret is empty"),
            ("whsec_", "has 0 bytes, not 24 to 64"),
            ("whsec_aGVsbG8=", "has 5 bytes, not 24 to 64"),
            ("whsec_" + "A" * 100, "has 75 bytes, not 24 to 64"),
            ("whsk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "asymmetric signatures"),
            ("whpk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "asymmetric signatures"),
            ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS", "no base64|has 23 bytes"),
            ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2La-aS_", "no base64"),
            ("whsec_MfKQ9r8GKYqr TwjUPD8ILPZIo2LaLaSw", "no base64"),
            ("“whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw”", "no base64"),
            ("jc_abcdefghijklmnopqrstuvwxyz0123456789_-x", "no base64"),
        ],
    )
    def test_of_the_wrong_form_is_named_with_the_fix_and_not_shown(self, secret: str, why: str) -> None:
        with pytest.raises(UnusableSecret, match=why) as error:
            verify(signed(), BODY, secret, now=MOMENT)

        assert "MfKQ9r8" not in str(error.value)

    def test_must_be_given(self) -> None:
        with pytest.raises(UnusableSecret, match="no secret to check with"):
            check_signature(signed(), BODY, [], MOMENT)
