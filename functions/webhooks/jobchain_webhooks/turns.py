"""Keeps a slow endpoint from taking the threads of others: few tries at a time, and none while it is slow."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

MOST_TOGETHER = 2
"""The most tries of one endpoint at a time, in one environment of the function."""

SLOW_AFTER = 2
"""Slow tries in a row after which an endpoint is slow."""

SLOW_SECONDS = 60.0
"""How long an endpoint that is slow gets no turn."""

# More are forgotten, the least used first.
_MOST_ENDPOINTS = 1000


@dataclass
class _Endpoint:
    free: threading.Condition = field(default_factory=threading.Condition)
    running: int = 0
    slow_tries: int = 0
    slow_until: float = 0.0


class Turns:
    """Gives turns to tries. Threads share it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, slow_after: int = SLOW_AFTER) -> None:
        self._clock = clock
        self._slow_after = slow_after
        self._lock = threading.Lock()
        self._endpoints: OrderedDict[str, _Endpoint] = OrderedDict()

    def begin(self, name: str, seconds: float) -> bool:
        """Waits for a turn of the endpoint, up to `seconds`; whether there is one. Then `end` must follow."""
        endpoint = self._endpoint(name)
        with endpoint.free:
            endpoint.free.wait_for(lambda: endpoint.running < MOST_TOGETHER or self._is_slow(endpoint), seconds)
            if endpoint.running >= MOST_TOGETHER or self._is_slow(endpoint):
                return False
            endpoint.running += 1
            return True

    def end(self, name: str, *, was_slow: bool) -> None:
        """Ends the turn of a try."""
        endpoint = self._endpoint(name)
        with endpoint.free:
            endpoint.running -= 1
            endpoint.slow_tries = endpoint.slow_tries + 1 if was_slow else 0
            if endpoint.slow_tries >= self._slow_after:
                endpoint.slow_until = self._clock() + SLOW_SECONDS
            endpoint.free.notify_all()

    def _is_slow(self, endpoint: _Endpoint) -> bool:
        return endpoint.slow_until > self._clock()

    def _endpoint(self, name: str) -> _Endpoint:
        with self._lock:
            endpoint = self._endpoints.setdefault(name, _Endpoint())
            self._endpoints.move_to_end(name)
            idle = next(iter(self._endpoints))
            if len(self._endpoints) > _MOST_ENDPOINTS and not self._endpoints[idle].running:
                del self._endpoints[idle]
            return endpoint
