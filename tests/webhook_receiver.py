"""A receiver of webhooks on this machine: it says what a test tells it to, and keeps what it was sent."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

Say = Callable[[socket.socket], None]
"""What the receiver does with a connection once it has read a request."""

OK = b"HTTP/1.1 204 No Content\r\n\r\n"


def saying(*parts: bytes) -> Say:
    """Sends these bytes, and closes the connection."""

    def say(connection: socket.socket) -> None:
        for part in parts:
            connection.sendall(part)

    return say


def repeating(first: bytes, part: bytes) -> Say:
    """Sends `first`, then `part` without an end, until the other side has closed the connection."""

    def say(connection: socket.socket) -> None:
        connection.sendall(first)
        while True:
            connection.sendall(part)

    return say


def silent(connection: socket.socket) -> None:
    """Says nothing until the other side has closed the connection."""
    while connection.recv(65536):
        pass


class Receiver:
    """Serves one connection after the other, each with the next of `says`, and the last one with all others."""

    def __init__(self, *says: Say, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self._says = list(says)
        self._tls = tls
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        # Of a thread that waits in `accept` the connection is the end.
        self._says = []
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
        self._thread.join(30)
        self._listening.close()

    def _serve(self) -> None:
        while True:
            connection, _ = self._listening.accept()
            if not self._says:
                connection.close()
                return
            self.connections += 1
            say = self._says.pop(0) if len(self._says) > 1 else self._says[0]
            with connection, suppress(OSError):
                connection.settimeout(30)
                if self._tls:
                    with self._tls.wrap_socket(connection, server_side=True) as secure:
                        self._answer(secure, say)
                else:
                    self._answer(connection, say)

    def _answer(self, connection: socket.socket, say: Say) -> None:
        self.requests.append(_request(connection))
        say(connection)


@contextmanager
def receiver(*says: Say, tls: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    """A receiver on a free port, as long as the block takes."""
    served = Receiver(*says, tls=tls)
    try:
        yield served
    finally:
        served.close()


def _request(connection: socket.socket) -> bytes:
    """A request with its body."""
    read = b""
    while b"\r\n\r\n" not in read:
        if not (part := connection.recv(65536)):
            return read
        read += part
    head, _, body = read.partition(b"\r\n\r\n")
    length = next((int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0)
    while len(body) < length and (part := connection.recv(65536)):
        body += part
    return head + b"\r\n\r\n" + body


def certificate(folder: Path, name: str, *, days: int = 1) -> tuple[Path, ssl.SSLContext]:
    """A self-signed certificate for a name that is valid for `days` from yesterday, and a server's context with it."""
    key = ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    begin = datetime.now(UTC) - timedelta(days=10)
    builder = x509.CertificateBuilder().subject_name(issuer).issuer_name(issuer).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(begin)
    builder = builder.not_valid_after(datetime.now(UTC) + timedelta(days=days))
    for extension, is_critical in (
        (x509.SubjectAlternativeName([x509.DNSName(name)]), False),
        (x509.BasicConstraints(ca=True, path_length=None), True),
        (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), False),
    ):
        builder = builder.add_extension(extension, critical=is_critical)
    pem = serialization.Encoding.PEM
    plain = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = folder / f"{name}.pem"
    path.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(pem) + plain)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return path, context
