"""Sends one request to a stranger's server: to public addresses only, in bounded time, with a bounded answer.

The name is looked up once, its addresses are checked, and the connection is made to one of these. So an answer of DNS
that changes after the check changes nothing. No redirect is followed, no proxy is used, nothing is decompressed.
"""

import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import cast

from jobchain.webhooks.urls import Target
from jobchain_webhooks.addresses import Reach, refusal_of
from jobchain_webhooks.bounded_socket import AnswerTooLong, BoundedSocket, Deadline
from jobchain_webhooks.resolving import Resolve, resolved, system_resolve

MOST_SECONDS = 10
"""The longest that a try takes, from the look-up of the name to the answer."""

MOST_BODY_BYTES = 64 * 1024
"""The longest body that is sent."""

MOST_SHOWN = 1000
"""How much of an answer's body is kept, in characters."""

# Of an answer with its headers; the rest is not read.
_MOST_ANSWER_BYTES = 64 * 1024
# For the body of an answer: its status says all that counts.
_BODY_SECONDS = 1.0
_CONNECT_SECONDS = 3.0
_MOST_ADDRESSES = 3
_MOST_RETRY_AFTER = 86_400


class Fault(StrEnum):
    """Why a request got no answer."""

    DNS = "dns"
    ADDRESS = "address"
    CONNECTION = "connection"
    CERTIFICATE = "certificate"
    TIMEOUT = "timeout"
    PROTOCOL = "protocol"


class NotAnswered(Exception):
    """There was no answer. The message is for the owner of the endpoint; it names no address."""

    def __init__(self, fault: Fault, message: str) -> None:
        super().__init__(message)
        self.fault = fault


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer of a receiver. `retry_after` is in seconds, None where it names none or a date.

    `body` is its beginning, as text.
    """

    status: int
    retry_after: int | None
    body: str

    @property
    def is_delivered(self) -> bool:
        """Whether the receiver has the event."""
        return 200 <= self.status < 300

    @property
    def is_gone(self) -> bool:
        """Whether the receiver wants no more events."""
        return self.status == 410


Connect = Callable[[str, int, float], socket.socket]
"""A connection to an address and port, within seconds. Raises OSError."""


def connect_to(address: str, port: int, seconds: float) -> socket.socket:
    """A connection by this machine's network."""
    return socket.create_connection((address, port), timeout=seconds)


class Sender:
    """Sends requests. Threads may share it."""

    def __init__(
        self,
        tls: ssl.SSLContext,
        reach: Reach = Reach.PUBLIC,
        *,
        resolve: Resolve = system_resolve,
        connect: Connect = connect_to,
        seconds: float = MOST_SECONDS,
    ) -> None:
        """`tls` must check certificates and names. `seconds` is the longest that a request takes."""
        if tls.verify_mode is not ssl.CERT_REQUIRED or not tls.check_hostname:
            raise ValueError("the TLS context must check certificates and names")
        self._tls = tls
        self._reach = reach
        self._resolve = resolve
        self._connect = connect
        self._seconds = seconds

    def post(self, target: Target, headers: Mapping[str, str], body: bytes, seconds: float = MOST_SECONDS) -> Answer:
        """The answer to a POST, which takes at most `seconds`, or what the sender allows. Raises NotAnswered."""
        if len(body) > MOST_BODY_BYTES:
            raise ValueError(f"the body has {len(body)} bytes, more than {MOST_BODY_BYTES}")
        seconds = min(seconds, self._seconds)
        deadline = Deadline(seconds)
        try:
            with closing(self._open(target, deadline)) as connection:
                return _exchanged(BoundedSocket(connection, deadline, _MOST_ANSWER_BYTES), target, headers, body)
        except TimeoutError:
            raise NotAnswered(Fault.TIMEOUT, f"there was no answer within {seconds:g} s") from None
        except ssl.SSLCertVerificationError as error:
            why = error.verify_message.rstrip(".")
            raise NotAnswered(Fault.CERTIFICATE, f"the certificate of {target.host} can't be trusted: {why}") from None
        except ssl.SSLError:
            raise NotAnswered(Fault.CONNECTION, f"{target.authority} does not speak TLS, or an old version") from None
        except AnswerTooLong:
            raise NotAnswered(
                Fault.PROTOCOL, f"the answer has more than {_MOST_ANSWER_BYTES} bytes of headers"
            ) from None
        except ConnectionError:
            raise NotAnswered(Fault.CONNECTION, f"{target.authority} refuses or closes the connection") from None
        except (HTTPException, ValueError):
            raise NotAnswered(Fault.PROTOCOL, "the answer is not one of HTTP") from None
        except OSError:
            raise NotAnswered(Fault.CONNECTION, f"{target.authority} can't be reached") from None

    def _open(self, target: Target, deadline: Deadline) -> socket.socket:
        """A connection to one of the addresses of the target's name, with TLS if it has any."""
        connection = self._reached(self._checked(target, deadline), target, deadline)
        if not target.is_secure:
            return connection
        try:
            connection.settimeout(deadline.left())
            return self._tls.wrap_socket(connection, server_hostname=target.host)
        except BaseException:
            connection.close()
            raise

    def _checked(self, target: Target, deadline: Deadline) -> Sequence[str]:
        """The addresses of the target's name, all of which are allowed."""
        try:
            addresses = resolved(self._resolve, target.host, target.port, deadline)
        except (socket.gaierror, UnicodeError):
            addresses = []
        if not addresses:
            raise NotAnswered(Fault.DNS, f"DNS has no address of {target.host}")
        for address in addresses:
            if kind := refusal_of(address, self._reach):
                raise NotAnswered(
                    Fault.ADDRESS, f"{target.host} has an address that is {kind}: only public ones are called"
                )
        return addresses[:_MOST_ADDRESSES]

    def _reached(self, addresses: Sequence[str], target: Target, deadline: Deadline) -> socket.socket:
        """A connection to the first of these addresses that accepts one."""
        *others, last = addresses
        for address in others:
            try:
                return self._connect(address, target.port, min(_CONNECT_SECONDS, deadline.left()))
            except OSError:
                deadline.left()
        return self._connect(last, target.port, deadline.left())


def _exchanged(connection: BoundedSocket, target: Target, headers: Mapping[str, str], body: bytes) -> Answer:
    """Sends the request over an open connection, and reads its answer."""
    http = HTTPConnection(target.host, target.port)
    # A connection that exists is used as it is.
    http.sock = cast(socket.socket, connection)
    own = {"Host": target.authority, "Connection": "close", "User-Agent": "Jobchain-Webhooks/1"}
    http.request("POST", target.path, body, {**headers, **own})
    with http.getresponse() as response:
        return Answer(response.status, _retry_after(response), _beginning(response, connection))


def _retry_after(response: HTTPResponse) -> int | None:
    text = response.headers.get("retry-after", "").strip()
    return min(int(text), _MOST_RETRY_AFTER) if text.isascii() and text.isdigit() and len(text) < 10 else None


def _beginning(response: HTTPResponse, connection: BoundedSocket) -> str:
    """The first characters of the body. It is read to its end if it is short, so that its sender sees no error."""
    connection.hurry(_BODY_SECONDS)
    read = bytearray()
    try:
        while part := response.read1(8192):
            read += part[: MOST_SHOWN * 4 - len(read)]
    except (OSError, HTTPException, ValueError):
        pass  # the status counts, whatever becomes of the body
    return bytes(read).decode(errors="replace")[:MOST_SHOWN]
