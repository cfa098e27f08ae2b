"""`python -m local.translated`: the template after SAM's transform, for tools that read no SAM."""

import json
import sys

from local import sam
from local.aws import Clients
from local.stack import TEMPLATE


def main() -> None:
    """Writes the translated template as JSON to standard output."""
    # No call is made: the translator asks the session for its region alone.
    translated = sam.translate(sam.read(TEMPLATE), Clients("http://127.0.0.1").session)
    json.dump(translated, sys.stdout, indent=2)


if __name__ == "__main__":
    main()
