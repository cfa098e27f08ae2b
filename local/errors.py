"""What can go wrong with the local stack."""


class LocalError(Exception):
    """An error whose message tells the user what was wrong and what to do: it is shown without a traceback."""


class SettingsError(LocalError):
    """A setting is malformed or missing; says which, and what it can be."""
