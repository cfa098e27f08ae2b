"""What `make build` does after `sam build`."""

import importlib.util
import re
import runpy
import shutil
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.config import Config

import jobchain.aws.clients
from jobchain.aws.clients import SERVICES, aws_client, create_session
from local import botocore_data
from local.finish_build import not_compiled, package
from tests.conftest import ROOT

BOTOCORE = Path(str(distribution("botocore").locate_file("botocore")))
_CALLS: dict[str, tuple[str, dict[str, Any]]] = {
    "dynamodb": ("transact_write_items", {"TransactItems": [{"Put": {"TableName": "t", "Item": {"pk": {"S": "x"}}}}]}),
    "secretsmanager": ("get_secret_value", {"SecretId": "jobchain/key"}),
    "sqs": ("send_message", {"QueueUrl": "https://sqs.us-east-1.amazonaws.com/0/jobs", "MessageBody": "x"}),
}


@pytest.fixture
def build(tmp_path: Path) -> Path:
    """A build that is a function of one module, and a layer of botocore's files and ours."""
    packages = tmp_path / "build" / "CommonLayer" / "python"
    (packages / "jobchain").mkdir(parents=True)
    (packages / "jobchain" / "queue.py").write_text("NAME = 'queue'\n")
    (packages / "botocore").mkdir()
    (packages / "botocore" / "data").symlink_to(BOTOCORE / "data")
    function = tmp_path / "build" / "ApiFunction"
    function.mkdir()
    (function / "handler.py").write_text("x = 1\n")
    return tmp_path / "build"


def compiled(build: Path) -> list[Path]:
    return sorted(build.rglob("*.pyc"))


@pytest.mark.slow
class TestABuild:
    def test_has_every_module_compiled_for_its_python(self, build: Path) -> None:
        package(build, sys.executable)

        assert not_compiled(build, sys.executable) == []
        assert len(compiled(build)) == 2
        assert all(path.read_bytes()[:4] == importlib.util.MAGIC_NUMBER for path in compiled(build))

    def test_has_compiled_modules_that_no_start_compares_with_their_sources(self, build: Path) -> None:
        package(build, sys.executable)

        # https://peps.python.org/pep-0552/: the flags after the magic; 1 is a hash, 3 one that is checked.
        assert {int.from_bytes(path.read_bytes()[4:8], "little") for path in compiled(build)} == {1}

    def test_of_another_python_is_not_taken_for_compiled(self, build: Path) -> None:
        package(build, sys.executable)
        one = compiled(build)[0]
        one.write_bytes(b"\0\0\r\n" + one.read_bytes()[4:])

        assert len(not_compiled(build, sys.executable)) == 1


@pytest.mark.slow
def test_the_image_that_builds_has_all_that_the_last_step_needs(tmp_path: Path) -> None:
    joined = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    (line,) = re.findall(r"^COPY (local/__init__.py .*) local/$", joined, re.MULTILINE)
    (tmp_path / "local").mkdir()
    for name in line.split():
        shutil.copy(ROOT / name, tmp_path / "local")
    paths = [str(tmp_path), str(ROOT / "layers" / "common")]

    # The image has the layer's libraries, and none of the local stack's.
    missing = ("samtranslator", "yaml", "dotenv", "ministack")
    program = (
        f"import sys; sys.path[:0] = {paths}; sys.modules |= dict.fromkeys({missing}); "
        "import local.finish_build as made; print(made.__file__)"
    )
    done = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=False)

    assert done.stdout.startswith(str(tmp_path)), done.stderr
    assert (tmp_path / "local" / "chain_check.py").is_file()


class TestTheModelsOfTheLayer:
    @pytest.fixture
    def models(self, build: Path) -> Path:
        return botocore_data.write(build / "CommonLayer" / "python")

    @pytest.mark.parametrize("service", SERVICES)
    def test_make_the_same_request_as_botocores_own(
        self, models: Path, service: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("AWS_SECURITY_TOKEN", raising=False)
        theirs = botocore.session.get_session().create_client(service)
        ours = aws_client(create_session(models), service, Config())

        assert _request(ours, service) == _request(theirs, service)

    @pytest.mark.parametrize("service", SERVICES)
    def test_have_all_operations(self, models: Path, service: str) -> None:
        theirs = botocore.session.get_session().get_service_model(service)
        ours = create_session(models).get_service_model(service)

        assert ours.operation_names == theirs.operation_names

    def test_know_every_region_that_botocore_knows(self, models: Path) -> None:
        theirs = botocore.session.get_session().get_available_regions("dynamodb")

        assert create_session(models).get_available_regions("dynamodb") == theirs

    def test_are_where_the_layer_reads_them(self, build: Path, models: Path) -> None:
        layer = Path(jobchain.__file__).parent
        shutil.copytree(layer, build / "CommonLayer" / "python" / "jobchain", dirs_exist_ok=True)
        clients = Path(jobchain.aws.clients.__file__).relative_to(layer.parent)

        in_the_build = runpy.run_path(str(build / "CommonLayer" / "python" / clients))

        assert in_the_build["MODELS"] == models
        assert in_the_build["create_session"]().get_available_services() == sorted(SERVICES)

    def test_are_small(self, models: Path) -> None:
        assert sum(path.stat().st_size for path in models.rglob("*.json")) < 300_000

    def test_are_botocores_own_where_there_are_none(self, tmp_path: Path) -> None:
        session = create_session(tmp_path / "none")

        assert "s3" in session.get_available_services()


def _request(client: object, service: str) -> tuple[object, ...]:
    """What a client would send, but for what is never the same."""
    sent: list[tuple[object, ...]] = []

    def keep(request: object, **_: object) -> object:
        sent.append((request.method, request.url, request.body, request.headers["X-Amz-Target"]))  # type: ignore[attr-defined]
        raise _NotSentError

    operation, arguments = _CALLS[service]
    if service == "dynamodb":
        arguments = {**arguments, "ClientRequestToken": "one"}
    client.meta.events.register("before-send", keep)  # type: ignore[attr-defined]
    with pytest.raises(_NotSentError):
        getattr(client, operation)(**arguments)
    return sent[0]


class _NotSentError(Exception):
    pass
