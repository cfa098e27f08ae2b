"""A model that leaves a caller time to cancel a job, and fails some jobs, so that there are some to run again."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from itertools import count
from threading import Thread

from local import offline_model

SECONDS = 0.3
"""How long an answer takes."""

REFUSES = 10
"""One in so many answers is a refusal, which ends a job."""

_calls = count(1)


class _Handler(offline_model._Handler):
    def do_POST(self) -> None:  # noqa: N802  # named by http.server
        time.sleep(SECONDS)
        if next(_calls) % REFUSES:
            super().do_POST()
        else:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self._send_error(HTTPStatus.BAD_REQUEST, "one that is refused")


@contextmanager
def running() -> Iterator[str]:
    """Answers in a thread of this process for as long as the context lasts; gives the base URL, `…/v1`."""
    with offline_model.OfflineModelServer() as server:
        server.RequestHandlerClass = _Handler
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield server.base_url
        finally:
            server.shutdown()
            thread.join()
