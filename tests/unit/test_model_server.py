"""What the model's server is not trusted with: over real connections, as it is the HTTP client that must be bounded."""

import json
import subprocess
import sys
import zlib
from collections.abc import Iterator
from dataclasses import replace

import pytest

from jobchain.errors import ModelError, PermanentModelError, TransientModelError
from jobchain.llm import AnswerText
from jobchain_worker.bounded_body import MOST_BODY_BYTES
from tests.conftest import ROOT
from tests.fake_model.replies import Reply, answer, output_text, response
from tests.fake_model.server import ModelServer
from tests.unit.test_call_reports import KEY, ask

GZIP = {"Content-Encoding": "gzip"}
MEGABYTE = 2**20


def gzipped(*parts: bytes, times: int = 1) -> bytes:
    """The parts, compressed; the last of them any number of times, without the work of compressing it as often."""
    compressor = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
    begin = b"".join(compressor.compress(part) for part in parts[:-1]) + compressor.flush(zlib.Z_FULL_FLUSH)
    repeated = compressor.compress(parts[-1]) + compressor.flush(zlib.Z_FULL_FLUSH)
    return begin + repeated * times + compressor.flush()


BOMB = gzipped(b'{"summary": "', b"0" * MEGABYTE, times=400)


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


@pytest.fixture
def other() -> Iterator[ModelServer]:
    with ModelServer() as other:
        yield other


def failure(server: ModelServer, reply: Reply) -> ModelError:
    server.rule = lambda _: reply
    with pytest.raises(ModelError) as caught:
        ask(server.base_url)
    assert KEY not in f"{caught.value}{caught.value.report}"
    return caught.value


class TestARedirect:
    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    def test_is_not_followed_and_names_the_setting_and_the_target(
        self, server: ModelServer, other: ModelServer, status: int
    ) -> None:
        target = f"{other.base_url}/responses?key=secret"

        error = failure(server, Reply("redirect", status=status, headers={"Location": target}))

        assert isinstance(error, PermanentModelError)
        assert error.type == "model_misconfigured"
        assert str(error) == (
            f"the model's server redirects to http://{other.base_url.split('/')[2]}, and redirects are not followed: "
            "set OPENAI_BASE_URL to the URL of the server that answers"
        )
        assert not error.report.maybe_billed
        assert other.journal.calls() == []
        assert len(server.journal.calls()) == 1

    @pytest.mark.parametrize(
        ("location", "words"),
        [
            ("/v2/responses", "redirects to another path"),
            (None, "redirects to nowhere"),
            ("https://[half", "redirects to nowhere"),
            ("javascript:alert(1)", "redirects to nowhere"),
            (f"https://{'a' * 500}.example/", "redirects to nowhere"),
            (f"https://{KEY}.example/", "redirects to nowhere"),
            ("https://user:word@models.example.com:8443/v1", "redirects to https://models.example.com:8443,"),
        ],
    )
    def test_is_described_whatever_its_target_is(self, server: ModelServer, location: str | None, words: str) -> None:
        error = failure(server, Reply("redirect", status=308, headers={"Location": location} if location else {}))

        assert error.type == "model_misconfigured"
        assert words in str(error)
        assert "word@" not in str(error)


class TestABody:
    def test_may_be_compressed(self, server: ModelServer) -> None:
        reply = answer('{"summary": "x"}')
        server.rule = lambda _: replace(reply, body=gzipped(reply.body), headers=GZIP)

        assert isinstance(ask(server.base_url), AnswerText)

    def test_is_asked_for_as_it_is_or_in_the_one_compression_that_is_bounded(self, server: ModelServer) -> None:
        headers: list[str] = []

        ask(server.base_url, seen=lambda request: headers.append(request.headers["Accept-Encoding"]))

        assert headers == ["gzip"]

    @pytest.mark.parametrize(
        ("body", "headers", "why"),
        [
            pytest.param(BOMB, GZIP, "it has more than 8 MB", id="a bomb"),
            pytest.param(b" " * (MOST_BODY_BYTES + 1), {}, "it has more than 8 MB", id="large as sent"),
            pytest.param(gzipped(b"", b"", times=2_000_000), GZIP, "it has more than 8 MB", id="compressed nothing"),
            pytest.param(b"no gzip", GZIP, "its compression is broken", id="no gzip"),
            pytest.param(gzipped(b"{}")[:-9], GZIP, "its compression is broken", id="cut off"),
            pytest.param(b"x", {"Content-Encoding": "br"}, "its compression was not asked for", id="Brotli"),
            pytest.param(BOMB, {"Content-Encoding": "gzip, gzip"}, "its compression was not asked for", id="twice"),
        ],
    )
    def test_ends_the_call_where_it_can_not_be_read(
        self, server: ModelServer, body: bytes, headers: dict[str, str], why: str
    ) -> None:
        error = failure(server, Reply("said", body, headers=headers))

        assert isinstance(error, TransientModelError)
        assert (error.type, error.report.maybe_billed) == ("unreadable_answer", True)
        assert error.report.cause == f"the answer can't be read: {why}"

    @pytest.mark.parametrize("status", [401, 503])
    def test_of_an_error_leaves_the_status_where_it_can_not_be_read(self, server: ModelServer, status: int) -> None:
        error = failure(server, Reply("said", BOMB, status, GZIP))

        assert error.report.status == status
        assert error.type == {401: "model_unauthorized", 503: "server_error"}[status]

    def test_may_be_as_large_as_the_bound(self, server: ModelServer) -> None:
        body = json.dumps(response(output_text("{}"))).encode()
        server.rule = lambda _: Reply("said", gzipped(body + b" " * (MOST_BODY_BYTES - len(body))), headers=GZIP)

        assert isinstance(ask(server.base_url), AnswerText)

    @pytest.mark.skipif(sys.platform != "linux", reason="the memory of a process is read from /proc")
    def test_takes_little_memory_whatever_it_decompresses_to(self, server: ModelServer) -> None:
        server.rule = lambda _: Reply("bomb", BOMB, headers=GZIP)
        script = (
            "import sys\n"
            "from pathlib import Path\n"
            "from jobchain.errors import TransientModelError\n"
            "from tests.unit.test_call_reports import ask\n"
            "for url in ('http://127.0.0.1:9/v1', sys.argv[1]):\n"
            "    try: ask(url)\n"
            "    except TransientModelError as error: print(error.type)\n"
            "    print(Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0])\n"
        )
        ran = subprocess.run(
            [sys.executable, "-c", script, server.base_url], cwd=ROOT, capture_output=True, text=True, check=True
        )
        unreachable, before, unreadable, after = ran.stdout.split()
        assert (unreachable, unreadable) == ("unreachable", "unreadable_answer")
        # In kilobytes, the most that the process has held. All of the body would be 400 MB.
        assert (int(after) - int(before)) * 1024 < 4 * MOST_BODY_BYTES
