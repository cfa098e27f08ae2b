"""What a function's start does without: a handler imports this before all else, and calls `started` at its end.

What the start makes, modules and AWS's models of its services, stays for good. Looking through it for garbage finds
none, and takes a quarter of the start.
"""

import gc

gc.disable()


def started() -> None:
    """Collects garbage again, but never looks at what is there by now."""
    gc.freeze()
    gc.enable()
