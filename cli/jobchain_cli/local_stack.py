"""The stack that `make dev` keeps up, as it tells other programs of itself."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

LOCAL_STACK = Path(".local/stack.json")


class NoStackError(Exception):
    """There is no stack to talk to; says how to name one."""


def local_parts() -> Mapping[str, Any]:
    """What `make dev` wrote about its stack, in this folder or the nearest one above. Raises NoStackError.

    Only a file of the user's own counts: on a shared machine, anybody may have put one into a folder above.
    """
    try:
        here = Path.cwd()
    except FileNotFoundError as error:
        raise NoStackError("the current folder has been deleted: change to another") from error
    for folder in (here, *here.parents):
        file = folder / LOCAL_STACK
        try:
            if os.name == "posix" and file.stat().st_uid != os.getuid():
                continue
            parts = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(parts, dict):
            return parts
    raise NoStackError("no local stack is up: run `make dev`, or name one on AWS with --stack")
