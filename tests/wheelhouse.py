"""Wheels of packages that are installed here, so that a test can `pip install` without an index."""

import base64
import hashlib
import re
import zipfile
from collections.abc import Iterable, Iterator
from email import message_from_string
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement

# What an installer adds to a package.
_INSTALLERS = {"RECORD", "INSTALLER", "REQUESTED", "direct_url.json"}


def fill(folder: Path, lines: Iterable[str], extras: Iterable[str] = ()) -> None:
    """Makes wheels of what these requirements ask for, and of all that it needs, as they are installed here."""
    folder.mkdir(parents=True, exist_ok=True)
    done: set[str] = set()
    for found in _needed(lines, extras, done):
        _pack(found, folder)


def _needed(lines: Iterable[str], extras: Iterable[str], done: set[str]) -> Iterator[Distribution]:
    for requirement in map(Requirement, lines):
        holds = requirement.marker is None or any(requirement.marker.evaluate({"extra": e}) for e in ["", *extras])
        name = requirement.name.lower()
        if holds and name not in done:
            done.add(name)
            found = distribution(name)
            yield found
            yield from _needed(found.requires or [], requirement.extras, done)


def _pack(found: Distribution, folder: Path) -> None:
    tags = message_from_string(found.read_text("WHEEL") or "").get_all("Tag", [])
    name = re.sub(r"[-_.]+", "_", found.metadata["Name"])
    records: list[str] = []
    with zipfile.ZipFile(folder / f"{name}-{found.version}-{_joined(tags)}.whl", "w") as wheel:
        for file in found.files or ():
            if ".." in file.parts or "__pycache__" in file.parts or file.name in _INSTALLERS:
                continue  # a script, which its entry point makes again, or the installer's own
            content = Path(str(found.locate_file(file))).read_bytes()
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            wheel.writestr(str(file), content)
            records.append(f'"{file}",sha256={digest},{len(content)}')
        (info,) = {name.partition("/")[0] for name in wheel.namelist() if ".dist-info/" in name}
        wheel.writestr(f"{info}/RECORD", "\n".join([*records, f"{info}/RECORD,,", ""]))


def _joined(tags: list[str]) -> str:
    """The tags in one, as a file's name has them: `cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64`."""
    parts = zip(*(tag.split("-") for tag in tags), strict=True)
    return "-".join(".".join(dict.fromkeys(part)) for part in parts)
