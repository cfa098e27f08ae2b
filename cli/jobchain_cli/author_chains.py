"""Finds an author's chains, and tells what is wrong with them."""

import sys
import traceback
from collections.abc import Iterable, Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from jobchain.chains.authoring import Chain
from jobchain.chains.authoring import check as mistakes_of
from jobchain.chains.loading import CannotLoad, load, load_module
from jobchain.chains.mistakes import ChainError, Mistake, Place, collected
from jobchain_cli.errors import Code, CommandError
from jobchain_cli.words import in_one_line

# Code that is not the author's.
_OTHERS = ("traceback", "pydantic", "jobchain", "jobchain_cli", "jobchain_offline", "jobchain_worker")


def check(which: str) -> Code:
    """Prints all mistakes of the chains on standard output, else what was checked."""
    chains: Mapping[str, Chain] = {}
    with collected() as mistakes:
        try:
            chains = found(which)
        except CannotLoad as error:
            mistakes += _mistakes_at_import(error)
            if not mistakes:
                raise CommandError(str(error)) from error
    mistakes += (mistake for one in chains.values() for mistake in mistakes_of(one))
    for line in _lines(mistakes):
        print(line)
    if mistakes:
        return Code.ERROR
    for name, chain in chains.items():
        count = len(chain.compiled.steps)
        print(in_one_line(f"{name}: {count} {'step' if count == 1 else 'steps'}, no mistakes"))
    return Code.DONE


def one(which: str) -> Chain:
    """The one chain that is named. Raises CommandError for none, several, or one that can't be used."""
    try:
        chains = found(which)
    except CannotLoad as error:
        raise _refused(_mistakes_at_import(error), str(error)) from error
    if len(chains) > 1:
        raise CommandError(f"{which} has several chains: use {' or '.join(chains)}")
    (chain,) = chains.values()
    if mistakes := mistakes_of(chain):
        raise _refused(mistakes)
    return chain


def found(which: str) -> Mapping[str, Chain]:
    """The chains that `which` names, by how each is called. Modules of the current folder are found, too.

    Raises CannotLoad.
    """
    if (folder := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, folder)
    name = which.partition(":")[0]
    if (Path.cwd() / name / "pyproject.toml").is_file() and _is_folder(name):
        raise CannotLoad(f"{name} is the folder of a package: go there first, with cd {name}")
    if ":" not in which and _is_module(which):
        return {f"{which}:{name}": chain for name, chain in load_module(which).items()}
    return {which: load(which)}


def place_of(error: BaseException) -> str:
    """The author's line that raised an error, as `file:line: `; empty where no such line is known."""
    place = _line_of(error)
    return f"{shown_path(place.file)}:{place.line}: " if place else ""


def shown_path(file: str) -> str:
    """The path as a person would type it here."""
    path = Path(file)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else file


def _is_module(name: str) -> bool:
    # A package above it that can't be imported is told of when the module is.
    with suppress(ImportError, ValueError):
        return find_spec(name) is not None
    return False


def _is_folder(name: str) -> bool:
    """Whether Python would take a folder without modules for the module."""
    spec = find_spec(name) if name.isidentifier() else None
    return spec is not None and spec.origin is None


def _lines(mistakes: Iterable[Mistake]) -> list[str]:
    """The mistakes, without those that two chains of a module share."""
    return list(dict.fromkeys(in_one_line(f"{shown_path(at.file)}:{at.line}: {what}") for at, what in mistakes))


def _refused(mistakes: Iterable[Mistake], otherwise: str = "") -> CommandError:
    lines = _lines(mistakes)
    more = f" ({len(lines)} mistakes: `jobchain check` lists them)" if len(lines) > 1 else ""
    return CommandError(lines[0] + more if lines else otherwise)


def _mistakes_at_import(error: CannotLoad) -> list[Mistake]:
    """What an import raised, with its place; empty where no line of the author's is known."""
    cause = error.__cause__
    if isinstance(cause, ChainError):
        return [*cause.mistakes]
    if cause is None or (place := _line_of(cause)) is None:
        return []
    what = cause.msg if isinstance(cause, SyntaxError) else str(cause)
    return [Mistake(place, f"{type(cause).__name__}: {what}")]


def _line_of(error: BaseException) -> Place | None:
    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        return Place(error.filename, error.lineno)
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_authors(frame.filename)]
    return Place(frames[-1].filename, frames[-1].lineno or 1) if frames else None


def _is_authors(file: str) -> bool:
    path = Path(file)
    found = (find_spec(name) for name in _OTHERS)
    return path.is_file() and not any(
        path.is_relative_to(Path(spec.origin).parent) for spec in found if spec and spec.origin
    )
