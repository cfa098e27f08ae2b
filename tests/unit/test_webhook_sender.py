"""What is sent to a receiver, over real connections, and what hostile receivers and resolvers can do."""

import gzip
import re
import socket
import ssl
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from jobchain.webhooks.urls import Target, webhook_target
from jobchain_webhooks.addresses import Reach
from jobchain_webhooks.bounded_socket import BoundedSocket, Deadline
from jobchain_webhooks.resolving import system_resolve
from jobchain_webhooks.sender import MOST_BODY_BYTES, MOST_SECONDS, MOST_SHOWN, Answer, Fault, NotAnswered, Sender
from tests.webhook_receiver import OK, Receiver, Say, certificate, receiver, repeating, saying, silent

PUBLIC = "93.184.216.34"
HEADERS = {"Content-Type": "application/json", "webhook-id": "evt_1"}
BODY = b'{"type": "job.completed"}'
SHORT = 0.3
"""The seconds that a receiver has which does not answer in time."""


class Network:
    """DNS and the connections of a sender: each address that it calls is one of this machine."""

    def __init__(self, port: int, *answers: Sequence[str]) -> None:
        self.looked_up: list[str] = []
        self.called: list[tuple[str, int]] = []
        self._answers = list(answers)
        self._port = port

    def resolve(self, host: str, port: int) -> Sequence[str]:
        self.looked_up.append(host)
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]

    def connect(self, address: str, port: int, seconds: float) -> socket.socket:
        self.called.append((address, port))
        return socket.create_connection(("127.0.0.1", self._port), timeout=seconds)


def local(seconds: float = MOST_SECONDS) -> Sender:
    """The sender of a local stack."""
    return Sender(ssl.create_default_context(), Reach.LOCAL, seconds=seconds)


def at(served: Receiver, path: str = "/hook") -> Target:
    return webhook_target("url", f"http://127.0.0.1:{served.port}{path}", local=True)


def secure(network: Network, trusted: Path | None = None, seconds: float = MOST_SECONDS) -> Sender:
    """The sender of a deployment, with certificates that it trusts."""
    context = ssl.create_default_context(cafile=str(trusted) if trusted else None)
    return Sender(context, resolve=network.resolve, connect=network.connect, seconds=seconds)


def fault_of(sender: Sender, target: Target) -> NotAnswered:
    with pytest.raises(NotAnswered) as error:
        sender.post(target, HEADERS, BODY)
    return error.value


HOOK = webhook_target("url", "https://hooks.example.com/in?a=1")


class TestARequest:
    def test_has_the_headers_and_the_body(self) -> None:
        with receiver(saying(OK)) as served:
            answer = local().post(at(served, "/hook?a=%20"), HEADERS, BODY)
            head, _, body = served.requests[0].partition(b"\r\n\r\n")

        lines = head.decode().split("\r\n")
        assert answer == Answer(204, None, "")
        assert answer.is_delivered
        assert lines[0] == "POST /hook?a=%20 HTTP/1.1"
        assert set(lines[1:]) == {
            f"Host: 127.0.0.1:{served.port}",
            "Accept-Encoding: identity",
            f"Content-Length: {len(BODY)}",
            "Content-Type: application/json",
            "webhook-id: evt_1",
            "User-Agent: Jobchain-Webhooks/1",
            "Connection: close",
        }
        assert body == BODY

    def test_goes_to_the_address_that_was_looked_up_with_the_certificate_of_the_name(self, tmp_path: Path) -> None:
        trusted, tls = certificate(tmp_path, "hooks.example.com")
        with receiver(saying(OK), tls=tls) as served:
            network = Network(served.port, [PUBLIC])

            assert secure(network, trusted).post(HOOK, HEADERS, BODY).status == 204
            assert b"POST /in?a=1 HTTP/1.1\r\n" in served.requests[0]
            assert b"Host: hooks.example.com\r\n" in served.requests[0]
        assert network.looked_up == ["hooks.example.com"]
        assert network.called == [(PUBLIC, 443)]

    def test_is_not_sent_by_a_proxy_of_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, "http://127.0.0.1:1")
        with receiver(saying(OK)) as served:
            assert local().post(at(served), HEADERS, BODY).is_delivered

    def test_with_a_body_that_is_too_long_is_a_mistake_of_the_caller(self) -> None:
        with pytest.raises(ValueError, match=f"{MOST_BODY_BYTES + 1} bytes"):
            local().post(HOOK, HEADERS, b"a" * (MOST_BODY_BYTES + 1))

    def test_needs_a_context_that_checks_certificates(self) -> None:
        context = ssl.create_default_context()
        context.check_hostname = False

        with pytest.raises(ValueError, match="must check certificates"):
            Sender(context)


class TestAnAnswer:
    @pytest.mark.parametrize(("status", "delivered", "gone"), [(200, 1, 0), (299, 1, 0), (410, 0, 1), (500, 0, 0)])
    def test_tells_by_its_status_what_became_of_the_event(self, status: int, delivered: int, gone: int) -> None:
        with receiver(saying(f"HTTP/1.1 {status} Any\r\nContent-Length: 2\r\n\r\nhi".encode())) as served:
            answer = local().post(at(served), HEADERS, BODY)

        assert answer == Answer(status, None, "hi")
        assert (answer.is_delivered, answer.is_gone) == (bool(delivered), bool(gone))

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    def test_that_is_a_redirect_is_not_followed(self, status: int) -> None:
        with receiver(saying(OK)) as other:
            moved = f"HTTP/1.1 {status} Moved\r\nLocation: http://127.0.0.1:{other.port}/\r\n\r\n".encode()
            with receiver(saying(moved)) as served:
                answer = local().post(at(served), HEADERS, BODY)

            assert (answer.status, answer.is_delivered) == (status, False)
            assert (served.connections, other.connections) == (1, 0)

    @pytest.mark.parametrize(
        ("text", "seconds"),
        [("120", 120), (" 7 ", 7), ("99999999", 86_400), ("-1", None), ("soon", None), ("٣", None), ("9" * 400, None)],
    )
    def test_may_ask_for_a_pause(self, text: str, seconds: int | None) -> None:
        with receiver(saying(f"HTTP/1.1 503 Busy\r\nRetry-After: {text}\r\n\r\n".encode())) as served:
            assert local().post(at(served), HEADERS, BODY).retry_after == seconds

    def test_is_kept_up_to_a_limit(self) -> None:
        with receiver(saying(b"HTTP/1.1 500 No\r\n\r\n" + "ü".encode() * 30_000)) as served:
            assert local().post(at(served), HEADERS, BODY).body == "ü" * MOST_SHOWN

    def test_whose_body_has_no_end_is_one_by_its_status(self) -> None:
        with receiver(repeating(b"HTTP/1.1 200 OK\r\n\r\n", b"a" * 1000)) as served:
            answer = local().post(at(served), HEADERS, BODY)

        assert answer == Answer(200, None, "a" * MOST_SHOWN)

    def test_whose_body_never_comes_is_one_by_its_status(self) -> None:
        def half(connection: socket.socket) -> None:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
            silent(connection)

        with receiver(half) as served:
            assert local().post(at(served), HEADERS, BODY) == Answer(200, None, "hello")

    def test_that_is_compressed_is_not_decompressed(self) -> None:
        bomb = gzip.compress(b"\0" * 10_000_000)
        head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(bomb)}\r\n\r\n".encode()
        with receiver(saying(head + bomb)) as served:
            assert len(local().post(at(served), HEADERS, BODY).body) <= MOST_SHOWN

    @pytest.mark.parametrize("chunk", [b"zz\r\n", b"-5\r\nhello", b"5\r\nhel", b"FFFFFFFFFFFFFFFFFF\r\nhello"])
    def test_with_broken_chunks_is_one_by_its_status(self, chunk: bytes) -> None:
        with receiver(saying(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk)) as served:
            assert local().post(at(served), HEADERS, BODY).is_delivered


class TestAHostileReceiver:
    @pytest.mark.parametrize(
        ("say", "why"),
        [
            (saying(b"SSH-2.0-OpenSSH_9.6\r\n"), "not one of HTTP"),
            (saying(b"\0" * 100), "not one of HTTP"),
            (saying(b"HTTP/1.1 abc No\r\n\r\n"), "not one of HTTP"),
            (saying(b"HTTP/1.1 99 No\r\n\r\n"), "not one of HTTP"),
            (saying(b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 500 + b"\r\n"), "not one of HTTP"),
            (repeating(b"HTTP/1.1 200 OK\r\na: ", b"a" * 1000), "more than 65536 bytes"),
            (repeating(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), "more than 65536 bytes"),
            (repeating(b"", b"a" * 1000), "more than 65536 bytes"),
        ],
    )
    def test_that_does_not_speak_http_is_a_fault(self, say: Say, why: str) -> None:
        with receiver(say) as served:
            error = fault_of(local(), at(served))

        assert error.fault is Fault.PROTOCOL
        assert re.search(why, str(error))

    @pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 200 OK\r\na: b"])
    def test_that_closes_the_connection_is_a_fault(self, sent: bytes) -> None:
        with receiver(saying(sent)) as served:
            if sent:
                # Its headers end with the connection: the status is known.
                assert local().post(at(served), HEADERS, BODY).status == 200
            else:
                assert fault_of(local(), at(served)).fault is Fault.CONNECTION

    def test_that_says_nothing_is_given_up_in_time(self) -> None:
        with receiver(silent) as served:
            error = fault_of(local(seconds=SHORT), at(served))

        assert (error.fault, str(error)) == (Fault.TIMEOUT, "there was no answer within 0.3 s")

    def test_that_sends_a_byte_now_and_then_is_given_up_in_time(self) -> None:
        pause = threading.Event()

        def drip(connection: socket.socket) -> None:
            while True:
                connection.sendall(b"H")
                pause.wait(SHORT / 10)

        began = time.monotonic()
        with receiver(drip) as served:
            assert fault_of(local(seconds=SHORT), at(served)).fault is Fault.TIMEOUT
        assert time.monotonic() - began < SHORT * 10

    def test_that_accepts_no_connection_is_given_up_in_time(self) -> None:
        # The system accepts it for a program that does not.
        with socket.create_server(("127.0.0.1", 0)) as listening:
            target = webhook_target("url", f"http://127.0.0.1:{listening.getsockname()[1]}/", local=True)

            assert fault_of(local(seconds=SHORT), target).fault is Fault.TIMEOUT

    def test_that_does_not_read_is_given_up_in_time(self) -> None:
        here, there = socket.socketpair()
        with here, there, pytest.raises(TimeoutError):
            # More than the buffers of both sides hold.
            BoundedSocket(here, Deadline(SHORT), 1000).sendall(b"a" * 50_000_000)

    def test_that_never_ends_the_handshake_is_given_up_in_time(self) -> None:
        with receiver(silent) as served:
            assert fault_of(secure(Network(served.port, [PUBLIC]), seconds=SHORT), HOOK).fault is Fault.TIMEOUT

    def test_that_has_no_port_open_is_a_fault(self) -> None:
        with receiver(saying(OK)) as served:
            target = at(served)

        error = fault_of(local(), target)
        assert error.fault is Fault.CONNECTION
        assert str(error) == f"127.0.0.1:{target.port} refuses or closes the connection"

    def test_that_speaks_no_tls_is_a_fault(self) -> None:
        with receiver(saying(OK)) as served:
            network = Network(served.port, [PUBLIC])

            assert fault_of(secure(network, seconds=SHORT), HOOK).fault in (Fault.CONNECTION, Fault.TIMEOUT)

    @pytest.mark.parametrize(
        ("name", "days", "is_trusted", "why"),
        [
            ("other.example.com", 1, True, "Hostname mismatch"),
            ("hooks.example.com", 1, False, "self-signed certificate"),
            ("hooks.example.com", -1, True, "certificate has expired"),
        ],
    )
    def test_whose_certificate_is_not_that_of_the_name_gets_nothing(
        self, tmp_path: Path, name: str, days: int, is_trusted: bool, why: str
    ) -> None:
        path, tls = certificate(tmp_path, name, days=days)
        with receiver(saying(OK), tls=tls) as served:
            error = fault_of(secure(Network(served.port, [PUBLIC]), path if is_trusted else None), HOOK)

        assert error.fault is Fault.CERTIFICATE
        assert why in str(error)
        assert served.requests == []


class TestAName:
    @pytest.mark.parametrize(
        ("addresses", "kind"),
        [
            (["127.0.0.1"], "of this machine"),
            (["169.254.169.254"], "link-local"),
            (["10.0.0.1"], "private"),
            (["::1"], "of this machine"),
            (["::ffff:10.0.0.1"], "not public"),
            (["fd00:ec2::254"], "not public"),
            (["64:ff9b::a9fe:a9fe"], "not public"),
            (["fe80::1%eth0"], "link-local"),
            ([PUBLIC, "10.0.0.1"], "private"),
            ([PUBLIC, PUBLIC, PUBLIC, PUBLIC, "10.0.0.1"], "private"),
            (["2606:2800:220:1:248:1893:25c8:1946", "::1"], "of this machine"),
            (["nonsense"], "malformed"),
        ],
    )
    def test_with_an_address_that_is_not_public_is_not_called(self, addresses: list[str], kind: str) -> None:
        network = Network(1, addresses)

        error = fault_of(secure(network), HOOK)

        assert error.fault is Fault.ADDRESS
        assert str(error) == f"hooks.example.com has an address that is {kind}: only public ones are called"
        assert network.called == []

    def test_that_has_another_address_at_the_second_look_is_looked_up_once(self, tmp_path: Path) -> None:
        trusted, tls = certificate(tmp_path, "hooks.example.com")
        with receiver(saying(OK), tls=tls) as served:
            network = Network(served.port, [PUBLIC], ["127.0.0.1"])
            sender = secure(network, trusted)

            assert sender.post(HOOK, HEADERS, BODY).is_delivered
            assert network.called == [(PUBLIC, 443)]
            # The next try looks again, and refuses what it finds.
            assert fault_of(sender, HOOK).fault is Fault.ADDRESS
            assert network.called == [(PUBLIC, 443)]

    def test_is_called_at_its_next_address_where_the_first_refuses(self, tmp_path: Path) -> None:
        trusted, tls = certificate(tmp_path, "hooks.example.com")
        with receiver(saying(OK), tls=tls) as served:
            network = Network(served.port, ["8.8.8.8", PUBLIC])
            connect = network.connect

            def refusing(address: str, port: int, seconds: float) -> socket.socket:
                if address == "8.8.8.8":
                    raise ConnectionRefusedError
                return connect(address, port, seconds)

            context = ssl.create_default_context(cafile=str(trusted))
            sender = Sender(context, resolve=network.resolve, connect=refusing)

            assert sender.post(HOOK, HEADERS, BODY).is_delivered

    def test_is_called_at_no_more_than_three_of_its_addresses(self) -> None:
        tried: list[str] = []

        def refusing(address: str, port: int, seconds: float) -> socket.socket:
            tried.append(address)
            raise ConnectionRefusedError

        addresses = [f"8.8.8.{number}" for number in range(200)]
        sender = Sender(ssl.create_default_context(), resolve=lambda *_: addresses, connect=refusing)

        assert fault_of(sender, HOOK).fault is Fault.CONNECTION
        assert tried == addresses[:3]

    @pytest.mark.parametrize(
        "found", [[], socket.gaierror(-2, "Name or service not known"), UnicodeError("label too long")]
    )
    def test_without_an_address_is_a_fault(self, found: list[str] | Exception) -> None:
        def resolve(host: str, port: int) -> Sequence[str]:
            if isinstance(found, Exception):
                raise found
            return found

        error = fault_of(Sender(ssl.create_default_context(), resolve=resolve), HOOK)

        assert (error.fault, str(error)) == (Fault.DNS, "DNS has no address of hooks.example.com")

    def test_whose_look_up_hangs_is_given_up_in_time(self) -> None:
        over = threading.Event()

        def resolve(host: str, port: int) -> Sequence[str]:
            over.wait(30)
            return []

        sender = Sender(ssl.create_default_context(), resolve=resolve, seconds=SHORT)
        try:
            assert fault_of(sender, HOOK).fault is Fault.TIMEOUT
        finally:
            over.set()

    def test_of_this_machine_is_found_by_the_system(self) -> None:
        assert "127.0.0.1" in system_resolve("localhost", 443)

    @pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1"])
    def test_of_this_machine_is_refused_by_a_deployment_even_if_it_was_stored(self, host: str) -> None:
        sender = Sender(ssl.create_default_context())

        assert fault_of(sender, Target("https", host, 443, "/")).fault is Fault.ADDRESS
