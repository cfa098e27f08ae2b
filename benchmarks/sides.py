"""What is compared, as the measures see it, and the fixed terms of the comparison."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from benchmarks import ours
from benchmarks.baseline import services


class Side(Protocol):
    """One of them, running."""

    @property
    def url(self) -> str:
        """Where the API's paths begin."""
        ...

    def cpu_seconds(self) -> float:
        """Of its own processes so far: not of an emulator, a database or a broker."""
        ...

    def memory(self) -> int:
        """Bytes that these processes hold now."""
        ...

    def running(self) -> list[int]:
        """The processes in which jobs run now."""
        ...

    def gave_up(self) -> bool:
        """Whether nothing is left that could run the jobs that have not ended."""
        ...


class Start(Protocol):
    """Starts a side that calls the model at `base_url`; without `working` it accepts jobs and runs none."""

    def __call__(self, base_url: str, *, working: bool = True) -> AbstractContextManager[Side]: ...


OURS = "Jobchain"
DEFAULT = "Celery, default"
HARDENED = "Celery, hardened"

FORMS: Mapping[str, services.Form] = {
    DEFAULT: services.DEFAULT,
    HARDENED: services.hardened("threads", ours.AT_ONCE),
}
"""The baseline's forms. The hardened one runs as many jobs at a time as we do; `ONLY=pools` compares the pools."""


@dataclass(frozen=True, slots=True)
class Terms:
    """How much is measured: a quick run is a test of the benchmarks, of our side alone.

    Fragments go to `folder`; pictures lie beside `page`.
    """

    quick: bool
    rounds: int
    load_jobs: int
    folder: Path
    page: Path
    say: Callable[[str], None]

    @property
    def sides(self) -> list[str]:
        return [OURS] if self.quick else [OURS, *FORMS]

    @property
    def workers(self) -> int:
        """Our worker functions: of a quick run few, as each takes a second of CPU to start."""
        return 2 if self.quick else ours.WORKERS

    def start(self, name: str) -> Start:
        """What starts the side of that name."""
        if name == OURS:
            return partial(ours.start, workers=self.workers)
        return partial(services.start, form=FORMS[name])
