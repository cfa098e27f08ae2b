"""`make sam-api`, `make sam-invoke` and `make build` where what they need is missing, and what they hand to SAM."""

import json
import os
import shutil
import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest

from local import sam_local
from local.emulator import free_port
from local.emulator_clients import Credentials
from local.function_zips import BUILD
from local.sam_local import SamError, _published_credentials, _publisher, _Reach, _template
from tests.conftest import ROOT


def put_docker(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A `docker` that does what the shell script says; no other program is there but the shell's."""
    program = folder / "docker"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


@pytest.mark.slow
class TestDocker:
    def test_that_is_not_there_is_named(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))

        with pytest.raises(SamError, match="there is no `docker` on the PATH; `make dev` needs none"):
            sam_local.invoke(tmp_path, "F", Path(__file__), print)

    def test_that_does_not_answer_is_quoted(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        put_docker(tmp_path, "echo 'Cannot connect to the Docker daemon' >&2; exit 1", monkeypatch)

        with pytest.raises(SamError, match="which does not answer: Cannot connect to the Docker daemon"):
            sam_local.start_api(tmp_path, free_port(), print)


def test_an_event_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SamError, match=r"there is no file events/none.json: the samples are in events/"):
        sam_local.invoke(tmp_path, "F", Path("events/none.json"), print)


@pytest.mark.slow
def test_an_emulator_in_a_container_is_reached_by_its_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    line = "jobchain_default localstack 4510-4559/tcp, 127.0.0.1:4600->4566/tcp"
    put_docker(tmp_path, f"echo '{line}'", monkeypatch)

    assert _publisher("http://127.0.0.1:4600") == ("jobchain_default", "http://localstack:4566")
    assert _publisher("http://127.0.0.1:4601") is None


@pytest.mark.slow
class TestTheKeysOfAStackInAContainer:
    def test_are_read_there(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        said = '{"access_key": "local", "secret_key": "made-up"}'
        put_docker(tmp_path, f"[ $1 = ps ] && echo c0ffee || echo '{said}'", monkeypatch)

        assert _published_credentials(4566) == Credentials("local", "made-up")

    def test_are_needless_where_localstack_is_in_it(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        put_docker(tmp_path, "[ $1 = ps ] && echo c0ffee || { echo 'no such file' >&2; exit 1; }", monkeypatch)

        assert _published_credentials(4566) == Credentials()


@pytest.mark.slow
class TestWhatListensOnThisMachine:
    def test_is_reached_through_a_relay_on_the_engines_bridge(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        put_docker(tmp_path, "echo 127.0.0.1", monkeypatch)
        with ExitStack() as cleanup:
            url = _Reach(cleanup).url("http://localhost:4566/v1")

        assert url.startswith("http://127.0.0.1:")
        assert url.endswith("/v1")
        assert ":4566" not in url

    def test_is_reached_by_name_where_the_engine_is_in_another_machine(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        put_docker(tmp_path, "echo 192.0.2.1", monkeypatch)
        with ExitStack() as cleanup:
            assert _Reach(cleanup).url("http://127.0.0.1:4566") == "http://host.docker.internal:4566"

    def test_leaves_other_machines_alone(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        put_docker(tmp_path, "echo 127.0.0.1", monkeypatch)
        with ExitStack() as cleanup:
            assert _Reach(cleanup).url("https://models.example.com/v1") == "https://models.example.com/v1"


def test_sams_template_names_the_endpoint_and_only_the_user_can_read_it(tmp_path: Path) -> None:
    (tmp_path / BUILD).mkdir(parents=True)
    (tmp_path / BUILD / "template.yaml").write_text((ROOT / "template.yaml").read_text())

    path = _template(tmp_path)

    variables = json.loads(path.read_text())["Globals"]["Function"]["Environment"]["Variables"]
    added = {"AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "OPENAI_API_KEY"}
    assert added | {"LOG_LEVEL"} <= variables.keys()
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.slow
def test_a_build_without_python_3_13_says_so_and_leaves_no_old_build(tmp_path: Path) -> None:
    ready = (".venv/.ready", ".venv-sam/.ready")
    for name in ready:
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    (tmp_path / ".aws-sam").mkdir()
    # A system without that Python, whatever this one has.
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("make", "rm", "sh"):
        (programs / name).symlink_to(shutil.which(name) or name)

    done = subprocess.run(
        [
            "make",
            "--file",
            ROOT / "Makefile",
            *(f"--old-file={name}" for name in ready),
            "build",
            "PYTHON313=/nowhere/python3.13",
        ],
        env={"PATH": str(programs), "PYENV_ROOT": "/nowhere", "HOME": "/nowhere"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode != 0
    assert "build: the functions run on Python 3.13, and no python3.13 is on the PATH" in done.stderr
    assert not (tmp_path / ".aws-sam").exists()


@pytest.mark.slow
@pytest.mark.parametrize("docker", ["", "#!/bin/sh\n[ $1 != compose ]\n"], ids=["no Docker", "no compose"])
def test_continuous_integration_fails_without_docker_and_compose(tmp_path: Path, docker: str) -> None:
    (tmp_path / "project" / ".ci").mkdir(parents=True)
    script = tmp_path / "project" / ".ci" / "targets"
    script.write_bytes((ROOT / ".ci" / "targets").read_bytes())
    for name in ("bash", "dirname", "make"):
        (tmp_path / name).symlink_to(f"/usr/bin/{name}")
    if docker:
        (tmp_path / "docker").write_text(docker)
        (tmp_path / "docker").chmod(0o755)

    done = subprocess.run(
        ["/bin/bash", script], env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False
    )

    assert done.returncode == 1
    assert "targets: SAM and compose are tested with Docker, and here is none that answers" in done.stderr
    assert os.fspath(tmp_path) not in done.stdout
