from pathlib import Path
from typing import Any, ClassVar

import pytest

from local.emulator import child_environment
from local.emulator_clients import Credentials
from local.errors import SettingsError
from local.settings import APIS, PROVIDERS, Settings
from local.stack import TEMPLATE, offered


def test_the_environment_wins_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("OPENAI_MODEL=from-file\nOPENAI_BASE_URL=http://file/v1\n")
    monkeypatch.setenv("OPENAI_MODEL", "from-environment")

    settings = Settings.load(tmp_path)

    assert settings == Settings(openai_model="from-environment", openai_base_url="http://file/v1")


def test_an_empty_key_in_the_environment_overrules_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("OPENAI_API_KEY=sk-from-file\n")
    monkeypatch.setenv("OPENAI_API_KEY", "")

    assert Settings.load(tmp_path).offline


@pytest.mark.parametrize(
    ("values", "offline"),
    [
        ({}, True),
        ({"OPENAI_API_KEY": "", "OPENAI_BASE_URL": "  "}, True),
        ({"OPENAI_API_KEY": "sk-1"}, False),
        ({"OPENAI_BASE_URL": "http://127.0.0.1:8080/v1"}, False),
    ],
)
def test_the_offline_model_answers_without_a_key_and_a_server(values: dict[str, str], offline: bool) -> None:
    assert Settings.of(values).offline is offline


def test_the_emulator_listens_on_this_machine_only_unless_it_is_told_otherwise() -> None:
    assert Settings.of({}).bind_host == "127.0.0.1"
    assert Settings.of({"LOCAL_BIND_HOST": "0.0.0.0"}).bind_host == "0.0.0.0"
    with pytest.raises(SettingsError, match=r"LOCAL_BIND_HOST is '10.0.0.1': set it to 127.0.0.1 or 0.0.0.0"):
        Settings.of({"LOCAL_BIND_HOST": "10.0.0.1"})


@pytest.mark.parametrize(("mode", "needs_key"), [("", False), ("none", False), (" api_key ", True)])
def test_callers_need_a_key_where_auth_mode_says_so(mode: str, needs_key: bool) -> None:
    assert Settings.of({"AUTH_MODE": mode}).needs_key is needs_key


@pytest.mark.parametrize("mode", ["API_KEY", "apikey", "true"])
def test_another_auth_mode_is_refused_with_those_that_there_are(mode: str) -> None:
    with pytest.raises(SettingsError, match=f"AUTH_MODE is '{mode}': set it to none or api_key"):
        Settings.of({"AUTH_MODE": mode})


@pytest.mark.parametrize(("api", "chosen"), [("", ""), ("responses", "responses"), (" chat ", "chat")])
def test_a_server_is_asked_by_the_api_that_the_settings_name(api: str, chosen: str) -> None:
    assert Settings.of({"OPENAI_API": api}).openai_api == chosen


def test_another_api_is_refused_with_those_that_there_are(template: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match="OPENAI_API is 'Chat': set it to responses or chat, or leave it out"):
        Settings.of({"OPENAI_API": "Chat"})

    assert list(APIS) == template["Parameters"]["OpenAIApi"]["AllowedValues"]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("OPENAI_API_KEY=x\n".encode("utf-16"), r"\.env is UTF-16: save it as UTF-8"),
        (b"O\0P\0=\0x\0", r"\.env holds NUL characters, as UTF-16 has them"),
        (b"A=1\n# K\xfcche\n", r"\.env is not UTF-8 \(line 2\), but perhaps Latin-1: save it as UTF-8"),
    ],
)
def test_a_file_that_is_not_utf_8_is_named_with_the_fix(tmp_path: Path, content: bytes, why: str) -> None:
    (tmp_path / ".env").write_bytes(content)

    with pytest.raises(SettingsError, match=why):
        Settings.load(tmp_path)


def test_a_file_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"\xef\xbb\xbfOPENAI_MODEL=qwen\n")

    assert Settings.load(tmp_path).openai_model == "qwen"


@pytest.mark.parametrize(
    ("values", "stays_here"),
    [
        ({}, True),
        ({"OPENAI_BASE_URL": "http://127.0.0.1:11434/v1"}, True),
        ({"OPENAI_BASE_URL": "http://127.0.0.1:11434/v1", "OPENAI_API_KEY": "sk-1"}, True),
        ({"OPENAI_API_KEY": "sk-1"}, False),
        ({"OPENAI_BASE_URL": "https://models.example.com/v1"}, False),
    ],
)
def test_proxies_and_certificates_matter_only_to_a_model_elsewhere(values: dict[str, str], stays_here: bool) -> None:
    settings = Settings.of(values)

    assert settings.stays_here is stays_here
    if stays_here:
        settings.check_environment({"SSL_CERT_FILE": "/nowhere.pem"})
    else:
        with pytest.raises(SettingsError, match=r"SSL_CERT_FILE is '/nowhere\.pem'.*there is no such file"):
            settings.check_environment({"SSL_CERT_FILE": "/nowhere.pem"})


def test_a_key_is_never_shown() -> None:
    assert "sk-secret" not in repr(Settings.of({"OPENAI_API_KEY": "sk-secret"}))


def test_functions_do_not_see_the_developers_credentials_but_their_certificates() -> None:
    caller = {
        "AWS_PROFILE": "production",
        "AWS_ACCESS_KEY_ID": "AKIAREAL",
        "AWS_SECRET_ACCESS_KEY": "real",
        "AWS_SESSION_TOKEN": "real",
        "AWS_ENDPOINT_URL": "https://elsewhere",
        "OPENAI_API_KEY": "sk-real",
        "SERVICES": "s3",
        "PATH": "/bin",
        "AWS_CA_BUNDLE": "/ca.pem",
        "SSL_CERT_FILE": "/ca.pem",
        "NO_PROXY": "intranet",
    }

    environment = child_environment(caller, Credentials("local", "made-up"), {"OPENAI_API_KEY": "from-the-stack"})

    assert (environment["AWS_ACCESS_KEY_ID"], environment["AWS_SECRET_ACCESS_KEY"]) == ("local", "made-up")
    assert environment["OPENAI_API_KEY"] == "from-the-stack"
    assert environment["PATH"] == "/bin"
    assert environment["SSL_CERT_FILE"] == "/ca.pem"
    assert environment["NO_PROXY"] == "intranet,127.0.0.1,localhost"
    assert (
        not {"AWS_CA_BUNDLE", "AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "SERVICES"} & environment.keys()
    )


def test_the_names_of_this_machine_are_taken_from_a_list() -> None:
    assert Settings.of({"LOCAL_HOSTS": " embedded, Box.example ,192.0.2.7"}).hosts == (
        "embedded",
        "box.example",
        "192.0.2.7",
    )
    assert Settings.of({}).hosts == ()


@pytest.mark.parametrize("name", ["box:4566", "http://box", "*", "box/"])
def test_what_is_no_name_of_a_machine_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match=r"LOCAL_HOSTS has .*: set it to names or addresses without a port"):
        Settings.of({"LOCAL_HOSTS": name})


class TestTheKeysOfAnEmulator:
    KEYS: ClassVar = {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "made-up"}

    def test_are_never_the_same_twice_and_never_shown(self) -> None:
        one, other = Credentials.new(), Credentials.new()

        assert one.secret_key != other.secret_key
        assert len(one.secret_key) >= 40
        assert one.secret_key not in repr(one)

    @pytest.mark.parametrize("url", ["http://127.0.0.1:4566", "http://localhost:4566/"])
    def test_are_the_environments_where_it_names_that_emulator(self, url: str) -> None:
        environment = {**self.KEYS, "AWS_ENDPOINT_URL": "http://127.0.0.1:4566"}

        assert Credentials.for_endpoint(url, environment) == Credentials("local", "made-up")

    @pytest.mark.parametrize(
        "named", [{}, {"AWS_ENDPOINT_URL": "http://127.0.0.1:4567"}, {"AWS_ENDPOINT_URL": "https://example.com"}]
    )
    def test_are_none_of_the_developers_account(self, named: dict[str, str]) -> None:
        assert Credentials.for_endpoint("http://127.0.0.1:4566", {**self.KEYS, **named}) == Credentials()


class TestThePatience:
    def test_is_the_templates_for_the_offline_model_and_for_any_server_elsewhere(self) -> None:
        assert Settings.of({}).parameters == {}
        assert Settings.of({"OPENAI_BASE_URL": "https://models.example.com/v1"}).parameters == {}

    def test_is_great_for_a_model_on_this_machine(self) -> None:
        assert Settings.of({"OPENAI_BASE_URL": "http://127.0.0.1:11434/v1"}).parameters == {
            "WorkerTimeoutSeconds": "900",
            "ModelCallSeconds": "850",
            "ModelIdleSeconds": "170",
            "WorkerConcurrency": "2",
            "BatchSize": "1",
        }

    def test_may_be_set(self) -> None:
        values = {
            "OPENAI_BASE_URL": "http://localhost:8000/v1",
            "WORKER_TIMEOUT_SECONDS": "120",
            "MODEL_CALL_SECONDS": "100",
            "BATCH_SIZE": "10",
        }

        parameters = Settings.of(values).parameters

        assert (parameters["WorkerTimeoutSeconds"], parameters["ModelCallSeconds"], parameters["BatchSize"]) == (
            "120",
            "100",
            "10",
        )

    def test_has_the_limits_of_the_models_account(self) -> None:
        values = {"MODEL_REQUESTS_PER_MINUTE": "500", "MODEL_TOKENS_PER_MINUTE": "200000"}

        assert Settings.of(values).parameters == {
            "ModelRequestsPerMinute": "500",
            "ModelTokensPerMinute": "200000",
        }

    @pytest.mark.parametrize(
        ("values", "says"),
        [
            ({"MODEL_TOKENS_PER_MINUTE": "1e6"}, "MODEL_TOKENS_PER_MINUTE is '1e6': set it to a whole number"),
            ({"MODEL_CALL_SECONDS": "281"}, "MODEL_CALL_SECONDS is '281': set it to 280 at most"),
            ({"MODEL_IDLE_SECONDS": "soon"}, "MODEL_IDLE_SECONDS is 'soon': set it to a whole number"),
            ({"BATCH_SIZE": "-1"}, "BATCH_SIZE is '-1'"),
        ],
    )
    def test_is_refused_where_it_can_not_be(self, values: dict[str, str], says: str) -> None:
        with pytest.raises(SettingsError, match=says):
            Settings.of(values)


class TestTheProvider:
    def test_is_one_of_the_templates(self, template: dict[str, Any]) -> None:
        assert tuple(template["Parameters"]["ModelProvider"]["AllowedValues"]) == PROVIDERS
        with pytest.raises(SettingsError, match=r"MODEL_PROVIDER is 'aws': set it to openai or bedrock, or leave"):
            Settings.of({"MODEL_PROVIDER": "aws"})

    @pytest.mark.parametrize("url", ["", "https://bedrock-runtime.us-east-1.amazonaws.com/openai/v1"])
    def test_can_not_be_bedrock_where_no_function_has_a_role(self, url: str) -> None:
        with pytest.raises(SettingsError, match="an API key of Bedrock"):
            Settings.of({"MODEL_PROVIDER": "bedrock", "OPENAI_BASE_URL": url})

    def test_may_be_a_fake_of_bedrock_on_this_machine(self) -> None:
        found = Settings.of({"MODEL_PROVIDER": "bedrock", "OPENAI_BASE_URL": "http://127.0.0.1:8080/openai/v1"})

        assert offered(found, found.openai_base_url, TEMPLATE)["ModelProvider"] == "bedrock"
