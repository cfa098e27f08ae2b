"""The OpenAPI document, which the build makes and the api function serves as it is."""

import json
from importlib.metadata import version
from typing import Any

import pytest
from aws_lambda_powertools import Logger

from jobchain.chains import CHAINS
from jobchain_api.paths import ALLOWED_METHODS
from jobchain_api.service import JobService
from local.openapi import document
from tests.conftest import OPENAPI
from tests.gateway import Api


@pytest.fixture(scope="module")
def contract() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(OPENAPI.read_text(encoding="utf-8"))
    return content


def test_the_file_is_what_the_code_says() -> None:
    assert document() == OPENAPI.read_text(encoding="utf-8"), "run `make openapi`"


def test_the_file_is_served_as_it_is_and_only_once_to_a_caller_that_has_it(
    service: JobService, logger: Logger, contract: dict[str, Any]
) -> None:
    api = Api(service, logger)

    answer = api("GET", "/openapi.json")
    again = api("GET", "/openapi.json", headers={"If-None-Match": answer.headers["ETag"]})

    assert answer.body == contract
    assert (again.status, again.body) == (304, None)


def test_its_version_is_the_version_of_the_project(contract: dict[str, Any]) -> None:
    assert contract["info"]["version"] == version("jobchain")


def test_it_describes_every_method_of_every_path(contract: dict[str, Any]) -> None:
    described = {
        path.replace("{", "<").replace("}", ">"): {method.upper() for method in methods}
        for path, methods in contract["paths"].items()
    }

    # HEAD is described once for all, as GET without the body.
    assert described == {path: set(methods) - {"HEAD"} for path, methods in ALLOWED_METHODS.items()}
    assert all(("HEAD" in methods) is ("GET" in methods) for methods in ALLOWED_METHODS.values())


def test_it_has_a_form_of_a_request_for_each_chain(contract: dict[str, Any]) -> None:
    forms = contract["components"]["schemas"]["CreateJob"]["oneOf"]

    assert [form["title"] for form in forms] == ["Short form", *CHAINS]


def test_answers_without_a_body_have_no_content_type(contract: dict[str, Any]) -> None:
    answers = [
        (status, answer)
        for methods in contract["paths"].values()
        for operation in methods.values()
        for status, answer in operation["responses"].items()
    ]

    assert {status for status, _ in answers} >= {"204", "304"}
    assert [status for status, answer in answers if status in ("204", "304") and "content" in answer] == []
