"""Files that hold a key."""

from pathlib import Path


def write_private(path: Path, text: str) -> None:
    """Write a file that only its user can read. An existing file is replaced, whatever its permissions."""
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    path.touch(0o600, exist_ok=False)
    path.write_text(text, encoding="utf-8")
