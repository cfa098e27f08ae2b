"""Keeps a slow endpoint from taking the threads of others: few tries at a time, and none while it is slow."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

MOST_TOGETHER = 2
"""The most tries of one endpoint at a time, in one environment of the function."""

SLOW_AFTER = 2
"""Timeouts in a row after which an endpoint is slow."""

SLOW_SECONDS = 60.0
"""How long an endpoint that is slow is not tried. The sweeper sends what was left, when it is due."""

# More are forgotten, the least used first.
_MOST_ENDPOINTS = 1000


@dataclass
class _Endpoint:
    free: threading.Condition = field(default_factory=threading.Condition)
    running: int = 0
    timeouts: int = 0
    slow_until: float = 0.0


class Turns:
    """Gives turns to tries. Threads share it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
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

    def end(self, name: str, *, timed_out: bool) -> None:
        """Ends the turn of a try, which got no answer in time if it `timed_out`."""
        endpoint = self._endpoint(name)
        with endpoint.free:
            endpoint.running -= 1
            endpoint.timeouts = endpoint.timeouts + 1 if timed_out else 0
            if endpoint.timeouts >= SLOW_AFTER:
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
