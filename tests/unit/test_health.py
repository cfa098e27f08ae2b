"""`GET /health`: what it says of the model, which it never asks itself."""

from datetime import date

import pytest
from aws_lambda_powertools import Logger

from jobchain.model_check import ModelCheck
from jobchain_api.service import JobService
from tests.fakes import FakeClock
from tests.gateway import Api
from tests.stores import Stores

CHECKED_AT = "2026-11-20T10:00:00.000Z"


@pytest.fixture
def api(service: JobService, logger: Logger) -> Api:
    return Api(service, logger)


def test_nothing_is_said_of_a_model_that_nobody_has_looked_at(api: Api) -> None:
    assert api("GET", "/health").body == {"status": "ok", "table": "ok", "queue": "ok", "model": None}


def test_a_model_without_an_end_has_no_days_to_count(api: Api, stores: Stores) -> None:
    stores.model_checks.save(ModelCheck("gpt-6-luna", True, None, CHECKED_AT))

    assert api("GET", "/health").body["model"] == {
        "name": "gpt-6-luna",
        "known": True,
        "shutdown_date": None,
        "days_left": None,
    }


@pytest.mark.parametrize(("end", "left"), [(date(2027, 1, 23), 62), (date(2026, 11, 22), 0), (date(2026, 11, 1), -21)])
def test_the_days_that_a_model_has_left_are_those_of_today(
    api: Api, stores: Stores, clock: FakeClock, end: date, left: int
) -> None:
    stores.model_checks.save(ModelCheck("gpt-6-luna", True, end, CHECKED_AT))

    answer = api("GET", "/health")

    assert clock().date() == date(2026, 11, 22)
    assert (answer.status, answer.body["model"]["shutdown_date"]) == (200, end.isoformat())
    assert answer.body["model"]["days_left"] == left


def test_an_unknown_model_does_not_make_the_api_unwell(api: Api, stores: Stores) -> None:
    stores.model_checks.save(ModelCheck("gpt-6-luna", False, None, CHECKED_AT))

    answer = api("GET", "/health")

    assert answer.status == 200
    assert answer.body["model"]["known"] is False
