"""Runs a function from its source folders. The deployer ships this file as the function's whole code.

It imports nothing of this project, so that only the template decides what a function can import.
"""

import contextlib
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

Handler = Callable[[Any, Any], Any]


class SourceHandler:
    """A Lambda handler that imports the real one from source roots at its first call.

    With `reload` it looks at the roots before each call, and imports their modules again if a file changed.
    Installed libraries stay as they are.
    """

    def __init__(self, roots: list[str], handler: str, reload: bool, modules: list[str] | None = None) -> None:
        """`roots` come first in sys.path, in this order. `handler` is `package.module.function`.

        `modules` are packages and modules of other folders, of which nothing else is looked at.
        """
        self._roots = roots
        self._modules = modules or []
        self._module, _, self._function = handler.rpartition(".")
        self._reload = reload
        self._handler: Handler | None = None
        self._seen: dict[Path, int] = {}
        sys.path[:0] = [*roots, *dict.fromkeys(str(Path(module).parent) for module in self._modules)]

    def __call__(self, event: Any, context: Any) -> Any:
        try:
            return self._current()(event, context)
        except Exception:
            # Lambda's own runtime logs an error that leaves a handler; the emulator logs only what is printed.
            traceback.print_exc()
            raise

    def _current(self) -> Handler:
        if self._handler is not None and not self._reload:
            return self._handler
        files = dict(self._files())
        if self._handler is None or files != self._seen:
            self._handler = None  # a failed import is tried again at the next call
            self._forget(files)
            self._handler = getattr(importlib.import_module(self._module), self._function)
            self._seen = files
        return self._handler

    def _files(self) -> Iterator[tuple[Path, int]]:
        """Every file of the roots and modules, with its time of change in nanoseconds."""
        for root in [*self._roots, *self._modules]:
            for path in [Path(root), *Path(root).rglob("*")]:
                with contextlib.suppress(FileNotFoundError):  # an editor's temporary file that has just gone
                    if path.is_file() and path.parent.name != "__pycache__":
                        yield path, path.stat().st_mtime_ns

    def _forget(self, files: dict[Path, int]) -> None:
        """Drop the roots' modules, and compiled files that may be older than they claim.

        A compiled file counts as current if the source has the same size and the same second of change.
        """
        for path, changed in files.items():
            if path.suffix == ".py" and self._seen.get(path) not in (None, changed):
                Path(importlib.util.cache_from_source(str(path))).unlink(missing_ok=True)
        own = {path.stem for root in self._roots for path in Path(root).iterdir()}
        own |= {Path(module).stem for module in self._modules}
        for name in [name for name in sys.modules if name.partition(".")[0] in own]:
            del sys.modules[name]
        importlib.invalidate_caches()
