"""Settings that can't work are told apart from those that can, and named with the fix."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import certifi
import httpx2
import pytest

from jobchain.connection import (
    UnusableSetting,
    check_aws_environment,
    check_http_environment,
    checked_key,
    checked_model_url,
    checked_name,
    checked_url,
    is_loopback,
    is_private,
    shown,
)


class TestAKey:
    @pytest.mark.parametrize("key", ["sk-abc", " sk-abc\n", "sk-proj-A_b/c+d=.e~f"])
    def test_is_visible_ascii_and_is_trimmed(self, key: str) -> None:
        assert checked_key("KEY", key) == key.strip()

    @pytest.mark.parametrize(
        ("key", "why"),
        [
            ("“sk-abc”", r"can't be an API key: it holds a curly quotation mark \(U\+201C\) as character 1"),
            ("sk-a\u200bbc", r"an invisible character \(U\+200B\) as character 5"),
            ("\ufeffsk-abc", r"an invisible character \(U\+FEFF\) as character 1"),
            ("sk-abc\ndef", "a line break as character 7"),
            ("sk-abc\r\ndef", "a line break as character 7"),
            ("Bearer sk-abc", r"a space \(U\+0020\) as character 7"),
            ("sk-ä", r"a character outside ASCII \(U\+00E4\)"),
            ("sk-\x1b", r"a control character \(U\+001B\)"),
            ("'sk-abc'", "has quotation marks around the API key"),
            ('{"OPENAI_API_KEY":"sk-abc"}', "holds JSON"),
            ("OPENAI_API_KEY=sk-abc", "begins with 'OPENAI_API_KEY='"),
            (" \n", "holds no API key"),
        ],
    )
    def test_that_no_header_can_carry_is_described_but_never_shown(self, key: str, why: str) -> None:
        with pytest.raises(UnusableSetting, match=rf"^KEY .*{why}|^KEY {why}") as caught:
            checked_key("KEY", key)

        assert "sk-" not in str(caught.value)
        assert str(caught.value).isprintable()


class TestAUrl:
    @pytest.mark.parametrize(
        "url",
        [
            "https://api.openai.com/v1",
            " http://[::1]:80/v1\n",
            "http://my_host:8080",
            "https://u:p@h/v1",
            "http://h/~a/v1",
        ],
    )
    def test_has_a_scheme_and_a_host(self, url: str) -> None:
        assert checked_model_url("URL", url) == url.strip()

    @pytest.mark.parametrize(
        ("url", "why"),
        [
            ("127.0.0.1:18801/v1", "no scheme; set it to http://127.0.0.1:18801/v1"),
            ("localhost:11434/v1", "no scheme; set it to http://localhost:11434/v1"),
            ("api.openai.com/v1", "no scheme; set it to https://api.openai.com/v1"),
            ("http:/h/v1", "it is malformed"),
            ("http://[::1", "it is malformed"),
            ("http://h:99999/v1", "it is malformed"),
            ("http://h:port/v1", "it is malformed"),
            ("http:///v1", "it has no host"),
            ("ftp://h/v1", "its scheme is 'ftp', not http or https"),
            ("http://a b/v1", "a space (U+0020) as character 9"),
            ("https://h/v1”", "a curly quotation mark (U+201D)"),
            ("https://h/v1\u200b", "an invisible character (U+200B)"),
            ("https://h\n/v1", "a line break"),
            ('"https://h/v1"', "it has quotation marks around it"),
            ("https://h/v1?api-version=1", "it has a query or a fragment"),
            (
                "https://h/v1/chat/completions",
                "a single call: set it to the part before /chat/completions, https://h/v1",
            ),
            ("https://h/v1/responses/", "a single call: set it to the part before /responses, https://h/v1"),
            ("", "it is empty"),
            ("http://h/v1/v1/", "which has /v1 twice: set it to http://h/v1"),
        ],
    )
    def test_that_can_not_work_is_named_with_the_fix_in_one_line(self, url: str, why: str) -> None:
        with pytest.raises(UnusableSetting) as caught:
            checked_model_url("URL", url)

        assert str(caught.value).startswith("URL is '")
        assert why in str(caught.value)
        assert str(caught.value).isprintable()

    def test_of_an_api_may_end_as_a_call_of_a_model_does(self) -> None:
        assert checked_url("URL", "https://h/models") == "https://h/models"

    @pytest.mark.parametrize(
        ("url", "text"),
        [
            ("https://user:p@ss/w@h/v1", "'https://***@h/v1'"),
            ("user:pass@h:3128", "'***@h:3128'"),
            ("https://h/v1?key=sk-abc", "'https://h/v1?…'"),
            ("http://\x1b[2J\u202eh", r"'http://\x1b[2J\u202eh'"),
            ("http://" + "x" * 500, f"'http://{'x' * 113}…'"),
        ],
    )
    def test_is_shown_without_credentials_query_and_what_a_terminal_obeys(self, url: str, text: str) -> None:
        assert shown(url) == text

    @pytest.mark.parametrize(
        ("url", "loopback", "private"),
        [
            ("http://localhost:1", True, True),
            ("http://a.localhost", True, True),
            ("http://127.3.2.1", True, True),
            ("http://[::1]:1", True, True),
            ("http://0.0.0.0:1", True, True),
            ("http://ollama:11434", False, True),
            ("http://10.0.0.1", False, True),
            ("http://host.docker.internal", False, True),
            ("http://127.0.0.1.example.com", False, False),
            ("http://8.8.8.8", False, False),
            ("http://[::1", False, True),
        ],
    )
    def test_tells_whether_it_leaves_this_machine_and_the_private_network(
        self, url: str, loopback: bool, private: bool
    ) -> None:
        assert (is_loopback(url), is_private(url)) == (loopback, private)


class TestAName:
    @pytest.mark.parametrize("name", ["gpt-6-luna", " us.openai.gpt-6-luna:0\n", "org/Model_8B@q4", "org-123"])
    def test_is_visible_ascii(self, name: str) -> None:
        assert checked_name("OPENAI_MODEL", name) == name.strip()

    @pytest.mark.parametrize(
        ("name", "why"),
        [
            ("\u201cgpt-6-luna\u201d", "a curly quotation mark (U+201C) as character 1"),
            ("gpt-6\u200b-luna", "an invisible character (U+200B) as character 6"),
            ("gpt 6", "a space (U+0020)"),
            ("gpt-6\nluna", "a line break"),
            ("mod\u00e8le", "a character outside ASCII (U+00E8)"),
            ("'gpt-6-luna'", "quotation marks around it"),
            ("  ", "is empty"),
        ],
    )
    def test_that_no_server_can_know_is_named_with_the_fix_in_one_line(self, name: str, why: str) -> None:
        with pytest.raises(UnusableSetting) as caught:
            checked_name("OPENAI_MODEL", name)

        assert str(caught.value).startswith("OPENAI_MODEL ")
        assert why in str(caught.value)
        assert str(caught.value).isprintable()


@pytest.fixture
def files(tmp_path: Path) -> Mapping[str, str]:
    """Paths that hold certificates, or do not."""
    (tmp_path / "empty.pem").touch()
    (tmp_path / "text.pem").write_text("hello\n")
    (tmp_path / "folder").mkdir()
    names = ("missing.pem", "empty.pem", "text.pem", "folder")
    return {"good": certifi.where(), **{name: str(tmp_path / name) for name in names}}


# What each variable holds, and what is said of it; None where it can be used.
PROXIES: list[tuple[dict[str, str], str | None]] = [
    ({}, None),
    ({"HTTP_PROXY": "http://127.0.0.1:3128", "https_proxy": "proxy:3128"}, None),
    ({"all_proxy": "", "ALL_PROXY": "socks4://h"}, None),
    ({"NO_PROXY": "a, *", "ALL_PROXY": "socks4://h"}, None),
    ({"ALL_PROXY": "socks5://user:secret@h:9"}, r"ALL_PROXY is 'socks5://\*\*\*@h:9'.*socksio, which is not installed"),
    ({"all_proxy": "socks://h:9/"}, "all_proxy is 'socks://h:9/'.*socks:// are not supported; set all_proxy to"),
    ({"HTTPS_PROXY": "http://[::1"}, "HTTPS_PROXY is .*malformed"),
    ({"http_proxy": "proxy:port"}, "http_proxy is .*malformed"),
    ({"HTTP_PROXY": "http://"}, "HTTP_PROXY is .*no host"),
    ({"HTTP_PROXY": "“http://h”"}, "HTTP_PROXY is .*curly quotation mark"),
]


class TestTheEnvironment:
    @pytest.mark.parametrize(("environment", "why"), PROXIES)
    def test_names_a_proxy_that_can_not_work(self, environment: dict[str, str], why: str | None) -> None:
        if why is None:
            check_http_environment(environment)
            return
        with pytest.raises(UnusableSetting, match=why) as caught:
            check_http_environment(environment)

        assert "secret" not in str(caught.value)

    @pytest.mark.parametrize(("environment", "why"), PROXIES)
    def test_is_judged_as_the_library_of_http_does(
        self, environment: dict[str, str], why: str | None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
            monkeypatch.delenv(name)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        try:
            httpx2.Client().close()
        except (ValueError, ImportError, httpx2.InvalidURL):
            works = False
        else:
            works = True

        # A proxy without a host fails only once it is used.
        assert works is (why is None or "no host" in why)

    @pytest.mark.parametrize(
        ("variable", "file", "why"),
        [
            ("SSL_CERT_FILE", "good", None),
            ("SSL_CERT_FILE", "missing.pem", "there is no such file"),
            ("SSL_CERT_FILE", "empty.pem", "holds no certificate in PEM format"),
            ("SSL_CERT_FILE", "text.pem", "holds no certificate in PEM format"),
            ("SSL_CERT_FILE", "folder", "it is a folder"),
            ("SSL_CERT_DIR", "missing.pem", "there is no such folder"),
            ("SSL_CERT_DIR", "folder", "or it is empty"),
            ("AWS_CA_BUNDLE", "missing.pem", None),
        ],
    )
    def test_names_certificates_that_can_not_be_used(
        self, files: Mapping[str, str], variable: str, file: str, why: str | None
    ) -> None:
        environment = {variable: files[file]}
        if why is None:
            check_http_environment(environment)
            return
        with pytest.raises(UnusableSetting, match=rf"^{variable} is '.*{why}"):
            check_http_environment(environment)

    @pytest.mark.parametrize(
        ("environment", "why"),
        [
            ({"SSL_CERT_FILE": "missing.pem"}, None),
            ({"AWS_CA_BUNDLE": "good", "REQUESTS_CA_BUNDLE": "missing.pem"}, None),
            ({"AWS_CA_BUNDLE": "missing.pem"}, "AWS_CA_BUNDLE is .*no such file"),
            ({"REQUESTS_CA_BUNDLE": "text.pem"}, "REQUESTS_CA_BUNDLE is .*no certificate"),
        ],
    )
    def test_names_the_certificates_that_calls_to_aws_use(
        self, files: Mapping[str, str], environment: dict[str, str], why: str | None
    ) -> None:
        environment = {variable: files[file] for variable, file in environment.items()}
        if why is None:
            check_aws_environment(environment)
            return
        with pytest.raises(UnusableSetting, match=why):
            check_aws_environment(environment)

    def test_names_a_socks_proxy_to_aws_which_botocore_has_not(self) -> None:
        check_aws_environment({"ALL_PROXY": "socks5://h:9"})
        with pytest.raises(UnusableSetting, match=r"HTTPS_PROXY is .*socks5:// are not supported"):
            check_aws_environment({"HTTPS_PROXY": "socks5://h:9"})


@pytest.mark.slow
def test_the_checks_bring_no_library_along() -> None:
    import subprocess  # noqa: PLC0415

    program = "import sys, jobchain.connection; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert not {"ssl", "pydantic", "httpx2", "botocore", "asyncio"} & set(done.stdout.split())
