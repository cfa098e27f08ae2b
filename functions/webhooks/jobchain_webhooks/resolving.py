"""Looks up the addresses of a name, within a deadline: the system's own look-up has none."""

import socket
import threading
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue

from jobchain_webhooks.bounded_socket import Deadline

Resolve = Callable[[str, int], Sequence[str]]
"""The addresses of a host, for a port; none if it has none. Raises socket.gaierror, UnicodeError."""


def system_resolve(host: str, port: int) -> Sequence[str]:
    """The addresses by this machine's resolver, IPv4 first: a function outside a VPC reaches no others."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    found.sort(key=lambda entry: entry[0] is not socket.AF_INET)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def resolved(resolve: Resolve, host: str, port: int, deadline: Deadline) -> Sequence[str]:
    """What `resolve` gives or raises. Raises TimeoutError at the deadline; the look-up then ends by itself."""
    found: SimpleQueue[Sequence[str] | Exception] = SimpleQueue()

    def look_up() -> None:
        try:
            found.put(resolve(host, port))
        except (OSError, UnicodeError) as error:
            found.put(error)

    # No pool: a look-up that hangs must not keep later ones waiting.
    threading.Thread(target=look_up, daemon=True).start()
    try:
        result = found.get(timeout=deadline.left())
    except Empty:
        raise TimeoutError("the name was not found in time") from None
    if isinstance(result, Exception):
        raise result
    return result
