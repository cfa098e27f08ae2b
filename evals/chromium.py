"""Where a Chromium is, and how tests and checks start it."""

import os
import shutil

MISSING = "no Chromium is found: install Debian's package chromium, or set CHROMIUM to a path"
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_NAMES = ("chromium", "chromium-browser", "google-chrome")


def find_chromium() -> str | None:
    """The path of a Chromium: what CHROMIUM says, else the first on PATH; None for none."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, _NAMES)), None)


def is_required() -> bool:
    """Whether a missing Chromium is an error (REQUIRE_BROWSER=1), and no reason to leave something out."""
    return os.environ.get("REQUIRE_BROWSER") == "1"
