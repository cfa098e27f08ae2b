"""The offline model, which fails where the text that it is given tells it to: a caller can provoke a model's faults.

    python -m tests.conformance.faulty_model --port 8089

A stack whose parameter OpenAIBaseUrl is this server's can be tested with `make conformance MODEL_FAULTS=1`. What a text
orders (see `order`) happens to the first call whose prompt holds it, and a delay to each; all other calls are answered
as they should be.
"""

import argparse
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Event, Lock
from uuid import uuid4

from tests.fake_model.journal import Call
from tests.fake_model.replies import SERVER_ERROR, Reply, answer, late, refused, too_many_requests
from tests.fake_model.server import ModelServer

RETRY_AFTER = 6
"""Seconds that a call which is refused with 429 is asked to wait: clearly more than a backoff of the embedded stack."""

SLOW_SECONDS = 3
"""Less than the shortest time that the template gives a model call."""

NONSENSE = '{"nonsense": 1}'
"""An answer that fits no step."""

_REPLIES = {
    "garble": answer(NONSENSE),
    "throttle": too_many_requests(RETRY_AFTER),
    "break": SERVER_ERROR,
    "unauthorize": refused(401),
    "refuse": refused(400),
    "delay": late(SLOW_SECONDS),
}
_ORDER = re.compile(rf"model-fault-({'|'.join(_REPLIES)})-[0-9a-f]{{32}}")


def order(kind: str) -> str:
    """A new order, for a job's text. `kind`:

    `garble` is NONSENSE, `throttle` is 429 with a `Retry-After` of RETRY_AFTER, `break` is 500, `unauthorize` is 401,
    `refuse` is 400, `delay` is the right answer after SLOW_SECONDS.
    """
    assert kind in _REPLIES
    return f"model-fault-{kind}-{uuid4().hex}"


class Orders:
    """The rule of a model that does what a text orders."""

    def __init__(self) -> None:
        self._carried_out: set[str] = set()
        self._lock = Lock()

    def __call__(self, call: Call) -> Reply | None:
        """The reply to the first order of the call's text that was not carried out yet."""
        with self._lock:
            for found in _ORDER.finditer(call.body):
                if found[0] not in self._carried_out:
                    if found[1] != "delay":
                        self._carried_out.add(found[0])
                    return _REPLIES[found[1]]
        return None


@contextmanager
def running(host: str = "127.0.0.1", port: int = 0) -> Iterator[str]:
    """Answer in a thread of this process for as long as the context lasts; gives the base URL, `…/v1`."""
    with ModelServer(offline=True, host=host, port=port) as model:
        model.rule = Orders()
        yield model.base_url


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance.faulty_model", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; 0.0.0.0 lets containers in")
    parser.add_argument("--port", type=int, default=0, help="0 takes any free one")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with suppress(KeyboardInterrupt), running(options.host, options.port) as base_url:
        print(f"listening on {base_url}", flush=True)  # noqa: T201  # it talks to a terminal
        Event().wait()


if __name__ == "__main__":
    main()
