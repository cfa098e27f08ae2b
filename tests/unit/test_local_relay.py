"""The relay by which containers reach a port of 127.0.0.1."""

import http.client
import socket

import pytest

from local import offline_model
from local.relay import relay


def test_a_request_reaches_the_other_port_and_its_answer_comes_back() -> None:
    with offline_model.running() as url, relay("127.0.0.1", int(url.split(":")[2].partition("/")[0])) as there:
        connection = http.client.HTTPConnection("127.0.0.1", there, timeout=60)
        connection.request("GET", "/v1/models")
        answer = connection.getresponse()
        body = answer.read()
        connection.close()

    assert answer.status == 200
    assert offline_model.MODEL in body.decode()


def test_a_port_that_nobody_listens_on_ends_the_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with relay("127.0.0.1", port) as there, socket.create_connection(("127.0.0.1", there), 5) as connection:
        assert connection.recv(1) == b""


def test_an_open_connection_does_not_keep_it_from_ending() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        with relay("127.0.0.1", server.getsockname()[1]) as there:
            connection = socket.create_connection(("127.0.0.1", there), 5)
            server.accept()[0].close()
        connection.close()


def test_an_address_of_another_machine_is_an_error() -> None:
    with pytest.raises(OSError, match="address"), relay("192.0.2.1", 1):
        pass
