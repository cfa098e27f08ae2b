"""Settings in a file such as `.env`."""

import codecs
import io
from collections.abc import Mapping
from pathlib import Path

from dotenv import dotenv_values

from local.errors import SettingsError

_OTHERS = ((codecs.BOM_UTF16_LE, "UTF-16"), (codecs.BOM_UTF16_BE, "UTF-16"))


def read_env_file(file: Path) -> Mapping[str, str | None]:
    """The variables of a UTF-8 file, with or without a byte order mark; none where there is no file.

    Raises SettingsError that tells how the file is encoded instead.
    """
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise SettingsError(f"{file} can't be read: {error.strerror}") from error
    return dotenv_values(stream=io.StringIO(_decoded(file, content)))


def _decoded(file: Path, content: bytes) -> str:
    encoding = next((name for mark, name in _OTHERS if content.startswith(mark)), None)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        what = f"is {encoding}" if encoding else f"is not UTF-8 (line {line}), but perhaps Latin-1"
        raise SettingsError(f"{file} {what}: save it as UTF-8") from error
    if "\0" in text:
        raise SettingsError(f"{file} holds NUL characters, as UTF-16 has them: save it as UTF-8")
    return text
