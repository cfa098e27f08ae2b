"""docker-compose.yml: what it says, and the embedded stack in a container. test_localstack.py runs the rest."""

import json
import os
import re
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.targets.conftest import api, port, result, run, submit

PROJECT = "jobchain-targets"


@pytest.fixture(scope="module")
def settings(docker: str) -> dict[str, str]:
    """A project and a port of its own."""
    return {
        "COMPOSE_PROJECT_NAME": PROJECT,
        "JOBCHAIN_PORT": port(),
    }


@pytest.fixture(scope="module", autouse=True)
def _cleaned(settings: dict[str, str]) -> Iterator[None]:
    down(settings)
    yield
    down(settings)


def down(settings: dict[str, str]) -> None:
    run(["docker", "compose", "--profile", "*", "down", "--volumes", "--timeout", "5"], settings)


@pytest.fixture(scope="module")
def config(docker: str) -> dict[str, Any]:
    """The file as compose reads it, with nothing set."""
    found: dict[str, Any] = json.loads(
        run(["docker", "compose", "--env-file", os.devnull, "--profile", "*", "config", "--format", "json"])
    )
    return found


class TestTheFile:
    def test_publishes_on_127_0_0_1_only(self, config: dict[str, Any]) -> None:
        ports = [entry for service in config["services"].values() for entry in service.get("ports", [])]

        assert {entry["host_ip"] for entry in ports} == {"127.0.0.1"}
        assert len(ports) == 2

    def test_waits_for_all_that_stays_up(self, config: dict[str, Any]) -> None:
        services = config["services"]

        assert {name for name in services if "healthcheck" in services[name]} == {"localstack", "model", "embedded"}
        assert services["deploy"]["depends_on"]["localstack"]["condition"] == "service_healthy"
        assert services["model"]["depends_on"]["deploy"]["condition"] == "service_completed_successfully"

    def test_holds_no_credentials(self, config: dict[str, Any]) -> None:
        for name, service in config["services"].items():
            for variable, value in (service.get("environment") or {}).items():
                assert value == "" or not re.search("KEY|TOKEN|SECRET|PASSWORD", variable), name

    def test_starts_the_last_localstack_that_needs_no_token(self, config: dict[str, Any]) -> None:
        assert config["services"]["localstack"]["image"] == "localstack/localstack:4.14.0"

    def test_takes_a_newer_localstack_and_its_token_from_the_environment(self, docker: str) -> None:
        changes = {"LOCALSTACK_IMAGE": "localstack/localstack:2026.10", "LOCALSTACK_AUTH_TOKEN": "ls-made-up"}
        found = json.loads(run(["docker", "compose", "config", "--format", "json"], changes))

        assert found["services"]["localstack"]["image"] == "localstack/localstack:2026.10"
        assert found["services"]["localstack"]["environment"]["LOCALSTACK_AUTH_TOKEN"] == "ls-made-up"

    def test_keeps_localstacks_own_files_in_a_named_volume(self, config: dict[str, Any]) -> None:
        volumes = {volume["target"]: volume for volume in config["services"]["localstack"]["volumes"]}

        assert volumes["/var/lib/localstack"]["type"] == "volume"
        assert list(config["volumes"]) == ["localstack"]

    def test_puts_functions_on_its_own_network(self, config: dict[str, Any]) -> None:
        network = config["services"]["localstack"]["environment"]["LAMBDA_DOCKER_NETWORK"]

        assert network == config["networks"]["default"]["name"]

    def test_leaves_localstack_time_to_remove_its_containers(self, config: dict[str, Any]) -> None:
        localstack = config["services"]["localstack"]

        assert localstack["stop_grace_period"] == "40s"
        assert int(localstack["environment"]["SHUTDOWN_TIMEOUT"]) < 40

    def test_has_localstack_look_at_an_idle_queue_each_second(self, config: dict[str, Any]) -> None:
        variables = config["services"]["localstack"]["environment"]

        assert variables["LAMBDA_EVENT_SOURCE_MAPPING_MAX_BACKOFF_ON_EMPTY_POLL_SEC"] == "1"


def test_the_embedded_stack_runs_a_job_in_a_container(settings: dict[str, str]) -> None:
    run(["docker", "compose", "up", "--build", "--wait", "embedded"], settings)
    shown = run(["docker", "compose", "logs", "--no-log-prefix", "embedded"], settings)
    url = re.findall(r"^API +(http\S+)$", shown, re.MULTILINE)[0]
    user = run(["docker", "compose", "exec", "-T", "embedded", "id", "-un"], settings)

    with api(url) as client:
        job = result(client, submit(client))

    assert url.startswith(f"http://127.0.0.1:{settings['JOBCHAIN_PORT']}/")
    assert user.strip() == "jobchain"
    assert job["status"] == "completed"
    run(["docker", "compose", "--profile", "*", "down", "--volumes"], settings)


def test_a_taken_port_is_named(settings: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = str(taken.getsockname()[1])
        said = run(["docker", "compose", "up", "--wait", "embedded"], {**settings, "JOBCHAIN_PORT": number}, fails=True)

    assert number in said
    assert "address already in use" in said


def test_the_engine_is_sent_no_settings_of_the_developers_own() -> None:
    kept = (ROOT / ".dockerignore").read_text().splitlines()

    assert kept[1] == "*"
    assert not {f"!{name}" for name in (".env", ".local", ".git", ".venv", ".aws-sam")} & set(kept)
