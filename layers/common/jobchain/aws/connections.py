"""Open connections to one of AWS's endpoints: HTTP/1.1 by the standard library, errors in botocore's classes."""

import select
import socket
import ssl
import weakref
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import botocore
from botocore.exceptions import (
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    ReadTimeoutError,
    SSLError,
)

TRUSTED = Path(botocore.__file__).with_name("cacert.pem")
"""The certificates that botocore trusts."""


class Answer(NamedTuple):
    """An answer as it came; the names of the headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Connections:
    """Sends requests to one endpoint, each over a connection of its own, which is kept for later ones.

    Threads may share it: there are as many connections as requests at the same time.
    """

    def __init__(self, url: str, connect_seconds: float, read_seconds: float) -> None:
        """`url` is scheme, host and port. `read_seconds` is the longest silence of the server."""
        self.url = url
        parts = urlsplit(url)
        self.host = parts.netloc
        self._is_secure = parts.scheme == "https"
        self._name, self._port = parts.hostname or "", parts.port
        self._connect_seconds = connect_seconds
        self._read_seconds = read_seconds
        self._idle: deque[HTTPConnection] = deque()
        weakref.finalize(self, _close_all, self._idle)

    def post(self, headers: Mapping[str, str], body: bytes) -> Answer:
        """The answer to `POST /`.

        Raises ConnectTimeoutError, EndpointConnectionError, SSLError where nothing was sent, and ReadTimeoutError,
        ConnectionClosedError where it is not known what the server did.
        """
        kept = self._kept()
        connection = kept or self._opened()
        try:
            connection.request("POST", "/", body, dict(headers))
            response = connection.getresponse()
            answer = Answer(
                response.status, {name.lower(): value for name, value in response.headers.items()}, response.read()
            )
        except TimeoutError as error:
            connection.close()
            self._drop_idle(kept)
            raise ReadTimeoutError(endpoint_url=self.url, error=error) from error
        except (OSError, HTTPException) as error:
            connection.close()
            self._drop_idle(kept)
            raise ConnectionClosedError(endpoint_url=self.url, error=error) from error
        except BaseException:
            # Half of an answer must not become the beginning of the next one.
            connection.close()
            raise
        if connection.sock is not None:  # the server may have announced that it closes it
            self._idle.append(connection)
        return answer

    def _kept(self) -> HTTPConnection | None:
        """The connection that was used last, unless the server has closed it since."""
        while self._idle:
            try:
                connection = self._idle.pop()
            except IndexError:  # another thread took it
                return None
            if not _is_readable(connection.sock):
                return connection
            connection.close()
        return None

    def _drop_idle(self, failed: HTTPConnection | None) -> None:
        """Closes the other kept connections after one of them has `failed`.

        After a freeze of the function they are all dead, and another try must not take the next one.
        """
        while failed and self._idle:
            with suppress(IndexError):  # another thread took it
                self._idle.pop().close()

    def _opened(self) -> HTTPConnection:
        connection = self._new()
        try:
            connection.connect()
        except TimeoutError as error:
            raise ConnectTimeoutError(endpoint_url=self.url, error=error) from error
        except ssl.SSLError as error:
            raise SSLError(endpoint_url=self.url, error=error) from error
        except OSError as error:
            raise EndpointConnectionError(endpoint_url=self.url, error=error) from error
        connection.sock.settimeout(self._read_seconds)
        # A server that has vanished is noticed between two requests.
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        return connection

    def _new(self) -> HTTPConnection:
        if not self._is_secure:
            return HTTPConnection(self._name, self._port, timeout=self._connect_seconds)
        return HTTPSConnection(self._name, self._port, timeout=self._connect_seconds, context=_tls(TRUSTED))


@cache
def _tls(trusted: Path) -> ssl.SSLContext:
    """One for all connections: reading the certificates takes as long as some requests."""
    return ssl.create_default_context(cafile=str(trusted))


def _close_all(connections: deque[HTTPConnection]) -> None:
    for connection in connections:
        connection.close()


def _is_readable(sock: socket.socket) -> bool:
    """Whether something came over an idle connection: its end, as a server says nothing without being asked."""
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))
