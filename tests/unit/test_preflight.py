"""What the look at the model before a deployment says, and when it stops one."""

import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest

import local.preflight
from jobchain.providers import OPENAI_URL
from local import dev, offline_model
from local.errors import SettingsError
from local.model_report import Report
from local.preflight import (
    DEFAULT_MODEL,
    PreflightError,
    Target,
    preflight,
    price_warnings,
    target_of,
    target_of_stack,
)
from local.settings import Settings
from tests.fake_model.server import ModelServer

TODAY = date(2026, 11, 22)
PRICED = "gpt-6-luna"


def look(model: str, *models: dict[str, Any]) -> Report:
    with ModelServer(models=models) as server:
        return preflight(Target(model, server.base_url, "sk-made-up"), TODAY)


def ending(day: str | None) -> dict[str, Any]:
    return {"id": PRICED, "object": "model", "created": 0, "owned_by": "openai", "shutdown_date": day}


class TestTheReport:
    def test_is_content_with_a_model_that_stays(self) -> None:
        report = look(PRICED, ending(None))

        assert (report.warnings, report.failures) == ((), ())
        assert f"has {PRICED}, and names no shutdown date" in report.facts[0]

    def test_says_until_when_a_model_stays(self) -> None:
        report = look(PRICED, ending("2027-01-22"))

        assert (report.warnings, report.failures) == ((), ())
        assert "until 2027-01-22" in report.facts[0]

    def test_warns_sixty_days_ahead(self) -> None:
        report = look(PRICED, ending("2027-01-21"))

        assert report.failures == ()
        assert report.warnings == (
            f"{PRICED} will be shut down on 2027-01-21, in 60 days: move to another, and compare its answers first: "
            "jobchain replay --last 50 --model OTHER --max-cost-usd 1",
        )

    @pytest.mark.parametrize("day", ["2026-11-22", "2026-07-01"])
    def test_fails_where_the_model_has_ended(self, day: str) -> None:
        report = look(PRICED, ending(day))

        assert report.failures == (f"{PRICED} was shut down on {day}: set OPENAI_MODEL to another",)

    def test_names_the_nearest_models_where_it_is_unknown(self) -> None:
        report = look("gpt-6-lunar", *({"id": name} for name in ("whisper-9", "gpt-6-luna", "gpt-6-luna-pro")))

        (failure,) = report.failures
        assert "knows no model gpt-6-lunar; the nearest that it has: gpt-6-luna, gpt-6-luna-pro" in failure

    def test_names_some_models_where_none_is_near(self) -> None:
        report = look("xyz", {"id": "qwen"})

        assert report.failures[0].endswith("the nearest that it has: qwen")

    def test_says_which_price_is_missing(self) -> None:
        (warning,) = price_warnings(Target("other", "https://models.example.com/v1", "sk-made-up"))

        assert "prices.json has no price for other" in warning

    def test_misses_no_price_of_a_model_on_this_machine_which_is_free(self) -> None:
        report = look("other", {"id": "other"})

        assert (report.warnings, report.failures) == ((), ())

    def test_fails_where_the_server_does_not_answer(self) -> None:
        report = preflight(Target(PRICED, "http://127.0.0.1:1/v1", "sk-made-up"), TODAY)

        assert report.failures == (
            f"http://127.0.0.1:1/v1 does not tell about {PRICED}: the model's server can't be reached",
        )


class TestTheTarget:
    def test_is_openai_with_a_key_alone(self) -> None:
        assert target_of({"OPENAI_API_KEY": "sk-1"}) == Target(DEFAULT_MODEL, OPENAI_URL, "sk-1")

    def test_is_what_the_settings_name(self) -> None:
        settings = {"OPENAI_API_KEY": "", "OPENAI_BASE_URL": "http://here/v1", "OPENAI_MODEL": "qwen"}

        assert target_of(settings) == Target("qwen", "http://here/v1", "no-key-needed")

    def test_has_to_be_set(self) -> None:
        with pytest.raises(SettingsError, match="set OPENAI_API_KEY or OPENAI_BASE_URL, or name a stack"):
            target_of({"OPENAI_MODEL": "qwen"})

    def test_asks_for_the_templates_model_where_nothing_names_one(self, template: dict[str, Any]) -> None:
        assert template["Parameters"]["OpenAIModel"]["Default"] == DEFAULT_MODEL

    def test_never_shows_its_key(self) -> None:
        assert "sk-1" not in repr(target_of({"OPENAI_API_KEY": "sk-1"}))


class Session:
    """A boto3 session whose account has one stack and one secret."""

    def __init__(self, secret: str = " sk-stored\n", **parameters: str) -> None:
        self._parameters = {"OpenAIModel": "m", "OpenAIBaseUrl": "", "OpenAISecretName": "jobchain/key", **parameters}
        self._secret = secret

    def client(self, service: str) -> "Session":
        return self

    def describe_stacks(self, StackName: str) -> Any:  # noqa: N803 - as boto3 calls it
        pairs = [{"ParameterKey": name, "ParameterValue": value} for name, value in self._parameters.items()]
        return {"Stacks": [{"Parameters": pairs if StackName == "jobchain" else []}]}

    def get_secret_value(self, SecretId: str) -> Any:  # noqa: N803
        assert SecretId == "jobchain/key"
        return {"SecretString": self._secret}


class TestTheTargetOfAStack:
    def test_is_its_parameters_and_its_secret(self) -> None:
        assert target_of_stack(Session(), "jobchain", {}) == Target("m", OPENAI_URL, "sk-stored")

    @pytest.mark.parametrize(
        ("stacks_url", "changed", "target"),
        [
            ("", {"OPENAI_MODEL": "new", "OPENAI_API_KEY": "sk-mine"}, ("new", OPENAI_URL, "sk-mine")),
            ("http://here/v1", {"OPENAI_API_KEY": "sk-mine"}, ("m", "http://here/v1", "sk-stored")),
            ("", {"OPENAI_BASE_URL": "http://mine/v1"}, ("m", "http://mine/v1", "no-key-needed")),
            (
                "http://here/v1",
                {"OPENAI_BASE_URL": "http://mine/v1", "OPENAI_API_KEY": "sk-mine"},
                ("m", "http://mine/v1", "sk-mine"),
            ),
        ],
    )
    def test_may_be_changed_but_no_key_goes_to_another_server_than_its_own(
        self, stacks_url: str, changed: dict[str, str], target: tuple[str, str, str]
    ) -> None:
        assert target_of_stack(Session(OpenAIBaseUrl=stacks_url), "jobchain", changed) == Target(*target)

    def test_has_to_be_a_stack_of_ours(self) -> None:
        with pytest.raises(SettingsError, match="stack other has no parameter OpenAIModel"):
            target_of_stack(Session(), "other", {})

    def test_whose_secret_is_missing_names_it(self, aws: None) -> None:
        class Missing(Session):
            def get_secret_value(self, SecretId: str) -> Any:  # noqa: N803
                return boto3.client("secretsmanager").get_secret_value(SecretId=SecretId)

        with pytest.raises(SettingsError, match=r"there is no secret jobchain/key, .* or set OPENAI_API_KEY"):
            target_of_stack(Missing(), "jobchain", {})

    def test_needs_a_region(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("AWS_DEFAULT_REGION")

        with pytest.raises(PreflightError, match=r"^no AWS region is set: run `export AWS_DEFAULT_REGION="):
            local.preflight.run(tmp_path, "jobchain")

    @pytest.mark.parametrize("secret", [" \n", "sk-“quoted”", '{"key": "sk-1"}'])
    def test_has_to_have_a_key_in_its_secret(self, secret: str) -> None:
        with pytest.raises(SettingsError, match=r"secret jobchain/key (holds|can't be)"):
            target_of_stack(Session(secret), "jobchain", {})


def run(folder: Path, monkeypatch: pytest.MonkeyPatch, **settings: str) -> subprocess.CompletedProcess[str]:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    command = [sys.executable, "-m", "local", "preflight"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.slow
class TestTheCommand:
    def test_tells_facts_apart_from_warnings_and_succeeds(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        soon = datetime.now(UTC).date() + timedelta(days=30)
        with ModelServer(models=[{"id": "qwen"}, {"id": "old", "shutdown_date": f"{soon}"}]) as server:
            (tmp_path / ".env").write_text(f"OPENAI_BASE_URL={server.base_url}\nOPENAI_MODEL=elsewhere\n")
            stays = run(tmp_path, monkeypatch, OPENAI_MODEL="qwen")
            ends = run(tmp_path, monkeypatch, OPENAI_MODEL="old")

        assert (stays.returncode, ends.returncode) == (0, 0)
        assert (stays.stdout, stays.stderr) == (f"{server.base_url} has qwen, and names no shutdown date.\n", "")
        assert ends.stdout == ""
        assert ends.stderr.startswith(f"warning: old will be shut down on {soon}")
        assert "jobchain replay --last 50 --model gpt-6-luna --max-cost-usd 1" in ends.stderr

    def test_has_no_warning_for_the_offline_model_which_is_free(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with offline_model.running() as url:
            done = run(tmp_path, monkeypatch, OPENAI_BASE_URL=url, OPENAI_MODEL=offline_model.MODEL)

        assert (done.returncode, done.stderr) == (0, "")

    def test_fails_for_an_unknown_model(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with offline_model.running() as url:
            done = run(tmp_path, monkeypatch, OPENAI_BASE_URL=url)

        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith(f"error: {url} knows no model {DEFAULT_MODEL}")

    def test_lets_no_server_write_to_the_terminal(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with ModelServer(models=[{"id": "gpt\x1b]0;owned\x07"}]) as server:
            done = run(tmp_path, monkeypatch, OPENAI_BASE_URL=server.base_url)

        assert "the nearest that it has: gpt" in done.stderr
        assert not {"\x1b", "\x07"} & set(done.stderr + done.stdout)

    def test_says_what_to_set(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        done = run(tmp_path, monkeypatch)

        assert done.returncode == 1
        assert "set OPENAI_API_KEY" in done.stderr
        assert "Traceback" not in done.stderr


class TestTheDevelopmentStack:
    def test_is_warned_of_the_model_of_a_real_server(self) -> None:
        with ModelServer(models=[{"id": "qwen"}]) as server:
            warnings = dev._warnings(Settings(openai_base_url=server.base_url))

        assert any("knows no model" in warning for warning in warnings)

    def test_has_nothing_to_mind_of_the_offline_model(self) -> None:
        assert dev._warnings(Settings()) == ()
