"""The cases of other packages' chains, and their checks: the folder `evals` beside a package's `pyproject.toml`.

`evals/NAME.py` has the checks of the chain NAME, a function for each word of a case's `expect`. `evals/NAME/*.json` are
the cases: `{"payload": …, "expect": {"check": …}}`.
"""

import inspect
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from evals.expectations import Case, CaseError, Check, Result


def read(folders: Mapping[str, Path]) -> dict[str, list[Case]]:
    """The cases by the names of the chains, without those that have none. Raises CaseError."""
    found = {chain: _cases(chain, folder) for chain, folder in folders.items()}
    return {chain: cases for chain, cases in found.items() if cases}


def _cases(chain: str, folder: Path) -> list[Case]:
    files = sorted((folder / "evals" / chain).glob("*.json"))
    return [_case(chain, file, checks) for checks in [_checks(chain, folder)] for file in files] if files else []


def _case(chain: str, file: Path, checks: Mapping[str, Check]) -> Case:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        payload, expect = dict(found["payload"]), dict(found["expect"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CaseError(
            f'{file}: not a case ({type(error).__name__}: {error}): write {{"payload": {{…}}, "expect": {{…}}}}'
        ) from error
    if unknown := [name for name in expect if name not in checks]:
        known = ", ".join(checks) or "none"
        where = file.parent.with_suffix(".py")
        raise CaseError(f"{file}: there is no check {unknown[0]}: use one of {where} ({known}), or write it there")
    return Case(chain, file.stem, payload, expect, checks)


def _checks(chain: str, folder: Path) -> dict[str, Check]:
    """The public functions of the module of checks, by their names. Raises CaseError."""
    file = folder / "evals" / f"{chain}.py"
    if not file.is_file():
        return {}
    with _importing_from(folder):
        module = _loaded(chain, file)
    written = inspect.getmembers(module, inspect.isfunction)
    return {
        name: _check_of(file, name, function)
        for name, function in written
        if function.__module__ == module.__name__ and not name.startswith("_")
    }


def _loaded(chain: str, file: Path) -> ModuleType:
    spec = spec_from_file_location(f"evals_of_{chain}", file)
    if spec is None or spec.loader is None:
        raise CaseError(f"{file}: Python can't import it")
    module = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # it belongs to another package, and is told with its name
        raise CaseError(f"{file} can't be imported: {type(error).__name__}: {error}") from error
    return module


@contextmanager
def _importing_from(folder: Path) -> Iterator[None]:
    """Lets a module of checks import its package."""
    before = [*sys.path]
    sys.path[:0] = [str(folder / "src"), str(folder)]
    try:
        yield
    finally:
        sys.path[:] = before


def _check_of(file: Path, name: str, function: Any) -> Check:
    def check(result: Result, wanted: Any, _case: Case) -> Iterable[str]:
        try:
            return [str(fault) for fault in function(result, wanted) or ()]
        except Exception as error:  # noqa: BLE001  # of another package's code: the other cases are judged
            return [f"the check {name} of {file.name} raised {type(error).__name__}: {error}"]

    return check
