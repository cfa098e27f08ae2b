"""What `submit` is given: files, folders, patterns, URLs and standard input, each as texts."""

import glob
import os
import stat
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from jobchain_cli.errors import CommandError

if TYPE_CHECKING:
    from jobchain_cli.texts import Text

TEXT_SUFFIXES = (".adoc", ".markdown", ".md", ".rst", ".text", ".txt")
DOCUMENT_SUFFIXES = (".docx", ".htm", ".html", ".pdf", ".rtf", ".xhtml")
SUFFIXES = frozenset((*TEXT_SUFFIXES, *DOCUMENT_SUFFIXES))
"""What is taken of a folder."""

UNASKED = 100
"""The most jobs that folders and patterns become without a question."""

_MAGIC = frozenset("*?[")


@dataclass(frozen=True, slots=True)
class Input:
    """A source that `texts.read` takes, and the name of its result: of a file in a folder, its path below that."""

    source: str
    name: str


def is_piped() -> bool:
    """Whether standard input is a pipe or a file, and so holds a text that somebody means."""
    try:
        kind = os.fstat(sys.stdin.fileno()).st_mode
    except (OSError, ValueError):
        return False
    return stat.S_ISFIFO(kind) or stat.S_ISREG(kind) or stat.S_ISSOCK(kind)


def inputs(arguments: Sequence[str]) -> list[Input]:
    """The sources that the arguments name. A file of a folder or a pattern comes once, however many of them have it.

    Raises CommandError if a folder or a pattern has none.
    """
    seen = {os.path.normpath(argument) for argument in arguments if not _stands_for_many(argument)}
    found: list[Input] = []
    for argument in arguments:
        for each in _named(argument):
            if _stands_for_many(argument):
                path = os.path.normpath(each.source)
                if path in seen:
                    continue
                seen.add(path)
            found.append(each)
    return found


def is_many(arguments: Sequence[str]) -> bool:
    """Whether an argument is a folder or a pattern, so that the user may not know how many files it has."""
    return any(map(_stands_for_many, arguments))


def read_all(found: Sequence[Input], *, skip: bool) -> "list[tuple[Input, Text]]":
    """The texts. Raises CommandError if one can't be read, after all that can't are told; with `skip`, if none can."""
    from concurrent.futures import ThreadPoolExecutor

    from jobchain_cli import texts
    from jobchain_cli.words import in_one_line

    def read(each: Input) -> "Text | texts.SourceError":
        try:
            return texts.read(each.source)
        except texts.SourceError as error:
            return error

    # Each document is read by a process of its own.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        outcomes = list(zip(found, pool.map(read, found), strict=True))
    done = [(each, outcome) for each, outcome in outcomes if not isinstance(outcome, texts.SourceError)]
    faults = [in_one_line(outcome) for _, outcome in outcomes if isinstance(outcome, texts.SourceError)]
    if len(found) == 1 and faults:
        raise CommandError(faults[0])
    for fault in faults:
        print(f"jobchain: {fault}", file=sys.stderr)
    if faults and not (skip and done):
        how = "" if skip else ": correct them, or submit the others with --skip-unreadable"
        raise CommandError(f"{len(faults)} of {len(found)} inputs can't be read, and nothing is submitted{how}")
    return done


def _named(argument: str) -> Iterator[Input]:
    if argument == "-":
        yield Input("-", "standard-input")
    elif "://" in argument:
        yield Input(argument, unquote(_path_of(argument)).rpartition("/")[2] or "page")
    elif _is_folder(argument):
        yield from _files_of(argument)
    elif _is_pattern(argument):
        yield from _matching(argument)
    else:
        yield Input(argument, Path(argument).name)


def _path_of(url: str) -> str:
    try:
        return urlsplit(url).path
    except ValueError:
        return ""  # it is refused later, by its name


def _stands_for_many(argument: str) -> bool:
    return _is_folder(argument) or _is_pattern(argument)


def _is_folder(argument: str) -> bool:
    try:
        # A folder on the way to a file is named by its path; `.` and `..` are folders too.
        return Path(argument).is_dir()
    except (OSError, ValueError):
        return False


def _is_pattern(argument: str) -> bool:
    if "://" in argument or "\0" in argument or not _MAGIC & set(argument):
        return False
    # A file may be called so.
    return not os.path.lexists(argument)


def _files_of(folder: str) -> Iterator[Input]:
    """The documents of a folder and those below it, in the order of their names; hidden ones are left out."""
    found, others, inside = [], 0, Path(folder).resolve()

    def refuse(error: OSError) -> None:
        raise CommandError(f"{error.filename}: {error.strerror}")

    for at, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(name for name in names if not name.startswith(".")):
            file = Path(at, name)
            # A folder may be somebody else's: a link in it could name this user's keys, and a pipe would never end.
            if file.suffix.lower() in SUFFIXES and file.is_file() and file.resolve().is_relative_to(inside):
                found.append(file)
            else:
                others += 1
    if not found:
        raise CommandError(f"{folder}: no documents in this folder: it takes {_SUFFIXES_TOLD}")
    if others:
        files = "1 other file" if others == 1 else f"{others} other files"
        print(
            f"jobchain: {folder}: {files} left out: a folder's {_SUFFIXES_TOLD} are taken, and no links out of it",
            file=sys.stderr,
        )
    yield from (Input(str(path), path.relative_to(folder).as_posix()) for path in found)


def _matching(pattern: str) -> Iterator[Input]:
    # Path's own takes no pattern that begins at the root.
    files = sorted(name for name in glob.iglob(pattern, recursive=True) if Path(name).is_file())  # noqa: PTH207
    if not files:
        raise CommandError(f"{pattern}: no file matches")
    start = os.path.commonpath([str(Path(name).parent) for name in files])
    yield from (Input(name, Path(name).relative_to(start).as_posix()) for name in files)


_SUFFIXES_TOLD = f"{', '.join(sorted(SUFFIXES)[:-1])} and {max(SUFFIXES)}"
