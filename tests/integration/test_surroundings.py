"""The local stack in environments that can't work: told in one line before anything starts, or of no matter."""

import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from local.emulator import HOST

ROOT = Path(__file__).resolve().parent.parent.parent
LIMIT = 60.0  # seconds

# None of these matters to what stays on this machine.
STALE = {
    "ALL_PROXY": "socks5://127.0.0.1:9",
    "http_proxy": "http://[::1",
    "HTTPS_PROXY": "socks://127.0.0.1:9/",
    "SSL_CERT_FILE": "/nowhere.pem",
    "SSL_CERT_DIR": "/nowhere",
    "REQUESTS_CA_BUNDLE": "/nowhere.pem",
    "CURL_CA_BUNDLE": "/nowhere.pem",
    "AWS_CA_BUNDLE": "/nowhere.pem",
}
EMPTY = {"AWS_CA_BUNDLE": "", "REQUESTS_CA_BUNDLE": " ", "SSL_CERT_FILE": "", "ALL_PROXY": ""}


def run(folder: Path, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    unset = ("OPENAI_API_KEY", "OPENAI_BASE_URL", "SSL_CERT_FILE", "SSL_CERT_DIR")
    own = {**dict.fromkeys(unset, ""), "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=folder,
        env={**os.environ, **own, **environment},
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )


@pytest.mark.parametrize("environment", [STALE, EMPTY], ids=["stale", "empty"])
def test_the_demo_needs_no_proxy_and_no_certificates(environment: Mapping[str, str]) -> None:
    demo = run(ROOT, "local", "demo", **environment)

    assert (demo.returncode, demo.stderr) == (0, "")
    assert "flowchart TD\n" in demo.stdout


SETTINGS = [
    ({"OPENAI_API_KEY": "“sk-abc”"}, "OPENAI_API_KEY can't be an API key: it holds a curly quotation mark"),
    ({"OPENAI_API_KEY": "sk-abc\ndef"}, "OPENAI_API_KEY can't be an API key: it holds a line break"),
    ({"OPENAI_API_KEY": "sk-\u200babc"}, "OPENAI_API_KEY can't be an API key: it holds an invisible character"),
    ({"OPENAI_BASE_URL": "127.0.0.1:18801/v1"}, "OPENAI_BASE_URL is '127.0.0.1:18801/v1'"),
    ({"OPENAI_BASE_URL": "http://127.0.0.1:1/v1/chat/completions"}, "set it to the part before /chat/completions"),
    (
        {"OPENAI_API_KEY": "sk-1", "ALL_PROXY": "socks5://me:secret@127.0.0.1:9"},
        "the proxy ALL_PROXY is 'socks5://***@",
    ),
    ({"OPENAI_API_KEY": "sk-1", "SSL_CERT_FILE": "/nowhere.pem"}, "SSL_CERT_FILE is '/nowhere.pem'"),
    ({"OPENAI_BASE_URL": "https://models.test/v1", "SSL_CERT_DIR": "/nowhere"}, "SSL_CERT_DIR is '/nowhere'"),
]


@pytest.mark.parametrize("command", ["demo", "dev", "preflight"])
@pytest.mark.parametrize(("environment", "why"), SETTINGS)
def test_a_setting_that_can_not_work_is_named_in_one_line_before_anything_starts(
    tmp_path: Path, command: str, environment: dict[str, str], why: str
) -> None:
    done = run(tmp_path, "local", command, **environment)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: ")
    assert why in done.stderr
    assert done.stderr.count("\n") == 1
    assert "sk-" not in done.stderr
    assert "secret" not in done.stderr
    assert not (tmp_path / ".local" / "emulator.log").exists()


@pytest.mark.parametrize(("environment", "why"), SETTINGS)
def test_such_a_setting_is_the_one_thing_that_dev_says_where_its_port_is_taken(
    tmp_path: Path, environment: dict[str, str], why: str
) -> None:
    with socket.create_server((HOST, 0)) as taken:
        done = run(tmp_path, "local", "dev", "--port", str(taken.getsockname()[1]), **environment)

    assert (done.returncode, done.stdout) == (1, "")
    assert why in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("command", ["demo", "dev", "preflight"])
@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("OPENAI_API_KEY=x\n".encode("utf-16"), ".env is UTF-16: save it as UTF-8\n"),
        (b"# K\xfcche\nOPENAI_API_KEY=x\n", ".env is not UTF-8 (line 1), but perhaps Latin-1: save it as UTF-8\n"),
    ],
)
def test_a_file_of_settings_that_is_not_utf_8_is_named_in_one_line(
    tmp_path: Path, command: str, content: bytes, why: str
) -> None:
    (tmp_path / ".env").write_bytes(content)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OPENAI_")}
    done = subprocess.run(
        [sys.executable, "-m", "local", command],
        cwd=tmp_path,
        env={**environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith(why)
    assert done.stderr.count("\n") == 1
