"""FunctionZips of what `sam build` made, and what is said where there is no build, or an old one."""

import io
import os
import zipfile
from pathlib import Path
from typing import Any

import pytest

from local import sam_template
from local.architecture import BuildError, machine_architecture
from local.emulator_clients import Clients
from local.function_zips import BUILD, FunctionZips, check_build

TEMPLATE: dict[str, Any] = {
    "Resources": {
        "Layer": {"Type": "AWS::Lambda::LayerVersion", "Properties": {"Content": {"S3Bucket": "source", "S3Key": "L"}}},
        "F": {
            "Type": "AWS::Lambda::Function",
            "Properties": {"Code": {"S3Bucket": "source", "S3Key": "F"}, "Layers": [{"Ref": "Layer"}]},
        },
    }
}


class Bucket:
    """The calls of S3 that are needed here."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}

    def create_bucket(self, **_: str) -> None: ...

    def list_objects_v2(self, **call: str) -> dict[str, Any]:
        return {"Contents": [{"Key": key} for key in self.objects if key.startswith(call["Prefix"])]}

    def put_object(self, **call: Any) -> None:
        assert call["Key"] not in self.objects, "the same package was sent twice"
        self.objects[call["Key"]] = call["Body"]


class FakeClients(Clients):
    def __init__(self, bucket: Bucket) -> None:
        super().__init__("http://127.0.0.1:1")
        self._made["s3"] = bucket


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project that is built."""
    write(tmp_path / "template.yaml", "Resources: {}")
    write(tmp_path / "functions/f/own.py", "own")
    write(tmp_path / "layers/l/shared.py", "shared")
    build = tmp_path / BUILD
    write(build / "F/own.py", "own")
    write(build / "F/both.py", "the function's")
    write(build / "L/python/shared.py", "shared")
    write(build / "L/python/both.py", "the layer's")
    write(build / "template.yaml", "Resources: {}")
    write(build.parent / "build.toml", f'architecture = "{machine_architecture()}"\n')
    return tmp_path


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def put(root: Path, bucket: Bucket) -> sam_template.Template:
    template: sam_template.Template = {
        "Resources": {name: {**r, "Properties": {**r["Properties"]}} for name, r in TEMPLATE["Resources"].items()}
    }
    FunctionZips(FakeClients(bucket), root / BUILD).put(template)
    return template


class TestAPackage:
    def test_holds_the_functions_files_and_its_layers_where_lambda_has_the_functions_first(self, root: Path) -> None:
        bucket = Bucket()
        template = put(root, bucket)

        code = template["Resources"]["F"]["Properties"]["Code"]
        archive = zipfile.ZipFile(io.BytesIO(bucket.objects[code["S3Key"]]))
        assert {name: archive.read(name).decode() for name in archive.namelist()} == {
            "own.py": "own",
            "both.py": "the function's",
            "shared.py": "shared",
        }

    def test_takes_the_layers_place(self, root: Path) -> None:
        template = put(root, Bucket())

        assert list(template["Resources"]) == ["F"]
        assert "Layers" not in template["Resources"]["F"]["Properties"]

    def test_of_the_same_content_is_sent_once(self, root: Path) -> None:
        bucket = Bucket()

        assert put(root, bucket) == put(root, bucket)
        assert len(bucket.objects) == 1

    def test_of_other_content_is_another(self, root: Path) -> None:
        bucket = Bucket()
        put(root, bucket)
        write(root / BUILD / "F/own.py", "changed")

        put(root, bucket)

        assert len(bucket.objects) == 2

    def test_can_be_read_by_the_user_that_functions_run_as(self, root: Path) -> None:
        (root / BUILD / "F/own.py").chmod(0o600)
        bucket = Bucket()
        put(root, bucket)

        (content,) = bucket.objects.values()
        entry = zipfile.ZipFile(io.BytesIO(content)).getinfo("own.py")
        assert entry.external_attr >> 16 == 0o644

    def test_names_the_folder_that_the_build_lacks(self, root: Path) -> None:
        (root / BUILD / "F/own.py").unlink()
        (root / BUILD / "F/both.py").unlink()
        (root / BUILD / "F").rmdir()

        with pytest.raises(BuildError, match="F is missing: build again with `make build`"):
            put(root, Bucket())


class TestABuild:
    def test_of_what_is_here_passes(self, root: Path) -> None:
        check_build(root, machine_architecture())

    def test_that_is_not_there_is_asked_for(self, tmp_path: Path) -> None:
        with pytest.raises(BuildError, match=r"there is no build in .*: run `make build`"):
            check_build(tmp_path)

    @pytest.mark.parametrize("source", ["template.yaml", "functions/f/own.py", "layers/l/shared.py"])
    def test_that_is_older_than_a_source_is_refused(self, root: Path, source: str) -> None:
        later = (root / BUILD / "template.yaml").stat().st_mtime + 1
        os.utime(root / source, (later, later))

        with pytest.raises(BuildError, match=f"{source} is newer than the build in .aws-sam: run `make build`"):
            check_build(root)

    @pytest.mark.parametrize("source", ["chains.txt", "mine/pyproject.toml", "mine/my_chains/prompt.md"])
    def test_that_is_older_than_a_package_of_chains_is_refused(
        self, root: Path, tmp_path_factory: pytest.TempPathFactory, source: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        elsewhere = tmp_path_factory.mktemp("elsewhere")
        points = '[project]\nname = "mine"\n[project.entry-points."jobchain.chains"]\nmine = "my_chains:chain"\n'
        files = {"chains.txt": "./mine\n", "mine/pyproject.toml": points, "mine/my_chains/prompt.md": "Answer."}
        made = (root / BUILD / "template.yaml").stat().st_mtime
        for name, text in files.items():
            (elsewhere / name).parent.mkdir(parents=True, exist_ok=True)
            (elsewhere / name).write_text(text)
            os.utime(elsewhere / name, (made - 1, made - 1))
        monkeypatch.setenv("CHAINS", str(elsewhere / "chains.txt"))
        check_build(root)

        os.utime(elsewhere / source, (made + 1, made + 1))

        with pytest.raises(BuildError, match=f"{source} is newer than the build in .aws-sam: run `make build`"):
            check_build(root)

    def test_for_another_machine_is_refused(self, root: Path) -> None:
        other = {"x86_64": "arm64", "arm64": "x86_64"}[machine_architecture()]

        with pytest.raises(BuildError, match=f"not {other}: run `make build ARCHITECTURE={other}`"):
            check_build(root, other)


def test_a_machine_that_lambda_has_not_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "riscv64")

    with pytest.raises(BuildError, match="this machine is 'riscv64'"):
        machine_architecture()
