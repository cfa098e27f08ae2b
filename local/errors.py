"""What can go wrong with the local stack."""


class LocalError(Exception):
    """An error whose message tells the user all that there is to know: it is shown without a traceback."""
