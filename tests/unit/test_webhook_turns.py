"""How an endpoint that is slow is kept from the threads of others, and when tries come."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from jobchain.webhooks.schedule import PAUSES, pause_after
from jobchain_webhooks.turns import MOST_TOGETHER, SLOW_AFTER, SLOW_SECONDS, Turns

AWHILE = 30.0


class TestTurns:
    def test_are_given_to_a_few_tries_of_an_endpoint_at_a_time(self) -> None:
        turns = Turns()

        assert [turns.begin("a", 0) for _ in range(MOST_TOGETHER + 1)] == [True] * MOST_TOGETHER + [False]
        assert turns.begin("b", 0)
        turns.end("a", was_slow=False)
        assert turns.begin("a", 0)

    def test_are_waited_for(self) -> None:
        turns, together, most = Turns(), 0, 0
        lock = threading.Lock()

        def one(_: int) -> bool:
            nonlocal together, most
            if not turns.begin("a", AWHILE):
                return False
            with lock:
                together += 1
                most = max(most, together)
            with lock:
                together -= 1
            turns.end("a", was_slow=False)
            return True

        with ThreadPoolExecutor(10) as threads:
            assert all(threads.map(one, range(500)))
        assert most <= MOST_TOGETHER

    def test_are_not_given_to_an_endpoint_that_is_slow_nor_to_those_who_wait_for_it(self) -> None:
        now = [0.0]
        turns = Turns(lambda: now[0])
        for _ in range(SLOW_AFTER - 1):
            assert turns.begin("a", 0)
            turns.end("a", was_slow=True)
        for _ in range(MOST_TOGETHER):
            assert turns.begin("a", 0)
        with ThreadPoolExecutor(1) as threads:
            waiting = threads.submit(turns.begin, "a", AWHILE)
            turns.end("a", was_slow=True)

            assert waiting.result(AWHILE) is False
        assert not turns.begin("a", 0)
        assert turns.begin("b", 0)

        now[0] = SLOW_SECONDS + 1
        assert turns.begin("a", 0)

    def test_are_given_again_after_an_answer_in_time(self) -> None:
        turns = Turns()
        for was_slow in (True, False, True, False):
            assert turns.begin("a", 0)
            turns.end("a", was_slow=was_slow)

        assert turns.begin("a", 0)

    def test_forget_endpoints_that_were_long_unused(self) -> None:
        turns = Turns()
        for number in range(3000):
            assert turns.begin(str(number), 0)
            turns.end(str(number), was_slow=False)

        assert len(turns._endpoints) <= 1000


class TestPauses:
    def test_make_ten_tries_within_72_hours(self) -> None:
        assert len(PAUSES) == 9
        assert timedelta(hours=71) < sum(PAUSES, timedelta()) < timedelta(hours=72)
        assert list(PAUSES) == sorted(PAUSES)

    @pytest.mark.parametrize("tries", range(1, 10))
    def test_are_up_to_a_tenth_shorter_by_chance(self, tries: int) -> None:
        pauses = [pause_after(tries) for _ in range(100)]

        assert all(pause and PAUSES[tries - 1] * 0.9 <= pause <= PAUSES[tries - 1] for pause in pauses)

    def test_end_after_the_tenth_try(self) -> None:
        assert pause_after(10) is None
        assert pause_after(10, timedelta(seconds=1)) is None

    def test_are_longer_where_a_receiver_asks_for_it_but_never_shorter(self) -> None:
        assert pause_after(1, timedelta(minutes=10)) == timedelta(minutes=10)
        assert pause_after(2, timedelta(seconds=1), lambda _low, high: high) == PAUSES[1]
        assert pause_after(1, timedelta(days=30)) == timedelta(hours=24)
