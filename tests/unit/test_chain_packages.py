"""The packages of a deployment: what their list may say, and what a build and a stack make of it."""

import sys
import zipfile
from collections.abc import Callable, Sequence
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

import jobchain_deployment
from jobchain.chains import CHAINS, Registry
from jobchain.chains.loading import CannotLoad, ChainSource, Deployment, installed, load
from local import chain_packages
from local.chain_list import PackagesError, chain_file, read
from local.chain_packages import deployment_module, faults, prepare
from local.finish_build import add_chains
from tests.conftest import ROOT

CHAIN = '''
from jobchain import Chain, Text

chain = Chain("{name}")


@chain.ask
def answer(text: Text) -> str:
    """Answer."""
'''

NO_INSTALLER: Sequence[str] = ("no-installer",)

Project = Callable[..., Path]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Makes the folder of a package with one module, which has one chain."""

    def make(package: str, chain: str, *, module: str = "", source: str = CHAIN, src: bool = False) -> Path:
        module = module or package.replace("-", "_")
        folder = tmp_path / package
        (code := folder / ("src" if src else "")).mkdir(parents=True)
        (code / f"{module}.py").write_text(source.format(name=chain))
        (folder / "pyproject.toml").write_text(
            f'[project]\nname = "{package}"\nversion = "1"\ndependencies = ["jobchain[chains]", "pydantic>=2"]\n\n'
            f'[project.entry-points."jobchain.chains"]\n{chain} = "{module}:chain"\n'
        )
        return folder

    return make


def listed(tmp_path: Path, *lines: str) -> Path:
    file = tmp_path / "chains.txt"
    file.write_text("\n".join([*lines, ""]))
    return file


def written(folder: Path) -> Any:
    spec = spec_from_file_location("written", folder / "jobchain_deployment.py")
    assert spec
    assert spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class TestTheList:
    def test_of_this_project_names_the_shipped_chains(self) -> None:
        found = read(ROOT / "layers/chains.txt")

        assert (found.shipped, found.default) == (True, "guideline_checklist")

    def test_names_paths_from_where_it_is(self, tmp_path: Path, project: Project) -> None:
        folder = project("my-chains", "mine")

        assert read(listed(tmp_path, "# mine", "./my-chains  # the one here")).folders == (folder,)

    def test_may_be_another_one(self, tmp_path: Path) -> None:
        assert chain_file(tmp_path, "") == tmp_path / "layers/chains.txt"
        assert chain_file(tmp_path, "/elsewhere/chains.txt") == Path("/elsewhere/chains.txt")

    def test_takes_a_locked_requirement_as_uv_writes_it(self, tmp_path: Path) -> None:
        one = f"--hash=sha256:{'0' * 64}"

        found = read(listed(tmp_path, "their-chains==1.2 \\", f"    {one} \\", f"    {one}", "    # via me"))

        assert found.requirements == (f"their-chains==1.2 {one} {one}",)

    @pytest.mark.parametrize(
        "line",
        [
            "their-chains",
            "their-chains>=1",
            "their-chains==1.2",
            "--index-url https://packages.example/simple",
            f"their-chains @ https://packages.example/a.whl --hash=sha256:{'0' * 64}",
        ],
    )
    def test_takes_no_requirement_that_is_not_locked_and_no_address(self, tmp_path: Path, line: str) -> None:
        with pytest.raises(PackagesError, match=r"chains.txt:2: .* is no package that can be deployed: use a path"):
            read(listed(tmp_path, "jobchain", line))

    def test_says_which_folder_has_no_package(self, tmp_path: Path) -> None:
        with pytest.raises(PackagesError, match=r"chains.txt:1: there is no .*/nowhere/pyproject.toml: name the"):
            read(listed(tmp_path, "./nowhere"))

    def test_that_is_not_there_is_told(self, tmp_path: Path) -> None:
        with pytest.raises(PackagesError, match=r"the list of packages .*none.txt can't be read"):
            read(tmp_path / "none.txt")


class TestTheShippedChains:
    def test_are_what_the_project_names_as_its_entry_points(self, tmp_path: Path) -> None:
        prepared = prepare(listed(tmp_path, "--default-chain guideline_checklist", "jobchain"), tmp_path, NO_INSTALLER)

        expected = deployment_module(prepared.chains, "guideline_checklist")
        assert Path(jobchain_deployment.__file__).read_text() == expected

    def test_are_found_among_what_is_installed(self) -> None:
        assert {*CHAINS} <= {*installed()}

    @pytest.mark.parametrize("name", [*CHAINS])
    def test_are_loaded_by_their_names_and_by_their_places(self, name: str) -> None:
        assert load(name) is load(installed()[name].reference)


class TestAFolder:
    @pytest.mark.parametrize("src", [True, False])
    def test_is_run_where_it_is(self, tmp_path: Path, project: Project, src: bool) -> None:
        folder = project("my-chains", "mine", src=src)

        prepared = prepare(listed(tmp_path, "./my-chains", "--default-chain mine"), tmp_path / "out", NO_INSTALLER)

        code = folder / "src" if src else folder
        assert prepared.modules == (code / "my_chains.py",)
        assert prepared.paths == [str(code)]
        assert written(tmp_path / "out").CHAINS == {"mine": ("my_chains:chain", "my-chains")}
        assert written(tmp_path / "out").DEFAULT_CHAIN == "mine"

    def test_without_a_chain_is_told(self, tmp_path: Path, project: Project) -> None:
        folder = project("my-chains", "mine")
        (folder / "pyproject.toml").write_text('[project]\nname = "my-chains"\n')

        with pytest.raises(PackagesError, match=r"names no chain: add \[project.entry-points.\"jobchain.chains\"\]"):
            prepare(listed(tmp_path, "./my-chains"), tmp_path / "out", NO_INSTALLER)

    def test_without_the_module_that_it_names_is_told(self, tmp_path: Path, project: Project) -> None:
        (project("my-chains", "mine") / "my_chains.py").unlink()

        with pytest.raises(PackagesError, match="the package my-chains: there is no my_chains in "):
            prepare(listed(tmp_path, "./my-chains"), tmp_path / "out", NO_INSTALLER)

    def test_that_needs_what_nothing_brings_is_told(self, tmp_path: Path, project: Project) -> None:
        file = project("my-chains", "mine") / "pyproject.toml"
        file.write_text(file.read_text().replace("pydantic>=2", "left.pad>=2"))

        with pytest.raises(PackagesError, match=r"the package my-chains needs left.pad>=2: add name==version with its"):
            prepare(listed(tmp_path, "./my-chains"), tmp_path / "out", NO_INSTALLER)


class TestTwoPackages:
    def test_with_a_chain_of_one_name_are_refused_by_their_names(self, tmp_path: Path, project: Project) -> None:
        project("first-chains", "mine")
        project("second-chains", "mine")
        file = listed(tmp_path, "./first-chains", "./second-chains")

        with pytest.raises(PackagesError, match="the packages first-chains and second-chains both have a chain mine"):
            prepare(file, tmp_path / "out", NO_INSTALLER)

    def test_one_of_them_the_projects_own_are_refused_too(self, tmp_path: Path, project: Project) -> None:
        project("my-chains", "extract_actions")

        with pytest.raises(PackagesError, match="the packages jobchain and my-chains both have a chain extract_act"):
            prepare(listed(tmp_path, "jobchain", "./my-chains"), tmp_path / "out", NO_INSTALLER)

    def test_with_a_module_of_one_name_are_refused(self, tmp_path: Path, project: Project) -> None:
        project("first-chains", "first", module="chains")
        project("second-chains", "second", module="chains")
        file = listed(tmp_path, "./first-chains", "./second-chains")

        with pytest.raises(PackagesError, match="the packages first-chains and second-chains both have a module chain"):
            prepare(file, tmp_path / "out", NO_INSTALLER)

    def test_with_a_module_that_python_has_too_are_refused(self, tmp_path: Path, project: Project) -> None:
        project("my-chains", "mine", module="email")

        with pytest.raises(PackagesError, match="the package my-chains: Python has a module email of its own: rename"):
            prepare(listed(tmp_path, "./my-chains"), tmp_path / "out", NO_INSTALLER)

    def test_with_a_default_chain_of_neither_are_refused(self, tmp_path: Path, project: Project) -> None:
        project("my-chains", "mine")
        file = listed(tmp_path, "jobchain", "./my-chains", "--default-chain yours")

        with pytest.raises(PackagesError, match=r"there is no chain yours: set --default-chain to one of .*mine"):
            prepare(file, tmp_path / "out", NO_INSTALLER)


class TestARequirement:
    def test_that_the_layer_has_is_refused(self, tmp_path: Path) -> None:
        file = listed(tmp_path, f"Pydantic==1.0 --hash=sha256:{'0' * 64}")

        with pytest.raises(PackagesError, match="the layer has pydantic already, at its own version: leave it out"):
            prepare(file, tmp_path / "out", NO_INSTALLER)

    def test_that_a_wheel_brings_though_the_layer_has_it_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "pydantic-1.0-py3-none-any.whl").touch()

        with pytest.raises(PackagesError, match="the layer has pydantic already, at its own version: leave it out"):
            prepare(listed(tmp_path, "./pydantic-1.0-py3-none-any.whl"), tmp_path / "out", NO_INSTALLER)

    @pytest.mark.slow
    def test_that_can_not_be_installed_is_told_with_the_installers_words(self, tmp_path: Path) -> None:
        failing = [sys.executable, "-c", "import sys; sys.exit('no such version')"]
        file = listed(tmp_path, f"their-chains==1.0 --hash=sha256:{'0' * 64}")

        with pytest.raises(PackagesError, match="can't be installed:\nno such version"):
            prepare(file, tmp_path / "out", failing)


@pytest.mark.slow
class TestAWheel:
    def test_is_installed(self, tmp_path: Path) -> None:
        name = "their_chains-1.0"
        with zipfile.ZipFile(tmp_path / f"{name}-py3-none-any.whl", "w") as wheel:
            wheel.writestr("their_chains.py", CHAIN.format(name="theirs"))
            wheel.writestr(f"{name}.dist-info/METADATA", "Metadata-Version: 2.1\nName: their-chains\nVersion: 1.0\n")
            wheel.writestr(f"{name}.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            points = "[jobchain.chains]\ntheirs = their_chains:chain\n"
            wheel.writestr(f"{name}.dist-info/entry_points.txt", points)
            wheel.writestr(f"{name}.dist-info/RECORD", "")
        file = listed(tmp_path, f"{name}-py3-none-any.whl".join(["./", ""]))

        prepared = prepare(file, tmp_path / "out", chain_packages.local_installer(ROOT))

        assert prepared.chains == {"theirs": ChainSource("theirs", "their_chains:chain", "their-chains")}
        assert faults([str(tmp_path / "out")], sys.executable) == {}


@pytest.mark.slow
class TestABuild:
    @pytest.fixture
    def layer(self, tmp_path: Path) -> Path:
        folder = tmp_path / "build" / "CommonLayer" / "python"
        folder.mkdir(parents=True)
        for name in ("jobchain", "jobchain_chains", "jobchain_deployment.py"):
            (folder / name).symlink_to(ROOT / "layers" / "common" / name)
        (folder / "jobchain_deployment.py").unlink()
        return folder

    def test_has_the_package_of_a_folder_outside_the_project(
        self, tmp_path: Path, layer: Path, project: Project
    ) -> None:
        project("my-chains", "mine")

        add_chains(tmp_path / "build", sys.executable, listed(tmp_path, "jobchain", "./my-chains"))

        assert (layer / "my_chains.py").is_file()
        assert [*written(layer).CHAINS] == [*CHAINS, "mine"]

    def test_is_refused_for_a_chain_that_can_not_be_imported(
        self, tmp_path: Path, layer: Path, project: Project
    ) -> None:
        project("my-chains", "mine", source="import nothing_of_this_name\n")

        with pytest.raises(PackagesError, match="the chain mine of the package my-chains: my_chains can't be imported"):
            add_chains(tmp_path / "build", sys.executable, listed(tmp_path, "./my-chains"))

    def test_is_refused_for_a_default_chain_that_takes_no_single_text(self, tmp_path: Path, layer: Path) -> None:
        file = listed(tmp_path, "jobchain", "--default-chain compare_guidelines")

        with pytest.raises(PackagesError, match=r"the default chain compare_guidelines has the fields .*: choose one"):
            add_chains(tmp_path / "build", sys.executable, file)

    def test_is_refused_for_a_module_that_the_layer_has(self, tmp_path: Path, layer: Path, project: Project) -> None:
        project("my-chains", "mine", module="jobchain")

        with pytest.raises(
            PackagesError, match=r"jobchain.py: the layer has a module of this name: rename the package"
        ):
            add_chains(tmp_path / "build", sys.executable, listed(tmp_path, "./my-chains"))


class TestARegistry:
    @pytest.mark.parametrize("fault", ["RuntimeError", "SystemExit"])
    def test_goes_on_without_a_chain_that_can_not_be_loaded_and_says_why(
        self, tmp_path: Path, project: Project, monkeypatch: pytest.MonkeyPatch, fault: str
    ) -> None:
        monkeypatch.syspath_prepend(str(project("broken-chains", "broken", source=f"raise {fault}('no config')\n")))
        broken = ChainSource("broken", "broken_chains:chain", "broken-chains")
        whole = ChainSource("extract_actions", "jobchain_chains.extract_actions:chain", "jobchain")
        registry = Registry(lambda: Deployment({"broken": broken, "extract_actions": whole}, ""))

        assert [*registry.compiled()] == ["extract_actions"]
        assert registry.get("broken") is None
        assert "broken" in registry
        assert registry.faults == {
            "broken": "the chain broken of the package broken-chains: broken_chains can't be imported: "
            f"{fault}: no config"
        }


class TestLoading:
    def test_a_chain_of_no_name_that_is_known_names_the_known_ones(self) -> None:
        with pytest.raises(CannotLoad, match=r"there is no chain nothing: use one of guideline_checklist, .*"):
            load("nothing")

    def test_a_module_without_that_attribute_names_those_that_are_chains(self) -> None:
        with pytest.raises(CannotLoad, match=r"there is no .*:other: use jobchain_chains.extract_actions:chain"):
            load("jobchain_chains.extract_actions:other")

    def test_an_attribute_that_is_no_chain_is_told(self) -> None:
        with pytest.raises(CannotLoad, match=r"no chain is .*:Action: use jobchain_chains.extract_actions:chain"):
            load("jobchain_chains.extract_actions:Action")

    def test_a_package_that_calls_a_chain_otherwise_is_told(
        self, project: Project, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.syspath_prepend(str(project("named-chains", "mine")))
        registry = Registry(lambda: Deployment({"yours": ChainSource("yours", "named_chains:chain", "named")}, ""))

        assert registry.compiled() == {}
        assert registry.faults["yours"].endswith("named_chains:chain yours, and it calls itself mine: use one name")
