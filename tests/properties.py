"""How property tests draw their examples.

`make test` draws the same ones each time, in any clone. Where `PROPERTY_EXAMPLES` is set, that many new ones are drawn
of each property; what failed is kept in `.hypothesis`, tried first by the next such run, and printed in full, so that
it can be written into the test as an `@example`.
"""

from collections.abc import Mapping
from pathlib import Path

from hypothesis import settings
from hypothesis.database import DirectoryBasedExampleDatabase

VARIABLE = "PROPERTY_EXAMPLES"
KEPT = Path(__file__).parent.parent / ".hypothesis" / "examples"
"""The examples that failed."""

# A deadline would fail on a busy machine.
SAME = settings(derandomize=True, database=None, deadline=None, print_blob=True)


def profile(environment: Mapping[str, str]) -> settings:
    """The settings of every property test in this environment. Raises ValueError."""
    if not (examples := environment.get(VARIABLE)):
        return SAME
    return settings(SAME, derandomize=False, database=DirectoryBasedExampleDatabase(KEPT), max_examples=int(examples))
