"""The file that names the packages of a deployment, such as `layers/chains.txt`: what its lines say."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from local.errors import LocalError

ROOT = Path(__file__).resolve().parent.parent
VARIABLE = "CHAINS"
"""The variable, of the environment or of `.env`, that names another file."""

SHIPPED = "jobchain"
"""The line for the chains of this project."""

_DEFAULT = "--default-chain"
_LOCKED = re.compile(r"([A-Za-z0-9][\w.-]*)(\[[^\]]*\])?\s*==\s*[\w.!+-]+(\s*;[^#]*?)?(\s+--hash=sha256:[0-9a-f]{64})+")


class PackagesError(LocalError):
    """A package can't be deployed; says which, why, and what to do."""


@dataclass(frozen=True, slots=True)
class ChainList:
    """The packages of a deployment: folders, wheels, and locked requirements of an index, in the file's order."""

    file: Path
    default: str
    shipped: bool
    folders: tuple[Path, ...]
    wheels: tuple[Path, ...]
    requirements: tuple[str, ...]


def chain_file(root: Path, chosen: str) -> Path:
    """The file of the project in `root`: the chosen one, else `layers/chains.txt`."""
    return root / Path(chosen or "layers/chains.txt").expanduser()


def chosen_file(root: Path) -> Path:
    """The same, with the choice of the environment, else of `.env`."""
    chosen = os.environ.get(VARIABLE)
    if chosen is None and (root / ".env").is_file():
        # Not at the top: the image that builds has no such file, and no dotenv.
        from local.env_file import read_env_file  # noqa: PLC0415

        chosen = read_env_file(root / ".env").get(VARIABLE)
    return chain_file(root, (chosen or "").strip())


def read(file: Path) -> ChainList:
    """What the file says. Raises PackagesError that names the line."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PackagesError(f"the list of packages {file} can't be read: {error}") from error
    default, shipped = "", False
    folders: list[Path] = []
    wheels: list[Path] = []
    requirements: list[str] = []
    for number, line in _lines(text):
        if line.split()[0] == _DEFAULT:
            default = line.removeprefix(_DEFAULT).strip()
        elif line == SHIPPED:
            shipped = True
        elif _is_path(line):
            path = (file.parent / Path(line).expanduser()).resolve()
            (wheels if path.suffix == ".whl" else folders).append(_present(path, f"{file}:{number}"))
        elif _LOCKED.fullmatch(line):
            requirements.append(line)
        else:
            raise PackagesError(
                f"{file}:{number}: {line.split()[0]} is no package that can be deployed: use a path (./my-chains), or "
                "name==version with its --hash=sha256:…"
            )
    return ChainList(file, default, shipped, tuple(folders), tuple(wheels), tuple(requirements))


def name_of(requirement: str) -> str:
    """The name of the package that a requirement asks for, in its one spelling."""
    found = re.match(r"[A-Za-z0-9][\w.-]*", requirement)
    return re.sub(r"[-_.]+", "-", found.group().lower()) if found else ""


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """The lines with their numbers, without comments; one that ends with a backslash goes on in the next."""
    whole, began = "", 0
    for number, line in enumerate(text.splitlines(), 1):
        began = began or number
        whole += re.sub(r"(^|\s)#.*", "", line).rstrip()
        if whole.endswith("\\"):
            whole = whole[:-1] + " "
            continue
        if whole.strip():
            yield began, " ".join(whole.split())
        whole, began = "", 0


def _is_path(line: str) -> bool:
    return line.startswith((".", "/", "~")) or line.endswith(".whl")


def _present(path: Path, where: str) -> Path:
    """The path. Raises PackagesError unless it is a package."""
    if path.suffix == ".whl" and not path.is_file():
        raise PackagesError(f"{where}: there is no wheel {path}")
    if path.suffix != ".whl" and not (path / "pyproject.toml").is_file():
        raise PackagesError(f"{where}: there is no {path / 'pyproject.toml'}: name the folder that has the package's")
    return path
