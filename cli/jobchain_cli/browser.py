"""A job's page of the dashboard, in the browser of a desktop."""

import os
import sys
import webbrowser
from urllib.parse import quote

from jobchain_cli.errors import Code, CommandError


def address(url: str, event_id: str) -> str:
    """The page of a job on the dashboard of the API at `url`. Raises CommandError for what is no id."""
    try:
        return f"{url.rstrip('/')}/queue#/jobs/{quote(event_id, safe='')}"
    except UnicodeEncodeError as error:
        raise CommandError(f"{event_id!a} is not the id of a job", Code.USAGE) from error


def show(page: str) -> bool:
    """Open the page in a browser with windows, and say whether there is one. One of a terminal would take that over."""
    if sys.platform not in ("win32", "darwin") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return False
    try:
        return webbrowser.open(page)
    except webbrowser.Error:
        return False
