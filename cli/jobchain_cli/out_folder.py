"""The folder of `--out`: a file for the result of each job, written when the job ends."""

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from jobchain_cli.choices import Form
from jobchain_cli.errors import CommandError

_SUFFIX = {Form.TEXT: ".txt", Form.MARKDOWN: ".md", Form.JSON: ".json"}
_LONGEST = 200
"""Bytes of a file's name without its suffix and number: file systems take 255."""


class OutFolder:
    """Where results go. Its files are known before anything is submitted."""

    def __init__(self, folder: Path, form: Form, names: Sequence[str], *, overwrite: bool) -> None:
        """`names` are of the jobs, in order, and may be paths below the folder.

        Raises CommandError if the folder can't be written to, or has one of the files and may not lose it.
        """
        self._files = [folder / name for name in _file_names(names, _SUFFIX[form])]
        there = [file for file in self._files if os.path.lexists(file)]
        if there and not overwrite:
            others = f" and {len(there) - 1} more" if len(there) > 1 else ""
            raise CommandError(f"{there[0]}{others} exists: name another folder with --out, or give --overwrite")
        try:
            for parent in {file.parent for file in self._files} | {folder}:
                parent.mkdir(parents=True, exist_ok=True)
            probe = folder / f".jobchain-{os.getpid()}"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise CommandError(f"--out {folder}: {error.strerror or error}") from error

    def write(self, place: int, lines: Iterable[str]) -> Path:
        """Writes the result of the job at this place; a reader sees all of it or nothing. Raises OSError."""
        file = self._files[place]
        unfinished = file.with_name(f".{os.getpid()}-{place}.new")
        try:
            unfinished.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
            unfinished.replace(file)
        finally:
            unfinished.unlink(missing_ok=True)
        return file


def _file_names(names: Sequence[str], suffix: str) -> list[str]:
    """A file's name for each, no two alike: `a.pdf` and `a.md` become `a.txt` and `a.md.txt`, whatever their case."""
    paths = [PurePosixPath(*map(_safe, PurePosixPath(name).parts or (name,))) for name in names]
    taken = {str(folder).lower() for path in paths for folder in path.parents}
    found = []
    for path in paths:
        candidates = [
            str(path.with_suffix("")),
            str(path),
            *(f"{path}-{number}" for number in range(2, len(names) + 2)),
        ]
        chosen = next(f"{each}{suffix}" for each in candidates if f"{each}{suffix}".lower() not in taken)
        taken.add(chosen.lower())
        found.append(chosen)
    return found


def _safe(part: str) -> str:
    """A part of a path that no file system reads as anything but a name."""
    shown = re.sub(r'[\x00-\x1f\x7f<>:"/\\|?*\ud800-\udfff]', "_", part)
    return shown.strip(" .").encode()[:_LONGEST].decode(errors="ignore").strip(" .") or "job"
