"""A person changes a text in the editor of their choice."""

import os
import shlex
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from jobchain_cli.errors import CommandError


def edited(text: str, suffix: str) -> str | None:
    """The text as it was saved in the editor that `VISUAL` or `EDITOR` names; None where nothing was saved.

    `suffix` is that of the file, such as `.txt`. Raises CommandError where the editor can't be run, or fails.
    """
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or ("notepad" if os.name == "nt" else "vi")
    # A folder that no other user can read, as the text may be secret.
    with TemporaryDirectory(prefix="jobchain-") as folder:
        file = Path(folder) / f"edit{suffix}"
        file.write_text(text, encoding="utf-8")
        # An editor that saves at once may do so within the same tick of the file system.
        before = file.stat().st_mtime_ns - 2_000_000_000
        os.utime(file, ns=(before, before))
        try:
            code = subprocess.run([*shlex.split(editor), str(file)], check=False).returncode
        except (OSError, ValueError) as error:
            raise CommandError(f"the editor {editor!r} can't be run ({error}): set EDITOR to another one") from None
        if code:
            raise CommandError(f"the editor {editor!r} failed (exit code {code})")
        return file.read_text(encoding="utf-8") if file.stat().st_mtime_ns != before else None
