"""The last step of `make build`: the packages of chains come into the layer, and what is built starts faster.

`python -m local.finish_build FOLDER PYTHON` takes the folder of the build, and the Python that the functions run on.
"""

import shutil
import subprocess
import sys
from pathlib import Path

from local import botocore_data, chain_packages
from local.architecture import built_for, machine_architecture
from local.chain_list import PackagesError, chosen_file

_LAYER = Path("CommonLayer", "python")


def add_chains(build: Path, python: str, file: Path) -> None:
    """Puts the packages that the file names into the layer. Raises PackagesError, also for a chain that can't be used.

    Libraries that are built for another machine can't be loaded here: then the functions' start is the first look.
    """
    layer = build / _LAYER
    architecture = built_for(build) or machine_architecture()
    prepared = chain_packages.prepare(file, layer, chain_packages.lambda_installer(python, architecture))
    chain_packages.copy(prepared)
    if architecture == machine_architecture():
        for fault in chain_packages.faults([str(layer)], python).values():
            raise PackagesError(fault)


def package(build: Path, python: str) -> None:
    """Puts AWS's models into the layer, and compiles all modules of the build.

    Compiled files belong to one minor version of Python, and Lambda has no place to keep its own: without them, or
    with those of another version, every start compiles everything. Raises subprocess.CalledProcessError for a file that
    can't be compiled, and RuntimeError where not all are compiled for `python`.
    """
    botocore_data.write(build / _LAYER)
    # Unchecked: the sources of a build do not change, so no start compares them.
    compile_all = ("-m", "compileall", "-q", "-f", "-j", "0", "--invalidation-mode", "unchecked-hash")
    subprocess.run([python, *compile_all, str(build)], check=True)
    if stale := not_compiled(build, python):
        raise RuntimeError(f"{len(stale)} modules are not compiled for {python}, such as {stale[0]}")


def not_compiled(build: Path, python: str) -> list[Path]:
    """The modules of a build that `python` would have to compile when it loads them."""
    program = "import importlib.util, sys; print(importlib.util.MAGIC_NUMBER.hex(), sys.implementation.cache_tag)"
    answer = subprocess.run([python, "-c", program], check=True, capture_output=True, text=True).stdout
    magic, tag = answer.split()
    return [
        source
        for source in sorted(build.rglob("*.py"))
        if not _begins_with(source.parent / "__pycache__" / f"{source.stem}.{tag}.pyc", bytes.fromhex(magic))
    ]


def _begins_with(path: Path, magic: bytes) -> bool:
    return path.exists() and path.read_bytes()[: len(magic)] == magic


def main(build: Path, python: str) -> int:
    """The exit status: 1 where a package can't be deployed. Then there is no build, which something could deploy."""
    try:
        add_chains(build, python, chosen_file(Path.cwd()))
    except PackagesError as error:
        print(f"build: {error}", file=sys.stderr)
        shutil.rmtree(build, ignore_errors=True)
        return 1
    package(build, python)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2]))
