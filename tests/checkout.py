"""Copies of the project, for tests that change or run one as a user would."""

import shutil
import subprocess
from pathlib import Path

from tests.conftest import ROOT

ROOTS = ("layers/common", "functions/api", "functions/worker", "functions/sweeper", "functions/web", "cli", ".")
"""Where the project's packages are; a process that runs the copy needs them on its path."""


def copy_to(copy: Path) -> Path:
    """Copies the files of the project, those that are not committed yet among them."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy / name)
    return copy
