"""The stack that all of these tests are about: one that is named by an option, else an embedded one of their own.

Only options name a stack, never JOBCHAIN_URL: who has that set for the command line and runs `make test` must not make
jobs there.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from uuid import uuid4

import httpx2
import pytest

from tests.conformance import target as targets
from tests.conformance.api import Api
from tests.conformance.contract import Contract
from tests.conformance.target import Target

_TARGET = pytest.StashKey[Target]()
_SUMMARY = pytest.StashKey[list[str]]()
_OPTIONS = {
    "url": "what the API's paths are put behind; the keys are JOBCHAIN_API_KEY and JOBCHAIN_OTHER_API_KEY",
    "stack": "the CloudFormation stack, by which the table and the queue are found, and the API",
    "endpoint": "where AWS's APIs are, if it is not AWS: an emulator's URL",
}
_FLAGS = {
    "model-faults": "the stack's model is tests/conformance/faulty_model.py",
    "alone": "no other caller uses the stack",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("conformance")
    for name, text in _OPTIONS.items():
        group.addoption(f"--{name}", default="", dest=_dest(name), help=text)
    for name, text in _FLAGS.items():
        group.addoption(f"--{name}", action="store_true", dest=_dest(name), help=text)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Before the first test: a stack that does not answer, or refuses the key, ends the run here."""
    options = {name.replace("-", "_"): session.config.getoption(_dest(name), None) for name in (*_OPTIONS, *_FLAGS)}
    if any(options[name] for name in _OPTIONS):
        try:
            session.config.stash[_TARGET] = targets.find(options)
        except targets.NoTargetError as error:
            raise pytest.UsageError(str(error)) from None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for line in config.stash.get(_SUMMARY, []):
        terminalreporter.write_line(line)


def _dest(name: str) -> str:
    return f"conformance_{name.replace('-', '_')}"


@pytest.fixture(autouse=True)
def _no_real_account(request: pytest.FixtureRequest) -> None:
    """A stack that was named may be on AWS; without one, the account is out of reach as in all other tests."""
    if _TARGET not in request.config.stash:
        request.getfixturevalue("_no_real_account")


@pytest.fixture(autouse=True)
def _no_network(request: pytest.FixtureRequest) -> None:
    if _TARGET not in request.config.stash:
        request.getfixturevalue("_no_network")


@pytest.fixture(scope="session")
def target(pytestconfig: pytest.Config) -> Iterator[Target]:
    with ExitStack() as cleanup:
        yield pytestconfig.stash.get(_TARGET, None) or cleanup.enter_context(targets.embedded())


@pytest.fixture(autouse=True)
def _needs(request: pytest.FixtureRequest, target: Target) -> None:
    """Leaves a test out that can't run against this stack, and says why."""
    for mark in request.node.iter_markers("needs"):
        for need in mark.args:
            if why := target.lack(need):
                pytest.skip(why)


@pytest.fixture(scope="session")
def document(target: Target) -> dict[str, Any]:
    """The OpenAPI document that the stack serves."""
    with Api(target, None).http as http:
        document: dict[str, Any] = http.get("/openapi.json").raise_for_status().json()
        return document


@pytest.fixture(scope="session")
def api(target: Target, document: dict[str, Any], pytestconfig: pytest.Config) -> Iterator[Api]:
    """The tenant whose jobs are made. At the end they are deleted."""
    with _caller(target, target.key, document) as api:
        yield api
        count = api.delete_all()
        if pytestconfig.stash.get(_TARGET, None) is None:
            _expect_nothing_left(target)
        pytestconfig.stash.setdefault(_SUMMARY, []).append(
            f"Conformance of {target.name}: {count} jobs were made and deleted."
        )


@pytest.fixture(scope="session")
def overdue(api: Api, target: Target) -> str | None:
    """A job that only the schedule will find."""
    return api.unsent(overdue=True) if target.parts else None


@pytest.fixture(scope="session", autouse=True)
def _overdue_first(request: pytest.FixtureRequest) -> None:
    """The schedule takes up to a minute: it runs beside all other tests."""
    if any("overdue" in getattr(item, "fixturenames", ()) for item in request.session.items):
        request.getfixturevalue("overdue")


@pytest.fixture(scope="session")
def other(target: Target, document: dict[str, Any]) -> Iterator[Api]:
    """Another tenant."""
    with _caller(target, target.other_key, document) as api:
        yield api
        api.delete_all()


@pytest.fixture(scope="session")
def anonymous(target: Target, document: dict[str, Any]) -> Iterator[httpx2.Client]:
    """A client without a key."""
    with _caller(target, None, document) as api:
        yield api.http


@pytest.fixture
def key() -> str:
    """An idempotency key that was not used before."""
    return f"conformance-{uuid4()}"


@contextmanager
def _caller(target: Target, key: str | None, document: dict[str, Any]) -> Iterator[Api]:
    api = Api(target, key if target.asks_for_keys else None, Contract(document, target.api_url))
    with api.http:
        yield api


def _expect_nothing_left(target: Target) -> None:
    """Fails if the table of a stack of our own still has items of jobs."""
    assert target.parts
    pages = target.parts.client("dynamodb").get_paginator("scan").paginate(TableName=target.parts.table)
    left = [item["pk"]["S"] for page in pages for item in page["Items"] if item["pk"]["S"].startswith("JOB#")]
    assert left == []
