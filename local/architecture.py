"""The instruction sets of this machine and of a build."""

import platform
import re
from pathlib import Path

from local.errors import LocalError

_NAMES = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "arm64", "arm64": "arm64"}


class BuildError(LocalError):
    """The build is missing or not current; says what to do."""


def machine_architecture() -> str:
    """This machine's instruction set, as the template's parameter Architecture names it. Raises BuildError."""
    machine = platform.machine().lower()
    if machine not in _NAMES:
        raise BuildError(f"this machine is {machine!r}, and functions are built for x86_64 and arm64 only")
    return _NAMES[machine]


def built_for(build: Path) -> str:
    """The instruction set that a build is for; empty where SAM's report does not say."""
    report = build.parent / "build.toml"
    if not report.is_file():
        return ""
    return ", ".join(sorted(set(re.findall(r'^architecture = "(\w+)"$', report.read_text(), re.MULTILINE))))
