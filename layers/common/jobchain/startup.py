"""A faster cold start: a handler imports this first, before all other modules, and calls `started` at its end.

The objects that a start creates, modules and AWS's models of its services, stay as long as the process. A search for
garbage among them finds none, and takes a quarter of the start.
"""

import gc

gc.disable()


def started() -> None:
    """Turns garbage collection on, without the objects that exist by now."""
    gc.freeze()
    gc.enable()
