"""The worker's look at the model: what it stores, counts and says."""

import asyncio
import io
import json
from datetime import date, timedelta
from typing import Any

import pytest
from aws_lambda_powertools import Logger

from jobchain.errors import TransientModelError, Unavailable, UnknownModel
from jobchain.model_check import ModelCheck
from jobchain_worker.model_checker import ModelChecker
from tests.fakes import FakeClock
from tests.stores import Stores

CHECKED_AT = "2026-11-22T10:00:00.000Z"


class World:
    """A checker whose model ends on `end`, or of whom the server says nothing but an error."""

    def __init__(self, stores: Stores, clock: FakeClock, logger: Logger, log: io.StringIO) -> None:
        self.stores = stores
        self.end: date | Exception | None = None
        self.counted: list[tuple[bool, int | None]] = []
        self._log = log
        self._checker = ModelChecker(
            model="gpt-6-luna",
            find_shutdown=self._find,
            checks=stores.model_checks,
            clock=clock,
            logger=logger,
            meter=lambda check, left: self.counted.append((check.known, left)),
        )

    async def _find(self) -> date | None:
        if isinstance(self.end, Exception):
            raise self.end
        return self.end

    def check(self) -> dict[str, Any]:
        return asyncio.run(self._checker.check())

    @property
    def log(self) -> str:
        return self._log.getvalue()

    @property
    def logged(self) -> list[tuple[str, str]]:
        lines = [json.loads(line) for line in self._log.getvalue().splitlines()]
        return [(line["level"], line["message"]) for line in lines]


@pytest.fixture
def world(stores: Stores, clock: FakeClock, logger: Logger, log: io.StringIO) -> World:
    return World(stores, clock, logger, log)


def test_a_model_without_an_end_is_known_and_has_no_count_of_days(world: World) -> None:
    answer = world.check()

    assert answer == {"model": "gpt-6-luna", "checked": True, "known": True, "days_left": None}
    assert world.counted == [(True, None)]
    assert world.logged == [("INFO", "the model is available")]
    assert world.stores.model_checks.last() == ModelCheck("gpt-6-luna", True, None, CHECKED_AT)


@pytest.mark.parametrize(
    ("end", "left", "level"),
    [
        (date(2027, 1, 22), 61, "INFO"),
        (date(2027, 1, 21), 60, "WARNING"),
        (date(2026, 11, 22), 0, "WARNING"),
        (date(2026, 11, 1), -21, "WARNING"),
    ],
)
def test_a_model_with_an_end_is_warned_of_sixty_days_ahead(world: World, end: date, left: int, level: str) -> None:
    world.end = end

    answer = world.check()

    assert answer["days_left"] == left
    assert world.counted == [(True, left)]
    assert [line for line, _ in world.logged] == [level]
    assert ("jobchain replay --last 50 --model OTHER" in world.log) is (level == "WARNING")
    assert world.stores.model_checks.last() == ModelCheck("gpt-6-luna", True, end, CHECKED_AT)


def test_an_unknown_model_is_an_error_and_stored_as_such(world: World) -> None:
    world.end = UnknownModel("gpt-6-luna", ["other"])

    answer = world.check()

    assert answer == {"model": "gpt-6-luna", "checked": True, "known": False, "days_left": None}
    assert world.counted == [(False, None)]
    assert world.logged == [("ERROR", "the model's server does not know the model")]
    assert world.stores.model_checks.last() == ModelCheck("gpt-6-luna", False, None, CHECKED_AT)


def test_a_server_that_does_not_tell_leaves_the_last_check_as_it_was(world: World) -> None:
    world.end = date(2028, 1, 1)
    world.check()
    before = world.stores.model_checks.last()

    world.end = TransientModelError("the model's server can't be reached")
    answer = world.check()

    assert answer == {"model": "gpt-6-luna", "checked": False}
    assert len(world.counted) == 1
    assert world.logged[-1] == ("WARNING", "the model was not checked")
    assert world.stores.model_checks.last() == before


def test_a_model_that_is_known_again_has_no_end_left_over(world: World, clock: FakeClock) -> None:
    world.end = date(2028, 1, 1)
    world.check()

    clock.advance(timedelta(days=1))
    world.end = None
    world.check()

    assert world.stores.model_checks.last() == ModelCheck("gpt-6-luna", True, None, "2026-11-23T10:00:00.000Z")


def test_what_can_not_be_stored_is_counted_all_the_same(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def down(*_: object) -> None:
        raise Unavailable("the table does not answer")

    monkeypatch.setattr(world.stores.model_checks, "save", down)

    answer = world.check()

    assert answer["checked"] is True
    assert world.logged[-1] == ("WARNING", "the check of the model was not stored")


def test_before_the_first_check_nothing_is_known(stores: Stores) -> None:
    assert stores.model_checks.last() is None
