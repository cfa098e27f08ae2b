"""The packages of a deployment, put where its functions import them: into the layer of a build, or beside a stack.

A folder's modules are taken as they are, without a build: those that its entry points name. So what runs on AWS is what
the embedded stack runs from source.
"""

import json
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from jobchain.chains.loading import DEPLOYMENT, GROUP, CannotLoad, ChainSource, by_name
from local.chain_list import ROOT, ChainList, PackagesError, name_of, read

_LAYER_LOCK = Path("layers/common/requirements.txt")
_CHECK = Path(__file__).with_name("chain_check.py")
_CHECK_SECONDS = 60  # half a second is usual

Installer = Sequence[str]
"""The command that installs, such as `pip install`."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a deployment runs, and `folder`, where its `jobchain_deployment` and what was installed are.

    `modules` are the packages and modules of folders, to be copied or run where they are. `watched` are the files that
    say what belongs to the deployment.
    """

    folder: Path
    chains: Mapping[str, ChainSource]
    modules: tuple[Path, ...]
    watched: tuple[Path, ...]

    @property
    def paths(self) -> list[str]:
        """Where Python finds the modules that are run where they are."""
        return list(dict.fromkeys(str(module.parent) for module in self.modules))


def prepare(file: Path, folder: Path, installer: Installer) -> Prepared:
    """Installs what the file names into the folder, and writes there what the deployment runs. Raises PackagesError."""
    listed = read(file)
    _refuse_what_the_layer_has(listed)
    folder.mkdir(parents=True, exist_ok=True)
    _install(listed, folder, installer)
    projects = [_Project.read(each) for each in listed.folders]
    for project in projects:
        _check_dependencies(project, listed)
    sources = [source for project in [*_shipped(listed), *projects] for source in project.sources]
    try:
        chains = by_name([*sources, *_installed(folder)])
    except CannotLoad as error:
        raise PackagesError(f"{file}: {error}") from None
    if listed.default not in ("", *chains):
        known = ", ".join(chains) or "none"
        raise PackagesError(f"{file}: there is no chain {listed.default}: set --default-chain to one of {known}")
    modules = _modules(projects)
    (folder / f"{DEPLOYMENT}.py").write_text(deployment_module(chains, listed.default), encoding="utf-8")
    for compiled in (folder / "__pycache__").glob(f"{DEPLOYMENT}.*.pyc"):
        compiled.unlink()  # of an earlier build, which Python does not compare with its source
    watched = (file, *(each / "pyproject.toml" for each in listed.folders))
    return Prepared(folder, chains, modules, watched)


def sources(file: Path) -> list[Path]:
    """The files and folders that a build takes from packages. Raises PackagesError."""
    listed = read(file)
    projects = [_Project.read(each) for each in listed.folders]
    return [file, *listed.wheels, *(each.folder / "pyproject.toml" for each in projects), *_modules(projects)]


def folders(file: Path) -> Mapping[str, Path]:
    """The folders that the file lists, by the names of their packages' chains. Raises PackagesError."""
    projects = [_Project.read(each) for each in read(file).folders]
    return {source.name: project.folder for project in projects for source in project.sources}


def copy(prepared: Prepared) -> None:
    """Copies the modules into the folder. Raises PackagesError for one that the folder has already."""
    for module in prepared.modules:
        to = prepared.folder / module.name
        if to.exists() or to.with_suffix("").exists():
            raise PackagesError(f"{module}: the layer has a module of this name: rename the package's")
        if module.is_dir():
            shutil.copytree(module, to, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(module, to)


def faults(paths: Sequence[str], python: str) -> Mapping[str, str]:
    """Why chains can't be used, by their names: found in a process of that Python with these paths.

    Raises PackagesError where that process ends without an answer, as a chain's module ended it.
    """
    with tempfile.TemporaryDirectory(prefix="jobchain-") as scratch:
        answer = Path(scratch) / "faults.json"
        command = [python, "-I", str(_CHECK), json.dumps(list(paths)), str(answer)]
        try:
            done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=_CHECK_SECONDS)
        except subprocess.TimeoutExpired:
            raise PackagesError(
                f"the chains can't be checked: a module of them does not end in {_CHECK_SECONDS} s"
            ) from None
        if not answer.is_file():
            raise PackagesError(f"the chains can't be checked (exit status {done.returncode}):\n{done.stderr.strip()}")
        found: dict[str, str] = json.loads(answer.read_text(encoding="utf-8"))
    return found


def deployment_module(chains: Mapping[str, ChainSource], default: str) -> str:
    """The source of the module that says what a deployment runs."""
    lines = [
        f"    {json.dumps(each.name)}: ({json.dumps(each.reference)}, {json.dumps(each.package)}),"
        for each in chains.values()
    ]
    return "\n".join(
        [
            '"""The chains that are deployed. A build writes this module, of the packages that its list names."""',
            "",
            "CHAINS = {",
            *lines,
            "}",
            '"""The chains by their names: where each is, and its package."""',
            "",
            f"DEFAULT_CHAIN = {json.dumps(default)}",
            '"""The chain of the short form of a request, `{"input_text": …}`; empty for none."""',
            "",
        ]
    )


def local_installer(root: Path) -> Installer:
    """The installer of this machine, for this Python: make's uv, else pip."""
    uv = root / ".cache" / "uv" / "bin" / "uv"
    if uv.is_file():
        return [str(uv), "pip", "install", "--quiet", "--python", sys.executable]
    return [sys.executable, "-m", "pip", "install", "--quiet"]


def lambda_installer(python: str, architecture: str) -> Installer:
    """The installer for functions, which run on another machine: Python's own pip, for their platform."""
    version = "import sys; print('%d.%d' % sys.version_info[:2])"
    found = subprocess.run([python, "-c", version], check=True, capture_output=True, text=True).stdout.strip()
    machine = {"arm64": "aarch64"}.get(architecture, architecture)
    platforms = [f"--platform=manylinux{tag}_{machine}" for tag in ("2014", "_2_28", "_2_34")]
    return [python, "-m", "pip", "install", "--quiet", "--implementation=cp", f"--python-version={found}", *platforms]


@dataclass(frozen=True, slots=True)
class _Project:
    """A folder with a `pyproject.toml`."""

    folder: Path
    name: str
    sources: tuple[ChainSource, ...]
    dependencies: tuple[str, ...]

    @classmethod
    def read(cls, folder: Path) -> "_Project":
        """The project in a folder. Raises PackagesError."""
        file = folder / "pyproject.toml"
        try:
            project: dict[str, Any] = tomllib.loads(file.read_text(encoding="utf-8")).get("project", {})
        except (OSError, ValueError) as error:
            raise PackagesError(f"{file} can't be read: {error}") from error
        name = project.get("name", folder.name)
        points = project.get("entry-points", {}).get(GROUP, {})
        if not points:
            raise PackagesError(
                f'{file} names no chain: add [project.entry-points."{GROUP}"] with a line such as '
                'my_chain = "my_module:chain"'
            )
        sources = tuple(ChainSource(chain, where, name) for chain, where in points.items())
        return cls(folder, name, sources, tuple(project.get("dependencies", ())))

    def modules(self) -> Iterator[Path]:
        """The packages and modules that its entry points name. Raises PackagesError."""
        for name in dict.fromkeys(source.reference.partition(":")[0].partition(".")[0] for source in self.sources):
            candidates = [root / each for root in (self.folder / "src", self.folder) for each in (name, f"{name}.py")]
            found = next((each for each in candidates if each.exists()), None)
            if found is None:
                raise PackagesError(f"the package {self.name}: there is no {name} in {self.folder} or its folder src")
            yield found


def _shipped(listed: ChainList) -> list[_Project]:
    return [_Project.read(ROOT)] if listed.shipped else []


def _modules(projects: Sequence[_Project]) -> tuple[Path, ...]:
    """The modules of all folders. Raises PackagesError if two have one name."""
    found: dict[str, tuple[str, Path]] = {}
    for project in projects:
        for module in project.modules():
            if module.stem in sys.stdlib_module_names:
                raise PackagesError(
                    f"the package {project.name}: Python has a module {module.stem} of its own: rename the package's"
                )
            other, _ = found.setdefault(module.stem, (project.name, module))
            if other != project.name:
                raise PackagesError(
                    f"the packages {other} and {project.name} both have a module {module.stem}: rename one of them"
                )
    return tuple(module for _, module in found.values())


def _install(listed: ChainList, folder: Path, installer: Installer) -> None:
    common = ["--no-deps", "--only-binary", ":all:", "--target", str(folder)]
    if listed.wheels:
        _run([*installer, *common, "--no-index", *map(str, listed.wheels)], listed.file)
    if listed.requirements:
        with tempfile.TemporaryDirectory(prefix="jobchain-") as scratch:
            locked = Path(scratch) / "requirements.txt"
            locked.write_text("\n".join([*listed.requirements, ""]), encoding="utf-8")
            _run([*installer, *common, "--require-hashes", "-r", str(locked)], listed.file)


def _run(command: Sequence[str], file: Path) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise PackagesError(f"the packages of {file} can't be installed:\n{done.stderr.strip() or done.stdout.strip()}")


def _installed(folder: Path) -> Iterator[ChainSource]:
    for found in distributions(path=[str(folder)]):
        for point in found.entry_points.select(group=GROUP):
            yield ChainSource(point.name, point.value, found.name)


def _layer_has() -> set[str]:
    lines = (ROOT / _LAYER_LOCK).read_text(encoding="utf-8").splitlines()
    return {name_of(line) for line in lines if "==" in line}


def _wheel_names(listed: ChainList) -> set[str]:
    return {name_of(each.name.partition("-")[0]) for each in listed.wheels}


def _refuse_what_the_layer_has(listed: ChainList) -> None:
    has = _layer_has()
    for name in (*map(name_of, listed.requirements), *_wheel_names(listed)):
        if name in has:
            raise PackagesError(f"{listed.file}: the layer has {name} already, at its own version: leave it out")


def _check_dependencies(project: _Project, listed: ChainList) -> None:
    """Raises PackagesError for what the package needs and nothing brings."""
    brought = {"jobchain", *_layer_has(), *_wheel_names(listed), *map(name_of, listed.requirements)}
    if missing := [each for each in project.dependencies if name_of(each) not in brought]:
        raise PackagesError(
            f"the package {project.name} needs {missing[0]}: add name==version with its hashes to {listed.file}"
        )
